"""Every alert: fires in time, holds while KubeHealer restarts under a new address, resolves, and is silent in its trap."""

import pathlib
import re

import promtool
import pytest
import yaml
from promtool import ALERTS, SYNCED, firing, reasons, rules, run, series

RULES = rules()
BEGIN = 5  # the minute at which every fault begins
TEXTS = pathlib.Path(__file__).with_name("alert_texts.yaml")

A, B, C = "10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"
WORKLOAD = {"namespace": "shop", "workload_kind": "Deployment", "workload": "cart"}
CONTAINER = {**WORKLOAD, "container": "cart", "container_type": "app"}
# How a Prometheus with honor_labels sees a target of the Operator: labels of the target fill what the sample does not have.
JOB = {**WORKLOAD, "workload_kind": "Job"}
TARGET = {"job": "kubehealer", "service": "kubehealer", "endpoint": "http"}


def unhealthy(reason, value, minutes, since=None, instance=A, pod="cart-1", severity="warning", **labels):
    """The two series of one incident; an empty label is a label that is not there."""
    subject = {"namespace": "shop", "pod": pod, "container": "cart", "reason": reason}
    subject.update({key: labels.pop(key) for key in ("namespace", "container") if key in labels})
    state = {**CONTAINER, "node": "node-a", **subject, "severity": severity, **labels}
    strip = lambda d: {k: v for k, v in d.items() if v != ""}
    out = [series("kubehealer_pod_unhealthy", strip({**TARGET, "instance": instance, **state}), lambda m: value(m) and 1, minutes)]
    if since is None:
        since = next((minute * 60 for minute in range(minutes) if value(minute) is not None), 0)
    subject.update({key: state[key] for key in ("workload_kind", "workload", "node", "container_type", "severity")})
    labels = strip({**TARGET, "instance": instance, **subject})
    at = lambda m: since if value(m) is not None else None
    out.append(series("kubehealer_pod_unhealthy_since_timestamp_seconds", labels, at, minutes))
    return out


def info(reason, summary, value, minutes, instance=A, **labels):
    """The sentence about the incidents of a workload, container and reason."""
    named = {**CONTAINER, "reason": reason, "severity": "warning", **labels, "summary": summary}
    named.pop("container_type")
    named = {key: val for key, val in named.items() if val != ""}
    return series("kubehealer_incident_info", {**TARGET, "instance": instance, **named}, value, minutes)


def between(begin, end):
    return lambda minute: 1 if begin <= minute < end else None


def alive(value, minutes, instance, **labels):
    """KubeHealer is scraped, and knows its pods."""
    return series(SYNCED, {**TARGET, "instance": instance, "resource": "pods", **labels}, value, minutes)


def problem(scope_kind, scope, cause, pods, workloads=2):
    def make(value, minutes, instance):
        labels = {**TARGET, "instance": instance, "cause": cause, "scope_kind": scope_kind, "scope": scope}
        out = [series("kubehealer_problem_pods", labels, lambda m: value(m) and pods, minutes)]
        out.append(series("kubehealer_problem_workloads", labels, lambda m: value(m) and workloads, minutes))
        for number in range(pods):
            named = {"pod": f"pod-{number}", "workload": f"workload-{number % workloads}", "cause": cause}
            out += unhealthy("Other", value, minutes, instance=instance, **named)
        return out

    return make


def incident(reason, **labels):
    def make(value, minutes, instance):
        return unhealthy(reason, value, minutes, since=BEGIN * 60, instance=instance, **labels)

    return make


def oom_kill(times, reason="OOMKilled", **labels):
    """The time of the newest kill, from the API: the same whoever reads it, and whenever."""

    def make(value, minutes, instance):
        subject = {"namespace": "shop", "pod": "cart-1", "container": "cart", "workload_kind": "Deployment", "workload": "cart"}

        def newest(minute):
            past = [time for time in times if time <= minute]
            return past[-1] * 60 if past and value(minute) is not None else None

        name = "kubehealer_container_last_termination_timestamp_seconds"
        return [series(name, {**TARGET, "instance": instance, **subject, **labels, "reason": reason}, newest, minutes)]

    return make


def all_of(*makes):
    return lambda value, minutes, instance: [one for make in makes for one in make(value, minutes, instance)]


def workload_pods(count, **labels):
    def make(value, minutes, instance):
        # The sample has no pod and no container: the target's own are put in.
        own = {"pod": f"kubehealer-{instance[-6]}", "container": "kubehealer"}
        named = {**TARGET, **own, "instance": instance, **WORKLOAD, **labels}
        return [series("kubehealer_workload_pods", named, lambda m: value(m) and count, minutes)]

    return make


def down(reason, pods, of, **labels):
    named = {key: val for key, val in labels.items() if key in ("workload_kind", "workload", "namespace")}
    return all_of(workload_pods(of, **named), *(incident(reason, pod=f"cart-{n}", **labels) for n in range(pods)))


