//! The user's own rules over pods and findings.
//!
//! A rule names what it looks at (`match`), may ask a condition in CEL (`when`), and raises a finding, changes one or
//! ignores one. Rules are checked when they are loaded, types and all, and evaluated within a budget, so that no rule can
//! stall or end the process. `docs/rules.md` is the manual.
//!
//! Pure: files come in as texts, time as a [`Timestamp`]. Must not know where rules are kept, nor what becomes of findings.

mod check;
mod eval;
mod file;
mod functions;
mod matcher;
mod template;
mod testing;
mod value;
mod yaml;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use kubehealer_core::diagnosis::{
    Cause, CauseCode, Confidence, Evidence, Finding, ReasonName, Severity, Snapshot, Source, Stage, Survey,
    WorkloadRef, survey, survey_with, workload_of, world,
};
use kubehealer_core::objects::{Event, Pod};
use kubehealer_core::redact;

use eval::{Failure, Run, STEPS_PER_RULE, Scope};
use file::{Action, Change, Over, Raise, Rule};
use value::ContainerView;

pub use testing::{TestCase, TestFile, read_tests};

/// The labels that a rule may set: a fixed list, so that metrics keep a fixed shape.
pub const LABELS: &[&str] =
    &["component", "environment", "oncall", "owner", "priority", "service", "team", "tier"];

/// What all rules together may spend on one pod, in steps. A rule that finds nothing left is not evaluated, which counts
/// as an error.
const STEPS_PER_POD: u32 = 1_000_000;

/// How soon a pod is looked at again whose verdict changes with time alone.
const RECHECK: SignedDuration = SignedDuration::from_secs(60);

/// More errors of a file are not told one by one.
const MAX_ERRORS: usize = 100;

/// Something is wrong with a rule file.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleError {
    /// The file's name, as it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The rule, if the mistake is within one that has a name.
    pub rule: Option<String>,
    /// What is wrong.
    pub message: String,
    /// The whole expression, if the mistake is within one.
    pub expression: Option<String>,
    /// The line of the file, cleaned, and where in it the mistake is, in characters from 0.
    source: (String, usize),
}

impl RuleError {
    fn new(
        file: &str,
        text: &str,
        at: usize,
        rule: Option<String>,
        message: String,
        expression: Option<String>,
    ) -> Self {
        let (line, column) = yaml::line_and_column(text, at);
        let whole = text.lines().nth(line - 1).unwrap_or_default();
        // A long line is shown around the place.
        let from = column.saturating_sub(60);
        let shown: String = whole.chars().skip(from).take(100).collect();
        let before: String = whole.chars().skip(from).take(column - 1 - from.min(column - 1)).collect();
        let caret = redact::clean(&before).chars().count();
        let source = (redact::clean(&shown).into_owned(), caret);
        let message = redact::clean(&message).into_owned();
        Self { file: file.to_owned(), line, column, rule, message, expression, source }
    }

    /// Adds one to those of a file. Each is looked up in the text, so only so many are.
    fn add(errors: &mut Vec<Self>, error: impl FnOnce() -> Self) {
        match errors.len() {
            0..MAX_ERRORS => errors.push(error()),
            MAX_ERRORS => {
                let message = format!("more than {MAX_ERRORS} errors: correct these first");
                errors.push(Self::of_file(&error().file, message));
            }
            _ => {}
        }
    }

    /// About the rules as a whole, or about a file that could not be read.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self::new(file, "", 0, None, message.into(), None)
    }
}

/// The message with its place, then the line and a caret under the place.
impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", redact::clean(&self.file), self.line, self.column)?;
        if let Some(rule) = &self.rule {
            write!(f, "rule {rule}: ")?;
        }
        write!(f, "{}", self.message)?;
        let (source, caret) = &self.source;
        if !source.is_empty() {
            let margin = self.line.to_string();
            write!(f, "\n {margin} | {source}\n {:width$} | {:caret$}^", "", "", width = margin.len())?;
        }
        Ok(())
    }
}

impl std::error::Error for RuleError {}

