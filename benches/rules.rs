//! What rules cost: pods in churn are decoded, diagnosed and counted, without rules, with 200 that apply here and there, and
//! with 200 whose `match` cannot apply. All in one run and in turns, measured by the CPU time of the thread.
//!
//! `cargo bench --bench rules`

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark")]

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::ObjectList;
use kubehealer::cluster::lean::Lean;
use kubehealer::diagnosis::world::Subject;
use kubehealer::diagnosis::{Context, diagnose, workload_of};
use kubehealer::incidents::{FirstSeen, Incidents};
use kubehealer::objects::Pod;
use kubehealer::objects::decode::{Encoding, protobuf_list, protobuf_object};
use kubehealer::rules::RuleSet;
use serde_json::{Value, json};

const PODS: usize = 10_000;
const ROUNDS: usize = 10;
const RULES: usize = 200;

/// 200 rules as a company might have them: for other namespaces, workloads and labels, about findings, and about every
/// container of every pod.
fn mixed() -> String {
    let mut text = "rules:\n".to_owned();
    for i in 0..RULES {
        let _ = writeln!(text, "- name: rule-{i}");
        let raise = format!(
            "raise: {{reason: Bench{i}, severity: info, summary: '{{{{ container.name }}}} of {{{{ pod.metadata.name }}}}'}}"
        );
        let body = match i % 8 {
            0 => format!(
                "match: {{namespaces: [elsewhere-{i}]}}\n  when: container.restartCount > 0\n  {raise}"
            ),
            1 => format!(
                "match: {{namespaces: ['ns-1*', '!ns-11'], reasons: [OOMKilled]}}\n  change: {{severity: critical, text: 'See {i}.'}}"
            ),
            2 => format!(
                "match: {{workloads: [Deployment/app-{i}, 'StatefulSet/db-*']}}\n  when: finding.exitCode == 75\n  ignore: {{comment: known}}"
            ),
            3 => format!(
                "match: {{labels: {{team: team-{i}}}}}\n  when: container.restartCount > 3\n  {raise}"
            ),
            4 => format!(
                "when: finding.restartCount > {} && finding.cause.code == 'ApplicationError' && finding.severity == 'warning'\n  change: {{labels: {{team: t{i}}}}}",
                100 + i
            ),
            5 => format!(
                "when: container.image.startsWith('registry-{i}.') && !container.image.contains('@sha256:')\n  {raise}"
            ),
            6 => format!(
                "when: has(container.lastState.terminated) && container.lastState.terminated.exitCode == {i} && !('memory' in container.resources.limits)\n  {raise}"
            ),
            _ => format!(
                "match: {{reasons: [CrashLoopBackOff, ImagePullBackOff]}}\n  when: now.getHours('Europe/Berlin') >= 23 && pod.metadata.namespace.matches('^batch-{i}-[0-9]+$')\n  ignore: {{comment: at night}}"
            ),
        };
        let _ = writeln!(text, "  {body}");
    }
    text
}

/// 200 rules for namespaces, workloads and reasons that do not occur.
fn cannot_apply() -> String {
    let mut text = "rules:\n".to_owned();
    for i in 0..RULES {
        let matched = match i % 3 {
            0 => format!("namespaces: [elsewhere-{i}]"),
            1 => format!("workloads: [Deployment/elsewhere-{i}]"),
            _ => "reasons: [SysctlForbidden]".to_owned(),
        };
        let _ = writeln!(
            text,
            "- name: rule-{i}\n  match: {{{matched}}}\n  when: container.restartCount > 3\n  raise: {{reason: Bench{i}, severity: info, summary: x}}"
        );
    }
    text
}

