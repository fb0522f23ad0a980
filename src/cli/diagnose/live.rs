//! `diagnose --watch`: on a terminal drawn again in place, elsewhere a report each time that the findings have changed.

use std::io::{self, IsTerminal as _, Write as _};

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
    screen.say("listing pods and what belongs to them ...");
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

/// To the second screen and back, without a cursor; a line that is too long is cut there, since a second row would not be counted.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Takes away what is left below.
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
    let (_, rows) = output::terminal_size();
    let lines: Vec<&str> = report.lines().collect();
    let room = rows.saturating_sub(1);
    let mut out = "\x1b[H".to_owned();
    for line in lines.iter().take(room) {
        out.push_str(&format!("\x1b[K{line}\n"));
    }
    let more = match lines.len().saturating_sub(room) {
        0 => String::new(),
        more => format!("; {more} more lines"),
    };
    out.push_str(BELOW);
    out.push_str(&format!("{}: live, Ctrl-C to stop{more}", time(looked)));
    out
}
