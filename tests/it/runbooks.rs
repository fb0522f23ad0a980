//! Every reason has a runbook, and all of them are made alike.

use std::collections::BTreeSet;
use std::path::Path;

use kubehealer::diagnosis::Reason;
use kubehealer::runbooks::{meaning, names, runbook};

const SECTIONS: [&str; 6] = [
    "## What it means",
    "## How it is detected",
    "## Confirm",
    "## Usual causes",
    "## Fix",
    "## What it is not",
];

fn files() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
    let names =
        std::fs::read_dir(folder).expect("docs/runbooks").map(|entry| entry.expect("entry").file_name());
    names.map(|name| name.to_string_lossy().trim_end_matches(".md").to_owned()).collect()
}

#[test]
fn every_reason_has_a_runbook_and_every_runbook_a_reason() {
    let reasons: BTreeSet<String> = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    assert_eq!(names().map(str::to_owned).collect::<BTreeSet<_>>(), reasons);
    assert_eq!(files(), reasons);
}

#[test]
fn every_runbook_has_the_same_sections_and_begins_with_what_to_do() {
    for name in names() {
        let text = runbook(name).expect("in the table");
        assert!(text.starts_with(&format!("# {name}\n")), "{name}: title");
        assert!(meaning(text).ends_with('.'), "{name}: {}", meaning(text));
        assert!(text.contains("\n**First:** "), "{name} does not say what to do first");
        let found: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(found, SECTIONS, "{name}");
        let lines = text.lines().count();
        assert!((30..=60).contains(&lines), "{name}: {lines} lines");
    }
}

#[test]
fn every_runbook_confirms_with_commands_and_breaks_none_of_them() {
    for name in names() {
        let text = runbook(name).expect("in the table");
        let block = text.split("```").nth(1).expect("a block of commands");
        let commands: Vec<&str> = block.lines().skip(1).collect();
        assert!(
            !commands.is_empty() && commands.iter().all(|line| line.starts_with("kubectl ")),
            "{name}: {block}"
        );
        for line in text.lines().filter(|line| !line.starts_with("```")) {
            assert!(line.matches('`').count() % 2 == 0, "{name} breaks a code span: {line}");
        }
    }
}

#[test]
fn a_runbook_is_found_in_any_letter_case() {
    assert_eq!(runbook("oomkilled"), runbook("OOMKilled"));
    assert!(runbook("outofEPHEMERAL-storage").is_some());
    assert_eq!(runbook("NoSuchReason"), None);
}

#[test]
fn what_a_runbook_refers_to_exists() {
    let known = files();
    for name in names() {
        let text = runbook(name).expect("in the table");
        // Fields begin with a small letter: `nodeName` is not the reason.
        for word in text.split('`').skip(1).step_by(2).filter(|word| word.starts_with(char::is_uppercase)) {
            let close = known.iter().find(|reason| reason.eq_ignore_ascii_case(word));
            assert!(close.is_none_or(|reason| reason == word), "{name} writes {word}");
        }
    }
}