/// Rules that have been checked, in the order in which they apply.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// Rules that name their namespaces, by namespace; rising.
    by_namespace: HashMap<Box<str>, Vec<usize>>,
    /// All other rules; rising.
    anywhere: Vec<usize>,
    fingerprint: u64,
}

/// What became of the findings of one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Those that are left, and those that rules have raised.
    pub findings: Vec<Finding>,
    /// How many findings each rule raised or changed.
    pub hits: Vec<(Arc<str>, u32)>,
    /// How many findings each rule ignored.
    pub ignored: Vec<(Arc<str>, u32)>,
    /// Rules that could not be evaluated for this pod. The others were.
    pub errors: Vec<EvaluationError>,
    /// When time alone may change the verdict.
    pub recheck: Option<Timestamp>,
}

/// A rule could not be evaluated for a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationError {
    /// The rule.
    pub rule: Arc<str>,
    /// Why, with the part of the expression that failed.
    pub message: String,
}

impl RuleSet {
    /// No rules: applying them costs nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads rules from files, given as name and text, in this order. Everything that is wrong comes out at once.
    pub fn load(files: &[(String, String)]) -> Result<Self, Vec<RuleError>> {
        let rules = check::on_a_large_stack(|| file::read(files))
            .unwrap_or_else(|message| Err(vec![RuleError::of_file("rules", message)]))?;
        let mut by_namespace: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut anywhere = Vec::new();
        for (i, rule) in rules.iter().enumerate() {
            match rule.matcher.namespaces.exact() {
                Some(names) => {
                    for name in names.into_iter().collect::<BTreeSet<_>>() {
                        by_namespace.entry(name.into()).or_default().push(i);
                    }
                }
                None => anywhere.push(i),
            }
        }
        Ok(Self { rules, by_namespace, anywhere, fingerprint: Self::fingerprint_of(files) })
    }

    /// Of the files that the rules were read from.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Tells files from other files, within one process.
    pub fn fingerprint_of(files: &[(String, String)]) -> u64 {
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        hasher.finish()
    }

    /// How many rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The names, in the order in which the rules apply.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rules.iter().map(|rule| &rule.name)
    }

    /// The reasons that the rules raise.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|rule| match &rule.action {
            Action::Raise(raise) => Some(&*raise.reason),
            _ => None,
        })
    }

    /// Each rule in force: name, place, what it looks at and does, in lines for people.
    pub fn describe(&self) -> impl Iterator<Item = RuleDescription> + '_ {
        self.rules.iter().map(RuleDescription::of)
    }

    /// Looks at many pods at once, as [`survey`](kubehealer_core::diagnosis::survey()) does, and applies the rules. `each` sees what
    /// became of every pod.
    pub fn survey(&self, snapshot: &Snapshot, now: Timestamp, mut each: impl FnMut(&Applied)) -> Survey {
        if self.rules.is_empty() {
            return survey(snapshot, now);
        }
        survey_with(snapshot, now, &mut |subject, findings| {
            let mut applied = self.judge(subject, findings, now);
            each(&applied);
            (std::mem::take(&mut applied.findings), applied.recheck)
        })
    }

    /// Applies the rules to what [`World`](kubehealer_core::diagnosis::World) has found about a pod, or without one about
    /// workloads and nodes.
    pub fn judge(
        &self,
        subject: Option<world::Subject<'_>>,
        findings: Vec<Finding>,
        now: Timestamp,
    ) -> Applied {
        match subject {
            Some(of) => self.run(Some(of.pod), Some(of.workload), of.events, findings, now),
            None => self.apply_without_pod(findings, now),
        }
    }

    /// Applies the rules to the findings of a pod. `events` are those about this pod, as far as they are known.
    pub fn apply(&self, pod: &Pod, events: &[Event], findings: Vec<Finding>, now: Timestamp) -> Applied {
        self.run(Some(pod), None, events, findings, now)
    }

    /// Applies the rules to findings about workloads and nodes: those that change or ignore findings, and do not ask about
    /// a pod.
    pub fn apply_without_pod(&self, findings: Vec<Finding>, now: Timestamp) -> Applied {
        let mut all = Applied::default();
        for finding in findings {
            let one = self.run(None, None, &[], vec![finding], now);
            all.findings.extend(one.findings);
            all.hits.extend(one.hits);
            all.ignored.extend(one.ignored);
            all.errors.extend(one.errors);
            all.recheck = all.recheck.into_iter().chain(one.recheck).min();
        }
        all
    }

    fn run(
        &self,
        pod: Option<&Pod>,
        workload: Option<&WorkloadRef>,
        events: &[Event],
        findings: Vec<Finding>,
        now: Timestamp,
    ) -> Applied {
        let mut applied = Applied { findings, ..Applied::default() };
        if self.rules.is_empty() {
            return applied;
        }
        let namespace = match (pod, applied.findings.first()) {
            (Some(pod), _) => pod.metadata.namespace.clone(),
            (None, Some(finding)) => finding.namespace.clone(),
            (None, None) => return applied,
        };
        let named = self.by_namespace.get(namespace.as_str()).map_or(&[][..], Vec::as_slice);
        let subject = Subject { pod, events, now, known: workload, workload: OnceCell::new() };
        let mut steps = STEPS_PER_POD;
        for i in merged(named, &self.anywhere) {
            let Some(rule) = self.rules.get(i) else { continue };
            if rule.over == Over::Findings && applied.findings.is_empty()
                || pod.is_none() && !rule.without_pod()
            {
                continue;
            }
            let workload = || subject.workload(&applied.findings);
            if !rule.matcher.fits_subject(&namespace, pod, workload) {
                continue;
            }
            subject.apply(rule, &mut applied, &mut steps);
        }
        applied
    }
}

