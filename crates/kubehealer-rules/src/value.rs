//! What an expression can see and what it computes with: types, values, and the fields of each object.
//!
//! Objects are not copied: a field is read from the slim type when an expression asks for it. What the slim types do not
//! hold (`env`, `command`, annotations) no rule can see. Must not know how expressions are written or evaluated.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};

use kubehealer_core::diagnosis::{
    Cause, CauseCode, Confidence, ContainerType, Evidence, Finding, Severity, Source, Stage, WorkloadRef,
};
use kubehealer_core::objects::pod::{EphemeralContainerCommon, ResourceQuantity, ResourceRequirements};
use kubehealer_core::objects::{
    Condition, Container, ContainerState, ContainerStatus, Event, Label, ObjectMeta, ObjectReference,
    OwnerReference, Pod, PodStatus, Probe, Running, Terminated, Time, Waiting,
};

/// The type of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    Bool,
    Int,
    Double,
    Text,
    Duration,
    Time,
    Quantity,
    List(Box<Type>),
    /// From texts.
    Map(Box<Type>),
    Object(Kind),
    /// Of the elements of an empty list: fits all.
    Any,
}

impl Type {
    pub(super) fn list(of: Type) -> Self {
        Self::List(Box::new(of))
    }

    /// Whether a value of `other` can stand where this type is wanted.
    pub(super) fn fits(&self, other: &Type) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::List(a), Self::List(b)) | (Self::Map(a), Self::Map(b)) => a.fits(b),
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Double => f.write_str("double"),
            Self::Text => f.write_str("string"),
            Self::Duration => f.write_str("duration"),
            Self::Time => f.write_str("timestamp"),
            Self::Quantity => f.write_str("quantity"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Map(of) => write!(f, "map(string, {of})"),
            Self::Object(kind) => f.write_str(kind.name()),
            Self::Any => f.write_str("any"),
        }
    }
}

