"""The command blocks of README, docs and chart run as they are written, and print what is shown below them.

A block runs in bash, with a simulated cluster as the cluster of the kubeconfig. Where a block looks at http://localhost:8080, it
looks at a running demo. What cannot run here is in LEFT_OUT, with the reason.
"""

import os
import pathlib
import re
import shlex
import subprocess

import pytest
from cluster import Cluster, stamp
from test_end_to_end import BIN, ROOT, get, until

DOWNLOAD = "downloads a release or an image"
INSTALLED = "needs KubeHealer installed in a cluster"
WRITES = "changes a cluster, and the simulated one is read-only"
# By document and first line.
LEFT_OUT = {
    ("README.md", "curl -fsSL https://github.com/"): DOWNLOAD,
    ("README.md", "docker run "): DOWNLOAD,
    ("README.md", "helm install kubehealer "): DOWNLOAD,
    ("README.md", "helm upgrade kubehealer "): DOWNLOAD,
    ("docs/how-to.md", "curl -fsSL https://github.com/"): DOWNLOAD,
    ("docs/how-to.md", "kubectl krew install "): DOWNLOAD,
    ("docs/how-to.md", "helm install kubehealer "): DOWNLOAD,
    ("docs/how-to.md", "helm upgrade kubehealer "): DOWNLOAD,
    ("docs/how-to.md", "docker build "): DOWNLOAD,
    ("docs/how-to.md", "kubectl apply -k deploy/kustomize"): WRITES,
    ("docs/how-to.md", "kubectl -n kubehealer port-forward "): INSTALLED,
    ("docs/how-to.md", "kubectl apply -k deploy/prometheus"): WRITES,
    ("docs/how-to.md", "until curl -sG localhost:9090/"): INSTALLED,
    ("docs/how-to.md", "kubectl -n shop annotate deployment "): WRITES,
    ("docs/alerts.md", "kubectl -n shop annotate deployment "): WRITES,
    ("docs/mcp.md", "claude mcp add "): "needs Claude Code",
    ("docs/performance.md", "cargo bench "): "takes an hour",
    ("charts/kubehealer/README.md", "helm install kubehealer "): DOWNLOAD,
    ("charts/kubehealer/README.md", "kubectl -n kubehealer port-forward "): INSTALLED,
}
# Other programs are not there, or would write to the cluster: they do nothing, and the rest of their block runs.
DOES_NOTHING = ["flux", "helm", "kubectl apply"]
EXIT_CODES = {"kubehealer rules check rules/": 1}


def blocks():
    """Each block with its document and first line."""
    found = []
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "charts/kubehealer/README.md"]:
        name = str(document.relative_to(ROOT))
        for language, text in re.findall(r"```(\w+)\n(.*?)```", document.read_text(), flags=re.S):
            if language in ("sh", "console"):
                found.append((name, language, text))
    return found


def is_left_out(block):
    return [key for key in LEFT_OUT if block[0] == key[0] and block[2].startswith(key[1])]


BLOCKS = blocks()


