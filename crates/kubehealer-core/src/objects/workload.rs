//! Owners of pods, as far as they tell why pods fail or are missing. Read as JSON only: there are few of them.

use serde::{Deserialize, Serialize};

use super::node::NodeCondition;
use super::{Annotation, Label, Object, ObjectMeta, lenient};
use crate::redact::redact_in_place;

/// A ReplicaSet, Deployment, StatefulSet or DaemonSet: one shape, since they share the names of their counters. Counters
/// that a kind does not have stay 0.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Workload {
    /// Name, owners, revision.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "lenient::object")]
    pub spec: WorkloadSpec,
    /// What there is.
    #[prost(message, required, tag = "3")]
    #[serde(deserialize_with = "lenient::object")]
    pub status: WorkloadStatus,
}

impl Object for Workload {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn compact(&mut self) {
        self.status.conditions.iter_mut().for_each(NodeCondition::hide_secrets);
        redact_in_place(&mut self.status.message);
        self.metadata.adopt(std::mem::take(&mut self.spec.template.metadata.labels));
        self.metadata.compact();
    }
}

/// The spec of a workload.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// Wanted pods; none counts as 1. A DaemonSet has none: see `desired_number_scheduled`.
    #[prost(int32, optional, tag = "1")]
    #[serde(deserialize_with = "lenient::some_int32")]
    pub replicas: Option<i32>,
    /// How pods are replaced, of a StatefulSet or DaemonSet.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "lenient::object")]
    pub update_strategy: UpdateStrategy,
    /// What its pods are made of.
    #[prost(message, required, tag = "3")]
    #[serde(deserialize_with = "lenient::object", skip_serializing)]
    pub template: PodTemplate,
}

/// `core/v1.PodTemplateSpec`: only the labels, which become the workload's own when it is decoded.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Empty once it is decoded.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    pub metadata: TemplateMeta,
}

/// The metadata of a template.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct TemplateMeta {
    /// In the order of their keys.
    #[prost(message, repeated, tag = "11")]
    #[serde(deserialize_with = "lenient::entries", skip_serializing)]
    pub labels: Vec<Label>,
}

/// `updateStrategy` of a StatefulSet or DaemonSet.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// `RollingUpdate` or `OnDelete`.
    #[prost(string, tag = "1")]
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub kind: String,
    /// Of a StatefulSet.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "lenient::object")]
    pub rolling_update: RollingUpdate,
}

/// `rollingUpdate` of a StatefulSet.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RollingUpdate {
    /// Pods with a lower ordinal keep the old revision.
    #[prost(int32, tag = "1")]
    #[serde(deserialize_with = "lenient::int32")]
    pub partition: i32,
}

/// The status of a workload.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Pods that exist.
    #[prost(int32, tag = "1")]
    #[serde(deserialize_with = "lenient::int32")]
    pub replicas: i32,
    /// Pods that are ready.
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "lenient::int32")]
    pub ready_replicas: i32,
    /// DaemonSet: pods that exist where they should.
    #[prost(int32, tag = "3")]
    #[serde(deserialize_with = "lenient::int32")]
    pub current_number_scheduled: i32,
    /// DaemonSet: pods that should run.
    #[prost(int32, tag = "4")]
    #[serde(deserialize_with = "lenient::int32")]
    pub desired_number_scheduled: i32,
    /// DaemonSet: pods that are ready.
    #[prost(int32, tag = "5")]
    #[serde(deserialize_with = "lenient::int32")]
    pub number_ready: i32,
    /// `Progressing`, `Available`, `ReplicaFailure`.
    #[prost(message, repeated, tag = "6")]
    #[serde(deserialize_with = "lenient::objects")]
    pub conditions: Vec<NodeCondition>,
    /// The generation of the spec that this status is about.
    #[prost(int64, tag = "7")]
    #[serde(deserialize_with = "lenient::int64")]
    pub observed_generation: i64,
    /// Pods of the newest revision.
    #[prost(int32, tag = "8")]
    #[serde(deserialize_with = "lenient::int32")]
    pub updated_replicas: i32,
    /// Pods that have been ready for `minReadySeconds`.
    #[prost(int32, tag = "9")]
    #[serde(deserialize_with = "lenient::int32")]
    pub available_replicas: i32,
    /// DaemonSet: pods of the newest revision.
    #[prost(int32, tag = "10")]
    #[serde(deserialize_with = "lenient::int32")]
    pub updated_number_scheduled: i32,
    /// DaemonSet: pods that have been ready for `minReadySeconds`.
    #[prost(int32, tag = "11")]
    #[serde(deserialize_with = "lenient::int32")]
    pub number_available: i32,
    /// StatefulSet: the revision that is replaced.
    #[prost(string, tag = "12")]
    #[serde(deserialize_with = "lenient::text")]
    pub current_revision: String,
    /// StatefulSet: the newest revision.
    #[prost(string, tag = "13")]
    #[serde(deserialize_with = "lenient::text")]
    pub update_revision: String,
    /// Rollout of Argo Rollouts: `Healthy`, `Progressing`, `Paused`, `Degraded`.
    #[prost(string, tag = "14")]
    #[serde(deserialize_with = "lenient::text")]
    pub phase: String,
    /// Rollout: why it is in this phase.
    #[prost(string, tag = "15")]
    #[serde(deserialize_with = "lenient::text")]
    pub message: String,
    /// Rollout: the newest revision, as its pods are labelled.
    #[prost(string, tag = "16")]
    #[serde(deserialize_with = "lenient::text")]
    pub current_pod_hash: String,
}