/// Two rising lists as one.
fn merged(a: &[usize], b: &[usize]) -> impl Iterator<Item = usize> {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(x), Some(y)) if y < x => b.next(),
        (Some(_), _) => a.next(),
        _ => b.next(),
    })
}

impl Rule {
    /// Whether it can be asked about a finding that is about no pod.
    fn without_pod(&self) -> bool {
        let uses = self.uses;
        self.over == Over::Findings
            && !(uses.pod || uses.container || uses.events || self.matcher.wants_container())
            && self.matcher.labels.is_empty()
            && !matches!(self.action, Action::Raise(_))
    }

    fn failed(&self, failure: &Failure) -> EvaluationError {
        let source = &self.when_text;
        let rest = source.get(failure.at as usize..).unwrap_or_default().lines().next().unwrap_or_default();
        let near = if rest.is_empty() { String::new() } else { format!(", at {:?}", redact::cut(rest, 60)) };
        EvaluationError { rule: Arc::clone(&self.name), message: format!("{}{near}", failure.message) }
    }
}

/// What conditions leave behind besides their value.
struct Notes<'n> {
    errors: &'n mut Vec<EvaluationError>,
    recheck: &'n mut Option<Timestamp>,
}

impl<'n> Notes<'n> {
    fn of(applied: &'n mut Applied) -> Self {
        Self { errors: &mut applied.errors, recheck: &mut applied.recheck }
    }
}

fn earlier(recheck: &mut Option<Timestamp>, at: Option<Timestamp>) {
    *recheck = recheck.iter().copied().chain(at).min();
}

/// What the rules are asked about.
struct Subject<'a> {
    pod: Option<&'a Pod>,
    events: &'a [Event],
    now: Timestamp,
    known: Option<&'a WorkloadRef>,
    workload: OnceCell<Option<WorkloadRef>>,
}

impl<'a> Subject<'a> {
    /// Of a finding, which may know more than the pod alone, or of the pod.
    fn workload(&self, findings: &[Finding]) -> Option<&WorkloadRef> {
        if self.known.is_some() {
            return self.known;
        }
        let found = || findings.iter().find_map(|f| f.workload.clone()).or_else(|| self.pod.map(workload_of));
        self.workload.get_or_init(found).as_ref()
    }

    fn scope<'s>(&self, container: Option<ContainerView<'s>>, finding: Option<&'s Finding>) -> Scope<'s>
    where
        'a: 's,
    {
        Scope { pod: self.pod, container, finding, events: self.events, now: self.now }
    }

