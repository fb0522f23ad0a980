//! Which pods are meant: names, KIND/NAME, namespaces, labels. Narrows what was read to them, alike for files and clusters. And
//! which of their logs are worth reading.
//!
//! Must not know where the objects came from.

use std::collections::{BTreeSet, HashMap};

use crate::cluster::evidence::LogOf;
use crate::diagnosis::changes::predecessor;
use crate::diagnosis::{Snapshot, Stage, Survey, cron_job_of};
use crate::objects::{ObjectMeta, Pod, Workload};

/// A kind whose pods can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Pod,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    Node,
    Rollout,
    Service,
    Ingress,
    Claim,
    Autoscaler,
    Namespace,
    /// A release of Helm.
    Helm,
    /// An application of Argo CD.
    Application,
}

/// Kinds with the names that kubectl knows them by; the first is the one that is shown.
const KINDS: &[(Kind, &str, &[&str])] = &[
    (Kind::Pod, "Pod", &["pod", "pods", "po"]),
    (
        Kind::Deployment,
        "Deployment",
        &["deployment", "deployments", "deploy", "deployments.apps", "deployment.apps"],
    ),
    (
        Kind::ReplicaSet,
        "ReplicaSet",
        &["replicaset", "replicasets", "rs", "replicasets.apps", "replicaset.apps"],
    ),
    (
        Kind::StatefulSet,
        "StatefulSet",
        &["statefulset", "statefulsets", "sts", "statefulsets.apps", "statefulset.apps"],
    ),
    (Kind::DaemonSet, "DaemonSet", &["daemonset", "daemonsets", "ds", "daemonsets.apps", "daemonset.apps"]),
    (Kind::Job, "Job", &["job", "jobs", "jobs.batch", "job.batch"]),
    (Kind::CronJob, "CronJob", &["cronjob", "cronjobs", "cj", "cronjobs.batch", "cronjob.batch"]),
    (Kind::Node, "Node", &["node", "nodes", "no"]),
    (Kind::Rollout, "Rollout", &["rollout", "rollouts", "rollout.argoproj.io", "rollouts.argoproj.io"]),
    (Kind::Service, "Service", &["service", "services", "svc"]),
    (Kind::Ingress, "Ingress", &["ingress", "ingresses", "ing"]),
    (Kind::Claim, "PersistentVolumeClaim", &["persistentvolumeclaim", "persistentvolumeclaims", "pvc"]),
    (
        Kind::Autoscaler,
        "HorizontalPodAutoscaler",
        &["horizontalpodautoscaler", "horizontalpodautoscalers", "hpa"],
    ),
    (Kind::Namespace, "Namespace", &["namespace", "namespaces", "ns"]),
    (Kind::Helm, "Helm", &["helm"]),
    (Kind::Application, "Application", &["application", "applications", "app"]),
];

impl Kind {
    /// The name as in `ownerReferences`.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// The names of all kinds, but for short ones: many words come near to those.
    pub fn long_names() -> impl Iterator<Item = &'static str> {
        KINDS.iter().flat_map(|(.., aliases)| *aliases).copied().filter(|alias| alias.len() > 4)
    }

    /// By any of its names.
    pub fn of(alias: &str) -> Option<Self> {
        let alias = alias.to_ascii_lowercase();
        KINDS.iter().find(|(.., aliases)| aliases.contains(&alias.as_str())).map(|(kind, ..)| *kind)
    }
}

/// One thing that the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is, if it says so.
    pub namespace: Option<String>,
    /// As in `ownerReferences`: one of [`KINDS`], or a kind that only the owners of pods know.
    pub kind: String,
    pub name: String,
    /// Of what selects pods by labels: one of these is what they have.
    pub members: Vec<Members>,
}

/// Pods by labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Those that have them.
    Pods(Selector),
    /// Those that have them, or one of whose owners has them.
    PodsOrOwners(Selector),
}

impl Target {
    /// Another object of the same namespace, with what its pods have.
    pub fn beside(&self, kind: &str, name: &str, members: Vec<Members>) -> Self {
        Self { namespace: self.namespace.clone(), kind: kind.to_owned(), name: name.to_owned(), members }
    }

