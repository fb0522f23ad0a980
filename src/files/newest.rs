//! The instant at which files were written: the newest time in them.
//!
//! Must not know what time it is: what lies too far ahead is given.

use jiff::{SignedDuration, Timestamp};

use crate::diagnosis::Snapshot;
use crate::objects::node::NodeCondition;
use crate::objects::{ContainerState, ObjectMeta, Packed, Pod, Time};

/// The newest time in the objects that is not later than `limit`; where all are later, the newest of all (a clock that is
/// behind must not make the objects unreadable). A deletion counts from its request: `deletionTimestamp` includes the grace
/// period and may lie a day ahead.
pub fn newest_time(snapshot: &Snapshot, limit: Timestamp) -> Option<Timestamp> {
    let (mut newest, mut beyond) = (None, None);
    let mut add = |time: Time| {
        if let Some(time) = time.get() {
            let of = if time <= limit { &mut newest } else { &mut beyond };
            *of = (*of).max(Some(time));
        }
    };

    for pod in &snapshot.pods {
        of_pod(pod, &mut add);
    }
    for event in snapshot.events.iter().map(Packed::unpack) {
        [event.first_timestamp, event.last_timestamp, event.event_time].into_iter().for_each(&mut add);
        event.series.iter().for_each(|s| add(s.last_observed_time));
        of_meta(&event.metadata, &mut add);
    }
    for node in &snapshot.nodes {
        of_meta(&node.metadata, &mut add);
        of_conditions(&node.status.conditions, &mut add);
    }
    let workloads =
        [&snapshot.replica_sets, &snapshot.deployments, &snapshot.stateful_sets, &snapshot.daemon_sets];
    for workload in workloads.into_iter().flatten() {
        of_meta(&workload.metadata, &mut add);
        of_conditions(&workload.status.conditions, &mut add);
    }
    for job in &snapshot.jobs {
        of_meta(&job.metadata, &mut add);
        of_conditions(&job.status.conditions, &mut add);
        [job.status.start_time, job.status.completion_time].into_iter().for_each(&mut add);
    }
    for cron_job in &snapshot.cron_jobs {
        of_meta(&cron_job.metadata, &mut add);
        [cron_job.status.last_schedule_time, cron_job.status.last_successful_time]
            .into_iter()
            .for_each(&mut add);
    }
    for claim in &snapshot.claims {
        of_meta(&claim.metadata, &mut add);
    }
    newest.or(beyond)
}

/// The time by a clock, unless something has happened later: nothing can have happened after now.
pub fn not_before(snapshot: &Snapshot, clock: Timestamp) -> Timestamp {
    let limit = clock.checked_add(SignedDuration::from_hours(24)).unwrap_or(clock);
    newest_time(snapshot, limit).map_or(clock, |time| time.max(clock))
}

/// The newest heartbeat in a text of objects, by the fields that hold one. The analyzer does not need the time of each
/// condition, so it is taken from the text: one value per text, the newest.
pub fn heartbeats(text: &str) -> Option<Timestamp> {
    let mut newest: Option<Timestamp> = None;
    for field in ["lastHeartbeatTime", "renewTime"] {
        for (at, _) in text.match_indices(field) {
            let rest = text.get(at + field.len()..).unwrap_or_default();
            let value = rest.trim_start_matches(['"', '\'', ':', ' ', '\t']);
            // No further than a time is long: the text may hold nothing but such fields.
            let end = value.bytes().take(40).position(|byte| b"\"',\n\r} ".contains(&byte)).unwrap_or(0);
            let time = value.get(..end).and_then(|value| value.parse::<Timestamp>().ok());
            newest = newest.max(time);
        }
    }
    newest
}

fn of_meta(meta: &ObjectMeta, add: &mut impl FnMut(Time)) {
    add(meta.creation_timestamp);
    let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0).max(0));
    if let Some(requested) = meta.deletion_timestamp.get().and_then(|t| t.checked_sub(grace).ok()) {
        add(requested.into());
    }
}

fn of_conditions(conditions: &[NodeCondition], add: &mut impl FnMut(Time)) {
    conditions.iter().for_each(|c| {
        add(c.last_heartbeat_time);
        add(c.last_transition_time);
    });
}

fn of_pod(pod: &Pod, add: &mut impl FnMut(Time)) {
    of_meta(&pod.metadata, add);
    add(pod.status.start_time);
    pod.status.conditions.iter().for_each(|c| add(c.last_transition_time));
    let status = &pod.status;
    for container in status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses)
        .chain(&status.ephemeral_container_statuses)
    {
        of_state(&container.state, add);
        of_state(&container.last_state, add);
    }
}

fn of_state(state: &ContainerState, add: &mut impl FnMut(Time)) {
    if let Some(running) = &state.running {
        add(running.started_at);
    }
    if let Some(end) = &state.terminated {
        add(end.started_at);
        add(end.finished_at);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::from_object;

    #[test]
    fn nothing_has_happened_after_the_time_of_a_look() {
        let at = |time: &str| -> Timestamp { time.parse().unwrap() };
        let pod = json!({"metadata": {"name": "cart"}, "status": {"startTime": "2026-11-22T10:00:30Z"}});
        let snapshot = Snapshot { pods: vec![from_object(&pod).unwrap()], ..Snapshot::default() };
        for (clock, now) in [("10:00:00", "10:00:30"), ("10:01:00", "10:01:00")] {
            let at = |time: &str| at(&format!("2026-11-22T{time}Z"));
            assert_eq!(not_before(&snapshot, at(clock)), at(now));
        }
    }
}
