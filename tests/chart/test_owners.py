"""Alerts carry the labels of the owner, and are silent for what the owner has muted."""

import pytest
from promtool import firing, run, series
from test_alerts import (
    BEGIN,
    INCIDENTS,
    LOOP,
    TARGET,
    WORKLOAD,
    A,
    B,
    all_of,
    between,
    down,
    incident,
    kept,
    labels_of,
    oom_kill,
    scenario,
    workload_pods,
)

LOOPS = all_of(oom_kill([BEGIN, BEGIN + 2, BEGIN + 4]), incident("OOMKilled"))
OWNED = [*INCIDENTS, "ContainerOOMKilled", "ContainerOOMKillLoop", "RuleMatched", "WorkloadDown"]


def case(alert):
    return (LOOPS, 5, LOOP) if alert == "ContainerOOMKillLoop" else scenario(alert)


def owned_by(team, inputs):
    """The same series with the owner label, where KubeHealer writes it."""
    names = ("kubehealer_pod_unhealthy", "kubehealer_workload_pods", "kubehealer_incidents_muted")
    owned = [one for one in inputs if one["series"].startswith(names)]
    others = [one for one in inputs if one not in owned]
    return others + [{**one, "series": one["series"].replace("{", f'{{team="{team}",', 1)} for one in owned]


def fires(alert, inputs, wanted, tmp_path):
    """Which labels the alert has at which minute."""
    tests = [firing(alert, minute, [labels_of(alert, labels) for labels in subjects]) for minute, subjects in wanted]
    return run(tmp_path, [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}], "team")


@pytest.mark.parametrize("alert", OWNED)
def test_an_alert_has_the_label_of_the_owner_and_none_where_there_is_none(alert, tmp_path):
    make, wait, subject = case(alert)
    minutes = BEGIN + wait + 10
    inputs = make(between(BEGIN, minutes), minutes, A)
    at = BEGIN + wait + 5
    assert fires(alert, owned_by("payments", inputs), [(at, [{**subject, "team": "payments"}])], tmp_path) == ""
    assert fires(alert, inputs, [(at, [subject])], tmp_path) == ""


def test_a_new_owner_is_told_of_a_fault_that_is_old(tmp_path):
    alert, minutes = "ContainerConfigError", 40
    make, _, subject = scenario(alert)
    inputs = owned_by("old", make(between(BEGIN, 20), minutes, A)) + owned_by("new", make(between(20, minutes), minutes, B))
    old, new = ({**subject, "team": team} for team in ("old", "new"))
    # The old one's fires for two minutes more, as it does where a pod is replaced.
    assert fires(alert, inputs, [(19, [old]), (21, [old, new]), (22, [new]), (30, [new])], tmp_path) == ""


def test_a_new_owner_is_told_at_once_of_a_workload_that_is_down(tmp_path):
    make, minutes = down("CrashLoopBackOff", 2, 2), 40
    inputs = owned_by("old", make(between(BEGIN, 20), minutes, A)) + owned_by("new", make(between(20, minutes), minutes, A))
    old, new = ({**WORKLOAD, "team": team} for team in ("old", "new"))
    wanted = [(19, [old]), (21, [old, new])] + [(minute, [new]) for minute in range(27, minutes)]
    assert fires("WorkloadDown", inputs, wanted, tmp_path) == ""


@pytest.mark.parametrize("alert", ["ContainerCrashLooping", "ContainerStartFailing", "ContainerProbeKilling"])
def test_a_new_owner_is_told_at_once_of_what_has_lasted(alert, tmp_path):
    minutes = 40
    make, _, subject = scenario(alert)
    inputs = owned_by("old", make(between(BEGIN, 20), minutes, A)) + owned_by("new", make(between(20, minutes), minutes, A))
    old, new = ({**subject, "team": team} for team in ("old", "new"))
    # The old one's fires for five minutes more, as it does where a pod is replaced.
    wanted = [(19, [old]), (21, [old, new])] + [(minute, [new]) for minute in range(26, minutes)]
    assert fires(alert, inputs, wanted, tmp_path) == ""


def test_a_workload_is_down_whatever_its_pods_say_of_their_owner(tmp_path):
    make, minutes = down("CrashLoopBackOff", 2, 2), 30
    one, two, *_ = [one for one in make(between(BEGIN, minutes), minutes, A) if "since" in one["series"]]
    inputs = owned_by("a", [one]) + owned_by("b", [two])
    inputs += owned_by("a", workload_pods(2)(between(BEGIN, minutes), minutes, A))
    assert fires("WorkloadDown", inputs, [(20, [{**WORKLOAD, "team": "a"}])], tmp_path) == ""