    /// All pods and workloads with these labels.
    pub fn labelled(selector: Selector, namespace: Option<String>) -> Self {
        let name = selector.text.clone();
        Self { namespace, kind: "Labels".to_owned(), name, members: vec![Members::PodsOrOwners(selector)] }
    }

    /// What can be told without asking a cluster: a namespace, a release of Helm and an application of Argo CD stand for the pods in
    /// them. Says how.
    pub fn resolved(self) -> (Self, Option<String>) {
        let labels: &[&str] = match self.known_kind() {
            Some(Kind::Namespace) => {
                let all = vec![Members::Pods(Selector::default())];
                let how = format!("{self}: all pods in it");
                return (Self { namespace: Some(self.name.clone()), members: all, ..self }, Some(how));
            }
            Some(Kind::Helm) => &["app.kubernetes.io/instance", "release"],
            Some(Kind::Application) => &["argocd.argoproj.io/instance", "app.kubernetes.io/instance"],
            _ => return (self, None),
        };
        let selectors = labels.iter().filter_map(|label| format!("{label}={}", self.name).parse().ok());
        let how = format!("{self}: pods that have, or whose owners have, the label {}", labels.join(" or "));
        (Self { members: selectors.map(Members::PodsOrOwners).collect(), ..self }, Some(how))
    }

    /// Whether a workload is one of its members, even without pods.
    pub fn has_workload(&self, meta: &ObjectMeta) -> bool {
        self.namespace.as_ref().is_none_or(|own| *own == meta.namespace)
            && self.members.iter().any(|members| match members {
                Members::PodsOrOwners(selector) => selector.matches(meta),
                Members::Pods(selector) => selector.terms.is_empty(),
            })
    }

    /// Whether a pod is one of its members; `owners` are the metadata of its owners.
    fn has_member(&self, pod: &Pod, owners: &[&ObjectMeta]) -> bool {
        if self.namespace.as_ref().is_some_and(|own| *own != pod.metadata.namespace) {
            return false;
        }
        let claims = || pod.spec.volumes.iter().filter_map(|volume| volume.claim(&pod.metadata.name));
        self.members.iter().any(|members| match members {
            Members::Pods(selector) => selector.matches(&pod.metadata),
            Members::PodsOrOwners(selector) => {
                selector.matches(&pod.metadata) || owners.iter().any(|owner| selector.matches(owner))
            }
        }) || self.is(Kind::Claim) && claims().any(|claim| claim == self.name)
    }

    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind.name()
    }

    /// Its kind, if it is one of [`KINDS`].
    pub fn known_kind(&self) -> Option<Kind> {
        KINDS.iter().find(|(_, name, _)| *name == self.kind).map(|(kind, ..)| *kind)
    }

    fn names(&self, kind: &str, namespace: &str, name: &str) -> bool {
        self.kind == kind
            && self.name == name
            && (kind == "Node" || self.namespace.as_deref().is_none_or(|own| own == namespace))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }
}

impl std::str::FromStr for Target {
    type Err = String;

    /// `POD`, `KIND/NAME`, `NAMESPACE/POD`, `NAMESPACE/KIND/NAME`, each with what reports print behind a name: `[container]`,
    /// ` (3 pods)`, a comma.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!("'{text}' names no object: write POD, KIND/NAME, NAMESPACE/POD or NAMESPACE/KIND/NAME")
        };
        let bare = text.trim().trim_end_matches(',');
        let bare = bare.split_once(" (").map_or(bare, |(name, _)| name);
        let bare =
            bare.split_once('[').filter(|(_, rest)| rest.ends_with(']')).map_or(bare, |(name, _)| name);
        let parts: Vec<&str> = bare.split('/').collect();
        let kind_of = |word: &str| match Kind::of(word) {
            Some(kind) => Some(kind.name().to_owned()),
            // A namespace has neither capital letters nor dots.
            None => word.contains(|c: char| c.is_ascii_uppercase() || c == '.').then(|| word.to_owned()),
        };
        let (namespace, kind, name) = match parts.as_slice() {
            [name] => (None, Kind::Pod.name().to_owned(), *name),
            [first, name] => match kind_of(first) {
                Some(kind) => (None, kind, *name),
                None => (Some(*first), Kind::Pod.name().to_owned(), *name),
            },
            [namespace, kind, name] => (Some(*namespace), kind_of(kind).ok_or_else(bad)?, *name),
            _ => return Err(bad()),
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || !name.chars().all(valid) || !kind.chars().all(valid) {
            return Err(bad());
        }
        let namespace = namespace.map(valid_namespace).transpose().map_err(|_| bad())?;
        Ok(Self { namespace, kind, name: name.to_owned(), members: Vec::new() })
    }
}

