//! What one look shows about one subject. Serialized, it is the JSON contract of `diagnose -o json`.
//!
//! A finding holds no age and no other text that changes while nothing happens: the same objects give the same bytes,
//! whoever looks and whenever.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::cause::CauseCode;
use super::ownership::{Mute, Ownership};
use super::reason::{Family, Heals, Reason, Severity};

words! {
    /// How sure a finding is of its cause.
    pub enum Confidence {
        /// One reading among others.
        Possible = "possible",
        /// The likeliest reading.
        Probable = "probable",
        /// The API says so.
        Confirmed = "confirmed",
    }
}

words! {
    /// Where in its life a finding is.
    pub enum Stage {
        /// Within its grace: it may heal by itself. Severity info; no incident opens.
        Pending = "pending",
        /// It is so now.
        Active = "active",
        /// It was so of late, and the subject has recovered. Severity info; no incident opens.
        Recovered = "recovered",
    }
}

impl Stage {
    /// Its place in a list: what is so now, what may heal, what has healed.
    pub const fn place(self) -> u8 {
        match self {
            Self::Active => 0,
            Self::Pending => 1,
            Self::Recovered => 2,
        }
    }
}

words! {
    /// The kind of a container.
    pub enum ContainerType {
        /// A regular one.
        App = "app",
        /// One that must end before the app containers start.
        Init = "init",
        /// A restartable init container.
        Sidecar = "sidecar",
        /// A debug container.
        Ephemeral = "ephemeral",
    }
}

/// The top controller of a pod, or the pod itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WorkloadRef {
    /// Such as `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// From a bounded set.
    pub code: CauseCode,
    /// One sentence with the particulars.
    pub text: String,
}

words! {
    /// Where a fact is from.
    pub enum Source {
        /// The object's status.
        Status = "status",
        /// The object's spec.
        Spec = "spec",
        /// An event.
        Event = "event",
        /// A container's log.
        Log = "log",
        /// The node.
        Node = "node",
        /// An owner of the pod.
        Owner = "owner",
        /// A rule of the user's.
        Rule = "rule",
    }
}

/// One fact that supports a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Where it is from.
    pub source: Source,
    /// One line, cleaned of control characters; log lines are redacted.
    pub text: String,
    /// When, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What one look shows about one subject (a container, a pod, a workload or a node).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The name of the failure.
    #[serde(serialize_with = "reason_or_rule")]
    pub reason: ReasonName,
    /// How bad it is.
    pub severity: Severity,
    /// How sure the cause is.
    pub confidence: Confidence,
    /// Where in its life it is.
    pub stage: Stage,
    /// Empty for a node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Empty for a workload or a node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// Of the pod, workload or node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Empty for a finding that is not about one container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// With `container` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_type: Option<ContainerType>,
    /// None for a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadRef>,
    /// Where the pod runs; empty if it is not scheduled.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Since when, from the API's own times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// One plain sentence.
    pub summary: String,
    /// Why.
    pub cause: Cause,
    /// With `container` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_count: Option<i32>,
    /// Of the newest end, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The container's image, where the image is the matter. Groups problems.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// What the cause is about, for grouping into problems.
    #[serde(skip)]
    pub scope: Option<Scope>,
    /// The facts.
    pub evidence: Vec<Evidence>,
    /// Commands to run, and what to do, best first.
    pub next_steps: Vec<String>,
    /// A page that says more, when a rule names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook_url: Option<String>,
    /// Whose it is, by its owner labels, and what a rule sets.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    pub labels: Vec<(String, String)>,
    /// It does not alert for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted: Option<Mute>,
}

/// A reason of the built-in vocabulary, or one that a user's rule raises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonName {
    /// Built in.
    Known(Reason),
    /// Of a rule; bounded, since rules are.
    Rule(Box<str>),
}

impl ReasonName {
    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(reason) => reason.as_str(),
            Self::Rule(name) => name,
        }
    }

    /// The built-in reason, if it is one.
    pub fn known(&self) -> Option<Reason> {
        match self {
            Self::Known(reason) => Some(*reason),
            Self::Rule(_) => None,
        }
    }
}

