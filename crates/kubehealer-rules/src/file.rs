//! Reads rule files: YAML into rules whose expressions have been checked, or into everything that is wrong with them.
//!
//! Every mistake is found in one go, and each points at its place in the file. Must not know where files come from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use super::check::{Uses, Wrong, check_condition, suggest};
use super::eval::Node as Expression;
use super::functions;
use super::matcher::{Glob, Matcher, Names, WorkloadGlob};
use super::template::Template;
use super::yaml::{self, Kind, Node};
use super::{LABELS, RuleError};
use kubehealer_core::diagnosis::{ContainerType, Reason, Severity};

/// More rules than this, in all files, are refused.
pub(super) const MAX_RULES: usize = 1000;
const MAX_ITEMS: usize = 100;
const MAX_NAME: usize = 63;

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) file: Arc<str>,
    pub(super) line: usize,
    pub(super) description: String,
    pub(super) matcher: Matcher,
    pub(super) when: Option<Expression>,
    /// As it is written.
    pub(super) when_text: String,
    /// Of `when` and of every template.
    pub(super) uses: Uses,
    pub(super) over: Over,
    pub(super) action: Action,
}

/// What a rule is asked about, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Over {
    Pod,
    Containers,
    Findings,
}

/// What follows.
#[derive(Debug)]
pub(super) enum Action {
    Raise(Box<Raise>),
    Change(Box<Change>),
    Ignore(String),
}

#[derive(Debug)]
pub(super) struct Raise {
    pub(super) reason: Box<str>,
    pub(super) severity: Severity,
    pub(super) summary: Template,
    pub(super) next_steps: Vec<Template>,
    pub(super) runbook_url: Option<String>,
    pub(super) labels: Vec<(String, Template)>,
}

#[derive(Debug)]
pub(super) struct Change {
    pub(super) severity: Option<Severity>,
    pub(super) grace: Option<SignedDuration>,
    pub(super) text: Option<Template>,
    pub(super) next_steps: Vec<Template>,
    pub(super) runbook_url: Option<String>,
    pub(super) labels: Vec<(String, Template)>,
}

/// Reads all files together: names are unique over all of them.
pub(super) fn read(files: &[(String, String)]) -> Result<Vec<Rule>, Vec<RuleError>> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut errors = Vec::new();
    let mut names: BTreeMap<Arc<str>, (Arc<str>, usize)> = BTreeMap::new();
    let mut reasons: Vec<(Pending, Arc<str>)> = Vec::new();
    for (name, text) in files {
        let mut reader =
            Reader { file: name.as_str().into(), text, rule: None, errors: Vec::new(), reasons: Vec::new() };
        reader.file(&mut rules, &mut names);
        reasons.extend(reader.reasons.into_iter().map(|pending| (pending, Arc::clone(&reader.file))));
        errors.extend(reader.errors);
    }
    // Reasons may be those of rules in other files, so they are looked up at the end.
    let raised: BTreeSet<&str> = rules
        .iter()
        .filter_map(|rule| match &rule.action {
            Action::Raise(raise) => Some(&*raise.reason),
            _ => None,
        })
        .collect();
    let known = || Reason::ALL.iter().map(|r| r.as_str()).chain(raised.iter().copied());
    for (pending, file) in reasons {
        if !pending.glob.fits_any(known()) {
            let text = files.iter().find(|(name, _)| **name == *file).map_or("", |(_, text)| text);
            RuleError::add(&mut errors, || {
                let message = format!("unknown reason {:?}{}", pending.text, suggest(&pending.text, known()));
                RuleError::new(&file, text, pending.at, pending.rule, message, None)
            });
        }
    }
    if errors.is_empty() {
        return Ok(rules);
    }
    errors.sort_by(|a: &RuleError, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Err(errors)
}

/// A reason that is to be looked up once all rules are known.
struct Pending {
    at: usize,
    text: String,
    glob: Glob,
    rule: Option<String>,
}

struct Reader<'t> {
    file: Arc<str>,
    text: &'t str,
    rule: Option<String>,
    errors: Vec<RuleError>,
    reasons: Vec<Pending>,
}

/// The entries of a mapping, each to be taken once.
struct Fields<'n> {
    at: usize,
    entries: BTreeMap<&'n str, (&'n Node, &'n Node)>,
}

