"""From a failing container to the pager, with everything real but the cluster.

The rules and the examples are taken as they are, with every time in them divided by SPEED: ten minutes are twenty seconds. What
KubeHealer itself waits for is not shortened.
"""

import collections
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import pytest
import yaml
from cluster import Cluster, CrashLoops, Deployment, stamp

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ["KUBEHEALER_BIN"])
SPEED = 30
# Prometheus finds its targets and Alertmanager only five seconds after it starts, and no setting shortens that. So what bridges a
# restart is divided by less: five minutes in the rules, and the resend delay, of which four are the life of an alert in Alertmanager.
BRIDGES = {"5m": "20s", "6m": "24s"}
RESEND_DELAY = "10s"
ON_THE_EDGE = "ContainerConfigError"


def faster(text, bridges={}):
    """Durations and ages in seconds, divided."""
    unit = {"s": 1, "m": 60, "h": 3600}
    text = re.sub(r"(?<![:\w])(\d+)([smh])\b", lambda m: bridges.get(m[0]) or f"{max(1, int(m[1]) * unit[m[2]] // SPEED)}s", text)
    return re.sub(r"([<>]=? )(\d{2,})\b", lambda m: m[1] + str(int(m[2]) // SPEED), text)


def faster_rules(text):
    rules = yaml.safe_load(text.replace("owner_labels", "team"))
    for rule in rules["groups"][0]["rules"]:
        if rule.get("alert") == "KubeHealerWatchStale":
            continue  # the last contact changes at the pace of the API server
        for key in ("expr", "for", "keep_firing_for"):
            # The threshold that a fault walks along in real time.
            if key in rule and not (key == "expr" and rule.get("alert") == ON_THE_EDGE):
                rule[key] = faster(rule[key], BRIDGES)
        for key, text in rule.get("annotations", {}).items():
            rule["annotations"][key] = text.replace("[5m]", f"[{BRIDGES['5m']}]")
    return rules


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def until(what, found, seconds=60):
    """Waits until it is found, and returns it."""
    end = time.monotonic() + seconds
    while True:
        try:
            result = found()
        except OSError:
            result = None
        if result:
            return result
        assert time.monotonic() < end, f"waited {seconds} s for: {what}"
        time.sleep(0.2)


class Process:
    def __init__(self, folder, name, command, ready, patience=60):
        self.name, self.command, self.ready, self.patience = name, [str(word) for word in command], ready, patience
        self.log = open(folder / f"{name}.log", "a")
        self.start()

    def start(self):
        environment = {**os.environ, "RUST_LOG": "info"}
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, env=environment)
        try:
            until(f"{self.name} to be ready", lambda: self.process.poll() is not None or get(self.ready), self.patience)
        except AssertionError:
            # Nobody else stops it.
            self.process.kill()
            raise
        assert self.process.poll() is None, f"{self.name} has ended: {pathlib.Path(self.log.name).read_text()[-3000:]}"

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def restart(self):
        assert self.stop() == 0, self.name
        self.start()


class Pager:
    """Alertmanager's webhook: every notification, as it came."""

    def __init__(self):
        self.notes = notes = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                note = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                notes.append({**note, "arrived": time.time()})
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def alerts(self, status):
        """(name, workload) of each alert in each notification in which it has this status."""
        return [
            (alert["labels"]["alertname"], alert["labels"].get("workload", ""))
            for note in list(self.notes)
            for alert in note["alerts"]
            if alert["status"] == status
        ]

    def note(self, name, status="firing", workload=None):
        """The one notification with this alert, and the alert."""
        (found,) = [
            (note, alert)
            for note in self.notes
            for alert in note["alerts"]
            if alert["status"] == status and alert["labels"]["alertname"] == name and workload in (None, alert["labels"].get("workload"))
        ]
        return found


class Stack:
    """The cluster, the daemon, Prometheus, Alertmanager and the pager."""

    def __init__(self, folder):
        self.folder = folder
        kubeconfig = folder / "kubeconfig"
        self.cluster = Cluster(BIN / "examples/simulated_cluster", kubeconfig)
        until("the simulated cluster's kubeconfig", kubeconfig.exists)
        ports = [free_port() for _ in range(5)]
        self.pager = Pager()
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        daemon, prometheus, alertmanager, *others = self.urls

        config = yaml.safe_load((ROOT / "deploy/prometheus/alertmanager.yaml").read_text())
        (receiver,) = [r for r in config["receivers"] if r["name"] == "on-call"]
        receiver["webhook_configs"][0]["url"] = self.pager.url
        config["receivers"].append({**receiver, "name": "payments"})
        config["route"]["routes"].insert(0, {"matchers": ['team="payments"'], "receiver": "payments"})
        (folder / "alertmanager.yaml").write_text(faster(yaml.safe_dump(config, width=10000)).replace(faster(self.pager.url), self.pager.url))

        rules = faster_rules((ROOT / "charts/kubehealer/files/alerts.yaml").read_text())
        (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
        config = yaml.safe_load(faster((ROOT / "deploy/prometheus/prometheus.yaml").read_text()))
        (job,) = config["scrape_configs"]
        # What discovery in a cluster adds to a target: with honor_labels none of it may end up in what is said of other pods.
        labels = {"namespace": "monitoring", "pod": "kubehealer-0", "container": "kubehealer", "service": "kubehealer", "node": "node-z"}
        fleet = dict(zip("abc", (ports[0], *ports[3:])))
        job["static_configs"] = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {**labels, "cluster": cluster}} for cluster, port in fleet.items()
        ]
        # What else is scraped in each cluster, whatever becomes of KubeHealer.
        anchors = [{"targets": [f"127.0.0.1:{ports[1]}"], "labels": {"cluster": cluster}} for cluster in fleet]
        config["scrape_configs"].append({"job_name": "kubelet", "static_configs": anchors})
        config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{ports[2]}"]}]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))

        node = {"metadata": {"name": "node-a"}, "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": stamp(3600)}]}}
        self.cluster.apply({"apiVersion": "v1", "kind": "Node", **node})
        watch = [BIN / "kubehealer", "watch", "--kubeconfig", kubeconfig, "--listen"]
        named = ["--logs", "--owner-labels=team", "--cluster-name=a"]
        self.daemon = Process(folder, "kubehealer", [*watch, f"127.0.0.1:{ports[0]}", *named], daemon + "/readyz")
        # In two more clusters nothing happens.
        self.others = [
            Process(folder, f"kubehealer-{n}", [*watch, f"127.0.0.1:{port}", "--namespaces=quiet"], f"{url}/readyz")
            for n, (port, url) in enumerate(zip(ports[3:], others))
        ]
        self.alertmanager = Process(
            folder,
            "alertmanager",
            [
                "prometheus-alertmanager",
                f"--config.file={folder}/alertmanager.yaml",
                f"--storage.path={folder}/alertmanager",
                f"--web.listen-address=127.0.0.1:{ports[2]}",
                "--cluster.listen-address=",
            ],
            alertmanager + "/-/ready",
        )
        self.prometheus = Process(
            folder,
            "prometheus",
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yaml",
                f"--storage.tsdb.path={folder}/prometheus",
                f"--web.listen-address=127.0.0.1:{ports[1]}",
                # Defaults of Prometheus, divided like the rest.
                f"--rules.alert.for-grace-period={600 // SPEED}s",
                f"--rules.alert.resend-delay={RESEND_DELAY}",
                f"--query.lookback-delta={BRIDGES['5m']}",
            ],
            prometheus + "/-/ready",
        )

    def query(self, expr):
        answer = json.loads(get(f"{self.urls[1]}/api/v1/query?" + urllib.parse.urlencode({"query": expr})))
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def stop(self):
        (self.folder / "notifications.json").write_text(json.dumps(self.pager.notes, indent=2))
        for process in (self.prometheus, self.alertmanager, self.daemon, *self.others):
            process.stop()
        return self.cluster.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("e2e")
    print("logs in", folder, file=sys.stderr)
    stack = Stack(folder)
    yield stack
    if stack.prometheus.process.poll() is None:
        stack.stop()


