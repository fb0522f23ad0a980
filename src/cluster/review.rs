//! Asks the API server whose a token is (`TokenReview`) and whether that user may `get` a path (`SubjectAccessReview`), as
//! every component of Kubernetes does that serves metrics.
//!
//! Must not know for what it is asked. A token is never part of a message.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::{Client, Result};

use super::client::Failure;
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

/// Asks both.
pub async fn review(client: &Client, token: &str, path: &str) -> Result<Review, Failure> {
    ask(client, token, path).await.map_err(|error| Failure::of(&error))
}

async fn ask(client: &Client, token: &str, path: &str) -> Result<Review> {
    let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
    let asked = TokenReview { spec, ..TokenReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &asked).await?;
    let status = answer.status.unwrap_or_default();
    let user = status.user.filter(|_| status.authenticated == Some(true)).unwrap_or_default();
    let Some(name) = user.username.filter(|name| !name.is_empty()) else { return Ok(Review::Unknown) };
    let spec = SubjectAccessReviewSpec {
        user: Some(name.clone()),
        groups: user.groups,
        uid: user.uid,
        extra: user.extra,
        non_resource_attributes: Some(NonResourceAttributes {
            path: Some(path.to_owned()),
            verb: Some("get".to_owned()),
        }),
        ..SubjectAccessReviewSpec::default()
    };
    let asked = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &asked).await?;
    let allowed = answer.status.is_some_and(|status| status.allowed);
    Ok(if allowed { Review::Allowed } else { Review::Forbidden(clean(&name).into_owned()) })
}
