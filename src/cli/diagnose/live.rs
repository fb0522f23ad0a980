//! `diagnose --watch`: on a terminal drawn again in place, elsewhere a report each time that the findings have changed.

use std::io::{self, IsTerminal as _, Write as _};

use unicode_width::UnicodeWidthStr as _;

use super::{Args, Cluster, Looked, Seen};
use crate::cli::wait::clock;
use crate::cli::{Trouble, output};
use crate::diagnosis::Finding;
use crate::report::ClusterFlags;
use crate::wait::Looks;

/// Goes on until Ctrl-C; then the last report stays on the terminal.
pub(super) async fn watch(args: &Args, context: Option<&str>, flags: &ClusterFlags) -> Result<(), Trouble> {
    let mut screen = Screen::new();
    let ended = tokio::select! {
        never = follow(args, context, flags, &mut screen) => never.map(|never| match never {}),
        _ = crate::daemon::end_signal() => Ok(()),
    };
    screen.end(args)?;
    ended
}

async fn follow(
    args: &Args,
    context: Option<&str>,
    flags: &ClusterFlags,
    screen: &mut Screen,
) -> Result<std::convert::Infallible, Trouble> {
    let rules = args.settings()?;
    let Cluster { connected, targets, namespace, how } = Cluster::find(args, context).await?;
    let clock = clock(&connected, namespace.as_deref().unwrap_or(&connected.namespace)).await?;
    let mut looks = Looks::new(&connected.client, namespace.as_deref(), clock);
    screen.say("listing pods and related objects ...");
    let mut is_first = true;
    loop {
        let (mut notes, mut narrowed) = (Vec::new(), Ok(None));
        let narrow = |snapshot: &mut _| {
            notes.clone_from(&how);
            narrowed = args.narrow(snapshot, &targets, namespace.as_deref(), &mut notes);
        };
        let seen = looks.next(narrow).await?;
        match narrowed {
            // A name that nothing has is a mistake; that something is gone may be what is waited for.
            Err(trouble) if is_first => return Err(trouble),
            Err(nothing) | Ok(Some(nothing)) => notes.push(nothing.what),
            Ok(None) => {}
        }
        is_first = false;
        notes.extend(seen.notes);
        let seen =
            Seen { snapshot: seen.snapshot, now: seen.now, notes, incomplete: false, unproven: Vec::new() };
        screen.show(args, Looked::of(args, &rules, seen, "", flags.clone()))?;
    }
}

/// What is shown.
struct Screen {
    /// Whether it is drawn again in place, on the terminal's second screen.
    is_terminal: bool,
    last: Option<Looked>,
}

/// To the second screen and back, without a cursor.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?1049l";
/// Takes away what is left from here on.
const BELOW: &str = "\x1b[J";

impl Screen {
    fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        if is_terminal {
            draw(BEGIN);
        }
        Self { is_terminal, last: None }
    }

    /// Says what it waits for, as long as there is nothing else to show.
    fn say(&self, text: &str) {
        if self.is_terminal {
            draw(&format!("\x1b[H\x1b[J{text}"));
        }
    }

    fn show(&mut self, args: &Args, looked: Looked) -> Result<(), Trouble> {
        let shown = self.last.as_ref().map(answer);
        if self.is_terminal {
            draw(&frame(&output::typed(&args.report(std::slice::from_ref(&looked))), &looked));
        } else if shown != Some(answer(&looked)) {
            let report = args.report(std::slice::from_ref(&looked));
            output::print(&format!("=== {}\n{report}\n", time(&looked)))?;
        }
        self.last = Some(looked);
        Ok(())
    }

    /// Leaves the last report on the terminal.
    fn end(mut self, args: &Args) -> Result<(), Trouble> {
        let last = self.last.take().filter(|_| self.is_terminal);
        drop(self);
        last.map_or(Ok(()), |last| output::print(&args.report(&[last])))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            draw(END);
        }
    }
}

/// That it cannot be written is no reason to end: the terminal may be suspended.
fn draw(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What counts as a change: the findings, and what cannot be read.
fn answer(looked: &Looked) -> (&[Finding], &[String]) {
    (&looked.survey.findings, &looked.seen.notes)
}

fn time(looked: &Looked) -> jiff::Timestamp {
    jiff::Timestamp::from_second(looked.seen.now.as_second()).unwrap_or(looked.seen.now)
}

/// The report as far as it fits, worst first, and a last line.
fn frame(report: &str, looked: &Looked) -> String {
    let (lines, more) = fitting(report, output::terminal_size());
    let more = match more {
        0 => String::new(),
        more => format!("; {more} more lines"),
    };
    format!("\x1b[H{lines}{BELOW}{}: live, Ctrl-C to stop{more}", time(looked))
}

/// The lines of a report for which there is room above a last row, and how many are left. A command is never cut: a terminal breaks a
/// line that is too long, and so it can be copied.
fn fitting(report: &str, (columns, rows): (usize, usize)) -> (String, usize) {
    let (mut out, mut room) = (String::new(), rows.saturating_sub(1));
    let mut lines = report.lines();
    while let Some(line) = lines.clone().next() {
        let width = anstream::adapter::strip_str(line).to_string().width();
        let height = width.div_ceil(columns.max(1)).max(1);
        let Some(left) = room.checked_sub(height) else { break };
        room = left;
        // The next row may hold something of what was there before.
        let clear = if height > 1 { BELOW } else { "\x1b[K" };
        out.push_str(&format!("{clear}{line}\n"));
        lines.next();
    }
    (out, lines.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_shown_whole_and_counts_as_the_rows_that_it_takes() {
        let report = format!("one\n\x1b[1m{}\x1b[0m\nthree\nfour\n", "x".repeat(20));
        let long = format!("{BELOW}\x1b[1m{}\x1b[0m\n", "x".repeat(20));
        let line = |text: &str| format!("\x1b[K{text}\n");
        assert_eq!(
            fitting(&report, (20, 4)),
            ([line("one"), line(&long[BELOW.len()..long.len() - 1]), line("three")].concat(), 1)
        );
        assert_eq!(fitting(&report, (19, 4)), ([line("one"), long.clone()].concat(), 2));
        assert_eq!(fitting(&report, (19, 3)), (line("one"), 3));
        assert_eq!(fitting(&report, (19, 9)), ([line("one"), long, line("three"), line("four")].concat(), 0));
    }
}
