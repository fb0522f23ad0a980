//! Errors in words, as RFC 9457 has them.

use std::fmt::Display;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

pub(super) const CONTENT_TYPE: &str = "application/problem+json";

#[derive(Serialize)]
struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
}

pub(super) fn problem(status: StatusCode, detail: impl Display) -> Response {
    (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], json(status, detail)).into_response()
}

/// The same for somebody who is to try again in a second.
pub(super) fn busy(status: StatusCode, detail: impl Display) -> Response {
    ([(header::RETRY_AFTER, "1")], problem(status, detail)).into_response()
}

/// The text alone.
pub(super) fn json(status: StatusCode, detail: impl Display) -> Vec<u8> {
    let title = status.canonical_reason().unwrap_or_default();
    let (status, detail) = (status.as_u16(), detail.to_string());
    super::api::json(&Problem { r#type: "about:blank", title, status, detail })
}