    fn apply(&self, rule: &Rule, applied: &mut Applied, steps: &mut u32) {
        let mut allowed = STEPS_PER_RULE.min(*steps);
        let given = allowed;
        match rule.over {
            Over::Pod => {
                if let Action::Raise(raise) = &rule.action
                    && self.holds(rule, None, None, &mut Notes::of(applied), &mut allowed)
                {
                    self.raise(rule, raise, None, None, applied, &mut allowed);
                }
            }
            Over::Containers => {
                let (Action::Raise(raise), Some(pod)) = (&rule.action, self.pod) else { return };
                for container in ContainerView::all(pod) {
                    if rule.matcher.fits_container(container.name(), Some(container.kind))
                        && self.holds(rule, Some(container), None, &mut Notes::of(applied), &mut allowed)
                    {
                        self.raise(rule, raise, Some(container), None, applied, &mut allowed);
                    }
                }
            }
            Over::Findings => self.over_findings(rule, applied, &mut allowed),
        }
        *steps -= given - allowed;
    }

    fn over_findings(&self, rule: &Rule, applied: &mut Applied, allowed: &mut u32) {
        let (mut hits, mut ignored) = (0, 0);
        // Those that the rule itself raises come behind, and it does not see them.
        let mut i = 0;
        let mut end = applied.findings.len();
        while i < end {
            let Some(finding) = applied.findings.get(i) else { break };
            if !rule.matcher.fits_finding(finding) {
                i += 1;
                continue;
            }
            let container = self.pod.and_then(|pod| matcher::container_of(pod, &finding.container));
            // A condition about a container says nothing about a finding that has none.
            let asked = !rule.uses.container || container.is_some();
            let Applied { findings, errors, recheck, .. } = &mut *applied;
            let mut notes = Notes { errors, recheck };
            if !asked || !self.holds(rule, container, findings.get(i), &mut notes, allowed) {
                i += 1;
                continue;
            }
            // Copied only now: most conditions do not hold.
            let Some(mut finding) = findings.get(i).cloned() else { break };
            match &rule.action {
                Action::Raise(raise) => self.raise(rule, raise, container, Some(&finding), applied, allowed),
                Action::Change(change) => {
                    self.change(rule, change, container, &mut finding, applied, allowed);
                    if let Some(place) = applied.findings.get_mut(i) {
                        *place = finding;
                    }
                    hits += 1;
                }
                Action::Ignore(_) => {
                    applied.findings.remove(i);
                    end -= 1;
                    ignored += 1;
                    continue;
                }
            }
            i += 1;
        }
        if hits > 0 {
            applied.hits.push((Arc::clone(&rule.name), hits));
        }
        if ignored > 0 {
            applied.ignored.push((Arc::clone(&rule.name), ignored));
        }
    }

    /// Whether the condition of a rule holds. One that fails does not.
    fn holds(
        &self,
        rule: &Rule,
        container: Option<ContainerView<'_>>,
        finding: Option<&Finding>,
        notes: &mut Notes<'_>,
        allowed: &mut u32,
    ) -> bool {
        // How many restarts a time holds changes while nothing happens only where there are some.
        let restarts = || container.and_then(|c| c.status()).is_some_and(|s| s.restart_count > 0);
        if rule.uses.now || rule.uses.restarts && restarts() {
            earlier(notes.recheck, self.now.checked_add(RECHECK).ok());
        }
        let Some(when) = &rule.when else { return true };
        let mut run = Run::new(self.scope(container, finding), *allowed);
        let result = run.test(when);
        *allowed = run.left();
        result.unwrap_or_else(|failure| {
            notes.errors.push(rule.failed(&failure));
            false
        })
    }

