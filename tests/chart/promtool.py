"""Builds promtool rule tests: minutes in, alerts out.

One sample a minute. A series is a dict of labels and a function from minute to value, None for no sample: what is gone is
marked stale, as Prometheus marks what a target no longer exposes.
"""

import pathlib
import re
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALERTS = ROOT / "charts/kubehealer/files/alerts.yaml"


def rules():
    """The alerts by name."""
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"] if "alert" in rule}


def reasons(alert):
    """The reasons that an alert names, from its matcher."""
    found = re.search(r'reason=~?"([^"]*)"', rules()[alert]["expr"])
    return found[1].split("|") if found else []


def series(name, labels, value, minutes):
    text, alive = [], False
    for minute in range(minutes):
        sample = value(minute)
        text.append(str(sample) if sample is not None else ("stale" if alive else "_"))
        alive = sample is not None
    inner = ",".join(f'{key}="{val}"' for key, val in labels.items())
    return {"series": f"{name}{{{inner}}}", "values": " ".join(text)}


def firing(alert, minute, labelsets):
    """At this minute exactly these fire (labels without the alert's name)."""
    return {
        "expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}',
        "eval_time": f"{minute}m",
        "exp_samples": [
            {
                "labels": "ALERTS{"
                + ",".join(f'{k}="{v}"' for k, v in sorted({**labels, "alertname": alert, "alertstate": "firing"}.items()))
                + "}",
                "value": 1,
            }
            for labels in labelsets
        ],
    }


def run(tmp_path, tests):
    """Runs the tests with the real rules; returns promtool's complaint, empty if there is none."""
    # promtool takes rule files relative to the test file.
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr
