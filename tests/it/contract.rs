//! The JSON of `diagnose` is a contract: it keeps to its schema, and is the same wherever the objects came from.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use kubehealer::cluster::evidence::LogOf;
use kubehealer::cluster::snapshot::{self, Progress, Wanted};
use kubehealer::simulator::{self, Cluster, Fault};
use serde_json::Value;

use super::cli::{FINAL, Run, diagnosis, folder, kubehealer};

/// What `docs/diagnosis.schema.json` needs of JSON Schema. A keyword that it does not know is an error, so that none is
/// thought to hold that is not checked.
pub fn check(schema: &Value, value: &Value, root: &Value, place: &str, errors: &mut Vec<String>) {
    let wrong = |errors: &mut Vec<String>, why: String| errors.push(format!("{place}: {why}"));
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$id" | "title" | "description" | "$defs" | "examples" => {}
            "$ref" => {
                check(target(rule, root), value, root, place, errors);
                return;
            }
            "allOf" => {
                rule.as_array().unwrap().iter().for_each(|part| check(part, value, root, place, errors));
            }
            "unevaluatedProperties" => {
                assert_eq!(rule, false);
                let known = properties(schema, root);
                for key in value.as_object().into_iter().flatten().map(|(key, _)| key) {
                    if !known.contains(key) {
                        wrong(errors, format!("{key} is not in the schema"));
                    }
                }
            }
            "type" => {
                let fits = match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    other => panic!("unknown type {other}"),
                };
                if !fits {
                    wrong(errors, format!("not of type {rule}"));
                }
            }
            "const" if value != rule => wrong(errors, format!("not {rule}")),
            "const" => {}
            "enum" if !rule.as_array().unwrap().contains(value) => {
                wrong(errors, format!("{value} is not among {rule}"))
            }
            "enum" => {}
            "minimum" if value.as_i64().unwrap_or(0) < rule.as_i64().unwrap() => {
                wrong(errors, "too small".to_owned())
            }
            "minimum" => {}
            "minLength" if value.as_str().map_or(0, str::len) == 0 => wrong(errors, "empty".to_owned()),
            "minLength" => {}
            "format" => {
                assert_eq!(rule, "date-time");
                if value.as_str().is_none_or(|t| t.parse::<jiff::Timestamp>().is_err()) {
                    wrong(errors, format!("{value} is no time"));
                }
            }
            "required" => {
                for key in rule.as_array().unwrap() {
                    if value.get(key.as_str().unwrap()).is_none() {
                        wrong(errors, format!("{key} is missing"));
                    }
                }
            }
            "additionalProperties" if rule.is_object() => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    check(rule, value, root, &format!("{place}/{key}"), errors);
                }
            }
            "additionalProperties" => {
                assert_eq!(rule, false);
                for key in value.as_object().into_iter().flatten().map(|(key, _)| key) {
                    if schema["properties"].get(key).is_none() {
                        wrong(errors, format!("{key} is not in the schema"));
                    }
                }
            }
            "properties" => {}
            "items" => {}
            other => panic!("the test does not know the keyword {other}"),
        }
    }
    for (key, rule) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = value.get(key) {
            check(rule, value, root, &format!("{place}/{key}"), errors);
        }
    }
    if let Some(rule) = schema.get("items") {
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            check(rule, value, root, &format!("{place}/{index}"), errors);
        }
    }
}

fn target<'v>(reference: &Value, root: &'v Value) -> &'v Value {
    root.pointer(reference.as_str().unwrap().strip_prefix('#').unwrap()).unwrap()
}

/// The properties that a schema and the parts that it is made of know.
fn properties(schema: &Value, root: &Value) -> BTreeSet<String> {
    let own = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let mut known: BTreeSet<String> = own.map(|(key, _)| key.clone()).collect();
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        known.extend(properties(part, root));
    }
    if let Some(reference) = schema.get("$ref") {
        known.extend(properties(target(reference, root), root));
    }
    known
}

fn errors(value: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(include_str!("../../docs/diagnosis.schema.json")).unwrap();
    let mut errors = Vec::new();
    check(&schema, value, &schema, "", &mut errors);
    errors
}

