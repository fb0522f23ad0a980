//! Histories of a cluster, played through the simulator's API server and the real watch into a whole daemon: containers that
//! start and terminate in every way, pods that are replaced, evicted, lost with their node, on a connection that is cut, answers
//! 410, falls silent, lists halves and old states; and a daemon that is restarted meanwhile.
//!
//! In each run [`HISTORIES_PER_RUN`] histories, each in a namespace of its own, share one API server, one daemon and the same
//! [`Faults`], which keeps a history as cheap as its own pods are. Whatever the daemon counted, in every namespace, must be what
//! the model knows to have happened and to have been shown; what is open at the end must be what still fails; what terminated as
//! it should must never have opened an incident; and a daemon started at the end must write the same metrics. One history that
//! fails is played again alone, shrunk to its core, and printed.
//!
//! What the daemon was shown follows from the faults alone: a watch that resumes shows every update, a list only the newest.
//! So an update that the watch loses on its way is found as well. The clock of the cluster stands while the daemon reconnects,
//! so a history is the same each time, whatever pauses are drawn.
//!
//! `KUBEHEALER_HISTORIES` is the number of histories, `KUBEHEALER_SEED` chooses others; `KUBEHEALER_RUN` plays one run alone,
//! by the number that a report gives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod model;
mod player;
mod run;
mod subject;

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use model::*;
use run::Run;
use subject::{Mutant, Subject};

/// What came of a run: which histories failed, and how.
struct Outcome {
    failures: Vec<(usize, String)>,
    seen: Coverage,
}

