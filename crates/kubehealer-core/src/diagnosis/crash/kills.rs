//! Containers that were killed: by the kubelet for a probe or a hook, or with a signal that nothing explains.

use jiff::SignedDuration;

use super::crash_loop::Shape;
use super::out_of_memory::node_out_of_memory;
use super::{log_command, spell};
use crate::diagnosis::container::{View, uptime};
use crate::diagnosis::message::Message;
use crate::diagnosis::{CauseCode, Confidence, Context, Finding, Reason, Source, exit, probe, text};
use crate::objects::{Event, Terminated};

/// What the kubelet had a container killed for, by its own event.
#[derive(Clone, Copy)]
pub(super) enum Killer<'a> {
    Probe { name: &'static str, event: &'a Event, sure: Confidence },
    PostStart(Option<&'a Event>),
}

/// How long after an end an event about it may still be dated: clocks and seconds are rounded.
const ROUNDING: SignedDuration = SignedDuration::from_secs(5);

/// Why the kubelet killed it, from a `Killing` event of the run that ended (or from the waiting reason). The event comes
/// up to the grace period before the end; counts and times of events are lower bounds.
pub(super) fn killer<'a>(view: &View<'a>, end: &Terminated, context: &Context<'a>) -> Option<Killer<'a>> {
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
    // What the runtime says of an end leads: out of memory, never started, unknown.
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
    let has_hook = view.spec.and_then(|c| c.lifecycle.as_ref()).is_some_and(|l| l.post_start.is_some());
    found.or((may_be_hook && has_hook).then_some(Killer::PostStart(None)))
}

/// What a hook printed, or why it could not be run, from the kubelet's message about it: the waiting message has it, and the
/// events of older kubelets.
fn hook_output(message: &str) -> Option<String> {
    let (_, said) = message.split_once(" failed - error: ")?;
    let (error, printed) = said.split_once(", message: ").unwrap_or((said, ""));
    let printed = printed.trim().trim_matches('"').replace("\\n", " ").replace("\\\"", "\"");
    let printed = text::quote(&text::normalise(printed.trim()));
    Some(if printed.is_empty() { text::quote(&text::normalise(error)) } else { text::head(&printed, 240) })
}

pub(super) fn killed_by_kubelet(
    view: &View<'_>,
    end: &Terminated,
    killer: Killer<'_>,
    shape: Shape,
) -> Finding {
    let container = text::name(view.name);
    let kind = view.noun();
    let lasted = uptime(end).map(|u| format!(" after {}", spell(u))).unwrap_or_default();
    let looping = match shape {
        Shape::Loop => ", in a loop",
        Shape::Final if end.exit_code == 0 => "; it exited with code 0 and restartPolicy does not restart it",
        Shape::Final => ", not restarted",
        _ => "",
    };
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
                .summary(format!("{kind} {container}: killed by its {name} probe{lasted}{looping}"))
                .cause(code, format!("{name} probe {failed}, so the kubelet killed it"))
                .confidence(sure);
            finding.add_event(event);
            probe::add_facts(&mut finding, view, name, probe, end);
            let step = log_command(&finding, view);
            finding.next_step(step)
        }
        Killer::PostStart(event) => {
            let mut finding = Finding::of_container(view, Reason::PostStartHookError)
                .summary(format!("{kind} {container}: killed because its postStart hook failed{looping}"))
                .cause(CauseCode::HookFailed, "postStart hook failed, so the kubelet killed the container");
            if let Some(event) = event {
                finding.add_event(event);
            }
            let waiting =
                view.waiting().filter(|w| w.reason == "PostStartHookError").map(|w| w.message.as_str());
            let said = event.map(|e| text::uncombined(&e.message)).into_iter().chain(waiting);
            if let Some(said) = said.filter_map(hook_output).next_back() {
                finding.summary = format!("{}: {said}", finding.summary);
                finding.cause.text = format!("{}: {said}", finding.cause.text);
            }
            if event.is_none() && view.waiting().is_none_or(|w| w.reason != "PostStartHookError") {
                finding.confidence = Confidence::Possible;
                finding.cause.text = format!(
                    "killed (exit code {}); it has a postStart hook, and the kubelet kills the container if the hook fails",
                    end.exit_code
                );
                finding.add(
                    Source::Event,
                    "events were not read: they would show whether the hook failed",
                    None,
                );
            }
            if let Some(waiting) = waiting {
                finding.cause.text = format!("postStart hook failed: {}", Message::read(waiting).detail());
            }
            let step = finding.kubectl_pod("describe pod");
            finding.next_step(step).next_step(
                "run the hook's command by hand in the image; the kubelet's events omit its output",
            )
        }
    }
}

/// SIGKILL or SIGTERM, and no event tells from whom. Never called out of memory: the runtime would have said so.
pub(super) fn unexplained_kill(
    mut finding: Finding,
    view: &View<'_>,
    end: &Terminated,
    context: &Context<'_>,
) -> Finding {
    let signal = if end.exit_code == 137 { "SIGKILL" } else { "SIGTERM" };
    let suspect = probe::suspect(view, end);
    let hungry = end.finished_at.get().and_then(|at| node_out_of_memory(context, at));
    let mut why = format!("killed with {signal} (exit code {})", end.exit_code);
    let mut sure = Confidence::Possible;
    if let Some((event, node)) = hungry.filter(|_| end.exit_code == 137) {
        finding.add_node_event(event);
        if node {
            finding.cause.code = CauseCode::NodePressure;
            why.push_str("; the node itself was out of memory at that time and killed processes");
            finding.summary.push_str("; the node was out of memory");
            sure = Confidence::Probable;
        } else {
            why.push_str(
                "; at that time the kernel killed a process on the node because it reached a memory limit",
            );
        }
    } else if let Some((name, _)) = suspect {
        why.push_str(&format!(
            "; the run lasted as long as its {name} probe allows, so that probe may have killed it"
        ));
        finding.summary.push_str(&format!("; its {name} probe may have killed it"));
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
            None => "no memory limit: the kernel may have killed it because the node was short of memory"
                .to_owned(),
        };
        finding.add(Source::Spec, fact, None);
    }
    if !context.sources.events {
        finding.add(
            Source::Event,
            "events were not read: they would show whether a probe, a hook or an eviction killed it",
            None,
        );
    }
    let step = finding.kubectl_events();
    finding.next_step(step)
}
