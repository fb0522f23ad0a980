//! Where words go: stdout and stderr, colour and width.
//!
//! Must not know what the words are about.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use clap::CommandFactory as _;

use super::{Cli, Trouble};
use crate::cluster::snapshot::Progress;

/// Widths beyond this are no help to a reader.
const MAX_WIDTH: usize = 220;
/// Where there is no terminal and COLUMNS does not say: wide enough that no name is ever cut.
const PIPE_WIDTH: usize = 10_000;

/// Whether kubectl has called this program as its plugin.
pub(super) fn is_plugin() -> bool {
    let name = std::env::args_os().next().unwrap_or_default();
    Path::new(&name).file_stem().is_some_and(|stem| stem == "kubectl-kubehealer")
}

/// The text with its commands of this program as they are typed: behind `kubectl` where this is its plugin.
pub(super) fn typed(text: &str) -> Cow<'_, str> {
    if is_plugin() { as_plugin(text) } else { text.into() }
}

fn as_plugin(text: &str) -> Cow<'_, str> {
    let names: Vec<String> =
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    // Neither within a path nor behind `kubectl`.
    let command =
        regex::Regex::new(&format!(r"(?m)(?:kubectl |(^|[^\w./-]))kubehealer ({})\b", names.join("|")));
    command.map_or(text.into(), |command| command.replace_all(text, "${1}kubectl kubehealer $2"))
}

/// Prints a text to stdout.
pub(super) fn print(text: &str) -> Result<(), Trouble> {
    write(typed(text).as_bytes())
}

/// Writes to stdout. A reader that has gone away (`| head`) is no error.
pub(super) fn write(bytes: &[u8]) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Trouble::new(format_args!("cannot write the output: {e}"), "is the disk full?"))
        }
        _ => Ok(()),
    }
}

/// Prints one line of complaint and a hint to stderr. That stderr may be closed is no reason to fail.
pub(super) fn complain(what: &str, hint: &str) {
    let (bold, red, reset) = (Style::new().bold(), AnsiColor::Red.on_default().bold(), anstyle::Reset);
    let mut err = anstream::AutoStream::auto(io::stderr());
    let line = |text: &str| crate::redact::clean(&typed(text)).into_owned();
    let _ = writeln!(err, "{red}kubehealer{reset}: {}", line(what));
    if !hint.is_empty() {
        let _ = writeln!(err, "  {bold}hint{reset}: {}", line(hint));
    }
}

/// Prints one line about the work to stderr.
pub(super) fn note(what: &str) {
    let line = typed(what);
    let _ = writeln!(anstream::AutoStream::auto(io::stderr()), "kubehealer: {}", crate::redact::clean(&line));
}

/// Does the work, and says on a terminal how far it has come once it takes longer than a second.
pub(super) async fn with_progress<T>(progress: &Progress, work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let mut work = std::pin::pin!(work);
    let mut line = Line { shown: false };
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                let (what, objects) = progress.get();
                let _ = write!(io::stderr(), "\r\x1b[Kreading {what}: {objects} so far");
                line.shown = true;
            }
        }
    }
}

/// The line that says how far it has come. It vanishes when the work is done, or given up.
struct Line {
    shown: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// How long something took: `41s`, `3m05s`.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

/// Text within XML. XML 1.0 has no control characters but line ends and tabs, not even escaped.
pub(super) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The state of some work on stderr: on a terminal drawn again in place, elsewhere each line once it changes.
pub(super) struct Screen {
    live: bool,
    lines: Vec<String>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { live: io::stderr().is_terminal(), lines: Vec::new() }
    }

    /// Whether it is drawn again in place.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    pub(super) fn show(&mut self, lines: Vec<String>, elapsed: Duration) {
        let mut out = anstream::AutoStream::auto(io::stderr().lock());
        if self.live {
            self.clear();
            let (columns, rows) = terminal_size();
            // What has scrolled off the top cannot be drawn again.
            let drawn = lines.iter().flat_map(|line| hanging(line, columns.saturating_sub(1)));
            self.lines = drawn.take(rows.saturating_sub(1)).collect();
            for line in &self.lines {
                let _ = writeln!(out, "{line}");
            }
        } else {
            for line in lines.iter().filter(|line| !self.lines.contains(line)) {
                let _ = writeln!(out, "{:>6}  {line}", span(elapsed));
            }
            self.lines = lines;
        }
    }

    /// Takes what is drawn off the terminal.
    pub(super) fn clear(&mut self) {
        if self.live && !self.lines.is_empty() {
            let _ = write!(io::stderr(), "\x1b[{}A\x1b[J", self.lines.len());
            self.lines.clear();
        }
    }
}

/// A line in lines of at most so many columns: further ones are indented more than the first.
fn hanging(line: &str, columns: usize) -> Vec<String> {
    let bare = line.trim_start();
    let margin = line.len() - bare.len();
    let parts = crate::report::wrap(bare, columns.saturating_sub(margin + 2)).into_iter().enumerate();
    parts
        .map(|(at, part)| format!("{}{part}", " ".repeat(if at == 0 { margin } else { margin + 2 })))
        .collect()
}

/// Whether stdout gets colour: as `--color` says, else as the environment and the terminal do.
pub(super) fn colour() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// Columns and rows of the terminal.
pub(super) fn terminal_size() -> (usize, usize) {
    let size = terminal_size::terminal_size();
    size.map_or((80, 24), |(columns, rows)| (usize::from(columns.0).max(1), usize::from(rows.0)))
}

/// The columns of stdout.
pub(super) fn width() -> usize {
    let columns =
        std::env::var("COLUMNS").ok().and_then(|c| c.trim().parse::<usize>().ok()).filter(|&c| c > 0);
    let terminal = || {
        io::stdout().is_terminal().then(terminal_size::terminal_size).flatten().map(|(w, _)| usize::from(w.0))
    };
    columns.or_else(terminal).map_or(PIPE_WIDTH, |columns| columns.clamp(40, MAX_WIDTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_of_the_screen_goes_on_below_and_loses_nothing() {
        let line = "    pod cart-1: cannot pull image registry.example/shop/cart:2: not found";
        let lines = hanging(line, 40);
        assert_eq!(
            lines,
            ["    pod cart-1: cannot pull image", "      registry.example/shop/cart:2: not", "      found"]
        );
        assert_eq!(hanging("short", 40), ["short"]);
    }

    #[test]
    fn as_a_plugin_of_kubectl_commands_begin_with_it_and_names_of_images_and_files_do_not() {
        for (text, expected) in [
            ("see: kubehealer explain OOMKilled", "see: kubectl kubehealer explain OOMKilled"),
            ("kubehealer diagnose -A | less", "kubectl kubehealer diagnose -A | less"),
            ("\u{1b}[1mkubectl kubehealer diagnose", "\u{1b}[1mkubectl kubehealer diagnose"),
            (
                "docker run ghcr.io/kubehealer/kubehealer demo",
                "docker run ghcr.io/kubehealer/kubehealer demo",
            ),
            ("kubehealer found nothing", "kubehealer found nothing"),
        ] {
            assert_eq!(as_plugin(text), expected);
        }
    }
}
