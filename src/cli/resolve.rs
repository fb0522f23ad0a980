//! Whatever name a user has leads to pods: those behind a Service, an Ingress, an autoscaler, those that an object of any other kind
//! owns. What can be told from the pods and their owners alone is told by [`crate::select`].

use std::collections::{BTreeSet, HashMap};

use kube::Client;

use super::Trouble;
use crate::cluster::client::{self, Failure};
use crate::cluster::owners::Kinds;
use crate::cluster::snapshot::{self, Progress, Wanted};
use crate::diagnosis::Snapshot;
use crate::objects::{ObjectMeta, OwnerReference};
use crate::select::{self, Kind, Members, Target};

const BY_LABEL: &str = "select its pods by their labels: -l KEY=VALUE";

/// Puts what the targets stand for in their place, and says how.
pub(super) async fn resolve(
    client: &Client,
    targets: Vec<Target>,
    namespace: Option<&str>,
) -> Result<(Vec<Target>, Vec<String>), Trouble> {
    let (mut resolved, mut how) = (Vec::new(), Vec::new());
    for target in targets {
        match target.known_kind() {
            Some(Kind::Service) => resolved.push(service(client, target, namespace, &mut how).await?),
            Some(Kind::Ingress) => {
                let place = place(&target, namespace)?;
                let services = snapshot::ingress_services(client, place, &target.name).await;
                let services = services.map_err(|failure| failed(&target, place, &failure))?;
                if services.is_empty() {
                    return Err(Trouble::new(
                        format_args!("{target} names no Service as its backend"),
                        BY_LABEL,
                    ));
                }
                how.push(format!("{target}: service/{}", services.join(", service/")));
                for name in services {
                    let of = target.beside(Kind::Service.name(), &name, Vec::new());
                    resolved.push(service(client, of, namespace, &mut how).await?);
                }
            }
            Some(Kind::Autoscaler) => {
                let place = place(&target, namespace)?;
                let scaled = snapshot::scaled_by(client, place, &target.name).await;
                let (kind, name) = scaled.map_err(|failure| failed(&target, place, &failure))?;
                let of = target.beside(&kind, &name, Vec::new());
                how.push(format!("{target}: {of}"));
                resolved.push(of);
            }
            None if target.members.is_empty() => {
                resolved.extend(owned(client, target, namespace, &mut how).await?);
            }
            _ => resolved.push(target),
        }
    }
    Ok((resolved, how))
}

/// Tells `KIND/NAME` from `NAMESPACE/POD`, where the word is no kind that every cluster has: a namespace has pods.
pub(super) async fn kinds(client: &Client, targets: &mut [Target]) -> Result<(), Trouble> {
    for target in targets.iter_mut().filter(|target| target.is(Kind::Pod)) {
        let Some(word) = target.namespace.as_deref() else { continue };
        if snapshot::has_pods(client, word).await {
            continue;
        }
        let Ok(kinds) = Kinds::discover(client).await else { continue };
        if let Some(kind) = kinds.named(word).first() {
            *target = Target { namespace: None, kind: (*kind).to_owned(), ..target.clone() };
        }
    }
    Ok(())
}

/// A word that no pod is named stands for the one workload of that name, else for the one pod whose name begins so; says which.
pub(super) async fn words(client: &Client, targets: &mut [Target]) -> Vec<String> {
    let mut how = Vec::new();
    for target in targets.iter_mut().filter(|target| target.is(Kind::Pod)) {
        let place = target.namespace.clone();
        let pods = snapshot::names(client, ("", "v1", "pods"), place.as_deref()).await;
        if pods.is_ok_and(|pods| pods.contains(&target.name)) {
            continue;
        }
        let wanted = Wanted { namespace: place.clone(), ..Wanted::default() };
        // If the cluster cannot be read, the watch that follows says why.
        let Ok(seen) = snapshot::snapshot(client, &wanted, &Progress::default()).await else { continue };
        let (known, mut notes) = (select::names(&seen.snapshot, place.as_deref()), Vec::new());
        let meant = select::meant(target, &seen.snapshot, place.as_deref(), &known, &mut notes);
        if let [one] = meant.as_slice() {
            *target = one.clone();
            how.append(&mut notes);
        }
    }
    how
}

