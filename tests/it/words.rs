//! The words of the project: every text that a user sees in one list, phrases that were replaced, links of the docs.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it words::` writes the list anew; read what changed as its reader would.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use kubehealer::diagnosis::{CauseCode, Reason, steps};
use kubehealer::runbooks;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

const LIST: &str = "tests/data/golden/texts.txt";

/// Phrases that are not ours any more, in lower case; `CONTRIBUTING.md` has what to write in their place.
const REPLACED: &[&str] = &[
    "a past that was asked for",
    "asked for so long",
    "as said",
    "at fault",
    "befall",
    "booked",
    "could not look",
    "crashes again and again",
    "each need another hand",
    "for lack of memory",
    "for want of",
    "heals itself",
    "husk",
    "its log says last",
    "lest ",
    "looked, and nothing",
    "nobody saw",
    "not to be had",
    "once it is healed",
    "once more ends at once",
    "sign of life",
    "signs of life",
    "somebody else's hand",
    "the pod is told",
    "there is no configuration for one thing",
    "what is over it is counted",
    "which, is said by",
    "whose hand",
    "workloads are told",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder, with one of these extensions.
fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What npm installs holds other people's words.
                if !path.ends_with("node_modules") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub fn documents() -> Vec<PathBuf> {
    let mut documents: Vec<PathBuf> =
        ["docs", "charts", "deploy", "examples"].iter().flat_map(|f| files(f, &["md"])).collect();
    let here = [
        "README.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "crates/kubehealer-core/README.md",
    ];
    documents.extend(here.iter().map(|name| root().join(name)).filter(|path| path.exists()));
    documents
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The texts in a source: string literals that are prose. What is compared with other programs' words, patterns, attributes and tests are left out.
fn literals(source: &str) -> Vec<String> {
    let mut texts = Vec::new();
    collect(source.parse().unwrap(), &mut texts);
    texts.retain(|text| {
        text.split(' ')
            .filter(|w| w.len() > 1 && w.bytes().all(|b| b.is_ascii_alphabetic() || b",.:;'".contains(&b)))
            .count()
            > 1
    });
    texts
}

fn collect(tokens: TokenStream, texts: &mut Vec<String>) {
    /// Methods whose arguments are other programs' words.
    const COMPARED: &[&str] = &[
        "all",
        "any",
        "none",
        "contains",
        "starts_with",
        "ends_with",
        "strip_prefix",
        "strip_suffix",
        "split_once",
        "rsplit_once",
        "find",
        "rfind",
        "split",
        "trim_start_matches",
        "trim_end_matches",
        "expect",
        "const_assert",
    ];
    let mut tokens = tokens.into_iter().peekable();
    let mut compared = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                tokens.next_if(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == '!'));
                let attribute = tokens
                    .next_if(|t| matches!(t, TokenTree::Group(g) if g.delimiter() == Delimiter::Bracket));
                if attribute.is_some_and(|a| a.to_string().replace(' ', "") == "[cfg(test)]") {
                    // The item that follows.
                    for token in tokens.by_ref() {
                        let end = match &token {
                            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                            TokenTree::Punct(punct) => punct.as_char() == ';',
                            _ => false,
                        };
                        if end {
                            break;
                        }
                    }
                }
            }
            TokenTree::Group(group) if !compared => collect(group.stream(), texts),
            TokenTree::Literal(literal) => {
                let raw = literal.to_string().starts_with('r');
                if let (false, syn::Lit::Str(text)) = (raw, syn::Lit::new(literal)) {
                    texts.push(text.value());
                }
                continue;
            }
            _ => {}
        }
        compared = false;
        if let Some(TokenTree::Ident(ident)) = tokens.peek() {
            compared = COMPARED.iter().any(|name| ident == name);
            if compared {
                tokens.next();
            }
        }
    }
}