/// A namespace's name.
pub fn valid_namespace(text: &str) -> Result<String, String> {
    let valid =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if valid {
        Ok(text.to_owned())
    } else {
        Err("a namespace can contain only lowercase letters, digits and dashes".to_owned())
    }
}

/// What the words of a command line ask for. As with kubectl, a kind alone goes with all names that follow: `deployment cart shop`.
pub fn targets(words: &[String]) -> Result<Vec<Target>, String> {
    match words {
        [kind, names @ ..]
            if !names.is_empty() && Kind::of(kind).is_some() && names.iter().all(|n| !n.contains('/')) =>
        {
            names.iter().map(|name| format!("{kind}/{name}").parse()).collect()
        }
        _ => words.iter().flat_map(|word| listed(word)).map(str::parse).collect(),
    }
}

/// The names in a word, which may be a whole cell of a report: `namespace/a, namespace/b and 2 more (9 pods)`.
fn listed(word: &str) -> Vec<&str> {
    let names = word.split_once(" (").map_or(word, |(names, _)| names);
    let names = names.split_once(" and ").map_or(names, |(names, _)| names);
    if names.contains(", ") { names.split(", ").collect() } else { vec![word] }
}

/// The names that come near to one that nothing has: the best three.
pub fn near<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup();
    near.truncate(3);
    near.into_iter().map(|(_, name)| name).collect()
}

/// The same, whatever letters are capital.
pub fn near_in_any_case<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let names: Vec<(String, &str)> =
        names.into_iter().map(|name| (name.to_ascii_lowercase(), name)).collect();
    let found = near(&wanted.to_ascii_lowercase(), names.iter().map(|(lower, _)| lower.as_str()));
    found.iter().filter_map(|near| names.iter().find(|(lower, _)| lower == near)).map(|(_, n)| *n).collect()
}

/// The targets that may be meant by one that nothing has: those of its own kind whose names come near (of any kind for a word that
/// names none), else the workload of that name. `known` are [`names`].
pub fn near_target<'a>(wanted: &Target, known: &'a BTreeSet<String>) -> Vec<&'a str> {
    let all = || known.iter().filter_map(|target| Some((target.as_str(), target.split_once('/')?)));
    let kind = wanted.kind.to_ascii_lowercase();
    let own = || all().filter(|(_, (of, _))| wanted.is(Kind::Pod) || *of == kind);
    let near = near(&wanted.name, own().map(|(_, (_, name))| name));
    if near.is_empty() {
        let same = all().filter(|(_, (of, name))| *of != "pod" && *name == wanted.name);
        return same.map(|(target, _)| target).take(1).collect();
    }
    near.into_iter()
        .filter_map(|near| own().find(|(_, (_, name))| *name == near))
        .map(|(target, _)| target)
        .collect()
}

/// A question with the names that [`near`] has found; empty without any.
pub fn did_you_mean(names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { format!("did you mean {}?", names.join(" or ")) }
}

/// The kinds that a bare word may name, if no pod has that name.
const WORKLOADS: [Kind; 6] =
    [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::CronJob, Kind::Job, Kind::Rollout];