impl Workload {
    /// A condition by type.
    pub fn condition(&self, kind: &str) -> Option<&NodeCondition> {
        self.status.conditions.iter().find(|c| c.kind == kind)
    }

    /// The revision of a Deployment that a ReplicaSet is, or that a Deployment is at; 0 if that is not known.
    pub fn revision(&self) -> i64 {
        self.metadata.annotation(Annotation::REVISION).and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// How many pods it wants.
    pub fn wanted(&self) -> i32 {
        self.spec.replicas.unwrap_or(1).max(self.status.desired_number_scheduled)
    }

    /// How many pods there are of it.
    pub fn pods(&self) -> i32 {
        self.status.replicas.max(self.status.current_number_scheduled)
    }

    /// How many of them are ready.
    pub fn ready(&self) -> i32 {
        self.status.ready_replicas.max(self.status.number_ready)
    }
}

/// `batch/v1.Job`.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Job {
    /// Name and owner.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "lenient::object")]
    pub spec: JobSpec,
    /// What came of it.
    #[prost(message, required, tag = "3")]
    #[serde(deserialize_with = "lenient::object")]
    pub status: JobStatus,
}

impl Object for Job {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn compact(&mut self) {
        self.status.conditions.iter_mut().for_each(NodeCondition::hide_secrets);
        self.metadata.adopt(std::mem::take(&mut self.spec.template.metadata.labels));
        self.metadata.compact();
    }
}

impl Job {
    /// Whether it goes on and says that it has no pod: for a moment, in its back-off, or because none can be made.
    pub fn lacks_pods(&self) -> bool {
        let over = |c: &NodeCondition| {
            c.status == "True"
                && matches!(c.kind.as_str(), "Complete" | "Failed" | "FailureTarget" | "SuccessCriteriaMet")
        };
        let status = &self.status;
        !self.spec.suspend
            && status.active == 0
            && !status.completion_time.is_known()
            && !status.conditions.iter().any(over)
    }
}

/// `batch/v1.JobSpec`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JobSpec {
    /// Failures that are allowed; 6 by default.
    #[prost(int32, optional, tag = "1")]
    #[serde(deserialize_with = "lenient::some_int32")]
    pub backoff_limit: Option<i32>,
    /// Seconds.
    #[prost(int64, optional, tag = "2")]
    #[serde(deserialize_with = "lenient::some_int64")]
    pub active_deadline_seconds: Option<i64>,
    /// No pods are to run.
    #[prost(bool, tag = "4")]
    #[serde(deserialize_with = "lenient::flag")]
    pub suspend: bool,
    /// What its pods are made of.
    #[prost(message, required, tag = "6")]
    #[serde(deserialize_with = "lenient::object", skip_serializing)]
    pub template: PodTemplate,
}

/// `batch/v1.JobStatus`.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JobStatus {
    /// `Complete`, `Failed`, `FailureTarget`, `Suspended`.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "lenient::objects")]
    pub conditions: Vec<NodeCondition>,
    /// When it began.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "super::time::lenient")]
    pub start_time: super::Time,
    /// When it succeeded.
    #[prost(message, required, tag = "3")]
    #[serde(deserialize_with = "super::time::lenient")]
    pub completion_time: super::Time,
    /// Pods that run or are about to.
    #[prost(int32, tag = "7")]
    #[serde(deserialize_with = "lenient::int32")]
    pub active: i32,
    /// Pods that failed.
    #[prost(int32, tag = "4")]
    #[serde(deserialize_with = "lenient::int32")]
    pub failed: i32,
    /// Indexes that failed, such as `1,3-5`.
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "lenient::text")]
    pub failed_indexes: String,
}

/// `batch/v1.CronJob`: only its identity, whether it is to run, and its last times.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CronJob {
    /// Name.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[prost(message, required, tag = "3")]
    #[serde(deserialize_with = "lenient::object")]
    pub spec: CronJobSpec,
    /// What came of it.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "lenient::object")]
    pub status: CronJobStatus,
}

impl Object for CronJob {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn compact(&mut self) {
        self.metadata.adopt(std::mem::take(&mut self.spec.job_template.spec.template.metadata.labels));
        self.metadata.compact();
    }
}

/// `batch/v1.CronJobSpec`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CronJobSpec {
    /// No Jobs are to be made.
    #[prost(bool, tag = "4")]
    #[serde(deserialize_with = "lenient::flag")]
    pub suspend: bool,
    /// What its Jobs are made of.
    #[prost(message, required, tag = "5")]
    #[serde(deserialize_with = "lenient::object", skip_serializing)]
    pub job_template: JobTemplate,
}

/// `batch/v1.JobTemplateSpec`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct JobTemplate {
    /// Of the Jobs.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "lenient::object")]
    pub spec: JobSpec,
}

/// `batch/v1.CronJobStatus`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CronJobStatus {
    /// When a Job of it was last created.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "super::time::lenient")]
    pub last_schedule_time: super::Time,
    /// When a Job of it last succeeded.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "super::time::lenient")]
    pub last_successful_time: super::Time,
}

/// `core/v1.PersistentVolumeClaim`: only which one it is. Why it has no volume is said in events about it.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PersistentVolumeClaim {
    /// Name.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    pub metadata: ObjectMeta,
}

impl Object for PersistentVolumeClaim {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn compact(&mut self) {
        self.metadata.compact();
    }
}
