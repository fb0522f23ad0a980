//! The sentence of an incident for the label of a metric: it changes when the cause does, and only then.
//!
//! Times, counts, ids, pod names, hashes and the addresses of pods go; names, paths, limits, exit codes and image tags stay. A number
//! that is no part of a name goes unless the words before it say that it belongs to the cause.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::diagnosis::Finding;
use crate::redact;

/// The longest sentence, in bytes.
pub const MAX: usize = 200;

/// Durations, such as 5m31s and 1.5 hours.
const DURATION: &str = r"(?:about )?(?:(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d))+\b|\d+(?:\.\d+)? ?(?:milliseconds?|seconds?|secs?|minutes?|mins?|hours?|days?|weeks?|ms|s|h|min)\b)";

/// Words in front of a number that make it part of the cause: it is the same until somebody changes something.
const LIMITS: &str = r"ports?|listen|bind|limit\w*|requests?|requested|requires?|max\w*|min(?:imum|available)?|quota|capacity|threshold|\w*deadline\w*|\w*timeout\w*|allocate|size|ratio|length|expected|allowed|allows|than|least|most|exceeds?|below|above|between|backofflimit|replicas";
/// Words right before a number that make it one.
const NAMES: &str = r"exit(?:ed)?|codes?|status|signal|errno|error|err|http|line|column|col|user|uid|gid|value|runasuser|\w*mode|level|type|rfc|versions?|revision|release|supports?|tls|ssl|java|python|php|ruby|postgresql|mysql|glibc|api|schema|migration|protocol";
/// Words before a number that make it one of many: it is another one at the next try.
const PASSING: &str = r"used|run|ran|last|lasted|current\w*|processed|took|elapsed|after|attempts?|try|tries|retry|retries|retrying|pid|tid|process|thread|worker|goroutine|conn|connections?|client|session|transaction|job|task|sequence|offset|id|found|remaining|left|now|free|available|progress";

/// Addresses that are no pod's.
const FIXED: [&str; 2] = ["0.0.0.0", "127.0.0.1"];

/// What may be taken out, by group.
#[expect(clippy::expect_used, reason = "constant")]
static VOLATILE: LazyLock<Regex> = LazyLock::new(|| {
    let gone = [
        // 14 s after start; after about 5 s; for 3m; 10 min ago.
        &format!(r",? ?\b{DURATION} (?:after (?:its )?start|ago)\b"),
        &format!(r",? ?\b(?:after|for|since|within the last) {DURATION}"),
        // 0/12 nodes: 3 Insufficient cpu, 4 node(s) had untolerated taint(s)
        r"\b\d+/\d+ nodes(?: are available)?: ",
        r"\b(?P<some>\d+) (?:of (?P<all>\d+) )?(?P<counted>node\(s\)|nodes?\b|pods?\b|Insufficient\b|times?\b|restarts?\b|attempts?\b|retries\b)",
        r",? with \d+ of \d+ pods\b",
        r",? used:? [\d.]+(?:[KMGTP]i?|m)?\b",
        r",? ?\(attempt \d+[^)]*\)",
        // The port that a client happened to have.
        r"\b[\d.]+:\d+->",
    ]
    .join("|");
    let time = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[AP]M\b)?";
    let zone = r"(?:Z\b| ?[+-]\d\d:?\d\d\b| (?:UTC|GMT|[CEMP][DS]T|CES?T)\b)";
    let month = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?";
    let nth = r"\d{1,2}(?:[nr]d|st|th)?";
    let hidden = [
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?:_[0-9]+)?",
        &format!(r"\b\d{{4}}-\d\d-\d\d[T ]{time}{zone}?"),
        &format!(
            r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?(?:{nth}[ -]{month}|{month} {nth}\b)(?:,?[ -]\d{{4}}\b)?(?:,?(?: at)? {time})?{zone}?(?: \d{{4}}\b)?"
        ),
        &format!(r"\b\d{{4}}/\d\d/\d\d(?: {time}{zone}?)?"),
        &format!(r"\b\d{{1,2}}/\d{{1,2}}/(?:\d{{4}}|\d\d)\b(?:,? {time}{zone}?)?"),
        &format!(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?{zone}?"),
        r"\b\d{1,2}:\d\d ?[AP]M\b",
        "[0-9a-f]{32,}",
        r"\b0x[0-9a-f]{6,}\b",
    ]
    .join("|");
    let address = r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\[[0-9a-f:]*::?[0-9a-f:]+\]";
    // A pod of a ReplicaSet, a DaemonSet or a Job: the API server leaves out vowels and digits like them.
    let random = "[bcdfghjklmnpqrstvwxz2456789]";
    let name = format!(r"-{random}{{6,10}}-{random}{{5}}(?P<behind>_|\b)");
    let number = format!(r"{DURATION}|\d+(?:[.,]\d+)*(?: ?%| percent\b)?");
    Regex::new(&format!(
        r"(?P<gone>{gone})|(?P<hidden>{hidden})|(?P<address>{address})|(?P<name>{name})|(?P<day>\b\d{{4}}-\d\d-\d\d\b)|(?P<number>{number})"
    ))
    .expect("a valid pattern")
});
#[expect(clippy::expect_used, reason = "constant")]
static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(
        r"(?i)\b(?:(?P<limit>{LIMITS})|(?P<name>{NAMES})|(?P<passing>{PASSING}))\b|(?P<usage>\busage[:=])"
    ))
    .expect("a valid pattern")
});

