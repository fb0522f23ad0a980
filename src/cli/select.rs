//! Which pods are meant: names, KIND/NAME, namespaces, labels. Narrows what was read to them, alike for files and clusters.
//!
//! Must not know where the objects came from, nor what is wrong with them.

use std::collections::{BTreeSet, HashMap};

use crate::diagnosis::Snapshot;
use crate::objects::{ObjectMeta, Pod};

/// A kind whose pods can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
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
];

impl Kind {
    /// The name as in `ownerReferences`.
    pub(super) fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// By any of its names.
    pub(super) fn of(alias: &str) -> Option<Self> {
        let alias = alias.to_ascii_lowercase();
        KINDS.iter().find(|(.., aliases)| aliases.contains(&alias.as_str())).map(|(kind, ..)| *kind)
    }
}

/// One thing that the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Where it is, if it says so.
    pub(super) namespace: Option<String>,
    /// As in `ownerReferences`: one of [`KINDS`], or a kind that only the owners of pods know.
    pub(super) kind: String,
    pub(super) name: String,
    /// Of a Service: what its pods have.
    pub(super) selector: Option<Selector>,
}

impl Target {
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind == kind.name()
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
            // A namespace has no capital letters.
            None => word.starts_with(|c: char| c.is_ascii_uppercase()).then(|| word.to_owned()),
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
        let namespace = namespace.map(super::namespace).transpose().map_err(|_| bad())?;
        Ok(Self { namespace, kind, name: name.to_owned(), selector: None })
    }
}

/// What the words of a command line ask for. As with kubectl, a kind alone goes with all names that follow: `deployment cart shop`.
pub(super) fn targets(words: &[String]) -> Result<Vec<Target>, String> {
    match words {
        [kind, names @ ..]
            if !names.is_empty() && Kind::of(kind).is_some() && names.iter().all(|n| !n.contains('/')) =>
        {
            names.iter().map(|name| format!("{kind}/{name}").parse()).collect()
        }
        _ => words.iter().map(|word| word.parse()).collect(),
    }
}

/// The names that come near to one that nothing has: the best three.
pub(super) fn near<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
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

/// A label selector as kubectl takes it: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector {
    /// As the API server takes it.
    pub(super) text: String,
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
    pub(super) fn matches(&self, meta: &ObjectMeta) -> bool {
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
                    _ => return Err(format!("'{part}': neither 'in' nor 'notin'")),
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
    pub(super) fn guess(&self, objects: &[&ObjectMeta]) -> Option<String> {
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
pub(super) struct Selection {
    /// Nothing: all of them.
    pub(super) targets: Vec<Target>,
    /// None: all of them.
    pub(super) namespace: Option<String>,
    pub(super) selector: Option<Selector>,
}

impl Selection {
    fn in_namespace(&self, meta: &ObjectMeta) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| *wanted == meta.namespace)
    }

    /// Narrows the snapshot to what is asked for and what surrounds it. Gives the targets that match nothing.
    pub(super) fn narrow(&self, snapshot: &mut Snapshot) -> Vec<Target> {
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
                let of_service = target.selector.as_ref().is_some_and(|selector| {
                    selector.matches(&pod.metadata)
                        && target.namespace.as_ref().is_none_or(|own| own == namespace)
                });
                if of_service || chain.iter().any(|(kind, name)| target.names(kind, namespace, name)) {
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
                if target.names(kind.name(), &meta.namespace, &meta.name) {
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

/// All that can be asked for by kind and name, as a target is written.
pub(super) fn names(snapshot: &Snapshot) -> BTreeSet<String> {
    let controllers = controllers(snapshot);
    let mut names = BTreeSet::new();
    let mut add = |kind: &str, name: &str| {
        names.insert(format!("{}/{name}", kind.to_ascii_lowercase()));
    };
    for pod in &snapshot.pods {
        owners(pod, &controllers).iter().for_each(|(kind, name)| add(kind, name));
    }
    snapshot.deployments.iter().for_each(|w| add("Deployment", &w.metadata.name));
    snapshot.stateful_sets.iter().for_each(|w| add("StatefulSet", &w.metadata.name));
    snapshot.daemon_sets.iter().for_each(|w| add("DaemonSet", &w.metadata.name));
    snapshot.cron_jobs.iter().for_each(|w| add("CronJob", &w.metadata.name));
    snapshot.nodes.iter().for_each(|n| add("Node", &n.metadata.name));
    names
}

/// Those that may have a controller themselves, by uid.
fn controllers(snapshot: &Snapshot) -> HashMap<&str, &ObjectMeta> {
    let replica_sets = snapshot.replica_sets.iter().map(|w| &w.metadata);
    let jobs = snapshot.jobs.iter().map(|w| &w.metadata);
    replica_sets.chain(jobs).filter(|m| !m.uid.is_empty()).map(|m| (m.uid.as_str(), m)).collect()
}

/// The pod itself, its node, and its controllers upwards, as (kind, name).
fn owners<'a>(pod: &'a Pod, controllers: &HashMap<&str, &'a ObjectMeta>) -> Vec<(&'a str, &'a str)> {
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
        None => {}
    }
    chain
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
