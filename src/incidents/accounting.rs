//! Every termination of a container is counted exactly once.
//!
//! A container's runs are numbered by `restartCount`: run `k` is the one that is shown with `restartCount: k`. So a status
//! shows `restartCount` terminations, and one more if the run that it shows has terminated: it is `terminated`, or it waits and
//! `lastState` holds the termination of its own `containerID` (the kubelet moves it there while it waits).
//! The terminations between two looks are the difference. They are identified by `terminated.containerID`.
//! A termination that happened and is not shown is counted as [`TerminationReason::Unobserved`].
//!
//! | what happens between two looks | what is counted |
//! |---|---|
//! | an update repeats | nothing |
//! | `restartCount` rises by `n` | `n` terminations, one fewer if the first of them was counted when it was shown |
//! | `restartCount` stays, and another container runs | the termination of the one before, once |
//! | `restartCount` falls | it began again at 0, as with any counter that falls: the termination of the run before, and what it shows now |
//! | a record that the kubelet made up, without `containerID` | the termination of the run that was known to go on; nothing if none was |
//! | the pod goes while a container runs | one termination that nobody saw |
//!
//! Pure: must not know of findings, workloads, or the time.

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::Arc;

use foldhash::quality::FixedState;
use jiff::{SignedDuration, Timestamp};

use super::store::Counted;
use crate::diagnosis::ContainerType;
use crate::diagnosis::container::{View, views};
use crate::objects::{Pod, Terminated};

kubehealer_core::words! {
    /// Why a container terminated, as the kubelet and the runtime call it: a bounded set, since it labels metrics.
    pub enum TerminationReason {
        /// Exit 0.
        Completed = "Completed",
        /// Another exit.
        Error = "Error",
        /// The memory limit.
        OOMKilled = "OOMKilled",
        /// It could not be started (containerd).
        StartError = "StartError",
        /// It could not be started (dockershim).
        ContainerCannotRun = "ContainerCannotRun",
        /// The runtime was restarted and the task was gone (containerd).
        Unknown = "Unknown",
        /// The container vanished from the runtime.
        ContainerStatusUnknown = "ContainerStatusUnknown",
        /// A rule of another container's restarts all.
        RestartingAllContainers = "RestartingAllContainers",
        /// A system call that seccomp forbids (CRI-O).
        SeccompKilled = "SeccompKilled",
        /// A word that is not among these.
        Other = "Other",
        /// It happened, and no status showed it.
        Unobserved = "Unobserved",
    }
}

impl TerminationReason {
    /// Of a terminated record. Runtimes may leave the reason out: then the exit code tells.
    pub fn of_record(termination: &Terminated) -> Self {
        match termination.reason.as_str() {
            "" if termination.exit_code == 0 => Self::Completed,
            "" => Self::Error,
            "seccomp killed" => Self::SeccompKilled,
            word => Self::of(word).filter(|r| *r != Self::Unobserved).unwrap_or(Self::Other),
        }
    }
}

/// One termination of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination<'a> {
    pub container: &'a str,
    pub container_type: ContainerType,
    pub reason: TerminationReason,
    /// The exit code, unless nobody saw it.
    pub exit_code: Option<i32>,
    /// When, unless nobody saw it.
    pub at: Option<Timestamp>,
    /// How long it had run, unless that is unknown.
    pub uptime: Option<SignedDuration>,
    /// How many terminations this stands for: terminations that nobody saw are alike.
    pub times: u32,
}

impl<'a> Termination<'a> {
    /// The newest one that a container's status shows.
    pub fn newest(view: View<'a>) -> Option<Self> {
        view.newest_end().map(|record| Self::of(view, Some(record), 1))
    }

    fn of(view: View<'a>, record: Option<&Terminated>, times: u32) -> Self {
        Self {
            container: &view.status.name,
            container_type: view.kind,
            reason: record.map_or(TerminationReason::Unobserved, TerminationReason::of_record),
            exit_code: record.map(|r| r.exit_code),
            at: record.and_then(|r| r.finished_at.get()),
            uptime: record.and_then(|r| {
                Some(r.finished_at.get()?.duration_since(r.started_at.get()?)).filter(|d| !d.is_negative())
            }),
            times,
        }
    }
}

