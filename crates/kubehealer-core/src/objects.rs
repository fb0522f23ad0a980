//! What is read from Kubernetes: slim types that hold only what the analyzer needs.
//!
//! One definition serves both encodings of the API: serde reads JSON (and YAML), prost reads
//! `application/vnd.kubernetes.protobuf`; the tags are the field numbers of Kubernetes' `generated.proto`. Whatever is not
//! declared here is skipped unread: `env`, `envFrom`, `command`, `args`, annotations but the ones named in [`Annotation`].
//! Content never makes decoding fail (see [`lenient`]).
//!
//! Must not know kube, tokio, or how the objects come in; reads no clock.

mod bounds;
pub mod decode;
pub mod event;
pub mod lenient;
pub mod meta;
pub mod node;
pub mod packed;
pub mod pod;
pub mod quantity;
pub mod revision;
pub mod time;
pub mod workload;

pub use event::{Event, EventSeries, EventSource, ObjectReference};
pub use meta::{Annotation, Label, ObjectMeta, OwnerReference};
pub use node::Node;
pub use packed::Packed;
pub use pod::{
    Condition, ConditionStatus, ConditionType, Container, ContainerState, ContainerStatus,
    EphemeralContainer, Pod, PodSpec, PodStatus, Probe, Running, Terminated, Waiting,
};
pub use revision::{Revision, Setting};
pub use time::Time;
pub use workload::{CronJob, Job, PersistentVolumeClaim, Workload};

/// An object of the Kubernetes API that this program reads.
pub trait Object:
    prost::Message + Default + serde::de::DeserializeOwned + Clone + PartialEq + 'static
{
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Drops what only decoding needed, so that both encodings give equal values, and leaves no list spare capacity.
    fn compact(&mut self);
    /// The same without a look at the capacity, for an object that comes by the thousand and is not kept.
    fn trim(&mut self) {
        self.compact();
    }
}

/// An object of another library, such as `k8s_openapi`'s `Pod`, or a [`serde_json::Value`]: whatever writes itself as
/// Kubernetes' JSON.
///
/// # Errors
/// If it cannot be written as JSON, or if that is no JSON object. Content never makes it fail.
pub fn from_object<T: Object>(object: &impl serde::Serialize) -> Result<T, serde_json::Error> {
    let text = serde_json::to_string(object)?;
    let mut object: T = serde_json::from_str(&text)?;
    object.compact();
    Ok(object)
}