/// What a target means: itself; of a word that no pod is named, the workload of that name, else the pods whose names begin so.
pub fn meant(
    target: &Target,
    snapshot: &Snapshot,
    namespace: Option<&str>,
    known: &BTreeSet<String>,
    notes: &mut Vec<String>,
) -> Vec<Target> {
    let place = target.namespace.as_deref().or(namespace);
    let metas = snapshot.pods.iter().map(|pod| &pod.metadata);
    let names: Vec<&str> =
        metas.filter(|m| place.is_none_or(|n| n == m.namespace)).map(|m| m.name.as_str()).collect();
    if !target.is(Kind::Pod) || names.contains(&target.name.as_str()) {
        return vec![target.clone()];
    }
    let workloads = WORKLOADS.map(|kind| target.beside(kind.name(), &target.name, Vec::new()));
    if let Some(workload) = workloads.into_iter().find(|workload| known.contains(&workload.to_string())) {
        notes.push(format!("no pod is named {}; showing {workload}", target.name));
        return vec![workload];
    }
    let begins = |name: &&&str| name.starts_with(&target.name);
    let whole = |name: &&&str| name.strip_prefix(&target.name).is_some_and(|rest| rest.starts_with('-'));
    let mut near: BTreeSet<&str> = names.iter().filter(whole).copied().collect();
    if near.is_empty() {
        near = names.iter().filter(begins).copied().collect();
    }
    match near.first() {
        None => return vec![target.clone()],
        Some(one) if near.len() == 1 => notes.push(format!("no pod is named {}; showing {one}", target.name)),
        Some(_) => {
            notes.push(format!(
                "no pod is named {}; showing the {} that start with it",
                target.name,
                near.len()
            ));
        }
    }
    near.into_iter().map(|name| target.beside(Kind::Pod.name(), name, Vec::new())).collect()
}

/// A label selector as kubectl takes it: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// As the API server takes it.
    pub text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

impl Selector {
    pub fn matches(&self, meta: &ObjectMeta) -> bool {
        self.terms.iter().all(|term| match term {
            Term::In(key, values) => meta.label(key).is_some_and(|v| values.iter().any(|x| x == v)),
            Term::NotIn(key, values) => meta.label(key).is_none_or(|v| values.iter().all(|x| x != v)),
            Term::Exists(key) => meta.label(key).is_some(),
            Term::Missing(key) => meta.label(key).is_none(),
        })
    }
}

impl std::str::FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            let key = |key: &str| -> Result<String, String> {
                let key = key.trim();
                let valid =
                    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
                if valid {
                    Ok(key.to_owned())
                } else {
                    Err(format!("'{part}' is not a label selector, such as app=cart"))
                }
            };
            let one = |value: &str| vec![value.trim().to_owned()];
            let term = if let Some(name) = part.strip_prefix('!') {
                Term::Missing(key(name)?)
            } else if let Some((name, value)) = part.split_once("!=") {
                Term::NotIn(key(name)?, one(value))
            } else if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                Term::In(key(name)?, one(value))
            } else if let Some(list) = part.strip_suffix(')') {
                let (head, values) =
                    list.split_once('(').ok_or_else(|| format!("'{part}': a '(' is missing"))?;
                let values = values.split(',').map(|v| v.trim().to_owned()).collect();
                match head.trim().rsplit_once(char::is_whitespace) {
                    Some((name, "in")) => Term::In(key(name)?, values),
                    Some((name, "notin")) => Term::NotIn(key(name)?, values),
                    _ => return Err(format!("'{part}': expected 'in' or 'notin'")),
                }
            } else {
                Term::Exists(key(part)?)
            };
            terms.push(term);
        }
        Ok(Self { text: text.trim().to_owned(), terms })
    }
}

