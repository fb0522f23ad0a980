//! Keeps the user's rules up to date: reads their files again and again, and puts a new version in force once it has been
//! checked. A bad version is refused with the reason, and the old one stays.
//!
//! The content is what counts, not names or times: a ConfigMap changes by a link that is replaced. Must not know what rules
//! do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::files::rules::read_rules;
use crate::rules::RuleSet;

use super::engine::Engine;

/// How often the files are read.
const EVERY: Duration = Duration::from_secs(5);
/// A version counts when it has been read twice, so far apart: not one that is just being written.
const SETTLED: Duration = Duration::from_millis(200);

/// What a look at the files shows.
#[derive(Debug)]
pub enum Reload {
    Same,
    /// A new version that is good.
    New(RuleSet),
    /// A new version that is not, and why: every mistake with its place.
    Refused(String),
}

/// Rules that are read from files.
#[derive(Debug)]
pub struct ReloadingRules {
    paths: Vec<PathBuf>,
    /// Of the version that was judged last, good or bad.
    seen: Seen,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Files(u64),
    Unreadable(String),
}

impl ReloadingRules {
    /// Files whose present version is known.
    pub fn new(paths: Vec<PathBuf>, rules: &RuleSet) -> Self {
        Self { paths, seen: Seen::Files(rules.fingerprint()) }
    }

    /// Whether the files differ from the version that was judged last. Reads them.
    pub fn differ(&self) -> bool {
        self.look().0 != self.seen
    }

    /// Reads the files and judges them if they differ.
    pub fn poll(&mut self) -> Reload {
        let (seen, files) = self.look();
        if seen == self.seen {
            return Reload::Same;
        }
        self.seen = seen;
        match files {
            Err(error) => Reload::Refused(error),
            Ok(files) => match RuleSet::load(&files) {
                Ok(rules) => Reload::New(rules),
                Err(errors) => {
                    let all: Vec<String> = errors.iter().take(20).map(ToString::to_string).collect();
                    let more = errors.len().saturating_sub(all.len());
                    let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
                    Reload::Refused(all.join("\n") + &more)
                }
            },
        }
    }

    fn look(&self) -> (Seen, Result<Vec<(String, String)>, String>) {
        match read_rules(&self.paths) {
            Ok(files) => (Seen::Files(RuleSet::fingerprint_of(&files)), Ok(files)),
            Err(error) => (Seen::Unreadable(error.clone()), Err(error)),
        }
    }
}

/// Looks at the files for ever.
pub(super) async fn watch_files(mut rules: ReloadingRules, engine: Arc<Engine>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        // Files may lie on a slow volume, and rules take time to check.
        let differ = tokio::task::spawn_blocking(move || (rules.differ(), rules)).await;
        let Ok((differ, same)) = differ else { return };
        rules = same;
        if !differ {
            continue;
        }
        tokio::time::sleep(SETTLED).await;
        let polled = tokio::task::spawn_blocking(move || (rules.poll(), rules)).await;
        let Ok((reload, same)) = polled else { return };
        rules = same;
        match reload {
            Reload::Same => {}
            Reload::New(new) => {
                tracing::info!(rules = new.len(), "rules loaded");
                engine.set_rules(Arc::new(new));
            }
            Reload::Refused(why) => {
                engine.metrics.sources.refused_rules();
                let error = why.replace('\n', "; ");
                tracing::error!(error, "new version of the rules rejected, keeping the old one");
            }
        }
    }
}
