"""Builds promtool rule tests: minutes in, alerts out.

One sample a minute, or every `step` seconds. A series is a dict of labels and a function from minute to value, None for no
sample: what is gone is marked stale, as Prometheus marks what a target no longer exposes.
"""

import functools
import json
import pathlib
import re
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALERTS = ROOT / "charts/kubehealer/files/alerts.yaml"


@functools.cache
def all_rules():
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return group["rules"]


@functools.cache
def rules():
    """The alerts by name."""
    return {rule["alert"]: rule for rule in all_rules() if "alert" in rule}


def reasons(alert):
    """The reasons that an alert names, from its matcher."""
    found = re.search(r'reason=~?"([^"]*)"', rules()[alert]["expr"])
    return found[1].split("|") if found else []


# Seconds between two samples, and between two evaluations.
step = 60


def series(name, labels, value, minutes):
    text, alive = [], False
    for at in range(0, minutes * 60, step):
        sample = value(at // 60 if at % 60 == 0 else at / 60)
        text.append(str(sample) if sample is not None else ("stale" if alive else "_"))
        alive = sample is not None
    inner = ",".join(f'{key}="{val}"' for key, val in labels.items())
    return {"series": f"{name}{{{inner}}}", "values": " ".join(text)}


def firing(alert, minute, labelsets):
    """At this minute exactly these fire (labels without the alert's name)."""
    return {
        "expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}',
        "eval_time": f"{round(minute * 60)}s",
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


SYNCED = "kubehealer_watch_synced"


def gap(inputs, begin, end):
    """Prometheus takes no samples from one minute to another, and marks nothing as stale."""
    for one in inputs:
        values = one["values"].split(" ")
        cut = slice(round(begin * 60) // step, round(end * 60) // step)
        values[cut] = ["_"] * len(values[cut])
        one["values"] = " ".join(values)
    return inputs


def with_sources(inputs):
    """Each instance of KubeHealer is scraped and knows its pods all the time, unless the test says otherwise."""
    known = {key(one, "instance") for one in inputs if one["series"].startswith(SYNCED)}
    more = {}
    for one in inputs:
        instance = key(one, "instance")
        if one["series"].startswith("kubehealer_") and instance and instance not in known:
            labels = {"job": key(one, "job"), "instance": instance, "resource": "pods"}
            labels.update({"cluster": key(one, "cluster")} if key(one, "cluster") else {})
            length = len(one["values"].split(" ")) * step // 60
            more[instance] = series(SYNCED, labels, lambda minute: 1, length)
    return inputs + list(more.values())


def key(one, name):
    found = re.search(rf'[{{,]{name}="([^"]*)"', one["series"])
    return found and found[1]


def needed(tests):
    """The alerts that the tests look at and the records that these read; the texts only for tests of texts."""
    looked_at, texts = json.dumps(tests), any("alert_rule_test" in test for test in tests)
    read, kept = "", []
    for rule in reversed(all_rules()):
        if rule.get("record", "no record") in read or re.search(rf"\b{rule.get('alert', 'no alert')}\b", looked_at):
            rule = {key: value for key, value in rule.items() if texts or key != "annotations"}
            read += json.dumps(rule)
            kept.insert(0, rule)
    return {"groups": [{"name": "kubehealer", "rules": kept}]}


def run(tmp_path, tests, owner_labels="owner_labels"):
    """Runs the tests with the real rules, with these owner labels; returns promtool's complaint, empty if there is none."""
    for test in tests:
        test["interval"] = f"{step}s"
        test["input_series"] = with_sources(test["input_series"])
    # promtool takes rule files relative to the test file. JSON is YAML, and written much faster.
    file = tmp_path / "test.yaml"
    (tmp_path / "rules.yaml").write_text(json.dumps(needed(tests)).replace("owner_labels", owner_labels))
    file.write_text(json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": f"{step}s", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr
