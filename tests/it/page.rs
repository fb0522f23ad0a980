//! The status page as it is served: what a reader sees without a browser, and what must not get into it.

use kubehealer::daemon::Running;
use kubehealer::diagnosis::OwnerLabels;
use kubehealer::report::ClusterFlags;
use kubehealer::simulator::{Cluster, Fault};
use serde_json::{Value, json};

use super::server::{self, answer, get, settings, until};

/// A pod whose container does not find this Secret.
fn pod(namespace: &str, name: &str, container: &str, secret: &str) -> Value {
    let message = format!("secret \"{secret}\" not found");
    json!({"kind": "Pod", "apiVersion": "v1",
        "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"), "creationTimestamp": "2026-11-22T09:00:00Z",
            "labels": {"team": format!("of-{namespace}")},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "w", "controller": true}]},
        "spec": {"nodeName": "node-a", "containers": [{"name": container, "image": "app:1"}]},
        "status": {"phase": "Pending", "startTime": "2026-11-22T09:00:00Z", "containerStatuses": [{
            "name": container, "restartCount": 0, "image": "app:1", "ready": false,
            "state": {"waiting": {"reason": "CreateContainerConfigError", "message": message}}}]}})
}

const HOSTILE: &str = "<script>alert(1)</script>\u{202e}\u{200b}\"'";

/// Three pods of one workload, and one with a name that means no good.
async fn start() -> Running {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 0.0);
    for n in 0..3 {
        cluster.apply(pod("shop", &format!("web-{n}"), "web", "tls")).unwrap();
    }
    cluster.apply(pod("evil", "web-0", HOSTILE, HOSTILE)).unwrap();
    let mut settings = settings(&cluster);
    settings.owner_labels = OwnerLabels::new(&["team".to_owned()]).unwrap();
    settings.cluster_name = "eu <1>".to_owned();
    settings.page.alertmanager_url = "https://alerts.example.com".to_owned();
    settings.page.flags = ClusterFlags::new(Some("eu-1"), None);
    let running = server::start(settings).await;
    until("all incidents", async || list(&running, "").await.contains("data-open=\"4\"").then_some(())).await;
    running
}

async fn list(running: &Running, query: &str) -> String {
    get(running.address, &format!("/{query}"), "").await.1
}

