//! Containers that started and ended: crash loops, out-of-memory kills, probe kills, failed hooks, final failures.
//!
//! `CrashLoopBackOff` is visible for a second or two per cycle while back-offs are short, so a loop is told from restart
//! count and ends, never from the waiting reason alone. `OOMKilled` belongs to the cgroup, not to the
//! exit; exit code 137 is no proof of it.

use jiff::{SignedDuration, Timestamp};

use super::cause::CauseCode;
use super::container::{AfterEnd, View, uptime, views, work_is_done};
use super::context::{Context, oldest_first};
use super::draft::Look;
use super::exit;
use super::finding::{Confidence, ContainerType, Finding, Source};
use super::logs::{self, LogTail, LogVerdict};
use super::reason::{Reason, Severity};
use super::{nodes, probe, runtime, text};
use crate::objects::{Event, Probe, Terminated};

/// The kubelet's own rule: a container that has run for so long has recovered, and its back-off starts anew.
pub const STABLE: SignedDuration = SignedDuration::from_secs(600);
/// The longest back-off, with the jitter of the sync that ends it and some time for a pull.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(400);
/// For how long a past out-of-memory kill is worth a word.
const FRESH: SignedDuration = SignedDuration::from_secs(3600);

/// Whether a container is failing, and how that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
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

/// Looks at the ends of a container.
pub fn diagnose(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    if view.kind == ContainerType::Ephemeral {
        return None;
    }
    let shape = shape(view, look)?;
    let end = view.newest_end();
    let since = since(view, shape);
    let killer = end.and_then(|e| killer(view, e, context));
    let by_rule = end.map(|e| view.after_end(e));
    let mut finding = match (killer, end) {
        (Some(killer), Some(end)) => killed_by_kubelet(view, end, killer, shape),
        (_, Some(end))
            if by_rule == Some(AfterEnd::RestartAllByRule)
                && matches!(shape, Shape::Loop | Shape::RestartsAll)
                && end.reason != "OOMKilled" =>
        {
            restarts_all(view, end)
        }
        (_, Some(end)) => by_end(view, end, shape, context),
        (_, None) => without_end(view, shape),
    };
    facts(&mut finding, view, context);
    read_log(&mut finding, view, context);
    finding.since = since;
    match shape {
        Shape::Past | Shape::Child => finding = finding.recovered(),
        Shape::FirstTry => {
            finding.stage = super::Stage::Pending;
            finding.severity = Severity::Info;
        }
        _ => {}
    }
    if let Some(end) = end
        && by_rule == Some(AfterEnd::RestartByRule)
        && finding.reason.known() != Some(Reason::OOMKilled)
    {
        finding.add(
            Source::Spec,
            format!("a restart rule of the container expects exit code {}", end.exit_code),
            None,
        );
        if view.status.restart_count < 10 {
            finding.severity = Severity::Info;
        }
    }
    if shape == Shape::Final && owned_by_job(view) {
        finding.severity = Severity::Info;
        finding.add(
            Source::Owner,
            "the pod belongs to a Job, which may try again: the Job decides whether it has failed",
            None,
        );
    }
    Some(finding)
}

fn owned_by_job(view: &View<'_>) -> bool {
    view.pod.metadata.controller().is_some_and(|o| o.kind == "Job")
}

/// The rule of a crash loop: docs/how-it-decides.md has it in words.
fn shape(view: &View<'_>, look: &mut Look) -> Option<Shape> {
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
    const AN_HOUR: i64 = 3;
    let restarts = i64::from(view.status.restart_count);
    let restarting = matches!(view.kind, ContainerType::App | ContainerType::Sidecar);
    let long = uptime(end).is_some_and(|u| u > STABLE);
    if !restarting || !long || restarts < 2 * AN_HOUR {
        return None;
    }
    let (born, ended) = (view.pod.status.start_time.get()?, end.finished_at.get()?);
    let often = SignedDuration::from_secs(restarts.saturating_mul(FRESH.as_secs() / AN_HOUR));
    let old = !look.within(born, FRESH * 2);
    (old && look.within(born, often) && look.within(ended, FRESH)).then_some(Shape::Flapping)
}

/// If this end is the one for which a rule of its container restarts all containers of the pod: the others are only its
/// victims.
fn source_of_restart(view: &View<'_>, end: &Terminated) -> Option<Shape> {
    let rule = view.after_end(end) == AfterEnd::RestartAllByRule;
    (rule && !exit::is_made_up(&end.reason, end.exit_code)).then_some(Shape::RestartsAll)
}