/// What is remembered of a container that has begun. One that has not has no [`Counted`] entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    /// `restartCount`.
    count: i32,
    /// Digest of the container's id; 0 if it is unknown.
    run: u32,
    /// Digest of the newest termination that is counted (or was there before the first look); 0 for none.
    termination: u32,
    /// How far the run with this count is.
    run_is: RunIs,
    /// The kind of container, which the record of a pod that is gone does not tell.
    container_type: ContainerType,
}

/// How far a run is, as far as it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunIs {
    /// Counted, and not begun: its container was not created yet, or not started.
    Ahead,
    /// It has begun.
    On,
    /// It has terminated, and its termination is counted.
    Over,
}

const DIGEST_BITS: u32 = 30;
const DIGEST_MASK: u64 = (1 << DIGEST_BITS) - 1;

impl Memory {
    fn unpack(counted: &Counted) -> Self {
        let bits = counted.termination;
        Self {
            count: counted.restart_count,
            run: (bits & DIGEST_MASK) as u32,
            termination: (bits >> DIGEST_BITS & DIGEST_MASK) as u32,
            run_is: match bits >> 60 & 3 {
                1 => RunIs::Ahead,
                2 => RunIs::On,
                _ => RunIs::Over,
            },
            container_type: match bits >> 62 {
                0 => ContainerType::App,
                1 => ContainerType::Init,
                2 => ContainerType::Sidecar,
                _ => ContainerType::Ephemeral,
            },
        }
    }

    /// Never 0.
    fn pack(self) -> u64 {
        let run_is: u64 = match self.run_is {
            RunIs::Ahead => 1,
            RunIs::On => 2,
            RunIs::Over => 3,
        };
        let container_type: u64 = match self.container_type {
            ContainerType::App => 0,
            ContainerType::Init => 1,
            ContainerType::Sidecar => 2,
            ContainerType::Ephemeral => 3,
        };
        u64::from(self.run) | u64::from(self.termination) << DIGEST_BITS | run_is << 60 | container_type << 62
    }
}

/// Folded to 30 bits, never 0 unless the text is empty. It tells apart a container's few last ids.
fn digest(text: &str) -> u32 {
    if text.is_empty() {
        return 0;
    }
    let hash = FixedState::with_seed(0).hash_one(text);
    (((hash >> DIGEST_BITS) ^ hash) & DIGEST_MASK) as u32 | 1
}

/// A termination that a status shows, and which of the container's terminations it is (the first is 1).
#[derive(Clone, Copy)]
struct Shows<'a> {
    termination: &'a Terminated,
    number: i32,
}

impl Shows<'_> {
    /// Records that the kubelet makes up have no id: there the number tells them apart.
    fn identity(self) -> u32 {
        match self.termination.container_id.as_str() {
            "" => digest(&self.number.to_string()),
            id => digest(id),
        }
    }
}

/// What [`count`] goes by: pods that show the same are counted once, however often they are shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a Pod);

impl Hash for Shown<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for view in views(self.0) {
            let status = view.status;
            (view.kind, view.name, status.restart_count, view.is_running()).hash(state);
            status.container_id.hash(state);
            for termination in [&status.state.terminated, &status.last_state.terminated] {
                termination.as_deref().map(|termination| &termination.container_id).hash(state);
            }
        }
    }
}

