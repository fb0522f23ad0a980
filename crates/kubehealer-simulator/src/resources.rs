//! The kinds that the simulated cluster serves, and its discovery documents. It knows no objects.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// One kind of object, as discovery names it.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version within the group, the only one that is served.
    pub version: &'static str,
    /// Name in paths: `pods`.
    pub plural: &'static str,
    /// Kind in objects: `Pod`.
    pub kind: &'static str,
    /// Short names that kubectl understands.
    pub short: &'static [&'static str],
    /// False for nodes and namespaces.
    pub namespaced: bool,
    /// What may stand in a field selector besides the name and the namespace, as the API server has it.
    pub fields: &'static [&'static str],
}

impl Resource {
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The position in [`RESOURCES`] of the kind with this `apiVersion` and `kind`.
    pub fn of_kind(api_version: &str, kind: &str) -> Option<usize> {
        RESOURCES
            .iter()
            .position(|r| r.kind == kind && (api_version.is_empty() || r.api_version() == api_version))
    }

    /// The position in [`RESOURCES`] of the kind with this plural name.
    pub fn named(plural: &str) -> Option<usize> {
        RESOURCES.iter().position(|r| r.plural == plural)
    }
}

const fn kind(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    fields: &'static [&'static str],
) -> Resource {
    Resource { group, version: "v1", plural, kind, short, namespaced, fields }
}

/// Every kind served. No Secrets and no ConfigMaps: a request for one is a bug, and answered with 404.
pub static RESOURCES: [Resource; 18] = [
    kind(
        "",
        "pods",
        "Pod",
        &["po"],
        true,
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    kind(
        "",
        "events",
        "Event",
        &["ev"],
        true,
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "type",
        ],
    ),
    kind("", "nodes", "Node", &["no"], false, &["spec.unschedulable"]),
    kind("", "namespaces", "Namespace", &["ns"], false, &["status.phase"]),
    kind("", "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"], true, &[]),
    kind("apps", "replicasets", "ReplicaSet", &["rs"], true, &["status.replicas"]),
    kind("apps", "deployments", "Deployment", &["deploy"], true, &[]),
    kind("apps", "statefulsets", "StatefulSet", &["sts"], true, &[]),
    kind("apps", "daemonsets", "DaemonSet", &["ds"], true, &[]),
    kind("batch", "jobs", "Job", &[], true, &["status.successful"]),
    kind("batch", "cronjobs", "CronJob", &["cj"], true, &[]),
    kind("", "services", "Service", &["svc"], true, &[]),
    kind("apps", "controllerrevisions", "ControllerRevision", &[], true, &[]),
    kind("networking.k8s.io", "ingresses", "Ingress", &["ing"], true, &[]),
    Resource {
        version: "v2",
        ..kind("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"], true, &[])
    },
    Resource { version: "v1alpha1", ..kind("argoproj.io", "rollouts", "Rollout", &["ro"], true, &[]) },
    // What an operator owns pods by, through a kind of its own.
    Resource { version: "v1beta2", ..kind("kafka.strimzi.io", "kafkas", "Kafka", &["k"], true, &[]) },
    Resource {
        version: "v1beta2",
        ..kind("core.strimzi.io", "strimzipodsets", "StrimziPodSet", &["sps"], true, &[])
    },
];

/// Position of pods in [`RESOURCES`].
pub const PODS: usize = 0;
/// Position of events in [`RESOURCES`].
pub const EVENTS: usize = 1;

/// `/version`, as a 1.36 server answers.
pub fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.2", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-07-01T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64"
    })
}

/// `/api`.
pub fn api_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub fn api_groups() -> Value {
    let served: BTreeSet<&str> =
        RESOURCES.iter().map(|r| r.group).filter(|group| !group.is_empty()).collect();
    let groups: Vec<Value> =
        served.into_iter().chain(["events.k8s.io", "authorization.k8s.io"]).map(group).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// The version in which a group is served.
pub fn version_of(group: &str) -> &'static str {
    RESOURCES.iter().find(|r| r.group == group).map_or("v1", |r| r.version)
}

fn group(name: &str) -> Value {
    let version = version_of(name);
    let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

/// `/api/v1`, `/apis/GROUP/VERSION`; none for a group that is not served.
pub fn api_resources(group: &str) -> Option<Value> {
    let verbs = ["get", "list", "watch"];
    let mut list: Vec<Value> = RESOURCES
        .iter()
        .filter(|r| r.group == group || (group == "events.k8s.io" && r.plural == "events"))
        .map(|r| {
            json!({
                "name": r.plural, "singularName": r.kind.to_lowercase(), "namespaced": r.namespaced, "kind": r.kind,
                "verbs": verbs, "shortNames": r.short
            })
        })
        .collect();
    match group {
        "" => list.push(json!({
            "name": "pods/log", "singularName": "", "namespaced": true, "kind": "Pod", "verbs": ["get"]
        })),
        "authorization.k8s.io" => list.push(json!({
            "name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview", "namespaced": false,
            "kind": "SelfSubjectAccessReview", "verbs": ["create"]
        })),
        _ if list.is_empty() => return None,
        _ => {}
    }
    let version = version_of(group);
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list
    }))
}