impl<'t> Reader<'t> {
    fn error(&mut self, at: usize, message: impl Into<String>) {
        RuleError::add(&mut self.errors, || {
            RuleError::new(&self.file, self.text, at, self.rule.clone(), message.into(), None)
        });
    }

    fn wrong(&mut self, node: &Node, source: &str, wrong: Wrong) {
        RuleError::add(&mut self.errors, || {
            let at = yaml::place_in(self.text, node, wrong.at);
            let expression = Some(source.to_owned());
            RuleError::new(&self.file, self.text, at, self.rule.clone(), wrong.message, expression)
        });
    }

    fn file(&mut self, rules: &mut Vec<Rule>, names: &mut BTreeMap<Arc<str>, (Arc<str>, usize)>) {
        let documents = match yaml::parse(self.text) {
            Ok(documents) => documents,
            Err(fault) => return self.error(fault.at, fault.message),
        };
        if documents.iter().all(Node::is_null) {
            return self.error(0, "the file is empty: it should hold `rules:` and a list of rules");
        }
        for document in documents.iter().filter(|d| !d.is_null()) {
            let Some(mut fields) = self.fields(document, "a rule file", &["apiVersion", "kind", "rules"])
            else {
                continue;
            };
            for (key, wanted) in [("apiVersion", kubehealer_core::API_VERSION), ("kind", "Rules")] {
                if let Some(node) = fields.take(key)
                    && let Some(found) = self.scalar(node, key)
                    && found != wanted
                {
                    self.error(node.at, format!("{key} is {found:?}; this version reads {wanted:?}"));
                }
            }
            let Some(list) = fields.take("rules") else {
                self.error(fields.at, "there is no `rules:` with a list of rules");
                continue;
            };
            let Kind::List(items) = &list.kind else {
                self.error(list.at, format!("`rules` must be a list of rules; this is {}", list.describe()));
                continue;
            };
            for item in items {
                if rules.len() >= MAX_RULES {
                    return self.error(item.at, format!("more than {MAX_RULES} rules"));
                }
                self.rule = None;
                if let Some(rule) = self.rule(item, names) {
                    rules.push(rule);
                }
            }
            self.rule = None;
        }
    }

    fn rule(&mut self, node: &Node, names: &mut BTreeMap<Arc<str>, (Arc<str>, usize)>) -> Option<Rule> {
        let errors = self.errors.len();
        let known = ["name", "description", "match", "when", "raise", "change", "ignore"];
        if let Kind::Map(entries) = &node.kind {
            let name = entries.iter().find(|(key, _)| matches!(&key.kind, Kind::Scalar(k, _) if k == "name"));
            self.rule = match name.map(|(_, value)| &value.kind) {
                Some(Kind::Scalar(name, _)) if is_rule_name(name) => Some(name.clone()),
                _ => None,
            };
        }
        let mut fields = self.fields(node, "a rule", &known)?;
        let line = yaml::line_and_column(self.text, node.at).0;
        let Some(name_node) = fields.take("name") else {
            self.error(node.at, "the rule has no `name`");
            return None;
        };
        let name: Arc<str> = self.scalar(name_node, "name")?.into();
        if !is_rule_name(&name) {
            self.error(
                name_node.at,
                format!(
                    "a rule's name has lowercase letters, digits and -, at most {MAX_NAME}; this is {:?}",
                    cut(&name)
                ),
            );
            return None;
        }
        if let Some((file, first)) = names.get(&name) {
            let message = format!("a rule with this name already exists: {file}:{first}");
            self.error(name_node.at, message);
        } else {
            names.insert(Arc::clone(&name), (Arc::clone(&self.file), line));
        }
        let description =
            fields.take("description").and_then(|n| self.scalar(n, "description")).unwrap_or_default();
        let matcher = fields.take("match").map_or_else(Matcher::default, |node| self.matcher(node));
        let mut uses = Uses::default();
        let mut when_text = String::new();
        let mut when = None;
        if let Some(node) = fields.take("when")
            && let Some(text) = self.scalar(node, "when")
        {
            match check_condition(&text) {
                Ok(checked) => {
                    uses = uses.and(checked.uses);
                    when = Some(checked.node);
                }
                Err(wrong) => self.wrong(node, &text, wrong),
            }
            when_text = text;
        }
        let given: Vec<(&str, &Node)> =
            ["raise", "change", "ignore"].into_iter().filter_map(|k| Some((k, fields.take(k)?))).collect();
        let action = match given.as_slice() {
            [("raise", node)] => self.raise(node, &mut uses).map(|r| Action::Raise(Box::new(r))),
            [("change", node)] => self.change(node, &mut uses).map(|c| Action::Change(Box::new(c))),
            [("ignore", node)] => self.ignore(node).map(Action::Ignore),
            [] => {
                self.error(node.at, "the rule does nothing: give it `raise`, `change` or `ignore`");
                None
            }
            [_] => None,
            [_, (second, node), ..] => {
                let message = format!("a rule does one thing: put `{second}` into a rule of its own");
                self.error(node.at, message);
                None
            }
        };
        let action = action?;
        if matcher.is_empty()
            && when.is_none()
            && when_text.is_empty()
            && !matches!(action, Action::Change(_))
        {
            let what =
                if matches!(action, Action::Ignore(_)) { "hide everything" } else { "fire for every pod" };
            self.error(node.at, format!("without `match` and `when` this rule would {what}"));
        }
        let over = match action {
            Action::Change(_) | Action::Ignore(_) => Over::Findings,
            Action::Raise(_) if uses.finding || !matcher.reasons.is_empty() => Over::Findings,
            Action::Raise(_) if uses.container || matcher.wants_container() => Over::Containers,
            Action::Raise(_) => Over::Pod,
        };
        (self.errors.len() == errors).then(|| Rule {
            name,
            file: Arc::clone(&self.file),
            line,
            description,
            matcher,
            when,
            when_text,
            uses,
            over,
            action,
        })
    }