/// Counts what `pod` shows beyond `memory`.
///
/// `memory` is what is counted so far, or none for a pod whose past is not to be counted: one that was there before the first
/// look. Returns the terminations, oldest first per container, and the new memory. Containers whose status is not shown any more
/// keep what is counted of them.
pub fn count<'a>(memory: Option<&[Counted]>, pod: &'a Pod) -> (Vec<Termination<'a>>, Vec<Counted>) {
    let mut terminations = Vec::new();
    let mut new_memory: Vec<Counted> = Vec::new();
    let counted = memory.unwrap_or_default();
    for view in views(pod) {
        let name = view.status.name.as_str();
        let known = counted.iter().find(|c| *c.container == *name);
        let from = terminations.len();
        let after = look(known.map(Memory::unpack), view, &mut terminations);
        if memory.is_none() {
            terminations.truncate(from);
        }
        if let Some(after) = after {
            let container = known.map_or_else(|| name.into(), |c| Arc::clone(&c.container));
            new_memory.push(Counted { container, restart_count: after.count, termination: after.pack() });
        }
    }
    let hidden = counted.iter().filter(|c| !new_memory.iter().any(|new| new.container == c.container));
    let hidden: Vec<Counted> = hidden.cloned().collect();
    new_memory.extend(hidden);
    (terminations, new_memory)
}

/// The containers that were running when their pod went away: they have terminated, and nobody saw how.
pub fn unobserved(memory: &[Counted]) -> impl Iterator<Item = Termination<'_>> {
    memory.iter().filter_map(|counted| {
        let memory = Memory::unpack(counted);
        (memory.run_is == RunIs::On).then_some(Termination {
            container: &counted.container,
            container_type: memory.container_type,
            reason: TerminationReason::Unobserved,
            exit_code: None,
            at: None,
            uptime: None,
            times: 1,
        })
    })
}

/// One container: pushes its new terminations and returns what to remember; none as long as it has not begun.
fn look<'a>(
    before: Option<Memory>,
    view: View<'a>,
    terminations: &mut Vec<Termination<'a>>,
) -> Option<Memory> {
    let status = view.status;
    let count = status.restart_count.max(0);
    let run = digest(&status.container_id);
    let last = status.last_state.terminated.as_deref();
    let running = status.state.running.is_some();

    // The termination of the run that this status shows, and the one before it.
    let in_state = status.state.terminated.as_deref();
    let same_run = |m: Memory| m.run == 0 || run == 0 || m.run == run;
    // The same container with a smaller count: only the count was lost.
    let is_recounted = |m: Memory| count < m.count && run != 0 && run == m.run;
    let is_of = |m: Memory| count == m.count || is_recounted(m);
    let (newest, previous) = match in_state {
        Some(termination) if !termination.container_id.is_empty() => (Some(termination), last),
        // Made up: it tells of the run that was known to go on, and of nothing else.
        Some(termination) if before.is_some_and(|m| m.run_is == RunIs::On && is_of(m)) => {
            (Some(termination), last)
        }
        Some(_) => (None, last),
        None if running => (None, last),
        None => match last.filter(|l| !l.container_id.is_empty() && l.container_id == status.container_id) {
            Some(termination) => (Some(termination), None),
            None => (None, last),
        },
    };
    let newest = newest.map(|termination| Shows { termination, number: count.saturating_add(1) });
    let previous = previous.map(|termination| Shows { termination, number: count });

    let begun = running || newest.is_some() || count > 0;
    let Some(was) = before else {
        if !begun {
            return None;
        }
        let new = i64::from(count) + i64::from(newest.is_some());
        push(terminations, view, new, newest, previous, 0);
        return Some(remember(view, count, run, newest, previous, 0));
    };

    let was_over = was.run_is == RunIs::Over;
    let open = i64::from(!was_over);
    let now_ended = i64::from(newest.is_some());
    let new = match count.cmp(&was.count) {
        std::cmp::Ordering::Greater => open + i64::from(count) - i64::from(was.count) - 1 + now_ended,
        std::cmp::Ordering::Equal if !same_run(was) => i64::from(was.run_is == RunIs::On) + now_ended,
        std::cmp::Ordering::Equal => {
            if was_over && (!running || run == was.run && run != 0) {
                // Shown already, whatever the status reads now.
                let mut same = was;
                same.run = if run == 0 { was.run } else { run };
                return Some(same);
            }
            if was_over { 0 } else { now_ended }
        }
        std::cmp::Ordering::Less if is_recounted(was) => now_ended.min(open),
        std::cmp::Ordering::Less => i64::from(was.run_is == RunIs::On) + i64::from(count) + now_ended,
    };
    push(terminations, view, new, newest, previous, was.termination);
    // Made-up records are told apart by their numbers, which begin again with the count.
    let known_termination = if count < was.count { 0 } else { was.termination };
    let mut after = remember(view, count, run, newest, previous, known_termination);
    let same = same_run(was) && count == was.count || is_recounted(was);
    if run == 0 && same {
        after.run = was.run;
    }
    // A run that has begun does not go back, whatever a status leaves out.
    if same && after.run_is == RunIs::Ahead || same && was_over && !running {
        after.run_is = was.run_is;
    }
    Some(after)
}