/// A value, borrowed from the objects and the rule where it can be.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    Duration(SignedDuration),
    Time(Timestamp),
    Quantity(f64),
    List(Rc<[Value<'a>]>),
    Map(Map<'a>),
    Object(Obj<'a>),
}

/// A map from texts.
#[derive(Clone, Debug)]
pub(super) enum Map<'a> {
    Labels(&'a [Label]),
    Quantities(&'a [ResourceQuantity]),
    Pairs(&'a [(String, String)]),
    Own(Rc<[(Cow<'a, str>, Value<'a>)]>),
}

impl<'a> Map<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Labels(l) => l.len(),
            Self::Quantities(q) => q.len(),
            Self::Pairs(p) => p.len(),
            Self::Own(o) => o.len(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        match self {
            Self::Labels(l) => l.iter().find(|l| l.key == key).map(|l| text(&l.value)),
            Self::Quantities(q) => q.iter().find(|q| q.key == key).map(|q| text(&q.value.string)),
            Self::Pairs(p) => p.iter().find(|p| p.0 == key).map(|p| text(&p.1)),
            Self::Own(o) => o.iter().find(|o| o.0 == key).map(|o| o.1.clone()),
        }
    }

    pub(super) fn keys(&self) -> Rc<[Value<'a>]> {
        match self {
            Self::Labels(l) => l.iter().map(|l| text(&l.key)).collect(),
            Self::Quantities(q) => q.iter().map(|q| text(&q.key)).collect(),
            Self::Pairs(p) => p.iter().map(|p| text(&p.0)).collect(),
            Self::Own(o) => o.iter().map(|o| Value::Text(o.0.clone())).collect(),
        }
    }
}

/// A field of a kind of object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) of: fn() -> Type,
    /// None: not set.
    pub(super) get: for<'a> fn(&Obj<'a>) -> Option<Value<'a>>,
    /// The words that it can hold, if they are a closed set.
    pub(super) words: &'static [&'static str],
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A container: what the spec wants and what the status says, joined by name. Small, since values are copied a lot.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContainerView<'a> {
    pub(super) pod: &'a Pod,
    pub(super) kind: ContainerType,
    /// In its list of the spec.
    index: u32,
}

impl<'a> ContainerView<'a> {
    /// All containers of a pod: init containers and sidecars first, as they start.
    pub(super) fn all(pod: &'a Pod) -> impl Iterator<Item = ContainerView<'a>> {
        let view = move |kind| move |index| ContainerView { pod, kind, index };
        let counted = |len: usize| 0..u32::try_from(len).unwrap_or(u32::MAX);
        let init = counted(pod.spec.init_containers.len()).map(view(ContainerType::Init)).map(|mut c| {
            if c.spec().is_some_and(|s| s.restart_policy.as_deref() == Some("Always")) {
                c.kind = ContainerType::Sidecar;
            }
            c
        });
        init.chain(counted(pod.spec.containers.len()).map(view(ContainerType::App)))
            .chain(counted(pod.spec.ephemeral_containers.len()).map(view(ContainerType::Ephemeral)))
    }

    /// None for a debug container, of which the spec is not read further.
    pub(super) fn spec(self) -> Option<&'a Container> {
        match self.kind {
            ContainerType::Init | ContainerType::Sidecar => {
                self.pod.spec.init_containers.get(self.index as usize)
            }
            ContainerType::App => self.pod.spec.containers.get(self.index as usize),
            ContainerType::Ephemeral => None,
        }
    }

    fn debug(self) -> Option<&'a EphemeralContainerCommon> {
        let containers = &self.pod.spec.ephemeral_containers;
        (self.kind == ContainerType::Ephemeral)
            .then(|| containers.get(self.index as usize).map(|c| &c.common))?
    }

    pub(super) fn name(self) -> &'a str {
        self.spec()
            .map(|c| c.name.as_str())
            .or_else(|| self.debug().map(|c| c.name.as_str()))
            .unwrap_or_default()
    }

    pub(super) fn image(self) -> &'a str {
        self.spec()
            .map(|c| c.image.as_str())
            .or_else(|| self.debug().map(|c| c.image.as_str()))
            .unwrap_or_default()
    }

    /// None before the kubelet has seen the pod.
    pub(super) fn status(self) -> Option<&'a ContainerStatus> {
        let status = &self.pod.status;
        let (list, name) = (
            match self.kind {
                ContainerType::Init | ContainerType::Sidecar => &status.init_container_statuses,
                ContainerType::App => &status.container_statuses,
                ContainerType::Ephemeral => &status.ephemeral_container_statuses,
            },
            self.name(),
        );
        list.iter().find(|s| s.name == name)
    }

    /// When the container was last ended or started again, as far as its status proves: newest first.
    fn restarts(&self) -> impl Iterator<Item = Timestamp> {
        let last = self.status().and_then(|s| s.last_state.terminated.as_deref());
        let now = self.status().map(|s| &s.state);
        let times = match now {
            // It runs: it was started again then.
            Some(ContainerState { running: Some(running), .. }) => [Some(running.started_at), None],
            // It has ended, and will be started again.
            Some(ContainerState { terminated: Some(ended), .. }) => {
                [Some(ended.finished_at), Some(ended.started_at)]
            }
            // It waits to be started again.
            _ => [last.map(|l| l.finished_at), None],
        };
        times.into_iter().chain([last.map(|l| l.started_at)]).flatten().filter_map(Time::get)
    }

    /// How often it was restarted within a time, as far as the pod proves it. A status holds the times of the newest two
    /// restarts only; of a pod that is younger than the time, `restartCount` tells all of them.
    pub(super) fn restarts_within(&self, within: SignedDuration, now: Timestamp) -> i64 {
        let count = self.status().map_or(0, |s| i64::from(s.restart_count)).max(0);
        let young = |t: Timestamp| now.duration_since(t) <= within;
        let born = self.pod.status.start_time.get().or(self.pod.metadata.creation_timestamp.get());
        if born.is_some_and(young) {
            return count;
        }
        count.min(self.restarts().filter(|&t| young(t)).count() as i64)
    }

    /// Since when it is as it is.
    pub(super) fn since(&self) -> Option<Timestamp> {
        let state = self.status().map(|s| &s.state)?;
        let time = match state {
            ContainerState { running: Some(running), .. } => running.started_at,
            ContainerState { terminated: Some(ended), .. } => ended.finished_at,
            _ => self.status().and_then(|s| s.last_state.terminated.as_deref()).map(|l| l.finished_at)?,
        };
        time.get()
    }
}

pub(super) fn text(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text))
}

fn time<'a>(time: Time) -> Option<Value<'a>> {
    time.get().map(Value::Time)
}

fn int<'a>(value: impl Into<i64>) -> Option<Value<'a>> {
    Some(Value::Int(value.into()))
}

fn list<'a, T: 'a>(items: &'a [T], of: impl Fn(&'a T) -> Value<'a>) -> Option<Value<'a>> {
    Some(Value::List(items.iter().map(of).collect()))
}

