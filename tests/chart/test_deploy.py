"""What lies in deploy/: rendered from the chart and not stale, and examples that the real programs accept and understand."""

import hashlib
import json
import re
import subprocess
import tarfile

import grafana_foundation_sdk.cog.encoder as grafana_json
import grafana_foundation_sdk.cog.plugins as grafana
import grafana_foundation_sdk.models.dashboard as grafana_dashboard
import promql_parser
import pytest
import yaml
from promtool import ALERTS, ROOT, rules

DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((ROOT / "charts/kubehealer/files/dashboard.json").read_text())


def sh(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, **kwargs)


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_the_manifests_are_what_the_chart_renders(helm, monkeypatch):
    monkeypatch.setenv("HELM", helm)
    done = sh(str(DEPLOY / "render.sh"), "-")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (DEPLOY / "kustomize/kubehealer.yaml").read_text(), "run deploy/render.sh"


def test_kustomize_builds_valid_objects(tmp_path):
    done = sh("kubectl", "kustomize", str(DEPLOY / "kustomize"))
    assert done.returncode == 0, done.stderr
    file = tmp_path / "all.yaml"
    file.write_text(done.stdout)
    checked = sh("kubernetes-validate", "--strict", "-k", "1.37", str(file))
    assert checked.returncode == 0 and "WARN" not in checked.stdout + checked.stderr, checked.stdout + checked.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    assert {obj["kind"] for obj in objects} >= {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Service", "Deployment"}
    assert "Helm" not in done.stdout


def test_the_small_prometheus_is_valid_restricted_and_finds_its_files(tmp_path):
    done = sh("kubectl", "kustomize", str(DEPLOY / "prometheus"))
    assert done.returncode == 0, done.stderr
    file = tmp_path / "all.yaml"
    file.write_text(done.stdout)
    checked = sh("kubernetes-validate", "--strict", "-k", "1.37", str(file))
    assert checked.returncode == 0 and "WARN" not in checked.stdout + checked.stderr, checked.stdout + checked.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    assert {obj["metadata"]["namespace"] for obj in objects} == {"kubehealer"}
    files = {obj["metadata"]["name"]: set(obj["data"]) for obj in objects if obj["kind"] == "ConfigMap"}
    services = {obj["metadata"]["name"]: obj["spec"]["ports"][0]["port"] for obj in objects if obj["kind"] == "Service"}
    for workload in [obj for obj in objects if obj["kind"] == "Deployment"]:
        pod = workload["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        (config,) = [arg.split("=")[1] for arg in container["args"] if arg.startswith("--config.file=")]
        folder, _, name = config.rpartition("/")
        (volume,) = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == folder]
        (source,) = [vol["configMap"]["name"] for vol in pod["volumes"] if vol["name"] == volume]
        assert name in files[source]
        # As the namespace of deploy/kustomize demands.
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    example = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    (target,) = example["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert target == f"alertmanager:{services['alertmanager']}"


def test_copies_and_links_show_the_one_source():
    assert (DEPLOY / "prometheus/alerts.yaml").read_text() == ALERTS.read_text(), "run deploy/render.sh"
    assert (DEPLOY / "grafana-dashboard.json").resolve() == ROOT / "charts/kubehealer/files/dashboard.json"


def test_promtool_takes_the_prometheus_example():
    done = sh("promtool", "check", "config", str(DEPLOY / "prometheus/prometheus.yaml"))
    assert done.returncode == 0 and re.search(r"SUCCESS: \d+ rules found", done.stdout), done.stdout + done.stderr
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    # The target is the Service that deploy/kustomize makes.
    objects = yaml.safe_load_all((DEPLOY / "kustomize/kubehealer.yaml").read_text())
    (service,) = [obj for obj in objects if obj["kind"] == "Service"]
    meta, port = service["metadata"], service["spec"]["ports"][0]["port"]
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"{meta['name']}.{meta['namespace']}.svc:{port}"]}]
    assert job["honor_labels"] is True


