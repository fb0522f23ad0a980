//! The simulated cluster as a Kubernetes API server: a `tower` service from requests to answers, with or without a socket.

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Query;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::{self, Cluster, Object};
use super::encoding::{Encoding, PROTOBUF};
use super::fault::Fault;
use super::resources::{
    EVENTS, RESOURCES, Resource, api_groups, api_resources, api_versions, version, version_of,
};
use super::selector::Filter;
use super::watch::{self, Asked, Start};
use super::{logs, protobuf, table};

/// The body of an answer: a watch's has no end that is known beforehand.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A chunk of a list's body is about this long.
const CHUNK: usize = 64 * 1024;
/// What a watch without `timeoutSeconds` gets; the API server takes 30 to 60 minutes at random.
const WATCH_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The API server: `kube::Client::new(Api::new(cluster), "default")`, or [`super::serve`].
#[derive(Clone)]
pub struct Api {
    cluster: Cluster,
}

impl Api {
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }
}

impl<B> tower::Service<Request<B>> for Api
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Display,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let cluster = self.cluster.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // Reviews are the only bodies read, and are small.
            let body = match parts.method {
                Method::POST => {
                    Limited::new(body, 64 * 1024).collect().await.map(|b| b.to_bytes()).unwrap_or_default()
                }
                _ => Bytes::new(),
            };
            let mut response = answer(&cluster, &parts, &body)
                .await
                .unwrap_or_else(|refusal| refusal.respond(accept(&parts)));
            // As every API server: clients whose clock is wrong judge ages by it.
            if let Ok(date) =
                HeaderValue::from_str(&cluster.now().strftime("%a, %d %b %Y %T GMT").to_string())
            {
                response.headers_mut().insert(http::header::DATE, date);
            }
            Ok(response)
        })
    }
}

/// A failure, on its way to becoming a `Status` in the encoding that the client asked for.
pub(super) struct Refused {
    status: Value,
    retry_after: Option<u32>,
}

/// Boxed, since nearly every function here returns it.
pub(super) type Refusal = Box<Refused>;