fn objects<'a, T: 'a>(items: &'a [T], of: impl Fn(&'a T) -> Obj<'a>) -> Option<Value<'a>> {
    list(items, |item| Value::Object(of(item)))
}

fn containers(pod: &Pod, which: impl Fn(ContainerType) -> bool) -> Option<Value<'_>> {
    let found = ContainerView::all(pod).filter(|c| which(c.kind));
    Some(Value::List(found.map(|c| Value::Object(Obj::Container(c))).collect()))
}

/// Declares the kinds of objects, and each field with its type and how it is read. A text, number, list or map that is not
/// set reads as empty; an object or time that is not set is `None`.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident $title:literal $var:ident: $inner:ty {
        $($name:literal $of:expr, $get:expr $(, $words:expr)?;)*
    })*) => {
        /// The kinds of objects that an expression can see.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind { $($kind),* }

        /// An object that an expression can see.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Obj<'a> { $($kind($inner)),* }

        impl Kind {
            #[cfg(test)]
            /// All of them, in the order of the docs.
            pub(super) const ALL: &[Self] = &[$(Self::$kind),*];

            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$kind => $title),* }
            }

            pub(super) fn fields(self) -> &'static [Field] {
                match self {
                    $(Self::$kind => const { &[$({
                        #[allow(unused_variables, reason = "a field may be the same for all")]
                        fn get<'a>(object: &Obj<'a>) -> Option<Value<'a>> {
                            match object {
                                Obj::$kind($var) => $get,
                                _ => None,
                            }
                        }
                        fn of() -> Type { $of }
                        #[allow(unused_mut, unused_assignments, reason = "most fields are open")]
                        const WORDS: &[&str] = { let mut words: &[&str] = &[]; $(words = $words;)? words };
                        Field { name: $name, of, get, words: WORDS }
                    }),*] }),*
                }
            }
        }
    };
}

const PHASES: &[&str] = &["Pending", "Running", "Succeeded", "Failed", "Unknown", ""];
const EVENT_TYPES: &[&str] = &["Normal", "Warning"];
const TRUTHS: &[&str] = &["True", "False", "Unknown"];

