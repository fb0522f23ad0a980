//! Every command that is printed anywhere can be run as it stands: those of kubectl have verbs, resources and flags that kubectl
//! has, those of this program are parsed by it, and those that name objects find them in a cluster.
//!
//! `tests/chart/test_docs.py` tries the flags in the documents' blocks with kubectl itself, and `tests/e2e/test_docs.py` runs the blocks.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory as _;
use kubehealer::cli::Cli;
use kubehealer::diagnosis::{CauseCode, steps};
use serde_json::{Value, json};

use super::contract::Server;

/// Flags that every command of kubectl has; `=` marks those with a value.
const GLOBAL: &str = "-n= --namespace= --context= --kubeconfig= --as=";

/// Verbs with their own flags.
const VERBS: &[(&str, &str)] = &[
    (
        "get",
        "-A --all-namespaces -o= --output= -w --watch --output-watch-events -l= --selector= --field-selector= --sort-by= \
         --show-labels -L= --label-columns= --raw=",
    ),
    ("describe", "-A -l="),
    ("logs", "-c= --container= --previous -p --tail= -l= --all-containers --since= -f"),
    ("top pod", "-A --containers --sort-by= -l="),
    ("top node", "--sort-by="),
    ("exec", "-c= --container= -i -t"),
    ("debug", "-i -t --image= --copy-to= --container= --profile= --target="),
    ("rollout status", "--timeout="),
    ("rollout history", "--revision="),
    ("rollout undo", "--to-revision="),
    ("rollout restart", ""),
    ("delete", "--grace-period= --force --field-selector= -l= -k="),
    ("apply", "-f= -k="),
    ("annotate", "--overwrite"),
    ("label", "--overwrite"),
    ("taint", ""),
    ("cordon", ""),
    ("uncordon", ""),
    ("drain", "--ignore-daemonsets --delete-emptydir-data"),
    ("port-forward", "--address="),
    ("run", "--image= --restart="),
    ("create serviceaccount", ""),
    ("create clusterrolebinding", "--clusterrole= --serviceaccount="),
    ("create token", "--duration="),
    ("config view", ""),
    ("config get-contexts", ""),
    ("config use-context", ""),
    ("auth whoami", ""),
    ("auth can-i", "-A"),
    ("api-resources", "--api-group="),
    ("cluster-info dump", "-A --all-namespaces --output-directory= -o= --output="),
];

/// What `get`, `describe`, `delete` and others take.
const RESOURCES: &str = "pod pods node nodes service services pv pvc event events configmap configmaps secret secrets \
    serviceaccount serviceaccounts resourcequota resourcequotas limitrange deployment deployments replicaset replicasets statefulset \
    statefulsets daemonset daemonsets job jobs cronjob cronjobs namespace namespaces storageclass storageclasses volumeattachments \
    endpointslices priorityclasses runtimeclass runtimeclasses csinode csinodes csidrivers resourceclaims resourceclaimtemplates \
    resourceslices validatingwebhookconfigurations mutatingwebhookconfigurations validatingadmissionpolicies \
    validatingadmissionpolicybindings hpa horizontalpodautoscaler poddisruptionbudgets rollout networkpolicies \
    network-attachment-definitions leases secretproviderclasses nodepools nodeclaim nodeclaims ec2nodeclasses scc podsecuritypolicies ingress x";

