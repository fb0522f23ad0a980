//! The incidents of a running `kubehealer watch`, over its API: groups, or one incident with its timeline.

use std::path::Path;

use form_urlencoded::Serializer;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ABOUT, Answer, CAUSES, Incidents, LIMIT};
use crate::cli::Trouble;
use crate::cluster::client::{self, Kind};
use crate::redact::{clean, cut};
use crate::report::{age, count, wrap};

/// Bytes of an answer of the daemon.
const DOCUMENT: usize = 8 << 20;
/// Incidents that were resolved lately.
const RESOLVED: usize = 5;
/// Facts of one incident, next steps, entries of its timeline.
const ENTRIES: usize = 12;
/// Characters of one of them.
const ENTRY: usize = 400;
/// Columns of a text, and of the labels before it.
const COLUMNS: usize = 124;
const LABEL: usize = 10;

pub(super) async fn answer(
    url: &str,
    ca: Option<&Path>,
    token: Option<&Path>,
    asked: Incidents,
) -> Result<Answer, Trouble> {
    let client = client::daemon(url, ca, token).await.map_err(|e| Trouble::new(e, "see --url"))?;
    let read = async |path: String| -> Result<Value, Trouble> {
        let failed = |why: &str, hint: &str| Trouble::new(format_args!("{url}: {why}"), hint);
        let usual = "is the daemon running there? a port-forward stops when its pod does";
        let body = client::read(&client, &path, DOCUMENT).await.map_err(|e| match e.kind {
            Kind::Unauthorized | Kind::Forbidden => {
                failed(&e.text, "pass a token that is allowed to read it: --token-file FILE")
            }
            _ => failed(&e.text, usual),
        })?;
        serde_json::from_slice(&body).map_err(|_| failed("the answer is not JSON", usual))
    };
    if let Some(id) = &asked.id {
        let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        return Ok(one(&read(format!("/api/v1/incidents/{id}")).await?));
    }
    let filters = [("namespace", &asked.namespace), ("severity", &asked.severity), ("reason", &asked.reason)];
    let filters = filters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let filter = Serializer::new(String::new()).extend_pairs(filters).finish();
    let limit = asked.offset.saturating_add(CAUSES).min(5000);
    let groups = read(format!("/api/v1/groups?limit={limit}&{filter}")).await?;
    let lately = read(format!("/api/v1/incidents?limit=1&{filter}")).await?;
    Ok(list(&groups, &lately, asked.offset))
}