/// Objects of other kinds that are read at most, on the way from pods up to one that is asked for; and how far up.
const MOST_OWNERS: usize = 100;
const MOST_STEPS: usize = 8;

/// The workloads and pods that an object of a kind of its own owns, directly or through others.
async fn owned(
    client: &Client,
    target: Target,
    namespace: Option<&str>,
    how: &mut Vec<String>,
) -> Result<Vec<Target>, Trouble> {
    let place = place(&target, namespace)?.to_owned();
    let wanted = Wanted { namespace: Some(place.clone()), ..Wanted::default() };
    let seen = snapshot::snapshot(client, &wanted, &Progress::default()).await;
    let snapshot = seen.map_err(|failure| failed(&target, &place, &failure))?.snapshot;
    let controllers = select::controllers(&snapshot);
    let chain = |pod| select::owners(pod, &controllers);
    if snapshot.pods.iter().any(|pod| chain(pod).contains(&(target.kind.as_str(), target.name.as_str()))) {
        // Its pods name it themselves.
        return Ok(vec![target]);
    }
    let kinds = Kinds::discover(client).await.map_err(|failure| failed(&target, &place, &failure))?;
    let Some(kind) = kinds.named(&target.kind).first().map(|kind| (*kind).to_owned()) else {
        let near = select::near(&target.kind, kinds.names());
        let hint = if near.is_empty() {
            "see: kubectl api-resources".to_owned()
        } else {
            select::did_you_mean(&near)
        };
        return Err(Trouble::new(format_args!("{target}: the cluster has no kind {}", target.kind), hint));
    };
    let target = Target { kind, ..target };
    let objects = metas(&snapshot);
    let known: BTreeSet<&str> = objects.iter().map(|(_, meta)| meta.uid.as_str()).collect();
    let mut climb = Climb { kinds: &kinds, place: &place, read: HashMap::new() };
    let (mut found, mut through) = (Vec::new(), BTreeSet::new());
    for (kind, meta) in &objects {
        // Those below another one of the snapshot are found with it.
        let owners = meta.owner_references.iter().filter(|owner| !known.contains(owner.uid.as_str()));
        if let Some(way) = climb.to(&target, owners.cloned().collect()).await {
            found.push(target.beside(kind.name(), &meta.name, Vec::new()));
            through.extend(way);
        }
    }
    if found.is_empty() {
        let owners = kinds.owners_of(&target.kind, &place, &target.name, "").await;
        let what = match owners.map_err(|failure| failed(&target, &place, &failure))? {
            Some(_) => format!("{target} owns no pods: no owner reference leads from a pod to it"),
            None => format!("{target}: not found in namespace {place}"),
        };
        return Err(Trouble::new(what, BY_LABEL));
    }
    how.push(path(&target, &through, &found));
    Ok(found)
}

/// The way up from owner to owner.
struct Climb<'k> {
    kinds: &'k Kinds,
    place: &'k str,
    /// Owners of the objects that were read, by uid.
    read: HashMap<String, Vec<OwnerReference>>,
}

impl Climb<'_> {
    /// What lies between these owners and the target; none if it is not above them.
    async fn to(&mut self, target: &Target, mut owners: Vec<OwnerReference>) -> Option<Vec<String>> {
        let mut way = Vec::new();
        for _ in 0..MOST_STEPS {
            if owners.iter().any(|owner| owner.kind == target.kind && owner.name == target.name) {
                return Some(way);
            }
            let mut above = Vec::new();
            for owner in owners {
                if !self.read.contains_key(&owner.uid) && self.read.len() < MOST_OWNERS {
                    let read = self.kinds.owners_of(&owner.kind, self.place, &owner.name, &owner.uid).await;
                    // What may not be read leads nowhere.
                    self.read.insert(owner.uid.clone(), read.ok().flatten().unwrap_or_default());
                }
                above.extend(self.read.get(&owner.uid).into_iter().flatten().cloned());
                way.push(format!("{}/{}", owner.kind, owner.name));
            }
            owners = above;
        }
        None
    }
}