impl Refused {
    fn respond(self, accept: &str) -> Response<Body> {
        let code = self.status["code"]
            .as_u64()
            .and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
        let code = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = if code != StatusCode::NOT_ACCEPTABLE && accept.trim_start().starts_with(PROTOBUF)
        {
            let body = protobuf::enveloped("v1", "Status", &protobuf::message("Status", &self.status));
            respond(code, PROTOBUF, body)
        } else {
            respond(code, "application/json", self.status.to_string())
        };
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn accept(parts: &Parts) -> &str {
    parts.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("")
}

/// What the path names.
#[derive(Debug, Default)]
struct Target<'a> {
    group: &'a str,
    namespace: &'a str,
    resource: &'a str,
    name: &'a str,
    subresource: &'a str,
}

async fn answer(cluster: &Cluster, parts: &Parts, body: &Bytes) -> Result<Response<Body>, Refusal> {
    let path = parts.uri.path();
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|error| refuse(400, "BadRequest", &format!("the query cannot be read: {error}")))?
        .0;
    let query = Params(query);
    let accept = accept(parts);
    let target = target(path);
    let watching = matches!(query.get("watch"), "true" | "1");
    let (verb, resource) = match &target {
        None => ("get", path.to_owned()),
        Some(_) if parts.method == Method::POST => ("create", full_name(target.as_ref())),
        Some(_) if parts.method != Method::GET => ("write", full_name(target.as_ref())),
        Some(t) if !t.name.is_empty() => ("get", full_name(target.as_ref())),
        Some(_) if watching => ("watch", full_name(target.as_ref())),
        Some(_) => ("list", full_name(target.as_ref())),
    };
    let at = target.as_ref();
    cluster.note(cluster::Request {
        verb,
        resource: resource.clone(),
        namespace: at.map_or("", |t| t.namespace).to_owned(),
        name: at.map_or("", |t| t.name).to_owned(),
        query: parts.uri.query().unwrap_or("").to_owned(),
        accept: accept.to_owned(),
    });
    let mut refuse_protobuf = false;
    let mut cut_list = false;
    let mut bad = None;
    for fault in cluster.faults(verb, &resource) {
        match fault {
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::BlackHole => std::future::pending().await,
            Fault::RefuseProtobuf => refuse_protobuf = true,
            Fault::CutList => cut_list = true,
            Fault::BadItem { at, json } => bad = Some((at, json)),
            Fault::Answer { status, content_type, headers, body } => {
                return Ok(fixed(status, content_type, headers, body));
            }
            Fault::Drip { every } => return Ok(drip(every)),
            Fault::BrokenProtobuf if accept.trim_start().starts_with(PROTOBUF) => {
                let kind =
                    if watching { "application/vnd.kubernetes.protobuf;stream=watch" } else { PROTOBUF };
                return Ok(fixed(200, kind, &[], b"k8s\0\xff\xfe\xfd\x12\x7fmore of no message"));
            }
            other => refuse_for(&other, verb, &resource, at, &query)?,
        }
    }
    if verb == "write" {
        return Err(refuse(405, "MethodNotAllowed", "the simulated cluster is read-only"));
    }
    let Some(target) = target else {
        return document(path);
    };
    if matches!(target.group, "authorization.k8s.io" | "authentication.k8s.io") {
        return review(cluster, &target, verb, body);
    }
    let found = Resource::named(target.resource).filter(|at| {
        RESOURCES[*at].group == target.group || (*at == EVENTS && target.group == "events.k8s.io")
    });
    let Some(at) = found else {
        return Err(refuse(404, "NotFound", "the server could not find the requested resource"));
    };
    let described = &RESOURCES[at];
    if target.resource == "pods" && target.subresource == "log" {
        return logs::answer(cluster, target.namespace, target.name, &query);
    }
    if !target.subresource.is_empty() || verb == "create" {
        return Err(refuse(404, "NotFound", "the server could not find the requested resource"));
    }
    let encoding = Encoding::negotiate(accept, at, target.group, refuse_protobuf).ok_or_else(|| {
        refuse(406, "NotAcceptable", "only the following media types are accepted: application/json")
    })?;
    if !target.name.is_empty() {
        let object = cluster.object(at, target.namespace, target.name);
        let object = object.ok_or_else(|| not_found(described, target.name))?;
        let mut out = Vec::new();
        encoding.write_object(&object, cluster.now(), &mut out);
        return Ok(respond(StatusCode::OK, encoding.content_type(), out));
    }
    let namespace = Some(target.namespace).filter(|ns| !ns.is_empty());
    let filter =
        Filter::new(described, namespace, None, query.get("labelSelector"), query.get("fieldSelector"))
            .map_err(|message| refuse(400, "BadRequest", &message))?;
    let faults = cluster.faults(verb, &resource);
    if let Some(body) =
        faults.iter().find_map(|fault| hostile_body(fault, watching, encoding, &query, cluster))
    {
        let kind = if watching { encoding.stream_type() } else { encoding.content_type() };
        return Ok(stream_or_full(StatusCode::OK, kind, body));
    }
    if watching {
        return open_watch(cluster, at, filter, encoding, &query);
    }
    if faults.contains(&Fault::RepeatContinue) {
        let query = Params(query.0.into_iter().filter(|(key, _)| key != "continue").collect());
        let list = List { next: "again".to_owned(), ..list(cluster, at, &filter, &query)? };
        return Ok(list.respond(encoding, cluster.now(), cut_list, bad));
    }
    let list = list(cluster, at, &filter, &query)?;
    Ok(list.respond(encoding, cluster.now(), cut_list, bad))
}

fn fixed(
    status: u16,
    content_type: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, content_type, Bytes::from_static(body));
    for (name, value) in headers {
        response.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    response
}

fn drip(every: Duration) -> Response<Body> {
    let spaces = futures::stream::repeat(Bytes::from_static(b" ")).then(move |space| async move {
        tokio::time::sleep(every).await;
        Ok(Frame::data(space))
    });
    stream_or_full(StatusCode::OK, "application/json", StreamBody::new(spaces).boxed_unsync())
}

