//! Whether a container that has ended is failing, and since when: a loop, slow flapping, one end for good.
//!
//! The rule of a crash loop; docs/how-it-decides.md has it in words.

use jiff::{SignedDuration, Timestamp};

use crate::diagnosis::container::{AfterEnd, STABLE, View, is_oom, uptime, work_is_done};
use crate::diagnosis::draft::Look;
use crate::diagnosis::{ContainerType, exit};
use crate::objects::{ConditionType, Terminated};

/// The longest back-off, with the jitter of the sync that ends it and some time for a pull.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(400);

/// For how long a past out-of-memory kill is worth a word.
const FRESH: SignedDuration = SignedDuration::from_secs(3600);

/// Whether a container is failing, and how that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// It ends again and again.
    Loop,
    /// It could not be started, for the first time.
    FirstTry,
    /// It has ended and stays so.
    Final,
    /// It was killed for want of memory and has not proven since that it can go on.
    Once,
    /// It was, and has recovered.
    Past,
    /// It ended in good order, and the runtime remembers that some child process was out of memory before.
    Child,
    /// Its end makes the kubelet restart all containers of the pod.
    RestartsAll,
    /// It ends after long runs, but too often: restart count and age of the pod prove it.
    Flapping,
}

/// The rule of a crash loop: docs/how-it-decides.md has it in words.
pub(super) fn shape(view: &View<'_>, look: &mut Look) -> Option<Shape> {
    let restarts = view.status.restart_count;
    let pod_ended = matches!(view.pod.status.phase.as_str(), "Failed" | "Succeeded");
    if let Some(waiting) = view.waiting() {
        return match waiting.reason.as_str() {
            "CrashLoopBackOff" => Some(Shape::Loop),
            "RunContainerError" | "PostStartHookError" if restarts >= 1 => Some(Shape::Loop),
            "RunContainerError" | "PostStartHookError" => Some(Shape::FirstTry),
            "RestartingAllContainers" => view.newest_end().and_then(|e| source_of_restart(view, e)),
            _ => None,
        };
    }
    if let Some(end) = view.ended() {
        if exit::is_made_up(&end.reason, end.exit_code) {
            // The kubelet lost it. If it is to run, it will be started again.
            let stays = end.reason == "ContainerStatusUnknown"
                && (pod_ended || view.after_end(end) == AfterEnd::Stays);
            return (stays && view.pod.status.phase != "Succeeded").then_some(Shape::Final);
        }
        let restarted = view.after_end(end) != AfterEnd::Stays && !pod_ended;
        if !restarted {
            let harmless = !view.has_failed(end)
                || view.pod.status.phase == "Succeeded"
                || view.kind == ContainerType::Sidecar;
            return (!harmless).then_some(Shape::Final);
        }
        // Sidecars are stopped when the work of the pod is done, and that is no failure of theirs.
        if view.kind == ContainerType::Sidecar && work_is_done(view.pod) {
            return None;
        }
        // After a longer run the kubelet restarts it at once and its back-off begins anew: one end, however many there were
        // weeks ago.
        let short = uptime(end).is_none_or(|u| u < STABLE);
        if restarts >= 1 && short {
            return Some(Shape::Loop);
        }
        if is_oom(end) {
            return Some(Shape::Once);
        }
        return source_of_restart(view, end).or_else(|| flaps(view, end, look));
    }
    let end = view.newest_end()?;
    if exit::is_made_up(&end.reason, end.exit_code) {
        return None;
    }
    let finished = end.finished_at.get();
    let started = view.running_since()?;
    let young = look.now.duration_since(started) < STABLE;
    let short = uptime(end).is_none_or(|u| u < STABLE);
    let prompt = finished.is_none_or(|f| started.duration_since(f) <= LONGEST_PAUSE);
    if restarts >= 2 && young && short && prompt {
        look.within(started, STABLE);
        return Some(Shape::Loop);
    }
    if is_oom(end) {
        if look.within(started, STABLE) {
            return Some(Shape::Once);
        }
        return look.within(finished?, FRESH).then_some(Shape::Past);
    }
    if end.reason == "OOMKilled" {
        return look.within(finished?, FRESH).then_some(Shape::Child);
    }
    flaps(view, end, look)
}

/// Whether restart count and age alone prove slow flapping: at least three ends an hour over the pod's whole life of two
/// hours or more, and the last of them within the last hour after a long run. A few ends take the daemon's memory.
fn flaps(view: &View<'_>, end: &Terminated, look: &mut Look) -> Option<Shape> {
    // A crash by a signal of its own is never normal: fewer of them are enough.
    let crashes = matches!(end.exit_code, 132 | 134 | 135 | 136 | 139);
    let an_hour: i64 = if crashes { 1 } else { 3 };
    let restarts = i64::from(view.status.restart_count);
    let restarting = matches!(view.kind, ContainerType::App | ContainerType::Sidecar);
    let long = uptime(end).is_some_and(|u| u > STABLE);
    if !restarting || !long || restarts < (2 * an_hour).max(3) {
        return None;
    }
    let (born, ended) = (view.pod.status.start_time.get()?, end.finished_at.get()?);
    let often = SignedDuration::from_secs(restarts.saturating_mul(FRESH.as_secs() / an_hour));
    let old = !look.within(born, FRESH * 2);
    (old && look.within(born, often) && look.within(ended, FRESH)).then_some(Shape::Flapping)
}

/// If this end is the one for which a rule of its container restarts all containers of the pod: the others are only its
/// victims.
fn source_of_restart(view: &View<'_>, end: &Terminated) -> Option<Shape> {
    let rule = view.after_end(end) == AfterEnd::RestartAllByRule;
    (rule && !exit::is_made_up(&end.reason, end.exit_code)).then_some(Shape::RestartsAll)
}

/// Since when it fails, from this object alone, so that a restart of the observer does not move it. As long as all its
/// ends fit into one continuous loop since it could first start, that is the time; the bound grows faster than a loop can,
/// so it stays. Of a loop that began later the API keeps only the last two ends.
pub(super) fn since(view: &View<'_>, shape: Shape) -> Option<Timestamp> {
    let finished = view.newest_end().and_then(|e| e.finished_at.get());
    if shape == Shape::Final {
        return finished.or_else(|| view.could_start_since());
    }
    let first = view.could_start_since();
    let (Some(first), Some(last)) = (first, finished) else { return finished.or(first) };
    let longest_cycle = (STABLE + LONGEST_PAUSE).as_secs();
    let room = view.ends().max(1).saturating_mul(longest_cycle);
    if last.duration_since(first).as_secs() <= room {
        return Some(first);
    }
    let unready = view.pod.status.condition(&ConditionType::Ready).filter(|c| c.is_false());
    let unready = unready.and_then(|c| c.last_transition_time.get());
    let before = view.end_before().and_then(|e| e.finished_at.get());
    [unready, before, Some(last)].into_iter().flatten().min()
}