NODE_ALERTS = {"PodStuckCreating", "PodStuckTerminating", "PodRejected", "PodEvicted", "PodDisrupted"}
POD_ALERTS = {"PodNotReady", "PodUnschedulable", "PodFailed", "PodResizeFailing", "WorkloadCannotCreatePods", "WorkloadRolloutStuck"}
SUBJECTS = {
    "ContainerDeviceUnhealthy": {**CONTAINER, "node": "node-a"},
    **{name: {**WORKLOAD, "node": "node-a"} for name in NODE_ALERTS},
    **{name: WORKLOAD for name in POD_ALERTS},
    "JobFailed": JOB,
}
# Minutes from the beginning of the fault until the alert fires, for the alerts on incidents of a class of reasons.
INCIDENTS = {
    "ContainerCrashLooping": 10,
    "ContainerImagePullFailing": 10,
    "ContainerConfigError": 5,
    "ContainerStartFailing": 10,
    "ContainerProbeKilling": 10,
    "ContainerInitStuck": 15,
    "ContainerFailed": 5,
    "ContainerRestartsFrequent": 10,
    "ContainerDeviceUnhealthy": 5,
    "PodNotReady": 15,
    "PodUnschedulable": 15,
    "PodStuckCreating": 15,
    "PodStuckTerminating": 15,
    "PodRejected": 5,
    "PodFailed": 1,
    "PodResizeFailing": 15,
    "PodEvicted": 0,
    "PodDisrupted": 10,
    "WorkloadCannotCreatePods": 5,
    "WorkloadRolloutStuck": 1,
    "JobFailed": 1,
}
# The others: what happens, minutes until it fires, labels.
OTHERS = {
    "ContainerOOMKilled": (
        all_of(oom_kill([BEGIN]), incident("OOMKilled")),
        0,
        {**WORKLOAD, "container": "cart", "reason": "OOMKilled"},
    ),
    "RuleMatched": (
        incident("ImageWithoutDigest"),
        0,
        {**CONTAINER, "reason": "ImageWithoutDigest"},
    ),
    "WorkloadDown": (down("CrashLoopBackOff", 3, 3), 5, WORKLOAD),
    "NodeUnhealthy": (incident("NodeNotReady"), 2, {"node": "node-a", "reason": "NodeNotReady"}),
    "NodeCorrelatedFailures": (problem("node", "node-a", "NodeNotReady", 3), 2, {"node": "node-a", "cause": "NodeNotReady"}),
    "SharedCauseFailures": (
        problem("image", "shop/cart:v2", "ImageNotFound", 5),
        2,
        {"scope_kind": "image", "scope": "shop/cart:v2", "cause": "ImageNotFound"},
    ),
}
# Minutes that it fires on after the end, for a pod that is about to be replaced.
KEPT = {
    "ContainerCrashLooping": 5,
    "ContainerImagePullFailing": 2,
    "ContainerConfigError": 2,
    "ContainerStartFailing": 5,
    "ContainerProbeKilling": 5,
    "WorkloadDown": 6,
}
# Tested by hand below, each in its own way.
SELF = {
    "ContainerOOMKillLoop",
    "KubeHealerDown",
    "KubeHealerInstanceDown",
    "KubeHealerWatchStale",
    "KubeHealerWatchErrors",
    "KubeHealerEvidenceMissing",
    "KubeHealerLabelsRenamed",
    "KubeHealerSeriesDropped",
}


def scenario(alert):
    if alert in OTHERS:
        return OTHERS[alert]
    reason = reasons(alert)[0]
    return incident(reason, **kind_of(alert)), INCIDENTS[alert], {**SUBJECTS.get(alert, CONTAINER), "reason": reason}


def kind_of(alert):
    return {"workload_kind": "Job"} if alert == "JobFailed" else {}


def kept(alert):
    return KEPT.get(alert, 0)


def labels_of(alert, subject):
    severity = RULES[alert]["labels"]["severity"]
    # That of a rule of the user's comes from the rule; these scenarios have the usual one.
    return {**subject, "severity": severity if "{" not in severity else "warning"}


def test_every_alert_is_tested():
    assert set(RULES) == set(INCIDENTS) | set(OTHERS) | SELF


@pytest.mark.parametrize("alert", [*INCIDENTS, *OTHERS])
def test_fires_in_time_holds_through_a_restart_of_kubehealer_and_resolves(alert, tmp_path):
    make, wait, subject = scenario(alert)
    fires = BEGIN + wait
    restart = fires + 8
    end = restart + 14
    minutes = end + 16
    # KubeHealer is away for two minutes and comes back under another address.
    inputs = make(between(BEGIN, restart), minutes, A) + make(between(restart + 2, end), minutes, B)
    inputs += [alive(between(0, restart), minutes, A), alive(between(restart + 2, minutes), minutes, B)]
    one = [labels_of(alert, subject)]
    tests = [firing(alert, minute, []) for minute in range(fires)]
    tests += [firing(alert, minute, one) for minute in range(fires + 1, end + kept(alert))]
    tests += [firing(alert, minute, []) for minute in range(end + kept(alert), minutes)]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("alert", [*INCIDENTS, *OTHERS])
def test_two_replicas_raise_one_alert_that_counts_no_pod_twice(alert, tmp_path):
    make, wait, subject = scenario(alert)
    minutes = BEGIN + wait + 20
    alone, both = [], []
    for inputs, instances in ((alone, [A]), (both, [A, B])):
        for instance in instances:
            inputs += make(between(BEGIN, minutes), minutes, instance)
    at = BEGIN + wait + 10
    want = [firing(alert, at, [labels_of(alert, subject)])]
    assert run(tmp_path, [{"interval": "1m", "input_series": both, "promql_expr_test": want}]) == ""
    # The text carries the value: the same text is the same count.
    assert texts(alert, both, at, tmp_path) == texts(alert, alone, at, tmp_path)


@pytest.mark.parametrize("alert", [name for name in INCIDENTS if len(reasons(name)) > 1])
def test_fires_for_each_of_its_reasons(alert, tmp_path):
    wait = INCIDENTS[alert]
    minutes = BEGIN + wait + 5
    tests = []
    for reason in reasons(alert):
        inputs = incident(reason, **kind_of(alert))(between(BEGIN, minutes), minutes, A)
        subject = {**SUBJECTS.get(alert, CONTAINER), "reason": reason}
        want = [firing(alert, BEGIN + wait + 2, [labels_of(alert, subject)])]
        tests.append({"interval": "1m", "input_series": inputs, "promql_expr_test": want})
    assert run(tmp_path, tests) == ""


def silent(alert, inputs, minutes, tmp_path):
    tests = [firing(alert, minute, []) for minute in range(minutes)]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


