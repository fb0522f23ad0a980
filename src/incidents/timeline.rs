//! What has happened to an incident since it opened, in a short list that takes no memory while it is empty.
//!
//! Pure: must not know how terminations are found, nor read a clock.

use jiff::Timestamp;

use super::accounting::{Termination, TerminationReason};
use super::compact::CompactFinding;
use crate::diagnosis::{CauseCode, ReasonName, Severity};

/// Terminations of one incident that are kept: the newest ones.
pub const TERMINATIONS: usize = 8;
/// Changes of one incident that are kept, of its cause and whether it is muted.
pub const CHANGES: usize = 4;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// In the order in which they were noticed.
    entries: Vec<Entry>,
    /// Terminations that are not kept any more.
    earlier_terminations: u32,
}

/// One thing that happened, 32 bytes small.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Seconds since 1970.
    at: i64,
    pub what: Happened,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// The container has terminated.
    Terminated(Ended),
    /// It has another reason, cause or severity.
    Changed(Box<Is>),
    Muted,
    Unmuted,
}

/// A termination of the incident's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub reason: TerminationReason,
    pub exit_code: Option<i32>,
    /// How long it had run, seconds.
    pub ran: Option<u32>,
    /// How many terminations nobody saw, if this stands for those.
    pub times: u32,
}

/// What an incident is since a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Is {
    pub reason: ReasonName,
    pub cause: CauseCode,
    pub severity: Severity,
    /// Its sentence.
    pub text: Box<str>,
    /// Reason and cause until then.
    pub was: (ReasonName, CauseCode),
}

impl Is {
    pub(super) fn of(now: &CompactFinding, before: &CompactFinding) -> Self {
        Self {
            reason: now.reason.clone(),
            cause: now.cause,
            severity: now.severity,
            text: now.steady.clone(),
            was: (before.reason.clone(), before.cause),
        }
    }
}

impl Entry {
    pub fn at(&self) -> Timestamp {
        Timestamp::from_second(self.at).unwrap_or_default()
    }

    fn is_termination(&self) -> bool {
        matches!(self.what, Happened::Terminated(_))
    }
}

impl Timeline {
    /// In the order in which they were noticed.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Terminations before those that are kept.
    pub fn earlier_terminations(&self) -> u32 {
        self.earlier_terminations
    }

    pub(super) fn terminated(&mut self, termination: &Termination<'_>, now: Timestamp) {
        let ended = Ended {
            reason: termination.reason,
            exit_code: termination.exit_code,
            ran: termination.uptime.and_then(|uptime| u32::try_from(uptime.as_secs()).ok()),
            times: termination.times,
        };
        self.add(termination.at.unwrap_or(now), Happened::Terminated(ended));
    }

    pub(super) fn add(&mut self, at: Timestamp, what: Happened) {
        let entry = Entry { at: at.as_second(), what };
        let is_termination = entry.is_termination();
        let most = if is_termination { TERMINATIONS } else { CHANGES };
        let alike = |e: &&Entry| e.is_termination() == is_termination;
        if self.entries.iter().filter(alike).count() >= most
            && let Some(oldest) = self.entries.iter().position(|e| alike(&e))
        {
            let gone = self.entries.remove(oldest);
            if let Happened::Terminated(ended) = gone.what {
                self.earlier_terminations = self.earlier_terminations.saturating_add(ended.times);
            }
        }
        self.entries.reserve_exact(1);
        self.entries.push(entry);
    }

    /// Bytes that it takes beside itself, about.
    pub fn size(&self) -> usize {
        let texts = self.entries.iter().map(|e| match &e.what {
            Happened::Changed(is) => size_of::<Is>() + is.text.len(),
            _ => 0,
        });
        size_of_val(self.entries.as_slice()) + texts.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_terminations_leave_the_newest_and_push_no_change_out() {
        let mut timeline = Timeline::default();
        let at = |n: i64| Timestamp::from_second(n).unwrap();
        timeline.add(at(0), Happened::Muted);
        for n in 1..=100 {
            let ended =
                Ended { reason: TerminationReason::Error, exit_code: Some(1), ran: Some(2), times: 1 };
            timeline.add(at(n), Happened::Terminated(ended));
        }
        let times: Vec<i64> = timeline.entries().iter().map(|e| e.at).collect();
        assert_eq!(times, [0, 93, 94, 95, 96, 97, 98, 99, 100]);
        assert_eq!(timeline.earlier_terminations(), 92);
        assert!(size_of::<Entry>() <= 32 && timeline.size() <= 9 * 32);
    }
}