#[test]
fn the_json_keeps_to_its_schema() {
    for source in [FINAL, "tests/data/recordings/changes/final", "tests/data/recordings/after-node-restart"] {
        let value = diagnosis(&["-f", source]);
        assert!(!value["findings"].as_array().unwrap().is_empty());
        assert_eq!(errors(&value), [""; 0], "{source}");
    }
}

#[test]
fn the_schema_refuses_what_is_not_in_the_contract() {
    let mut value = diagnosis(&["-f", FINAL]);
    value["findings"][0]["severity"] = "terrible".into();
    value["findings"][1].as_object_mut().unwrap().remove("cause");
    value["ages"] = 1.into();
    assert_eq!(errors(&value).len(), 3);
}

#[test]
fn the_schema_lists_every_code_of_a_cause() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.schema.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find("\"causeCode\"").unwrap();
    let list = begin + text[begin..].find('[').unwrap() + 1;
    let end = list + text[list..].find(']').unwrap();
    let codes: Vec<String> =
        kubehealer::diagnosis::CauseCode::ALL.iter().map(|c| format!("\n        \"{c}\"")).collect();
    let wanted = format!("{}{}\n      {}", &text[..list], codes.join(","), &text[end..]);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "the codes of src/diagnosis/cause.rs have changed: UPDATE_GOLDEN=1 cargo test --test it contract:: writes the schema anew"
    );
}

/// A simulated API server on a port of its own, for as long as this lives.
pub struct Server {
    pub kubeconfig: tempfile::TempDir,
    pub cluster: Cluster,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (cluster, address) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address: SocketAddr = listener.local_addr().unwrap();
            let cluster = Cluster::new();
            tokio::spawn(simulator::serve(listener, cluster.clone()));
            (cluster, address)
        });
        let kubeconfig = folder(&[("config", simulator::kubeconfig(address).as_bytes())]);
        Self { kubeconfig, cluster, _runtime: runtime }
    }

    /// With the objects and logs of the recording.
    pub fn recorded() -> Self {
        let server = Self::new();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FINAL);
        simulator::replay::load(&server.cluster, &folder).unwrap();
        server
    }

    pub fn diagnose(&self, args: &[&str]) -> Run {
        self.run(&[&["diagnose"], args].concat(), &[])
    }

    /// By `KUBECONFIG`: with `--kubeconfig` every command in the report would have that flag, too.
    pub fn run(&self, args: &[&str], variables: &[(&str, &std::ffi::OsStr)]) -> Run {
        let config = self.kubeconfig.path().join("config");
        let variables = [&[("KUBECONFIG", config.as_os_str())], variables].concat();
        crate::cli::kubehealer_with(&variables, args)
    }
}

const NOW: &str = "2026-11-22T11:23:29Z";