impl Selector {
    /// For a selector that selects nothing: labels of these objects that come near to the ones it wants.
    pub fn guess(&self, objects: &[&ObjectMeta]) -> Option<String> {
        self.terms.iter().find_map(|term| {
            let Term::In(key, values) = term else { return None };
            let known: BTreeSet<&str> = objects.iter().filter_map(|meta| meta.label(key)).collect();
            let wanted = values.iter().find(|value| !known.contains(value.as_str()))?;
            near(wanted, known).first().map(|value| format!("{key}={value}"))
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Nothing: all of them.
    pub targets: Vec<Target>,
    /// None: all of them.
    pub namespace: Option<String>,
    pub selector: Option<Selector>,
}

impl Selection {
    fn in_namespace(&self, meta: &ObjectMeta) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| *wanted == meta.namespace)
    }

    /// Narrows the snapshot to what is asked for and what surrounds it. Gives the targets that match nothing.
    pub fn narrow(&self, snapshot: &mut Snapshot) -> Vec<Target> {
        let everything = self.targets.is_empty() && self.selector.is_none();
        if everything && self.namespace.is_none() {
            return Vec::new();
        }
        // Two namespaces may have workloads of one name. Nodes have no namespace.
        let place = |kind: &str, namespace: &str| match kind {
            "Node" => String::new(),
            _ => namespace.to_owned(),
        };
        let mut missing: BTreeSet<usize> = (0..self.targets.len()).collect();
        let mut kept = Vec::with_capacity(snapshot.pods.len());
        let mut named = BTreeSet::new();
        let controllers = controllers(snapshot);
        let by_name = match self.targets.iter().any(|t| !t.members.is_empty()) {
            true => owners_by_name(snapshot),
            false => HashMap::new(),
        };
        for pod in &snapshot.pods {
            if !self.in_namespace(&pod.metadata)
                || self.selector.as_ref().is_some_and(|selector| !selector.matches(&pod.metadata))
            {
                kept.push(false);
                continue;
            }
            let chain = owners(pod, &controllers);
            let mut wanted = self.targets.is_empty();
            for (index, target) in self.targets.iter().enumerate() {
                let namespace = &pod.metadata.namespace;
                let is_member = target.has_member(pod, &metas_of(&chain, namespace, &by_name));
                if is_member || chain.iter().any(|(kind, name)| target.names(kind, namespace, name)) {
                    wanted = true;
                    missing.remove(&index);
                }
            }
            if wanted {
                let namespace = &pod.metadata.namespace;
                named.extend(
                    chain
                        .iter()
                        .map(|&(kind, name)| (kind.to_owned(), place(kind, namespace), name.to_owned())),
                );
            }
            kept.push(wanted);
        }

        let mut keep = |kind: Kind, meta: &ObjectMeta| -> bool {
            if kind != Kind::Node && !self.in_namespace(meta) {
                return false;
            }
            for (index, target) in self.targets.iter().enumerate() {
                if target.names(kind.name(), &meta.namespace, &meta.name) || target.has_workload(meta) {
                    missing.remove(&index);
                    return true;
                }
            }
            (everything && (kind != Kind::Node || self.namespace.is_none()))
                || named.contains(&(
                    kind.name().to_owned(),
                    place(kind.name(), &meta.namespace),
                    meta.name.clone(),
                ))
                // The older revisions of what a pod is of.
                || kind == Kind::ReplicaSet
                    && meta.controller().is_some_and(|owner| {
                        named.contains(&(owner.kind.clone(), meta.namespace.clone(), owner.name.clone()))
                    })
                || meta.controller().is_some_and(|owner| {
                    self.targets.iter().any(|t| t.names(&owner.kind, &meta.namespace, &owner.name))
                })
        };
        snapshot.replica_sets.retain(|w| keep(Kind::ReplicaSet, &w.metadata));
        snapshot.deployments.retain(|w| keep(Kind::Deployment, &w.metadata));
        snapshot.stateful_sets.retain(|w| keep(Kind::StatefulSet, &w.metadata));
        snapshot.daemon_sets.retain(|w| keep(Kind::DaemonSet, &w.metadata));
        snapshot.jobs.retain(|w| keep(Kind::Job, &w.metadata));
        snapshot.cron_jobs.retain(|w| keep(Kind::CronJob, &w.metadata));
        snapshot.nodes.retain(|n| keep(Kind::Node, &n.metadata));
        let mut kept = kept.into_iter();
        snapshot.pods.retain(|_| kept.next().unwrap_or(false));
        missing.into_iter().filter_map(|index| self.targets.get(index).cloned()).collect()
    }
}

/// Leaves the events about the objects that are left, and about the owners, nodes and claims of the pods among them.
pub fn narrow_events(snapshot: &mut Snapshot) {
    let controllers = controllers(snapshot);
    let mut named: BTreeSet<[String; 3]> = BTreeSet::new();
    let mut add = |kind: &str, namespace: &str, name: &str| {
        // A node has no namespace; an event about it has one.
        let namespace = if kind == "Node" { "" } else { namespace };
        named.insert([kind, namespace, name].map(str::to_owned));
    };
    for pod in &snapshot.pods {
        let namespace = pod.metadata.namespace.as_str();
        owners(pod, &controllers).iter().for_each(|(kind, name)| add(kind, namespace, name));
        let claims = pod.spec.volumes.iter().filter_map(|volume| volume.claim(&pod.metadata.name));
        claims.for_each(|claim| add(Kind::Claim.name(), namespace, &claim));
    }
    owners_by_name(snapshot).keys().for_each(|(kind, namespace, name)| add(kind, namespace, name));
    snapshot.nodes.iter().for_each(|node| add("Node", "", &node.metadata.name));
    snapshot.events.retain(|event| {
        let about = event.unpack().involved_object;
        let namespace = if about.kind == "Node" { String::new() } else { about.namespace };
        named.contains(&[about.kind, namespace, about.name])
    });
}

/// All that can be asked for by kind and name, as a target is written; of one namespace, or of all.
pub fn names(snapshot: &Snapshot, namespace: Option<&str>) -> BTreeSet<String> {
    let controllers = controllers(snapshot);
    let is_here = |meta: &ObjectMeta| namespace.is_none_or(|wanted| wanted == meta.namespace);
    let mut names = BTreeSet::new();
    let mut add = |kind: &str, name: &str| {
        names.insert(format!("{}/{name}", kind.to_ascii_lowercase()));
    };
    for pod in snapshot.pods.iter().filter(|pod| is_here(&pod.metadata)) {
        owners(pod, &controllers).iter().for_each(|(kind, name)| add(kind, name));
    }
    let deployments = snapshot.deployments.iter().map(|w| ("Deployment", &w.metadata));
    let stateful_sets = snapshot.stateful_sets.iter().map(|w| ("StatefulSet", &w.metadata));
    let daemon_sets = snapshot.daemon_sets.iter().map(|w| ("DaemonSet", &w.metadata));
    let cron_jobs = snapshot.cron_jobs.iter().map(|w| ("CronJob", &w.metadata));
    let workloads = deployments.chain(stateful_sets).chain(daemon_sets).chain(cron_jobs);
    workloads.filter(|(_, meta)| is_here(meta)).for_each(|(kind, meta)| add(kind, &meta.name));
    snapshot.nodes.iter().for_each(|n| add("Node", &n.metadata.name));
    names
}

/// Those that may have a controller themselves, by uid.
pub fn controllers(snapshot: &Snapshot) -> HashMap<&str, &ObjectMeta> {
    let replica_sets = snapshot.replica_sets.iter().map(|w| &w.metadata);
    let jobs = snapshot.jobs.iter().map(|w| &w.metadata);
    replica_sets.chain(jobs).filter(|m| !m.uid.is_empty()).map(|m| (m.uid.as_str(), m)).collect()
}

type ByName<'s> = HashMap<(&'s str, &'s str, &'s str), &'s ObjectMeta>;

