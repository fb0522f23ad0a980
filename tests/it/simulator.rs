//! The simulated API server, asked by a real client.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{Api, ListParams, LogParams, WatchEvent, WatchParams};
use kube::runtime::watcher;
use kubehealer::simulator::{Cluster, Cut, Fault, Log, client};
use serde_json::{Value, json};

fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name.split('-').next().unwrap()}},
        "spec": {"nodeName": "node-a", "containers": [{"name": "app", "image": "registry.example/app:1"}]},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "app", "ready": true, "restartCount": 0, "image": "", "imageID": "",
            "state": {"running": {"startedAt": "2026-11-22T11:00:00Z"}}, "lastState": {}
        }]}
    })
}

fn with_pods(count: usize) -> Cluster {
    let cluster = Cluster::new();
    for number in 0..count {
        cluster.apply(pod("shop", &format!("web-{number:03}"))).unwrap();
    }
    cluster
}

fn pods(cluster: &Cluster) -> Api<Pod> {
    Api::all(client(cluster))
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap()
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("no status: {other:?}"),
    }
}

/// `ADDED web-000`, `BOOKMARK`, `ERROR 410`, for so many events.
async fn seen(
    events: impl futures::Stream<Item = kube::Result<WatchEvent<Pod>>>,
    count: usize,
) -> Vec<String> {
    let words = events.take(count).map(|event| match event {
        Ok(WatchEvent::Added(pod)) => format!("ADDED {}", name(&pod)),
        Ok(WatchEvent::Modified(pod)) => format!("MODIFIED {}", name(&pod)),
        Ok(WatchEvent::Deleted(pod)) => format!("DELETED {}", name(&pod)),
        Ok(WatchEvent::Bookmark(mark))
            if mark.metadata.annotations.contains_key("k8s.io/initial-events-end") =>
        {
            "BOOKMARK end of initial events".to_owned()
        }
        Ok(WatchEvent::Bookmark(_)) => "BOOKMARK".to_owned(),
        Ok(WatchEvent::Error(status)) => format!("ERROR {}", status.code),
        Err(error) => format!("failed: {error}"),
    });
    words.collect().await
}

#[tokio::test]
async fn a_list_comes_in_pages_of_one_moment_whatever_changes_meanwhile() {
    let cluster = with_pods(7);
    let api = pods(&cluster);
    let first = api.list(&ListParams::default().limit(3)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(4));
    cluster.delete("pods", "shop", "web-005");
    cluster.apply(pod("shop", "web-004a")).unwrap();
    let mut names: Vec<String> = first.items.iter().map(name).collect();
    let mut token = first.metadata.continue_.clone().unwrap();
    while !token.is_empty() {
        let page = api.list(&ListParams::default().limit(3).continue_token(&token)).await.unwrap();
        assert_eq!(page.metadata.resource_version, first.metadata.resource_version);
        names.extend(page.items.iter().map(name));
        token = page.metadata.continue_.unwrap_or_default();
    }
    assert_eq!(names, (0..7).map(|n| format!("web-{n:03}")).collect::<Vec<_>>());
    assert_eq!(cluster.asked("list", "pods"), 3);
}

#[tokio::test]
async fn an_expired_page_token_is_gone() {
    let cluster = with_pods(5);
    let api = pods(&cluster);
    let token = api.list(&ListParams::default().limit(2)).await.unwrap().metadata.continue_.unwrap();
    cluster.compact();
    let error = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap_err();
    assert_eq!(code(&error), 410);
}