/// The body of an answer that no API server gives; none if the fault is another one.
fn hostile_body(
    fault: &Fault,
    watching: bool,
    encoding: Encoding,
    query: &Params,
    cluster: &Cluster,
) -> Option<Body> {
    let frames = |frames: Vec<(Duration, Vec<u8>)>| {
        let frames = futures::stream::iter(frames).then(|(pause, bytes)| async move {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(Bytes::from(bytes)))
        });
        StreamBody::new(frames).boxed_unsync()
    };
    let bookmark = |ends_list: bool| {
        let mut metadata = json!({"resourceVersion": cluster.version().to_string()});
        if ends_list {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut out = Vec::new();
        let object = json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata});
        encoding.write_value_event("BOOKMARK", &object, &mut out);
        out
    };
    Some(match fault {
        Fault::CloseWatch { after } if watching => frames(vec![(*after, Vec::new())]),
        Fault::BookmarkThenClose if watching => frames(vec![(Duration::ZERO, bookmark(false))]),
        Fault::EmptyThenClose if watching => {
            let streams = !query.get("sendInitialEvents").is_empty();
            frames(vec![(Duration::ZERO, bookmark(streams))])
        }
        Fault::BookmarkThenGone if watching && query.get("sendInitialEvents").is_empty() => {
            let mut out = bookmark(false);
            let gone = status(410, "Expired", "too old resource version", Value::Null);
            encoding.write_value_event("ERROR", &gone, &mut out);
            frames(vec![(Duration::ZERO, out)])
        }
        Fault::Garbage { times, every } if watching => {
            // As a frame it is 3 bytes long, as a line it is one.
            frames(vec![(*every, b"\0\0\0\x03\xff\xfe\n".to_vec()); *times])
        }
        Fault::Endless => {
            let head: &[u8] = match (encoding, watching) {
                (Encoding::Protobuf, true) => &[0x7f, 0xff, 0xff, 0xff],
                (Encoding::Protobuf, false) => b"k8s\0",
                (_, true) => br#"{"type":"ADDED","object":{"metadata":{"name":""#,
                (_, false) => {
                    br#"{"kind":"PodList","metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":""#
                }
            };
            let rest = futures::stream::repeat(Bytes::from(vec![b'a'; CHUNK]));
            let all = futures::stream::once(std::future::ready(Bytes::copy_from_slice(head))).chain(rest);
            StreamBody::new(all.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync()
        }
        _ => return None,
    })
}

fn full_name(target: Option<&Target<'_>>) -> String {
    target.map_or_else(String::new, |t| match t.subresource {
        "" => t.resource.to_owned(),
        sub => format!("{}/{sub}", t.resource),
    })
}

/// Takes `/api/v1/...` and `/apis/GROUP/VERSION/...` apart; none for everything else.
fn target(path: &str) -> Option<Target<'_>> {
    let mut segments = path.split('/').filter(|s| !s.is_empty());
    let group = match segments.next()? {
        "api" => "",
        "apis" => segments.next()?,
        _ => return None,
    };
    segments.next().filter(|version| *version == version_of(group))?;
    let rest: Vec<&str> = segments.collect();
    let (namespace, rest) = match rest.as_slice() {
        // `namespaces/NAME` alone is the namespace itself.
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let mut rest = rest.iter().copied();
    let resource = rest.next()?;
    let name = rest.next().unwrap_or("");
    Some(Target { group, namespace, resource, name, subresource: rest.next().unwrap_or("") })
}

fn document(path: &str) -> Result<Response<Body>, Refusal> {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let value = match segments.as_slice() {
        ["version"] => version(),
        ["livez" | "readyz" | "healthz", ..] => {
            return Ok(respond(StatusCode::OK, "text/plain", "ok"));
        }
        ["api"] => api_versions(),
        ["apis"] => api_groups(),
        ["api", "v1"] => api_resources("").unwrap_or_default(),
        ["apis", group, version] if *version == version_of(group) => api_resources(group)
            .ok_or_else(|| refuse(404, "NotFound", "the server could not find the requested resource"))?,
        _ => {
            return Err(refuse(404, "NotFound", "the server could not find the requested resource"));
        }
    };
    Ok(respond(StatusCode::OK, "application/json", value.to_string()))
}