def test_what_is_left_out_is_there():
    used = {key for block in BLOCKS for key in is_left_out(block)}
    assert set(LEFT_OUT) == used, f"no such block: {set(LEFT_OUT) - used}"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the commands name, their environment, and the address of a demo."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ["bin", "rules", "deploy", "chart", ".local/bin"]:
        (folder / name).mkdir(parents=True)
    (folder / "tests").symlink_to(ROOT / "tests")
    for name, rest in [("kubehealer", f'exec {shlex.quote(str(BIN / "kubehealer"))} "$@"'), ("kubectl", 'PATH=${PATH#*:} exec kubectl "$@"')]:
        # What would run until Ctrl-C gets it after ten seconds; kubectl says by its exit code that it was interrupted.
        until_stopped = rest.replace("exec ", "timeout --preserve-status -s INT 10 ", 1)
        nothing = "".join(f"*) [ \"{name} $1\" = '{command}' ] && exit 0;;" for command in DOES_NOTHING if " " in command)
        script = f'case " $* " in *" -w "*|" demo "*) {until_stopped} || [ {name} = kubectl ]; exit;; {nothing} esac\n{rest}\n'
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{script}")
    for name in [name for name in DOES_NOTHING if " " not in name]:
        (folder / "bin" / name).write_text("#!/bin/sh\n")
    for script in (folder / "bin").iterdir():
        script.chmod(0o755)
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/rules.md").read_text(), flags=re.S)
    (folder / "rules/restarts.yaml").write_text(examples[0])
    (folder / "rules/restarts_test.yaml").write_text(examples[1])
    environment = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": str(folder), "TMPDIR": str(folder), "COLUMNS": "100"}

    cluster = Cluster(BIN / "examples/simulated_cluster", folder / "kubeconfig")
    environment["KUBECONFIG"] = str(folder / "kubeconfig")
    ready = dict.fromkeys(["replicas", "readyReplicas", "updatedReplicas", "availableReplicas", "observedGeneration"], 1)
    for version, kind, name, status in [
        ("apps/v1", "Deployment", "cart", ready),
        ("apps/v1", "StatefulSet", "broker", ready),
        ("batch/v1", "Job", "migrate", {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": stamp(60)}]}),
        ("kafka.strimzi.io/v1beta2", "Kafka", "events", None),
    ]:
        meta = {"namespace": "shop", "name": name, "uid": name, "generation": 1, "labels": {"app.kubernetes.io/instance": "shop"}}
        spec = {"replicas": 1, "completions": 1, "selector": {"matchLabels": {"app": name}}, "template": {}}
        if status:
            cluster.apply({"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec, "status": status})
        owner = {"apiVersion": version, "kind": kind, "name": name, "uid": name, "controller": True}
        meta = {"namespace": "shop", "name": f"{name}-0", "uid": f"{name}-0", "creationTimestamp": stamp(600), "labels": {"app": name}, "ownerReferences": [owner]}
        state = {"terminated": {"exitCode": 0, "reason": "Completed"}} if kind == "Job" else {"running": {"startedAt": stamp(600)}}
        containers = [{"name": "app", "ready": kind != "Job", "started": kind != "Job", "restartCount": 0, "state": state, "containerID": f"containerd://{name}"}]
        conditions = [{"type": kind, "status": "True", "lastTransitionTime": stamp(600)} for kind in ["PodScheduled", "Initialized", "ContainersReady", "Ready"]]
        status = {"phase": "Succeeded" if kind == "Job" else "Running", "startTime": stamp(600), "conditions": conditions, "containerStatuses": containers}
        spec = {"nodeName": "node-a", "restartPolicy": "Never" if kind == "Job" else "Always", "containers": [{"name": "app", "image": f"{name}:1"}]}
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status})
    subprocess.run([BIN / "kubehealer", "dump", "-A", "-o", folder / "support-bundle.tar.gz"], env=environment, check=True)

    command = [BIN / "kubehealer", "demo", "--speed", "60", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        address = next(word for line in demo.stdout for word in line.split() if word.startswith("http://"))[len("http://") :].rstrip("/")
        until("a termination in the demo", lambda: "\nkubehealer_container_terminations_total{" in get(f"http://{address}/metrics"))
        yield folder, environment, address
        demo.terminate()
    cluster.close()


@pytest.mark.parametrize("block", [block for block in BLOCKS if not is_left_out(block)], ids=lambda b: f"{b[0]}: {b[2].splitlines()[0]}"[:80])
def test_a_block_runs_as_it_is_written(block, place):
    folder, environment, address = place
    script, shown = block[2], None
    if block[1] == "console":
        script, shown = block[2].removeprefix("$ ").split("\n", 1)
        # The mistake that the message shows.
        rules = folder / "rules/restarts.yaml"
        right = rules.read_text()
        rules.write_text(right.replace("restartsWithin", "restartWithin") if "restartWithin" in shown else right)
    script = "set -euo pipefail\n" + script.replace("localhost:8080", address)
    run = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if shown is not None:
        rules.write_text(right)
        assert run.stdout == shown
    assert run.returncode == EXIT_CODES.get(script.splitlines()[1], 0), f"{run.stdout}\n{run.stderr}"
