"""The commands of README, docs and runbooks: kubectl and helm know their flags, and kubectl their JSONPath templates."""

import pathlib
import re
import shlex
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
POD = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}}'


def commands():
    """The commands in the blocks for a shell, with where each is first used."""
    found = {}
    for document in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", document.read_text(), flags=re.S):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.shlex(re.sub(r"\$\w+", "x", line), posix=True, punctuation_chars=True)
                words.whitespace_split = True
                command = []
                for word in [*words, ";"]:
                    if re.fullmatch(r"[;|&()<>]+", word):
                        if command[:1] in (["kubectl"], ["helm"]) and command[1] not in ("kubehealer", "krew"):
                            found.setdefault(tuple(command), document.name)
                        command = []
                    elif command or word in ("kubectl", "helm"):
                        command.append(word)
    return found


COMMANDS = commands()


def test_there_are_commands():
    assert len(COMMANDS) > 100


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{COMMANDS[c]}: {' '.join(c)}"[:80])
def test_the_flags_of_a_command_exist(command):
    words = list(command)
    at = words.index("--") if "--" in words else len(words)
    tool = ["helm4" if words[0] == "helm" else "kubectl"]
    # Help is printed after the flags have been read: an unknown one fails.
    run = subprocess.run(tool + words[1:at] + ["--help"], capture_output=True, text=True, check=False)
    assert run.returncode == 0 and "Usage:" in run.stdout, run.stderr


def test_one_version_is_named_everywhere():
    """The image that the documents pull is of the program's own version, and so is the chart."""
    version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), flags=re.M)[1]
    texts = "".join(document.read_text() for document in DOCUMENTS)
    assert set(re.findall(r"kubehealer/kubehealer:(\d[\w.-]*)", texts)) == {version}
    chart = (ROOT / "charts/kubehealer/Chart.yaml").read_text()
    assert re.findall(r"^(?:appV|v)ersion: (.+)$", chart, flags=re.M) == [version] * 2


TEMPLATES = sorted({w for c in COMMANDS for w in c if w.startswith("jsonpath=")})


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_can_be_read(template, tmp_path):
    pod = tmp_path / "pod.json"
    pod.write_text(POD)
    command = ["kubectl", "label", "--local", "-f", str(pod), "a=b", "-o", template]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
