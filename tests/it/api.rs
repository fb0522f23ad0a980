//! The API of the daemon: filters, groups, one incident, the last hours, what changes, and that all of it keeps to the OpenAPI
//! document.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kubehealer::daemon::Running;
use kubehealer::diagnosis::OwnerLabels;
use kubehealer::rules::RuleSet;
use kubehealer::simulator::Cluster;
use kubehealer::simulator::kubelet::{self, Termination};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;

use super::contract::check;
use super::replay::recordings;
use super::server::{answer, failing_pod, get, settings, start, until};

const PODS: usize = 210;

/// Pods that fail, of 21 workloads of ten in seven namespaces, on three nodes, owned by four teams.
fn cluster() -> Cluster {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 0.0);
    for n in 0..PODS {
        let mut pod = failing_pod(n);
        pod["metadata"]["labels"] = json!({"team": format!("Team-{}", n % 4)});
        pod["spec"]["nodeName"] = format!("node-{}", n % 3).into();
        cluster.apply(pod).unwrap();
    }
    cluster
}

async fn daemon(cluster: &Cluster) -> Running {
    let mut settings = settings(cluster);
    settings.owner_labels = OwnerLabels::new(&["team".to_owned()]).unwrap();
    settings.cluster_name = "prod".to_owned();
    start(settings).await
}

