//! What the series of a pod, a workload, a container, a problem look like.
//!
//! Must not know when they are written, nor how many there may be.

use super::text::{label, word};
use crate::diagnosis::{ReasonName, WorkloadRef};
use crate::incidents::RecentEnd;
use crate::incidents::kept::Kept;
use crate::incidents::store::Home;
use crate::incidents::terminations::Ended;

/// Pods of a workload with an open incident.
pub const WORKLOAD_UNHEALTHY_PODS: &str = "kubehealer_workload_unhealthy_pods";
/// All pods of such a workload.
pub const WORKLOAD_PODS: &str = "kubehealer_workload_pods";
/// Ends of containers.
pub const TERMINATIONS: &str = "kubehealer_container_terminations_total";
/// Pods with a cause in common.
pub const PROBLEM_PODS: &str = "kubehealer_problem_pods";
/// That something has an open incident.
pub const UNHEALTHY: &str = "kubehealer_pod_unhealthy";
/// Since when.
pub const UNHEALTHY_SINCE: &str = "kubehealer_pod_unhealthy_since_timestamp_seconds";
/// When a container ended last.
pub const LAST_TERMINATION: &str = "kubehealer_container_last_termination_timestamp_seconds";

/// Writes series, over and over into the same memory.
#[derive(Debug)]
pub struct Writer<const METRICS: usize> {
    labels: String,
    /// How much of them all series of the subject begin with.
    shared: usize,
    texts: [String; METRICS],
}

impl<const METRICS: usize> Default for Writer<METRICS> {
    fn default() -> Self {
        Self { labels: String::new(), shared: 0, texts: [const { String::new() }; METRICS] }
    }
}

impl<const METRICS: usize> Writer<METRICS> {
    /// What was written since [`clear`](Self::clear), by metric.
    pub fn texts(&self) -> [&str; METRICS] {
        self.texts.each_ref().map(String::as_str)
    }

    /// A part of it, from and to these lengths.
    pub fn texts_between(&self, from: [usize; METRICS], to: [usize; METRICS]) -> [&str; METRICS] {
        let mut ranges = from.into_iter().zip(to);
        self.texts().map(|text| ranges.next().and_then(|(from, to)| text.get(from..to)).unwrap_or_default())
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.texts.iter_mut().for_each(String::clear);
    }

    fn subject(&mut self, namespace: &str, pod: Option<&str>, workload: Option<&WorkloadRef>) {
        let (kind, name) = workload.map_or(("", ""), |w| (&w.kind, &w.name));
        self.labels.clear();
        label(&mut self.labels, "{namespace=\"", namespace);
        pod.into_iter().for_each(|pod| label(&mut self.labels, "\",pod=\"", pod));
        label(&mut self.labels, "\",workload_kind=\"", kind);
        label(&mut self.labels, "\",workload=\"", name);
        self.shared = self.labels.len();
    }

    fn next(&mut self) -> &mut String {
        self.labels.truncate(self.shared);
        &mut self.labels
    }
}

/// Adds a series; of its labels the last is not ended yet.
fn add(text: &mut String, name: &str, labels: &str, value: i64) {
    text.push_str(name);
    text.push_str(labels);
    text.push_str("\"} ");
    text.push_str(itoa::Buffer::new().format(value));
    text.push('\n');
}

fn as_int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// That something has incidents, since when, and when its containers ended last.
impl Writer<3> {
    /// Writes of a pod, or of an object that is none.
    pub fn object<'a>(
        &mut self,
        (namespace, name, workload): (&str, &str, Option<&WorkloadRef>),
        node: &str,
        incidents: impl Iterator<Item = &'a Kept>,
        ends: impl Iterator<Item = &'a RecentEnd>,
    ) {
        self.subject(namespace, Some(name), workload);
        for f in incidents {
            let labels = self.next();
            label(labels, "\",container=\"", &f.container);
            label(labels, "\",node=\"", node);
            label(labels, "\",reason=\"", f.reason.as_str());
            let [unhealthy, since, _] = &mut self.texts;
            if let Some(at) = f.since {
                add(since, UNHEALTHY_SINCE, &self.labels, at.as_second());
            }
            word(&mut self.labels, "\",container_type=\"", f.container_type.map_or("", |t| t.as_str()));
            word(&mut self.labels, "\",cause=\"", f.cause.as_str());
            word(&mut self.labels, "\",severity=\"", f.severity.as_str());
            add(unhealthy, UNHEALTHY, &self.labels, 1);
        }
        for end in ends {
            let labels = self.next();
            label(labels, "\",container=\"", &end.container);
            word(labels, "\",reason=\"", end.reason.as_str());
            let [_, _, last] = &mut self.texts;
            add(last, LAST_TERMINATION, &self.labels, end.at.as_second());
        }
    }
}

/// A workload's pods by reason, and all of them.
impl Writer<2> {
    /// Writes of a workload.
    pub fn workload(&mut self, home: &Home, reasons: &[(ReasonName, u64)], pods: u32) {
        self.subject(&home.namespace, None, Some(&home.workload));
        let [unhealthy, all] = &mut self.texts;
        add(all, WORKLOAD_PODS, &self.labels, i64::from(pods));
        for (reason, pods) in reasons {
            self.labels.truncate(self.shared);
            label(&mut self.labels, "\",reason=\"", reason.as_str());
            add(unhealthy, WORKLOAD_UNHEALTHY_PODS, &self.labels, as_int(*pods));
        }
    }
}

/// How often something happened.
impl Writer<1> {
    /// Writes of a container of all pods of a workload.
    pub fn ended(&mut self, of: &Ended) {
        self.subject(&of.home.namespace, None, Some(&of.home.workload));
        label(&mut self.labels, "\",container=\"", &of.container);
        word(&mut self.labels, "\",container_type=\"", of.container_type.as_str());
        self.shared = self.labels.len();
        let [terminations] = &mut self.texts;
        for (reason, count) in of.by_reason() {
            self.labels.truncate(self.shared);
            word(&mut self.labels, "\",reason=\"", reason.as_str());
            add(terminations, TERMINATIONS, &self.labels, as_int(count));
        }
    }

    /// Writes of a cause that pods have in common, shown by a finding that has it.
    pub fn problem(&mut self, finding: &Kept, pods: u64) {
        let Some(scope) = &finding.scope else { return };
        let [problems] = &mut self.texts;
        self.labels.clear();
        word(&mut self.labels, "{cause=\"", finding.cause.as_str());
        word(&mut self.labels, "\",scope_kind=\"", scope.kind);
        label(&mut self.labels, "\",scope=\"", &scope.name);
        add(problems, PROBLEM_PODS, &self.labels, as_int(pods));
    }
}