/// The last words before a place.
fn clause_before(text: &str, at: usize) -> &str {
    let before = &text[..at];
    let near = before.rmatch_indices(' ').nth(6).map_or(0, |(space, _)| space);
    let clause = before[near..].rsplit(';').next().unwrap_or_default();
    clause.rsplit("): ").next().unwrap_or_default()
}

/// Whether an address is no pod's: every one or the host's own; or a version in four parts.
fn is_fixed(text: &str, at: Range<usize>) -> bool {
    FIXED.contains(&&text[at.clone()]) || clause_before(text, at.start).contains("version")
}

/// Whether the number at this place is part of the cause. The word that stands nearest before it tells.
fn is_decisive(text: &str, at: Range<usize>) -> bool {
    let number = &text[at.clone()];
    let (before, after) = (&text[..at.start], &text[at.end..]);
    let clause = clause_before(text, at.start);
    let ends = |c: char| c.is_whitespace() || "\"'`()[]{}<>,;=|".contains(c);
    let head = before.rsplit(ends).next().unwrap_or_default();
    let tail = after.split(ends).next().unwrap_or_default();
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    // A port that nobody has chosen.
    let is_high = digits && number.parse().is_ok_and(|port: u32| port >= 30_000);
    let host = head.strip_suffix(':').filter(|_| is_high).and_then(|host| host.rsplit(['/', '@']).next());
    if host.is_some_and(|host| host.parse().is_ok_and(|ip: IpAddr| !FIXED.contains(&&*ip.to_string()))) {
        return false;
    }
    let nearest = WORDS.captures_iter(clause).last();
    let is = |name| nearest.as_ref().is_some_and(|word| word.name(name).is_some());
    let gap = nearest.as_ref().and_then(|word| Some(&clause[word.get(0)?.end()..])).unwrap_or_default();
    let gap = [" code", " status", " number", " is", " of"]
        .iter()
        .fold(gap, |gap, word| gap.strip_prefix(word).unwrap_or(gap));
    let touches = gap.chars().all(|c| " =:#[(\"'".contains(c));
    let is_glued = before.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
    // attempt 17, pid=123, conn #1
    if is("passing") && touches && !is_glued || before.ends_with('#') || before.ends_with("/proc/") {
        return false;
    }
    // replication lag 312s > 30s
    if before.ends_with("> ") || before.ends_with("< ") {
        return true;
    }
    let is_plain = number.chars().all(|c| !c.is_alphabetic() && c != '%');
    if is("limit") || is("name") && touches && is_plain {
        return true;
    }
    // HTTP status: 403 Forbidden, [502]. Error number: (13: Permission denied).
    let mut rest = after.chars();
    let opens = before.strip_suffix('(');
    if digits
        && (number.len() == 3 && matches!((rest.next(), rest.next()), (Some(' '), Some('A'..='Z')))
            || before.ends_with('[') && after.starts_with(']') && number.len() == 3
            || opens.is_some() && (after.starts_with(": ") || after.starts_with(") "))
            || opens.is_some_and(|call| call.ends_with(char::is_alphabetic)))
    {
        return true;
    }
    // The first of a list.
    if let Some(list) = before.strip_suffix('[').filter(|_| digits && number.len() < 4) {
        return list.ends_with(|c: char| c.is_ascii_alphanumeric());
    }
    if let Some(host) = host {
        return FIXED.contains(&host) || host.contains(char::is_alphabetic);
    }
    !number.ends_with('%') && !number.contains(' ') && is_in_name(number, head, tail)
}