/// Every text that a user sees.
fn list() -> String {
    let mut list = String::from(
        "# Every text that a user sees. UPDATE_GOLDEN=1 cargo test --test it words:: writes it.\n",
    );
    let title = |list: &mut String, text: &str| writeln!(list, "\n## {text}\n").unwrap();
    title(&mut list, "Reasons");
    for reason in Reason::ALL {
        writeln!(list, "{reason}: {}\n    {}", runbooks::meaning(reason.runbook()), reason.detected())
            .unwrap();
    }
    title(&mut list, "Causes, with their next steps");
    for cause in CauseCode::ALL {
        writeln!(list, "{cause}: {}", cause.meaning()).unwrap();
        steps::of(*cause).iter().for_each(|step| writeln!(list, "    {step}").unwrap());
    }
    title(&mut list, "Help");
    help(&mut list, kubehealer::cli::Cli::command());
    title(&mut list, "Status page");
    let strings = regex::Regex::new(r#""([^"\n]*)""#).unwrap();
    let page = read(&root().join("src/server/status/page.js"));
    let texts = strings.captures_iter(&page).filter(|text| text[1].contains(' '));
    texts.for_each(|text| writeln!(list, "{}", &text[1]).unwrap());
    for folder in ["src", "crates/kubehealer-core/src", "crates/kubehealer-rules/src"] {
        for file in files(folder, &["rs"]) {
            let name = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            // Words of other programs; and what has been listed above.
            let listed = [
                "/tests.rs",
                "messages/generic.rs",
                "/reason.rs",
                "/cause.rs",
                "diagnosis/steps.rs",
                "/redact/",
            ];
            if listed.iter().any(|part| name.contains(part)) {
                continue;
            }
            let texts = literals(&read(&file));
            if !texts.is_empty() {
                title(&mut list, &name);
            }
            texts
                .iter()
                .for_each(|text| writeln!(list, "{}", text.trim_end().replace('\n', "\n    ")).unwrap());
        }
    }
    list
}

fn help(list: &mut String, command: clap::Command) {
    // As wide as where there is no terminal.
    let mut command = command.term_width(100);
    let text = command.render_long_help().to_string();
    let lines = text.lines().map(str::trim_end);
    lines.for_each(|line| writeln!(list, "{line}").unwrap());
    let inner: Vec<clap::Command> =
        command.get_subcommands().filter(|c| c.get_name() != "help").cloned().collect();
    inner.into_iter().for_each(|command| help(list, command));
}

#[test]
fn the_list_of_all_texts_is_fresh() {
    let list = list();
    let path = root().join(LIST);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &list).unwrap();
    }
    let differs =
        read(&path).lines().zip(list.lines()).find(|(old, new)| old != new).map(|(_, new)| new.to_owned());
    assert!(
        read(&path) == list,
        "{LIST} is behind, first at {differs:?}: UPDATE_GOLDEN=1 cargo test --test it words:: writes it. Read what changed"
    );
}

#[test]
fn nothing_says_it_in_words_that_were_replaced() {
    let mut texts = documents();
    texts.retain(|path| !path.ends_with("CONTRIBUTING.md"));
    texts.extend(files("charts", &["yaml", "txt", "tpl", "json"]));
    texts.extend(files("deploy", &["yaml"]));
    // The list is what it says today, and the alerts have one of their own.
    texts.push(root().join("tests/chart/alert_texts.yaml"));
    let mut found = String::new();
    let read = texts.iter().map(|path| (path.as_path(), read(path)));
    for (path, text) in read.chain([(Path::new(LIST), list())]) {
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            for phrase in REPLACED.iter().filter(|phrase| lower.contains(**phrase)) {
                let name = path.strip_prefix(root()).unwrap_or(path).display();
                writeln!(found, "{name}:{}: {phrase:?} in: {}", number + 1, line.trim()).unwrap();
            }
        }
    }
    assert!(found.is_empty(), "see \"How we write\" in CONTRIBUTING.md:\n{found}");
}

/// The messages of log lines, as written in the source.
fn log_messages(tokens: TokenStream, messages: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        log_messages(group.stream(), messages);
        let is_log = match tokens.get(at.saturating_sub(2)..at) {
            Some([TokenTree::Ident(name), TokenTree::Punct(punct)]) => {
                punct.as_char() == '!'
                    && ["trace", "debug", "info", "warn", "error"].iter().any(|level| name == level)
            }
            _ => false,
        };
        let literals = group.stream().into_iter().filter_map(|token| match token {
            TokenTree::Literal(literal) if is_log => Some(literal.to_string()),
            _ => None,
        });
        messages.extend(literals.filter(|literal| literal.starts_with('"')).last());
    }
}

#[test]
fn log_messages_are_fixed_and_their_variable_parts_are_in_fields() {
    let mut messages = Vec::new();
    for file in files("src", &["rs"]) {
        let source = read(&file);
        let code = source.split("#[cfg(test)]").next().unwrap();
        log_messages(code.parse().unwrap(), &mut messages);
    }
    let variable: Vec<&String> = messages.iter().filter(|message| message.contains('{')).collect();
    assert!(
        variable.is_empty() && messages.len() > 20,
        "{} messages, not fixed: {variable:?}",
        messages.len()
    );
}

#[test]
fn the_links_of_the_documents_lead_somewhere() {
    let mut dead = String::new();
    let mut seen = 0;
    for document in documents() {
        for link in
            read(&document).split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
        {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let leads = target.exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor));
            if !leads {
                writeln!(dead, "{}: {link}", document.strip_prefix(root()).unwrap().display()).unwrap();
            }
        }
    }
    assert!(dead.is_empty() && seen > 300, "{seen} links, dead are:\n{dead}");
}

/// The anchors that GitHub makes of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let slug = |line: &str| {
        let line = line.trim_start_matches('#').trim().to_lowercase();
        line.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(slug).collect()
}