/// Whether this end counts as an out-of-memory kill of the container: with exit code 0 or 143 only a child was killed
/// some time before, and the container ended for another reason.
fn is_oom(end: &Terminated) -> bool {
    end.reason == "OOMKilled" && !matches!(end.exit_code, 0 | 143)
}

/// Since when it fails, from this object alone, so that a restart of the observer does not move it. As long as all its
/// ends fit into one continuous loop since it could first start, that is the time; the bound grows faster than a loop can,
/// so it stays. Of a loop that began later the API keeps only the last two ends.
fn since(view: &View<'_>, shape: Shape) -> Option<Timestamp> {
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
    let unready = view.pod.status.condition(&crate::objects::ConditionType::Ready).filter(|c| c.is_false());
    let unready = unready.and_then(|c| c.last_transition_time.get());
    let before = view.end_before().and_then(|e| e.finished_at.get());
    [unready, before, Some(last)].into_iter().flatten().min()
}

/// What the kubelet had a container killed for, by its own event.
#[derive(Clone, Copy)]
enum Killer<'a> {
    Probe { name: &'static str, event: &'a Event, sure: Confidence },
    PostStart(Option<&'a Event>),
}

/// How long after an end an event about it may still be dated: clocks and seconds are rounded.
const ROUNDING: SignedDuration = SignedDuration::from_secs(5);

/// Why the kubelet killed it, from a `Killing` event of the run that ended (or from the waiting reason). The event comes
/// up to the grace period before the end; counts and times of events are lower bounds.
fn killer<'a>(view: &View<'a>, end: &Terminated, context: &Context<'a>) -> Option<Killer<'a>> {
    let hook = view.waiting().is_some_and(|w| w.reason == "PostStartHookError");
    let (started, finished) = (end.started_at.get(), end.finished_at.get());
    let killed = matches!(end.exit_code, 0 | 137 | 143);
    let suspect = probe::suspect(view, end).map(|(name, _)| name);
    let mut hooked = None;
    let mut found = None;
    let mut complained = None;
    for event in context.container_events(view) {
        // Of a later run, that goes on or is just ending.
        let later =
            finished.zip(event.first_seen()).is_some_and(|(f, e)| e > f.checked_add(ROUNDING).unwrap_or(f));
        if later {
            continue;
        }
        let message = event.message.as_str();
        let earlier = started.zip(event.last_seen()).is_some_and(|(s, e)| e < s);
        if event.reason == "FailedPostStartHook" {
            hooked = Some(event);
        }
        if event.reason == "Unhealthy" && !earlier && killed {
            let said = text::uncombined(message);
            complained = match suspect {
                Some(name @ "liveness") if said.starts_with("Liveness") => Some((name, event)),
                Some(name @ "startup") if said.starts_with("Startup") => Some((name, event)),
                _ => complained,
            };
        }
        if event.reason != "Killing" {
            continue;
        }
        let named = if message.contains("failed liveness probe") {
            "liveness"
        } else if message.contains("failed startup probe") {
            "startup"
        } else if message.contains("FailedPostStartHook") {
            "postStart"
        } else {
            continue;
        };
        // An event of an earlier run tells of this one only if it ended alike, and the event of its own is still on its
        // way or was dropped.
        let before = view.end_before().is_some_and(|b| b.exit_code == end.exit_code);
        let alike = killed && (event.times() >= 2 || before || suspect == Some(named));
        if earlier && !alike {
            continue;
        }
        let sure = if earlier { Confidence::Probable } else { Confidence::Confirmed };
        found = Some(match named {
            "postStart" => Killer::PostStart(Some(hooked.unwrap_or(event))),
            name => Killer::Probe { name, event, sure },
        });
    }
    if hook {
        return Some(Killer::PostStart(hooked));
    }
    // What the runtime says of an end leads (precedence of section 8): out of memory, never started, unknown.
    let told = matches!(end.reason.as_str(), "OOMKilled" | "StartError" | "ContainerCannotRun");
    if told || exit::is_made_up(&end.reason, end.exit_code) {
        return None;
    }
    if let Some((name, event)) = complained.filter(|_| found.is_none()) {
        return Some(Killer::Probe { name, event, sure: Confidence::Probable });
    }
    // The kubelet shows its reason for a second or two only. A run that was killed, with a hook at its start and no probe
    // that fits, most likely was for the hook; where events could be read they have the word.
    let may_be_hook = matches!(end.exit_code, 137 | 143) && suspect.is_none() && !context.sources.events;
    let has_hook = view.spec.and_then(|c| c.lifecycle).is_some_and(|l| l.post_start.is_some());
    found.or((may_be_hook && has_hook).then_some(Killer::PostStart(None)))
}