    fn raise(
        &self,
        rule: &Rule,
        raise: &Raise,
        container: Option<ContainerView<'_>>,
        finding: Option<&Finding>,
        applied: &mut Applied,
        allowed: &mut u32,
    ) {
        let Some(pod) = self.pod else { return };
        let mut run = Run::new(self.scope(container, finding), *allowed);
        let mut text = |template: &'_ template::Template| -> String {
            // Each text has a run of its own, since a run lives as long as what it has borrowed.
            let mut own = Run::new(run.scope, run.left());
            let (text, failure) = template.render(&mut own);
            run = Run::new(run.scope, own.left());
            if let Some(failure) = failure {
                report_text(rule, &failure, applied);
            }
            text
        };
        let summary = text(&raise.summary);
        let next_steps = raise.next_steps.iter().map(&mut text).collect();
        let labels = raise.labels.iter().map(|(key, t)| (key.clone(), text(t))).collect();
        *allowed = run.left();

        let reason = ReasonName::Rule(raise.reason.clone());
        let of_container = container.map_or("", |c| c.name());
        let same = |f: &Finding| f.reason == reason && f.container == of_container;
        if applied.findings.iter().any(same) {
            return;
        }
        let status = container.and_then(|c| c.status());
        let stage = finding.map_or(Stage::Active, |f| f.stage);
        let mut evidence = vec![by_rule(rule, "raised")];
        if let Some(finding) = finding {
            let text = format!("{}: {}", finding.reason.as_str(), finding.summary);
            evidence.push(Evidence { source: Source::Rule, text, at: finding.since });
        }
        let born = pod.status.start_time.get().or(pod.metadata.creation_timestamp.get());
        let why = if rule.description.is_empty() { String::new() } else { format!(": {}", rule.description) };
        let ended = status.and_then(|s| s.state.terminated.as_deref().or(s.last_state.terminated.as_deref()));
        let workload = finding
            .and_then(|f| f.workload.clone())
            .or_else(|| self.workload(&applied.findings).cloned())
            .unwrap_or_else(|| workload_of(pod));
        applied.findings.push(Finding {
            reason,
            severity: if stage == Stage::Active { raise.severity } else { Severity::Info },
            confidence: finding.map_or(Confidence::Confirmed, |f| f.confidence),
            stage,
            namespace: pod.metadata.namespace.clone(),
            pod: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            container: of_container.to_owned(),
            container_type: container.map(|c| c.kind),
            workload: Some(workload),
            node: pod.spec.node_name.clone(),
            since: finding.and_then(|f| f.since).or_else(|| container.and_then(|c| c.since())).or(born),
            summary,
            cause: Cause {
                code: CauseCode::UserRule,
                text: redact::clean(&format!("the rule {}{why}", rule.name)).into_owned(),
            },
            restart_count: status.map(|s| s.restart_count),
            exit_code: ended.map(|e| e.exit_code),
            image: container.map_or_else(String::new, |c| redact::redact(c.image()).into_owned()),
            scope: None,
            evidence,
            next_steps,
            runbook_url: raise.runbook_url.clone(),
            labels,
            muted: None,
        });
        match applied.hits.iter_mut().find(|(name, _)| *name == rule.name) {
            Some((_, hits)) => *hits += 1,
            None => applied.hits.push((Arc::clone(&rule.name), 1)),
        }
    }

    fn change(
        &self,
        rule: &Rule,
        change: &Change,
        container: Option<ContainerView<'_>>,
        finding: &mut Finding,
        applied: &mut Applied,
        allowed: &mut u32,
    ) {
        let before = finding.clone();
        let scope = self.scope(container, Some(&before));
        let mut text = |template: &template::Template| -> String {
            let mut run = Run::new(scope, *allowed);
            let (text, failure) = template.render(&mut run);
            *allowed = run.left();
            if let Some(failure) = failure {
                report_text(rule, &failure, applied);
            }
            text
        };
        if let Some(template) = &change.text {
            let extra = text(template);
            finding.summary = format!("{} {extra}", finding.summary);
        }
        let steps: Vec<String> = change.next_steps.iter().map(&mut text).collect();
        finding.next_steps.splice(0..0, steps);
        for (key, template) in &change.labels {
            let value = text(template);
            finding.labels.retain(|(k, _)| k != key);
            finding.labels.push((key.clone(), value));
        }
        if let Some(url) = &change.runbook_url {
            finding.runbook_url = Some(url.clone());
        }
        if let Some(end) =
            change.grace.zip(finding.since).and_then(|(grace, since)| since.checked_add(grace).ok())
            && finding.stage != Stage::Recovered
        {
            if self.now < end {
                finding.stage = Stage::Pending;
                finding.severity = Severity::Info;
                earlier(&mut applied.recheck, Some(end));
            } else if finding.stage == Stage::Pending {
                finding.stage = Stage::Active;
                finding.severity = finding.reason.known().map_or(Severity::Warning, |r| r.severity());
            }
        }
        if let Some(severity) = change.severity.filter(|_| finding.stage == Stage::Active) {
            finding.severity = severity;
        }
        let mut what = Vec::new();
        if finding.severity != before.severity {
            what.push(format!("severity {} to {}", before.severity.as_str(), finding.severity.as_str()));
        }
        if finding.stage != before.stage && finding.stage == Stage::Pending {
            what.push("within the rule's grace".to_owned());
        }
        let what =
            if what.is_empty() { "changed".to_owned() } else { format!("changed: {}", what.join(", ")) };
        finding.evidence.push(by_rule(rule, &what));
    }
}