/// Whether a number is part of a name, of a version, or is a port: the word that it stands in goes on before and behind it.
fn is_in_name(number: &str, head: &str, tail: &str) -> bool {
    let has_letters = |part: &str| part.contains(char::is_alphabetic);
    if number.ends_with(char::is_alphabetic) {
        // It looks like a duration.
        return head.ends_with(|c: char| c.is_alphanumeric() || "-_.".contains(c)) && has_letters(head);
    }
    // Longer ones are ids.
    let is_short = number.split(['.', ',']).all(|part| part.len() < 6);
    let follows = head.ends_with(':') || head.ends_with('/') && head.len() > 1;
    is_short && (number.matches('.').count() == 2 || has_letters(head) || has_letters(tail) || follows)
}

/// What is wrong, in the finding's own words. It was redacted where it was written.
pub fn steady(finding: &Finding) -> Box<str> {
    let mut text = finding.brief().to_owned();
    if text.is_empty() {
        text.clone_from(&finding.summary);
    }
    // A word that is a bare pod's name is more often just that word.
    let is_told = finding.workload.as_ref().is_none_or(|w| w.name != finding.pod);
    if is_told && finding.pod.contains(|c: char| c == '-' || c.is_ascii_digit()) {
        text = text.replace(&finding.pod, "the pod");
    }
    let scope = finding.scope.as_ref().map_or("", |scope| scope.name.as_str());
    let text = VOLATILE.replace_all(&text, |found: &Captures<'_>| {
        let at = found.get(0).map_or(0..0, |m| m.range());
        let whole = &text[at.clone()];
        let of = |name| found.name(name).map_or("", |m| m.as_str());
        let is_in = |names: &[&str]| whole.len() > 3 && names.iter().any(|name| name.contains(whole));
        if found.name("gone").is_some() {
            // Without its number, but not the opposite of what it said.
            match (of("some"), of("all"), of("counted")) {
                ("0", _, counted) => format!("no {counted}"),
                (_, "", counted) => counted.to_owned(),
                (some, all, counted) if some == all => format!("all {counted}"),
                (_, _, counted) => format!("some {counted}"),
            }
        } else if found.name("name").is_some() {
            format!("-…{}", of("behind"))
        } else if found.name("day").is_some()
            || is_in(&[&finding.image, &finding.node])
            || found.name("address").is_some() && (is_in(&[scope]) || is_fixed(&text, at.clone()))
            || found.name("number").is_some() && is_decisive(&text, at)
        {
            whole.to_owned()
        } else {
            "…".to_owned()
        }
    });
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.trim_end_matches([',', ':', ';', ' ']);
    if text.len() > MAX { shortened(text).into() } else { text.into() }
}