fn again(shape: Shape) -> &'static str {
    match shape {
        Shape::Loop => "again and again",
        _ => "",
    }
}

fn spaced(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" {words}") }
}

fn killed_by_kubelet(view: &View<'_>, end: &Terminated, killer: Killer<'_>, shape: Shape) -> Finding {
    let container = text::name(view.name);
    let kind = view.noun();
    let lasted = uptime(end).map(|u| format!(" after {}", text::duration(u))).unwrap_or_default();
    let again = spaced(again(shape));
    match killer {
        Killer::Probe { name, event, sure } => {
            let startup = name == "startup";
            let (reason, code) = if startup {
                (Reason::StartupProbeFailed, CauseCode::StartupProbe)
            } else {
                (Reason::LivenessProbeFailed, CauseCode::LivenessProbe)
            };
            let failed = if startup { "did not pass in time" } else { "failed" };
            let spec = view.spec;
            let probe = if startup {
                spec.and_then(|c| c.startup_probe.as_deref())
            } else {
                spec.and_then(|c| c.liveness_probe.as_deref())
            };
            let mut finding = Finding::of_container(view, reason)
                .says(format!("{kind} {container} is killed by its {name} probe{again}{lasted}"))
                .because(code, format!("its {name} probe {failed}, so the kubelet killed it"))
                .sure(sure);
            finding.add_event(event);
            probe_facts(&mut finding, view, name, probe, end);
            let step = log_command(&finding, view);
            finding.next(step)
        }
        Killer::PostStart(event) => {
            let mut finding = Finding::of_container(view, Reason::PostStartHookError)
                .says(format!("{kind} {container} is killed{again} because its postStart hook failed"))
                .because(
                    CauseCode::HookFailed,
                    "its postStart hook failed, so the kubelet killed it".to_owned(),
                );
            if let Some(event) = event {
                finding.add_event(event);
            }
            if event.is_none() && view.waiting().is_none_or(|w| w.reason != "PostStartHookError") {
                finding.confidence = Confidence::Possible;
                finding.cause.text = format!(
                    "it was killed (exit code {}) and has a postStart hook, whose failure would do that",
                    end.exit_code
                );
                finding.add(
                    Source::Event,
                    "events were not read: they would tell whether the hook failed",
                    None,
                );
            }
            if let Some(waiting) = view.waiting().filter(|w| w.reason == "PostStartHookError") {
                finding.cause.text = format!("its postStart hook failed: {}", text::quote(&waiting.message));
            }
            let step = finding.kubectl_pod("describe pod");
            finding
                .next(step)
                .next("run the hook's command by hand in the image; the kubelet's events withhold its output")
        }
    }
}

/// The probe's settings, what they allow, and how that compares with the run that ended and with the present one.
fn probe_facts(finding: &mut Finding, view: &View<'_>, name: &str, probe: Option<&Probe>, end: &Terminated) {
    let Some(probe) = probe else { return };
    finding.add(Source::Spec, probe::describe(name, probe), None);
    let Some(lasted) = uptime(end) else { return };
    let budget = probe.budget();
    // The container is killed within a period of its budget, and its grace period comes on top.
    if lasted.as_secs() > probe::longest_run(view, probe) {
        let words = format!(
            "it had passed before: the run lasted {}, the probe allows {budget}s without a pass",
            text::duration(lasted)
        );
        finding.add(Source::Status, words, end.finished_at.get());
        return;
    }
    let words =
        format!("it never passed: the run lasted {}, the probe allows {budget}s", text::duration(lasted));
    finding.add(Source::Status, words, end.finished_at.get());
    match probe::ready_after(view) {
        Some(needed) => needs_longer(finding, probe, needed, "the present run"),
        None if name == "startup" => finding.next_steps.push(format!(
            "{SLOW_START}: raise failureThreshold of its startup probe, until periodSeconds x failureThreshold is above its start-up time"
        )),
        None => finding.next_steps.push(format!(
            "{SLOW_START}: give it a startupProbe with periodSeconds x failureThreshold above its start-up time, so that the {name} probe waits"
        )),
    }
}

/// What an advice begins with that is given where nothing tells how long a start takes.
const SLOW_START: &str = "if it is only slow to start";