fn by_rule(rule: &Rule, what: &str) -> Evidence {
    let when = rule.when_text.split_whitespace().collect::<Vec<_>>().join(" ");
    let when = if when.is_empty() { String::new() } else { format!(" because {}", redact::cut(&when, 300)) };
    let text = redact::clean(&format!("{what} by the rule {}{when}", rule.name)).into_owned();
    Evidence { source: Source::Rule, text, at: None }
}

fn report_text(rule: &Rule, failure: &Failure, applied: &mut Applied) {
    let message = format!("a text of the rule: {}", failure.message);
    applied.errors.push(EvaluationError { rule: Arc::clone(&rule.name), message });
}

/// A rule in force, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleDescription {
    /// Its name.
    pub name: String,
    /// Such as `payments.yaml:12`.
    pub place: String,
    /// What it is for.
    pub description: String,
    /// What it looks at, on one line; empty for everything.
    pub matches: String,
    /// Its condition, on one line; empty for none.
    pub when: String,
    /// `raise`, `change` or `ignore`.
    pub action: &'static str,
    /// What follows, in a few words.
    pub effect: String,
    /// Whether it is asked about a `pod`, each `container` or each `finding`.
    pub over: &'static str,
}

impl RuleDescription {
    fn of(rule: &Rule) -> Self {
        let (action, effect) = match &rule.action {
            Action::Raise(raise) => ("raise", format!("{} ({})", raise.reason, raise.severity.as_str())),
            Action::Ignore(comment) => ("ignore", comment.split_whitespace().collect::<Vec<_>>().join(" ")),
            Action::Change(change) => {
                let severity = change.severity.map(|s| format!("severity {}", s.as_str()));
                let grace = change.grace.map(|g| format!("grace {g:#}"));
                let text = change.text.as_ref().map(|_| "text".to_owned());
                let url = change.runbook_url.as_ref().map(|_| "runbookUrl".to_owned());
                let steps = (!change.next_steps.is_empty()).then(|| "nextSteps".to_owned());
                let labels = change.labels.iter().map(|(key, _)| format!("label {key}"));
                let all: Vec<String> =
                    [severity, grace, text, steps, url].into_iter().flatten().chain(labels).collect();
                ("change", all.join(", "))
            }
        };
        Self {
            name: rule.name.to_string(),
            place: format!("{}:{}", rule.file, rule.line),
            description: rule.description.clone(),
            matches: rule.matcher.to_string(),
            when: rule.when_text.split_whitespace().collect::<Vec<_>>().join(" "),
            action,
            effect,
            over: match rule.over {
                Over::Pod => "pod",
                Over::Containers => "container",
                Over::Findings => "finding",
            },
        }
    }
}

/// How often each rule has done something, and whether its errors have been logged yet. One for the life of the process:
/// rules that come back after a reload go on counting.
#[derive(Clone, Debug, Default)]
pub struct RuleCounters {
    counts: BTreeMap<Arc<str>, RuleCounts>,
    logged: BTreeSet<Arc<str>>,
}