EXPECTED = {
    ("ContainerCrashLooping", "cart"),
    ("ContainerOOMKilled", "pay"),
    ("ContainerImagePullFailing", "search"),
    ("WorkloadDown", "api"),
    ("ContainerImagePullFailing", "muted"),
}
# How long one workload is muted, in seconds: three times what its alert takes without that.
MUTED = 60


def dashboard():
    fill = {"$namespace": ".*", "$cluster": ".*", "$across": "max", "$__rate_interval": "20s", "$__range": "1m"}
    for panel in json.loads((ROOT / "charts/kubehealer/files/dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"]
            for variable, value in fill.items():
                expr = expr.replace(variable, value)
            yield panel["title"], expr


def test_each_failure_pages_once_and_resolves_whatever_is_restarted_meanwhile(stack):
    pager, cluster = stack.pager, stack.cluster

    web = Deployment(cluster, "shop", "web", 3)
    for _ in range(3):
        web.pod(age=3600).runs()
    cart, api = Deployment(cluster, "shop", "cart", 3), Deployment(cluster, "shop", "api", 2)
    pay = Deployment(cluster, "shop", "pay", 2, limit="64Mi")
    search = Deployment(cluster, "shop", "search", 3, labels={"team": "payments"})
    cart.pod(age=3600).runs(), cart.pod(age=3600).runs()
    edge = Deployment(cluster, "shop", "edge", 2)
    edge.pod(age=3600).runs()
    pay_pods = [pay.pod(age=3600) for _ in range(2)]
    for pod in pay_pods:
        pod.runs()
    search.pod(age=3600).runs()

    until("a scrape", lambda: stack.query("kubehealer_tracked_pods == 9"))
    assert not pager.notes

    # --- Things break.
    unmuted = time.time() + MUTED
    mute = {"kubehealer.dev/mute-until": stamp(-MUTED), "kubehealer.dev/mute-reason": "registry is being moved"}
    quiet = Deployment(cluster, "shop", "muted", 2, annotations=mute)
    quiet.pod(age=3600).runs()
    muted = quiet.pod(age=600)
    broken_search = [search.pod(age=600), search.pod(age=600)]
    for pod in [*broken_search, muted]:
        pod.finds_no_image()
    until("a muted incident", lambda: stack.query('kubehealer_incidents_muted{workload="muted"} == 1'))
    # Its ConfigMap is made ten seconds before the fault is five minutes old.
    fixed_in_time = edge.pod(age=270)
    fixed_in_time.misses_its_config()
    until("the incident that is fixed in time", lambda: stack.query('kubehealer_pod_unhealthy{workload="edge"}'))
    threading.Timer(20, fixed_in_time.runs).start()
    broken_cart, broken_api = cart.pod(), [api.pod(), api.pod()]
    loops = CrashLoops(broken_cart, *broken_api)
    try:
        pay_pods[0].is_killed_for_memory()
        # Never has a status said so of the present: every scrape finds the container running.
        until("all pages", lambda: set(pager.alerts("firing")) >= EXPECTED, 150)

        # --- While they are broken, the daemon is restarted, then Prometheus. Longer than any of their waits.
        before = len(pager.notes)
        stack.daemon.restart()
        time.sleep(1200 // SPEED)
        stack.prometheus.restart()
        time.sleep(1200 // SPEED)
        assert pager.notes[before:] == [], "a second page"

        empty = [(title, expr) for title, expr in dashboard() if not stack.query(expr)]
        assert not empty, "panels without data"
    finally:
        loops.stop()

    # --- They are mended: a new release, a higher limit, an image that was pushed after all.
    for pod in [broken_cart, *broken_api, pay_pods[0]]:
        pod.is_deleted()
    for deployment in (cart, api, api, pay):
        deployment.pod().runs()
    for pod in [*broken_search, muted]:
        pod.runs()
    until("all resolutions", lambda: set(pager.alerts("resolved")) >= EXPECTED, 150)
    time.sleep(600 // SPEED)

    # --- What arrived: each once, and nothing else.
    assert collections.Counter(pager.alerts("firing")) == collections.Counter(EXPECTED)
    assert collections.Counter(pager.alerts("resolved")) == collections.Counter(EXPECTED)

    # --- It was silent until its time was up.
    note, _ = pager.note("ContainerImagePullFailing", workload="muted")
    assert unmuted - 1 <= note["arrived"] <= unmuted + 30

    # --- Each to its team.
    notes = {name: pager.note(name, workload=workload) for name, workload in EXPECTED if workload != "muted"}
    receivers = {name: note["receiver"] for name, (note, _) in notes.items()}
    assert receivers == {**dict.fromkeys(notes, "on-call"), "ContainerImagePullFailing": "payments"}

    labels = {name: alert["labels"] for name, (_, alert) in notes.items()}
    subject = {"cluster": "a", "namespace": "shop", "workload_kind": "Deployment"}
    assert labels["ContainerCrashLooping"] == {
        **subject,
        "alertname": "ContainerCrashLooping",
        "severity": "warning",
        "workload": "cart",
        "container": "cart",
        "container_type": "app",
        "reason": "CrashLoopBackOff",
    }
    assert labels["ContainerOOMKilled"] == {
        **subject,
        "alertname": "ContainerOOMKilled",
        "severity": "warning",
        "workload": "pay",
        "container": "pay",
        "reason": "OOMKilled",
    }
    assert labels["ContainerImagePullFailing"] == {
        **subject,
        "alertname": "ContainerImagePullFailing",
        "severity": "warning",
        "workload": "search",
        "container": "search",
        "container_type": "app",
        "reason": "ImagePullBackOff",
        "team": "payments",
    }
    assert labels["WorkloadDown"] == {**subject, "alertname": "WorkloadDown", "severity": "critical", "workload": "api"}

    said = {name: alert["annotations"] for name, (_, alert) in notes.items()}
    summaries = {name: annotations["summary"] for name, annotations in said.items()}
    assert summaries == {
        "ContainerCrashLooping": "Deployment/cart in shop: crash loop (exit code 1); 1 of 3 pods",
        "ContainerOOMKilled": "Deployment/pay in shop: OOM-killed at its 64Mi memory limit; 1 of 2 pods",
        "ContainerImagePullFailing": f"Deployment/search in shop: image not found: {broken_search[0].image}; 2 of 3 pods",
        "WorkloadDown": "Deployment/api in shop: all 2 pods are down: crash loop (exit code 1)",
    }
    assert "1 of 3 pods: container cart of Deployment/cart in namespace shop" in said["ContainerCrashLooping"]["description"]
    assert broken_cart.meta["name"] in said["ContainerCrashLooping"]["description"]
    assert "OOMKilled" in said["ContainerOOMKilled"]["description"] and "Cause: " in said["ContainerOOMKilled"]["description"]
    assert "2 of 3 pods" in said["ContainerImagePullFailing"]["description"]
    assert "Cause: ImageNotFound." in said["ContainerImagePullFailing"]["description"]
    assert "All 2 pods of Deployment/api in namespace shop are down." in said["WorkloadDown"]["description"]
    for name, annotations in said.items():
        assert annotations["runbook_url"].startswith("https://github.com/kubehealer/kubehealer/blob/main/docs/"), name


def test_one_silent_cluster_among_three_is_told_by_its_name(stack):
    silent = stack.others[1]
    silent.stop()
    until("the page about the silent cluster", lambda: ("KubeHealerDown", "") in stack.pager.alerts("firing"), 90)
    _, alert = stack.pager.note("KubeHealerDown")
    assert alert["labels"] == {"alertname": "KubeHealerDown", "severity": "critical", "cluster": "c"}
    silent.start()
    until("its end", lambda: ("KubeHealerDown", "") in stack.pager.alerts("resolved"), 60)


def test_the_rules_are_evaluated_without_errors(stack):
    groups = json.loads(get(stack.urls[1] + "/api/v1/rules"))["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 30
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []


def test_the_metrics_of_the_daemon_pass_promtool(stack):
    """The daemon lives on after the other tests; its /metrics is what Prometheus' own linter likes."""
    text = get(stack.urls[0] + "/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_daemon_asks_for_what_the_chart_grants_and_the_chart_grants_no_more(stack):
    """The last one that needs the stack: it ends it."""
    asked = {(verb, resource) for verb, resource in stack.stop() if not resource.startswith("/")}
    # Logs are read too in this stack, so that the right for them is seen to be used.
    values = "--set=watch.logs=true"
    done = subprocess.run(["helm4", "template", "rel", ROOT / "charts/kubehealer", values], capture_output=True, text=True)
    (role,) = [obj for obj in yaml.safe_load_all(done.stdout) if obj and obj["kind"] == "ClusterRole"]
    granted = {(verb, resource) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert asked <= granted
    # A server that streams lists is not asked for them; an older one is.
    assert granted - asked <= {("list", resource) for verb, resource in asked if verb == "watch"}


@pytest.mark.parametrize("values", sorted((ROOT / "charts/kubehealer/ci").glob("*-values.yaml")), ids=lambda file: file.stem)
def test_the_program_takes_every_argument_that_the_chart_gives_it(values, tmp_path):
    done = subprocess.run(["helm4", "template", "rel", ROOT / "charts/kubehealer", "--values", values], capture_output=True, text=True)
    objects = [obj for obj in yaml.safe_load_all(done.stdout) if obj]
    # A mounted ConfigMap is a folder of links into a folder of links.
    rules = tmp_path / "rules"
    mounted = rules / "..2026_11_22"
    mounted.mkdir(parents=True)
    (rules / "..data").symlink_to(mounted.name)
    for config in objects:
        if config["kind"] == "ConfigMap" and config["metadata"]["name"].endswith("-rules"):
            for name, text in config["data"].items():
                (mounted / name).write_text(text)
                (rules / name).symlink_to(f"..data/{name}")
    workloads = [obj for obj in objects if obj["kind"] in ("Deployment", "StatefulSet", "DaemonSet")]
    assert workloads
    tls = tmp_path / "tls"
    tls.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=kubehealer", "-keyout", tls / "tls.key", "-out", tls / "tls.crt"],
        check=True,
        capture_output=True,
    )
    stand_ins = {
        "$(POD_NAME)": "rel-kubehealer-1",
        "$(NODE_NAME)": "node-a",
        "/etc/kubehealer/rules": str(rules),
        "/etc/kubehealer/tls": str(tls),
    }
    for workload in workloads:
        args = [*workload["spec"]["template"]["spec"]["containers"][0]["args"], "--listen=127.0.0.1:0", "--kubeconfig=/nowhere"]
        args.remove(next(arg for arg in args if arg.startswith("--listen=[::]:")))
        for name, value in stand_ins.items():
            args = [arg.replace(name, value) for arg in args]
        # It gets as far as looking for the cluster.
        run = subprocess.run([BIN / "kubehealer", *args], capture_output=True, text=True, timeout=20)
        assert run.returncode != 0 and "/nowhere" in run.stderr and "Usage:" not in run.stderr, run.stderr
