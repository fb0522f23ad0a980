//! Containers that started and ended: crash loops, out-of-memory kills, probe kills, failed hooks, final failures.
//!
//! `CrashLoopBackOff` is visible for a second or two per cycle while back-offs are short, so a loop is told from restart
//! count and ends, never from the waiting reason alone.

mod crash_loop;
mod exits;
mod kills;
mod last_words;
mod out_of_memory;
mod steps;

use self::crash_loop::Shape;
pub use self::out_of_memory::tells_of_memory;
use super::container::{AfterEnd, STABLE, View, uptime, views};
use super::context::Context;
use super::draft::Look;
use super::finding::{ContainerType, Finding, Source};
use super::reason::{Reason, Severity};
use super::{probe, text};
use crate::objects::Event;

/// Looks at the ends of a container.
pub fn diagnose(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    if view.kind == ContainerType::Ephemeral {
        return None;
    }
    let shape = crash_loop::shape(view, look).or_else(|| killed_for_good(view, context))?;
    let end = view.newest_end();
    let since = crash_loop::since(view, shape);
    let killer = end.and_then(|e| kills::killer(view, e, context));
    let by_rule = end.map(|e| view.after_end(e));
    let mut finding = match (killer, end) {
        (Some(killer), Some(end)) => kills::killed_by_kubelet(view, end, killer, shape),
        (_, Some(end))
            if by_rule == Some(AfterEnd::RestartAllByRule)
                && matches!(shape, Shape::Loop | Shape::RestartsAll)
                && end.reason != "OOMKilled" =>
        {
            exits::restarts_all(view, end)
        }
        (_, Some(end)) => exits::by_end(view, end, shape, context),
        (_, None) => exits::without_end(view, shape),
    };
    facts(&mut finding, view, context);
    last_words::read_log(&mut finding, view, context);
    steps::add(&mut finding, view);
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
            format!("a restart rule of the container matches exit code {}", end.exit_code),
            None,
        );
        if view.status.restart_count < 10 {
            finding.severity = Severity::Info;
        }
    }
    if shape == Shape::Final && owned_by_job(view) {
        let running = still_running(view);
        let long_ago = end.and_then(|e| e.finished_at.get()).is_some_and(|at| !look.within(at, STABLE));
        let words = if running.is_empty() || !long_ago {
            finding.severity = Severity::Info;
            "the pod belongs to a Job, which may retry: the Job decides whether it has failed".to_owned()
        } else {
            format!("its Job does not count this as a failure while the pod is running: {running} still runs")
        };
        finding.add(Source::Owner, words, None);
    }
    Some(finding)
}

/// Looks at a container of a pod that counts as succeeded: it may not have been done.
pub fn completed(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    killed_for_good(view, context).and_then(|_| diagnose(view, context, look))
}

/// A probe killed it, it shut down in order with exit code 0, and so its restartPolicy takes it for completed: nothing
/// starts it again, though its work was not done.
fn killed_for_good(view: &View<'_>, context: &Context<'_>) -> Option<Shape> {
    let end = view.ended().filter(|end| end.exit_code == 0 && view.after_end(end) == AfterEnd::Stays)?;
    let deleted = view.pod.metadata.deletion_timestamp.get().is_some();
    if deleted || view.kind != ContainerType::App {
        return None;
    }
    let killer = kills::killer(view, end, context)?;
    matches!(killer, kills::Killer::Probe { sure: super::Confidence::Confirmed, .. }).then_some(Shape::Final)
}

/// The other app containers of the pod that run: without them it would have ended.
fn still_running(view: &View<'_>) -> String {
    let apps = views(view.pod).filter(|v| v.kind == ContainerType::App && v.is_running());
    text::list(&apps.map(|v| v.name).collect::<Vec<_>>())
}

fn owned_by_job(view: &View<'_>) -> bool {
    view.pod.metadata.controller().is_some_and(|o| o.kind == "Job")
}

/// Which of its terminations a container is at: `crash loop` or what else it is.
fn failing(shape: Shape) -> &'static str {
    if shape == Shape::Loop { "crash loop" } else { "crashed" }
}

/// A duration for a first line: seconds apart from their unit.
fn spell(lasted: jiff::SignedDuration) -> String {
    match lasted.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => text::duration(lasted),
    }
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
            format!("waiting: CrashLoopBackOff, back-off {}", text::quote(pause)),
            None,
        ));
    }
    for end in [view.newest_end(), view.end_before()].into_iter().flatten() {
        let lasted = uptime(end).map(|u| format!(", ran {}", text::duration(u))).unwrap_or_default();
        let words = format!("terminated: {}, exit code {}{lasted}", text::name(&end.reason), end.exit_code);
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
            finding.add(Source::Status, format!("containers waiting for it: {}", text::list(&waiting)), None);
        }
    }
    if !matches!(finding.reason.known(), Some(Reason::LivenessProbeFailed | Reason::StartupProbeFailed)) {
        return;
    }
    add_probe(finding, view, context);
    // A hook that failed on the way is a reason why a kill took long.
    if let Some(event) = context.container_events(view).filter(|e| e.reason == "FailedPreStopHook").last() {
        finding.add_event(event);
    }
}

/// What the probe that killed it said, and what the container's log says to that.
fn add_probe(finding: &mut Finding, view: &View<'_>, context: &Context<'_>) {
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
        let said = probe::words_of(event);
        finding.cause.text = format!("{} ({})", finding.cause.text, text::quote(said));
        probe::read(said, probe).tell(finding);
        // Of the run that was killed; the one before it was, as a rule, killed alike.
        let order = if view.is_running() { [true, false] } else { [false, true] };
        let mut logs = order.into_iter().filter_map(|previous| {
            context.logs.iter().find(|l| l.container == view.name && l.previous == previous)
        });
        if probe::is_refused(said)
            && let Some(log) = logs.next()
        {
            probe::compare_with_log(finding, said, &log.listens());
        }
    }
}
