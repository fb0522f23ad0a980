//! `pods/NAME/log`: what the kubelet answers through the API server, its refusals included.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;

use super::api::{Body, Params, Refusal, refuse, respond, stream_or_full};
use super::cluster::{Cluster, Log};

pub(super) fn answer(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    query: &Params,
) -> Result<Response<Body>, Refusal> {
    let pod = cluster
        .get("pods", namespace, name)
        .ok_or_else(|| refuse(404, "NotFound", &format!("pods \"{name}\" not found")))?;
    let bad = |message: String| refuse(400, "BadRequest", &message);
    let names = |list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array();
        containers.into_iter().flatten().filter_map(|c| c["name"].as_str().map(str::to_owned)).collect()
    };
    let (apps, inits) = (names("containers"), names("initContainers"));
    let container = match (query.get("container"), apps.as_slice()) {
        ("", [only]) => only.clone(),
        ("", _) => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                apps.join(" ")
            );
            if !inits.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", inits.join(" ")));
            }
            return Err(bad(message));
        }
        (asked, _) => asked.to_owned(),
    };
    let known = apps.contains(&container)
        || inits.contains(&container)
        || names("ephemeralContainers").contains(&container);
    if !known {
        return Err(bad(format!("container {container} is not valid for pod {name}")));
    }
    let previous = query.flag("previous");
    let limits = (query.number::<usize>("tailLines")?, query.number::<usize>("limitBytes")?);
    let log = match cluster.log(namespace, name, &container, previous) {
        Some(log) => log,
        None => unwritten(cluster, &pod, &container, previous)?,
    };
    Ok(match log {
        Log::Text(text) => {
            let text = cut(&text, limits);
            let text =
                if query.flag("timestamps") { stamped(&text, &cluster.now().to_string()) } else { text };
            respond(StatusCode::OK, "text/plain", text)
        }
        Log::Gone { container_id } => respond(
            StatusCode::OK,
            "text/plain",
            format!("unable to retrieve container logs for {container_id}"),
        ),
        Log::Failed(message) => return Err(refuse(500, "InternalError", &message)),
        Log::Slow(chunks) => {
            let frames = futures::stream::unfold(chunks.into_iter(), async |mut chunks| {
                let (pause, chunk): (Duration, Bytes) = chunks.next()?;
                tokio::time::sleep(pause).await;
                Some((Ok::<_, io::Error>(Frame::data(chunk)), chunks))
            });
            stream_or_full(StatusCode::OK, "text/plain", StreamBody::new(frames).boxed_unsync())
        }
    })
}

/// For a container whose log nobody set: the previous one while it waits to run again, empty when it has run, else the
/// kubelet's reason why there is none.
fn unwritten(cluster: &Cluster, pod: &Value, container: &str, previous: bool) -> Result<Log, Refusal> {
    let word = |key: &str| pod["metadata"][key].as_str().unwrap_or("");
    let name = word("name");
    let bad = |message: String| refuse(400, "BadRequest", &message);
    let status = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]
        .iter()
        .filter_map(|list| pod["status"][list].as_array())
        .flatten()
        .find(|status| status["name"] == container);
    let Some(status) = status else {
        return Err(bad(format!("container \"{container}\" in pod \"{name}\" is not available")));
    };
    let waiting = &status["state"]["waiting"];
    let ended = &status["lastState"]["terminated"];
    let id = |of: &Value| of["containerID"].as_str().unwrap_or("").to_owned();
    if previous {
        if id(ended).is_empty() {
            return Err(bad(format!(
                "previous terminated container \"{container}\" in pod \"{name}\" not found"
            )));
        }
    } else if waiting.is_object() && id(ended).is_empty() {
        let why = match waiting["reason"].as_str().unwrap_or("") {
            "ErrImagePull" => "image can't be pulled".to_owned(),
            "ImagePullBackOff" => "trying and failing to pull image".to_owned(),
            other => other.to_owned(),
        };
        return Err(bad(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}")));
    } else if waiting.is_object()
        && let Some(log) = cluster.log(word("namespace"), name, container, true)
    {
        return Ok(log);
    }
    Ok(Log::Text(Bytes::new()))
}

fn cut(text: &Bytes, (lines, limit): (Option<usize>, Option<usize>)) -> Bytes {
    let mut start = 0;
    if let Some(lines) = lines {
        let body = text.strip_suffix(b"\n").unwrap_or(text);
        let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        start = match lines {
            0 => text.len(),
            lines => breaks.into_iter().nth(lines - 1).unwrap_or(0),
        };
    }
    let end = limit.map_or(text.len(), |limit| text.len().min(start.saturating_add(limit)));
    text.slice(start..end)
}

fn stamped(text: &[u8], time: &str) -> Bytes {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| [time.as_bytes(), b" ", line].concat()).collect::<Vec<u8>>().into()
}