/// All owners by kind, namespace and name.
fn owners_by_name(snapshot: &Snapshot) -> ByName<'_> {
    let workloads = [
        ("ReplicaSet", &snapshot.replica_sets),
        ("Deployment", &snapshot.deployments),
        ("StatefulSet", &snapshot.stateful_sets),
        ("DaemonSet", &snapshot.daemon_sets),
    ];
    let workloads =
        workloads.into_iter().flat_map(|(kind, list)| list.iter().map(move |w| (kind, &w.metadata)));
    let jobs = snapshot.jobs.iter().map(|job| ("Job", &job.metadata));
    let cron_jobs = snapshot.cron_jobs.iter().map(|job| ("CronJob", &job.metadata));
    let all = workloads.chain(jobs).chain(cron_jobs);
    all.map(|(kind, meta)| ((kind, meta.namespace.as_str(), meta.name.as_str()), meta)).collect()
}

/// The metadata of a pod's owners, as far as they are known.
fn metas_of<'s>(
    chain: &[(&'s str, &'s str)],
    namespace: &'s str,
    by_name: &ByName<'s>,
) -> Vec<&'s ObjectMeta> {
    chain.iter().filter_map(|(kind, name)| by_name.get(&(*kind, namespace, *name)).copied()).collect()
}

/// The pod itself, its node, and its controllers upwards, as (kind, name).
pub fn owners<'a>(pod: &'a Pod, controllers: &HashMap<&str, &'a ObjectMeta>) -> Vec<(&'a str, &'a str)> {
    let mut chain = vec![("Pod", pod.metadata.name.as_str())];
    if !pod.spec.node_name.is_empty() {
        chain.push(("Node", &pod.spec.node_name));
    }
    let Some(owner) = pod.metadata.controller() else { return chain };
    chain.push((&owner.kind, &owner.name));
    let above = controllers.get(owner.uid.as_str()).copied();
    match above.and_then(ObjectMeta::controller) {
        Some(top) => chain.push((&top.kind, &top.name)),
        // Without the ReplicaSet: a Deployment's is named after it and the hash of the template.
        None if above.is_none() && owner.kind == "ReplicaSet" => {
            let hash = pod.metadata.label("pod-template-hash").unwrap_or_default();
            let name = owner.name.strip_suffix(hash).and_then(|n| n.strip_suffix('-'));
            chain.extend(name.filter(|_| !hash.is_empty()).map(|name| ("Deployment", name)));
        }
        // Likewise of a CronJob, whose Jobs end in the minute that they were made for.
        None if above.is_none() && owner.kind == "Job" => {
            let name = cron_job_of(&owner.name, pod.metadata.creation_timestamp);
            chain.extend(name.map(|name| ("CronJob", name)));
        }
        None => {}
    }
    chain
}

