//! What a container runtime says when a container can be created but not started, or not even created.

use super::cause::CauseCode;
use super::finding::Finding;
use super::message::Message;
use super::messages::{self, Of, Rule};
use super::steps::Names;
use super::text;

/// Reads the text: the same ones come through `CreateContainerError` (CRI-O), `RunContainerError` and `StartError`
/// (containerd). Its own words come first.
pub fn error(message: &str) -> (CauseCode, String) {
    let read = Message::read(message);
    let rule = messages::find(messages::runtime::RULES, &read);
    let code = rule.map_or(CauseCode::RuntimeError, |r| r.code);
    let mut said = explained(&read, rule, &Names::default());
    // In the form of a list each part is an argument: `["server --port 80"]` is a program of that name.
    let whole = read.whole();
    let program = text::between(&whole, "exec: \"", "\"").filter(|p| p.contains(' '));
    if program.is_some() && code == CauseCode::ExecutableNotFound {
        said.push_str(
            " (the whole string is taken as the program's name: write each argument as a separate item of command)",
        );
    }
    (code, said)
}

/// A message's decisive words, and in parentheses what its rule adds.
pub fn explained(message: &Message, rule: Option<&Rule>, names: &Names) -> String {
    with_note(text::paths_once(&message.cause()), rule, names)
}

/// The same with more of the message, for the text of a cause.
pub fn detailed(message: &Message, rule: Option<&Rule>, names: &Names) -> String {
    with_note(message.detail(), rule, names)
}

fn with_note(said: String, rule: Option<&Rule>, names: &Names) -> String {
    let note = rule.map(|r| r.note).filter(|n| !n.is_empty()).and_then(|n| names.sentence(n));
    match note {
        Some(note) => format!("{} ({note})", said.trim_end_matches('.')),
        None => said,
    }
}

/// The decisive words of a message.
pub fn innermost(message: &str) -> String {
    Message::read(message).cause()
}

/// What to do about an error of the runtime, and what it is about.
pub fn advice(finding: Finding, message: &str) -> Finding {
    let read = Message::read(message);
    let names = Names::of(&finding).and_of(&read);
    match messages::find(messages::runtime::RULES, &read) {
        Some(rule) => by_rule(finding, rule, &names),
        None => finding.steps_of_its_cause(&names),
    }
}

/// The scope and the steps of a rule.
pub fn by_rule(finding: Finding, rule: &Rule, names: &Names) -> Finding {
    let scope = |finding: Finding, kind: &'static str, name: &str| match names.sentence(name) {
        Some(name) => finding.scope(kind, name),
        None => finding,
    };
    let finding = match rule.of {
        Of::Subject => finding,
        Of::Node => scope(finding, "node", "{node}"),
        Of::Registry => scope(finding, "registry", "{registry}"),
        Of::RuntimeClass if names.sentence("{class}").is_none() => scope(finding, "node", "{node}"),
        Of::RuntimeClass => scope(finding, "runtimeclass", "{class}"),
    };
    let finding = finding.steps(rule.steps, names);
    if rule.only { finding } else { finding.steps_of_its_cause(names) }
}

/// Where to look for what only the node knows.
pub fn on_node(node: &str) -> String {
    format!("on node {}: read the logs of the kubelet and the container runtime", text::name(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_nothing() {
        for program in ["/opt/seccomp-tool", "apparmor-web", "selinux-init", "/bin/userns", "/app/timeout"] {
            let message = format!("exec: \"{program}\": stat {program}: no such file or directory: unknown");
            assert_eq!(error(&message).0, CauseCode::ExecutableNotFound, "{message}");
        }
    }
}