kinds! {
    Pod "pod" pod: &'a Pod {
        "metadata" Type::Object(Kind::Meta), Some(Value::Object(Obj::Meta(&pod.metadata)));
        "spec" Type::Object(Kind::Spec), Some(Value::Object(Obj::Spec(pod)));
        "status" Type::Object(Kind::Status), Some(Value::Object(Obj::Status(&pod.status)));
    }
    Meta "metadata" meta: &'a ObjectMeta {
        "name" Type::Text, Some(text(&meta.name));
        "namespace" Type::Text, Some(text(&meta.namespace));
        "uid" Type::Text, Some(text(&meta.uid));
        "labels" Type::Map(Box::new(Type::Text)), Some(Value::Map(Map::Labels(&meta.labels)));
        "generation" Type::Int, int(meta.generation);
        "creationTimestamp" Type::Time, time(meta.creation_timestamp);
        "deletionTimestamp" Type::Time, time(meta.deletion_timestamp);
        "ownerReferences" Type::list(Type::Object(Kind::Owner)), objects(&meta.owner_references, Obj::Owner);
        "finalizers" Type::list(Type::Text), list(&meta.finalizers, |f| text(f));
    }
    Owner "ownerReference" owner: &'a OwnerReference {
        "kind" Type::Text, Some(text(&owner.kind));
        "name" Type::Text, Some(text(&owner.name));
        "uid" Type::Text, Some(text(&owner.uid));
        "controller" Type::Bool, Some(Value::Bool(owner.controller == Some(true)));
    }
    Spec "spec" pod: &'a Pod {
        "containers" Type::list(Type::Object(Kind::Container)), containers(pod, |k| k == ContainerType::App);
        "initContainers" Type::list(Type::Object(Kind::Container)),
            containers(pod, |k| matches!(k, ContainerType::Init | ContainerType::Sidecar));
        "ephemeralContainers" Type::list(Type::Object(Kind::Container)), containers(pod, |k| k == ContainerType::Ephemeral);
        "restartPolicy" Type::Text, Some(text(if pod.spec.restart_policy.is_empty() { "Always" } else { &pod.spec.restart_policy })),
            &["Always", "OnFailure", "Never"];
        "nodeName" Type::Text, Some(text(&pod.spec.node_name));
        "nodeSelector" Type::Map(Box::new(Type::Text)), Some(Value::Map(Map::Labels(&pod.spec.node_selector)));
        "terminationGracePeriodSeconds" Type::Int, int(pod.spec.termination_grace_period_seconds.unwrap_or(30));
        "activeDeadlineSeconds" Type::Int, pod.spec.active_deadline_seconds.and_then(int);
        "runtimeClassName" Type::Text, Some(text(pod.spec.runtime_class_name.as_deref().unwrap_or_default()));
        "imagePullSecrets" Type::list(Type::Text), list(&pod.spec.image_pull_secrets, |s| text(&s.name));
        "schedulingGates" Type::list(Type::Text), list(&pod.spec.scheduling_gates, |s| text(&s.name));
        "resources" Type::Object(Kind::Resources),
            pod.spec.resources.as_deref().map(|r| Value::Object(Obj::Resources(r)));
    }
    Status "status" status: &'a PodStatus {
        "phase" Type::Text, Some(text(&status.phase)), PHASES;
        "reason" Type::Text, Some(text(&status.reason));
        "message" Type::Text, Some(text(&status.message));
        "startTime" Type::Time, time(status.start_time);
        "qosClass" Type::Text, Some(text(&status.qos_class)), &["Guaranteed", "Burstable", "BestEffort", ""];
        "conditions" Type::list(Type::Object(Kind::Condition)), objects(&status.conditions, Obj::Condition);
    }
    Condition "condition" condition: &'a Condition {
        "type" Type::Text, Some(text(condition.kind.as_str()));
        "status" Type::Text, Some(text(condition.status.as_str())), TRUTHS;
        "reason" Type::Text, Some(text(&condition.reason));
        "message" Type::Text, Some(text(&condition.message));
        "lastTransitionTime" Type::Time, time(condition.last_transition_time);
    }
    Container "container" c: ContainerView<'a> {
        "name" Type::Text, Some(text(c.name()));
        "type" Type::Text, Some(text(c.kind.as_str())), ContainerType::WORDS;
        "image" Type::Text, Some(text(c.image()));
        "containerID" Type::Text, Some(text(c.status().map_or("", |s| &s.container_id)));
        "restartPolicy" Type::Text,
            Some(text(c.spec().and_then(|s| s.restart_policy.as_deref()).unwrap_or_default())),
            &["Always", "OnFailure", "Never", ""];
        "ready" Type::Bool, Some(Value::Bool(c.status().is_some_and(|s| s.ready)));
        "started" Type::Bool, Some(Value::Bool(c.status().is_some_and(|s| s.started == Some(true))));
        "restartCount" Type::Int, int(c.status().map_or(0, |s| s.restart_count));
        "state" Type::Object(Kind::State), c.status().map(|s| Value::Object(Obj::State(&s.state)));
        "lastState" Type::Object(Kind::State), c.status().map(|s| Value::Object(Obj::State(&s.last_state)));
        "resources" Type::Object(Kind::Resources), Some(Value::Object(Obj::Resources(
            c.spec().and_then(|s| s.resources.as_deref()).unwrap_or(&NO_RESOURCES))));
        "livenessProbe" Type::Object(Kind::Probe), c.spec().and_then(|s| s.liveness_probe.as_deref()).map(|p| Value::Object(Obj::Probe(p)));
        "readinessProbe" Type::Object(Kind::Probe), c.spec().and_then(|s| s.readiness_probe.as_deref()).map(|p| Value::Object(Obj::Probe(p)));
        "startupProbe" Type::Object(Kind::Probe), c.spec().and_then(|s| s.startup_probe.as_deref()).map(|p| Value::Object(Obj::Probe(p)));
    }
    State "state" state: &'a ContainerState {
        "waiting" Type::Object(Kind::Waiting), state.waiting.as_deref().map(|w| Value::Object(Obj::Waiting(w)));
        "running" Type::Object(Kind::Running), state.running.as_ref().map(|r| Value::Object(Obj::Running(r)));
        "terminated" Type::Object(Kind::Terminated), state.terminated.as_deref().map(|t| Value::Object(Obj::Terminated(t)));
    }
    Waiting "waiting" waiting: &'a Waiting {
        "reason" Type::Text, Some(text(&waiting.reason));
        "message" Type::Text, Some(text(&waiting.message));
    }
    Running "running" running: &'a Running {
        "startedAt" Type::Time, time(running.started_at);
    }
    Terminated "terminated" ended: &'a Terminated {
        "exitCode" Type::Int, int(ended.exit_code);
        "reason" Type::Text, Some(text(&ended.reason));
        "message" Type::Text, Some(text(&ended.message));
        "startedAt" Type::Time, time(ended.started_at);
        "finishedAt" Type::Time, time(ended.finished_at);
        "containerID" Type::Text, Some(text(&ended.container_id));
    }
    Resources "resources" resources: &'a ResourceRequirements {
        "limits" Type::Map(Box::new(Type::Text)), Some(Value::Map(Map::Quantities(&resources.limits)));
        "requests" Type::Map(Box::new(Type::Text)), Some(Value::Map(Map::Quantities(&resources.requests)));
    }
    Probe "probe" probe: &'a Probe {
        "initialDelaySeconds" Type::Int, int(probe.initial_delay_seconds);
        "periodSeconds" Type::Int, int(probe.period());
        "timeoutSeconds" Type::Int, int(probe.timeout());
        "failureThreshold" Type::Int, int(probe.threshold());
    }
    Finding "finding" finding: &'a Finding {
        "reason" Type::Text, Some(text(finding.reason.as_str()));
        "severity" Type::Text, Some(text(finding.severity.as_str())), Severity::WORDS;
        "confidence" Type::Text, Some(text(finding.confidence.as_str())), Confidence::WORDS;
        "stage" Type::Text, Some(text(finding.stage.as_str())), Stage::WORDS;
        "namespace" Type::Text, Some(text(&finding.namespace));
        "pod" Type::Text, Some(text(&finding.pod));
        "container" Type::Text, Some(text(&finding.container));
        "containerType" Type::Text, Some(text(finding.container_type.map_or("", ContainerType::as_str))),
            &["app", "init", "sidecar", "ephemeral", ""];
        "workload" Type::Object(Kind::Workload), finding.workload.as_ref().map(|w| Value::Object(Obj::Workload(w)));
        "node" Type::Text, Some(text(&finding.node));
        "since" Type::Time, finding.since.map(Value::Time);
        "summary" Type::Text, Some(text(&finding.summary));
        "cause" Type::Object(Kind::Cause), Some(Value::Object(Obj::Cause(&finding.cause)));
        "restartCount" Type::Int, int(finding.restart_count.unwrap_or(0));
        "exitCode" Type::Int, finding.exit_code.and_then(int);
        "image" Type::Text, Some(text(&finding.image));
        "evidence" Type::list(Type::Object(Kind::Evidence)), objects(&finding.evidence, Obj::Evidence);
        "labels" Type::Map(Box::new(Type::Text)), Some(Value::Map(Map::Pairs(&finding.labels)));
    }
    Workload "workload" workload: &'a WorkloadRef {
        "kind" Type::Text, Some(text(&workload.kind));
        "name" Type::Text, Some(text(&workload.name));
    }
    Cause "cause" cause: &'a Cause {
        "code" Type::Text, Some(text(cause.code.as_str())), CauseCode::WORDS;
        "text" Type::Text, Some(text(&cause.text));
    }
    Evidence "evidence" evidence: &'a Evidence {
        "source" Type::Text, Some(text(evidence.source.as_str())), Source::WORDS;
        "text" Type::Text, Some(text(&evidence.text));
        "at" Type::Time, evidence.at.map(Value::Time);
    }
    Event "event" event: &'a Event {
        "type" Type::Text, Some(text(&event.kind)), EVENT_TYPES;
        "reason" Type::Text, Some(text(&event.reason));
        "message" Type::Text, Some(text(&event.message));
        "count" Type::Int, int(event.times());
        "firstTimestamp" Type::Time, event.first_seen().map(Value::Time);
        "lastTimestamp" Type::Time, event.last_seen().map(Value::Time);
        "source" Type::Text, Some(text(&event.source.component));
        "involvedObject" Type::Object(Kind::Reference), Some(Value::Object(Obj::Reference(&event.involved_object)));
    }
    Reference "involvedObject" reference: &'a ObjectReference {
        "kind" Type::Text, Some(text(&reference.kind));
        "namespace" Type::Text, Some(text(&reference.namespace));
        "name" Type::Text, Some(text(&reference.name));
        "uid" Type::Text, Some(text(&reference.uid));
        "fieldPath" Type::Text, Some(text(&reference.field_path));
    }
}

/// What a container without `resources` has.
static NO_RESOURCES: std::sync::LazyLock<ResourceRequirements> =
    std::sync::LazyLock::new(ResourceRequirements::default);