fn play(wire: Wire, all_faults: &[Faults], histories: &[&History], subject: Subject) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new(wire, histories, subject);
        for (player, history) in run.players.iter_mut().zip(histories) {
            player.step(&history.first, Faults::Calm, &mut run.api);
        }
        run.api.seen.saw(if wire.protobuf { "runs over protobuf" } else { "runs over JSON" });
        run.api.seen.saw(if wire.pages.is_some() { "runs over pages" } else { "runs over lists as watches" });
        run.start().await;
        run.told().await;
        run.expect_list();
        run.check();
        for (n, faults) in all_faults.iter().enumerate() {
            let steps: Vec<&[Step]> =
                histories.iter().map(|h| h.rounds.get(n).map_or(&[][..], Vec::as_slice)).collect();
            run.round(*faults, &steps).await;
            if run.players.iter().any(|p| p.failure.is_some()) {
                break;
            }
        }
        if run.players.iter().all(|p| p.failure.is_none()) {
            run.settle(histories).await;
        }
        run.stop().await;
        let failures = run.players.into_iter().filter_map(|p| Some((p.number, p.failure?))).collect();
        Outcome { failures, seen: run.api.seen }
    })
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Plays run number `number`, and a history that fails again alone, ever less of it. Returns what was seen, or a report.
fn run(number_of_run: u64, subject: Subject) -> Result<Coverage, String> {
    let seed = number("KUBEHEALER_SEED", 7);
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..].copy_from_slice(&(number_of_run + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let wire = wire().new_tree(&mut runner).unwrap().current();
    let mut all_faults = proptest::collection::vec(faults(), 3..=ROUNDS).new_tree(&mut runner).unwrap();
    let strategy = history();
    let mut trees: Vec<_> = (0..HISTORIES_PER_RUN).map(|_| strategy.new_tree(&mut runner).unwrap()).collect();
    let histories: Vec<History> = trees.iter().map(ValueTree::current).collect();
    let outcome = play(wire, &all_faults.current(), &histories.iter().collect::<Vec<_>>(), subject);
    let Some((failed, how)) = outcome.failures.first() else { return Ok(outcome.seen) };

    let mut report = format!("seed {seed}, run {number_of_run}, history {failed}: {how}\n");
    let tree = &mut trees[*failed];
    let alone = |all_faults: &[Faults], history: &History| {
        play(wire, all_faults, &[history], subject).failures.pop().map(|(_, how)| how)
    };
    if alone(&all_faults.current(), &tree.current()).is_none() {
        let _ = write!(
            report,
            "alone it does not fail; {wire:?}, {:?}, {:#?}",
            all_faults.current(),
            tree.current()
        );
        return Err(report);
    }
    shrink(&mut all_faults, |all_faults| alone(all_faults, &tree.current()).is_some());
    let all_faults = all_faults.current();
    shrink(tree, |history| alone(&all_faults, history).is_some());
    let least = tree.current();
    let how = alone(&all_faults, &least).unwrap_or_default();
    let _ = writeln!(report, "shrunk, {wire:?}: {how}\n  first: {:?}", least.first);
    for (faults, steps) in all_faults.iter().zip(&least.rounds) {
        let _ = writeln!(report, "  {faults:?}: {steps:?}");
    }
    let _ = writeln!(report, "  finals: {:?}", least.finals);
    Err(report)
}

/// Makes it as small as it can be and still fail, in a bounded number of tries.
fn shrink<T: ValueTree>(tree: &mut T, fails: impl Fn(&T::Value) -> bool) {
    for _ in 0..500 {
        if !tree.simplify() {
            return;
        }
        while !fails(&tree.current()) {
            if !tree.complicate() {
                return;
            }
        }
    }
}

/// What must happen in histories, and how often in a hundred runs at least: else they are too dull to prove anything.
const MUST_BE_SEEN: [(&str, u64); 42] = [
    ("410 after a compaction", 5),
    ("410 at the request", 5),
    ("410 in a watch", 8),
    ("back-offs after an end", 1_000),
    ("back-offs of an image pull", 500),
    ("calm", 40),
    ("changes that came as one update", 5_000),
    ("containers that the runtime lost", 100),
    ("ends of init containers", 1_000),
    ("ends of sidecars", 500),
    ("evictions", 500),
    ("exit 0", 1_000),
    ("exit 1", 1_000),
    ("exit 137, out of memory", 1_000),
    ("exit 143", 1_000),
    ("graceful deletions", 1_000),
    ("incidents open in the end", 1_000),
    ("lists cut in their midst", 5),
    ("lists from a cache that is behind", 5),
    ("long outages", 5),
    ("comparisons of counts", 10_000),
    ("names used again", 500),
    ("pods gone before a list", 1_000),
    ("pods lost with their node", 1_000),
    ("problems compared with a new daemon's", 50),
    ("pods gone and come between two looks", 100),
    ("restartCounts that fell", 20),
    ("restarts into a list cut in its midst", 5),
    ("restarts of the daemon", 8),
    ("runs over JSON", 8),
    ("runs over pages", 8),
    ("runs over protobuf", 8),
    ("series compared with a new daemon's", 10_000),
    ("short outages", 5),
    ("silent watches", 5),
    ("starts that failed", 100),
    ("updates merged by a list", 1_000),
    ("updates passed over as old", 200),
    ("updates that came again", 1_000),
    ("waits", 8),
    ("watches cut after some events", 5),
    ("watches cut within a line", 5),
];

/// A quarter of all histories: in four tests, so that they run at the same time.
fn quarter(quarter: u64) {
    let all = number("KUBEHEALER_HISTORIES", 20_000).div_ceil(HISTORIES_PER_RUN as u64);
    let first = number("KUBEHEALER_RUN", 0);
    let last = number("KUBEHEALER_RUN", all - 1);
    let runs: Vec<u64> = (first..=last).filter(|n| n % 4 == quarter).collect();
    let mut seen = Coverage::default();
    for number in &runs {
        match run(*number, Subject::Daemon) {
            Ok(of_run) => seen.add(&of_run),
            Err(report) => panic!("{report}"),
        }
    }
    println!("{} histories: {:#?}", runs.len() * HISTORIES_PER_RUN, seen.0);
    // In a few runs chance decides.
    if runs.len() >= 50 {
        for (what, times) in MUST_BE_SEEN {
            let times = times * runs.len() as u64 / 100;
            let seen = seen.0.get(what).copied().unwrap_or(0);
            assert!(seen >= times, "{what}: seen {seen} times in {} runs, rather than {times}", runs.len());
        }
    }
}

#[test]
fn every_termination_is_counted_once_in_every_history_1() {
    quarter(0);
}

#[test]
fn every_termination_is_counted_once_in_every_history_2() {
    quarter(1);
}

#[test]
fn every_termination_is_counted_once_in_every_history_3() {
    quarter(2);
}

#[test]
fn every_termination_is_counted_once_in_every_history_4() {
    quarter(3);
}

/// Else a mutant could be found for what the sink itself lacks.
#[test]
fn the_sink_without_a_fault_passes() {
    for number in 0..4 {
        if let Err(report) = run(number, Subject::Sink(None)) {
            panic!("{report}");
        }
    }
}

/// Plays until the mutant is found, which must not take more than ten runs.
fn finds(mutant: Mutant) {
    let report = (0..10).find_map(|number| run(number, Subject::Sink(Some(mutant))).err());
    let report = report.unwrap_or_else(|| panic!("{mutant:?} is not found in 1,000 histories"));
    println!("{mutant:?}: {report}");
    let (_, least) = report.split_once("shrunk").expect("it fails alone as well");
    let (_, least) = least.split_once("first:").unwrap();
    let steps = least.matches('(').count();
    assert!(steps <= 12, "{steps} steps are not the core of it: {report}");
}

#[test]
fn a_list_whose_deletes_are_dropped_is_found() {
    finds(Mutant::KeepsWhatAListLacks);
}

#[test]
fn a_repeated_update_that_is_counted_twice_is_found() {
    finds(Mutant::CountsRepeatsTwice);
}

#[test]
fn a_last_state_that_is_forgotten_is_found() {
    finds(Mutant::ForgetsLastState);
}

#[test]
fn a_past_that_is_counted_is_found() {
    finds(Mutant::CountsThePast);
}
