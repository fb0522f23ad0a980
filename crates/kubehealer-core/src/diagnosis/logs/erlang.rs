//! Terms of Erlang, as its supervisors print them when a child does not start.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::rule::pattern;
use crate::redact;

/// A text as a list of characters: `[67,111,111,107|directory]`.
static CHARACTERS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\[(?P<codes>\d{1,3}(?:,\d{1,3}){5,})(?:\|(?P<rest>\w+))?\]"));

/// The longest reason that is taken, in bytes.
const MAX_REASON: usize = 220;

/// What a term says: its lists of characters as text, and of nested children the one that failed.
pub(super) fn read(text: &str) -> Option<String> {
    let child = "failed_to_start_child,";
    if !text.contains(child) && !CHARACTERS.is_match(text) {
        return None;
    }
    let text = CHARACTERS.replace_all(text, |found: &Captures<'_>| {
        let codes = found.name("codes").map_or("", |m| m.as_str()).split(',');
        let bytes: Option<Vec<u8>> =
            codes.map(|code| code.parse().ok().filter(|b| matches!(b, 9 | 10 | 32..=126))).collect();
        let said = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let said = said.map(|said| said + found.name("rest").map_or("", |m| m.as_str()));
        said.unwrap_or_else(|| found.get(0).map_or("", |m| m.as_str()).to_owned())
    });
    let Some((_, failed)) = text.rsplit_once(child) else { return Some(text.into_owned()) };
    let (name, reason) = failed.split_once(',')?;
    // What follows the reason is the stack, a list of calls.
    let reason = reason.split(",[{").next().unwrap_or_default().trim_start_matches('{');
    let reason = redact::cut(reason, MAX_REASON).trim_end_matches(['}', '"', ')', ',', '{']);
    let plain = |text: &str| text.replace("'Elixir.", "").replace('\'', "");
    Some(format!("failed to start child {}: {}", plain(name), plain(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_that_failed_and_its_reason_are_named() {
        for (term, said) in [
            (
                "error:{badmatch,{error,{{shutdown,{failed_to_start_child,auth,{[67,111,111,107,105,101,32,102,105,108,101,32,105,115,32,97,32|directory],[{auth,init,1,[{file,\"auth.erl\"},{line,165}]}]}}}}}",
                "failed to start child auth: Cookie file is a directory",
            ),
            (
                "Kernel pid terminated (application_controller) (\"{application_start_failure,web,{{shutdown,{failed_to_start_child,'Elixir.Web.Sup',{shutdown,{failed_to_start_child,'Elixir.Web.Repo',{noproc,'Elixir.Mix'}}}}}}\")",
                "failed to start child Web.Repo: noproc,Mix",
            ),
            ("exited with [110,111,32,102,105,108,101]", "exited with no file"),
        ] {
            assert_eq!(read(term).as_deref(), Some(said));
        }
        assert_eq!(read("ports [80,443,8080,9090,9091,9092,9093]"), None);
        assert_eq!(read("nothing of the kind"), None);
    }
}