/// Logs that are read at most: they are one request each.
const MOST_LOGS: usize = 300;
/// Of pods of one controller that fail alike, so many: the others' logs say the same.
const LOGS_ALIKE: usize = 10;

/// The logs of containers that crashed: of the present run and of the one before. Which of them holds the end depends on
/// the state, and either may be gone. Of those that run and hold something up, the log of that run.
pub fn logs_that_matter(survey: &Survey, snapshot: &Snapshot) -> Vec<LogOf> {
    let pods: HashMap<(&str, &str), &Pod> = snapshot
        .pods
        .iter()
        .map(|p| ((p.metadata.namespace.as_str(), p.metadata.name.as_str()), p))
        .collect();
    let mut alike: HashMap<_, usize> = HashMap::new();
    let mut wanted = Vec::new();
    for finding in &survey.findings {
        if !finding.wants_log() {
            continue;
        }
        let Some(pod) = pods.get(&(finding.namespace.as_str(), finding.pod.as_str())) else { continue };
        let controller =
            pod.metadata.controller().map_or(pod.metadata.uid.as_str(), |owner| owner.uid.as_str());
        let seen = alike.entry((controller, &finding.container, finding.reason.as_str())).or_default();
        *seen += 1;
        if *seen > LOGS_ALIKE {
            continue;
        }
        let log = |previous| LogOf {
            namespace: finding.namespace.clone(),
            pod: finding.pod.clone(),
            container: finding.container.clone(),
            previous,
        };
        if finding.is_crash() {
            wanted.push(log(true));
        }
        wanted.push(log(false));
    }
    wanted.truncate(MOST_LOGS);
    wanted
}

/// ReplicaSets, by namespace and name, and namespaces.
pub type RevisionsThatMatter = (BTreeSet<(String, String)>, BTreeSet<String>);

/// Revisions whose templates are read at most.
const MOST_REVISIONS: usize = 40;

