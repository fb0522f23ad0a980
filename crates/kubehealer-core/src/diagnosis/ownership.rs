//! What the people behind a workload say about it, on itself or on its pods: labels that tell whose it is, and annotations
//! that keep it from alerting for a while.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::text;
use crate::objects::{Annotation, ObjectMeta};
use crate::redact::cut;

/// So many owner labels may be chosen.
pub const MAX_LABELS: usize = 8;
/// The longest value that the API server allows.
const MAX_VALUE: usize = 63;
/// A mute may end so far ahead at most: one that nobody remembers is a failure that nobody sees.
pub const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The labels of workloads and pods that tell whose they are, chosen by the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerLabels(Vec<OwnerLabel>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct OwnerLabel {
    key: String,
    /// What it is called in metrics and findings.
    name: String,
}

impl OwnerLabels {
    /// Of their keys, such as `team` and `app.kubernetes.io/part-of`.
    ///
    /// # Errors
    /// If one is no key of a label, if two would have one name, or if there are more than [`MAX_LABELS`].
    pub fn new(keys: &[String]) -> Result<Self, String> {
        if keys.len() > MAX_LABELS {
            return Err(format!("{} owner labels are given; {MAX_LABELS} are allowed", keys.len()));
        }
        let (mut labels, mut names) = (Vec::new(), BTreeSet::new());
        for key in keys {
            if !is_label_key(key) {
                return Err(format!("{key:?} is not a valid label key, such as app.kubernetes.io/part-of"));
            }
            let mut name = key.replace(['-', '.', '/'], "_");
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                name.insert(0, '_');
            }
            if !names.insert(name.clone()) {
                return Err(format!("two owner labels would be called {name}; {key} is the second"));
            }
            labels.push(OwnerLabel { key: key.clone(), name });
        }
        Ok(Self(labels))
    }

    /// What they are called in metrics and findings: a key with `_` for `-`, `.` and `/`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|label| label.name.as_str())
    }

    /// Names and values, each from the first object that has it.
    fn of(&self, objects: [Option<&ObjectMeta>; 2]) -> Vec<(String, String)> {
        let value = |key: &str| {
            let mut values = objects.into_iter().flatten().filter_map(|meta| meta.label(key));
            values.find(|value| !value.is_empty())
        };
        let found = self.0.iter().filter_map(|label| {
            let value = text::name(value(&label.key)?);
            Some((label.name.clone(), cut(&value, MAX_VALUE).to_owned()))
        });
        found.collect()
    }
}

/// A name, or a prefix, a slash and a name, as Kubernetes has them.
fn is_label_key(key: &str) -> bool {
    let fits = |part: &str| {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(is_inside)
    };
    match key.split_once('/') {
        Some((prefix, name)) => fits(prefix) && fits(name),
        None => fits(key),
    }
}

/// Until when incidents do not alert, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Mute {
    /// From then on they alert again.
    pub until: Timestamp,
    /// As the annotation says; empty if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Mute {
    /// What the annotations of an object ask for.
    ///
    /// # Errors
    /// If they name no end that counts: in words.
    pub fn of(meta: &ObjectMeta, now: Timestamp) -> Result<Option<Self>, String> {
        let reason = meta.annotation(Annotation::MUTE_REASON).unwrap_or_default();
        let Some(end) = meta.annotation(Annotation::MUTE_UNTIL) else {
            return match reason {
                "" => Ok(None),
                _ => Err(format!("{} needs {} with a time", Annotation::MUTE_REASON, Annotation::MUTE_UNTIL)),
            };
        };
        let wrong = |why: &str| format!("{} {:?}: {why}", Annotation::MUTE_UNTIL, text::head(end, 40));
        let until: Timestamp =
            end.trim().parse().map_err(|_| wrong("not a time such as 2026-12-24T18:00:00Z"))?;
        if until.duration_since(now) > MAX_AHEAD {
            return Err(wrong("more than 90 days ahead"));
        }
        Ok((until > now).then(|| Self { until, reason: reason.to_owned() }))
    }
}

/// What the people behind a pod or workload say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Whose it is: names and values.
    pub labels: Vec<(String, String)>,
    /// Whether its incidents alert.
    pub mute: Option<Mute>,
    /// What was asked for and does not count, in words.
    pub refused: Vec<String>,
}

