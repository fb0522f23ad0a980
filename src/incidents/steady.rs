//! The sentence of an incident for the label of a metric: it changes when the cause does, and only then.
//!
//! Times, counts, ids, pod names, hashes and the addresses of pods go; names, paths, limits, exit codes and image tags stay.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::diagnosis::Finding;
use crate::redact;

/// The longest sentence, in bytes.
pub const MAX: usize = 200;

const DURATION: &str = r"(?:about )?(?:\d+(?:\.\d+)? ?(?:ms|s|m|h|d|min)\b|\d+[hmd](?:\d+[hms])+\b)";

/// What is taken out, by group: `gone` altogether, `hidden` behind an ellipsis, `address` if it is not the registry's.
#[expect(clippy::expect_used, reason = "constant")]
static VOLATILE: LazyLock<Regex> = LazyLock::new(|| {
    let gone = [
        // 14 s after start; after about 5 s; for 3m; 10 min ago.
        &format!(r",? ?\b{DURATION} (?:after (?:its )?start|ago)\b"),
        &format!(r",? ?\b(?:after|for|since|within the last) {DURATION}"),
        // 0/12 nodes: 3 Insufficient cpu, 4 node(s) had untolerated taint(s)
        r"\b\d+/\d+ nodes(?: are available)?: ",
        r"\b(?P<some>\d+) (?:of (?P<all>\d+) )?(?P<counted>node\(s\)|nodes?\b|pods?\b|Insufficient\b|times?\b|restarts?\b|attempts?\b|retries\b)",
        r",? with \d+ of \d+\b",
        r",? used:? [\d.]+(?:[KMGTP]i?|m)?\b",
        r",? ?\(attempt \d+[^)]*\)",
    ]
    .join("|");
    let hidden = [
        r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?",
        r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b",
        r"\b[0-9a-f]{32,}\b",
        r"\d{6,}",
        r"\b0x[0-9a-f]+\b",
    ]
    .join("|");
    let address = r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\[[0-9a-f:]*::?[0-9a-f:]+\]";
    let source = r"\b[\d.]+:\d+->";
    Regex::new(&format!(r"(?P<gone>{gone}|{source})|(?P<hidden>{hidden})|(?P<address>{address})"))
        .expect("a valid pattern")
});

