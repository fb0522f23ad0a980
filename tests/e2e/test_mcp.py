"""`kubehealer mcp`, asked by the protocol's own Python SDK over stdin and stdout."""

import asyncio
import contextlib
import json
import re
import shlex
import socket
import time

import jsonschema
import pytest
from cluster import Cluster, Deployment
from mcp import ClientSession, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from test_end_to_end import BIN, ROOT

RECORDINGS = str(ROOT / "tests/data/recordings/final")
DIAGNOSIS_FIELDS = {"about", "observedAt", "summary", "sources", "notes", "causes", "more"}


@contextlib.asynccontextmanager
async def client(folder, *flags):
    """A client that has shaken hands. When it has gone, the server must have ended by itself, with code 0."""
    code = folder / "code"
    script = 'log="$1"; shift; "$@" 2>"$log"; echo $? >"${log%/*}/code"'
    command = ["-c", script, "sh", str(folder / "log"), str(BIN / "kubehealer"), "mcp", *flags]
    async with stdio_client(StdioServerParameters(command="sh", args=command)) as streams, ClientSession(*streams) as session:
        started = await session.initialize()
        assert started.server_info.name == "kubehealer" and "read-only" in started.instructions
        yield session
    assert code.read_text() == "0\n", (folder / "log").read_text()


async def ask(session, tool, **arguments):
    answer = await session.call_tool(tool, arguments)
    [content] = answer.content
    assert len(content.text) <= 16_000 and "\x1b" not in content.text
    return answer.is_error, content.text, answer.structured_content


def kubeconfig(path, server):
    user = {"name": "me", "user": {}}
    cluster = {"name": "c", "cluster": {"server": server}}
    context = {"name": "staging", "context": {"cluster": "c", "user": "me", "namespace": "shop"}}
    path.write_text(json.dumps({"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "staging"}))
    return str(path)


def test_every_tool_answers_good_and_bad_arguments(tmp_path):
    async def play():
        async with client(tmp_path, "-f", RECORDINGS) as session:
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert set(tools) == {"diagnose", "incidents", "explain", "what_changed"}
            for tool in tools.values():
                jsonschema.Draft202012Validator.check_schema(tool.input_schema)
                assert tool.annotations.read_only_hint and not tool.annotations.destructive_hint
            for name, arguments, said in [
                ("diagnose", {"namespace": "shop"}, "ImagePullBackOff  shop/Deployment/checkout"),
                ("diagnose", {"targets": ["shop/deployment/cart"], "wide": True}, "shop/cart-"),
                ("incidents", {"severity": "critical"}, "ServiceAccount operator does not exist"),
                ("explain", {"word": "137"}, "SIGKILL"),
                ("explain", {}, "CrashLoopBackOff"),
                ("what_changed", {"workload": "payments/deployment/payouts"}, "payments/Deployment/payouts: revision"),
            ]:
                jsonschema.validate(arguments, tools[name].input_schema)
                is_error, text, data = await ask(session, name, **arguments)
                assert not is_error and said in text, (name, arguments, text)
                if name in ("diagnose", "incidents"):
                    assert DIAGNOSIS_FIELDS <= set(data) and data["causes"], data
            for name, arguments, said in [
                ("diagnose", {"targets": ["deployment/nosuch"]}, "deployment/nosuch: not found"),
                ("diagnose", {"nosuch": 1}, "unknown field `nosuch`"),
                ("diagnose", {"targets": "cart"}, "invalid type"),
                ("diagnose", {"namespace": "../etc"}, "namespace"),
                ("incidents", {"severity": "bad"}, "severity"),
                ("incidents", {"id": "1"}, "only a running daemon has incident ids"),
                ("explain", {"word": "nosuchword"}, "is not a known reason, cause, alert or status"),
                ("what_changed", {}, "missing field `workload`"),
            ]:
                is_error, text, _ = await ask(session, name, **arguments)
                assert is_error and said in text, (name, arguments, text)
            with pytest.raises(MCPError, match="unknown tool"):
                await session.call_tool("nosuch", {})

    asyncio.run(play())


def test_the_cluster_is_asked_with_the_flags_of_the_server(tmp_path):
    config = tmp_path / "kubeconfig"
    cluster = Cluster(BIN / "examples/simulated_cluster", config)

    async def play():
        async with client(tmp_path, "--kubeconfig", str(config), "--owner-labels", "team") as session:
            return await asyncio.gather(ask(session, "diagnose", namespace="shop"), ask(session, "incidents"))

    try:
        cart = Deployment(cluster, "shop", "cart", 1, labels={"team": "checkout"})
        cart.pod(age=300).finds_no_image()
        for is_error, text, data in asyncio.run(play()):
            assert not is_error and "ImagePullBackOff" in text and data["causes"], text
    finally:
        cluster.close()


def test_the_settings_of_the_docs_start_a_server(tmp_path):
    blocks = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs/mcp.md").read_text(), re.DOTALL)
    documents = [json.loads(text) for language, text in blocks if language == "json"]
    servers = [next(iter(server.values())) for document in documents for server in document.values()]
    commands = [[server["command"], *server["args"]] for server in servers]
    commands += [shlex.split(text.split(" -- ")[1]) for language, text in blocks if language == "sh"]
    assert len(commands) == 3
    config = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")

    async def play():
        for program, *arguments in commands:
            assert program.endswith("kubehealer") and arguments[0] == "mcp"
            flags = ["--kubeconfig", config, *arguments[1:]] if "--kubeconfig" not in arguments else arguments[1:]
            flags = [config if flag.startswith("/home/") else flag for flag in flags]
            async with client(tmp_path, *flags) as session:
                is_error, text, _ = await ask(session, "diagnose")
                assert is_error and "127.0.0.1:1" in text, text

    asyncio.run(play())


def test_a_call_can_be_given_up_and_holds_up_no_other_and_a_client_may_leave(tmp_path):
    """A cluster that takes connections and never answers."""
    silent = socket.create_server(("127.0.0.1", 0))
    silent.settimeout(10)
    config = kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{silent.getsockname()[1]}")

    async def play():
        async with client(tmp_path, "--kubeconfig", config) as session:
            # As many as look at the cluster at the same time, and one more.
            calls = [asyncio.create_task(session.call_tool("diagnose", {})) for _ in range(3)]
            connections = [await asyncio.to_thread(silent.accept) for _ in range(2)]
            is_error, text, _ = await asyncio.wait_for(ask(session, "explain", word="OOMKilled"), 5)
            assert not is_error and "memory limit" in text
            for call in calls[:2]:
                call.cancel()
            await asyncio.wait(calls[:2], timeout=5)
            assert all(call.cancelled() for call in calls[:2])
            # The server gives them up as well, and the third one has its turn.
            connections.append(await asyncio.to_thread(silent.accept))
            assert not calls[2].done()
            calls[2].cancel()
            started = time.monotonic()
        return time.monotonic() - started

    # The SDK closes stdin, and kills whoever has not ended two seconds later.
    assert asyncio.run(play()) < 2
    assert "panic" not in (tmp_path / "log").read_text()
