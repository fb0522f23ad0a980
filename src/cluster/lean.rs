//! Our slim objects as kube's `Api` and kube-runtime's `watcher` take them: with the resourceVersion as their only metadata.
//! Reading one never fails on its content, so that one bad object blocks neither a list nor a watch.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};
use kube::core::DynamicResourceScope;
use kube::{Client, Error};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::client::{Failure, Kind};
use super::envelope::BASE64;
use super::health::WatchHealth;
use super::transport::{self, Wire};
use super::watch::{Resource, Settings, WatchScope};
use crate::objects::Object;
use crate::objects::decode::{Unread, json_object, protobuf_object};

/// How long the answer to somebody who waits may take to begin.
const READ_ANSWER: Duration = Duration::from_secs(30);

/// An object, or what is known of one that did not decode. Behind a pointer, since kube moves its events often.
#[derive(Clone)]
pub struct Lean<T>(Box<Inner<T>>);

#[derive(Clone)]
struct Inner<T> {
    /// Of it kube-runtime reads the resourceVersion alone.
    meta: ObjectMeta,
    object: Result<T, Unread>,
}

impl<T> Lean<T> {
    pub fn into_object(self) -> Result<T, Unread> {
        self.0.object
    }
}

/// kube-runtime logs with it, and an object may hold a password.
impl<T> fmt::Debug for Lean<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lean")
    }
}

impl<'de, T: Object> Deserialize<'de> for Lean<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let protobuf = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let object: Result<T, Unread> = match protobuf {
            // What the transport wrote. Another text is no object in any case.
            Some(text) => {
                BASE64.decode(text).map_err(|_| Unread::default()).and_then(|bytes| protobuf_object(&bytes))
            }
            None => json_object(raw),
        };
        let version = match &object {
            Ok(object) => &object.meta().resource_version,
            Err(unread) => &unread.resource_version,
        };
        let meta = ObjectMeta { resource_version: Some(version.clone()), ..ObjectMeta::default() };
        Ok(Self(Box::new(Inner { meta, object })))
    }
}

impl<T: Object> kube::Resource for Lean<T> {
    type DynamicType = Resource;
    type Scope = DynamicResourceScope;

    fn kind(of: &Resource) -> Cow<'_, str> {
        of.plural.into()
    }
    fn group(of: &Resource) -> Cow<'_, str> {
        of.api.strip_prefix("apis/").and_then(|api| api.split('/').next()).unwrap_or_default().into()
    }
    fn version(of: &Resource) -> Cow<'_, str> {
        of.api.rsplit('/').next().unwrap_or_default().into()
    }
    fn plural(of: &Resource) -> Cow<'_, str> {
        of.plural.into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.0.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.meta
    }
}

/// The objects of a resource, in one namespace or in all of them.
pub fn api<T: Object>(client: Client, resource: &Resource, namespace: Option<&str>) -> Api<Lean<T>> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    }
}

/// The same over a transport, for requests of its own.
pub fn reading<T: Object>(
    client: &BoundedClient,
    resource: Resource,
    namespace: Option<&str>,
) -> Api<Lean<T>> {
    reader(client, resource, namespace).0
}

/// The same, with the wire, which tells the server's time.
pub(super) fn reader<T: Object>(
    client: &BoundedClient,
    resource: Resource,
    namespace: Option<&str>,
) -> (Api<Lean<T>>, Arc<Wire>) {
    let settings = Settings { answer: READ_ANSWER, ..Settings::default() };
    let health = WatchHealth::new(&resource, &WatchScope::default(), &settings);
    let wire = Arc::new(Wire::new(resource, health, &settings, Arc::clone(&client.turn)));
    let client = transport::client(client.client.clone(), Arc::clone(&wire));
    (api(client, &resource, namespace), wire)
}

/// A client of which one long answer is read at a time, so that all together fit into the memory limit.
#[derive(Clone)]
pub struct BoundedClient {
    pub client: Client,
    /// Who reads a long answer.
    pub(super) turn: Arc<Semaphore>,
}

impl From<Client> for BoundedClient {
    fn from(client: Client) -> Self {
        Self { client, turn: Arc::new(Semaphore::new(1)) }
    }
}

/// One page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// What could be read.
    pub items: Vec<T>,
    /// What could not, with its index in the page.
    pub unread: Vec<Unread>,
    /// Asks for the next page; empty on the last one.
    pub continue_token: String,
}

/// Reads one page of a list, its objects compacted.
pub async fn page<T: Object>(api: &Api<Lean<T>>, params: &ListParams) -> Result<Page<T>, Failure> {
    let list = api.list(params).await.map_err(|error| Failure::of(&error))?;
    let continue_token = list.metadata.continue_.unwrap_or_default();
    // Without either a body is no answer of an API server.
    if list.metadata.resource_version.is_none_or(|v| v.is_empty()) && continue_token.is_empty() {
        return Err(Failure::new(Kind::Protocol, NO_LIST));
    }
    let mut page = Page { items: Vec::with_capacity(list.items.len()), unread: Vec::new(), continue_token };
    for (position, item) in list.items.into_iter().enumerate() {
        match item.into_object() {
            Ok(mut object) => {
                object.compact();
                page.items.push(object);
            }
            Err(unread) => page.unread.push(Unread { position, ..unread }),
        }
    }
    Ok(page)
}

/// What is said of a list without a resourceVersion.
pub(super) const NO_LIST: &str = "the answer is not a list of Kubernetes objects";

/// Whether an error is of a body that kube could not read.
pub(super) fn is_unreadable(error: &Error) -> bool {
    matches!(error, Error::SerdeError(_) | Error::FromUtf8(_) | Error::LinesCodecMaxLineLengthExceeded)
}