def test_promtool_takes_the_discovery_example(tmp_path):
    # Debian builds Prometheus without Kubernetes discovery: everything but that stanza is checked.
    config = yaml.safe_load((DEPLOY / "prometheus/kubernetes-sd.yaml").read_text())
    (job,) = config["scrape_configs"]
    (discovery,) = job.pop("kubernetes_sd_configs")
    assert discovery["role"] == "pod" and set(discovery) == {"role", "selectors"}
    assert job["honor_labels"] is True
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    done = sh("promtool", "check", "config", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_takes_the_alertmanager_example():
    done = sh("amtool", "check-config", str(DEPLOY / "prometheus/alertmanager.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=PodEvicted", "severity=info"], "nobody"),
        (["alertname=ContainerCrashLooping", "severity=warning"], "on-call"),
        (["alertname=WorkloadDown", "severity=critical"], "on-call"),
    ],
)
def test_informational_alerts_page_nobody(labels, receiver):
    file = str(DEPLOY / "prometheus/alertmanager.yaml")
    done = sh("amtool", "config", "routes", "test", f"--config.file={file}", *labels)
    assert done.stdout.strip() == receiver, done.stdout + done.stderr


def test_inhibitions_name_alerts_that_there_are():
    config = yaml.safe_load((DEPLOY / "prometheus/alertmanager.yaml").read_text())
    for rule in config["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            found = re.fullmatch(r'alertname=(~?)"(.*)"', matcher)
            if found:
                for name in found[2].split("|"):
                    assert any(re.fullmatch(name, alert) for alert in rules()), name


@pytest.mark.parametrize("alert", ["ContainerImagePullFailing", "PodUnschedulable", "PodStuckCreating", "WorkloadCannotCreatePods"])
def test_what_keeps_pods_from_starting_inhibits_the_stuck_rollout(alert):
    config = yaml.safe_load((DEPLOY / "prometheus/alertmanager.yaml").read_text())
    names = lambda matchers: [found[1] for one in matchers if (found := re.fullmatch(r'alertname=~?"(.*)"', one))]
    of_rollout = [rule for rule in config["inhibit_rules"] if any(re.fullmatch(n, "WorkloadRolloutStuck") for n in names(rule["target_matchers"]))]
    assert any(re.fullmatch(name, alert) for rule in of_rollout for name in names(rule["source_matchers"]))


def labels_left(expr):
    """The labels of the outermost aggregation of an alert's expression."""
    return set(re.search(r"(?:by) \(([^)]*)\)", expr)[1].split(", "))


def test_inhibitions_compare_labels_that_both_sides_have():
    """Alertmanager takes two missing labels for equal ones: a node alert would silence every pod without a node."""
    config = yaml.safe_load((DEPLOY / "prometheus/alertmanager.yaml").read_text())
    for rule in config["inhibit_rules"]:
        assert "cluster" in rule["equal"], "a silent cluster must not silence the others"
        if rule["equal"] == ["cluster"]:
            continue
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            found = re.fullmatch(r'alertname=~?"(.*)"', matcher)
            for name in found[1].split("|") if found else []:
                for alert, body in rules().items():
                    if re.fullmatch(name, alert) and "kubehealer:workload_down" not in body["expr"]:
                        missing = set(rule["equal"]) - {"cluster"} - labels_left(body["expr"])
                        assert not missing, (alert, missing)


# --- The dashboard


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions():
    """Every expression of the dashboard, with Grafana's variables filled in."""
    fill = {"$namespace": ".*", "$cluster": ".*", "$across": "max", "$__rate_interval": "5m", "$__range": "1h"}
    for panel in panels():
        for target in panel["targets"]:
            expr = target["expr"]
            for variable, value in fill.items():
                expr = expr.replace(variable, value)
            assert not re.search(r"\$[a-zA-Z_]", expr), expr
            yield panel["title"], expr


def test_panels_have_their_own_number_and_do_not_overlap():
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def lost(ours, theirs, path=""):
    """What of `ours` is not in `theirs`, which may have more."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [place for key in ours for place in lost(ours[key], theirs.get(key), f"{path}/{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [place for i, item in enumerate(ours) for place in lost(item, theirs[i], f"{path}/{i}")]
    return [] if ours == theirs else [path]


def test_grafanas_own_schema_knows_every_field_of_the_dashboard():
    """Grafana generates these models from its schema: what it does not know is lost on the way through them."""
    grafana.register_default_plugins()

    def through_grafana(dashboard):
        return json.loads(grafana_json.JSONEncoder().encode(grafana_dashboard.Dashboard.from_json(dashboard)))

    assert lost(DASHBOARD, through_grafana(DASHBOARD)) == []
    misspelt = {**DASHBOARD, "tag": []}
    assert lost(misspelt, through_grafana(misspelt)) == ["/tag"]


def test_every_expression_of_the_dashboard_parses(tmp_path):
    found = list(expressions())
    assert len(found) > 30
    for _, expr in found:
        promql_parser.parse(expr)
    # And by Prometheus itself.
    file = tmp_path / "rules.yaml"
    group = {"name": "dashboard", "rules": [{"record": f"panel:{number}", "expr": expr} for number, (_, expr) in enumerate(found)]}
    file.write_text(yaml.safe_dump({"groups": [group]}))
    done = sh("promtool", "check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_asks_the_chosen_data_source():
    for panel in panels():
        for thing in [panel, *panel["targets"]]:
            assert thing["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


# --- The plugin and the workflows


def test_the_plugins_manifest_is_filled_from_the_archives(tmp_path):
    sums = {}
    names = {p: f"kubehealer-{p}.tar.gz" for p in ("linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64")}
    names["windows-amd64"] = "kubehealer-windows-amd64.zip"
    for platform, name in names.items():
        archive = tmp_path / name
        archive.write_bytes(platform.encode())
        sums[platform] = hashlib.sha256(platform.encode()).hexdigest()
    done = sh(str(DEPLOY / "krew/manifest.sh"), "1.2.3", str(tmp_path))
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load(done.stdout)["spec"]
    assert spec["version"] == "v1.2.3"
    found = {f"{p['selector']['matchLabels']['os']}-{p['selector']['matchLabels']['arch']}": p for p in spec["platforms"]}
    assert {platform: entry["sha256"] for platform, entry in found.items()} == sums
    for platform, entry in found.items():
        assert entry["uri"].endswith(f"/download/v1.2.3/{names[platform]}")
        assert entry["bin"] == ("kubehealer.exe" if platform.startswith("windows") else "kubehealer")
    # What krew's index takes.
    assert len(spec["shortDescription"]) <= 50
    assert "kubectl kubehealer" not in spec["description"]


def test_the_plugins_manifest_is_not_made_of_less_than_all_archives(tmp_path):
    assert sh(str(DEPLOY / "krew/manifest.sh"), "1.2.3", str(tmp_path)).returncode != 0


def test_the_archive_of_a_release_has_the_program_its_man_pages_and_kubectls_completion(tmp_path):
    program = tmp_path / "kubehealer"
    program.write_text('#!/bin/sh\ncase $1 in man) echo page >"$2/kubehealer.1" ;; completions) echo "$2" ;; esac\n')
    program.chmod(0o755)
    done = sh(str(DEPLOY / "archive.sh"), str(program), "linux-amd64", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "out/kubehealer-linux-amd64.tar.gz") as archive:
        files = {m.name: m for m in archive.getmembers() if m.isfile()}
    assert set(files) == {"kubehealer", "LICENSE", "man/kubehealer.1", "kubectl_complete-kubehealer"}
    assert all(files[name].mode & 0o111 for name in ("kubehealer", "kubectl_complete-kubehealer"))


def workflows():
    return {file.name: yaml.safe_load(file.read_text()) for file in sorted((ROOT / ".github/workflows").glob("*.yaml"))}


def test_scripts_in_workflows_are_clean(tmp_path):
    for name, workflow in workflows().items():
        for job, body in workflow["jobs"].items():
            for number, step in enumerate(body["steps"]):
                if "run" in step:
                    file = tmp_path / f"{name}-{job}-{number}.sh"
                    # What the service fills in is text to the shell.
                    file.write_text("#!/usr/bin/env bash\n" + re.sub(r"\$\{\{.*?\}\}", "filled-in", step["run"]))
                    done = sh("shellcheck", "--severity=warning", str(file))
                    assert done.returncode == 0, done.stdout


def test_workflows_have_no_more_rights_than_they_use():
    for name, workflow in workflows().items():
        assert workflow["permissions"] == {"contents": "read"}, name
        for job, body in workflow["jobs"].items():
            assert body["timeout-minutes"], (name, job)
            needs = body.get("needs", [])
            assert set([needs] if isinstance(needs, str) else needs) <= set(workflow["jobs"])


def test_the_workflow_reads_the_base_images_that_the_dockerfile_has():
    dockerfile = (ROOT / "Dockerfile").read_text()
    for name in ("BUILDER", "BASE"):
        assert len(re.findall(rf"^ARG {name}=\S+$", dockerfile, re.M)) == 1


def test_alerts_and_dashboard_use_metrics_that_are_documented():
    documented = set(re.findall(r"`(kubehealer_\w+)", (ROOT / "docs/metrics.md").read_text()))
    texts = [ALERTS.read_text(), *(expr for _, expr in expressions())]
    used = {name for text in texts for name in re.findall(r"\bkubehealer_\w+", text)}
    assert len(used) > 10 and used <= documented, used - documented