/// Adds how long the container takes to become ready, and the setting that would have let it live.
pub fn needs_longer(finding: &mut Finding, probe: &Probe, needed: SignedDuration, which: &str) {
    let took = text::duration(needed);
    let Some(setting) = probe::setting_for(probe, needed) else {
        finding.add(Source::Status, format!("{which} was ready after {took}"), None);
        return;
    };
    let budget = probe.budget();
    finding.add(
        Source::Status,
        format!(
            "{which} was ready after {took}, the probe kills at {budget}s: it is slow to start, not dead"
        ),
        None,
    );
    finding.next_steps.retain(|s| !s.starts_with(SLOW_START));
    finding.next_steps.insert(0, setting);
}

/// Waiting after an end that the kubelet no longer knows, or that it has not published yet.
fn without_end(view: &View<'_>, shape: Shape) -> Finding {
    let (container, kind) = (text::name(view.name), view.noun());
    let again = spaced(again(shape));
    let waiting = view.waiting();
    match waiting.map(|w| (w.reason.as_str(), w.message.as_str())) {
        Some(("RunContainerError", message)) => cannot_start(view, message, None, &again),
        Some(("PostStartHookError", message)) => Finding::of_container(view, Reason::PostStartHookError)
            .says(format!("{kind} {container} is killed{again} because its postStart hook failed"))
            .because(CauseCode::HookFailed, format!("its postStart hook failed: {}", text::quote(message))),
        _ => Finding::of_container(view, Reason::CrashLoopBackOff)
            .says(format!("{kind} {container} ends again and again"))
            .because(CauseCode::Unexplained, "the kubelet no longer knows how it ended".to_owned())
            .sure(Confidence::Possible),
    }
}

/// The runtime created the container and could not start its program.
fn cannot_start(view: &View<'_>, message: &str, at: Option<Timestamp>, again: &str) -> Finding {
    let (container, kind) = (text::name(view.name), view.noun());
    let (code, why) = runtime::error(message);
    let mut finding = Finding::of_container(view, Reason::RunContainerError);
    let image = text::name(view.image);
    finding.image = image.clone();
    let limit = view.spec.and_then(|c| c.limit("memory")).filter(|_| code == CauseCode::MemoryLimitReached);
    if let Some(limit) = limit {
        finding.add(Source::Spec, format!("memory limit {}", text::name(limit)), None);
    }
    let step = finding.kubectl(&format!("get pod {} -o yaml", text::arg(&finding.pod)));
    let failing = if again.is_empty() { "cannot be started" } else { "fails to start again and again" };
    let finding = finding.says(format!("{kind} {container} {failing}: {why}")).because(code, why).with(
        Source::Status,
        text::quote(message),
        at,
    );
    runtime::advice(finding, code, &image).next(step)
}

/// An exit that the container's own rule answers by a restart of all containers of the pod.
fn restarts_all(view: &View<'_>, end: &Terminated) -> Finding {
    let (container, code) = (text::name(view.name), end.exit_code);
    let mut finding = Finding::of_container(view, Reason::RestartingAllContainers)
        .says(format!(
            "container {container} ended with exit code {code}, and its rule restarts all containers of the pod"
        ))
        .because(
            CauseCode::RestartRule,
            format!("a restart rule of container {container} answers exit code {code} by restarting all containers"),
        );
    // Once or twice is what the rule is for.
    if view.status.restart_count >= 3 {
        finding.severity = Severity::Warning;
    }
    let logs = log_command(&finding, view);
    with_message(finding, end).next(logs)
}