#[test]
fn any_name_that_a_user_has_leads_to_its_pods_and_says_how() {
    let server = Server::recorded();
    let put = |kind: &str, version: &str, spec: Value| {
        let meta = serde_json::json!({"namespace": "shop", "name": "front"});
        let object = serde_json::json!({"kind": kind, "apiVersion": version, "metadata": meta, "spec": spec});
        server.cluster.apply(object).unwrap();
    };
    let backend = serde_json::json!({"service": {"name": "front", "port": {"number": 80}}});
    put("Service", "v1", serde_json::json!({"selector": {"app": "cart"}}));
    put("Ingress", "networking.k8s.io/v1", serde_json::json!({"defaultBackend": backend}));
    let scaled = serde_json::json!({"kind": "Deployment", "name": "cart", "apiVersion": "apps/v1"});
    put(
        "HorizontalPodAutoscaler",
        "autoscaling/v2",
        serde_json::json!({"maxReplicas": 5, "scaleTargetRef": scaled}),
    );
    // What Argo CD and Helm label is the Deployment; its pods need not have it.
    server.cluster.update("deployments", "shop", "cart", |object| {
        object["metadata"]["labels"]["app.kubernetes.io/instance"] = "front".into();
    });
    for (target, how) in [
        ("service/front", "service/front: pods with the labels app=cart"),
        ("svc/front", "service/front: pods with the labels app=cart"),
        ("ingress/front", "ingress/front: service/front"),
        ("hpa/front", "horizontalpodautoscaler/front: deployment/cart"),
        (
            "helm/front",
            "helm/front: pods that have, or whose owners have, the label app.kubernetes.io/instance",
        ),
        (
            "app/front",
            "application/front: pods that have, or whose owners have, the label argocd.argoproj.io/instance or",
        ),
        ("cart", "no pod is named cart; showing deployment/cart"),
    ] {
        let run = server.diagnose(&["-n", "shop", target, "-o", "json"]);
        let json: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{target}: {}", run.err));
        assert_eq!(json["summary"]["pods"], 2, "{target}");
        assert_eq!(json["findings"][0]["workload"]["name"], "cart", "{target}");
        assert!(json["notes"].to_string().contains(how), "{target}: {}", json["notes"]);
    }
    let run = server.diagnose(&["ns/shop", "-o", "json"]);
    let json: Value = serde_json::from_str(&run.out).unwrap();
    assert!(
        json["findings"]
            .as_array()
            .unwrap()
            .iter()
            .all(|f| f["namespace"] == "shop" || f["namespace"].is_null())
    );
    assert!(json["summary"]["pods"].as_u64().unwrap() > 20, "{}", json["summary"]);
    let run = server.diagnose(&["-n", "shop", "ingress/nosuch"]);
    assert!(run.code == 2 && run.err.contains("ingress/nosuch"), "{}", run.err);
    let run = server.diagnose(&["-n", "shop", "svc/nosuch"]);
    assert!(
        run.code == 2 && run.err.contains("service/nosuch: not found in namespace shop\n"),
        "{}",
        run.err
    );
}

#[test]
fn an_object_of_a_kind_of_its_own_leads_to_the_pods_below_it_and_says_how() {
    let server = Server::new();
    let owned = |kind: &str, name: &str| serde_json::json!([{"apiVersion": "x/v1", "kind": kind, "name": name, "uid": name, "controller": true}]);
    let put = |kind: &str, version: &str, name: &str, owners: Value| {
        let meta =
            serde_json::json!({"namespace": "shop", "name": name, "uid": name, "ownerReferences": owners});
        let object = serde_json::json!({"kind": kind, "apiVersion": version, "metadata": meta, "spec": {"containers": []},
            "status": {"phase": "Running"}});
        server.cluster.apply(object).unwrap();
    };
    put("Kafka", "kafka.strimzi.io/v1beta2", "events", serde_json::json!([]));
    put("Kafka", "kafka.strimzi.io/v1beta2", "idle", serde_json::json!([]));
    put("StrimziPodSet", "core.strimzi.io/v1beta2", "events-kafka", owned("Kafka", "events"));
    put("Pod", "v1", "events-kafka-0", owned("StrimziPodSet", "events-kafka"));
    put("Pod", "v1", "events-kafka-1", owned("StrimziPodSet", "events-kafka"));
    put("Deployment", "apps/v1", "events-operator", owned("Kafka", "events"));
    put("ReplicaSet", "apps/v1", "events-operator-1", owned("Deployment", "events-operator"));
    put("Pod", "v1", "events-operator-1-a", owned("ReplicaSet", "events-operator-1"));
    put("Pod", "v1", "other", serde_json::json!([]));
    for (target, pods) in [
        ("kafka/events", 3),
        ("Kafka/events", 3),
        ("kafkas/events", 3),
        ("kafkas.kafka.strimzi.io/events", 3),
        ("strimzipodset/events-kafka", 2),
        ("shop/StrimziPodSet/events-kafka", 2),
    ] {
        let run = server.diagnose(&["-n", "shop", target, "-o", "json"]);
        let json: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{target}: {}", run.err));
        assert_eq!(json["summary"]["pods"], pods, "{target}: {}", json["notes"]);
        if pods == 3 {
            let how = "kafka/events: deployment/events-operator, pod/events-kafka-0, pod/events-kafka-1, which it owns through \
                       StrimziPodSet/events-kafka";
            assert!(json["notes"].to_string().contains(how), "{target}: {}", json["notes"]);
        }
    }
    for (target, words) in [
        ("kafka/idle", "kafka/idle owns no pods"),
        ("kafka/nosuch", "kafka/nosuch: not found in namespace shop"),
        ("Kafak/events", "the cluster has no kind Kafak"),
        ("Kafak/events", "did you mean Kafka?"),
    ] {
        let run = server.diagnose(&["-n", "shop", target]);
        assert!(run.code == 2 && run.err.contains(words), "{target}: {}", run.err);
    }
    // Only metadata of other kinds is read, and nothing is listed of them.
    let asked = server.cluster.requests();
    let others = asked.iter().filter(|r| r.resource == "kafkas" || r.resource == "strimzipodsets");
    assert!(others.into_iter().all(|r| r.verb == "get" && r.accept.contains("PartialObjectMetadata")));
    // A namespace wins over a kind of that name.
    let pod = serde_json::json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "kafka", "name": "events"},
        "spec": {"containers": []}, "status": {"phase": "Running"}});
    server.cluster.apply(pod).unwrap();
    let run = server.diagnose(&["kafka/events", "-o", "json"]);
    assert!(run.out.contains("\"pods\": 1,"), "{}{}", run.out, run.err);
}

