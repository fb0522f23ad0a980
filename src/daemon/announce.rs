//! One structured log event for each incident that opens, changes or ends; in a storm a bounded number of them, and counts.
//!
//! Must not know how incidents come about, nor who reads the lines.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::diagnosis::Severity;
use crate::incidents::{IncidentEvent, What};

/// Lines that may come at once.
const BURST: u32 = 100;
/// Lines per second after that.
const RATE: f64 = 10.0;
/// How often what was held back is counted up.
const SUMMARY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Announcer {
    /// What the cluster is called, if it has a name.
    cluster: Option<String>,
    state: Mutex<State>,
}

/// How many lines were held back, by what happened and reason.
type Held = BTreeMap<(&'static str, String), u64>;

#[derive(Debug)]
struct State {
    tokens: f64,
    filled: Instant,
    held: Held,
    since: Instant,
}

impl Announcer {
    /// With all its tokens.
    pub fn new(cluster: &str) -> Self {
        let now = Instant::now();
        let state = State { tokens: f64::from(BURST), filled: now, held: Held::new(), since: now };
        Self { cluster: some(cluster).map(str::to_owned), state: Mutex::new(state) }
    }

    /// Writes these, as far as the rate allows.
    pub fn announce(&self, events: &[IncidentEvent]) {
        if events.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        for event in events {
            if state.take() {
                line(event, self.cluster.as_deref());
            } else {
                let key = (event.what.as_str(), event.finding.reason.as_str().to_owned());
                *state.held.entry(key).or_default() += 1;
            }
        }
    }

    /// Says what was held back, now and then.
    pub fn summarize(&self) {
        let due = self.state.lock().due();
        for ((what, reason), count) in due {
            tracing::warn!(
                event = what,
                cluster = self.cluster,
                reason,
                count,
                "more incidents with this reason; log lines are limited, /api/v1/incidents lists them all"
            );
        }
    }
}

impl State {
    fn take(&mut self) -> bool {
        let now = Instant::now();
        let more = now.duration_since(self.filled).as_secs_f64() * RATE;
        self.filled = now;
        self.tokens = (self.tokens + more).min(f64::from(BURST));
        if self.tokens < 1.0 {
            if self.held.is_empty() {
                self.since = now;
            }
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// What was held back, if it is time to say so.
    fn due(&mut self) -> Held {
        if self.held.is_empty() || self.since.elapsed() < SUMMARY {
            return Held::new();
        }
        self.since = Instant::now();
        std::mem::take(&mut self.held)
    }
}

fn line(event: &IncidentEvent, cluster: Option<&str>) {
    let f = &*event.finding;
    let workload = f.workload.as_ref().map(|w| format!("{}/{}", w.kind, w.name));
    let ending = match &event.what {
        What::Resolved(ending) => Some(ending.as_str()),
        _ => None,
    };
    let (was, was_cause) = match &event.what {
        What::Changed { from, from_cause } => (Some(from.as_str()), Some(from_cause.as_str())),
        _ => (None, None),
    };
    let labels: Vec<String> = f.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let labels = labels.join(",");
    // Fields that do not apply are empty options, which are not written.
    macro_rules! write_line {
        ($level:ident) => {
            tracing::$level!(
                event = event.what.as_str(),
                cluster,
                incident = %event.id,
                reason = f.reason.as_str(),
                cause = f.cause.code.as_str(),
                severity = f.severity.as_str(),
                namespace = some(&f.namespace),
                pod = some(&f.pod),
                container = some(&f.container),
                workload,
                node = some(&f.node),
                labels = some(&labels),
                muted_until = f.muted.as_ref().map(|mute| tracing::field::display(mute.until)),
                mute_reason = f.muted.as_ref().and_then(|mute| some(&mute.reason)),
                since = f.since.map(|t| tracing::field::display(t)),
                ending,
                was,
                was_cause,
                "{}",
                event.text
            )
        };
    }
    match (&event.what, f.severity) {
        (What::Resolved(_) | What::Muted, _) | (_, Severity::Info) => write_line!(info),
        (_, Severity::Warning | Severity::Critical) => write_line!(warn),
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::diagnosis::{Finding, Reason};
    use crate::incidents::IncidentId;
    use crate::objects::Pod;

    #[tokio::test(start_paused = true)]
    async fn in_a_storm_a_bounded_number_of_lines_is_written_and_it_recovers() {
        let announcer = Announcer::new("");
        let take = |times: usize| {
            let mut state = announcer.state.lock();
            (0..times).filter(|_| state.take()).count()
        };
        assert_eq!(take(30_000), 100);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(take(30_000), 20);
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!(take(30_000), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_held_back_is_counted_up_once_every_ten_seconds() {
        let finding = Finding::of_pod(&Pod::default(), Reason::Evicted);
        let event = IncidentEvent {
            what: What::Opened,
            id: IncidentId::of(&finding.key()),
            finding: finding.into(),
            noticed: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
            text: String::new(),
            over: None,
        };
        let announcer = Announcer::new("");
        let due = || announcer.state.lock().due().into_iter().collect::<Vec<_>>();
        announcer.announce(&vec![event.clone(); 100]);
        tokio::time::advance(SUMMARY).await;
        assert_eq!(due(), [], "nothing was held back");
        announcer.announce(&vec![event.clone(); 150]);
        assert_eq!(due(), [], "not yet");
        tokio::time::advance(SUMMARY).await;
        assert_eq!(due(), [(("opened", "Evicted".to_owned()), 50)]);
        announcer.announce(&vec![event; 101]);
        tokio::time::advance(SUMMARY / 2).await;
        assert_eq!(due(), [], "not yet again");
        tokio::time::advance(SUMMARY).await;
        assert_eq!(due(), [(("opened", "Evicted".to_owned()), 1)]);
    }
}