fn by_end(view: &View<'_>, end: &Terminated, shape: Shape, context: &Context<'_>) -> Finding {
    let container = text::name(view.name);
    let kind = view.noun();
    let again = spaced(again(shape));
    let lasted = uptime(end).map(|u| format!(" after {}", text::duration(u))).unwrap_or_default();
    let waiting = view.waiting();
    let logs = |finding: &Finding| log_command(finding, view);

    let start_error = matches!(end.reason.as_str(), "StartError" | "ContainerCannotRun")
        || waiting.is_some_and(|w| w.reason == "RunContainerError");
    if start_error {
        let message = waiting
            .filter(|w| w.reason == "RunContainerError")
            .map_or(end.message.as_str(), |w| w.message.as_str());
        return cannot_start(view, message, end.finished_at.get(), &again);
    }
    // With 143 it was stopped in good order, and the kernel's mark is of some child before.
    if end.reason == "OOMKilled" && (end.exit_code != 143 || shape == Shape::Child) {
        return out_of_memory(view, end, shape, context);
    }
    if end.reason == "ContainerStatusUnknown" {
        let finding = Finding::of_container(view, Reason::ContainerStatusUnknown);
        let node = finding.node.clone();
        return finding
            .says(format!("{kind} {container} vanished: the kubelet does not know how it ended"))
            .because(CauseCode::ContainerVanished, format!("the runtime on node {node} lost it: a restart of the node, an eviction, or a removal by hand"))
            .sure(Confidence::Probable)
            .next(format!("kubectl describe node {}", text::arg(&node)));
    }
    if shape == Shape::Flapping {
        let (code, words) = exit::meaning(end.exit_code, &end.reason);
        let finding = Finding::of_container(view, Reason::FrequentRestarts);
        let (step, restarts) = (logs(&finding), view.status.restart_count);
        let finding = finding
            .says(format!(
                "{kind} {container} keeps ending: {restarts} restarts, the last one{lasted} with {words}"
            ))
            .because(code, format!("it ended with {words}"))
            .sure(Confidence::Probable)
            .next(step);
        return with_message(finding, end);
    }
    if shape == Shape::Final {
        let (code, words) = exit::meaning(end.exit_code, &end.reason);
        let finding = Finding::of_container(view, Reason::Error);
        let step = logs(&finding);
        let finding = finding
            .says(format!(
                "{kind} {container} failed{lasted} with exit code {} and is not restarted",
                end.exit_code
            ))
            .because(code, format!("it ended with {words}"))
            .next(step);
        return with_message(finding, end);
    }
    // A loop.
    if end.exit_code == 0 {
        return ended_in_peace(view, end, context);
    }
    let (code, words) = exit::meaning(end.exit_code, &end.reason);
    let finding = Finding::of_container(view, Reason::CrashLoopBackOff);
    let step = logs(&finding);
    let mut finding = finding
        .says(format!("{kind} {container} crashes{again}{lasted}: {words}"))
        .because(code, format!("it ended with {words}"))
        .next(step);
    if matches!(end.exit_code, 137 | 143) {
        finding = unexplained_kill(finding, view, end, context);
    }
    if end.reason == "OOMKilled" {
        finding.add(
            Source::Status,
            "the runtime marks it OOMKilled: some process in it was, at some time; that did not end it",
            end.finished_at.get(),
        );
    }
    if matches!(finding.cause.code, CauseCode::IllegalInstruction)
        && let Some(architecture) =
            context.node.and_then(|n| n.status.node_info.as_ref()).map(|i| text::name(&i.architecture))
    {
        finding.add(Source::Node, format!("the node's architecture is {architecture}"), None);
    }
    with_message(finding, end)
}

/// Adds the termination message, which is the program's own word on why it ended; with `FallbackToLogsOnError` it is the
/// end of its log.
fn with_message(mut finding: Finding, end: &Terminated) -> Finding {
    if end.message.trim().is_empty() {
        return finding;
    }
    let message = text::quote(&end.message);
    let tail = LogTail::from_bytes(end.message.as_bytes());
    match logs::classify(&tail, finding.exit_code) {
        Some(verdict) if tail.lines().len() > 1 => explain(&mut finding, &verdict),
        _ => finding.cause.text = format!("{}: {message}", finding.cause.text),
    }
    finding.add(Source::Status, format!("termination message: {message}"), end.finished_at.get());
    finding
}

/// SIGKILL or SIGTERM, and no event tells from whom. Never called out of memory: the runtime would have said so.
fn unexplained_kill(
    mut finding: Finding,
    view: &View<'_>,
    end: &Terminated,
    context: &Context<'_>,
) -> Finding {
    let signal = if end.exit_code == 137 { "SIGKILL" } else { "SIGTERM" };
    let suspect = probe::suspect(view, end);
    let hungry = end.finished_at.get().and_then(|at| node_out_of_memory(context, at));
    let mut why = format!("it was killed with {signal} (exit code {})", end.exit_code);
    let mut sure = Confidence::Possible;
    if let Some((event, node)) = hungry.filter(|_| end.exit_code == 137) {
        finding.add_node_event(event);
        if node {
            finding.cause.code = CauseCode::NodePressure;
            why.push_str("; the node itself was out of memory at that time and killed processes");
            sure = Confidence::Probable;
        } else {
            why.push_str("; the kernel killed a process on the node for a memory limit at that time");
        }
    } else if let Some((name, _)) = suspect {
        why.push_str(&format!(
            "; the run lasted as long as its {name} probe allows, so that probe may be what had it killed"
        ));
        finding.cause.code =
            if name == "startup" { CauseCode::StartupProbe } else { CauseCode::LivenessProbe };
    } else if end.exit_code == 137 {
        why.push_str("; the runtime did not record an out-of-memory kill of this container");
    }
    finding.cause.text = why;
    finding.confidence = sure;
    if let Some((name, probe)) = suspect {
        finding.add(Source::Spec, probe::describe(name, probe), None);
    }
    let limit = view.spec.and_then(|c| c.limit("memory"));
    if end.exit_code == 137 {
        let fact = match limit {
            Some(limit) => format!("memory limit {}", text::name(limit)),
            None => {
                "no memory limit: the kernel of the node may have chosen it when the node was short of memory"
                    .to_owned()
            }
        };
        finding.add(Source::Spec, fact, None);
    }
    if !context.sources.events {
        finding.add(
            Source::Event,
            "events were not read: they would name a probe, a hook or an eviction as the killer",
            None,
        );
    }
    let step = finding.kubectl_events();
    finding.next(step)
}