INFO = ("ContainerRestartsFrequent", "PodEvicted", "PodDisrupted")


@pytest.mark.parametrize("alert", [name for name in [*INCIDENTS, "NodeUnhealthy", "ContainerOOMKilled"] if name not in INFO])
def test_an_informational_incident_raises_no_warning(alert, tmp_path):
    inputs = incident(reasons(alert)[0], severity="info", **kind_of(alert))(between(BEGIN, 60), 60, A)
    silent(alert, inputs, 60, tmp_path)


@pytest.mark.parametrize("alert", INFO)
def test_what_pages_nobody_has_severity_info(alert):
    assert RULES[alert]["labels"]["severity"] == "info"


@pytest.mark.parametrize("alert", [name for name, wait in INCIDENTS.items() if wait >= 5])
def test_a_fault_that_heals_in_time_is_not_paged(alert, tmp_path):
    wait = INCIDENTS[alert]
    silent(alert, incident(reasons(alert)[0], **kind_of(alert))(between(BEGIN, BEGIN + wait), 60, A), 60, tmp_path)


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_a_failed_pod_of_a_job_is_the_jobs_affair(kind, tmp_path):
    silent("ContainerFailed", incident("Error", workload_kind=kind)(between(BEGIN, 60), 60, A), 60, tmp_path)
    silent("PodFailed", incident("DeadlineExceeded", workload_kind=kind)(between(BEGIN, 60), 60, A), 60, tmp_path)


def test_a_deadline_of_a_pod_is_no_failed_job(tmp_path):
    silent("JobFailed", incident("DeadlineExceeded", workload_kind="ReplicaSet")(between(BEGIN, 60), 60, A), 60, tmp_path)


def test_every_reason_of_the_program_has_its_alert():
    source = (ALERTS.parents[3] / "crates/kubehealer-core/src/diagnosis/reason.rs").read_text()
    table = re.search(r"^reasons! \{\n(.*?)^\}", source, re.M | re.S)[1]
    program = set(re.findall(r'^ *\w+ "([^"]+)"', table, re.M))
    assert len(program) > 50
    named = {reason for alert in RULES for reason in reasons(alert)}
    assert program == named
    (others,) = re.findall(r'reason!~"([^"]*)"', RULES["RuleMatched"]["expr"])
    assert program == set(others.split("|"))


@pytest.mark.parametrize("severity", ["info", "warning", "critical"])
def test_a_rule_of_the_users_pages_as_severely_as_it_says(severity, tmp_path):
    inputs = unhealthy("RestartedTwice", between(5, 30), 30, severity=severity)
    one = [{**CONTAINER, "reason": "RestartedTwice", "severity": severity}]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": [firing("RuleMatched", 10, one)]}]) == ""


def test_what_is_built_in_is_no_rule_of_the_users(tmp_path):
    inputs = [one for reason in ("OOMKilled", "FailedCreate", "NodeNotReady") for one in incident(reason)(between(5, 30), 30, A)]
    silent("RuleMatched", inputs, 30, tmp_path)


def test_a_replaced_pod_with_the_same_fault_does_not_fire_again(tmp_path):
    minutes = 60
    inputs = unhealthy("CrashLoopBackOff", between(5, 25), minutes, pod="cart-1")
    inputs += unhealthy("CrashLoopBackOff", between(27, 60), minutes, pod="cart-2", node="node-b")
    one = [labels_of("ContainerCrashLooping", {**CONTAINER, "reason": "CrashLoopBackOff"})]
    tests = [firing("ContainerCrashLooping", minute, one) for minute in range(16, 60)]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("alert", ["ContainerImagePullFailing", "ContainerConfigError"])