#[test]
fn the_pods_that_mount_a_claim_are_found_by_its_name() {
    let pod = serde_json::json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": "db-0", "uid": "a"},
        "spec": {"containers": [], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "db-data"}}]}});
    let files = folder(&[("pod.json", pod.to_string().as_bytes())]);
    let json = diagnosis(&["-f", files.path().to_str().unwrap(), "pvc/db-data"]);
    assert_eq!(json["summary"]["pods"], 1);
}

#[test]
fn an_empty_selection_and_an_unread_source_are_never_a_pass_in_a_cluster_either() {
    let server = Server::recorded();
    for (args, words, guess) in [
        (&["-n", "nosuch"][..], "namespace nosuch does not exist", "kubectl get namespaces"),
        (&["-n", "shop", "-l", "app=crat"], "no pod has the labels app=crat", "did you mean app=cart?"),
    ] {
        let run = server.diagnose(args);
        assert!(run.code == 0 && run.err.contains(words), "{args:?}: {}", run.err);
        assert!(!run.out.contains("nosuch"), "it is said once: {}", run.out);
        let run = server.diagnose(&[args, &["--fail-on", "info"]].concat());
        assert!(run.code == 2 && run.err.contains(words) && run.err.contains(guess), "{args:?}: {}", run.err);
    }
    let run = server.diagnose(&["-n", "shop", "deployment/crat"]);
    assert!(run.code == 2 && run.err.contains("did you mean deployment/cart"), "{}", run.err);
    let healthy = ["-n", "shop", "web-b6cf745ff", "--fail-on", "info", "--now", NOW];
    assert_eq!(server.diagnose(&healthy).code, 0);
    server.cluster.fault("events", Fault::Forbidden);
    let run = server.diagnose(&healthy);
    assert!(run.code == 2 && run.err.contains("--fail-on cannot be evaluated"), "{}", run.err);
}

#[test]
fn a_target_brings_its_namespace_and_a_service_that_cannot_be_read_is_an_error() {
    let server = Server::recorded();
    for target in ["shop/cart-874c48df9", "shop/Deployment/cart"] {
        let run = server.diagnose(&["-o", "json", target]);
        assert!(run.code == 0 && run.out.contains("\"pods\": 2,"), "{target}: {}{}", run.err, run.out);
    }
    let run = server.diagnose(&["shop/Deployment/cart", "ml/trainer", "-o", "json"]);
    assert!(run.code == 0 && run.out.contains("\"pods\": 3,"), "{}", run.err);
    let run = server.diagnose(&["-n", "shop", "service/web"]);
    assert!(
        run.code == 2 && run.err.contains("service/web: ") && run.err.contains("-l KEY=VALUE"),
        "{}",
        run.err
    );
}