/// How often a rule has done something, per look at a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RuleCounts {
    /// Findings raised or changed.
    pub findings: u64,
    /// Findings ignored.
    pub ignored: u64,
    /// Evaluations that failed.
    pub errors: u64,
}

impl RuleCounters {
    /// Adds what became of one pod's findings. Gives the errors of rules that had none since the last reload: those are to
    /// be logged.
    pub fn add(&mut self, applied: &Applied) -> Vec<EvaluationError> {
        for (rule, n) in &applied.hits {
            self.counts.entry(Arc::clone(rule)).or_default().findings += u64::from(*n);
        }
        for (rule, n) in &applied.ignored {
            self.counts.entry(Arc::clone(rule)).or_default().ignored += u64::from(*n);
        }
        let mut new = Vec::new();
        for error in &applied.errors {
            self.counts.entry(Arc::clone(&error.rule)).or_default().errors += 1;
            if self.logged.insert(Arc::clone(&error.rule)) {
                new.push(error.clone());
            }
        }
        new
    }

    /// Rules have been loaded: every one of them has its counts from now on, and may tell its errors again. Counts of rules
    /// that are gone are dropped.
    pub fn reloaded(&mut self, rules: &RuleSet) {
        self.logged.clear();
        let old = std::mem::take(&mut self.counts);
        self.counts = rules
            .names()
            .map(|name| (Arc::clone(name), old.get(name).copied().unwrap_or_default()))
            .collect();
    }

    /// All counts, by rule.
    pub fn iter(&self) -> impl Iterator<Item = (&str, RuleCounts)> {
        self.counts.iter().map(|(name, counts)| (&**name, *counts))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;

    use super::functions::FUNCTIONS;
    use super::value::Kind;

    /// The fields and functions, as the manual lists them.
    fn reference() -> String {
        let mut text = String::new();
        for kind in Kind::ALL {
            let fields: Vec<String> =
                kind.fields().iter().map(|f| format!("`{}` {}", f.name, (f.of)())).collect();
            let _ = writeln!(text, "- **{}**: {}", kind.name(), fields.join(", "));
        }
        text.push_str("\nFunctions:\n\n");
        let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for function in FUNCTIONS {
            by_name.entry(function.name).or_default().push(format!("`{function}`"));
        }
        for (name, form) in [
            ("matches", "`string.matches(pattern)`, `matches(string, pattern)`"),
            ("find", "`string.find(pattern)`"),
            ("findAll", "`string.findAll(pattern)`, `string.findAll(pattern, limit)`"),
            (
                "getFullYear",
                "and `getMonth`, `getDate`, `getDayOfMonth`, `getDayOfWeek`, `getDayOfYear`, `getHours`, `getMinutes`, `getSeconds`, `getMilliseconds`, of a timestamp, each with a time zone or without (UTC): `now.getHours('Europe/Berlin')`; counted as in CEL: months, days of the month, week (from Sunday) and year from 0, `getDate` from 1",
            ),
        ] {
            by_name.entry(name).or_default().push(form.to_owned());
        }
        for (name, forms) in by_name {
            let _ = writeln!(text, "- **{name}**: {}", forms.join(", "));
        }
        text
    }

    #[test]
    fn the_manual_lists_every_field_and_function_there_is() {
        const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules.md");
        let manual = std::fs::read_to_string(PATH).unwrap();
        let (before, rest) = manual.split_once("<!-- generated -->\n").unwrap();
        let (listed, after) = rest.split_once("<!-- end -->").unwrap();
        let wanted = format!("\n{}\n", reference());
        if listed != wanted {
            if std::env::var_os("UPDATE_MANUAL").is_some() {
                let text = format!("{before}<!-- generated -->\n{wanted}<!-- end -->{after}");
                std::fs::write(PATH, text).unwrap();
            }
            panic!("docs/rules.md is behind: run this test with UPDATE_MANUAL=1");
        }
    }
}