fn list(groups: &Value, lately: &Value, offset: usize) -> Answer {
    let now = time(&groups["observedAt"]).unwrap_or_default();
    let counts = &groups["counts"];
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
    let mut text = format!(
        "{} tracked{}. Open incidents: {} critical, {} warning, {} info, {} of these muted; as of {now}.\n",
        count(number(&groups["trackedPods"]), "pod"),
        match string(&groups["cluster"]) {
            name if name.is_empty() => String::new(),
            name => format!(" in cluster {name}"),
        },
        number(&counts["critical"]),
        number(&counts["warning"]),
        number(&counts["info"]),
        number(&counts["muted"]),
    );
    for note in ["notReady", "scope", "others"] {
        let said = string(&groups[note]);
        if !said.is_empty() {
            text.push_str(&format!("{note}: {said}\n"));
        }
    }
    let mut shown = Vec::new();
    for group in items(&groups["items"]).iter().skip(offset).take(CAUSES) {
        let (pods, incidents) = (number(&group["reach"]["pods"]), number(&group["incidents"]));
        let workloads: Vec<String> = items(&group["workloads"]).iter().take(4).map(string).collect();
        let mut of = format!(
            "\n{}  {} ({})\n  {}{}, {}, {}, first incident {}\n",
            strings(&group["reasons"]).join(", "),
            workloads.join(", "),
            count(pods, "pod"),
            string(&group["severity"]),
            time(&group["since"]).map(|at| format!(", started {}", age(at, now))).unwrap_or_default(),
            string(&group["trend"]),
            count(incidents, "incident"),
            string(&group["first"]),
        );
        field(&mut of, "summary", &[string(&group["summary"])]);
        field(&mut of, "cause", &[cause(&group["cause"])]);
        // A group is short, but for its names: these are cut.
        if text.chars().count() + of.chars().count() > LIMIT - 2000 {
            break;
        }
        text.push_str(&of);
        shown.push(json!({
            "severity": group["severity"], "reasons": group["reasons"], "summary": string(&group["summary"]),
            "cause": code_and_text(&group["cause"]), "workloads": workloads, "pods": pods, "incidents": incidents,
            "since": group["since"], "trend": group["trend"], "firstIncident": group["first"], "causedBy": group["causedBy"],
        }));
    }
    let resolved: Vec<String> =
        items(&lately["resolved"]).iter().take(RESOLVED).map(|over| resolved(over, now)).collect();
    if !resolved.is_empty() {
        text.push_str("\nRecently resolved:\n");
        resolved.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    let (total, next) = (number(&groups["total"]), offset + shown.len());
    let left = total.saturating_sub(next);
    if left > 0 {
        let more = count(left, "more cause");
        text.push_str(&format!(
            "\n{more}, none of them worse: ask again with offset {next}, or narrow by namespace, severity or reason.\n"
        ));
    }
    if !shown.is_empty() {
        text.push_str("\nEvidence, next steps and timeline of an incident: ask with its id.\n");
    }
    let mut data = json!({
        "about": ABOUT, "observedAt": now, "counts": counts, "trackedPods": groups["trackedPods"], "cluster": groups["cluster"],
        "notReady": groups["notReady"], "scope": groups["scope"], "others": groups["others"],
        "causes": shown, "resolved": resolved, "more": left,
    });
    if left > 0 {
        data["nextOffset"] = json!(next);
    }
    Answer { text: format!("{ABOUT}\n\n{text}"), data: Some(data) }
}

/// How an incident ended, in one line.
fn resolved(over: &Value, now: Timestamp) -> String {
    let at = time(&over["resolvedAt"]).map(|at| age(at, now)).unwrap_or_default();
    format!("{at}: {} {}: {}", string(&over["reason"]), place(over), string(&over["text"]))
}

fn one(incident: &Value) -> Answer {
    let now = time(&incident["observedAt"]).unwrap_or_default();
    let mut text = format!(
        "{}  {}\n  {}{}, incident {}\n",
        string(&incident["reason"]),
        place(incident),
        string(&incident["severity"]),
        time(&incident["since"]).map(|at| format!(", started {}", age(at, now))).unwrap_or_default(),
        string(&incident["id"]),
    );
    let facts: Vec<String> = last(&incident["evidence"], |fact| {
        let at = time(&fact["at"]).map(|at| format!(" ({})", age(at, now))).unwrap_or_default();
        format!("{}: {}{at}", string(&fact["source"]), string(&fact["text"]))
    });
    let steps = last(&incident["nextSteps"], string);
    let timeline =
        last(&incident["timeline"], |entry| format!("{}: {}", string(&entry["at"]), string(&entry["text"])));
    field(&mut text, "summary", &[string(&incident["summary"])]);
    field(&mut text, "cause", &[cause(&incident["cause"])]);
    field(&mut text, "evidence", &facts);
    field(&mut text, "next steps", &steps);
    field(&mut text, "timeline", &timeline);
    let ending = string(&incident["text"]);
    if !ending.is_empty() {
        field(&mut text, "resolved", &[format!("{}: {ending}", string(&incident["resolvedAt"]))]);
    }
    let runbook = string(&incident["runbook"]);
    if !runbook.is_empty() {
        text.push_str(&format!("Runbook: explain {runbook}\n"));
    }
    let data = json!({
        "about": ABOUT, "observedAt": now, "id": incident["id"], "severity": incident["severity"], "reason": incident["reason"],
        "where": place(incident), "since": incident["since"], "summary": string(&incident["summary"]), "cause": code_and_text(&incident["cause"]),
        "evidence": facts, "nextSteps": steps, "timeline": timeline, "resolvedAt": incident["resolvedAt"], "ending": ending,
        "runbook": runbook,
    });
    Answer { text: format!("{ABOUT}\n\n{text}"), data: Some(data) }
}

fn field(out: &mut String, label: &str, entries: &[String]) {
    let lines = entries.iter().flat_map(|entry| match entry.starts_with("kubectl ") {
        true => vec![entry.clone()],
        false => wrap(entry, COLUMNS),
    });
    for (number, line) in lines.enumerate() {
        out.push_str(&format!("  {:<LABEL$}  {line}\n", if number == 0 { label } else { "" }));
    }
}

fn cause(cause: &Value) -> String {
    format!("{}: {}", string(&cause["code"]), string(&cause["text"]))
}

fn code_and_text(cause: &Value) -> Value {
    json!({"code": string(&cause["code"]), "text": string(&cause["text"])})
}

/// Who fails.
fn place(finding: &Value) -> String {
    let [namespace, pod, container, node] =
        ["namespace", "pod", "container", "node"].map(|name| string(&finding[name]));
    let workload = &finding["workload"];
    match (pod.as_str(), container.as_str()) {
        ("", _) if workload.is_object() => {
            format!("{namespace}/{}/{}", string(&workload["kind"]), string(&workload["name"]))
        }
        ("", _) => format!("node/{node}"),
        (pod, "") => format!("{namespace}/{pod}"),
        (pod, container) => format!("{namespace}/{pod}[{container}]"),
    }
}

/// The last entries of a list: the oldest ones are left out.
fn last(list: &Value, entry: impl Fn(&Value) -> String) -> Vec<String> {
    let list = items(list);
    list.iter().skip(list.len().saturating_sub(ENTRIES)).map(entry).collect()
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn strings(list: &Value) -> Vec<String> {
    items(list).iter().map(string).collect()
}

/// A text of the daemon: one clean line, bounded.
fn string(value: &Value) -> String {
    clean(cut(value.as_str().unwrap_or_default(), ENTRY)).into_owned()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