/// Of a text, each kubectl and each `kubehealer diagnose` in it, with the words behind it.
fn commands<'a>(text: &'a str) -> Vec<Vec<&'a str>> {
    // In JSON, YAML and Markdown they stand in quotes and backticks.
    let bare = |word: &'a str| word.trim_start_matches(['"', '`', '\'', '(']);
    let words: Vec<&str> = text.split_whitespace().map(bare).collect();
    let at = |i: usize| words.get(i..).unwrap_or_default().to_vec();
    let begins = |i: &usize| {
        words[*i] == "kubectl" || (words[*i] == "kubehealer" && words.get(i + 1) == Some(&"diagnose"))
    };
    (0..words.len()).filter(begins).map(at).collect()
}

#[test]
fn each_printed_command_goes_to_the_cluster_that_was_diagnosed() {
    let server = Server::recorded();
    let folder = folder(&[]);
    let config = folder.path().join("my config");
    std::fs::copy(server.kubeconfig.path().join("config"), &config).unwrap();
    let config = config.to_str().unwrap();
    let context = kube::config::Kubeconfig::read_from(config).unwrap().current_context.unwrap();
    for format in ["table", "json", "yaml", "markdown"] {
        let args = [
            "diagnose",
            "-A",
            "-o",
            format,
            "--kubeconfig",
            config,
            "--context",
            &context,
            "--now",
            NOW,
            "--all",
        ];
        let run = kubehealer(&args);
        assert_eq!(run.code, 0, "{}", run.err);
        let found = commands(&run.out);
        assert!(found.len() > 20, "{format}: {}", found.len());
        for command in found {
            // YAML doubles the quotes within its own.
            let text = command.join(" ").replace("''", "'");
            let flags = format!("--context {context} --kubeconfig {config}'");
            let behind = text.split_once(' ').unwrap().1.trim_start_matches("diagnose ");
            assert!(behind.starts_with(&flags), "{format}: {text}");
        }
    }
    let run =
        kubehealer(&["diagnose", "-n", "shop", "nosuch", "--context", &context, "--kubeconfig", config]);
    assert_eq!(run.code, 2);
    for command in commands(&run.err) {
        assert!(command.contains(&"--context"), "{}", run.err);
    }
    let without = kubehealer(&["diagnose", "-f", FINAL]).out;
    assert!(!without.contains("--context"), "nothing is added that was not given");
}

#[test]
fn the_same_objects_give_the_same_bytes_from_files_and_from_a_cluster() {
    let server = Server::recorded();
    for args in
        [&["-A"][..], &["-n", "shop"], &["-n", "shop", "deployment/cart"], &["-n", "ml", "-l", "app=trainer"]]
    {
        let options = [args, &["-o", "json", "--now", NOW]].concat();
        let online = server.diagnose(&options);
        let offline = kubehealer(&[&["diagnose", "-f", FINAL][..], &options].concat());
        assert_eq!((online.code, offline.code), (0, 0), "{args:?}: {} {}", online.err, offline.err);
        assert!(offline.out.contains("\"reason\""), "{args:?}");
        if online.out != offline.out {
            let differ = online.out.lines().zip(offline.out.lines()).find(|(a, b)| a != b);
            panic!("{args:?}: {differ:?}");
        }
    }
}

#[test]
fn a_source_that_may_not_be_read_is_named_once_and_the_look_goes_on() {
    let server = Server::recorded();
    for source in ["events", "nodes", "pods/log"] {
        server.cluster.fault(source, Fault::Forbidden);
    }
    let run = server.diagnose(&["-A", "--now", NOW]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("OOMKilled"));
    for source in
        ["without events: no permission to list them.", "without nodes: no permission to list them."]
    {
        assert_eq!(run.out.matches(source).count(), 1, "{source}: {}", run.out);
    }
    assert!(run.out.contains("of the logs: "), "{}", run.out);

    server.cluster.fault("pods", Fault::Forbidden);
    let run = server.diagnose(&["-A"]);
    assert_eq!(run.code, 2, "without pods there is nothing to look at");
    assert!(run.err.starts_with("kubehealer: ") && run.err.contains("not allowed"), "{}", run.err);
}

