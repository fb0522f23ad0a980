//! The OpenAPI document: a description of the API, and the schemas of a finding and of a diagnosis, which have a file of their own.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// Null if the files cannot be read, which a test rules out.
fn document() -> Value {
    let mut document: Value = serde_saphyr::from_str(include_str!("openapi.yaml")).unwrap_or_default();
    let schema =
        include_str!("../../docs/diagnosis.schema.json").replace("#/$defs/", "#/components/schemas/");
    let mut diagnosis: Map<String, Value> = serde_json::from_str(&schema).unwrap_or_default();
    diagnosis.remove("$schema");
    let parts = diagnosis.remove("$defs");
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    if let (Some(schemas), Some(Value::Object(mut parts))) = (schemas, parts) {
        // An incident is a finding and more: what else an object may have is for whoever it is a part of to say.
        if let Some(Value::Object(finding)) = parts.get_mut("finding") {
            finding.remove("additionalProperties");
        }
        schemas.append(&mut parts);
        schemas.insert("Diagnosis".to_owned(), diagnosis.into());
    }
    document
}