impl Ownership {
    /// Of a pod and its top controller. The controller's labels come before the pod's; of two mutes the longer one counts.
    pub fn of(
        labels: &OwnerLabels,
        top: Option<&ObjectMeta>,
        pod: Option<&ObjectMeta>,
        now: Timestamp,
    ) -> Self {
        let objects = [top, pod];
        let mut own = Self { labels: labels.of(objects), ..Self::default() };
        for meta in objects.into_iter().flatten() {
            match Mute::of(meta, now) {
                Ok(mute) => own.mute = own.mute.into_iter().chain(mute).max_by_key(|mute| mute.until),
                Err(why) => own.refused.push(why),
            }
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Pod, from_object};

    fn keys(keys: &[&str]) -> Result<OwnerLabels, String> {
        OwnerLabels::new(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>())
    }

    fn meta(metadata: serde_json::Value) -> ObjectMeta {
        let pod: Pod = from_object(&serde_json::json!({"metadata": metadata})).unwrap();
        pod.metadata
    }

    #[test]
    fn keys_become_names_of_metrics_and_bad_ones_are_refused() {
        let names: Vec<String> =
            keys(&["team", "app.kubernetes.io/part-of", "4x"]).unwrap().names().map(str::to_owned).collect();
        assert_eq!(names, ["team", "app_kubernetes_io_part_of", "_4x"]);
        for bad in [
            &["a-b", "a.b"][..],
            &[""],
            &["a b"],
            &["-a"],
            &["team/"],
            &["/team"],
            &["a/b/c"],
            &["a"; MAX_LABELS + 1],
        ] {
            assert!(keys(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_workload_is_asked_before_the_pod() {
        let labels = keys(&["team", "tier"]).unwrap();
        let top = meta(serde_json::json!({"labels": {"team": "payments"}}));
        let pod = meta(serde_json::json!({"labels": {"team": "old", "tier": "x".repeat(100)}}));
        let own = Ownership::of(&labels, Some(&top), Some(&pod), Timestamp::UNIX_EPOCH);
        let wanted = [("team", "payments".to_owned()), ("tier", "x".repeat(63))];
        assert_eq!(own.labels, wanted.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn a_mute_needs_an_end_that_is_near() {
        let now: Timestamp = "2026-12-01T10:00:00Z".parse().unwrap();
        let of = |until: &str, reason: &str| {
            let annotations =
                serde_json::json!({"kubehealer.dev/mute-until": until, "kubehealer.dev/mute-reason": reason});
            Mute::of(&meta(serde_json::json!({"annotations": annotations})), now)
        };
        let muted = of("2026-12-24T18:00:00Z", "moved, token=hunter2\u{1b}").unwrap().unwrap();
        assert_eq!(muted.until.to_string(), "2026-12-24T18:00:00Z");
        assert_eq!(muted.reason, "moved, token=[redacted]");
        assert!(of("2026-12-24T18:00:00+02:00", "").unwrap().is_some());
        assert_eq!(of("2026-12-01T10:00:00Z", "over"), Ok(None));
        for (until, why) in [
            ("tomorrow", "not a time"),
            ("", "not a time"),
            ("2026-12-24", "not a time"),
            ("2027-03-02T10:00:00Z", "90 days"),
        ] {
            assert!(of(until, "why").unwrap_err().contains(why), "{until}");
        }
        let alone = meta(serde_json::json!({"annotations": {"kubehealer.dev/mute-reason": "x"}}));
        assert!(Mute::of(&alone, now).unwrap_err().contains("mute-until"));
        assert_eq!(Mute::of(&ObjectMeta::default(), now), Ok(None));
    }

    #[test]
    fn of_several_mutes_the_longest_counts() {
        let now: Timestamp = "2026-12-01T10:00:00Z".parse().unwrap();
        let of = |until: &str| meta(serde_json::json!({"annotations": {"kubehealer.dev/mute-until": until}}));
        let (short, long, bad) = (of("2026-12-02T00:00:00Z"), of("2026-12-03T00:00:00Z"), of("never"));
        for (top, pod, refused) in [(&short, &long, 0), (&long, &short, 0), (&bad, &long, 1)] {
            let own = Ownership::of(&OwnerLabels::default(), Some(top), Some(pod), now);
            assert_eq!(own.mute.unwrap().until.to_string(), "2026-12-03T00:00:00Z");
            assert_eq!(own.refused.len(), refused);
        }
    }
}
