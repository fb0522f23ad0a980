//! A runbook in a terminal: the little of Markdown that runbooks use, wrapped to the width, commands left whole.
//!
//! Must not know which runbooks there are.

use anstyle::{AnsiColor, Style as Ansi};

use super::Style;
use super::text::{pad, width, wrap};

/// Lines of text are not longer than this, however wide the terminal is.
const READABLE: usize = 100;

/// The page. `text` is the program's own: it is trusted.
pub fn page(text: &str, style: &Style) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut code = false;
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        if code || fence {
            flush(&mut out, &mut paragraph, style);
            if !fence {
                out.push_str(&format!(
                    "    {}\n",
                    paint(style, AnsiColor::Cyan.on_default(), line.trim_start())
                ));
            }
            code ^= fence;
            continue;
        }
        if let Some(title) = line.strip_prefix('#') {
            flush(&mut out, &mut paragraph, style);
            let title = title.trim_start_matches('#').trim();
            out.push_str(&format!("{}\n", paint(style, Ansi::new().bold().underline(), title)));
        } else if line.trim().is_empty() {
            flush(&mut out, &mut paragraph, style);
            if !out.is_empty() && !out.ends_with("\n\n") {
                out.push('\n');
            }
        } else {
            // A list's item is a paragraph of its own.
            if line.trim_start().starts_with("- ") {
                flush(&mut out, &mut paragraph, style);
            }
            paragraph.push_str(line);
            paragraph.push('\n');
        }
    }
    flush(&mut out, &mut paragraph, style);
    out
}

/// Names with what they mean, in two columns.
pub fn glossary<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>, style: &Style) -> String {
    let entries: Vec<(&str, &str)> = entries.into_iter().collect();
    let names = entries.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let columns = style.width.min(READABLE + names).saturating_sub(names + 4);
    let mut out = String::new();
    for (name, meaning) in entries {
        let mut name =
            paint(style, Ansi::new().bold(), name) + &" ".repeat(names.saturating_sub(width(name)));
        for line in wrap(&meaning.replace(['`', '*'], ""), columns) {
            out.push_str(&format!("  {name}  {line}\n"));
            name = pad("", names);
        }
    }
    out
}

fn flush(out: &mut String, paragraph: &mut String, style: &Style) {
    let text = std::mem::take(paragraph);
    if text.is_empty() {
        return;
    }
    let indent = text.len() - text.trim_start().len();
    let (mark, rest) = match text.trim_start().strip_prefix("- ") {
        Some(rest) => ("- ", rest),
        None => ("", text.trim_start()),
    };
    let before = format!("{}{mark}", " ".repeat(indent));
    let columns = style.width.min(READABLE).saturating_sub(before.len());
    for (number, line) in wrap(&plain(rest), columns).into_iter().enumerate() {
        let margin = if number == 0 { before.clone() } else { " ".repeat(before.len()) };
        out.push_str(&format!("{margin}{line}\n"));
    }
}

/// Text without emphasis, and of each link its words.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let link = after.split_once("](").and_then(|(words, to)| Some((words, to.split_once(')')?.1)));
        match link.filter(|(words, _)| !words.contains(['[', ']'])) {
            Some((words, behind)) => {
                out.push_str(words);
                rest = behind;
            }
            None => {
                out.push('[');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out.replace("**", "")
}

fn paint(style: &Style, ansi: Ansi, text: &str) -> String {
    if style.colour { format!("{ansi}{text}{ansi:#}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_and_commands_are_not() {
        let style = Style { width: 40, colour: false, wide: false };
        let text = "# Name\n\n**First:** do this, and then that, and then some more of it.\n\n```sh\nkubectl get pod POD -o \
                    jsonpath='{.metadata.name}' --and --more\n```\n\n- an item that is longer than\n  one line of forty columns\n\n  ```sh\n  \
                    kubectl get pods\n  ```\n\n- `[\"sh\", \"-c\"]`, [two](two.md)\n";
        assert_eq!(
            page(text, &style),
            "Name\n\nFirst: do this, and then that, and then\nsome more of it.\n\n    kubectl get pod POD -o \
             jsonpath='{.metadata.name}' --and --more\n\n- an item that is longer than one line\n  of forty columns\n\n    kubectl get pods\n\n\
             - `[\"sh\", \"-c\"]`, two\n"
        );
    }
}