/// The commands in a text, each in its words. One ends with its line, or where a sentence goes on: at a comma, a semicolon, a
/// parenthesis, a pipe or a backtick outside of quotes.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        let starts = ["kubectl ", "kubehealer "].into_iter().flat_map(|name| line.match_indices(name));
        for (at, _) in starts {
            let (before, rest) = line.split_at(at);
            let is_other_word = before.ends_with(|c: char| c.is_alphanumeric() || "-_./:\"".contains(c));
            // Of kubectl's plugin and, of an installation with that name, releases of Helm and namespaces.
            let is_name = ["kubectl ", "-n ", "--namespace "].iter().any(|end| before.ends_with(end))
                || before.contains("helm ");
            if is_other_word || (is_name && rest.starts_with("kubehealer")) {
                continue;
            }
            // In a string of another language.
            let rest = match before.chars().next_back() {
                Some('\'') => rest.split('\'').next().unwrap_or_default(),
                _ => rest,
            };
            let mut quote = None;
            let mut end = rest.len();
            for (at, c) in rest.char_indices() {
                let next = rest.get(at + c.len_utf8()..).and_then(|rest| rest.chars().next());
                let opens = c == '\'' || c == '"' && rest[..at].ends_with([' ', '=']);
                let ends = matches!(c, '`' | ';' | '|' | '(' | ')' | '>' | '"')
                    || matches!((c, next), (',' | ':' | '.' | '?', Some(' ') | None));
                match quote {
                    Some(open) if open == c => quote = None,
                    Some(_) => {}
                    None if opens => quote = Some(c),
                    None if ends => {
                        end = at;
                        break;
                    }
                    None => {}
                }
            }
            // Examples in help have what they do behind them.
            let command = rest[..end].split("   ").next().unwrap_or_default();
            let words = shlex::split(command).unwrap_or_else(|| panic!("open quotes: {command}"));
            let is_alone = words.len() == 1 || words == ["kubectl", "kubehealer"];
            found.extend((!is_alone).then_some(words));
        }
    }
    found
}

/// What kubectl would say of this command, roughly: none if it takes it.
fn refused_by_kubectl(words: &[String]) -> Option<String> {
    let mut flags: BTreeMap<&str, bool> = BTreeMap::new();
    let mut know = |all: &'static str| {
        for flag in all.split_whitespace() {
            flags.insert(flag.trim_end_matches('='), flag.ends_with('='));
        }
    };
    know(GLOBAL);
    let plain: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let verb = VERBS.iter().find(|(verb, _)| {
        let parts: Vec<&str> = verb.split(' ').collect();
        plain.windows(parts.len()).any(|window| window == parts.as_slice())
    });
    let Some((verb, own)) = verb else { return Some("unknown command".to_owned()) };
    know(own);
    let mut arguments = Vec::new();
    let mut rest = plain.into_iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            break;
        }
        let (flag, value) = word.split_once('=').map_or((word, None), |(flag, value)| (flag, Some(value)));
        if !word.starts_with('-') {
            arguments.push(word);
        } else if let Some(takes) = flags.get(flag) {
            if *takes && value.is_none() && rest.next().is_none() {
                return Some(format!("flag needs an argument: {flag}"));
            }
        } else if word.starts_with("--")
            || !word.chars().skip(1).all(|c| flags.get(format!("-{c}").as_str()) == Some(&false))
        {
            return Some(format!("unknown flag: {word}"));
        }
    }
    let arguments = arguments.get(verb.split(' ').count()..).unwrap_or_default();
    let known: BTreeSet<&str> = RESOURCES.split_whitespace().collect();
    let of_files =
        words.iter().any(|word| ["-k", "-f"].contains(&word.as_str()) || word.starts_with("--raw"));
    if matches!(*verb, "get" | "describe" | "delete" | "annotate" | "label") && !of_files {
        let Some(kinds) = arguments.first() else { return Some("no resource is named".to_owned()) };
        let kinds = kinds.split('/').next().unwrap_or_default();
        let unknown = kinds.split(',').find(|kind| !known.contains(kind.to_lowercase().as_str()))?;
        return Some(format!("the server doesn't have a resource type {unknown:?}"));
    }
    None
}

/// What this program says of a command of its own: none if it takes it.
fn refused_by_us(words: &[String]) -> Option<String> {
    let matches = match Cli::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => return None,
        Err(error) => return Some(error.to_string()),
    };
    let (_, arguments) = matches.subcommand()?;
    let targets = arguments.try_get_many::<String>("targets").ok().flatten()?;
    kubehealer::select::targets(&targets.cloned().collect::<Vec<_>>()).err()
}

fn refused(words: &[String]) -> Option<String> {
    match words.first().map(String::as_str) {
        Some("kubectl") if words.get(1).is_some_and(|word| word == "kubehealer") => {
            refused_by_us(&words[1..])
        }
        Some("kubectl") => refused_by_kubectl(words),
        _ => refused_by_us(words),
    }
}