/// How a target was found: `kafka/events: pod/events-0, pod/events-1, which it owns through StrimziPodSet/events`.
fn path(target: &Target, through: &BTreeSet<String>, found: &[Target]) -> String {
    const NAMED: usize = 4;
    let mut names: Vec<String> = found.iter().take(NAMED).map(ToString::to_string).collect();
    if found.len() > NAMED {
        names.push(format!("{} more", found.len() - NAMED));
    }
    let through: Vec<&str> = through.iter().map(String::as_str).collect();
    let through = if through.is_empty() { String::new() } else { format!(" through {}", through.join(", ")) };
    format!("{target}: {}, which it owns{through}", names.join(", "))
}

/// All objects that have pods, and the pods, each with its kind.
fn metas(snapshot: &Snapshot) -> Vec<(Kind, &ObjectMeta)> {
    let workloads = [
        (Kind::Deployment, &snapshot.deployments),
        (Kind::ReplicaSet, &snapshot.replica_sets),
        (Kind::StatefulSet, &snapshot.stateful_sets),
        (Kind::DaemonSet, &snapshot.daemon_sets),
    ];
    let workloads =
        workloads.into_iter().flat_map(|(kind, list)| list.iter().map(move |w| (kind, &w.metadata)));
    let jobs = snapshot.jobs.iter().map(|job| (Kind::Job, &job.metadata));
    let cron_jobs = snapshot.cron_jobs.iter().map(|job| (Kind::CronJob, &job.metadata));
    let pods = snapshot.pods.iter().map(|pod| (Kind::Pod, &pod.metadata));
    workloads.chain(jobs).chain(cron_jobs).chain(pods).collect()
}

/// A Service with what its pods have.
async fn service(
    client: &Client,
    target: Target,
    namespace: Option<&str>,
    how: &mut Vec<String>,
) -> Result<Target, Trouble> {
    let place = place(&target, namespace)?;
    let labels = snapshot::service_labels(client, place, &target.name).await;
    let labels = labels.map_err(|failure| failed(&target, place, &failure))?;
    if labels.is_empty() {
        return Err(Trouble::new(format_args!("{target} selects no pods: it has no selector"), BY_LABEL));
    }
    let terms: Vec<String> = labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let text = terms.join(",");
    how.push(format!("{target}: pods with the labels {text}"));
    let selector = text.parse().map_err(|e| Trouble::new(format_args!("{target}: {e}"), BY_LABEL))?;
    Ok(Target { members: vec![Members::Pods(selector)], ..target })
}

/// In which namespace a target is.
fn place<'t>(target: &'t Target, namespace: Option<&'t str>) -> Result<&'t str, Trouble> {
    let nowhere = || {
        let Target { kind, name, .. } = target;
        Trouble::new(
            format_args!("{target}: the namespace is missing"),
            format_args!("write NAMESPACE/{kind}/{name}, or name it with -n"),
        )
    };
    target.namespace.as_deref().or(namespace).ok_or_else(nowhere)
}

fn failed(target: &Target, place: &str, failure: &Failure) -> Trouble {
    // As the API server says it: `services "cart" not found`.
    if failure.kind == client::Kind::Refused && failure.text.ends_with("\" not found") {
        return Trouble::new(format_args!("{target}: not found in namespace {place}"), BY_LABEL);
    }
    Trouble::new(format_args!("{target}: {}", failure.text), BY_LABEL)
}