/// The address that a page leads to with these words.
fn link<'a>(page: &'a str, part: &str) -> &'a str {
    page.split("href=\"").filter_map(|rest| rest.split('"').next()).find(|href| href.contains(part)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_leads_to_its_groups_and_they_to_their_incidents_without_a_script() {
    let running = start().await;
    let page = list(&running, "").await;
    assert!(page.contains("2 groups, 4 incidents") && page.contains("eu &lt;1&gt;"), "{page}");
    let group = list(&running, &link(&page, "group=").replace("./", "")).await;
    assert!(group.contains("1 group, 3 incidents") && group.contains("web-2"), "{group}");
    let (status, incident) = get(running.address, &format!("/{}", link(&group, "incidents/")), "").await;
    assert_eq!(status, 200);
    for part in
        ["Next steps", "Evidence", "Timeline", "Runbook", "What it means", "kubectl --context eu-1 -n shop"]
    {
        assert!(incident.contains(part), "no {part:?} in {incident}");
    }
    let alerts =
        "https://alerts.example.com/#/alerts?filter=%7Bnamespace%3D%22shop%22%2Cworkload%3D%22web%22%7D";
    assert!(incident.contains(alerts), "{incident}");
    let related = link(&incident, "../runbooks/").replace("../", "/");
    assert_eq!(get(running.address, &related, "").await.0, 200, "{related}");
    for path in
        ["/incidents/0000000000000000", "/incidents/x", "/runbooks/x", "/incidents/%ff", "/runbooks/%ff"]
    {
        let (status, page) = get(running.address, path, "").await;
        assert_eq!((status, page.contains("All incidents")), (404, true), "{path}: {page}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_parameter_filters_and_stays_in_the_form_and_in_the_links() {
    let running = start().await;
    for (query, open) in [
        ("?namespace=shop", 3),
        ("?q=TLS+secret", 3),
        ("?owner=of-evil", 1),
        ("?node=node-a&severity=warning", 4),
        ("?reason=OOMKilled", 0),
        ("?severity=critical&namespace=", 0),
    ] {
        let page = list(&running, query).await;
        assert!(page.contains(&format!("data-open=\"{open}\"")), "{query}: {page}");
    }
    let page = list(&running, "?q=t%26ls+%22&namespace=shop&sort=newest").await;
    assert!(
        page.contains("value=\"t&amp;ls &quot;\"") && page.contains("No open incident matches"),
        "{page}"
    );
    assert_eq!(
        link(&page, "critical"),
        "./?q=t%26ls+%22&amp;severity=critical&amp;namespace=shop&amp;sort=newest"
    );
    let page = list(&running, "?limit=1").await;
    let next = list(&running, &link(&page, "continue=").replace("./", "").replace("&amp;", "&")).await;
    let first = |page: &str| page.split("id=\"group-").nth(1).unwrap()[..16].to_owned();
    assert_ne!(first(&page), first(&next), "{next}");
    for query in ["?severity=loud", "?colour=red", "?continue=x", "?group=x"] {
        let (status, page) = get(running.address, &format!("/{query}"), "").await;
        assert_eq!((status, page.contains("Show all")), (400, true), "{query}: {page}");
    }
    // What was typed can be corrected: the form stays.
    let query = format!("?q={}&namespace=shop&sort=newest", "word+".repeat(41));
    let page = list(&running, &query).await;
    let (form, rest) = page.split_once("</form>").unwrap();
    assert!(form.contains("word word") && form.contains("name=\"namespace\" value=\"shop\""), "{page}");
    assert!(form.contains("value=\"newest\" selected") && rest.contains("q is too long"), "{page}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_comes_from_the_cluster_or_the_address_becomes_markup() {
    let running = start().await;
    let page = list(&running, "?namespace=evil").await;
    let incident = get(running.address, &format!("/{}", link(&page, "incidents/")), "").await.1;
    let query =
        "?q=%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE%00&namespace=%22%3E%3Cimg%3E%E2%80%8B&node=%00";
    let asked = list(&running, query).await;
    for page in [page, incident, asked] {
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "its own: {page}");
        assert!(!page.contains(['\u{202e}', '\u{200b}', '\0']) && !page.contains("<img"), "{page}");
    }
    // Nothing needs more than the policy allows.
    let answer = answer(running.address, "/", "").await;
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(
        !answer.body.contains(" style=") && !answer.body.contains("<style") && !answer.body.contains(" on"),
        "{}",
        answer.body
    );
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_a_page_says_what_is_not_seen() {
    let cluster = Cluster::new();
    cluster.fault("nodes", Fault::Forbidden);
    let mut settings = settings(&cluster);
    settings.selection.namespaces = vec!["shop".to_owned()];
    settings.page.banner = "Only <practice>".to_owned();
    let running = server::start(settings).await;
    let page = until("the refusal", async || {
        let page = list(&running, "").await;
        page.contains("Cannot be read: ").then_some(page)
    })
    .await;
    for part in
        ["Only &lt;practice&gt;", "only pods with namespaces=shop are watched", "nodes", "No open incidents."]
    {
        assert!(page.contains(part), "no {part:?} in {page}");
    }
    assert!(!page.contains("Not up to date"), "{page}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_each_thing_once() {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 0.0);
    for n in 0..3 {
        cluster.apply(pod("shop", &format!("web-{n}"), "web", "tls")).unwrap();
    }
    let running = server::start(settings(&cluster)).await;
    let page = until("the incidents", async || {
        Some(list(&running, "").await).filter(|page| page.contains("data-open=\"3\""))
    })
    .await;
    // The sentence names the Secret that they share.
    assert!(page.contains("Secret tls does not exist") && !page.contains("secret shop/tls"), "{page}");
    for n in 0..3 {
        assert!(cluster.delete("pods", "shop", &format!("web-{n}")));
    }
    let page = until("the ends", async || {
        Some(list(&running, "").await).filter(|page| page.contains("data-open=\"0\""))
    })
    .await;
    // Its group is over too.
    let incident =
        get(running.address, &format!("/{}", link(&page.replace("api/v1/incidents", ""), "incidents/")), "")
            .await
            .1;
    let group = list(&running, &link(&incident, "group=").replace("../", "")).await;
    assert!(
        group.contains("This problem has resolved. ") && !group.contains("matches this filter"),
        "{group}"
    );
    let over = page.split("id=\"resolved\"").nth(1).unwrap();
    assert_eq!(over.matches("<li").count(), 1, "{over}");
    assert!(over.contains("shop / StatefulSet/web, 3 incidents"), "{over}");
    running.stop().await;
}