/// An event of the node that tells of an out-of-memory kill about when the container ended, and whether it was the node
/// that was short of memory (else some cgroup was, such as a container's). The kubelet's `SystemOOM` is only of the node as
/// a whole; a problem detector's `OOMKilling` is of both.
fn node_out_of_memory<'a>(context: &Context<'a>, at: Timestamp) -> Option<(&'a Event, bool)> {
    let near =
        |t: Option<Timestamp>| t.is_some_and(|t| t.duration_since(at).abs() <= SignedDuration::from_secs(30));
    let events = context
        .node_events
        .iter()
        .filter(|e| nodes::tells_of_memory(e) && (near(e.last_seen()) || near(e.first_seen())));
    let event = events.max_by(|a, b| oldest_first(a, b))?;
    let cgroup = event.message.to_lowercase().contains("memory cgroup");
    Some((event, event.reason == "SystemOOM" || !cgroup))
}

/// Exit code 0, again and again: a command that ends where it should go on, or a server that its probe has killed and
/// that went in peace.
fn ended_in_peace(view: &View<'_>, end: &Terminated, context: &Context<'_>) -> Finding {
    let container = text::name(view.name);
    let kind = view.noun();
    let lasted = uptime(end).map(|u| format!(" after {}", text::duration(u))).unwrap_or_default();
    if let Some((name, probe)) = probe::suspect(view, end) {
        let finding = Finding::of_container(view, Reason::CrashLoopBackOff);
        let step = finding.kubectl_events();
        let code = if name == "startup" { CauseCode::StartupProbe } else { CauseCode::LivenessProbe };
        let mut finding = finding
            .says(format!("{kind} {container} ends again and again{lasted} with exit code 0"))
            .because(
                code,
                format!(
                    "the run lasted as long as its {name} probe allows: that probe may be what had it stopped"
                ),
            )
            .sure(Confidence::Possible)
            .with(Source::Spec, probe::describe(name, probe), None)
            .next(step);
        if !context.sources.events {
            finding.add(
                Source::Event,
                "events were not read: they would tell whether a probe had it killed",
                None,
            );
        }
        return finding;
    }
    let finding = Finding::of_container(view, Reason::CompletedLoop);
    let step = log_command(&finding, view);
    let mut finding = finding
        .says(format!("{kind} {container} does its work and ends{lasted} with exit code 0, again and again"))
        .because(CauseCode::CommandCompleted, "its command completed with exit code 0, and restartPolicy Always starts it anew")
        .next("if the work is meant to end, use a Job or CronJob; if not, keep its main process in the foreground")
        .next(step);
    if view.ends() < 3 {
        finding.stage = super::Stage::Pending;
        finding.severity = Severity::Info;
    }
    finding
}