/// The revisions of failing pods, and those before them: the ReplicaSets by name, and the namespaces of which the
/// ControllerRevisions are wanted.
pub fn revisions_that_matter(survey: &Survey, snapshot: &Snapshot) -> RevisionsThatMatter {
    let failing: BTreeSet<&str> =
        survey.findings.iter().filter(|f| f.stage != Stage::Recovered).map(|f| f.uid.as_str()).collect();
    let (mut sets, mut namespaces) = (BTreeSet::new(), BTreeSet::new());
    for pod in snapshot.pods.iter().filter(|pod| failing.contains(pod.metadata.uid.as_str())) {
        let Some(owner) = pod.metadata.controller() else { continue };
        let namespace = &pod.metadata.namespace;
        match owner.kind.as_str() {
            "ReplicaSet" if sets.len() < MOST_REVISIONS => {
                let of = |set: &&Workload| set.metadata.uid == owner.uid;
                let Some(own) = snapshot.replica_sets.iter().find(of) else { continue };
                if let Some(old) = predecessor(own, snapshot.replica_sets.iter()) {
                    sets.extend([own, old].map(|set| (namespace.clone(), set.metadata.name.clone())));
                }
            }
            "StatefulSet" | "DaemonSet" => drop(namespaces.insert(namespace.clone())),
            _ => {}
        }
    }
    (sets, namespaces)
}

/// The newest revision of each workload, and the one before it.
pub fn newest_revisions(snapshot: &Snapshot) -> RevisionsThatMatter {
    let mut newest: HashMap<&str, &Workload> = HashMap::new();
    for set in &snapshot.replica_sets {
        let Some(owner) = set.metadata.controller() else { continue };
        let known = newest.entry(&owner.uid).or_insert(set);
        if known.revision() < set.revision() {
            *known = set;
        }
    }
    let name = |set: &Workload| (set.metadata.namespace.clone(), set.metadata.name.clone());
    let mut sets = BTreeSet::new();
    for own in newest.into_values().take(MOST_REVISIONS) {
        sets.extend(
            [Some(own), predecessor(own, snapshot.replica_sets.iter())].into_iter().flatten().map(name),
        );
    }
    let workloads = snapshot.stateful_sets.iter().chain(&snapshot.daemon_sets);
    (sets, workloads.map(|workload| workload.metadata.namespace.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_pod_or_kind_and_name_with_the_names_of_kubectl() {
        let parse = |text: &str| text.parse::<Target>().map(|t| t.to_string());
        assert_eq!(parse("cart-1").as_deref(), Ok("pod/cart-1"));
        assert_eq!(parse("deploy/cart").as_deref(), Ok("deployment/cart"));
        assert_eq!(parse("STS/broker").as_deref(), Ok("statefulset/broker"));
        assert_eq!(parse("cronjobs.batch/sync").as_deref(), Ok("cronjob/sync"));
        assert_eq!(parse("Rollout/web").as_deref(), Ok("rollout/web"));
        assert_eq!(parse("CloneSet/web").as_deref(), Ok("cloneset/web"));
        let placed =
            |text: &str| text.parse::<Target>().map(|t| (t.namespace.unwrap_or_default(), t.kind, t.name));
        let own = |namespace: &str, kind: &str, name: &str| {
            Ok((namespace.to_owned(), kind.to_owned(), name.to_owned()))
        };
        assert_eq!(placed("shop/cart-1"), own("shop", "Pod", "cart-1"));
        assert_eq!(placed("shop/cart-1[cart],"), own("shop", "Pod", "cart-1"));
        assert_eq!(placed("shop/Deployment/cart[cart] (2 pods)"), own("shop", "Deployment", "cart"));
        for bad in ["", "pod/", "pod/a/b", "shop/nosuch/cart", "a/b/c/d", "Shop cart"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn selectors_select_as_kubectl_does() {
        let labels = |text: &str| ObjectMeta {
            labels: text
                .split(',')
                .filter_map(|l| l.split_once('='))
                .map(|(k, v)| crate::objects::Label { key: k.to_owned(), value: v.to_owned() })
                .collect(),
            ..ObjectMeta::default()
        };
        let cart = labels("app=cart,tier=web");
        for (selector, selected) in [
            ("app=cart", true),
            ("app==cart,tier=web", true),
            ("app!=cart", false),
            ("app in (cart, shop),tier notin (db)", true),
            ("team!=red", true),
            ("tier", true),
            ("!tier", false),
            ("!team", true),
            ("team", false),
        ] {
            assert_eq!(selector.parse::<Selector>().map(|s| s.matches(&cart)), Ok(selected), "{selector}");
        }
        for bad in ["", "a=b,", "a in b", "in (a)", "a b", "x of (a)"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