fn remember(
    view: View<'_>,
    count: i32,
    run: u32,
    newest: Option<Shows<'_>>,
    previous: Option<Shows<'_>>,
    termination: u32,
) -> Memory {
    Memory {
        count,
        run,
        termination: newest.or(previous).map_or(termination, Shows::identity),
        run_is: match newest {
            Some(_) => RunIs::Over,
            None if view.status.state.running.is_some() => RunIs::On,
            None => RunIs::Ahead,
        },
        container_type: view.kind,
    }
}

/// `new` terminations, of which the newest may be shown by `newest` and the one before (the newest, if `newest` is none) by
/// `previous`, unless that one is `counted` already.
fn push<'a>(
    terminations: &mut Vec<Termination<'a>>,
    view: View<'a>,
    new: i64,
    newest: Option<Shows<'a>>,
    previous: Option<Shows<'a>>,
    counted: u32,
) {
    let records: Vec<&Terminated> = [newest, previous]
        .into_iter()
        .flatten()
        .filter(|s| counted == 0 || s.identity() != counted)
        .map(|s| s.termination)
        .take(usize::try_from(new).unwrap_or(0))
        .collect();
    let unseen = new - i64::try_from(records.len()).unwrap_or(i64::MAX);
    if unseen > 0 {
        terminations.push(Termination::of(view, None, u32::try_from(unseen).unwrap_or(u32::MAX)));
    }
    terminations.extend(records.into_iter().rev().map(|r| Termination::of(view, Some(r), 1)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::objects::pod::Running;
    use crate::objects::{ContainerState, ContainerStatus};

    /// Few values, so that they meet.
    fn state() -> impl Strategy<Value = ContainerState> {
        let termination = prop::sample::select(vec!["", "a", "b"]).prop_map(|id| {
            let termination =
                Terminated { container_id: id.to_owned(), exit_code: 1, ..Terminated::default() };
            ContainerState { terminated: Some(Box::new(termination)), ..ContainerState::default() }
        });
        let running = ContainerState { running: Some(Running::default()), ..ContainerState::default() };
        prop_oneof![Just(ContainerState::default()), Just(running), termination]
    }

    fn pod() -> impl Strategy<Value = Pod> {
        (state(), state(), 0..3, prop::sample::select(vec!["", "a", "b"])).prop_map(
            |(state, last_state, restart_count, id)| {
                let container_id = id.to_owned();
                let status = ContainerStatus {
                    name: "app".into(),
                    state,
                    last_state,
                    restart_count,
                    container_id,
                    ..ContainerStatus::default()
                };
                let mut pod = Pod::default();
                pod.status.container_statuses.push(status);
                pod
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn what_is_shown_again_is_not_counted_again_and_leaves_the_memory_as_it_is(
            pods in prop::collection::vec(pod(), 1..5),
        ) {
            let mut memory: Option<Vec<Counted>> = None;
            for pod in &pods {
                let mut before = None;
                for again in [false, true] {
                    let (terminations, new) = count(memory.as_deref(), pod);
                    if again {
                        prop_assert_eq!(&terminations, &[]);
                        prop_assert_eq!(before.as_ref(), Some(&new));
                    }
                    before = Some(new.clone());
                    memory = Some(new);
                }
            }
        }
    }
}