fn out_of_memory(view: &View<'_>, end: &Terminated, shape: Shape, context: &Context<'_>) -> Finding {
    let container = text::name(view.name);
    let kind = view.noun();
    let actual = view.status.resources.as_deref().and_then(|r| r.limit("memory"));
    let wanted = view.spec.and_then(|c| c.limit("memory"));
    let pod = view.pod.spec.resources.as_deref().and_then(|r| r.limit("memory"));
    let (limit, whose) = match (actual.or(wanted), pod) {
        (Some(limit), _) => (Some(text::name(limit)), "its memory limit"),
        (None, Some(limit)) => (Some(text::name(limit)), "the pod's memory limit"),
        (None, None) => (None, "no memory limit of its own"),
    };
    let lasted = uptime(end).map(|u| format!(" after {}", text::duration(u))).unwrap_or_default();
    let often = match shape {
        Shape::Loop => ", again and again",
        Shape::Past | Shape::Child => ", and has recovered since",
        _ => "",
    };
    let at = limit.as_ref().map_or_else(
        || " (it has no memory limit: the node ran out)".to_owned(),
        |l| format!(" at {whose} of {l}"),
    );
    let mut finding = Finding::of_container(view, Reason::OOMKilled);
    finding = match end.exit_code {
        137 => finding
            .says(format!("{kind} {container} is killed for lack of memory{at}{lasted}{often}"))
            .because(
                CauseCode::MemoryLimitReached,
                match &limit {
                    Some(limit) => format!("it reached {whose} of {limit}"),
                    None => "the node ran out of memory: the container has no memory limit of its own".to_owned(),
                },
            )
            .sure(if limit.is_some() { Confidence::Confirmed } else { Confidence::Probable }),
        code if is_oom(end) => finding
            .says(format!("{kind} {container} ends with exit code {code} after a process in it was killed for lack of memory{at}{often}"))
            .because(
                CauseCode::ChildMemoryLimitReached,
                format!("a child process was killed{at}, and the main process (PID 1) then exited with exit code {code}"),
            )
            .sure(Confidence::Probable),
        code => finding
            .says(format!("{kind} {container} ends with exit code {code}; some process in it was killed earlier for lack of memory{at}"))
            .because(
                CauseCode::ChildMemoryLimitReached,
                format!("a child process was killed{at} some time before; the container itself ended with exit code {code}"),
            )
            .sure(Confidence::Possible),
    };
    if let Some(actual) = actual
        && let Some(wanted) = wanted
        && actual != wanted
    {
        finding.add(
            Source::Status,
            format!("memory limit in force {}, in the spec {}", text::name(actual), text::name(wanted)),
            None,
        );
    }
    if let Some(request) = view.spec.and_then(|c| c.request("memory")) {
        finding.add(Source::Spec, format!("memory request {}", text::name(request)), None);
    }
    match (uptime(end), view.end_before().filter(|e| e.reason == "OOMKilled").and_then(uptime)) {
        (Some(last), Some(before)) => {
            let words =
                format!("time to the kill: {} and {} before", text::duration(last), text::duration(before));
            finding.add(Source::Status, words, end.finished_at.get());
        }
        (Some(last), None) => {
            finding.add(
                Source::Status,
                format!("time to the kill: {}", text::duration(last)),
                end.finished_at.get(),
            );
        }
        _ => {}
    }
    let verdict = match uptime(end).map(|u| u.as_secs()) {
        Some(0..60) if limit.is_some() => {
            "it dies soon after each start, so the limit is far below what it needs to run at all: raise it, or lower the program's heap"
        }
        Some(3600..) => {
            "it ran for long before: look for a leak or for load that grows; a higher limit alone only delays it"
        }
        _ => "raise the memory limit, or make the program use less (heap size, workers, caches)",
    };
    if let Some((event, node)) = end.finished_at.get().and_then(|at| node_out_of_memory(context, at)) {
        finding.add_node_event(event);
        if limit.is_none() && node {
            finding.confidence = Confidence::Confirmed;
        }
    }
    let top = finding.kubectl(&format!("top pod {} --containers", text::arg(&finding.pod)));
    finding.next(verdict).next(top)
}

/// The command that shows the log of the run that ended: with `--previous` the kubelet gives the run before the newest
/// container, which is the one that ended only while the next one runs. A record that the kubelet made up has no log.
fn log_command(finding: &Finding, view: &View<'_>) -> String {
    let previous = if view.is_running() { " --previous" } else { "" };
    finding.kubectl(&format!("logs {} -c {}{previous}", text::arg(&finding.pod), text::arg(view.name)))
}