impl From<Reason> for ReasonName {
    fn from(reason: Reason) -> Self {
        Self::Known(reason)
    }
}

fn as_map<S: Serializer>(labels: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().map(|(name, value)| (name, value)))
}

fn reason_or_rule<S: Serializer>(name: &ReasonName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

/// What a cause is about: findings that share cause code and scope are one problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Scope {
    /// `node`, `image`, `registry`, `configmap`, `secret`, `claim`, `webhook`, `quota`, `revision`, ...: from a bounded set.
    pub kind: &'static str,
    /// Its name, with the namespace where it has one.
    pub name: String,
}

/// Identifies a finding over time: pod uid, container and family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Of the pod, workload or node.
    pub uid: String,
    /// Empty for a finding that is not about one container.
    pub container: String,
    /// A rule's own finding has its reason here too, so that it stands beside the built-in ones.
    pub family: Option<Family>,
    /// The reason of a rule.
    pub rule: Option<Box<str>>,
}

impl Finding {
    /// Identifies it over time.
    pub fn key(&self) -> Key {
        let (family, rule) = match &self.reason {
            ReasonName::Known(reason) => (Some(reason.family()), None),
            ReasonName::Rule(name) => (None, Some(name.clone())),
        };
        Key { uid: self.uid.clone(), container: self.container.clone(), family, rule }
    }

    /// What is wrong in the fewest words, for a line beside who it is about and the reason: the first line without its
    /// subject, where it has more than that, else the cause. What a user's rule says stays whole.
    pub fn brief(&self) -> &str {
        if self.cause.code == CauseCode::UserRule {
            return &self.summary;
        }
        self.summary.split_once(": ").map_or(&self.cause.text, |(_, what)| what)
    }

    /// Whether the log of its container may say why: of the run that ended, or of one that runs and holds something up.
    pub fn wants_log(&self) -> bool {
        let of_run = || self.reason.known().is_some_and(Reason::wants_running_log);
        !self.pod.is_empty()
            && !self.container.is_empty()
            && (self.is_crash() || self.stage == Stage::Active && of_run())
    }

    /// Whether events about its node may say why: something had the container killed.
    pub fn wants_node_events(&self) -> bool {
        self.is_active() && self.is_crash() && self.exit_code == Some(137)
    }

    /// Whether other pods of the same revision may say more: how long one takes that a probe does not kill.
    pub fn wants_siblings(&self) -> bool {
        self.is_active() && matches!(self.cause.code, CauseCode::LivenessProbe | CauseCode::StartupProbe)
    }

    /// Whether it is about a container that ended.
    pub fn is_crash(&self) -> bool {
        self.reason.known().is_some_and(|r| r.family() == Family::Crash)
    }

    /// Whether it is about a pod that was ended or refused from outside, and is more than a remark.
    pub fn is_of_ended_pod(&self) -> bool {
        self.is_active()
            && self.severity > Severity::Info
            && self.reason.known().is_some_and(|r| r.family() == Family::End)
    }

    /// Whether no event in the cluster can end it any more: a person must change something.
    pub fn is_final(&self) -> bool {
        let of_cause = self.cause.code.heals().filter(|_| self.confidence > Confidence::Possible);
        let of_reason = || self.reason.known().map_or(Heals::Maybe, Reason::heals);
        match of_cause.unwrap_or_else(of_reason) {
            Heals::Never => self.stage != Stage::Recovered,
            Heals::Unlikely => self.is_active(),
            Heals::Maybe => false,
        }
    }

    /// Takes in what the people behind it say. A label that a rule has set stays.
    pub fn belongs_to(&mut self, ownership: &Ownership) {
        for (name, value) in &ownership.labels {
            if self.labels.iter().all(|(known, _)| known != name) {
                self.labels.push((name.clone(), value.clone()));
            }
        }
        self.muted.clone_from(&ownership.mute);
        for why in &ownership.refused {
            let text = format!("not muted: {why}");
            if self.evidence.iter().all(|e| e.text != text) {
                self.evidence.push(Evidence { source: Source::Owner, text, at: None });
            }
        }
    }

    /// Whether an incident is to be open for it.
    pub fn is_active(&self) -> bool {
        self.stage == Stage::Active
    }
}