#[test]
fn pods_in_pages_and_a_page_that_expires_are_read_all_the_same() {
    let server = Server::new();
    let pods = (0..1200).map(|n| {
        serde_json::json!({"kind": "Pod", "apiVersion": "v1",
            "metadata": {"namespace": "shop", "name": format!("web-{n}"), "uid": format!("uid-{n}")},
            "spec": {"containers": [{"name": "app", "image": "app"}]}, "status": {"phase": "Running"}})
    });
    server.cluster.load(pods).unwrap();
    let run = server.diagnose(&["-A", "-o", "json"]);
    let value: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(value["summary"]["pods"], 1200);
    server.cluster.fault("pods", Fault::GoneOnPage);
    let run = server.diagnose(&["-A", "-o", "json"]);
    assert_eq!(run.code, 2, "pages that always expire end with words");
    assert!(run.err.starts_with("kubehealer: "), "{}", run.err);
}

#[tokio::test]
async fn of_one_pod_the_node_alone_is_read_and_all_of_them_while_it_has_none() {
    let cluster = Cluster::new();
    for node in ["node-a", "node-b"] {
        cluster
            .apply(serde_json::json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": node}}))
            .unwrap();
    }
    for (pod, node) in [("bound", "node-a"), ("waiting", "")] {
        let pod = serde_json::json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": pod},
            "spec": {"nodeName": node, "containers": [{"name": "app", "image": "app"}]}});
        cluster.apply(pod).unwrap();
    }
    for (pod, nodes) in [("bound", &["node-a"][..]), ("waiting", &["node-a", "node-b"])] {
        let field_selector = format!("metadata.name={pod}");
        let wanted = Wanted { namespace: Some("shop".to_owned()), field_selector, ..Wanted::default() };
        let seen =
            snapshot::snapshot(&simulator::client(&cluster), &wanted, &Progress::default()).await.unwrap();
        let names: Vec<_> = seen.snapshot.nodes.iter().map(|node| node.metadata.name.as_str()).collect();
        assert_eq!(names, nodes, "{pod}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_busy_is_told_in_its_own_words() {
    for (fault, words, within) in [
        (Fault::TooManyRequests { retry_after: 1 }, "is throttling requests", 15),
        (Fault::TooManyRequests { retry_after: 20 }, "is throttling requests", 31),
        (Fault::Unavailable { retry_after: None }, "currently unable to handle the request", 15),
        (Fault::BlackHole, "gave no answer within 30 s", 31),
        (Fault::Forbidden, "not allowed", 1),
    ] {
        let cluster = Cluster::new();
        cluster.fault("*", fault.clone());
        let began = tokio::time::Instant::now();
        let client = simulator::client(&cluster);
        let seen = snapshot::snapshot(&client, &Wanted::default(), &Progress::default()).await;
        let said = seen.unwrap_err().text;
        assert!(said.contains(words), "{fault:?}: {said}");
        assert!(began.elapsed().as_secs() < within, "{fault:?}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn logs_are_asked_for_again_when_the_server_asks_to_slow_down() {
    let cluster = Cluster::new();
    simulator::replay::load(&cluster, std::path::Path::new(FINAL)).unwrap();
    let pod = &cluster.all("pods").into_iter().find(|p| p["metadata"]["labels"]["app"] == "cart").unwrap();
    let name = |key: &str| pod["metadata"][key].as_str().unwrap().to_owned();
    let log = LogOf {
        namespace: name("namespace"),
        pod: name("name"),
        container: "cart".to_owned(),
        previous: false,
    };
    let client = simulator::client(&cluster);
    cluster.fault("pods/log", Fault::TooManyRequests { retry_after: 1 });
    let healing = async {
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        cluster.heal_all();
    };
    let progress = Progress::default();
    let ((logs, notes), ()) = tokio::join!(snapshot::logs(&client, vec![log.clone()], &progress), healing);
    assert_eq!((logs.len(), notes.len()), (1, 0), "{notes:?}");
    cluster.fault("pods/log", Fault::TooManyRequests { retry_after: 1 });
    let (logs, notes) = snapshot::logs(&client, vec![log], &progress).await;
    assert!(logs.is_empty() && notes[0].contains("is throttling requests"), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_over_a_slow_line_is_waited_for_and_one_that_stops_coming_is_not() {
    let list = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;
    for (pause, comes) in [(2, true), (40, false)] {
        let line = tower::service_fn(move |_: http::Request<kube::client::Body>| async move {
            let pieces = futures::stream::unfold(list.as_bytes(), move |rest| async move {
                tokio::time::sleep(std::time::Duration::from_secs(pause)).await;
                let (piece, rest) = rest.split_at_checked(2).unwrap_or((rest, &[]));
                let frame = http_body::Frame::data(bytes::Bytes::from_static(piece));
                (!piece.is_empty()).then_some((Ok::<_, std::convert::Infallible>(frame), rest))
            });
            let body = http_body_util::StreamBody::new(pieces);
            let answer = http::Response::builder().header("content-type", "application/json");
            Ok::<_, std::convert::Infallible>(answer.body(body).unwrap())
        });
        let client = kube::Client::new(line, "default");
        let seen = snapshot::snapshot(&client, &Wanted::default(), &Progress::default()).await;
        assert_eq!(seen.is_ok(), comes, "{pause} s between pieces");
    }
}

#[tokio::test]
async fn a_page_of_a_proxy_is_no_list() {
    let portal = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        let body = http_body_util::Full::new(bytes::Bytes::from("<html>log in</html>"));
        Ok::<_, std::convert::Infallible>(
            http::Response::builder().header("content-type", "text/html").body(body).unwrap(),
        )
    });
    let client = kube::Client::new(portal, "default");
    let said = snapshot::snapshot(&client, &Wanted::default(), &Progress::default()).await.unwrap_err().text;
    assert!(said.contains("\"text/html\" rather than JSON"), "{said}");
}

#[test]
fn a_server_that_is_busy_for_a_moment_is_asked_again() {
    let server = Server::recorded();
    server.cluster.fault("*", Fault::TooManyRequests { retry_after: 1 });
    let cluster = server.cluster.clone();
    let healing = std::thread::spawn(move || {
        while cluster.asked("list", "pods") == 0 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        cluster.heal_all();
    });
    let run = server.diagnose(&["-n", "shop", "--now", NOW]);
    healing.join().unwrap();
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("CrashLoopBackOff"), "{}", run.out);
}

#[test]
fn events_about_nodes_are_read_whatever_namespace_or_pod_is_asked_for() {
    let server = Server::new();
    let end = |from: &str, to: &str| {
        serde_json::json!({"terminated": {"exitCode": 137, "reason": "Error",
            "startedAt": format!("2026-11-22T{from}Z"), "finishedAt": format!("2026-11-22T{to}Z")}})
    };
    let objects = [
        serde_json::json!({"kind": "Pod", "apiVersion": "v1",
            "metadata": {"namespace": "shop", "name": "cart", "creationTimestamp": "2026-11-22T09:00:00Z"},
            "spec": {"nodeName": "node-a", "containers": [{"name": "app", "image": "app"}]},
            "status": {"phase": "Running", "startTime": "2026-11-22T09:00:00Z", "containerStatuses": [{"name": "app", "restartCount": 3,
                "state": end("09:59:40", "09:59:50"), "lastState": end("09:59:00", "09:59:20")}]}}),
        serde_json::json!({"kind": "Event", "apiVersion": "v1", "metadata": {"namespace": "default", "name": "node-a.1"},
            "type": "Warning", "reason": "SystemOOM", "message": "System OOM encountered, victim process: java, pid: 77",
            "firstTimestamp": "2026-11-22T09:59:50Z", "lastTimestamp": "2026-11-22T09:59:50Z", "count": 1,
            "involvedObject": {"kind": "Node", "name": "node-a"}}),
    ];
    server.cluster.load(objects).unwrap();
    for args in [&["-A"][..], &["-n", "shop"], &["-n", "shop", "cart"]] {
        let run = server.diagnose(&[args, &["--now", "2026-11-22T10:00:00Z"]].concat());
        assert_eq!(run.code, 0, "{args:?}: {}", run.err);
        assert!(run.out.contains("victim process: java"), "{args:?}: {}", run.out);
    }
}