/// The faults that are an answer of their own.
fn refuse_for(
    fault: &Fault,
    verb: &str,
    resource: &str,
    target: Option<&Target<'_>>,
    query: &Params,
) -> Result<(), Refusal> {
    let forbidden = || {
        let (group, namespace) = target.map_or(("", ""), |t| (t.group, t.namespace));
        let place = match namespace {
            "" => "at the cluster scope".to_owned(),
            ns => format!("in the namespace \"{ns}\""),
        };
        let message = format!(
            "{resource} is forbidden: User \"system:serviceaccount:kubehealer:kubehealer\" cannot {verb} resource \
             \"{resource}\" in API group \"{group}\" {place}"
        );
        refuse(403, "Forbidden", &message)
    };
    let wait = |mut refusal: Refusal, seconds: Option<u32>| {
        refusal.retry_after = seconds;
        refusal
    };
    Err(match fault {
        Fault::Forbidden => forbidden(),
        Fault::ForbiddenExceptIn(namespaces)
            if !namespaces.iter().any(|ns| target.is_some_and(|t| t.namespace == ns)) =>
        {
            forbidden()
        }
        Fault::Unauthorized => refuse(401, "Unauthorized", "Unauthorized"),
        Fault::Unavailable { retry_after } => wait(
            refuse(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
            *retry_after,
        ),
        Fault::TooManyRequests { retry_after } => wait(
            refuse(429, "TooManyRequests", "Too many requests, please try again later."),
            Some(*retry_after),
        ),
        Fault::InternalError => {
            refuse(500, "InternalError", "an error on the server has prevented the request from succeeding")
        }
        Fault::GoneOnPage if !query.get("continue").is_empty() => expired_token(),
        Fault::GoneOnWatch if verb == "watch" => refuse(410, "Expired", "too old resource version"),
        Fault::RefuseWatchList if !query.get("sendInitialEvents").is_empty() => invalid_options(
            "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
        ),
        _ => return Ok(()),
    })
}

fn invalid_options(why: &str) -> Refusal {
    let message = format!("ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: {why}");
    refuse(422, "Invalid", &message)
}

fn expired_token() -> Refusal {
    refuse(
        410,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You must start a new list without \
         the continue parameter.",
    )
}

fn not_found(resource: &Resource, name: &str) -> Refusal {
    let message = match resource.group {
        "" => format!("{} \"{name}\" not found", resource.plural),
        group => format!("{}.{group} \"{name}\" not found", resource.plural),
    };
    let details = json!({"name": name, "group": resource.group, "kind": resource.plural});
    Box::new(Refused { status: status(404, "NotFound", &message, details), retry_after: None })
}

/// A failure as the API server words it.
pub(super) fn status(code: u16, reason: &str, message: &str, details: Value) -> Value {
    let mut value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "code": code
    });
    if !details.is_null() {
        value["details"] = details;
    }
    value
}

pub(super) fn refuse(code: u16, reason: &str, message: &str) -> Refusal {
    Box::new(Refused { status: status(code, reason, message, Value::Null), retry_after: None })
}

pub(super) fn respond(
    code: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    stream_or_full(code, content_type, Full::new(body.into()).map_err(|never| match never {}).boxed_unsync())
}

pub(super) fn stream_or_full(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Empty when it is absent.
    pub(super) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str())
    }

    pub(super) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Refusal> {
        match self.get(key) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| refuse(400, "BadRequest", &format!("invalid value for {key}: {text:?}"))),
        }
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), "true" | "1")
    }
}

fn review(
    cluster: &Cluster,
    target: &Target<'_>,
    verb: &str,
    body: &Bytes,
) -> Result<Response<Body>, Refusal> {
    if verb == "create" && matches!(target.resource, "tokenreviews" | "subjectaccessreviews") {
        return review_user(cluster, target.resource, body);
    }
    if target.resource != "selfsubjectaccessreviews" || verb != "create" {
        return Err(refuse(404, "NotFound", "the server could not find the requested resource"));
    }
    // kubectl sends it in protobuf.
    let review = protobuf::decode_enveloped("AccessReview", body);
    let mut review: Value = review
        .map(|mut review| {
            review["kind"] = json!("SelfSubjectAccessReview");
            review["apiVersion"] = json!("authorization.k8s.io/v1");
            review
        })
        .or_else(|| serde_json::from_slice(body).ok())
        .filter(Value::is_object)
        .ok_or_else(|| refuse(400, "BadRequest", "the body is no SelfSubjectAccessReview"))?;
    let asked = &review["spec"]["resourceAttributes"];
    let word = |key: &str| asked[key].as_str().unwrap_or("");
    let resource = match word("subresource") {
        "" => word("resource").to_owned(),
        sub => format!("{}/{sub}", word("resource")),
    };
    let denied = cluster.faults(word("verb"), &resource).iter().any(|fault| match fault {
        Fault::Forbidden => true,
        Fault::ForbiddenExceptIn(namespaces) => !namespaces.iter().any(|ns| ns == word("namespace")),
        _ => false,
    });
    review["status"] =
        json!({"allowed": !denied, "reason": if denied { "" } else { "RBAC: allowed by the simulator" }});
    Ok(respond(StatusCode::CREATED, "application/json", review.to_string()))
}