    fn matcher(&mut self, node: &Node) -> Matcher {
        let mut matcher = Matcher::default();
        let known = ["namespaces", "workloads", "labels", "containers", "containerTypes", "reasons"];
        let Some(mut fields) = self.fields(node, "match", &known) else { return matcher };
        if let Some(node) = fields.take("namespaces") {
            matcher.namespaces = self.names(node, "namespaces");
        }
        if let Some(node) = fields.take("containers") {
            matcher.containers = self.names(node, "containers");
        }
        for (at, text) in fields.take("workloads").map(|n| self.texts(n, "workloads")).unwrap_or_default() {
            let (not, rest) = text.strip_prefix('!').map_or((false, text.as_str()), |rest| (true, rest));
            match rest.split_once('/') {
                Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
                    matcher.workloads.push(WorkloadGlob {
                        not,
                        kind: Glob::new(kind),
                        name: Glob::new(name),
                    });
                }
                _ => self.error(
                    at,
                    format!(
                        "a workload is written as Kind/name, such as Deployment/cart or Job/*; this is {:?}",
                        cut(&text)
                    ),
                ),
            }
        }
        if let Some(node) = fields.take("labels") {
            match &node.kind {
                Kind::Map(entries) => {
                    self.no_key_twice(entries, "labels");
                    for (key, value) in entries {
                        let Some(key) = self.scalar(key, "labels") else { continue };
                        let names = self.names(value, "labels");
                        matcher.labels.push((key.into(), names));
                    }
                }
                _ => self
                    .error(node.at, format!("`labels` must map keys to values; this is {}", node.describe())),
            }
        }
        for (at, text) in
            fields.take("containerTypes").map(|n| self.texts(n, "containerTypes")).unwrap_or_default()
        {
            match ContainerType::of(&text) {
                Some(found) => matcher.container_types.push(found),
                None => {
                    let hint = suggest(&text, ContainerType::WORDS.iter().copied());
                    self.error(at, format!("unknown container type {:?}{hint}", cut(&text)));
                }
            }
        }
        if let Some(node) = fields.take("reasons") {
            matcher.reasons = self.names(node, "reasons");
            for (at, text) in self.texts(node, "reasons") {
                let glob = Glob::new(&text);
                self.reasons.push(Pending { at, text, glob, rule: self.rule.clone() });
            }
        }
        matcher
    }

    fn raise(&mut self, node: &Node, uses: &mut Uses) -> Option<Raise> {
        let known = ["reason", "severity", "summary", "nextSteps", "runbookUrl", "labels"];
        let mut fields = self.fields(node, "raise", &known)?;
        let reason = match fields.take("reason") {
            Some(node) => {
                let reason = self.scalar(node, "reason")?;
                if Reason::of(&reason).is_some() {
                    self.error(node.at, format!("{reason} is a built-in reason: choose another name, or change its findings with `change`"));
                } else if !is_reason(&reason) {
                    self.error(node.at, format!("a reason is one word such as RestartedTwice, of letters and digits, at most {MAX_NAME}; this is {:?}", cut(&reason)));
                }
                reason.into()
            }
            None => {
                self.error(fields.at, "`raise` needs a `reason`");
                Box::default()
            }
        };
        let severity = match fields.take("severity") {
            Some(node) => self.severity(node).unwrap_or(Severity::Warning),
            None => {
                self.error(fields.at, "`raise` needs a `severity`");
                Severity::Warning
            }
        };
        let summary = match fields.take("summary") {
            Some(node) => self.template(node, "summary", uses)?,
            None => {
                self.error(fields.at, "`raise` needs a `summary`");
                return None;
            }
        };
        Some(Raise {
            reason,
            severity,
            summary,
            next_steps: self.next_steps(&mut fields, uses),
            runbook_url: self.runbook_url(&mut fields),
            labels: self.labels(&mut fields, uses),
        })
    }

    fn change(&mut self, node: &Node, uses: &mut Uses) -> Option<Change> {
        let known = ["severity", "grace", "text", "nextSteps", "runbookUrl", "labels"];
        let mut fields = self.fields(node, "change", &known)?;
        if fields.entries.is_empty() {
            self.error(node.at, "`change` changes nothing");
        }
        let severity = fields.take("severity").and_then(|node| self.severity(node));
        let grace = fields.take("grace").and_then(|node| {
            let text = self.scalar(node, "grace")?;
            match functions::duration(&text) {
                Ok(grace) if !grace.is_negative() => Some(grace),
                Ok(_) => {
                    self.error(node.at, "a grace cannot be negative");
                    None
                }
                Err(message) => {
                    self.error(node.at, message);
                    None
                }
            }
        });
        Some(Change {
            severity,
            grace,
            text: fields.take("text").and_then(|node| self.template(node, "text", uses)),
            next_steps: self.next_steps(&mut fields, uses),
            runbook_url: self.runbook_url(&mut fields),
            labels: self.labels(&mut fields, uses),
        })
    }

    fn ignore(&mut self, node: &Node) -> Option<String> {
        if node.is_null() {
            self.error(node.at, "`ignore` needs a `comment` that says why");
            return None;
        }
        let mut fields = self.fields(node, "ignore", &["comment"])?;
        let comment = fields.take("comment").map(|node| (node.at, self.scalar(node, "comment")));
        match comment {
            Some((_, Some(comment))) if !comment.trim().is_empty() => Some(comment),
            Some((_, None)) => None,
            Some((at, _)) => {
                self.error(at, "`ignore` needs a `comment` that says why");
                None
            }
            None => {
                self.error(fields.at, "`ignore` needs a `comment` that says why");
                None
            }
        }
    }

    fn severity(&mut self, node: &Node) -> Option<Severity> {
        let text = self.scalar(node, "severity")?;
        text.parse().map_err(|why: String| self.error(node.at, why)).ok()
    }

    fn next_steps(&mut self, fields: &mut Fields<'_>, uses: &mut Uses) -> Vec<Template> {
        let Some(node) = fields.take("nextSteps") else { return Vec::new() };
        let Kind::List(items) = &node.kind else {
            self.error(
                node.at,
                format!("`nextSteps` must be a list of strings; this is {}", node.describe()),
            );
            return Vec::new();
        };
        if items.len() > 20 {
            self.error(node.at, "more than 20 next steps");
        }
        items.iter().filter_map(|item| self.template(item, "nextSteps", uses)).collect()
    }

    fn runbook_url(&mut self, fields: &mut Fields<'_>) -> Option<String> {
        let node = fields.take("runbookUrl")?;
        let url = self.scalar(node, "runbookUrl")?;
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
        let printable = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '\'' | '`');
        if host.is_empty() || host.starts_with('/') || url.len() > 512 || !url.chars().all(printable) {
            self.error(node.at, "`runbookUrl` must be a URL that begins with https:// or http://");
            return None;
        }
        Some(url)
    }

    fn labels(&mut self, fields: &mut Fields<'_>, uses: &mut Uses) -> Vec<(String, Template)> {
        let Some(node) = fields.take("labels") else { return Vec::new() };
        let Some(mut labels) = self.fields(node, "labels", LABELS) else { return Vec::new() };
        let keys: Vec<&str> = labels.entries.keys().copied().collect();
        keys.into_iter()
            .filter_map(|key| Some((key.to_owned(), self.template(labels.take(key)?, key, uses)?)))
            .collect()
    }

    fn template(&mut self, node: &Node, what: &str, uses: &mut Uses) -> Option<Template> {
        let text = self.scalar(node, what)?;
        if text.trim().is_empty() {
            self.error(node.at, format!("`{what}` is empty"));
            return None;
        }
        match Template::parse(&text) {
            Ok(template) => {
                *uses = uses.and(template.uses);
                Some(template)
            }
            Err(wrong) => {
                self.wrong(node, &text, wrong);
                None
            }
        }
    }

    fn names(&mut self, node: &Node, what: &str) -> Names {
        Names(self.texts(node, what).iter().map(|(_, text)| Glob::new(text)).collect())
    }

    /// A text or a list of texts, each with its place.
    fn texts(&mut self, node: &Node, what: &str) -> Vec<(usize, String)> {
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            Kind::Scalar(..) if !node.is_null() => std::slice::from_ref(node),
            _ => {
                self.error(node.at, format!("`{what}` must be a list of names; this is {}", node.describe()));
                return Vec::new();
            }
        };
        if items.is_empty() {
            self.error(node.at, format!("`{what}` is an empty list: leave it out to match all"));
        }
        if items.len() > MAX_ITEMS {
            self.error(node.at, format!("`{what}` has more than {MAX_ITEMS} items"));
            return Vec::new();
        }
        let mut texts = Vec::new();
        for item in items {
            let Some(text) = self.scalar(item, what) else { continue };
            let bare = text.strip_prefix('!').unwrap_or(&text);
            if bare.is_empty() || text.len() > 253 || text.contains(char::is_whitespace) {
                self.error(item.at, format!("`{what}` has {:?}, which is not a name", cut(&text)));
                continue;
            }
            texts.push((item.at, text));
        }
        texts
    }

    fn scalar(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.kind {
            Kind::Scalar(text, _) if !node.is_null() => Some(text.clone()),
            _ => {
                self.error(node.at, format!("`{what}` must be a string; this is {}", node.describe()));
                None
            }
        }
    }

    fn no_key_twice(&mut self, entries: &[(Node, Node)], what: &str) {
        let mut seen = BTreeSet::new();
        for (key, _) in entries {
            if let Kind::Scalar(text, _) = &key.kind
                && !seen.insert(text)
            {
                self.error(key.at, format!("{:?} appears twice in {what}", cut(text)));
            }
        }
    }

    fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let Kind::Map(list) = &node.kind else {
            self.error(node.at, format!("{what} must be a mapping; this is {}", node.describe()));
            return None;
        };
        self.no_key_twice(list, what);
        let mut entries = BTreeMap::new();
        for (key, value) in list {
            let Kind::Scalar(text, _) = &key.kind else {
                self.error(key.at, format!("the keys of {what} must be strings; this is {}", key.describe()));
                continue;
            };
            if known.contains(&text.as_str()) {
                entries.insert(text.as_str(), (key, value));
            } else {
                let hint = suggest(text, known.iter().copied());
                self.error(key.at, format!("unknown field {:?} of {what}{hint}", cut(text)));
            }
        }
        Some(Fields { at: node.at, entries })
    }
}

impl<'n> Fields<'n> {
    fn take(&mut self, key: &str) -> Option<&'n Node> {
        self.entries.remove(key).map(|(_, value)| value)
    }
}

/// Also a metric's label, so from a narrow set of characters.
fn is_rule_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_reason(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Enough of a text to know it by.
fn cut(text: &str) -> &str {
    kubehealer_core::redact::cut(text, 80)
}
