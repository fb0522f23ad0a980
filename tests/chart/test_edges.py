"""The edge of every alert's threshold: what heals before it pages nobody, what does not pages, whatever restarts meanwhile."""

import math
import re

import promtool
import pytest
from promtool import firing, gap, run, series
from test_alerts import (
    BEGIN,
    INCIDENTS,
    LOOP,
    OTHERS,
    RULES,
    A,
    B,
    alive,
    all_of,
    errors,
    incident,
    kept,
    labels_of,
    oom_kill,
    own,
    scenario,
)

STEP = 10 / 60  # one sample, in minutes
ALERTS = [*INCIDENTS, *OTHERS]


@pytest.fixture(autouse=True)
def every_ten_seconds(monkeypatch):
    monkeypatch.setattr(promtool, "step", 10)


def threshold(alert):
    """Minutes from the beginning of the fault until the alert fires."""
    return INCIDENTS[alert] if alert in INCIDENTS else OTHERS[alert][1]


WAITING = [alert for alert in ALERTS if threshold(alert) > 0]


def open_(begin, end):
    """Open between these minutes; a sample at the end shows it no more."""
    return lambda minute: 1 if begin - 1e-6 <= minute < end - 1e-6 else None


def fires(alert, inputs, begin, end, minutes, tmp_path, one=None):
    """Fires within two evaluations from `begin`, until `end` and as long as it is kept, and at no other time; `begin` is None for never."""
    one = one or [labels_of(alert, scenario(alert)[2])]
    tests, at = [], 0
    while at * STEP < minutes:
        minute = at * STEP
        if begin is None or minute < begin - 1e-6 or minute >= end + kept(alert) + 1e-6:
            tests.append(firing(alert, minute, []))
        elif begin + 2 * STEP - 1e-6 <= minute < end + kept(alert) - STEP + 1e-6:
            tests.append(firing(alert, minute, one))
        at += 1
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("early", [STEP, 45 / 60, 0])
@pytest.mark.parametrize("alert", WAITING)
def test_a_fault_that_heals_before_the_threshold_or_at_it_is_not_paged(alert, early, tmp_path):
    make, end = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = end + 10
    fires(alert, make(open_(BEGIN, end - early), minutes, A), None, None, minutes, tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_fault_that_heals_after_the_threshold_is_paged_until_it_heals(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    # Ten seconds after it; an alert whose threshold has passed needs one evaluation to see it.
    inputs = make(open_(BEGIN, at + STEP), minutes, A)
    one = [labels_of(alert, scenario(alert)[2])]
    tests = [firing(alert, at, one), *(firing(alert, at + kept(alert) + n * STEP, []) for n in range(1, 20))]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("alert", ALERTS)
def test_a_restart_of_kubehealer_across_the_threshold_delays_at_most_by_its_own_time(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    away, back = max(at - 0.5, BEGIN), max(at - 0.5, BEGIN) + 1
    inputs = make(open_(BEGIN, away), minutes, A) + make(open_(back, minutes), minutes, B)
    inputs += [alive(open_(0, away), minutes, A), alive(open_(back, minutes), minutes, B)]
    one = [labels_of(alert, scenario(alert)[2])]
    late = back + 2 * STEP
    tests = [firing(alert, n * STEP, []) for n in range(round(at / STEP))] if threshold(alert) else []
    tests += [firing(alert, n * STEP, one) for n in range(round(late / STEP), round(minutes / STEP))]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("alert", WAITING)
def test_a_fault_that_heals_while_kubehealer_restarts_before_the_threshold_is_not_paged(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    inputs = make(open_(BEGIN, at - 0.9), minutes, A)
    inputs += [alive(open_(0, at - 0.9), minutes, A), alive(open_(at - 0.2, minutes), minutes, B)]
    fires(alert, inputs, None, None, minutes, tmp_path)


@pytest.mark.parametrize("early", [STEP, 45 / 60, 1 + STEP])
@pytest.mark.parametrize("alert", WAITING)
def test_nothing_begins_to_fire_while_kubehealer_cannot_be_scraped(alert, early, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    inputs = make(open_(BEGIN, at - early), minutes, A) + [alive(open_(0, at - early), minutes, A)]
    fires(alert, inputs, None, None, minutes, tmp_path)


@pytest.mark.parametrize("alert", WAITING)
def test_a_fault_that_heals_while_kubehealer_is_away_across_the_threshold_is_not_paged(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    inputs = make(open_(BEGIN, at - STEP), minutes, A)
    inputs += [alive(open_(0, at - STEP), minutes, A), alive(open_(at + 2, minutes), minutes, B)]
    fires(alert, inputs, None, None, minutes, tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_scrapes_that_fail_now_and_then_delay_nothing(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    scraped = lambda m: 1 if round(m / STEP) % 3 else None
    inputs = make(lambda m: scraped(m) and open_(BEGIN, minutes)(m), minutes, A) + [alive(scraped, minutes, A)]
    fires(alert, inputs, at, minutes, minutes, tmp_path)


def test_a_cause_that_another_shard_no_longer_has_goes_on(tmp_path):
    make, at, minutes = scenario("SharedCauseFailures")[0], BEGIN + 2, 30
    inputs = make(open_(BEGIN, minutes), minutes, A) + make(open_(BEGIN, at + 5), minutes, B)
    inputs += [alive(open_(0, minutes), minutes, A, scope="shard=0/2"), alive(open_(0, minutes), minutes, B, scope="shard=1/2")]
    fires("SharedCauseFailures", inputs, at, minutes, minutes, tmp_path)


def test_a_cause_of_which_one_workload_is_left_is_its_own_affair(tmp_path):
    make, minutes = scenario("SharedCauseFailures")[0], 30
    inputs = make(open_(BEGIN, minutes), minutes, A)
    (workloads,) = [one for one in inputs if one["series"].startswith("kubehealer_problem_workloads")]
    values = workloads["values"].split(" ")
    workloads["values"] = " ".join([*values[: (BEGIN + 1) * 6], *["1"] * (len(values) - (BEGIN + 1) * 6)])
    fires("SharedCauseFailures", inputs, None, None, minutes, tmp_path)


COUNTED = [alert for alert in ALERTS if re.search(r"offset \d+m\n", RULES[alert]["expr"])]


@pytest.mark.parametrize("alert", COUNTED)
def test_what_was_healthy_in_between_has_not_lasted(alert, tmp_path):
    make, wait = scenario(alert)[0], threshold(alert)
    minutes = BEGIN + 3 * wait
    inputs = make(lambda m: 1 if BEGIN <= m < BEGIN + wait / 4 or BEGIN + 3 * wait / 4 <= m < BEGIN + 3 * wait / 2 else None, minutes, A)
    fires(alert, inputs, None, None, minutes, tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_that_fires_holds_while_kubehealer_restarts_and_ends_with_what_the_next_one_knows(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 12
    away, back = at + 4, at + 7
    inputs = make(open_(BEGIN, away), minutes, A)
    inputs += [alive(open_(0, away), minutes, A), alive(open_(back, minutes), minutes, B)]
    fires(alert, inputs, at, back, minutes, tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_kubehealer_that_answers_and_has_not_listed_its_pods_yet_ends_nothing(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    listed = at + 4
    inputs = make(lambda m: None if at + 2 <= m < listed else open_(BEGIN, minutes)(m), minutes, A)
    inputs.append(alive(lambda m: 0 if at + 2 <= m < listed else 1, minutes, A))
    fires(alert, inputs, at, minutes, minutes, tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_gap_of_prometheus_across_the_threshold_delays_at_most_by_its_own_time(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    begin = max(at - 1, BEGIN + STEP)
    inputs = make(open_(BEGIN, minutes), minutes, A) + [alive(open_(0, minutes), minutes, A)]
    one = [labels_of(alert, scenario(alert)[2])]
    tests = [firing(alert, n * STEP, one) for n in range(round((begin + 3 + 2 * STEP) / STEP), round(minutes / STEP))]
    assert run(tmp_path, [{"input_series": gap(inputs, begin, begin + 2), "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("alert", WAITING)
def test_a_fault_that_healed_while_prometheus_was_away_is_not_paged(alert, tmp_path):
    # Prometheus writes no mark of staleness for what went while it was away: the last sample stays for five minutes.
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    begin = at - 0.5
    inputs = gap(make(open_(BEGIN, begin), minutes, A), begin, minutes)
    inputs += gap([alive(open_(0, minutes), minutes, A)], begin, at - STEP)
    fires(alert, inputs, None, None, minutes, tmp_path)


@pytest.mark.parametrize("alert", WAITING)
def test_a_late_replica_does_not_page_for_what_has_healed(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    inputs = make(open_(BEGIN, at - STEP), minutes, A) + make(open_(BEGIN + STEP, at + 0.5), minutes, B)
    fires(alert, inputs, None, None, minutes, tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_late_replica_does_not_delay_what_the_other_one_shows(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    inputs = make(open_(BEGIN, minutes), minutes, A) + make(open_(at + 0.5, minutes), minutes, B)
    fires(alert, inputs, at, minutes, minutes, tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_shard_that_answers_does_not_end_what_another_one_reported(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    there = lambda m: None if at + 2 <= m < at + 5 else 1
    inputs = make(lambda m: there(m) and open_(BEGIN, minutes)(m), minutes, A)
    inputs += [alive(there, minutes, A, scope="shard 0/2"), alive(open_(0, minutes), minutes, B, scope="shard 1/2")]
    fires(alert, inputs, at, minutes, minutes, tmp_path)


@pytest.mark.parametrize("alert", WAITING)
def test_a_fault_that_heals_while_kubehealer_gets_another_job_is_not_paged(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    inputs = make(open_(BEGIN, at - 1), minutes, A) + [alive(open_(0, at - 1), minutes, A)]
    inputs.append(alive(open_(at - 1 + STEP, minutes), minutes, B, job="monitoring/kubehealer"))
    fires(alert, inputs, None, None, minutes, tmp_path)


def resharded(synced, minutes, at):
    """Two shards until a minute, then three."""
    inputs = [alive(open_(0, at), minutes, A, scope="shard=0/2"), alive(open_(0, at), minutes, B, scope="shard=1/2")]
    return inputs + [alive(open_(at + STEP, minutes), minutes, f"10.0.1.{n}:8080", scope=f"shard={n}/3") for n in range(synced)]


@pytest.mark.parametrize("alert", WAITING)
def test_a_fault_that_heals_while_shards_are_added_is_not_paged(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 10
    inputs = make(open_(BEGIN, at - 1), minutes, A) + resharded(3, minutes, at - 1)
    fires(alert, inputs, None, None, minutes, tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_what_a_shard_showed_is_held_until_all_shards_of_the_new_number_are_there(alert, tmp_path):
    make, at = scenario(alert)[0], BEGIN + threshold(alert)
    minutes = at + 12
    inputs = make(open_(BEGIN, at + 3), minutes, A) + resharded(2, minutes, at + 3)
    inputs.append(alive(open_(at + 6, minutes), minutes, "10.0.1.9:8080", scope="shard=2/3"))
    fires(alert, inputs, at, at + 6, minutes, tmp_path)


# --- A loop of OOM kills: it begins with the third kill within an hour, and ends when the first is an hour old


def kills(times, minutes, *instances):
    """As each instance shows them: (address, from, until)."""
    make = all_of(oom_kill(times), incident("OOMKilled"))
    return [one for address, begin, end in instances for one in make(open_(begin, end), minutes, address)]


@pytest.mark.parametrize("third", [64, 65 - STEP, 65, 65 + STEP])
def test_three_kills_within_an_hour_are_paged_until_the_first_is_an_hour_old(third, tmp_path):
    one = [labels_of("ContainerOOMKillLoop", LOOP)]
    inputs = kills([5, 40, third], 90, (A, 5, 90))
    # The subquery samples whole minutes.
    seen = math.ceil(third - 1e-6)
    tests = [firing("ContainerOOMKillLoop", n * STEP, one if third < 65 and seen <= n * STEP < 65 else []) for n in range(90 * 6)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


def test_two_kills_are_no_loop_while_kubehealer_is_away_or_restarts_or_a_replica_is_late(tmp_path):
    for instances in [[(A, 5, 20)], [(A, 5, 20), (B, 22, 60)], [(A, 5, 60), (B, 5.5, 60)]]:
        inputs = kills([5, 15], 60, *instances)
        inputs += [alive(open_(begin, end), 60, address) for address, begin, end in instances]
        tests = [firing("ContainerOOMKillLoop", n * STEP, []) for n in range(60 * 6)]
        assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


def test_a_loop_of_kills_holds_while_kubehealer_restarts(tmp_path):
    inputs = kills([5, 10, 15], 60, (A, 5, 20), (B, 22, 60))
    inputs += [alive(open_(0, 20), 60, A), alive(open_(22, 60), 60, B)]
    one = [labels_of("ContainerOOMKillLoop", LOOP)]
    tests = [firing("ContainerOOMKillLoop", n * STEP, one) for n in range(15 * 6, 60 * 6)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


def test_a_loop_of_kills_ends_five_minutes_after_kubehealer_is_gone_from_its_cluster(tmp_path):
    inputs = kills([5, 10, 15], 60, (A, 5, 20)) + [alive(open_(0, 20), 60, A)]
    # Another cluster's KubeHealer is no evidence for this one.
    inputs += [alive(open_(0, 60), 60, B, cluster="other")]
    one = [labels_of("ContainerOOMKillLoop", LOOP)]
    tests = [firing("ContainerOOMKillLoop", n * STEP, one) for n in range(15 * 6, 24 * 6)]
    tests += [firing("ContainerOOMKillLoop", n * STEP, []) for n in range(25 * 6 + 1, 60 * 6)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


# --- KubeHealer's own: begin at minute 5, end ten seconds before, at, and ten seconds after the threshold

OWN = {
    "KubeHealerDown": (lambda fault: [own("kubehealer_build_info", lambda m: None if fault(m) else 1, 45)], 5, {}),
    "KubeHealerInstanceDown": (
        lambda fault: [series("up", {"job": "kubehealer", "instance": A}, lambda m: 0 if fault(m) else 1, 45)],
        10,
        {"job": "kubehealer", "instance": A},
    ),
    "KubeHealerWatchStale": (
        lambda fault: [
            own("kubehealer_watch_last_event_timestamp_seconds", lambda m: 60 * (5 if fault(m) else m), 45, resource="pods")
        ],
        17,
        {"resource": "pods"},
    ),
    "KubeHealerEvidenceMissing": (
        lambda fault: [own("kubehealer_source_available", lambda m: 0 if fault(m) else 1, 45, source="events")],
        15,
        {"source": "events"},
    ),
    "KubeHealerLabelsRenamed": (
        lambda fault: [series("kubehealer_pod_unhealthy", {"job": "j", "instance": A, "exported_namespace": "s"}, fault, 45)],
        5,
        {"job": "j"},
    ),
}


@pytest.mark.parametrize("late", [-STEP, 0, STEP])
@pytest.mark.parametrize("alert", OWN)
def test_kubehealers_own_alerts_walk_the_edge(alert, late, tmp_path):
    make, wait, labels = OWN[alert]
    one = [{**labels, "severity": RULES[alert]["labels"]["severity"]}]
    # An age is more than the threshold one sample after it.
    at = 5 + wait + (STEP if alert == "KubeHealerWatchStale" else 0)
    inputs = make(open_(5, at + late))
    tests = [firing(alert, n * STEP, one if late > 0 and n == round(at / STEP) else []) for n in range(40 * 6)]
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("alert", [name for name in OWN if name not in ("KubeHealerDown", "KubeHealerInstanceDown")])
@pytest.mark.parametrize("heals", [False, True])
def test_kubehealers_own_alerts_outlast_its_restart_only_if_the_fault_does(alert, heals, tmp_path):
    make, wait, labels = OWN[alert]
    away, back = 5 + wait - 0.5, 5 + wait + 0.5
    first, second = make(open_(5, 40)), make(open_(5, back if heals else 40))
    inputs = [cut(one, lambda m: m < away) for one in first]
    inputs += [{**cut(one, lambda m: m >= back), "series": one["series"].replace(A, B)} for one in second]
    one = [{**labels, "severity": RULES[alert]["labels"]["severity"]}]
    again = back + wait + 2 * STEP
    tests = [firing(alert, n * STEP, []) for n in range(round((40 if heals else back) / STEP))]
    tests += [firing(alert, n * STEP, one) for n in range(round(again / STEP), 40 * 6)] if not heals else []
    assert run(tmp_path, [{"input_series": inputs, "promql_expr_test": tests}]) == ""


def cut(one, there):
    """The same series with the samples of some minutes only."""
    values = [value if there(at * STEP) else "_" for at, value in enumerate(one["values"].split(" "))]
    gone = next((at for at in range(1, len(values)) if values[at] == "_" and values[at - 1] != "_"), None)
    if gone is not None:
        values[gone] = "stale"
    return {**one, "values": " ".join(values)}


def errors_until(end, begin=5):
    """One error every 20 seconds."""
    return errors(lambda m: max(0, round(3 * (min(m, end) - begin))))


# More than three errors within ten minutes from a little more than a minute after the first, and then for ten minutes.
@pytest.mark.parametrize(("end", "fires"), [(10, False), (11, False), (16.5, True), (40, True)])
def test_watch_errors_walk_the_edge(end, fires, tmp_path):
    one = [{"severity": "warning", "resource": "events"}]
    tests = [firing("KubeHealerWatchErrors", n * STEP, []) for n in range(16 * 6)]
    tests += [firing("KubeHealerWatchErrors", n * STEP, one if fires else []) for n in range(17 * 6, 18 * 6)]
    # Five minutes after the last error it is over.
    tests += [firing("KubeHealerWatchErrors", n * STEP, []) for n in range(round((end + 5) * 6) + 1, 60 * 6)]
    assert run(tmp_path, [{"input_series": errors_until(end), "promql_expr_test": tests}]) == ""


def test_watch_errors_across_a_restart_of_kubehealer_are_paged_and_those_before_it_are_not(tmp_path):
    one = [{"severity": "warning", "resource": "events"}]
    before = cut(errors_until(60)[0], lambda m: m < 10)
    after = {**cut(errors_until(60, 10.5)[0], lambda m: m >= 11), "series": before["series"].replace(A, B)}
    quiet = {**cut(errors(lambda m: 0)[0], lambda m: m >= 11), "series": before["series"].replace(A, B)}
    for second, end in ((after, one), (quiet, [])):
        tests = [firing("KubeHealerWatchErrors", n * STEP, end) for n in range(28 * 6, 60 * 6)]
        tests += [firing("KubeHealerWatchErrors", n * STEP, []) for n in range(60 * 6 if second is quiet else 15 * 6)]
        assert run(tmp_path, [{"input_series": [before, second], "promql_expr_test": tests}]) == ""


def test_dropped_series_are_told_at_once_across_a_restart_and_for_a_quarter_of_an_hour(tmp_path):
    dropped = lambda begin, end: own("kubehealer_series_dropped_total", lambda m: max(0, round(6 * (min(m, end) - begin))), 60)
    first = cut(dropped(5, 60), lambda m: m < 10)
    second = {**cut(dropped(12, 20), lambda m: m >= 12), "series": first["series"].replace(A, B)}
    one = [{"severity": "warning"}]
    tests = [firing("KubeHealerSeriesDropped", n * STEP, []) for n in [*range(31), *range(36 * 6, 60 * 6)]]
    tests += [firing("KubeHealerSeriesDropped", n * STEP, one) for n in range(32, 34 * 6)]
    assert run(tmp_path, [{"input_series": [first, second], "promql_expr_test": tests}]) == ""