/// Whose a token is, and what that user may get beside resources.
fn review_user(cluster: &Cluster, resource: &str, body: &Bytes) -> Result<Response<Body>, Refusal> {
    let mut review: Value = serde_json::from_slice(body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| refuse(400, "BadRequest", "the body is no review"))?;
    let spec = &review["spec"];
    let status = if resource == "tokenreviews" {
        match cluster.user_of(spec["token"].as_str().unwrap_or("")) {
            Some(name) => json!({"authenticated": true, "user": {
                "username": name, "uid": format!("uid-of-{name}"), "groups": ["system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]}}}),
            None => json!({"user": {}, "error": "invalid bearer token"}),
        }
    } else {
        let asked = &spec["nonResourceAttributes"];
        let user = spec["user"].as_str().unwrap_or("");
        // As RBAC would, whoever is asked about without what the token review said is somebody else.
        let is_whole = spec["uid"] == format!("uid-of-{user}").as_str()
            && spec["groups"] == json!(["system:authenticated"])
            && spec["extra"].is_object();
        let allowed =
            is_whole && asked["verb"] == "get" && cluster.may_get(user, asked["path"].as_str().unwrap_or(""));
        json!({"allowed": allowed})
    };
    review["status"] = status;
    if let Some(spec) = review["spec"].as_object_mut() {
        spec.remove("token");
    }
    Ok(respond(StatusCode::CREATED, "application/json", review.to_string()))
}

fn open_watch(
    cluster: &Cluster,
    resource: usize,
    filter: Filter,
    encoding: Encoding,
    query: &Params,
) -> Result<Response<Body>, Refusal> {
    let bookmarks = query.flag("allowWatchBookmarks");
    let from: Option<u64> = query.number("resourceVersion")?;
    let initial = match query.get("sendInitialEvents") {
        "" => None,
        value => Some(value == "true" || value == "1"),
    };
    match (initial, query.get("resourceVersionMatch")) {
        (None, "") | (Some(_), "NotOlderThan") => {}
        (None, _) => {
            return Err(invalid_options(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        (Some(_), _) => {
            return Err(invalid_options(
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
    }
    let newest = cluster.version();
    let start = match (initial, from) {
        (Some(true), _) => Start::Everything { marked: bookmarks },
        (None, None | Some(0)) => Start::Everything { marked: false },
        (Some(false), None | Some(0)) => Start::After(newest),
        (_, Some(version)) => Start::After(version),
    };
    // A watch alone is not refused: it is silent until the version has been passed.
    if initial == Some(true) && from.is_some_and(|version| version > newest) {
        let message = format!("Too large resource version: {}, current: {newest}", from.unwrap_or(0));
        return Err(refuse(504, "Timeout", &message));
    }
    let timeout =
        query.number("timeoutSeconds")?.filter(|s| *s > 0).map_or(WATCH_TIMEOUT, Duration::from_secs);
    let body = match start {
        // As the API server does: the answer is 200, and its only event says Gone.
        Start::After(version) if version < cluster.floor(resource) => {
            let message = format!("too old resource version: {version} ({})", cluster.floor(resource));
            let mut out = Vec::new();
            encoding.write_value_event("ERROR", &status(410, "Expired", &message, Value::Null), &mut out);
            Full::new(Bytes::from(out)).map_err(|never| match never {}).boxed_unsync()
        }
        start => {
            let asked = Asked { resource, filter, encoding, bookmarks, timeout, start };
            StreamBody::new(watch::frames(cluster.clone(), asked)).boxed_unsync()
        }
    };
    Ok(stream_or_full(StatusCode::OK, encoding.stream_type(), body))
}

/// One page of a list.
pub(super) struct List {
    resource: usize,
    version: u64,
    next: String,
    remaining: Option<usize>,
    items: Vec<Arc<Object>>,
}

fn list(cluster: &Cluster, resource: usize, filter: &Filter, query: &Params) -> Result<List, Refusal> {
    let from: Option<u64> = query.number("resourceVersion")?;
    // From the watch cache, which knows no pages.
    let cached = from == Some(0) && query.get("resourceVersionMatch") != "Exact";
    let limit = query.number::<usize>("limit")?.filter(|limit| *limit > 0 && !cached).unwrap_or(usize::MAX);
    let (version, start, snapshot) = match query.get("continue") {
        "" => {
            let (version, snapshot) = cluster.snapshot(resource);
            if from.is_some_and(|from| from > version) {
                let message =
                    format!("Too large resource version: {}, current: {version}", from.unwrap_or(0));
                return Err(refuse(504, "Timeout", &message));
            }
            (version, 0, snapshot)
        }
        token => {
            let parts =
                token.split_once('.').and_then(|(v, i)| Some((v.parse().ok()?, i.parse::<usize>().ok()?)));
            let (version, start) = parts.ok_or_else(|| {
                refuse(400, "BadRequest", "continue key is not valid: it cannot be decoded")
            })?;
            (version, start, cluster.snapshot_at(resource, version).ok_or_else(expired_token)?)
        }
    };
    let mut rest = snapshot.iter().enumerate().skip(start).filter(|(_, object)| filter.matches(object));
    let items: Vec<_> = rest.by_ref().take(limit).map(|(_, object)| object.clone()).collect();
    let next = rest.next().map(|(at, _)| at);
    let remaining = next.filter(|_| !filter.selects()).map(|_| 1 + rest.count());
    Ok(List {
        resource,
        version,
        next: next.map_or_else(String::new, |at| format!("{version}.{at}")),
        remaining,
        items,
    })
}

impl List {
    fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if !self.next.is_empty() {
            metadata["continue"] = json!(self.next);
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        metadata
    }

    fn respond(
        self,
        encoding: Encoding,
        now: Timestamp,
        cut: bool,
        bad: Option<(usize, Bytes)>,
    ) -> Response<Body> {
        let content_type = encoding.content_type();
        if encoding == Encoding::Protobuf {
            return self.protobuf(cut, bad);
        }
        if encoding == Encoding::Table {
            let mut table = table::table(self.resource, &self.items, true, now);
            table["metadata"] = self.metadata();
            return respond(StatusCode::OK, content_type, table.to_string());
        }
        let resource = &RESOURCES[self.resource];
        let api_version = encoding.api_version(resource);
        let kind = encoding.list_kind(resource);
        let mut head = format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":"#);
        head.push_str(&self.metadata().to_string());
        head.push_str(r#","items":["#);
        let mut items = self.items.into_iter().enumerate().peekable();
        let half = items.len() / 2;
        let mut head = Some(head);
        // Rendered chunk by chunk: a list of a large cluster is a gigabyte.
        let chunks = std::iter::from_fn(move || {
            let (mut out, mut last) = match head.take() {
                Some(head) => (head.into_bytes(), items.len() == 0),
                None if items.len() == 0 => return None,
                None => (Vec::with_capacity(CHUNK + CHUNK / 4), false),
            };
            while out.len() < CHUNK
                && let Some((at, object)) = items.next()
            {
                if cut && at >= half {
                    let error =
                        io::Error::new(io::ErrorKind::ConnectionReset, "the simulated connection broke");
                    return Some(Err(error));
                }
                match &bad {
                    Some((place, json)) if *place == at => out.extend_from_slice(json),
                    _ => encoding.write_item(&object, &mut out),
                }
                last = items.peek().is_none();
                if !last {
                    out.push(b',');
                }
            }
            if last {
                out.extend_from_slice(b"]}\n");
            }
            Some(Ok(Frame::data(Bytes::from(out))))
        });
        let body = StreamBody::new(futures::stream::iter(chunks)).boxed_unsync();
        stream_or_full(StatusCode::OK, content_type, body)
    }
}

impl List {
    /// In one chunk, since its length comes first.
    fn protobuf(self, cut: bool, bad: Option<(usize, Bytes)>) -> Response<Body> {
        let kind = format!("{}List", RESOURCES[self.resource].kind);
        let mut raw = protobuf::list_head(&self.metadata());
        for (at, object) in self.items.iter().enumerate() {
            match &bad {
                Some((place, bytes)) if *place == at => protobuf::item(bytes, &mut raw),
                _ => protobuf::item(&object.protobuf(), &mut raw),
            }
        }
        let mut body = protobuf::enveloped("v1", &kind, &raw);
        if !cut {
            return respond(StatusCode::OK, PROTOBUF, body);
        }
        body.truncate(body.len() / 2);
        let error = io::Error::new(io::ErrorKind::ConnectionReset, "the simulated connection broke");
        let chunks = [Ok(Frame::data(Bytes::from(body))), Err(error)];
        stream_or_full(
            StatusCode::OK,
            PROTOBUF,
            StreamBody::new(futures::stream::iter(chunks)).boxed_unsync(),
        )
    }
}
