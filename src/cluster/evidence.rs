//! Evidence about one pod: its events, and the end of a container's log. Bounded in memory; the caller bounds the time.
//!
//! Must not know what the evidence is for. A log is never logged, nor quoted in a failure.

use http_body_util::BodyExt;
use kube::Client;
use kube::api::{ListParams, LogParams};
use kube::client::Body;

use super::client::{Failure, Kind};
use super::lean::{self, BoundedClient};
use super::watch::Resource;
use crate::diagnosis::logs::{MAX_BYTES, MAX_LINES};
use crate::objects::{Event, Object, Pod, Revision};

/// Events that are asked for.
const EVENTS: u32 = 200;
/// Pods of one revision that are asked for.
const SIBLINGS: u32 = 100;

/// Claims of one pod whose events are worth asking for.
pub const MAX_CLAIMS: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogOf {
    pub namespace: String,
    pub pod: String,
    pub container: String,
    /// Of the container before the present one.
    pub previous: bool,
}

/// The events about an object that has these uids: a static pod has two.
pub async fn events(
    client: &BoundedClient,
    namespace: &str,
    name: &str,
    uids: &[String],
) -> Result<Vec<Event>, Failure> {
    let selector = match uids {
        [uid] => format!("involvedObject.uid={uid}"),
        _ => format!("involvedObject.kind=Pod,involvedObject.name={name}"),
    };
    let params = ListParams::default().fields(&selector).limit(EVENTS);
    let mut events: Vec<Event> = list(client, namespace, Resource::EVENTS, &params).await?;
    events.retain(|event| uids.contains(&event.involved_object.uid));
    Ok(events)
}

/// The events about a claim, by its name.
pub async fn claim_events(
    client: &BoundedClient,
    namespace: &str,
    claim: &str,
) -> Result<Vec<Event>, Failure> {
    let selector = format!("involvedObject.kind=PersistentVolumeClaim,involvedObject.name={claim}");
    list(client, namespace, Resource::EVENTS, &ListParams::default().fields(&selector).limit(EVENTS)).await
}

/// The events about a NodeClaim, which has no namespace: they are in `default`.
pub async fn node_claim_events(client: &BoundedClient, claim: &str) -> Result<Vec<Event>, Failure> {
    let selector = format!("involvedObject.kind=NodeClaim,involvedObject.name={claim}");
    list(client, "default", Resource::EVENTS, &ListParams::default().fields(&selector).limit(EVENTS)).await
}

/// Pods with this label, a hundred of them at most.
pub async fn pods_with(
    client: &BoundedClient,
    namespace: &str,
    label: &str,
    value: &str,
) -> Result<Vec<Pod>, Failure> {
    let params = ListParams::default().labels(&format!("{label}={value}")).limit(SIBLINGS);
    list(client, namespace, Resource::PODS, &params).await
}

/// The templates of these ReplicaSets, as far as they are still there.
pub async fn replica_sets(
    client: &BoundedClient,
    namespace: &str,
    names: &[String],
) -> Result<Vec<Revision>, Failure> {
    let mut sets = Vec::new();
    for name in names {
        let params = ListParams::default().fields(&format!("metadata.name={name}")).limit(1);
        sets.extend(list::<Revision>(client, namespace, Resource::REPLICA_SETS, &params).await?);
    }
    Ok(sets)
}

/// One page of a list.
async fn list<T: Object>(
    client: &BoundedClient,
    namespace: &str,
    resource: Resource,
    params: &ListParams,
) -> Result<Vec<T>, Failure> {
    Ok(lean::page(&lean::reading(client, resource, Some(namespace)), params).await?.items)
}

/// The end of a log, raw. Its lines may be of any length, so all of them are read, and the end is kept.
pub async fn log(client: &Client, of: &LogOf) -> Result<Vec<u8>, Failure> {
    // `limitBytes` would cut off the end, which is what matters.
    let params = LogParams {
        container: Some(of.container.clone()),
        previous: of.previous,
        tail_lines: Some(MAX_LINES as i64),
        ..LogParams::default()
    };
    let request = kube::core::Request::new(format!("/api/v1/namespaces/{}/pods", of.namespace))
        .logs(&of.pod, &params)
        .map_err(|e| Failure::of(&kube::Error::BuildRequest(e)))?;
    let response = client.send(request.map(Body::from)).await.map_err(|e| Failure::of(&e))?;
    if !response.status().is_success() {
        return Err(Failure::response(response).await);
    }
    let mut body = response.into_body();
    let mut tail: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        // What has come so far is not the end, and would be taken for the last words.
        let frame = frame
            .map_err(|_| Failure::new(Kind::Unreachable, "the connection broke in the middle of the log"))?;
        let Ok(bytes) = frame.into_data() else { continue };
        tail.extend_from_slice(&bytes);
        if tail.len() > 2 * MAX_BYTES {
            tail.drain(..tail.len() - MAX_BYTES);
        }
    }
    tail.drain(..tail.len().saturating_sub(MAX_BYTES));
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::simulator::{self, Cluster, Log};

    #[tokio::test(start_paused = true)]
    async fn of_a_log_with_lines_of_any_length_the_end_is_kept() {
        let cluster = Cluster::new();
        let container = serde_json::json!({"name": "app", "image": "app:1"});
        let pod = serde_json::json!({"kind": "Pod", "apiVersion": "v1",
            "metadata": {"namespace": "shop", "name": "cart"}, "spec": {"containers": [container]}});
        cluster.apply(pod).unwrap();
        let mut pieces = vec![(Duration::ZERO, bytes::Bytes::from(vec![b'x'; 1 << 20])); 16];
        pieces.push((Duration::ZERO, bytes::Bytes::from_static(b"\nfatal: the end\n")));
        cluster.set_log("shop", "cart", "app", false, Log::Slow(pieces));
        let [namespace, pod, container] = ["shop", "cart", "app"].map(str::to_owned);
        let of = LogOf { namespace, pod, container, previous: false };
        let tail = log(&simulator::client(&cluster), &of).await.unwrap();
        assert_eq!(tail.len(), MAX_BYTES);
        assert!(tail.ends_with(b"x\nfatal: the end\n"));
    }
}