/// What fails stands at the beginning, and why at the end, where wrapped errors have their innermost one: the middle goes.
fn shortened(text: &str) -> String {
    const GAP: &str = " … ";
    let head = redact::cut(text, (MAX - GAP.len()) / 2);
    let from = text.len() - (MAX - GAP.len()) / 2;
    let tail = text
        .char_indices()
        .find(|&(at, _)| at >= from)
        .and_then(|(at, _)| text.get(at..))
        .unwrap_or_default();
    // Whole words, unless one is all there is.
    let head = head.rsplit_once(' ').map_or(head, |(words, _)| words);
    let tail = tail.split_once(' ').map_or(tail, |(_, words)| words);
    format!("{head}{GAP}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            "bind: address already in use: 0.0.0.0:8080",
            "listen tcp :8080: bind: address already in use",
            "dial tcp redis.shop.svc:6379: i/o timeout",
            "bind: address already in use: 0.0.0.0:31112",
            "AccessRefused(403, 'ACCESS_REFUSED')",
            "it ran longer than its activeDeadlineSeconds of 30s",
            "its readiness probe fails: gRPC :9874: HTTP status 503",
            "pulling from host gcr.io failed with status code [manifests 1.0.0]: 403 Forbidden",
            "[POST /ipam][502] postIpamFailure",
            "mkdir() \"/var/cache/nginx\" failed (13: Permission denied)",
            "Error 1045: Access denied for user 'root'",
            "parsing [/usr/local/etc/haproxy/haproxy.cfg:34]: unknown keyword",
            "initialized by PostgreSQL version 13, which is not compatible with this version 16.2",
            "the version of the data (21.0.2.1) is higher",
            "maximum cpu usage per Container is 2, but limit is 4",
            "Insufficient memory (the pod requests 1073741824)",
            "exceeded quota: requested: pods=1, limited: pods=5",
            "spec.containers[0].hostPort: Invalid value: 8888",
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
                "Secret x is missing; the old revision still serves with 10 of 10 pods",
                "Secret x is missing; the old revision still serves",
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
    fn what_the_next_try_changes_goes() {
        for (summary, wanted) in [
            ("nsenter: pid=123: not found", "nsenter: pid=…: not found"),
            ("open /proc/123/ns/net: no such process", "open /proc/…/ns/net: no such process"),
            ("rate limited: retry after 7 seconds", "rate limited: retry"),
            ("conn #1 closed", "conn #… closed"),
            ("the disk is 93.4% full", "the disk is … full"),
            ("attempt 17 failed", "attempt … failed"),
            ("query took 1.234s", "query took …"),
            ("replication lag 312s > 30s", "replication lag … > 30s"),
            ("dial tcp 10.0.0.1:31112: connection refused", "dial tcp …:…: connection refused"),
            ("refused since Mon, 02 Dec 2026 06:29:34 GMT by a", "refused since … by a"),
            ("at Dec 2 06:29:34 2026: refused", "at …: refused"),
            ("at December 2nd, 2026 at 6:29 AM UTC: refused", "at …: refused"),
            (
                "name \"k8s_api_web-6f5d8c7b9-k2x4q_shop_6b5a1e0c-9d0e-4a55-8a54-1a2b3c4d5e6f_17\" is reserved",
                "name \"k8s_api_web-…_shop_…\" is reserved",
            ),
            (
                "name \"k8s_api_api-7d9f8b6c5-x2x4q_shop_6b5a1e0c-9d0e-4a55-8a54-1a2b3c4d5e6f_2\" is reserved",
                "name \"k8s_api_the pod_shop_…\" is reserved",
            ),
        ] {
            assert_eq!(said(&format!("container api: {summary}")), wanted);
        }
    }

    /// What differs from one try to the next, each as a program may write it.
    fn passing() -> impl Strategy<Value = [String; 2]> {
        let forms: [fn(u32) -> String; 20] = [
            |n| format!("pid={n}"),
            |n| format!("(pid {n})"),
            |n| format!("/proc/{n}/ns/net"),
            |n| format!("after {n} seconds"),
            |n| format!("took {}.{:03}s", n / 1000, n % 1000),
            |n| format!("in {n}ms"),
            |n| format!("for {}m{}s", n / 60, n % 60),
            |n| format!("conn #{n}"),
            |n| format!("[conn{}]", n + 100_000),
            |n| format!("{}.{}% full", n % 100, n % 10),
            |n| format!("{} percent full", n % 100),
            |n| format!("attempt {n}"),
            |n| format!("(attempt {n} of 20)"),
            |n| format!("retry: {n}"),
            |n| format!("10.244.{}.{}:{}", n % 256, n % 251, 30_000 + n % 30_000),
            |n| format!("at {} December 2026 {:02}:{:02}:07 UTC", 1 + n % 28, n % 24, n % 60),
            |n| format!("at Sat, Jan {}, 2026", 1 + n % 28),
            |n| format!("2026-11-{:02}T{:02}:00:{:02}.5Z", 1 + n % 28, n % 24, n % 60),
            |n| format!("web-6f5d8c7b9-k{}{}x4", 2 + n % 8 / 3 * 2, char::from(b"bcdf"[n as usize % 4])),
            |n| format!("k8s_web_api-7d9f8b6c5-x2x4q_shop_{n:08x}-9d0e-4a55-8a54-1a2b3c4d5e6f_{}", n % 50),
        ];
        let number = || 0..10_000_u32;
        (prop::sample::select(forms.to_vec()), number(), number()).prop_map(|(form, a, b)| [form(a), form(b)])
    }

    /// What names a cause, with the number that makes it this one.
    fn decisive() -> impl Strategy<Value = [String; 2]> {
        let forms: [fn(u32) -> String; 9] = [
            |n| format!("exit code {}", n % 256),
            |n| format!("OOM-killed at its {n}Mi memory limit"),
            |n| format!("HTTP status {}", 400 + n % 200),
            |n| format!("db.shop.svc:{n}: refused"),
            |n| format!("listen tcp :{n}: bind"),
            |n| format!("(the pod requests {n}m)"),
            |n| format!("app.conf:{n}: syntax error"),
            |n| format!("limit of {n} is reached"),
            |n| format!("image web:2.{n}.1 not found"),
        ];
        let number = || 1..200_u32;
        (prop::sample::select(forms.to_vec()), number(), number()).prop_map(|(form, a, b)| [form(a), form(b)])
    }

    proptest! {
        #[test]
        fn texts_that_differ_only_in_what_passes_say_the_same(
            [one, other] in passing(), [cause, _] in decisive(), is_first in any::<bool>(),
        ) {
            let text = |passing: &str| match is_first {
                true => said(&format!("container api: error: {passing}: {cause}")),
                false => said(&format!("container api: {cause}; {passing}")),
            };
            prop_assert_eq!(text(&one), text(&other));
        }

        #[test]
        fn texts_that_differ_in_a_decisive_number_say_different_things(
            [a, b] in decisive(), [passing, _] in passing(),
        ) {
            let text = |cause: &str| said(&format!("container api: {cause}; {passing}"));
            prop_assert_eq!(text(&a) == text(&b), a == b);
            prop_assert!(text(&a).contains(&a));
        }
    }

    #[test]
    fn a_long_sentence_keeps_what_fails_and_why_in_whole_words() {
        let long = said(&format!("container api: {}", "wörter ".repeat(60)));
        assert!(long.len() <= MAX && long.len() > MAX - 30, "{long}");
        assert!(long.starts_with("wörter wörter") && long.ends_with("wörter wörter"), "{long}");
        assert_eq!(long.matches(" … ").count(), 1, "{long}");
        let pull = "container api: cannot pull image registry.example.com/team/private/settlement/service:1.4.0: failed to resolve image: \
                    pull access denied, repository does not exist or may require authorization: authorization failed: \
                    no basic auth credentials (no credentials for the registry were sent)";
        let shown = said(pull);
        assert!(
            shown.starts_with("cannot pull image registry.example.com/team/private/settlement"),
            "{shown}"
        );
        assert!(
            shown.ends_with("no basic auth credentials (no credentials for the registry were sent)"),
            "{shown}"
        );
        let word = said(&format!("container api: {}", "ö".repeat(150)));
        assert!(word.len() <= MAX && word.starts_with('ö') && word.ends_with('ö'), "{word}");
    }

    #[test]
    fn a_first_line_without_a_reason_gives_the_cause() {
        assert_eq!(said("pod is held back"), "the cause");
    }
}
