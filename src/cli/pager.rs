//! Texts that are longer than the screen, through a pager as git and man show them.
//!
//! A pager is a comfort: one that cannot be started is passed over.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use super::{Trouble, output};

/// How long texts are shown.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Pager {
    /// Do not show long output in a pager ($KUBEHEALER_PAGER, $PAGER or less)
    #[arg(long)]
    no_pager: bool,
}

impl Pager {
    /// Prints a text; where that is a terminal with fewer rows, through the pager.
    pub(super) fn print(&self, text: &str) -> Result<(), Trouble> {
        let text = output::typed(text);
        let (_, rows) = output::terminal_size();
        let is_long = io::stdout().is_terminal() && text.lines().count() >= rows;
        if is_long && !self.no_pager && show(&text).is_some() {
            return Ok(());
        }
        output::write(text.as_bytes())
    }
}

/// The pager's command; empty for none.
fn command() -> String {
    let set = ["KUBEHEALER_PAGER", "PAGER"].into_iter().find_map(|name| std::env::var(name).ok());
    set.unwrap_or_else(|| "less -FRX".to_owned())
}

/// Shows the text; none if there is no pager, or it cannot be started.
fn show(text: &str) -> Option<()> {
    let command = command();
    let mut words = command.split_whitespace();
    let mut pager = Command::new(words.next()?);
    pager.args(words).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // As git does, for `PAGER=less`: colours are shown, and a text that fits is only printed.
        pager.env("LESS", OsStr::new("FRX"));
    }
    let mut pager = pager.spawn().ok()?;
    let mut input = pager.stdin.take()?;
    let text = text.to_owned();
    let show = move || {
        // Whoever leaves the pager early has read enough.
        let _ = input.write_all(text.as_bytes());
        drop(input);
        pager.wait()
    };
    super::blocking(async {
        let shown = tokio::task::spawn_blocking(show);
        // Ctrl-C is for the pager, as long as there is one.
        let interrupts = async { while tokio::signal::ctrl_c().await.is_ok() {} };
        tokio::select! {
            () = interrupts => {}
            _ = shown => {}
        }
    })
    .ok()
}