def muted(value, minutes):
    labels = {**TARGET, **WORKLOAD, "instance": A, "pod": "cart-1"}
    return series("kubehealer_incidents_muted", labels, value, minutes)


@pytest.mark.parametrize("alert", OWNED)
def test_a_mute_ends_an_alert_and_its_end_brings_it_back(alert, tmp_path):
    make, wait, subject = case(alert)
    mute = BEGIN + wait + 5
    end = mute + 10 + kept(alert)
    minutes = end + 20
    is_muted = lambda minute: 1 if mute <= minute < end else None
    # The times of terminations are facts, and stay.
    inputs = make(lambda minute: 1 if BEGIN <= minute and not is_muted(minute) else None, minutes, A)
    inputs = [one for one in inputs if "last_termination" not in one["series"]]
    inputs += [one for one in make(between(BEGIN, minutes), minutes, A) if "last_termination" in one["series"]]
    inputs.append(muted(is_muted, minutes))
    one = [subject]
    wanted = [(mute - 1, one)] + [(minute, []) for minute in range(mute + kept(alert) + 1, end)]
    # Ages count from the fault, so it is old enough at once; where `for` counts, it counts anew. Kills before the end do not count.
    if not alert.startswith("ContainerOOMKill"):
        wanted += [(end + max(wait, 6) + 1, one)]
    assert fires(alert, owned_by("payments", inputs), [(at, [{**s, "team": "payments"} for s in what]) for at, what in wanted], tmp_path) == ""


def kills_while_muted(at, mute, minutes, team=None):
    """A container that is killed at these minutes and recovers ten minutes later, muted between two minutes."""
    is_open = lambda minute: any(kill <= minute < kill + 10 for kill in at)
    is_muted = lambda minute: mute[0] <= minute < mute[1]
    inputs = oom_kill(at)(between(BEGIN, minutes), minutes, A)
    inputs += incident("OOMKilled")(lambda m: 1 if is_open(m) and not is_muted(m) else None, minutes, A)
    return inputs + [muted(lambda m: 1 if is_open(m) and is_muted(m) else None, minutes)]


@pytest.mark.parametrize("mute", [(4, 60), (12, 60), (20, 36)])
def test_kills_for_memory_before_a_mute_and_during_it_do_not_page_afterwards(mute, tmp_path):
    minutes = 90
    # The second and third recover before the mute is over, the mute itself is in no series then; one more comes after it.
    inputs = kills_while_muted([5, 10, 21, 25, 70], mute, minutes)
    # Before the mute there may have been enough of them.
    wanted = [(minute, []) for minute in range(mute[0] + 1, minutes)]
    assert fires("ContainerOOMKillLoop", inputs, wanted, tmp_path) == ""


def test_three_kills_for_memory_after_a_mute_are_a_loop(tmp_path):
    inputs = kills_while_muted([5, 10, 15, 40, 50, 60], (4, 30), 90)
    wanted = [(minute, []) for minute in range(60)] + [(minute, [LOOP]) for minute in range(62, 90)]
    assert fires("ContainerOOMKillLoop", inputs, wanted, tmp_path) == ""


def test_a_loop_of_kills_for_memory_has_its_newest_owner_alone(tmp_path):
    kill, minutes = oom_kill([5, 10, 15]), 60
    inputs = kill(between(BEGIN, minutes), minutes, A)
    inputs += owned_by("old", incident("OOMKilled")(between(BEGIN, 20), minutes, A))
    inputs += owned_by("new", incident("OOMKilled")(between(20, 30), minutes, A))
    old, new = ({**LOOP, "team": team} for team in ("old", "new"))
    wanted = [(minute, [old]) for minute in range(17, 20)] + [(minute, [new]) for minute in range(22, 50)]
    assert fires("ContainerOOMKillLoop", inputs, wanted, tmp_path) == ""


@pytest.mark.parametrize(("healthy", "wanted"), [(0, [WORKLOAD]), (1, [])])
def test_a_workload_is_down_if_all_pods_are_that_are_not_muted(healthy, wanted, tmp_path):
    minutes = 30
    inputs = down("CrashLoopBackOff", 9 - healthy, 10)(between(BEGIN, minutes), minutes, A)
    labels = {**TARGET, **WORKLOAD, "instance": A, "pod": "cart-9"}
    inputs.append(series("kubehealer_incidents_muted", labels, between(BEGIN, minutes), minutes))
    assert fires("WorkloadDown", inputs, [(minute, wanted) for minute in range(12, minutes)], tmp_path) == ""