def test_pods_that_are_replaced_before_they_are_old_enough_are_paged(alert, tmp_path):
    # As a CronJob does with concurrencyPolicy Replace, or one rollout after another: none of them gets to the threshold.
    minutes, life = 60, INCIDENTS[alert]
    reason, inputs = reasons(alert)[0], []
    for number in range(minutes // life):
        begin = BEGIN + number * life
        inputs += unhealthy(reason, between(begin, begin + life - 0.5), minutes, since=begin * 60, pod=f"cart-{number}")
    one = [labels_of(alert, {**CONTAINER, "reason": reason})]
    tests = [firing(alert, minute, []) for minute in range(BEGIN + INCIDENTS[alert])]
    tests += [firing(alert, minute, one) for minute in range(BEGIN + 3 * INCIDENTS[alert] + 2, minutes - life)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("alert", ["ContainerImagePullFailing", "ContainerConfigError"])
def test_pods_that_are_replaced_are_one_page(alert, tmp_path, monkeypatch):
    # They live for a little less than the age, and there are seconds and sometimes a minute without one of them; later they live for
    # less, and there is none for a third of the time.
    monkeypatch.setattr(promtool, "step", 10)
    minutes, begin, number, inputs = 90, BEGIN, 0, []
    reason, age = reasons(alert)[0], INCIDENTS[alert]
    while begin < minutes:
        number += 1
        life, pause = (4, 100 / 60) if begin > 50 else (age - 10 / 60, 1 if number % 5 == 0 else 10 / 60)
        inputs += unhealthy(reason, between(begin, begin + life), minutes, since=begin * 60, pod=f"cart-{number}")
        begin += life + pause
    first = BEGIN + (22 if alert == "ContainerImagePullFailing" else 17)
    one = [labels_of(alert, {**CONTAINER, "reason": reason})]
    tests = [firing(alert, at / 6, one) for at in range(first * 6, (minutes - 1) * 6)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("alert", ["ContainerImagePullFailing", "ContainerConfigError"])
def test_short_faults_of_one_workload_now_and_then_are_not_paged(alert, tmp_path):
    # Two thirds of the time; four fifths are most of it.
    minutes, reason, inputs = 90, reasons(alert)[0], []
    for number, begin in enumerate(range(BEGIN, minutes, 6)):
        inputs += unhealthy(reason, between(begin, begin + 4), minutes, since=begin * 60, pod=f"cart-{number}")
    silent(alert, inputs, minutes, tmp_path)


def test_a_diagnosis_that_gets_sharper_does_not_fire_again(tmp_path):
    minutes = 60
    vague, since = unhealthy("ImagePullBackOff", between(5, 60), minutes, since=300)
    vague = unhealthy("ImagePullBackOff", between(5, 25), minutes, since=300)[0]
    sharp = unhealthy("ImagePullBackOff", between(25, 60), minutes, since=300, cause="ImageNotFound")[0]
    inputs = [vague, sharp, since]
    one = [labels_of("ContainerImagePullFailing", {**CONTAINER, "reason": "ImagePullBackOff"})]
    tests = [firing("ContainerImagePullFailing", minute, one) for minute in range(17, 60)]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


# --- Memory


def test_an_oom_kill_that_a_crash_hides_is_paged_from_its_time(tmp_path):
    # By the next scrape the container has been killed for memory, started again, and ended with an error.
    minutes = 40
    inputs = all_of(oom_kill([BEGIN]), incident("CrashLoopBackOff"))(between(BEGIN, minutes), minutes, A)
    one = [labels_of("ContainerOOMKilled", OTHERS["ContainerOOMKilled"][2])]
    tests = [firing("ContainerOOMKilled", minute, one) for minute in range(BEGIN, BEGIN + 10)]
    tests += [firing("ContainerOOMKilled", minute, []) for minute in range(BEGIN + 10, minutes)]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


def test_an_oom_kill_that_a_crash_hides_says_what_came_then(tmp_path):
    make = all_of(oom_kill([BEGIN]), incident("CrashLoopBackOff"), workload_pods(1))
    inputs = make(between(BEGIN, 40), 40, A)
    inputs.append(info("CrashLoopBackOff", "crash loop (exit code 1): bad config", between(BEGIN, 40), 40))
    wanted = "Deployment/cart in shop: OOM-killed, then crash loop (exit code 1): bad config; 1 of 1 pods"
    assert texts("ContainerOOMKilled", inputs, BEGIN + 2, tmp_path)["summary"] == wanted


def test_a_mark_of_oom_on_a_container_that_a_probe_stopped_is_not_paged(tmp_path):
    # The kernel killed a child of it once; what ended the container, with exit code 143, was the kubelet.
    for ended_by in ([], [incident("LivenessProbeFailed")]):
        inputs = all_of(oom_kill([5, 10, 15, 20]), *ended_by)(between(5, 60), 60, A)
        silent("ContainerOOMKilled", inputs, 60, tmp_path)
        silent("ContainerOOMKillLoop", inputs, 60, tmp_path)


def test_an_old_oom_kill_read_again_after_a_restart_is_not_paged(tmp_path):
    inputs = all_of(oom_kill([0]), incident("CrashLoopBackOff"))(between(20, 60), 60, B)
    silent("ContainerOOMKilled", inputs, 60, tmp_path)


def test_another_end_is_no_oom_kill(tmp_path):
    inputs = oom_kill([5, 9, 14, 20], reason="Error")(between(5, 60), 60, A)
    silent("ContainerOOMKilled", inputs, 60, tmp_path)
    silent("ContainerOOMKillLoop", inputs, 60, tmp_path)


LOOP = {**WORKLOAD, "container": "cart", "reason": "OOMKilled"}


def test_three_oom_kills_in_an_hour_are_a_loop_that_resolves(tmp_path):
    minutes = 120
    kill = oom_kill([5, 20, 35])
    # A restart of KubeHealer in between is no kill. Between the kills the container recovers, and the incident ends.
    inputs = kill(between(5, 25), minutes, A) + kill(between(27, minutes), minutes, B)
    inputs += incident("OOMKilled")(lambda m: 1 if any(at <= m < at + 10 for at in (5, 20, 35)) else None, minutes, A)
    one = [labels_of("ContainerOOMKillLoop", LOOP)]
    tests = [firing("ContainerOOMKillLoop", minute, []) for minute in range(0, 35)]
    tests += [firing("ContainerOOMKillLoop", minute, one) for minute in range(36, 65)]
    tests += [firing("ContainerOOMKillLoop", minute, []) for minute in range(65, minutes)]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize(("last", "loops"), [(64, True), (65, False), (70, False)])
def test_three_oom_kills_that_an_hour_does_not_hold_are_no_loop(last, loops, tmp_path):
    kill = all_of(oom_kill([5, 50, last]), incident("OOMKilled"))
    one = [labels_of("ContainerOOMKillLoop", LOOP)] if loops else []
    tests = [firing("ContainerOOMKillLoop", minute, one if minute == last else []) for minute in range(90)]
    assert run(tmp_path, [{"input_series": kill(between(5, 90), 90, A), "promql_expr_test": tests}]) == ""


def test_two_oom_kills_and_two_restarts_of_kubehealer_are_no_loop(tmp_path):
    kill = all_of(oom_kill([5, 20]), incident("OOMKilled"))
    inputs = kill(between(5, 25), 90, A) + kill(between(27, 40), 90, B) + kill(between(40, 90), 90, C)
    silent("ContainerOOMKillLoop", inputs, 90, tmp_path)


# --- Workloads


def test_a_workload_with_one_pod_left_is_not_down(tmp_path):
    silent("WorkloadDown", down("CrashLoopBackOff", 2, 3)(between(5, 60), 60, A), 60, tmp_path)


def test_two_replicas_of_kubehealer_do_not_make_half_a_workload_a_whole_one(tmp_path):
    make = down("ImagePullBackOff", 2, 4)
    silent("WorkloadDown", make(between(5, 60), 60, A) + make(between(5, 60), 60, B), 60, tmp_path)


def test_two_reasons_on_one_pod_do_not_make_two_pods(tmp_path):
    make = all_of(workload_pods(2), incident("ReadinessProbeFailed"), incident("LivenessProbeFailed"))
    silent("WorkloadDown", make(between(5, 60), 60, A), 60, tmp_path)


@pytest.mark.parametrize("kind", ["Pod", "Job", "CronJob"])
def test_a_bare_pod_or_a_job_is_never_critical(kind, tmp_path):
    silent("WorkloadDown", down("CrashLoopBackOff", 1, 1, workload_kind=kind)(between(5, 60), 60, A), 60, tmp_path)


def test_a_workload_that_comes_back_within_five_minutes_was_not_down(tmp_path):
    silent("WorkloadDown", down("ReadinessProbeFailed", 3, 3)(between(5, 9), 60, A), 60, tmp_path)


def test_one_oom_kill_of_the_only_pod_does_not_make_it_down(tmp_path):
    make = all_of(workload_pods(1), oom_kill([5]), incident("OOMKilled"))
    silent("WorkloadDown", make(between(5, 60), 60, A), 60, tmp_path)


def test_an_oom_loop_at_the_longest_back_off_stays_down(tmp_path):
    # A minute of running, five of back-off.
    make = all_of(workload_pods(1), oom_kill(range(5, 90, 6)), incident("OOMKilled"))
    inputs = make(between(5, 90), 90, A)
    tests = [firing("WorkloadDown", minute, [labels_of("WorkloadDown", WORKLOAD)]) for minute in range(24, 90)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


def test_an_oom_loop_of_the_only_pod_makes_it_down(tmp_path):
    make = all_of(workload_pods(1), oom_kill(range(5, 60, 5)), incident("OOMKilled"))
    tests = [firing("WorkloadDown", minute, [labels_of("WorkloadDown", WORKLOAD)]) for minute in range(22, 60)]
    inputs = make(between(5, 60), 60, A)
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


def test_a_workload_without_pods_is_not_as_old_as_its_neighbour(tmp_path):
    # Neither has a pod to be told by.
    old = unhealthy("FailedCreate", between(5, 60), 60, since=300, pod="", container="", container_type="", node="")
    new = unhealthy("FailedCreate", between(30, 60), 60, since=1800, pod="", container="", container_type="", node="", workload="pay")
    subjects = [labels_of("WorkloadCannotCreatePods", {**WORKLOAD, "workload": name, "reason": "FailedCreate"}) for name in ("cart", "pay")]
    tests = [firing("WorkloadCannotCreatePods", minute, subjects[:1]) for minute in range(12, 35)]
    tests += [firing("WorkloadCannotCreatePods", minute, subjects) for minute in range(37, 60)]
    assert run(tmp_path, [{"interval": "1m", "input_series": old + new, "promql_expr_test": tests}]) == ""


# --- Common causes


def test_few_pods_are_no_common_cause(tmp_path):
    silent("NodeCorrelatedFailures", problem("node", "node-a", "DiskPressure", 2)(between(5, 60), 60, A), 60, tmp_path)
    silent("SharedCauseFailures", problem("image", "cart:v2", "ImageNotFound", 4)(between(5, 60), 60, A), 60, tmp_path)
    # One workload alone has alerts of its own.
    silent("NodeCorrelatedFailures", problem("node", "node-a", "DiskPressure", 9, workloads=1)(between(5, 60), 60, A), 60, tmp_path)
    silent("SharedCauseFailures", problem("image", "cart:v2", "ImageNotFound", 9, workloads=1)(between(5, 60), 60, A), 60, tmp_path)
    # Another workload with the same cause, about another image.
    other = incident("Other", pod="api-1", workload="api", cause="ImageNotFound")
    make = all_of(problem("image", "cart:v2", "ImageNotFound", 9, workloads=1), other)
    silent("SharedCauseFailures", make(between(5, 60), 60, A), 60, tmp_path)
    # What is the node's affair is told by the node's alert.
    silent("SharedCauseFailures", problem("node", "node-a", "DiskPressure", 50)(between(5, 60), 60, A), 60, tmp_path)


# --- KubeHealer itself


def own(name, value, minutes, instance=A, **labels):
    target = {**TARGET, "pod": "kubehealer-1", "container": "kubehealer", "namespace": "monitoring"}
    return series(name, {**target, "instance": instance, **labels}, value, minutes)


def test_kubehealer_down_fires_when_nothing_is_scraped_and_resolves(tmp_path):
    inputs = [own("kubehealer_build_info", lambda m: 1 if m < 10 or m >= 30 else None, 45)]
    one = [{"severity": "critical"}]
    tests = [firing("KubeHealerDown", minute, []) for minute in [*range(0, 14), *range(31, 45)]]
    tests += [firing("KubeHealerDown", minute, one) for minute in range(16, 30)]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


def test_a_restart_of_kubehealer_is_not_its_end(tmp_path):
    inputs = [own("kubehealer_build_info", between(0, 10), 40), own("kubehealer_build_info", between(14, 40), 40, B)]
    silent("KubeHealerDown", inputs, 40, tmp_path)


def test_one_instance_of_several_that_is_down_fires_and_resolves(tmp_path):
    inputs = [
        series("up", {"job": "monitoring/kubehealer", "instance": A}, lambda m: 1, 60),
        series("up", {"job": "monitoring/kubehealer", "instance": B}, lambda m: 0 if 5 <= m < 40 else 1, 60),
    ]
    one = [{"severity": "warning", "job": "monitoring/kubehealer", "instance": B}]
    tests = [firing("KubeHealerInstanceDown", minute, []) for minute in [*range(0, 14), *range(40, 60)]]
    tests += [firing("KubeHealerInstanceDown", minute, one) for minute in range(16, 40)]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


def test_somebody_elses_instance_is_not_ours(tmp_path):
    silent("KubeHealerInstanceDown", [series("up", {"job": "node", "instance": A}, lambda m: 0, 60)], 60, tmp_path)


def stale_watch(resource):
    # Contact until minute 10, again from minute 40.
    return [own("kubehealer_watch_last_event_timestamp_seconds", lambda m: 60 * (m if m < 10 or m >= 40 else 10), 60, resource=resource)]


def test_a_watch_of_pods_without_contact_fires_and_resolves(tmp_path):
    one = [{"severity": "critical", "resource": "pods"}]
    tests = [firing("KubeHealerWatchStale", minute, []) for minute in [*range(0, 26), *range(41, 60)]]
    tests += [firing("KubeHealerWatchStale", minute, one) for minute in range(29, 40)]
    inputs = stale_watch("pods")
    # A replica that sees does not help: the stale one holds incidents that are long gone.
    inputs.append(own("kubehealer_watch_last_event_timestamp_seconds", lambda m: 60 * m, 60, B, resource="pods"))
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


def test_a_quiet_watch_of_something_else_is_not_blindness(tmp_path):
    silent("KubeHealerWatchStale", stale_watch("nodes"), 60, tmp_path)


def errors(value):
    return [own("kubehealer_watch_errors_total", value, 60, resource="events")]


def test_watch_errors_that_go_on_fire_and_resolve(tmp_path):
    one = [{"severity": "warning", "resource": "events"}]
    inputs = errors(lambda m: 0 if m < 5 else 2 * (min(m, 35) - 5))
    tests = [firing("KubeHealerWatchErrors", minute, []) for minute in [*range(0, 15), *range(41, 60)]]
    tests += [firing("KubeHealerWatchErrors", minute, one) for minute in range(19, 36)]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


def test_a_burst_of_watch_errors_is_not_paged(tmp_path):
    silent("KubeHealerWatchErrors", errors(lambda m: 0 if m < 5 else 8), 60, tmp_path)


def source(available):
    return [own("kubehealer_source_available", lambda m: int(available(m)), 60, source="events")]


def test_a_source_that_cannot_be_read_fires_and_resolves(tmp_path):
    one = [{"severity": "warning", "source": "events"}]
    tests = [firing("KubeHealerEvidenceMissing", minute, []) for minute in [*range(0, 19), *range(40, 60)]]
    tests += [firing("KubeHealerEvidenceMissing", minute, one) for minute in range(21, 40)]
    inputs = source(lambda m: m < 5 or m >= 40)
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


def test_a_source_that_fails_for_a_while_is_not_paged(tmp_path):
    silent("KubeHealerEvidenceMissing", source(lambda m: m % 14 < 2), 60, tmp_path)


def renamed(value):
    """Two incidents as a Prometheus without honor_labels sees them."""
    own_labels = {"namespace": "kubehealer", "pod": "kubehealer-1", "container": "kubehealer"}
    for number in range(2):
        theirs = {"exported_namespace": "shop", "exported_pod": f"cart-{number}", "exported_container": "cart"}
        labels = {**TARGET, "job": "kubernetes-pods", "instance": A, **own_labels, **theirs, "reason": "CrashLoopBackOff"}
        yield series("kubehealer_pod_unhealthy", labels, value, 60)


def test_labels_that_prometheus_renamed_fire_until_they_are_kept(tmp_path):
    one = [{"severity": "warning", "job": "kubernetes-pods"}]
    tests = [firing("KubeHealerLabelsRenamed", minute, []) for minute in [*range(0, 9), *range(46, 60)]]
    tests += [firing("KubeHealerLabelsRenamed", minute, one) for minute in range(11, 40)]
    inputs = list(renamed(between(5, 40)))
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


def test_labels_that_are_kept_are_not_paged(tmp_path):
    silent("KubeHealerLabelsRenamed", incident("CrashLoopBackOff")(between(5, 60), 60, A), 60, tmp_path)


def test_dropped_series_fire_and_resolve(tmp_path):
    inputs = [own("kubehealer_series_dropped_total", lambda m: 0 if m < 5 else 10 * (min(m, 20) - 5), 60)]
    one = [{"severity": "warning"}]
    tests = [firing("KubeHealerSeriesDropped", minute, []) for minute in [*range(0, 5), *range(37, 60)]]
    tests += [firing("KubeHealerSeriesDropped", minute, one) for minute in range(7, 33)]
    assert run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]) == ""


def test_series_dropped_long_ago_are_not_paged(tmp_path):
    silent("KubeHealerSeriesDropped", [own("kubehealer_series_dropped_total", lambda m: 500, 60)], 60, tmp_path)


# --- What they say

DOCS = ALERTS.parents[3] / "docs/alerts.md"


def test_the_page_of_alerts_names_each_with_its_severity_and_reasons():
    lines = dict(re.findall(r"^\| `(\w+)` (\|.*)$", DOCS.read_text(), re.M))
    assert set(lines) == set(RULES)
    for alert, line in lines.items():
        severity = RULES[alert]["labels"]["severity"]
        assert line.startswith(f"| {severity} |") or (alert == "RuleMatched" and line.startswith("| the rule's |"))
        assert set(re.findall(r"\[([\w-]+)\]", line)) == set(reasons(alert)), alert
        if age := re.search(r":pod_unhealthy:open\{[^}]*\} >= (\d+)", RULES[alert]["expr"]):
            assert f"{int(age[1]) // 60} minute" in line
        elif held := re.search(r"offset (\d+)m\n *and\n", RULES[alert]["expr"]):
            assert f"{held[1]} minutes" in line
        elif wait := RULES[alert].get("for"):
            assert wait[:-1] in line


def test_every_runbook_url_leads_somewhere():
    headings = {heading.lower() for heading in re.findall(r"^### (.*)$", DOCS.read_text(), re.M)}
    for alert, rule in RULES.items():
        url = rule["annotations"]["runbook_url"]
        if url.endswith("/docs/runbooks/{{ $labels.reason }}.md"):
            assert reasons(alert)
            for reason in reasons(alert):
                assert (DOCS.parent / f"runbooks/{reason}.md").exists(), reason
        else:
            assert url.rpartition("/docs/alerts.md#")[2] in headings, alert




def texts(alert, inputs, minute, tmp_path):
    """The annotations as promtool shows them when it expected none."""
    wrong = [{"alertname": alert, "eval_time": f"{minute}m", "exp_alerts": []}]
    output = run(tmp_path, [{"interval": "1m", "input_series": inputs, "alert_rule_test": wrong}])
    found = re.findall(r"Annotations:\{(.*)\}\s*\n?", output)
    assert len(found) == 1, output
    return {key: yaml.safe_load(f'"{value}"') for key, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[0])}


def spoken(alert):
    """A scenario in which there is something to say: two of ten pods, with a cause."""
    if alert in ("KubeHealerDown",):
        return [own("kubehealer_tracked_pods", lambda m: 1, 40)], 20
    if alert == "KubeHealerInstanceDown":
        return [series("up", {"job": "monitoring/kubehealer", "instance": B}, lambda m: 0, 40)], 20
    if alert == "KubeHealerWatchStale":
        return stale_watch("pods"), 35
    if alert == "KubeHealerWatchErrors":
        return errors(lambda m: 2 * m), 30
    if alert == "KubeHealerEvidenceMissing":
        return source(lambda m: False), 30
    if alert == "KubeHealerLabelsRenamed":
        return list(renamed(lambda m: 1)), 20
    if alert == "KubeHealerSeriesDropped":
        return [own("kubehealer_series_dropped_total", lambda m: m, 40)], 20
    if alert == "ContainerOOMKillLoop":
        make = all_of(oom_kill([5, 10, 15]), incident("OOMKilled", cause="MemoryLimitReached"), workload_pods(10))
        return make(between(5, 40), 40, A), 20
    if alert == "NodeUnhealthy":
        node = {"namespace": "", "workload_kind": "Node", "workload": "node-a", "container": "", "container_type": ""}
        inputs = incident("NodeNotReady", pod="", **node)(between(BEGIN, 40), 40, A)
        return [*inputs, info("NodeNotReady", "its kubelet has stopped posting status", between(BEGIN, 40), 40, **node)], BEGIN + 5
    if alert in OTHERS and alert not in ("ContainerOOMKilled", "WorkloadDown", "RuleMatched"):
        make, wait, _ = OTHERS[alert]
        return make(between(BEGIN, 40), 40, A), BEGIN + wait + 3
    if alert == "WorkloadDown":
        make = all_of(workload_pods(2), *(incident("ImagePullBackOff", pod=f"cart-{n}", cause="ImageNotFound") for n in (1, 2)))
        return make(between(BEGIN, 40), 40, A), 20
    reason = "ImageWithoutDigest" if alert == "RuleMatched" else reasons(alert)[0]
    both = [incident(reason, pod=f"cart-{n}", cause="SomeCause", **kind_of(alert)) for n in (1, 2)]
    more = [oom_kill([BEGIN]), oom_kill([BEGIN], pod="cart-2")] if alert == "ContainerOOMKilled" else []
    inputs = all_of(workload_pods(10), *both, *more)(between(BEGIN, 40), 40, A)
    subject = {} if "container" in SUBJECTS.get(alert, CONTAINER) else {"container": "", "container_type": ""}
    inputs.append(info(reason, "the sentence of the finding", between(BEGIN, 40), 40, **subject, **kind_of(alert)))
    return inputs, BEGIN + INCIDENTS.get(alert, 0) + 3


@pytest.mark.parametrize("alert", list(RULES))
def test_says_what_is_wrong_where_and_what_to_do(alert, tmp_path):
    """The words of every alert, as they reach a person: read alert_texts.yaml."""
    said = texts(alert, *spoken(alert), tmp_path)
    assert said == yaml.safe_load(TEXTS.read_text())[alert]
    assert set(said) == {"summary", "description", "runbook_url"}
    assert not re.search(r"<no value>|%!|  ", " ".join(said.values())), said


NOT_FOUND = "image not found: registry.example.com/payments/api:4.9.9"


def said_of_api(tmp_path, *sentences, more=(), until=40):
    named = {"namespace": "payments", "workload": "api", "container": "api"}
    pods = [incident("ImagePullBackOff", pod=f"api-{n}", **named) for n in range(10)]
    inputs = all_of(workload_pods(10, namespace="payments", workload="api"), *pods)(between(BEGIN, until), 40, A)
    for instance, sentence in zip((A, B), sentences):
        inputs.append(info("ImagePullBackOff", sentence, between(BEGIN, until), 40, instance, **named))
    inputs += more
    return texts("ContainerImagePullFailing", inputs, 20, tmp_path)["summary"]


def test_a_page_says_why_in_the_words_of_the_finding(tmp_path):
    assert said_of_api(tmp_path, NOT_FOUND) == f"Deployment/api in payments: {NOT_FOUND}; 10 of 10 pods"


def test_a_page_says_why_while_kubehealer_is_away(tmp_path):
    more = [alive(between(0, 18), 40, A)]
    assert said_of_api(tmp_path, NOT_FOUND, more=more, until=18) == f"Deployment/api in payments: {NOT_FOUND}; 10 of 10 pods"


def test_a_page_says_that_the_previous_revision_still_serves(tmp_path):
    labels = {**TARGET, **WORKLOAD, "instance": A, "namespace": "payments", "workload": "api"}
    older = series("kubehealer_workload_old_revision_ready_pods", labels, lambda m: 3, 40)
    wanted = f"Deployment/api in payments: {NOT_FOUND}; 10 of 10 pods; the previous revision still serves"
    assert said_of_api(tmp_path, NOT_FOUND, more=[older]) == wanted


def test_a_shard_that_knows_a_part_of_the_workload_does_not_tell_its_size(tmp_path):
    named = {"namespace": "payments", "workload": "api", "container": "api"}
    pods = [incident("ImagePullBackOff", pod=f"api-{n}", **named) for n in range(10)]
    inputs = all_of(workload_pods(6, namespace="payments", workload="api"), *pods)(between(BEGIN, 40), 40, A)
    wanted = "Deployment/api in payments: container api: its image cannot be pulled; 10 pods"
    assert texts("ContainerImagePullFailing", inputs, 20, tmp_path)["summary"] == wanted


def test_two_replicas_that_say_different_things_do_not_make_the_text_flap(tmp_path):
    for sentences in ((NOT_FOUND, "cannot pull image"), ("cannot pull image", NOT_FOUND)):
        assert said_of_api(tmp_path, *sentences) == "Deployment/api in payments: cannot pull image; 10 of 10 pods"


def test_a_page_without_a_sentence_says_what_kind_of_failure_it_is(tmp_path):
    assert said_of_api(tmp_path) == "Deployment/api in payments: container api: its image cannot be pulled; 10 of 10 pods"


def test_a_sentence_that_changes_does_not_change_the_alert(tmp_path):
    inputs = incident("ImagePullBackOff")(between(BEGIN, 60), 60, A)
    inputs.append(info("ImagePullBackOff", "cannot pull image", between(BEGIN, 30), 60))
    inputs.append(info("ImagePullBackOff", NOT_FOUND, between(30, 60), 60))
    one = [labels_of("ContainerImagePullFailing", {**CONTAINER, "reason": "ImagePullBackOff"})]
    tests = [firing("ContainerImagePullFailing", minute, one) for minute in range(17, 60)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


def fleet(silent_from, silent_until, names=("a", "b", "c")):
    inputs = []
    for number, cluster in enumerate(names):
        target = {"cluster": cluster, "job": "kubelet", "instance": f"10.{number}.0.1:10250"}
        inputs.append(series("up", target, lambda m: 1, 60))
        gone = lambda m, cluster=cluster: cluster == "b" and silent_from <= m < silent_until
        inputs.append(own("kubehealer_build_info", lambda m, gone=gone: None if gone(m) else 1, 60, cluster=cluster))
    return inputs


def test_one_silent_cluster_among_three_is_told_by_its_name(tmp_path):
    one = [{"severity": "critical", "cluster": "b"}]
    tests = [firing("KubeHealerDown", minute, one if 15 <= minute < 40 else []) for minute in range(60)]
    assert run(tmp_path, [{"input_series": fleet(10, 40), "promql_expr_test": tests}]) == ""
    said = texts("KubeHealerDown", fleet(10, 40), 20, tmp_path)
    assert said["summary"] == "KubeHealer in cluster b is down or not scraped: pod failures are not reported"


def test_targets_of_which_only_others_have_a_cluster_raise_nothing(tmp_path):
    inputs = fleet(0, 0, names=("a",))
    inputs[1] = own("kubehealer_build_info", lambda m: 1, 60)
    silent("KubeHealerDown", inputs, 60, tmp_path)


def test_a_silent_cluster_is_told_where_a_kubehealer_has_no_cluster(tmp_path):
    # The hub scrapes its own without the label.
    inputs = fleet(10, 40) + [own("kubehealer_build_info", lambda m: 1, 60, "10.9.0.1:8080")]
    one = [{"severity": "critical", "cluster": "b"}]
    tests = [firing("KubeHealerDown", minute, one if 15 <= minute < 40 else []) for minute in range(60)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


def test_all_clusters_that_are_silent_are_told_where_a_kubehealer_has_no_cluster(tmp_path):
    inputs = fleet(10, 40, names=("b",)) + [own("kubehealer_build_info", lambda m: 1, 60, "10.9.0.1:8080")]
    one = [{"severity": "critical", "cluster": "b"}]
    tests = [firing("KubeHealerDown", minute, one if 15 <= minute < 40 else []) for minute in range(60)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


def test_a_hub_without_a_cluster_that_is_silent_is_told(tmp_path):
    inputs = fleet(0, 0) + [own("kubehealer_build_info", lambda m: None if 10 <= m < 40 else 1, 60, "10.9.0.1:8080")]
    one = [{"severity": "critical"}]
    tests = [firing("KubeHealerDown", minute, one if 15 <= minute < 40 else []) for minute in range(60)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


def test_a_kubehealer_that_gets_a_cluster_is_not_gone(tmp_path):
    inputs = fleet(0, 0, names=("a",))
    inputs[1]["values"] = " ".join(["_"] * 20 + ["1"] * 40)
    inputs.append(own("kubehealer_build_info", lambda m: 1 if m < 20 else None, 60))
    silent("KubeHealerDown", inputs, 60, tmp_path)


def test_critical_is_kept_for_workloads_that_are_down_and_for_blindness():
    critical = {name for name, rule in RULES.items() if rule["labels"]["severity"] == "critical"}
    assert critical == {"WorkloadDown", "KubeHealerDown", "KubeHealerWatchStale"}


if __name__ == "__main__":
    # Writes alert_texts.yaml anew. Read it afterwards.
    import tempfile

    folder = pathlib.Path(tempfile.mkdtemp())
    said = {alert: texts(alert, *spoken(alert), folder) for alert in RULES}
    head = "# What each alert says in the scenario of test_alerts.py; written by `python test_alerts.py`, to be read by a person.\n"
    TEXTS.write_text(head + yaml.safe_dump(said, sort_keys=False, width=1000, allow_unicode=True))
