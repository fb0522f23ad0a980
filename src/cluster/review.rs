//! Asks the API server whose a token is (`TokenReview`) and whether that user may `get` a path (`SubjectAccessReview`), as
//! every component of Kubernetes does that serves metrics.
//!
//! Must not know for what it is asked. A token is never part of a message.

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Failure, Kind};
use crate::redact::clean;

/// What the API server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// The user may.
    Allowed,
    /// The token is nobody's.
    Unknown,
    /// This user may not.
    Forbidden(String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: Value,
    allowed: bool,
}

/// Asks both.
pub async fn review(client: &Client, token: &str, path: &str) -> Result<Review, Failure> {
    let group = "authentication.k8s.io/v1";
    let spec = json!({"token": token});
    let status = create(client, group, "TokenReview", "tokenreviews", &spec).await?;
    let name = status.user["username"].as_str().unwrap_or_default();
    if !status.authenticated || name.is_empty() {
        return Ok(Review::Unknown);
    }
    let mut spec = json!({"user": name, "nonResourceAttributes": {"path": path, "verb": "get"}});
    for field in ["groups", "uid", "extra"] {
        if let Some(value) = status.user.get(field) {
            spec[field] = value.clone();
        }
    }
    let group = "authorization.k8s.io/v1";
    let answer = create(client, group, "SubjectAccessReview", "subjectaccessreviews", &spec).await?;
    Ok(if answer.allowed { Review::Allowed } else { Review::Forbidden(clean(name).into_owned()) })
}

async fn create(
    client: &Client,
    group: &str,
    kind: &str,
    resource: &str,
    spec: &Value,
) -> Result<Status, Failure> {
    let body = json!({"apiVersion": group, "kind": kind, "spec": spec});
    let request = Request::post(format!("/apis/{group}/{resource}"))
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(|_| Failure::new(Kind::Refused, "the review cannot be written"))?;
    let answer: Answer = client.request(request).await.map_err(|error| Failure::of(&error))?;
    Ok(answer.status)
}
