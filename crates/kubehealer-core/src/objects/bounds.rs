//! What is kept of a pod's gates, conditions and lists of names, at most.
//!
//! The API server limits only the size of the whole object: one pod may have hundreds of them, with names and messages of a
//! megabyte together, and a failing pod is kept for as long as it fails.

use super::pod::{Condition, ConditionType, Pod};
use crate::redact::cut;

/// Bytes of a name: a qualified one has up to 317.
const NAME: usize = 320;
/// Readiness gates that are kept with their names, and conditions that Kubernetes does not set.
const GATES: usize = 16;
/// Names of a list.
const NAMES: usize = 100;
/// Bytes of the message of a condition, and of one that Kubernetes does not set.
const MESSAGE: usize = 8 * 1024;
const MESSAGE_OF_OTHERS: usize = 512;

impl Pod {
    /// Drops what is over the bounds. Of the readiness gates, only those that are open are kept: the first ones in the alphabet with
    /// their names, of the others that there are so many.
    pub(super) fn bound(&mut self) {
        let (spec, status) = (&mut self.spec, &mut self.status);
        let is_true = |gate: &str| status.conditions.iter().any(|c| c.kind.as_str() == gate && c.is_true());
        spec.readiness_gates.retain(|gate| !is_true(&gate.condition_type));
        // An empty name is that of a gate whose name was dropped before.
        spec.readiness_gates
            .sort_by(|a, b| (a.condition_type.is_empty(), a).cmp(&(b.condition_type.is_empty(), b)));
        for (at, gate) in spec.readiness_gates.iter_mut().enumerate() {
            name(&mut gate.condition_type, if at < GATES { NAME } else { 0 });
        }
        let mut others = 0;
        status.conditions.retain(|condition| {
            others += usize::from(matches!(condition.kind, ConditionType::Other(_)));
            others <= GATES || !matches!(condition.kind, ConditionType::Other(_))
        });
        status.conditions.iter_mut().for_each(condition);
        for names in [&mut spec.scheduling_gates, &mut spec.image_pull_secrets] {
            names.truncate(NAMES);
            names.iter_mut().for_each(|named| name(&mut named.name, NAME));
        }
        self.metadata.finalizers.truncate(NAMES);
        self.metadata.finalizers.iter_mut().for_each(|finalizer| name(finalizer, NAME));
    }
}

fn name(name: &mut String, most: usize) {
    if name.len() > most {
        *name = cut(name, most).to_owned();
    }
}

fn condition(condition: &mut Condition) {
    let mut most = MESSAGE;
    if let ConditionType::Other(kind) = &mut condition.kind {
        most = MESSAGE_OF_OTHERS;
        text(kind, NAME);
    }
    text(&mut condition.reason, NAME);
    text(&mut condition.message, most);
}

fn text(text: &mut Box<str>, most: usize) {
    if text.len() > most {
        *text = cut(text, most).into();
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::objects::Object as _;

    fn pod(gates: usize, length: usize) -> Pod {
        let gate = |n: usize| format!("{n:03}.example.com/{}", "g".repeat(length));
        let condition = |n: usize| json!({"type": gate(n), "status": if n < gates / 2 { "True" } else { "False" }, "message": "m".repeat(length)});
        let conditions: Vec<Value> = (0..gates).map(condition).collect();
        let all: Vec<Value> = (0..gates).map(|n| json!({"conditionType": gate(n)})).collect();
        let names: Vec<Value> = (0..gates).map(|n| json!({"name": gate(n)})).collect();
        let texts: Vec<String> = (0..gates).map(gate).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "a", "finalizers": texts},
            "spec": {"readinessGates": all, "schedulingGates": names, "imagePullSecrets": names},
            "status": {"conditions": conditions}
        }))
        .unwrap()
    }

    #[test]
    fn what_is_kept_of_a_pod_with_many_gates_has_a_bound() {
        let mut large = pod(400, 10_000);
        assert!(large.encoded_len() > 10_000_000);
        large.compact();
        assert!(large.encoded_len() < 150_000, "{}", large.encoded_len());
        // Of those that are open nobody is forgotten, and the first ones have their names.
        assert_eq!(large.spec.readiness_gates.len(), 200);
        assert!(large.spec.readiness_gates[0].condition_type.starts_with("200.example.com/g"));
        assert_eq!(large.spec.readiness_gates.iter().filter(|g| !g.condition_type.is_empty()).count(), GATES);
        let once = large.clone();
        large.compact();
        assert_eq!(large, once);
    }

    #[test]
    fn a_pod_with_a_few_gates_keeps_those_that_are_open_and_all_that_is_said_of_them() {
        let mut few = pod(4, 250);
        few.compact();
        let kept: Vec<&str> =
            few.spec.readiness_gates.iter().map(|g| g.condition_type.get(..3).unwrap()).collect();
        assert_eq!(kept, ["002", "003"]);
        assert_eq!((few.status.conditions.len(), few.metadata.finalizers.len()), (4, 4));
        assert_eq!(few.status.conditions[0].message.len(), 250);
    }
}