/// What is wrong, in the finding's own words. It was redacted where it was written.
pub fn steady(finding: &Finding) -> Box<str> {
    let mut text = finding.brief().to_owned();
    if text.is_empty() {
        text.clone_from(&finding.summary);
    }
    if !finding.pod.is_empty() && finding.workload.as_ref().is_none_or(|w| w.name != finding.pod) {
        text = text.replace(&finding.pod, "the pod");
    }
    let registry = finding.scope.as_ref().map_or("", |scope| scope.name.as_str());
    let text = VOLATILE.replace_all(&text, |found: &Captures<'_>| {
        let whole = found.get(0).map_or("", |m| m.as_str());
        let of = |name| found.name(name).map_or("", |m| m.as_str());
        if found.name("gone").is_some() {
            // Without its number, but not the opposite of what it said.
            match (of("some"), of("all"), of("counted")) {
                ("0", _, counted) => format!("no {counted}"),
                (_, "", counted) => counted.to_owned(),
                (some, all, counted) if some == all => format!("all {counted}"),
                (_, _, counted) => format!("some {counted}"),
            }
        } else if found.name("address").is_some()
            && (finding.image.contains(whole) || registry.contains(whole))
        {
            whole.to_owned()
        } else {
            "…".to_owned()
        }
    });
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.trim_end_matches([',', ':', ';', ' ']);
    let shown = redact::cut(text, MAX - "…".len() - 1);
    if shown.len() < text.len() && text.len() > MAX { format!("{shown} …").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{Cause, CauseCode, Confidence, Reason, Severity, Stage, WorkloadRef};

    fn said(summary: &str) -> String {
        said_of(summary, "")
    }

    fn said_of(summary: &str, image: &str) -> String {
        let finding = Finding {
            reason: Reason::CrashLoopBackOff.into(),
            severity: Severity::Warning,
            confidence: Confidence::Confirmed,
            stage: Stage::Active,
            namespace: "payments".into(),
            pod: "api-7d9f8b6c5-x2x4q".into(),
            uid: String::new(),
            container: "api".into(),
            container_type: None,
            workload: Some(WorkloadRef { kind: "Deployment".into(), name: "api".into() }),
            node: String::new(),
            since: None,
            summary: summary.into(),
            cause: Cause { code: CauseCode::ImageNotFound, text: "the cause".into() },
            restart_count: None,
            exit_code: None,
            image: image.into(),
            scope: None,
            evidence: Vec::new(),
            next_steps: Vec::new(),
            runbook_url: None,
            labels: Vec::new(),
            muted: None,
        };
        steady(&finding).into()
    }

    #[test]
    fn what_names_the_cause_stays_as_it_is() {
        for text in [
            "image not found: registry.example.com/payments/api:4.9.9",
            "Secret ledger-db has no key password",
            "crash loop (exit code 1): cannot resolve redis.shop.svc",
            "crash loop (exit code 137, SIGKILL); its liveness probe may have killed it",
            "exec: \"/app/notexec.sh\": permission denied",
            "it ran longer than its deadline of 20s (activeDeadlineSeconds)",
            "cannot open /etc/app.toml",
            "bind: address already in use: 0.0.0.0:8080".replace("0.0.0.0", "localhost").as_str(),
            "license expired on 2026-11-01",
        ] {
            assert_eq!(said(&format!("container api: {text}")), text);
        }
        let refused = "cannot pull image 10.0.0.9:5000/a/b:1: dial tcp 10.0.0.9:5000: connection refused";
        assert_eq!(said_of(&format!("container api: {refused}"), "10.0.0.9:5000/a/b:1"), refused);
    }

    #[test]
    fn times_counts_ids_and_addresses_of_pods_go() {
        for (summary, wanted) in [
            ("OOM-killed at its 64Mi memory limit, 14 s after start", "OOM-killed at its 64Mi memory limit"),
            ("failed after 2 s (exit code 3), not restarted", "failed (exit code 3), not restarted"),
            ("exits with code 0 after about 5 s and is restarted", "exits with code 0 and is restarted"),
            (
                "0/12 nodes: 1 Insufficient cpu (the pod requests 64), 11 node(s) had untolerated taint(s)",
                "Insufficient cpu (the pod requests 64), node(s) had untolerated taint(s)",
            ),
            (
                "not enough cpu left (requested 64, used 0.035, capacity 2)",
                "not enough cpu left (requested 64, capacity 2)",
            ),
            (
                "/var/lib/containerd/tmpmounts/containerd-mount1270156187",
                "/var/lib/containerd/tmpmounts/containerd-mount…",
            ),
            ("web-7d9 has 0 of 2 pods ready", "web-7d9 has no pods ready"),
            ("web-7d9 has 1 of 2 pods ready", "web-7d9 has some pods ready"),
            (
                "the old revision is still serving with 10 of 10: Secret x is missing",
                "the old revision is still serving: Secret x is missing",
            ),
            ("dial tcp 10.244.1.5:43210->10.96.0.10:53: i/o timeout", "dial tcp …:53: i/o timeout"),
            ("Get http://10.244.1.5:8080/healthz: timeout", "Get http://…:8080/healthz: timeout"),
            ("cannot write /data/api-7d9f8b6c5-x2x4q.lock", "cannot write /data/the pod.lock"),
            ("2026-11-22T10:00:00.123Z cannot connect", "… cannot connect"),
            ("volume 6b5a1e0c-9d0e-4a55-8a54-1a2b3c4d5e6f is not attached", "volume … is not attached"),
            (
                "image not found: example.com/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                "image not found: example.com/a@sha256:…",
            ),
        ] {
            assert_eq!(said(&format!("container api: {summary}")), wanted);
        }
    }

    #[test]
    fn a_long_sentence_is_cut_at_a_word() {
        let long = said(&format!("container api: {}", "wörter ".repeat(100)));
        assert!(long.len() <= MAX && long.ends_with("wörter …"), "{long}");
    }

    #[test]
    fn a_first_line_without_a_reason_gives_the_cause() {
        assert_eq!(said("pod is held back"), "the cause");
    }
}