#[tokio::test]
async fn label_and_field_selectors_choose_as_the_api_server_does() {
    let cluster = with_pods(2);
    cluster.apply(pod("shop", "cart-1")).unwrap();
    cluster.apply(pod("ml", "trainer-1")).unwrap();
    cluster.update("pods", "ml", "trainer-1", |pod| pod["status"]["phase"] = json!("Failed"));
    cluster.update("pods", "shop", "web-001", |pod| pod["metadata"]["labels"]["tier"] = json!("front"));
    let api = pods(&cluster);
    let chosen = async |params: ListParams| -> Vec<String> {
        api.list(&params).await.unwrap().items.iter().map(name).collect()
    };
    let labels = |text: &str| ListParams::default().labels(text);
    let fields = |text: &str| ListParams::default().fields(text);
    assert_eq!(chosen(labels("app=web")).await, ["web-000", "web-001"]);
    assert_eq!(chosen(labels("app==web,tier=front")).await, ["web-001"]);
    assert_eq!(chosen(labels("app in (cart, trainer)")).await, ["trainer-1", "cart-1"]);
    assert_eq!(chosen(labels("app notin (web,cart)")).await, ["trainer-1"]);
    assert_eq!(chosen(labels("app!=web")).await, ["trainer-1", "cart-1"]);
    assert_eq!(chosen(labels("tier")).await, ["web-001"]);
    assert_eq!(chosen(labels("!tier,app=web")).await, ["web-000"]);
    assert_eq!(chosen(fields("status.phase!=Running")).await, ["trainer-1"]);
    assert_eq!(chosen(fields("metadata.namespace=shop,metadata.name=cart-1")).await, ["cart-1"]);
    assert_eq!(chosen(fields("spec.nodeName=")).await, [""; 0]);
    assert_eq!(code(&api.list(&fields("spec.hostname=x")).await.unwrap_err()), 400);
    assert_eq!(code(&api.list(&labels("app=(")).await.unwrap_err()), 400);
    let one: Api<Pod> = Api::namespaced(client(&cluster), "ml");
    assert_eq!(one.list(&ListParams::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn get_answers_the_object_or_404() {
    let cluster = with_pods(1);
    let api: Api<Pod> = Api::namespaced(client(&cluster), "shop");
    let pod = api.get("web-000").await.unwrap();
    assert!(pod.metadata.uid.is_some() && pod.metadata.creation_timestamp.is_some());
    assert_eq!(code(&api.get("web-9").await.unwrap_err()), 404);
    assert!(Api::<Node>::all(client(&cluster)).get_opt("node-a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_goes_on_after_the_version_it_was_given() {
    let cluster = with_pods(2);
    let from = cluster.version().to_string();
    cluster.apply(pod("shop", "web-002")).unwrap();
    let api = pods(&cluster);
    let events = api.watch(&WatchParams::default().disable_bookmarks(), &from).await.unwrap();
    cluster.update("pods", "shop", "web-000", |pod| pod["status"]["phase"] = json!("Failed"));
    cluster.delete("pods", "shop", "web-001");
    assert_eq!(seen(events, 3).await, ["ADDED web-002", "MODIFIED web-000", "DELETED web-001"]);
}

#[tokio::test]
async fn a_watch_shows_what_enters_and_leaves_its_selector_as_added_and_deleted() {
    let cluster = with_pods(2);
    let from = cluster.version().to_string();
    let api = pods(&cluster);
    let params = WatchParams::default().fields("status.phase=Failed").disable_bookmarks();
    let events = api.watch(&params, &from).await.unwrap();
    for phase in ["Failed", "Running"] {
        cluster.update("pods", "shop", "web-000", |pod| pod["status"]["phase"] = json!(phase));
    }
    cluster.update("pods", "shop", "web-001", |pod| pod["status"]["phase"] = json!("Failed"));
    assert_eq!(seen(events, 3).await, ["ADDED web-000", "DELETED web-000", "ADDED web-001"]);
}

#[tokio::test]
async fn a_version_that_is_too_old_is_gone_and_an_open_watch_outlives_compaction() {
    let cluster = with_pods(2);
    let api = pods(&cluster);
    let params = WatchParams::default().disable_bookmarks();
    let open = api.watch(&params, &cluster.version().to_string()).await.unwrap();
    cluster.compact();
    let events = api.watch(&params, "2").await.unwrap();
    assert_eq!(seen(events, 1).await, ["ERROR 410"]);
    cluster.apply(pod("shop", "web-002")).unwrap();
    assert_eq!(seen(open, 1).await, ["ADDED web-002"]);
    cluster.fault("pods", Fault::GoneOnWatch);
    assert_eq!(code(&api.watch(&params, "2").await.err().unwrap()), 410);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_every_minute_and_the_watch_ends_at_its_time_out() {
    let cluster = with_pods(1);
    let api = pods(&cluster);
    let begun = tokio::time::Instant::now();
    let params = WatchParams::default().timeout(150);
    let events = api.watch(&params, &cluster.version().to_string()).await.unwrap();
    // The last one comes with the end.
    assert_eq!(seen(events, 99).await, ["BOOKMARK", "BOOKMARK", "BOOKMARK"]);
    assert_eq!(begun.elapsed().as_secs(), 150);
}

#[tokio::test]
async fn a_watch_list_sends_what_there_is_then_a_mark_then_what_changes() {
    let cluster = with_pods(2);
    let api = pods(&cluster);
    let events = api.watch(&WatchParams::default().initial_events(), "0").await.unwrap();
    let mut events = Box::pin(events);
    let first = seen(&mut events, 3).await;
    assert_eq!(first, ["ADDED web-000", "ADDED web-001", "BOOKMARK end of initial events"]);
    cluster.apply(pod("shop", "web-002")).unwrap();
    assert_eq!(seen(&mut events, 1).await, ["ADDED web-002"]);
    cluster.fault("pods", Fault::RefuseWatchList);
    let refused = api.watch(&WatchParams::default().initial_events(), "0").await.err().unwrap();
    assert_eq!(code(&refused), 422);
}

#[tokio::test]
async fn a_pod_with_another_uid_is_another_pod() {
    let cluster = with_pods(1);
    let api = pods(&cluster);
    let from = cluster.version().to_string();
    let mut again = pod("shop", "web-000");
    again["metadata"]["uid"] = json!("another");
    cluster.apply(again).unwrap();
    let events = api.watch(&WatchParams::default().disable_bookmarks(), &from).await.unwrap();
    assert_eq!(seen(events, 2).await, ["DELETED web-000", "ADDED web-000"]);
}

#[tokio::test]
async fn kube_runtimes_watcher_lists_watches_and_relists_on_gone() {
    let cluster = with_pods(3);
    let config = watcher::Config::default().page_size(2);
    let mut events = Box::pin(watcher::watcher(pods(&cluster), config));
    let mut names = Vec::new();
    loop {
        match events.try_next().await.unwrap().unwrap() {
            watcher::Event::InitApply(pod) => names.push(name(&pod)),
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    assert_eq!(names, ["web-000", "web-001", "web-002"]);
    cluster.delete("pods", "shop", "web-001");
    assert!(
        matches!(events.try_next().await.unwrap(), Some(watcher::Event::Delete(pod)) if name(&pod) == "web-001")
    );
    cluster.cut_watches("pods", Cut::Gone);
    assert!(
        matches!(events.next().await, Some(Err(watcher::Error::WatchError(status))) if status.code == 410)
    );
    assert!(matches!(events.try_next().await.unwrap(), Some(watcher::Event::Init)));
}

#[tokio::test]
async fn each_way_to_break_a_watch_breaks_it() {
    let cluster = with_pods(1);
    let api = pods(&cluster);
    let params = WatchParams::default().disable_bookmarks();
    let from = cluster.version().to_string();
    for number in 1..4 {
        cluster.apply(pod("shop", &format!("web-{number:03}"))).unwrap();
    }
    cluster.fault("watch pods", Fault::CutWatch { after: 2 });
    assert_eq!(seen(api.watch(&params, &from).await.unwrap(), 9).await, ["ADDED web-001", "ADDED web-002"]);
    cluster.heal("watch pods");

    cluster.fault("watch pods", Fault::CutWatchMidLine { after: 1 });
    let broken = seen(api.watch(&params, &from).await.unwrap(), 9).await;
    assert_eq!(broken[0], "ADDED web-001");
    assert!(broken[1].starts_with("failed: "), "{broken:?}");
    cluster.heal("watch pods");

    cluster.fault("pods", Fault::BadItem { at: 1, json: Bytes::from_static(br#"{"metadata":7}"#) });
    let bad = seen(api.watch(&params, &from).await.unwrap(), 3).await;
    assert!(
        bad[0] == "ADDED web-001" && bad[1].starts_with("failed: ") && bad[2] == "ADDED web-003",
        "{bad:?}"
    );
    assert!(api.list(&ListParams::default()).await.is_err());
    cluster.heal_all();

    let open = api.watch(&params, &cluster.version().to_string()).await.unwrap();
    cluster.cut_watches("pods", Cut::End);
    assert_eq!(seen(open, 9).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_watch_says_nothing_until_it_is_healed() {
    let cluster = with_pods(1);
    let api = pods(&cluster);
    cluster.fault("watch pods", Fault::StallWatch);
    let mut events =
        Box::pin(api.watch(&WatchParams::default(), &cluster.version().to_string()).await.unwrap());
    cluster.apply(pod("shop", "web-001")).unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(200), events.next()).await.is_err());
    cluster.heal_all();
    assert_eq!(seen(events, 1).await, ["ADDED web-001"]);
}

#[tokio::test(start_paused = true)]
async fn refusals_carry_the_api_servers_codes_and_delays_delay() {
    let cluster = with_pods(4);
    let api = pods(&cluster);
    let list = ListParams::default();
    for (fault, expected) in [
        (Fault::Forbidden, 403),
        (Fault::ForbiddenExceptIn(vec!["shop".to_owned()]), 403),
        (Fault::Unauthorized, 401),
        (Fault::InternalError, 500),
    ] {
        cluster.fault("pods", fault);
        assert_eq!(code(&api.list(&list).await.unwrap_err()), expected);
        cluster.heal("pods");
    }
    for (fault, expected) in
        [(Fault::Unavailable { retry_after: Some(3) }, 503), (Fault::TooManyRequests { retry_after: 1 }, 429)]
    {
        cluster.fault("*", fault);
        assert_eq!(code(&api.list(&list).await.unwrap_err()), expected);
        cluster.heal("*");
    }
    cluster.fault("pods", Fault::ForbiddenExceptIn(vec!["shop".to_owned()]));
    let allowed: Api<Pod> = Api::namespaced(client(&cluster), "shop");
    assert_eq!(allowed.list(&list).await.unwrap().items.len(), 4);
    cluster.heal_all();

    cluster.fault("list pods", Fault::GoneOnPage);
    let token = api.list(&ListParams::default().limit(2)).await.unwrap().metadata.continue_.unwrap();
    assert_eq!(code(&api.list(&ListParams::default().continue_token(&token)).await.unwrap_err()), 410);
    cluster.heal_all();

    cluster.fault("list pods", Fault::CutList);
    assert!(api.list(&list).await.is_err());
    cluster.heal_all();

    cluster.fault("list pods", Fault::Delay(Duration::from_secs(5)));
    let begun = tokio::time::Instant::now();
    api.list(&list).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 5);
    cluster.heal_all();

    cluster.fault("list pods", Fault::BlackHole);
    assert!(tokio::time::timeout(Duration::from_secs(300), api.list(&list)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn logs_come_cut_to_the_limits_or_with_the_kubelets_reason_why_not() {
    let cluster = with_pods(1);
    let api: Api<Pod> = Api::namespaced(client(&cluster), "shop");
    let ask = |tail: Option<i64>, limit: Option<i64>, previous: bool| LogParams {
        tail_lines: tail,
        limit_bytes: limit,
        previous,
        ..LogParams::default()
    };
    assert_eq!(api.logs("web-000", &ask(None, None, false)).await.unwrap(), "");
    let missing = api.logs("web-000", &ask(None, None, true)).await.unwrap_err();
    assert_eq!(code(&missing), 400);
    assert!(
        missing.to_string().contains("previous terminated container \"app\" in pod \"web-000\" not found")
    );

    cluster.set_log("shop", "web-000", "app", false, Log::Text(Bytes::from_static(b"one\ntwo\nthree\n")));
    assert_eq!(api.logs("web-000", &ask(Some(2), None, false)).await.unwrap(), "two\nthree\n");
    assert_eq!(api.logs("web-000", &ask(None, Some(5), false)).await.unwrap(), "one\nt");
    cluster.set_log(
        "shop",
        "web-000",
        "app",
        true,
        Log::Gone { container_id: "containerd://abc".to_owned() },
    );
    assert_eq!(
        api.logs("web-000", &ask(None, None, true)).await.unwrap(),
        "unable to retrieve container logs for containerd://abc"
    );

    let pieces = [b"slow ", b"log\n "].map(|piece| (Duration::from_secs(30), Bytes::from_static(piece)));
    cluster.set_log("shop", "web-000", "app", true, Log::Slow(pieces.into()));
    let begun = tokio::time::Instant::now();
    assert_eq!(api.logs("web-000", &ask(None, None, true)).await.unwrap(), "slow log\n ");
    assert_eq!(begun.elapsed().as_secs(), 60);
    cluster.fault("pods/log", Fault::Forbidden);
    assert_eq!(code(&api.logs("web-000", &ask(None, None, false)).await.unwrap_err()), 403);
    assert!(api.get("web-000").await.is_ok());
    cluster.heal_all();

    let other = LogParams { container: Some("db".to_owned()), ..LogParams::default() };
    assert!(api.logs("web-000", &other).await.unwrap_err().to_string().contains("container db is not valid"));
    cluster.update("pods", "shop", "web-000", |pod| {
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "sidecar"}));
    });
    let unnamed = api.logs("web-000", &LogParams::default()).await.unwrap_err();
    assert!(unnamed.to_string().contains("choose one of: [app sidecar]"), "{unnamed}");
}

#[tokio::test]
async fn access_reviews_answer_by_the_faults() {
    use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
    let cluster = with_pods(0);
    cluster.fault("events", Fault::Forbidden);
    let api: Api<SelfSubjectAccessReview> = Api::all(client(&cluster));
    for (resource, allowed) in [("pods", true), ("events", false)] {
        let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": {"resourceAttributes": {"verb": "list", "resource": resource}}});
        let review = serde_json::from_value(review).unwrap();
        let answer = api.create(&kube::api::PostParams::default(), &review).await.unwrap();
        assert_eq!(answer.status.unwrap().allowed, allowed, "{resource}");
    }
}

#[tokio::test]
async fn discovery_names_every_kind_and_old_and_new_events_are_the_same() {
    let cluster = with_pods(1);
    cluster
        .apply(json!({"kind": "Event", "apiVersion": "v1", "metadata": {"name": "e", "namespace": "shop"},
            "involvedObject": {"kind": "Pod", "name": "web-000", "namespace": "shop"}, "reason": "BackOff",
            "message": "Back-off", "type": "Warning", "count": 3}))
        .unwrap();
    let client = client(&cluster);
    assert_eq!(client.apiserver_version().await.unwrap().minor, "36");
    let discovery = kube::discovery::Discovery::new(client.clone()).run().await.unwrap();
    let kinds: usize = discovery.groups().map(|group| group.recommended_resources().len()).sum();
    assert!(kinds >= 12, "{kinds}");
    let old: Api<Event> = Api::all(client.clone());
    let new: Api<k8s_openapi::api::events::v1::Event> = Api::all(client);
    let chosen = ListParams::default().fields("involvedObject.name=web-000");
    let old = old.list(&chosen).await.unwrap().items.remove(0);
    let new = new.list(&ListParams::default()).await.unwrap().items.remove(0);
    assert_eq!(old.message, new.note);
    assert_eq!(new.regarding.unwrap().name.unwrap(), "web-000");
}

#[tokio::test]
async fn over_a_socket_it_answers_the_same() {
    let cluster = with_pods(3);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = kubehealer::simulator::kubeconfig(listener.local_addr().unwrap());
    let server = tokio::spawn(kubehealer::simulator::serve(listener, cluster.clone()));
    let config = kube::config::Kubeconfig::from_yaml(&config).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
        .await
        .unwrap();
    let api: Api<Pod> = Api::all(kube::Client::try_from(config).unwrap());
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 3);
    let from = cluster.version().to_string();
    let mut events = Box::pin(api.watch(&WatchParams::default().disable_bookmarks(), &from).await.unwrap());
    cluster.delete("pods", "shop", "web-001");
    assert_eq!(seen(&mut events, 1).await, ["DELETED web-001"]);
    server.abort();
    assert!(events.next().await.is_none_or(|event| event.is_err()));
}

/// A container's status in every version of its pod, by pod and container.
type Histories = std::collections::BTreeMap<(String, String), Vec<Value>>;

/// Plays the scenarios for so many seconds of paused time, and gives what a watch saw of every container.
async fn histories(seconds: u64) -> (Cluster, Histories) {
    let cluster = Cluster::new();
    let script = kubehealer::simulator::scenarios::play(cluster.clone());
    let api: Api<Pod> = pods(&cluster);
    let mut histories = Histories::new();
    let watch = async {
        let params = WatchParams::default().timeout(u32::try_from(seconds).unwrap());
        let mut events = Box::pin(api.watch(&params, "0").await.unwrap());
        while let Some(event) = events.next().await {
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event.unwrap() else { continue };
            let value = serde_json::to_value(&pod).unwrap();
            for list in ["initContainerStatuses", "containerStatuses"] {
                for status in value["status"][list].as_array().into_iter().flatten() {
                    let key = (name(&pod), status["name"].as_str().unwrap().to_owned());
                    histories.entry(key).or_default().push(status.clone());
                }
            }
        }
    };
    tokio::select! {
        () = script => panic!("the scenarios go on for ever"),
        () = watch => {}
    }
    (cluster, histories)
}

fn time(value: &Value) -> i64 {
    value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}

#[tokio::test(start_paused = true)]
async fn scenarios_keep_the_kubelets_laws() {
    let (_, histories) = histories(1800).await;
    assert!(histories.len() > 20);
    let mut ends = 0;
    for (key, history) in &histories {
        for pair in history.windows(2) {
            let (old, new) = (&pair[0], &pair[1]);
            let rise = new["restartCount"].as_i64().unwrap() - old["restartCount"].as_i64().unwrap();
            assert!((0..=1).contains(&rise), "{key:?}: restartCount moved by {rise}");
            let ended = &old["state"]["terminated"];
            if ended.is_object() && !new["state"]["terminated"].is_object() {
                assert_eq!(new["lastState"]["terminated"], *ended, "{key:?}: an end was lost");
            }
            if rise == 1 {
                ends += 1;
                assert_ne!(new["containerID"], old["containerID"], "{key:?}: a restart is a new container");
                let waited = time(&new["state"]["running"]["startedAt"])
                    - time(&new["lastState"]["terminated"]["finishedAt"]);
                let restarts = new["restartCount"].as_u64().unwrap();
                let least = if restarts == 1 { 0 } else { (10 << (restarts - 2)).min(300) };
                assert!(
                    (least..=least + 40).contains(&waited),
                    "{key:?}: restart {restarts} after {waited} s"
                );
            }
        }
        let reasons = |status: &Value| status["state"]["waiting"]["reason"].as_str().map(str::to_owned);
        let looping = history.iter().position(|s| reasons(s).as_deref() == Some("CrashLoopBackOff"));
        if let Some(first) = looping {
            assert!(
                history[first]["restartCount"].as_i64().unwrap() >= 1,
                "{key:?}: back-off needs two ends"
            );
        }
    }
    assert!(ends > 30, "{ends}");
}

#[tokio::test(start_paused = true)]
async fn scenarios_fail_heal_and_behave_within_twenty_minutes() {
    let (cluster, histories) = histories(1200).await;
    let words = |pod: &str| -> Vec<String> {
        let history =
            histories.iter().filter(|((name, _), _)| name.starts_with(pod)).flat_map(|(_, history)| history);
        let mut words: Vec<String> = history
            .filter_map(|status| {
                let state = &status["state"];
                let reason = state["waiting"]["reason"].as_str().or(state["terminated"]["reason"].as_str());
                reason.or(state["running"].is_object().then_some("running")).map(str::to_owned)
            })
            .collect();
        words.dedup();
        words
    };
    assert_eq!(
        words("web"),
        ["ContainerCreating", "running", "ContainerCreating", "running", "ContainerCreating", "running"]
    );
    assert_eq!(words("feature-store"), ["ContainerCreating", "running", "OOMKilled", "running"]);
    assert_eq!(words("gateway"), ["ContainerCreating", "CreateContainerConfigError", "running"]);
    let settlement = words("settlement");
    assert_eq!(
        settlement[..5],
        ["ContainerCreating", "ErrImagePull", "ImagePullBackOff", "ErrImagePull", "ImagePullBackOff"]
    );
    let trainer = words("trainer");
    let begin =
        ["ContainerCreating", "running", "OOMKilled", "running", "OOMKilled", "CrashLoopBackOff", "running"];
    assert_eq!(trainer[..7], begin);
    assert_eq!(words("payouts").last().unwrap(), "running");

    let phases = |name: &str| -> Vec<String> {
        let all = cluster.all("pods");
        let chosen = all.iter().filter(|pod| pod["metadata"]["name"].as_str().unwrap().starts_with(name));
        chosen.map(|pod| pod["status"]["phase"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(phases("api"), ["Running", "Running"], "the broken ReplicaSet's pods are gone");
    assert_eq!(phases("nightly-report"), ["Failed", "Failed", "Failed"]);
    assert_eq!(phases("seed"), ["Succeeded"]);
    assert_eq!(phases("llm"), ["Pending"]);
    assert_eq!(phases("accounts"), ["Pending"]);
    let job = cluster.get("jobs", "batch", "nightly-report").unwrap();
    assert_eq!(job["status"]["conditions"][1]["reason"], "BackoffLimitExceeded");
    let api = cluster.get("deployments", "payments", "api").unwrap();
    assert_eq!(api["status"]["availableReplicas"], 2);
    let progressing = |name: &str, namespace: &str| {
        cluster.get("deployments", namespace, name).unwrap()["status"]["conditions"][1]["reason"].clone()
    };
    assert_eq!(progressing("api", "payments"), "NewReplicaSetAvailable");
    assert_eq!(progressing("llm", "ml"), "ProgressDeadlineExceeded");
    let logs: Api<Pod> = Api::namespaced(client(&cluster), "ml");
    let trainer = histories.keys().find(|(pod, _)| pod.starts_with("trainer")).unwrap();
    let previous = LogParams { previous: true, ..LogParams::default() };
    assert!(logs.logs(&trainer.0, &previous).await.unwrap().contains("epoch 1"));
}

fn recording(files: &[&str]) -> kubehealer::simulator::replay::Recording {
    let open = |file: &&str| {
        let path = format!("{}/tests/data/recordings/{file}", env!("CARGO_MANIFEST_DIR"));
        std::io::BufReader::new(std::fs::File::open(path).unwrap())
    };
    kubehealer::simulator::replay::Recording::read(files.iter().map(open)).unwrap()
}

#[test]
fn a_replayed_watch_ends_with_the_pods_that_were_there() {
    let recording = recording(&["watch/pods-watch.jsonl"]);
    let cluster = Cluster::new();
    recording.lines.iter().for_each(|line| line.apply(&cluster));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recordings/final/pods.json");
    let last: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // The list was taken a moment after the last line: what is newer than that line is compared by name alone.
    let newest = cluster.version();
    let key = |pod: &Value| {
        let [namespace, name, version] =
            ["namespace", "name", "resourceVersion"].map(|k| pod["metadata"][k].as_str().unwrap().to_owned());
        (namespace, name, version.parse::<u64>().unwrap())
    };
    let mut expected: Vec<_> = last["items"].as_array().unwrap().iter().map(key).collect();
    expected.sort();
    let replayed: Vec<_> = cluster.all("pods").iter().map(key).collect();
    assert_eq!(replayed.len(), expected.len());
    for (replayed, expected) in replayed.iter().zip(&expected) {
        assert_eq!((&replayed.0, &replayed.1), (&expected.0, &expected.1));
        assert!(replayed.2 == expected.2 || expected.2 > newest, "{replayed:?} {expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_takes_the_time_that_the_recording_took() {
    let recording = recording(&["watch/pods-watch.jsonl", "watch/events-watch.jsonl"]);
    let cluster = Cluster::new();
    let begun = tokio::time::Instant::now();
    recording.play(&cluster, 20.0).await;
    let took = begun.elapsed().as_secs_f64() * 20.0;
    // From 11:16:19 to 11:23:29.
    assert!((400.0..435.0).contains(&took), "{took}");
    let last = recording.lines.last().unwrap().at;
    assert!(cluster.now().duration_since(last).abs().as_secs() <= 1);
    assert!(cluster.len("events") > 500);
}

#[tokio::test]
async fn a_folder_of_recorded_objects_and_logs_is_a_cluster() {
    let cluster = Cluster::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recordings/final");
    kubehealer::simulator::replay::load(&cluster, folder.as_ref()).unwrap();
    assert_eq!((cluster.len("pods"), cluster.len("nodes")), (123, 2));
    assert!(cluster.len("events") > 500 && cluster.len("deployments") > 30);
    let logs: Api<Pod> = Api::namespaced(client(&cluster), "ml");
    let previous = LogParams { previous: true, ..LogParams::default() };
    let text = logs.logs("feature-store-7dcb498c67-6wh9k", &previous).await.unwrap();
    let file = format!("{folder}/logs/ml.feature-store-7dcb498c67-6wh9k.store.previous.log");
    assert_eq!(text, std::fs::read_to_string(file).unwrap());
    let error = kubehealer::simulator::replay::load(&cluster, "/nowhere".as_ref()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nowhere: "), "{error}");
}

#[test]
fn a_recording_that_cannot_be_played_says_where_it_is_wrong() {
    use kubehealer::simulator::replay::Recording;
    let error = |text: &'static str| Recording::read([text.as_bytes()]).unwrap_err().to_string();
    assert!(error("").contains("holds no object"));
    assert!(error("{\"type\": \"ADDED\", \"object\": ").contains("value 1 of the recording cannot be read"));
    let unnamed = error(r#"{"type": "ADDED", "object": {"kind": "Pod", "apiVersion": "v1"}}"#);
    assert_eq!(unnamed, "value 1 of the recording: a Pod without metadata.name");
    assert!(error(r#"{"kind": "Secret", "metadata": {"name": "x"}}"#).contains("\"Secret\""));
    assert!(error("[1]").contains("holds no object"));
}

/// The answer's status, type and whole body.
async fn ask(cluster: &Cluster, path: &str, accept: &str) -> (u16, String, Bytes) {
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    let request =
        http::Request::get(path).header("accept", accept).body(http_body_util::Empty::<Bytes>::new());
    let answer = kubehealer::simulator::Api::new(cluster.clone()).oneshot(request.unwrap()).await.unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), content_type, answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test(start_paused = true)]
async fn protobuf_says_what_json_says_in_lists_and_watches() {
    use crate::decode::{Shown, list, watch};
    use kubehealer::objects::decode::{self, Encoding};
    use kubehealer::objects::{Event, Pod};

    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    let cluster = Cluster::new();
    for file in ["pods.json", "events.json"] {
        let path = format!("{}/tests/data/recordings/final/{file}", env!("CARGO_MANIFEST_DIR"));
        cluster.load([serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()]).unwrap();
    }
    let both = async |path: &str, stream: &str| {
        let (json_code, json_type, json) = ask(&cluster, path, "application/json").await;
        let accept = format!("{PROTOBUF}{stream},application/json");
        let (code, content_type, protobuf) = ask(&cluster, path, &accept).await;
        assert_eq!((code, json_code, json_type.as_str()), (200, 200, "application/json"));
        assert_eq!(content_type, format!("{PROTOBUF}{stream}"));
        (json, protobuf)
    };
    let (json, protobuf) = both("/api/v1/pods?limit=100", "").await;
    let pods = list::<Pod>(&json, Encoding::Json).await.unwrap();
    assert_eq!((pods.items.len(), pods.continue_token.is_empty()), (100, false));
    let same = list::<Pod>(&protobuf, Encoding::Protobuf).await.unwrap();
    assert_eq!((pods.items, pods.continue_token), (same.items, same.continue_token));
    let (json, protobuf) = both("/api/v1/events", "").await;
    let events = list::<Event>(&json, Encoding::Json).await.unwrap().items;
    assert!(events.len() > 500);
    assert_eq!(events, list::<Event>(&protobuf, Encoding::Protobuf).await.unwrap().items);

    let query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=100";
    let (json, protobuf) = both(&format!("/api/v1/namespaces/platform/pods?{query}"), ";stream=watch").await;
    let seen = watch::<Pod>(&json, Encoding::Json, 1 << 20).await;
    assert!(seen.iter().any(|e| matches!(e, Shown::Bookmark(_, true))));
    assert_eq!(seen, watch::<Pod>(&protobuf, Encoding::Protobuf, 1 << 20).await);
    cluster.compact();
    let (json, protobuf) = both("/api/v1/pods?watch=1&resourceVersion=5", ";stream=watch").await;
    for (body, encoding) in [(&json, Encoding::Json), (&protobuf, Encoding::Protobuf)] {
        assert_eq!(watch::<Pod>(body, encoding, 1 << 20).await, [Shown::Error(410)]);
    }

    let (code, _, body) = ask(&cluster, "/api/v1/namespaces/shop/pods/none", PROTOBUF).await;
    assert_eq!((code, decode::decode_status(&body).unwrap().code), (404, 404));
    cluster.fault("pods", Fault::RefuseProtobuf);
    let (code, content_type, _) =
        ask(&cluster, "/api/v1/pods", &format!("{PROTOBUF},application/json")).await;
    assert_eq!((code, content_type.as_str()), (200, "application/json"));
    assert_eq!(ask(&cluster, "/api/v1/pods", PROTOBUF).await.0, 406);
    assert_eq!(ask(&cluster, "/apis/apps/v1/deployments", PROTOBUF).await.0, 406);
}

#[tokio::test]
async fn many_pods_are_each_their_own_and_as_long_as_real_ones() {
    use crate::fleet::{Fleet, State};
    use kubehealer::objects::Pod as Slim;
    use kubehealer::objects::decode::Encoding;
    let cluster = Cluster::new();
    let fleet = Fleet::new(&cluster, 2_000, 0.02);
    let api = pods(&cluster);
    let all = api.list(&ListParams::default()).await.unwrap();
    let names: std::collections::BTreeSet<_> =
        all.items.iter().map(|pod| pod.metadata.uid.clone().unwrap()).collect();
    assert_eq!(names.len(), 2_000);
    let page = "/api/v1/pods?limit=400";
    let (_, _, json) = ask(&cluster, page, "application/json").await;
    let each = json.len() / 400;
    assert!((7_000..8_000).contains(&each), "{each} bytes of JSON a pod");
    let (_, _, protobuf) = ask(&cluster, page, "application/vnd.kubernetes.protobuf").await;
    let list = async |body: &[u8], encoding| crate::decode::list::<Slim>(body, encoding).await.unwrap().items;
    assert_eq!(list(&json, Encoding::Json).await, list(&protobuf, Encoding::Protobuf).await);
    let waiting = |reason: &str| {
        let states = all
            .items
            .iter()
            .filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.clone());
        states.filter(|s| s.waiting.as_ref().is_some_and(|w| w.reason.as_deref() == Some(reason))).count()
    };
    assert_eq!((waiting("ImagePullBackOff"), waiting("CrashLoopBackOff")), (14, 13));

    let from = cluster.version().to_string();
    fleet.set(7, State::Crashed { restarts: 0 });
    fleet.set(7, State::Running { restarts: 1 });
    fleet.remove(8);
    let seen = seen(api.watch(&WatchParams::default().disable_bookmarks(), &from).await.unwrap(), 3).await;
    let (_, seventh) = fleet.name(7);
    assert_eq!(
        seen,
        [
            format!("MODIFIED {seventh}"),
            format!("MODIFIED {seventh}"),
            format!("DELETED {}", fleet.name(8).1)
        ]
    );
    let on_node = ListParams::default().fields("spec.nodeName=node-0001").labels("app=app-00003");
    assert_eq!(api.list(&on_node).await.unwrap().items.len(), 10);
    let one = cluster.get("pods", &fleet.name(7).0, &seventh).unwrap();
    assert_eq!(one["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(one["status"]["containerStatuses"][0]["restartCount"], 1);
}
