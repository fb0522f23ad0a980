//! What changed: how the template of a failing revision differs from that of the last one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::finding::{Evidence, Finding, Source, Stage};
use super::text;
use crate::objects::revision::{Revision, Setting};
use crate::objects::{ObjectMeta, Pod, Workload};

/// Changes that are named.
const NAMED: usize = 8;
/// A failure that began so long after its revision was made did not come with it.
const NEWS: SignedDuration = SignedDuration::from_hours(24);

/// What the text of a change begins with.
const SINCE: &str = "since revision ";

/// What a revision changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Such as `since revision 12: memory limit 512Mi -> 64Mi`.
    text: String,
    /// When the revision was made.
    made: Option<Timestamp>,
}

impl Change {
    /// What the revision of a pod changed, if it is among these with one before it.
    pub fn of<'r>(pod: &Pod, revisions: impl Iterator<Item = &'r Revision> + Clone) -> Option<Self> {
        let new = revisions.clone().find(|revision| is_of(pod, &revision.metadata))?;
        let old = last_that_worked(new, revisions)?;
        let changes = changes(&old.settings, &new.settings);
        if changes.is_empty() {
            return None;
        }
        let more = changes.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named: Vec<String> = changes.into_iter().take(NAMED).collect();
        let text = format!("{SINCE}{}: {}{more}", old.number(), named.join(", "));
        Some(Self { text, made: new.metadata.creation_timestamp.get() })
    }

    /// Whether a fact of a finding is a change.
    pub fn is(evidence: &Evidence) -> bool {
        evidence.source == Source::Owner && evidence.text.starts_with(SINCE)
    }

    /// Adds it to a finding that may have come with it.
    pub fn add_to(&self, finding: &mut Finding) {
        let is_new =
            self.made.zip(finding.since).is_none_or(|(made, since)| since.duration_since(made) < NEWS);
        if is_new && finding.stage != Stage::Recovered {
            finding.add(Source::Owner, self.text.clone(), self.made);
        }
    }
}

/// The newest revision of a workload, and how it differs from the one before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest<'r> {
    /// The newest one.
    pub revision: &'r Revision,
    /// The number of the one it is compared with, if there is one.
    pub since: Option<i64>,
    /// What differs, in words, the most telling first.
    pub changes: Vec<String>,
}

impl<'r> Latest<'r> {
    /// Of each workload with revisions among these.
    pub fn of_each(revisions: &'r [Revision]) -> Vec<Self> {
        let mut newest: BTreeMap<&str, &Revision> = BTreeMap::new();
        for revision in revisions {
            let Some(owner) = revision.metadata.controller() else { continue };
            let known = newest.entry(&owner.uid).or_insert(revision);
            if known.number() < revision.number() {
                *known = revision;
            }
        }
        let latest =
            newest.into_values().map(|revision| match last_that_worked(revision, revisions.iter()) {
                Some(old) => {
                    let changes = changes(&old.settings, &revision.settings);
                    Self { revision, since: Some(old.number()), changes }
                }
                None => Self { revision, since: None, changes: Vec::new() },
            });
        latest.collect()
    }
}

/// The revision of the same workload that was in force before this one: rather one that still serves, which has worked for certain.
fn last_that_worked<'r>(
    new: &Revision,
    revisions: impl Iterator<Item = &'r Revision>,
) -> Option<&'r Revision> {
    let owner = new.metadata.controller().map(|owner| &owner.uid);
    let of_owner =
        |old: &&Revision| old.metadata.controller().map(|o| &o.uid) == owner && old.number() < new.number();
    let older = revisions.filter(of_owner);
    older.max_by_key(|old| (old.status.ready_replicas > 0, old.number()))
}

/// Of the ReplicaSets of one Deployment, the revision that was in force before this one: rather one that still serves, which has
/// worked for certain.
pub fn predecessor<'s>(own: &Workload, sets: impl Iterator<Item = &'s Workload>) -> Option<&'s Workload> {
    let owner = own.metadata.controller()?;
    let of_owner = |set: &&Workload| set.metadata.controller().is_some_and(|of| of.uid == owner.uid);
    let older = sets.filter(of_owner).filter(|set| set.revision() < own.revision());
    older.max_by_key(|set| (set.ready() > 0, set.revision()))
}

/// Whether a pod is of this revision: its ReplicaSet, or the ControllerRevision that its label names.
fn is_of(pod: &Pod, revision: &ObjectMeta) -> bool {
    let Some(owner) = pod.metadata.controller() else { return false };
    let hash = pod.metadata.label("controller-revision-hash");
    pod.metadata.namespace == revision.namespace
        && (owner.uid == revision.uid
            || hash.is_some_and(|hash| {
                revision.name == hash || revision.name == format!("{}-{hash}", owner.name)
            }))
}