/// All commands of these texts must be taken. Gives them.
fn check<'t>(texts: impl IntoIterator<Item = (String, &'t str)>) -> Vec<Vec<String>> {
    let mut wrong = BTreeSet::new();
    let mut all = Vec::new();
    for (place, text) in texts {
        for words in commands(text) {
            wrong.extend(refused(&words).map(|why| format!("{place}: `{}`: {why}", words.join(" "))));
            all.push(words);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
    all
}

fn read(file: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The next steps of all findings of a document, each with its reason.
fn next_steps(document: &Value) -> Vec<(String, String)> {
    let findings = document["findings"].as_array().or_else(|| document["items"].as_array()).unwrap();
    let steps = |f: &Value| {
        let reason = f["reason"].as_str().unwrap().to_owned();
        let steps = f["nextSteps"].as_array().cloned().unwrap_or_default();
        steps
            .into_iter()
            .map(move |step| (reason.clone(), step.as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    findings.iter().flat_map(steps).collect()
}

fn check_steps(steps: &[(String, String)]) -> usize {
    check(steps.iter().map(|(reason, step)| (reason.clone(), step.as_str()))).len()
}

#[test]
fn the_check_finds_what_kubectl_and_this_program_do_not_take() {
    for (command, why) in [
        ("kubectl gte pods", "unknown command"),
        ("kubectl get pods --al-namespaces", "unknown flag"),
        ("kubectl get pods -n", "needs an argument"),
        ("kubectl get podz -A", "resource type"),
        ("kubectl describe", "no resource"),
        ("kubectl logs web -x", "unknown flag"),
        ("kubehealer diagnos -A", "unrecognized subcommand"),
        ("kubehealer diagnose --namespaces shop", "unexpected argument"),
        ("kubehealer diagnose a/b/c/d", "names no object"),
    ] {
        let words = &commands(command)[0];
        assert!(refused(words).is_some_and(|said| said.contains(why)), "{command}: {:?}", refused(words));
    }
    let text = "see `kubectl get pods -A`, or kubectl -n a get pvc, pv (with kubectl, or crictl): kubehealer diagnose -A.";
    let found: Vec<String> = commands(text).iter().map(|words| words.join(" ")).collect();
    assert_eq!(found, ["kubectl get pods -A", "kubectl -n a get pvc", "kubehealer diagnose -A"]);
}

#[test]
fn each_next_step_of_the_recordings_and_of_each_cause_can_be_run() {
    let mut commands = 0;
    for recording in ["final", "changes/final", "after-node-restart"] {
        let folder = format!("tests/data/recordings/{recording}");
        commands += check_steps(&next_steps(&super::cli::diagnosis(&["-f", &folder])));
    }
    // Names in braces are filled in.
    let names = regex::Regex::new(r"\{[a-z]+\}").unwrap();
    let of_causes: Vec<(String, String)> = CauseCode::ALL
        .iter()
        .flat_map(|cause| {
            steps::of(*cause).iter().map(|step| (cause.to_string(), names.replace_all(step, "x").into()))
        })
        .collect();
    commands += check_steps(&of_causes);
    assert!(commands > 150, "{commands}");
}

#[test]
fn each_next_step_of_wait_and_of_the_api_can_be_run() {
    let server = Server::recorded();
    let run = server.run(
        &["wait", "-o", "json", "payments/deployment/api", "shop/deployment/cart", "--timeout", "2s"],
        &[],
    );
    let waited = next_steps(&serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}", run.err)));
    assert!(check_steps(&waited) > 0);

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let client = kubehealer::simulator::client(&server.cluster);
        let mut settings =
            kubehealer::daemon::Settings::new(kubehealer::daemon::Target::Client(client, String::new()));
        settings.listen = ([127, 0, 0, 1], 0).into();
        let running = kubehealer::daemon::start(settings).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        for path in ["/api/v1/diagnosis", "/api/v1/incidents"] {
            let answer: Value = serde_json::from_str(&super::daemon::get(&running, path).await.1).unwrap();
            let commands = check_steps(&next_steps(&answer));
            assert!(commands > 50, "{path}: {commands}");
        }
        running.stop().await;
    });
}

#[test]
fn each_command_of_hints_alerts_page_and_notes_can_be_run() {
    // What is filled in, by the program or by its user, is a word.
    let holes = regex::Regex::new(r"\{\{[^}]*\}\}|\{[a-z_]*\}|\b[A-Z][A-Z_]+\b").unwrap();
    let texts = [
        "tests/data/golden/texts.txt",
        "charts/kubehealer/templates/NOTES.txt",
        "charts/kubehealer/files/alerts.yaml",
        "src/server/status/page.js",
    ];
    let texts = texts.map(|file| (file.to_owned(), holes.replace_all(&read(file), "x").into_owned()));
    let prose = [
        // Names of programs, and commands in general, in a sentence.
        "kubehealer in its name",
        "kubectl get ... -o json",
        "a cause, an alert, an exit code or a word of kubectl",
        "of kubectl or reason of an event",
        "text of kubectl describe",
        "a table of kubectl get",
        "by kubehealer x",
        "bug in kubehealer {x}",
        "kubectl-plugin is for `kubectl kubehealer`",
    ];
    let lines: Vec<(String, &str)> = texts
        .iter()
        .flat_map(|(file, text)| text.lines().map(move |line| (file.clone(), line)))
        .filter(|(_, line)| !line.starts_with("Usage: ") && !prose.iter().any(|prose| line.contains(prose)))
        .collect();
    assert!(check(lines).len() > 100);
}

#[test]
fn the_commands_of_the_documents_are_taken_and_those_that_name_objects_find_them() {
    let server = Server::recorded();
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "default", "name": "cart-7d9f8b6c5-x2x", "uid": "x"},
        "spec": {"containers": []}, "status": {"phase": "Running"}});
    server.cluster.apply(pod).unwrap();
    let owner = json!([{"apiVersion": "kafka.strimzi.io/v1beta2", "kind": "Kafka", "name": "events", "uid": "k", "controller": true}]);
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": "events-0", "uid": "e",
        "ownerReferences": owner}, "spec": {"containers": []}, "status": {"phase": "Running"}});
    server.cluster.apply(pod).unwrap();
    let mut named = BTreeSet::new();
    let mut all = BTreeSet::new();
    for document in super::words::documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for block in text.split("```").skip(1).step_by(2) {
            for words in commands(block.split_once('\n').map_or("", |(_, text)| text)) {
                let ours = words.iter().position(|word| word == "kubehealer").filter(|at| *at < 2);
                let Some(words) = ours.map(|at| words[at..].to_vec()) else { continue };
                assert_eq!(refused(&words), None, "{}: {}", document.display(), words.join(" "));
                // Files, contexts and an end that are not there.
                let lacks = ["-f", "--rules", "--context", "-w"].map(str::to_owned);
                let can_run = !words.iter().any(|word| lacks.contains(word));
                if words.get(1).is_some_and(|word| word == "diagnose") && can_run {
                    named.insert(words.clone());
                }
                all.insert(words);
            }
        }
    }
    assert!(all.len() > 10 && named.len() > 2, "{all:?}");
    let mut kinds = BTreeSet::new();
    for finding in next_steps_subjects(&server) {
        // The command of the alerts, once for each kind.
        if kinds.insert(finding.1.clone()) {
            let target = format!("{}/{}", finding.1, finding.2);
            named.insert(["kubehealer", "diagnose", "-n", &finding.0, &target].map(str::to_owned).to_vec());
        }
    }
    assert!(kinds.len() > 4, "{kinds:?}");
    for words in named {
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let run = server.run(&words, &[]);
        let may_fail = words.contains(&"--fail-on");
        assert!(run.code == 0 || may_fail && run.code == 1, "{words:?}: {}", run.err);
        assert!(
            run.out.contains("Looked at ") && !run.out.contains("No pods found"),
            "{words:?}: {}",
            run.out
        );
    }
}

/// Namespace, kind and name of the workloads of all findings.
fn next_steps_subjects(server: &Server) -> Vec<(String, String, String)> {
    let run = server.diagnose(&["-A", "-o", "json", "--no-logs"]);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = document["findings"].as_array().unwrap().iter().filter(|f| f["workload"].is_object());
    findings
        .map(|f| (word(&f["namespace"]), word(&f["workload"]["kind"]), word(&f["workload"]["name"])))
        .collect()
}