fn facts(finding: &mut Finding, view: &View<'_>, context: &Context<'_>) {
    let mut facts = Vec::new();
    if let Some(waiting) = view.waiting().filter(|w| w.reason == "CrashLoopBackOff")
        && let Some(pause) = text::between(&waiting.message, "back-off ", " restarting")
    {
        facts.push((
            Source::Status,
            format!("waiting: CrashLoopBackOff, the pause is {}", text::quote(pause)),
            None,
        ));
    }
    for end in [view.newest_end(), view.end_before()].into_iter().flatten() {
        let lasted = uptime(end).map(|u| format!(", ran {}", text::duration(u))).unwrap_or_default();
        let words = format!("ended: {} with exit code {}{lasted}", text::name(&end.reason), end.exit_code);
        facts.push((Source::Status, words, end.finished_at.get()));
    }
    let restarts = i64::from(view.status.restart_count);
    if restarts > 0 {
        facts.push((Source::Status, text::count(restarts, "restart"), None));
    }
    for (source, words, at) in facts {
        finding.add(source, words, at);
    }
    if matches!(view.kind, ContainerType::Init | ContainerType::Sidecar) {
        let waiting: Vec<&str> = views(view.pod)
            .filter(|v| v.kind == ContainerType::App)
            .filter(|v| v.waiting().is_some_and(|w| w.reason == "PodInitializing"))
            .map(|v| v.name)
            .collect();
        if !waiting.is_empty() {
            finding.add(Source::Status, format!("wait for it: {}", text::list(&waiting)), None);
        }
    }
    // What the probe said helps whoever reads it.
    let (about, probe) = match finding.reason.known() {
        Some(Reason::LivenessProbeFailed) => {
            ("Liveness", view.spec.and_then(|c| c.liveness_probe.as_deref()))
        }
        Some(Reason::StartupProbeFailed) => ("Startup", view.spec.and_then(|c| c.startup_probe.as_deref())),
        _ => return,
    };
    let unhealthy = |e: &&Event| e.reason == "Unhealthy" && text::uncombined(&e.message).starts_with(about);
    if let Some(event) = context.container_events(view).filter(unhealthy).last() {
        finding.add_event(event);
        let said = text::uncombined(&event.message);
        let said = said.split_once(": ").map_or(said, |(_, said)| said);
        finding.cause.text = format!("{} ({})", finding.cause.text, text::quote(said));
        if let Some(hint) = probe::hint(said, probe) {
            finding.next_steps.insert(0, hint);
        }
    }
    // A hook that failed on the way is a reason why a kill took long.
    if let Some(event) = context.container_events(view).filter(|e| e.reason == "FailedPreStopHook").last() {
        finding.add_event(event);
    }
}

/// Reads the log of the run that ended, if there is one.
fn read_log(finding: &mut Finding, view: &View<'_>, context: &Context<'_>) {
    if finding.reason.known() == Some(Reason::RunContainerError) {
        // It never ran.
        return;
    }
    // While the container has ended or waits, its current log is that of the end; once it runs again, the previous one is.
    // The other one is of another run: of the one before, which as a rule ended the same way, or of the present one.
    let order = if view.is_running() { [true, false] } else { [false, true] };
    let mut gone = false;
    for previous in order {
        let log = context.logs.iter().find(|l| l.container == view.name && l.previous == previous);
        let Some(reading) = log.map(|l| l.read(finding.exit_code)) else { continue };
        gone |= reading.gone;
        let Some(verdict) = &reading.verdict else { continue };
        let present_run = view.is_running() && !previous;
        if present_run && !verdict.specific {
            continue;
        }
        finding.add(Source::Log, verdict.line.clone(), None);
        explain(finding, verdict);
        return;
    }
    if gone {
        finding.add(Source::Log, "the log of the run that ended is gone", None);
    } else if !context.sources.logs && is_open(finding.cause.code) {
        finding.add(Source::Log, "logs were not read: they may tell why", None);
    }
}

/// Whether the status says only how the container ended, so that its log may say why.
fn is_open(code: CauseCode) -> bool {
    matches!(
        code,
        CauseCode::ApplicationError
            | CauseCode::CommandNotFound
            | CauseCode::CommandNotExecutable
            | CauseCode::Aborted
            | CauseCode::SegmentationFault
            | CauseCode::CommandCompleted
            | CauseCode::RuntimeError
            | CauseCode::Signal
    )
}

/// Lets the log say why. What the status proves stays in the text.
fn explain(finding: &mut Finding, verdict: &LogVerdict) {
    if !is_open(finding.cause.code) {
        return;
    }
    let ended = finding.exit_code.map(|c| format!(" (exit code {c})")).unwrap_or_default();
    if verdict.specific {
        // An end in peace stays what it is; the log only adds why.
        if finding.cause.code != CauseCode::CommandCompleted {
            finding.cause.code = verdict.code;
        }
        // What is only the general sort of thing is worth less than the program's own words.
        let own_words = if verdict.code == CauseCode::LoggedError {
            format!(": {}", verdict.line)
        } else {
            String::new()
        };
        finding.cause.text = format!("{}{own_words}{ended}", verdict.text);
        finding.confidence = finding.confidence.min(Confidence::Probable);
    } else {
        finding.cause.text = format!("{}; its log says last: {}", finding.cause.text, verdict.line);
        finding.confidence = finding.confidence.min(Confidence::Probable);
    }
}