async fn ask(to: SocketAddr, path: &str) -> Value {
    let (status, body) = get(to, &format!("/api/v1/{path}"), "").await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// The daemon, once it has so many open incidents.
async fn with_all(cluster: &Cluster) -> (Running, SocketAddr) {
    let running = daemon(cluster).await;
    let to = running.address;
    until("all incidents", async || (ask(to, "incidents?limit=1").await["total"] == PODS).then_some(()))
        .await;
    (running, to)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_gives_what_matches_and_exact_counts_however_small_the_page() {
    let (running, to) = with_all(&cluster()).await;
    let of = |matches: fn(usize) -> bool| (0..PODS).filter(|n| matches(*n)).count();
    for (query, wanted) in [
        ("namespace=ns-3", of(|n| n % 7 == 3)),
        ("severity=warning", PODS),
        ("severity=critical", 0),
        ("reason=CrashLoopBackOff", PODS),
        ("reason=OOMKilled", 0),
        ("owner=Team-2", of(|n| n % 4 == 2)),
        ("node=node-1", of(|n| n % 3 == 1)),
        ("node=node-1&owner=Team-2&namespace=ns-3", of(|n| n % 3 == 1 && n % 4 == 2 && n % 7 == 3)),
        // All that is shown is searched: names, owners, severity, sentences, next steps.
        ("q=app-003", 10),
        ("q=APP-003+NODE-1", 3),
        ("q=team-2", of(|n| n % 4 == 2)),
        ("q=warning", PODS),
        ("q=StatefulSet/app-01", 100),
        ("q=BACK-OFF+kubectl", PODS),
        // As the page and the API name a workload and a pod.
        ("q=ns-3%2FStatefulSet/app-003", of(|n| n % 7 == 3 && n / 10 == 3)),
        ("q=ns-3/app-003-x", of(|n| n % 7 == 3 && n / 10 == 3)),
        ("q=app-x-", 0),
        // No pattern, and no word across two texts.
        ("q=app.003", 0),
        ("q=%5Ba-z%5D", 0),
        // A form sends its empty fields as well.
        ("namespace=&severity=&reason=&owner=&node=&q=&group=&sort=&continue=", PODS),
    ] {
        let list = ask(to, &format!("incidents?{query}&limit=2")).await;
        assert_eq!(list["total"], wanted, "{query}");
        assert_eq!(list["counts"]["warning"], wanted, "{query}");
        assert_eq!(list["open"]["warning"], PODS, "{query}: of all");
        assert_eq!(list["items"].as_array().unwrap().len(), wanted.min(2), "{query}");
        let groups = ask(to, &format!("groups?{query}&limit=1")).await;
        assert_eq!(groups["counts"], list["counts"], "{query}");
        let problems = ask(to, &format!("problems?{query}")).await;
        let sum: u64 =
            problems["items"].as_array().unwrap().iter().map(|p| p["reach"]["pods"].as_u64().unwrap()).sum();
        assert!(sum <= wanted as u64, "{query}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_shows_characters_that_hide_or_reorder_text() {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 0.0);
    const HOSTILE: &str = "ad\u{200b}min\u{202e}gpj\u{9b}31mred";
    for n in 0..2 {
        let mut pod = failing_pod(n);
        pod["metadata"]["namespace"] = HOSTILE.into();
        if n == 0 {
            pod["metadata"]["name"] = HOSTILE.into();
            pod["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        }
        pod["metadata"]["labels"] = json!({"team": HOSTILE});
        pod["spec"]["nodeName"] = HOSTILE.into();
        cluster.apply(pod).unwrap();
    }
    let running = daemon(&cluster).await;
    let to = running.address;
    let list = until("both incidents", async || {
        let list = ask(to, "incidents").await;
        (list["total"] == 2).then_some(list)
    })
    .await;
    let id = |n: usize| format!("incidents/{}", list["items"][n]["id"].as_str().unwrap());
    let mut shown = 0;
    for path in ["groups", "history", "incidents", "problems", "diagnosis", &id(0), &id(1)] {
        let answer = ask(to, path).await.to_string();
        shown += answer.matches("admin").count();
        let hidden = ['\u{200b}', '\u{202e}', '\u{9b}'];
        assert!(!answer.contains(hidden), "{path}: {answer}");
    }
    assert!(shown > 7, "{shown}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_hold_every_incident_once_widest_first_and_open_to_their_pods() {
    let (running, to) = with_all(&cluster()).await;
    let groups = ask(to, "groups").await;
    let items = groups["items"].as_array().unwrap();
    let number = |of: &Value| of.as_u64().unwrap();
    assert_eq!(items.iter().map(|g| number(&g["incidents"])).sum::<u64>(), PODS as u64);
    assert_eq!(groups["total"], items.len());
    let reaches: Vec<u64> = items.iter().map(|g| number(&g["reach"]["pods"])).collect();
    assert!(reaches.is_sorted_by(|a, b| a >= b) && reaches[0] > 1, "{reaches:?}");
    for group in items.iter().take(5) {
        let id = group["id"].as_str().unwrap();
        let list = ask(to, &format!("incidents?group={id}")).await;
        assert_eq!(list["total"], group["incidents"]);
        let first = list["items"].as_array().unwrap().iter().find(|i| i["id"] == group["first"]).unwrap();
        assert_eq!(first["cause"]["code"], group["cause"]["code"]);
        let one = ask(to, &format!("incidents/{}", group["first"].as_str().unwrap())).await;
        assert_eq!(one["group"], group["id"]);
    }
    for (sort, list, key) in
        [("newest", "groups", "newest"), ("oldest", "groups", "since"), ("newest", "incidents", "since")]
    {
        let list = ask(to, &format!("{list}?sort={sort}")).await;
        let times: Vec<&str> =
            list["items"].as_array().unwrap().iter().map(|i| i[key].as_str().unwrap()).collect();
        assert!(
            times.is_sorted_by(|a, b| if sort == "newest" { a >= b } else { a <= b }),
            "{sort}: {times:?}"
        );
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_is_wrong_in_words() {
    let running = daemon(&cluster()).await;
    let to = running.address;
    let long = "é".repeat(401);
    let words = "a+".repeat(41);
    for (path, status, words) in [
        ("groups?severity=bad", 400, "unknown severity"),
        ("groups?sort=bad", 400, "severity, newest, oldest, name"),
        (
            "groups?nonsense=1",
            400,
            "valid parameters: namespace, severity, reason, owner, node, q, group, sort, limit and continue",
        ),
        ("groups?nonsense=1", 400, "not valid: unknown parameter `nonsense`; valid"),
        ("incidents?limit=x", 400, "not valid: limit: must be a whole number from 1; valid"),
        ("groups?limit=0", 400, "limit: must be a whole number from 1"),
        ("history?limit=-1", 400, "limit: must be a whole number from 1"),
        ("incidents?reason=OOM", 400, "no incident has the reason \"OOM\"; did you mean OOMKilled"),
        ("groups?continue=x", 400, "invalid continue token"),
        ("incidents?group=x", 400, "not a group id"),
        (&format!("incidents?q={long}"), 400, "at most 40 words and 400 characters"),
        (&format!("incidents?q={words}"), 400, "at most 40 words and 400 characters"),
        ("history?namespace=x", 400, "valid parameters: limit and continue"),
        ("incidents/0123456789abcdef", 404, "incident has the id 0123456789abcdef"),
        ("incidents/%ff", 400, "the id of the incident is not valid"),
        ("incidents/%1b%5b31m", 404, "no open or recently resolved incident"),
        ("nonsense", 404, "openapi.json"),
    ] {
        let error = answer(to, &format!("/api/v1/{path}"), "").await;
        assert_eq!(
            (error.status, error.header("content-type")),
            (status, Some("application/problem+json")),
            "{path}"
        );
        let problem: Value = serde_json::from_str(&error.body).unwrap();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains(words), "{path}: {problem}");
    }
    // More than there may be on a page is no error: a page may always be shorter, and says so.
    assert!(ask(to, "incidents?limit=10000").await["total"].is_u64());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_rule_is_known_before_the_rule_matches() {
    let rule = "rules:\n- name: slow\n  when: \"false\"\n  raise: {reason: TooSlow, severity: warning, summary: it is too slow}\n";
    let mut settings = settings(&cluster());
    settings.rules = Arc::new(RuleSet::load(&[("rules.yaml".into(), rule.into())]).unwrap());
    let running = start(settings).await;
    assert_eq!(ask(running.address, "incidents?reason=TooSlow").await["total"], 0);
    let other = answer(running.address, "/api/v1/incidents?reason=TooSlaw", "").await;
    assert_eq!(other.status, 400);
    assert!(other.body.contains("did you mean TooSlow"), "{}", other.body);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_tells_what_has_happened_to_it_and_is_kept_when_it_is_over() {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 60.0);
    let running = daemon(&cluster).await;
    let to = running.address;
    let manifest = json!({"metadata": {"namespace": "shop", "name": "cart"},
        "spec": {"containers": [{"name": "cart", "image": "cart:1"}]}});
    let mut pod = kubelet::Pod::create(&cluster, manifest).unwrap();
    pod.assign("node-a");
    pod.accept();
    // After the first end it is started again at once: the kubelet backs off from the second on.
    pod.start("cart");
    pod.terminate("cart", &Termination::exit(3));
    let mut crash = async |times: usize| {
        for _ in 0..times {
            pod.start("cart");
            pod.publish();
            cluster.sleep(Duration::from_secs(12)).await;
            pod.terminate("cart", &Termination::exit(3));
            pod.wait("cart", "CrashLoopBackOff", "back-off 5m0s restarting failed container");
            pod.publish();
            cluster.sleep(Duration::from_secs(20)).await;
        }
    };
    crash(2).await;
    let open = until("the incident", async || {
        let list = ask(to, "incidents?reason=CrashLoopBackOff").await;
        list["items"].get(0).map(|incident| incident["id"].as_str().unwrap().to_owned())
    })
    .await;
    crash(2).await;
    let path = format!("incidents/{open}");
    let told = |incident: &Value, event: &str| -> Vec<Value> {
        let timeline = incident["timeline"].as_array().unwrap().iter();
        timeline.filter(|moment| moment["event"] == event).cloned().collect()
    };
    let incident = until("its terminations", async || {
        let incident = ask(to, &path).await;
        (told(&incident, "terminated").len() > 1).then_some(incident)
    })
    .await;
    assert_eq!((&incident["runbook"], &incident["pod"]), (&json!("CrashLoopBackOff"), &json!("cart")));
    assert_eq!((told(&incident, "began").len(), told(&incident, "opened").len()), (1, 1));
    let last = told(&incident, "terminated").pop().unwrap();
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(3), &json!("Error")));
    let ran = last["ranSeconds"].as_u64().unwrap();
    assert!((10..=60).contains(&ran), "{last}");
    assert_eq!(last["text"], format!("container cart terminated: Error, exit code 3, {ran}s after start"));
    let at = |moment: &Value| moment["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let times: Vec<_> = incident["timeline"].as_array().unwrap().iter().map(at).collect();
    assert!(times.is_sorted(), "{times:?}");

    pod.remove();
    let over = until("its end", async || {
        let incident = ask(to, &path).await;
        incident["resolvedAt"].is_string().then_some(incident)
    })
    .await;
    assert_eq!((&over["ending"], &over["reason"]), (&json!("deleted"), &json!("CrashLoopBackOff")));
    assert_eq!(told(&over, "resolved").len(), 1);
    assert!(told(&over, "terminated").len() > 1);

    let history = ask(to, "history").await;
    let sum = |buckets: &Value, of: fn(&Value) -> &Value| -> u64 {
        buckets.as_array().unwrap().iter().filter_map(|bucket| of(bucket).as_u64()).sum()
    };
    for buckets in [&history["buckets"], &history["workloads"][0]["buckets"], &over["history"]] {
        assert_eq!((sum(buckets, |b| &b["opened"]), sum(buckets, |b| &b["resolved"])), (1, 1), "{history}");
        assert_eq!(sum(buckets, |b| &b["terminations"]["Error"]), 5, "{history}");
    }
    assert_eq!(history["workloads"][0]["workload"], json!({"kind": "Pod", "name": "cart"}));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_that_comes_back_tells_of_both_times() {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 60.0);
    let running = daemon(&cluster).await;
    let to = running.address;
    let manifest = json!({"metadata": {"namespace": "shop", "name": "cart"},
        "spec": {"containers": [{"name": "cart", "image": "cart:1"}]}});
    let mut pod = kubelet::Pod::create(&cluster, manifest).unwrap();
    pod.assign("node-a");
    pod.accept();
    let image = "Back-off pulling image \"cart:1\": ErrImagePull: cart:1: not found";
    pod.wait("cart", "ImagePullBackOff", image);
    pod.publish();
    let id = until("the incident", async || {
        let list = ask(to, "incidents?reason=ImagePullBackOff").await;
        list["items"].get(0).map(|incident| incident["id"].as_str().unwrap().to_owned())
    })
    .await;
    let events = async || {
        let incident = ask(to, &format!("incidents/{id}")).await;
        let timeline = incident["timeline"].as_array().unwrap().iter();
        timeline.map(|moment| moment["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    pod.start("cart");
    pod.publish();
    until("its end", async || events().await.contains(&"resolved".to_owned()).then_some(())).await;
    pod.wait("cart", "ImagePullBackOff", image);
    pod.publish();
    let times = async |event: &str| events().await.iter().filter(|e| *e == event).count();
    until("it again", async || (times("opened").await == 2).then_some(())).await;
    assert_eq!(times("resolved").await, 1);
    running.stop().await;
}

/// A listener of changes.
struct Listener(Lines<BufReader<TcpStream>>);

impl Listener {
    async fn new(to: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        Self(BufReader::new(stream).lines())
    }

    async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(Duration::from_secs(20), self.0.next_line());
        line.await.expect("a line within 20 s").ok().flatten()
    }

    async fn status(&mut self) -> u16 {
        self.line().await.unwrap().split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn message(&mut self) -> Value {
        loop {
            if let Some(data) = self.line().await.unwrap().strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_is_told_what_opens_and_resolves_with_exact_counts() {
    let cluster = cluster();
    let (running, to) = with_all(&cluster).await;
    let document = ask(to, "openapi.json").await;
    let mut listeners = [Listener::new(to).await, Listener::new(to).await];
    for listener in &mut listeners {
        let first = listener.message().await;
        assert_eq!((&first["open"]["warning"], &first["opened"]), (&json!(PODS), &json!([])), "{first}");
        assert_eq!(errors(&document, "Change", &first), [""; 0]);
    }
    let of_pod = |list: &Value, name: &str| {
        let items = list["items"].as_array().unwrap();
        items.iter().find(|i| i["pod"] == name).map(|i| i["id"].clone())
    };
    let gone = of_pod(&ask(to, "incidents?q=app-000-x-00005").await, "app-000-x-00005").unwrap();
    cluster.delete("pods", "ns-5", "app-000-x-00005");
    cluster.apply(failing_pod(PODS)).unwrap();
    let (mut opened, mut resolved) = (Vec::new(), Vec::new());
    let mut told = BTreeMap::new();
    while opened.is_empty() || resolved.is_empty() {
        let message = listeners[0].message().await;
        opened.extend(message["opened"].as_array().unwrap().clone());
        resolved.extend(message["resolved"].as_array().unwrap().clone());
        told.insert(message["version"].as_u64().unwrap(), message);
    }
    assert_eq!(resolved, [gone]);
    assert_eq!(opened, [of_pod(&ask(to, "incidents?q=app-021-x-00210").await, "app-021-x-00210").unwrap()]);
    let (_, last) = told.last_key_value().unwrap();
    assert_eq!((&last["open"]["warning"], &last["more"]), (&json!(PODS), &json!(0)));
    assert_eq!(
        listeners[1].message().await["version"],
        *told.first_key_value().unwrap().0,
        "the same for all"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_listeners_are_asked_to_come_back_and_keep_nobody_from_the_probes() {
    let running = daemon(&cluster()).await;
    let to = running.address;
    let mut listeners = Vec::new();
    for _ in 0..112 {
        let mut listener = Listener::new(to).await;
        assert_eq!(listener.status().await, 200);
        listeners.push(listener);
    }
    let mut refused = Listener::new(to).await;
    assert_eq!(refused.status().await, 503);
    let head = [refused.line().await.unwrap(), refused.line().await.unwrap(), refused.line().await.unwrap()]
        .concat();
    assert!(head.contains("retry-after: 1"), "{head}");
    for path in ["/livez", "/metrics", "/api/v1/groups"] {
        assert_eq!(get(to, path, "").await.0, 200, "{path}");
    }
    // Who has gone leaves room.
    listeners.truncate(100);
    until("room", async || (Listener::new(to).await.status().await == 200).then_some(())).await;
    running.stop().await;
}

/// What is wrong with an answer, by the document that the daemon itself serves.
fn errors(document: &Value, schema: &str, value: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    check(&document["components"]["schemas"][schema], value, document, "", &mut errors);
    errors
}

/// Paths of the document, with the schema of their answers.
fn schemas(document: &Value) -> BTreeMap<String, String> {
    let paths = document["paths"].as_object().unwrap();
    let schema = |item: &Value| {
        let content = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
        Some(content.as_str()?.strip_prefix("#/components/schemas/").unwrap().to_owned())
    };
    paths.iter().filter_map(|(path, item)| Some((path.clone(), schema(item)?))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_keeps_to_the_openapi_document_for_all_recordings() {
    for recording in ["final", "changes/final", "after-node-restart"] {
        let cluster = Cluster::new();
        let files = std::fs::read_dir(recordings().join(recording)).unwrap().map(|file| file.unwrap().path());
        // The simulated cluster has no PodDisruptionBudgets.
        let files = files.filter(|path| path.extension().is_some() && !path.ends_with("pdbs.json"));
        let lists = files.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
        cluster.load(lists.filter(|list: &Value| list["items"].is_array())).unwrap();
        cluster.set_clock("2026-11-22T11:23:29Z".parse().unwrap(), 0.0);
        let running = daemon(&cluster).await;
        let to = running.address;
        let document = ask(to, "openapi.json").await;
        let list = until("incidents", async || {
            let list = ask(to, "incidents").await;
            (list["total"].as_u64() > Some(0)).then_some(list)
        })
        .await;
        let paths = schemas(&document);
        assert_eq!(paths.len(), 6, "{paths:?}");
        for (path, schema) in paths {
            let path = path.strip_prefix("/api/v1/").unwrap();
            for id in list["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|incident| incident["id"].as_str().unwrap())
                .take(10)
            {
                let answer = ask(to, &path.replace("{id}", id)).await;
                assert_eq!(errors(&document, &schema, &answer), [""; 0], "{recording}: {path} {id}");
                if !path.contains("{id}") {
                    break;
                }
            }
        }
        let (_, problem) = get(to, "/api/v1/groups?x=1", "").await;
        assert_eq!(errors(&document, "Problem", &serde_json::from_str(&problem).unwrap()), [""; 0]);
        running.stop().await;
    }
}