/// What differs, in words, the most telling first.
fn changes(old: &[Setting], new: &[Setting]) -> Vec<String> {
    type Key<'s> = (&'s str, &'s str);
    fn by_name(settings: &[Setting]) -> BTreeMap<Key<'_>, &Setting> {
        settings.iter().map(|s| ((s.container.as_str(), s.name.as_str()), s)).collect()
    }
    let (old, new) = (by_name(old), by_name(new));
    let containers = |settings: &BTreeMap<Key<'_>, &Setting>| -> usize {
        let mut names: Vec<&str> =
            settings.keys().map(|(container, _)| *container).filter(|c| !c.is_empty()).collect();
        names.dedup();
        names.len()
    };
    let several = containers(&old).max(containers(&new)) > 1;
    let keys: BTreeSet<&Key<'_>> = old.keys().chain(new.keys()).collect();
    let mut changes: Vec<(u8, String)> = keys
        .into_iter()
        .filter_map(|key| {
            let what = change(old.get(key).copied(), new.get(key).copied())?;
            let of = if several && !key.0.is_empty() {
                format!("container {}: ", text::name(key.0))
            } else {
                String::new()
            };
            let rank = match key.1 {
                "image" => 0,
                name if name.ends_with(" limit") || name.ends_with(" request") => 1,
                name if name.starts_with("annotation ") => 3,
                _ => 2,
            };
            Some((rank, format!("{of}{}{what}", text::name(key.1))))
        })
        .collect();
    changes.sort();
    changes.into_iter().map(|(_, change)| change).collect()
}

/// How one setting differs; none if it does not.
fn change(old: Option<&Setting>, new: Option<&Setting>) -> Option<String> {
    match (old, new) {
        (Some(old), Some(new)) if old.value == new.value => None,
        (Some(old), Some(new)) if !old.hidden && !new.hidden => {
            let (old, new) = without_repository(&old.value, &new.value);
            Some(format!(" {} -> {}", text::head(&text::name(old), 80), text::head(&text::name(new), 80)))
        }
        (Some(_), Some(_)) => Some(" changed".to_owned()),
        (None, Some(new)) if !new.hidden => {
            Some(format!(" {} added", text::head(&text::name(&new.value), 80)))
        }
        (None, Some(_)) => Some(" added".to_owned()),
        (Some(_), None) => Some(" removed".to_owned()),
        (None, None) => None,
    }
}

/// Of two images of one repository the tags.
fn without_repository<'a>(old: &'a str, new: &'a str) -> (&'a str, &'a str) {
    let split = |image: &'a str| image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    match (split(old), split(new)) {
        (Some((a, old)), Some((b, new))) if a == b && !old.is_empty() && !new.is_empty() => (old, new),
        _ => (old, new),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::objects::from_object;

    fn settings(spec: Value) -> Vec<Setting> {
        from_object::<Revision>(&json!({"spec": {"template": {"spec": spec}}})).unwrap().settings
    }

    #[test]
    fn what_differs_is_told_with_its_values_and_what_may_hold_a_secret_without_them() {
        let old = settings(json!({
            "serviceAccountName": "default",
            "volumes": [{"name": "config", "configMap": {"name": "cart-1"}}, {"name": "tmp", "emptyDir": {}}],
            "containers": [{
                "name": "cart", "image": "registry.example:5000/shop/cart:1.8.0", "args": ["--token=hunter2"],
                "resources": {"limits": {"memory": "512Mi"}}, "env": [{"name": "A", "value": "hunter2"}, {"name": "GONE", "value": "x"}],
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": 80}, "periodSeconds": 10},
                "securityContext": {"runAsUser": 0}
            }]
        }));
        let new = settings(json!({
            "serviceAccountName": "cart",
            "volumes": [{"name": "config", "configMap": {"name": "cart-2"}}, {"name": "tmp", "emptyDir": {}}],
            "containers": [{
                "name": "cart", "image": "registry.example:5000/shop/cart:1.9.0-rc1", "args": ["--token=hunter3"],
                "resources": {"limits": {"memory": "64Mi"}}, "env": [{"name": "A", "value": "hunter3"}, {"name": "NEW", "value": "x"}],
                "livenessProbe": {"httpGet": {"path": "/live", "port": 80}, "periodSeconds": 5},
                "securityContext": {"runAsUser": 1000}
            }]
        }));
        assert_eq!(
            changes(&old, &new),
            [
                "image 1.8.0 -> 1.9.0-rc1",
                "memory limit 512Mi -> 64Mi",
                "args changed",
                "env A changed",
                "env GONE removed",
                "env NEW added",
                "livenessProbe changed",
                "livenessProbe periodSeconds 10 -> 5",
                "securityContext runAsUser 0 -> 1000",
                "serviceAccountName default -> cart",
                "volume config configMap cart-1 -> configMap cart-2",
            ]
        );
        assert!(!format!("{old:?}{new:?}").contains("hunter"));
        assert_eq!(changes(&old, &old), [""; 0]);
    }
}
