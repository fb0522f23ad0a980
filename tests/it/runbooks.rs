//! Every reason has a runbook, and all of them are made alike.

use std::collections::BTreeSet;
use std::path::Path;

use kubehealer::diagnosis::Reason;
use kubehealer::runbooks::{meaning, names, runbook};

const SECTIONS: [&str; 5] =
    ["## What it means", "## Check this first", "## Usual causes", "## Fixes", "## Related"];

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

/// The text of a section.
fn section(name: &str, title: &str) -> &'static str {
    let text = runbook(name).expect("in the table");
    let (_, rest) =
        text.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("{name}: no {title}"));
    rest.split("\n## ").next().unwrap_or_default()
}

/// The lines of the blocks of commands.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.split("```")
        .skip(1)
        .step_by(2)
        .flat_map(|block| block.lines().skip(1))
        .map(str::trim)
        .filter(|l| !l.is_empty())
}

#[test]
fn every_runbook_has_the_same_sections_in_the_same_order() {
    for name in names() {
        let text = runbook(name).expect("in the table");
        assert!(text.starts_with(&format!("# {name}\n")), "{name}: title");
        let meaning = meaning(text);
        assert!(meaning.ends_with('.') && meaning.len() < 120, "{name}: {meaning}");
        let found: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(found, SECTIONS, "{name}");
        let lines = text.lines().count();
        assert!((30..=70).contains(&lines), "{name}: {lines} lines");
    }
}

#[test]
fn each_cause_comes_with_what_it_looks_like() {
    for name in names() {
        let causes: Vec<&str> =
            section(name, "Usual causes").lines().filter(|line| line.starts_with("- ")).collect();
        assert!(causes.len() > 1, "{name}: {causes:?}");
        for cause in causes {
            let sign =
                cause.strip_prefix("- **").and_then(|rest| rest.split_once("**")).map(|(_, sign)| sign);
            assert!(sign.is_some_and(|sign| sign.contains(": ")), "{name}: {cause}");
        }
    }
}

#[test]
fn the_commands_can_be_pasted() {
    for name in names() {
        let first: Vec<&str> = commands(section(name, "Check this first")).collect();
        let (assignment, looks): (Vec<&str>, Vec<&str>) =
            first.iter().partition(|line| !line.starts_with("kubectl "));
        assert!(
            !looks.is_empty() && first.starts_with(&assignment) && assignment.len() == 1,
            "{name}: {first:?}"
        );
        let set: BTreeSet<&str> =
            assignment[0].split(' ').map(|word| word.split_once('=').expect("NAME=value").0).collect();
        let text = runbook(name).expect("in the table");
        let all: Vec<&str> = commands(text).filter(|line| *line != assignment[0]).collect();
        assert!(all.iter().all(|line| line.starts_with("kubectl ")), "{name}: {all:?}");
        let variables = all
            .iter()
            .flat_map(|line| line.split('$').skip(1))
            .map(|rest| rest.split(|c: char| !c.is_ascii_uppercase()).next().unwrap_or_default());
        assert_eq!(variables.collect::<BTreeSet<_>>(), set, "{name} sets its variables, and no others");
        // A command that changes something is read first, not pasted with the look.
        assert!(
            looks.iter().all(|line| {
                ["get ", "describe ", "logs ", "top ", "debug ", "rollout status "]
                    .iter()
                    .any(|verb| line.contains(verb))
            }),
            "{name}: {looks:?}"
        );
        assert!(commands(section(name, "Fixes")).next().is_some(), "{name} has no command that fixes");
        for line in text.lines().filter(|line| !line.trim_start().starts_with("```")) {
            assert!(line.matches('`').count() % 2 == 0, "{name} breaks a code span: {line}");
        }
    }
}

#[test]
fn related_runbooks_are_linked() {
    let known = files();
    for name in names() {
        let links: Vec<&str> = section(name, "Related")
            .split("](")
            .skip(1)
            .map(|rest| rest.split_once(".md)").expect("a runbook").0)
            .collect();
        assert!(
            !links.is_empty() && links.iter().all(|link| known.contains(*link) && *link != name),
            "{name}: {links:?}"
        );
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
