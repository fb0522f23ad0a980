"""The command line of examples/simulated_cluster."""

import subprocess

import pytest
from test_end_to_end import BIN


@pytest.mark.parametrize(("flag", "code"), [("--help", 0), ("-h", 0), ("--nosuch", 1)])
def test_a_flag_is_not_the_name_of_a_file(tmp_path, flag, code):
    run = subprocess.run([BIN / "examples/simulated_cluster", flag], cwd=tmp_path, capture_output=True, text=True, timeout=10)
    assert run.returncode == code
    assert "usage: simulated_cluster KUBECONFIG" in (run.stderr if code else run.stdout)
    assert list(tmp_path.iterdir()) == []