fn load(text: String) -> RuleSet {
    RuleSet::load(&[("bench.yaml".into(), text)]).unwrap_or_else(|e| panic!("{}", e[0]))
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn items(path: &str) -> Vec<Value> {
    let list: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Lists of recorded pods: one in twenty fails, as their recording has it, the others are well.
fn json_lists() -> Vec<(Vec<u8>, Encoding)> {
    let failing = items("tests/data/recordings/final/pods.json");
    let well: Vec<Value> = items("tests/data/recordings/changes/final/pods.json")
        .into_iter()
        .filter(|p| p["status"]["phase"] == "Running" && p["status"]["containerStatuses"][0]["ready"] == true)
        .collect();
    let pods: Vec<Value> = (0..100)
        .map(|i| if i % 20 == 0 { failing[i % failing.len()].clone() } else { well[i % well.len()].clone() })
        .collect();
    vec![(
        json!({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": pods})
            .to_string()
            .into_bytes(),
        Encoding::Json,
    )]
}

/// Lists as an API server sent them in protobuf: cheaper to decode, and most of these pods fail.
fn protobuf_lists() -> Vec<(Vec<u8>, Encoding)> {
    ["batch", "ml", "payments", "platform", "shop"]
        .iter()
        .map(|n| fs::read(format!("tests/data/recordings/protobuf/pods-{n}.pb")).unwrap())
        .map(|bytes| (bytes, Encoding::Protobuf))
        .collect()
}

/// The pods of a list.
fn each(body: &[u8], encoding: Encoding, mut each: impl FnMut(Pod)) {
    match encoding {
        Encoding::Json => {
            let list: ObjectList<Lean<Pod>> = serde_json::from_slice(body).unwrap();
            list.items.into_iter().for_each(|pod| each(pod.into_object().unwrap()));
        }
        Encoding::Protobuf => {
            protobuf_list(body, |raw| each(protobuf_object(raw).unwrap())).unwrap();
        }
    }
}

/// One way to do it, with what it has cost so far.
struct Way<'r> {
    name: &'static str,
    rules: &'r RuleSet,
    incidents: Incidents,
    spent: Duration,
    in_rules: Duration,
    hits: usize,
}

impl Way<'_> {
    /// Every pod changes once.
    fn round(&mut self, lists: &[(Vec<u8>, Encoding)], round: usize, now: Timestamp) {
        let mut number = 0;
        let started = cpu();
        while number < PODS {
            for (bytes, encoding) in lists {
                let incidents = &mut self.incidents;
                let (rules, hits) = (self.rules, &mut self.hits);
                each(bytes, *encoding, |mut pod| {
                    pod.metadata.uid = format!("00000000-0000-0000-0000-{number:012}");
                    pod.metadata.name = format!("pod-{number}");
                    pod.metadata.namespace = format!("ns-{}", number % 100);
                    pod.metadata.resource_version = (round * PODS + number + 1).to_string();
                    number += 1;
                    let workload = workload_of(&pod);
                    let mut diagnosis = diagnose(&pod, &Context::pod_only(), now);
                    if !rules.is_empty() {
                        let applied = rules.judge(
                            Some(Subject { pod: &pod, workload: &workload, events: &[] }),
                            diagnosis.findings,
                            now,
                        );
                        *hits += applied.hits.len() + applied.ignored.len();
                        diagnosis.findings = applied.findings;
                        diagnosis.recheck = diagnosis.recheck.into_iter().chain(applied.recheck).min();
                    }
                    incidents.apply(&pod, &workload, diagnosis, FirstSeen::Later, now);
                });
            }
        }
        self.spent += cpu() - started;
    }

    /// The rules alone, on pods that are decoded and diagnosed already.
    fn rules_alone(&mut self, pods: &[(Pod, Vec<kubehealer::diagnosis::Finding>)], now: Timestamp) {
        let findings: Vec<_> = pods.iter().map(|(_, f)| f.clone()).collect();
        let started = cpu();
        for ((pod, _), findings) in pods.iter().zip(findings) {
            std::hint::black_box(self.rules.apply(pod, &[], findings, now));
        }
        self.in_rules += cpu() - started;
    }
}

fn main() {
    let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let (none, mixed, cannot) = (RuleSet::empty(), load(mixed()), load(cannot_apply()));
    assert_eq!((mixed.len(), cannot.len()), (RULES, RULES));
    let mut failed = false;
    for (what, lists) in [
        ("JSON, one pod in twenty fails", json_lists()),
        ("protobuf, as recorded: most of the pods fail", protobuf_lists()),
    ] {
        let way = |name, rules| Way {
            name,
            rules,
            incidents: Incidents::new(),
            spent: Duration::ZERO,
            in_rules: Duration::ZERO,
            hits: 0,
        };
        let mut ways =
            [way("no rules", &none), way("200 rules", &mixed), way("200 rules that cannot apply", &cannot)];
        for round in 0..=ROUNDS {
            for way in &mut ways {
                way.round(&lists, round, now);
                // The first round warms up.
                if round == 0 {
                    way.spent = Duration::ZERO;
                }
            }
        }
        let mut pods = Vec::new();
        for (bytes, encoding) in &lists {
            each(bytes, *encoding, |pod| {
                let findings = diagnose(&pod, &Context::pod_only(), now).findings;
                pods.push((pod, findings));
            });
        }
        let repeats = PODS / pods.len();
        for way in &mut ways {
            for _ in 0..repeats {
                way.rules_alone(&pods, now);
            }
        }
        let updates = (PODS * ROUNDS) as u32;
        println!("{what}: {PODS} pods, {ROUNDS} changes each");
        println!("{:<30}{:>16}{:>10}{:>20}{:>10}", "", "CPU per update", "ratio", "rules alone", "hits");
        let base = ways[0].spent;
        for way in &ways {
            let ratio = way.spent.as_secs_f64() / base.as_secs_f64();
            println!(
                "{:<30}{:>13.2} us{:>10.2}{:>17.2} us{:>10}",
                way.name,
                (way.spent / updates).as_secs_f64() * 1e6,
                ratio,
                (way.in_rules / (repeats * pods.len()) as u32).as_secs_f64() * 1e6,
                way.hits,
            );
            failed |= ratio >= 2.0;
        }
        println!();
    }
    assert!(!failed, "rules cost as much as everything else");
}
