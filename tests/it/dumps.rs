//! Dumps: what the usual tools gather, as folders and as archives; hostile archives; and what `kubehealer dump` writes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use kubehealer::cluster::snapshot::{self, Progress, Wanted};
use kubehealer::diagnosis::{Snapshot, survey};
use kubehealer::files::{self, Dump, Manifest};
use kubehealer::select::{logs_that_matter, revisions_that_matter};
use kubehealer::simulator::{self, Cluster, Fault, Log, scenarios};
use serde_json::{Value, json};

use super::agree::same;
use super::cli::{Run, command, folder, kubehealer, with_input};
use super::contract::Server;
use super::replay::recordings;

const NOW: &str = "2026-11-22T11:23:29Z";

/// Files by their paths.
type Files = Vec<(String, Vec<u8>)>;

fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}

fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn read(path: &Path) -> Dump {
    files::read(&[path.to_owned()], std::io::empty())
}

fn from_stdin(bytes: &[u8]) -> Dump {
    files::read(&[PathBuf::from("-")], bytes)
}

/// What is said of a look, without what differs between a cluster and files.
fn findings(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}", run.err);
    let mut said: Value = serde_json::from_str(&run.out).unwrap();
    for of_reading in ["sources", "notes"] {
        said.as_object_mut().unwrap().remove(of_reading);
    }
    said
}

fn said(snapshot: &Snapshot) -> Value {
    let survey = survey(snapshot, NOW.parse().unwrap());
    json!({"findings": survey.findings, "problems": survey.problems, "summary": survey.summary})
}

/// A list of the recording.
fn recorded(kind: &str) -> Value {
    let text = fs::read(recordings().join("final").join(format!("{kind}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The logs of the recording: namespace, pod, container, whether of the previous one, content.
fn logs() -> Vec<(String, String, String, bool, Vec<u8>)> {
    let files = fs::read_dir(recordings().join("final/logs")).unwrap().map(|f| f.unwrap().path());
    let logs = files.filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".log")?.to_owned();
        let (whose, which) = name.rsplit_once('.')?;
        let (namespace, rest) = whose.split_once('.')?;
        let (pod, container) = rest.rsplit_once('.')?;
        let own = str::to_owned;
        Some((own(namespace), own(pod), own(container), which == "previous", fs::read(&path).ok()?))
    });
    logs.collect()
}

/// A list by namespace.
fn by_namespace(kind: &str) -> Vec<(String, Value)> {
    let list = recorded(kind);
    let mut lists: Vec<(String, Value)> = Vec::new();
    for item in list["items"].as_array().unwrap() {
        let namespace = item["metadata"]["namespace"].as_str().unwrap();
        if !lists.iter().any(|(name, _)| name == namespace) {
            let empty = json!({"kind": list["kind"], "apiVersion": list["apiVersion"], "items": []});
            lists.push((namespace.to_owned(), empty));
        }
        let of = lists.iter_mut().find(|(name, _)| name == namespace);
        of.unwrap().1["items"].as_array_mut().unwrap().push(item.clone());
    }
    lists
}

const KINDS: [&str; 9] = [
    "pods",
    "events",
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "jobs",
    "cronjobs",
    "pvcs",
];

/// A tool: the kinds that it gathers besides nodes, whether previous logs as well, and its files.
struct Layout {
    tool: &'static str,
    kinds: &'static [&'static str],
    previous: bool,
    files: Files,
}

fn layouts() -> Vec<Layout> {
    vec![cluster_info(), must_gather(), troubleshoot(false), troubleshoot(true), sos()]
}

fn cluster_info() -> Layout {
    let kinds = &["pods", "events", "deployments", "replicasets", "daemonsets"];
    let mut files = vec![("dump/nodes.json".to_owned(), recorded("nodes").to_string().into_bytes())];
    for kind in *kinds {
        for (namespace, list) in by_namespace(kind) {
            files.push((format!("dump/{namespace}/{kind}.json"), format!("{list:#}").into_bytes()));
        }
    }
    let current: Vec<_> = logs().into_iter().filter(|(.., previous, _)| !previous).collect();
    let pods = recorded("pods");
    for pod in pods["items"].as_array().unwrap() {
        let [namespace, name] = ["namespace", "name"].map(|key| pod["metadata"][key].as_str().unwrap());
        let mut text = Vec::new();
        let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
        for container in lists.into_iter().flatten().flatten() {
            let container = container["name"].as_str().unwrap();
            writeln!(text, "==== START logs for container {container} of pod {namespace}/{name} ====")
                .unwrap();
            match current.iter().find(|(n, p, c, ..)| (&**n, &**p, &**c) == (namespace, name, container)) {
                Some((.., log)) => text.extend_from_slice(log),
                None => writeln!(text, "Request log error: container is waiting to start").unwrap(),
            }
            writeln!(text, "==== END logs for container {container} of pod {namespace}/{name} ====").unwrap();
        }
        files.push((format!("dump/{namespace}/{name}/logs.txt"), text));
    }
    Layout { tool: "kubectl cluster-info dump", kinds, previous: false, files }
}

fn must_gather() -> Layout {
    let yaml = |value: &Value| format!("---\n{}", serde_saphyr::to_string(value).unwrap()).into_bytes();
    let root = "must-gather.local.1/quay-io-openshift-release-dev-sha256-1";
    let mut files = vec![("must-gather.local.1/timestamp".to_owned(), b"2026-11-22".to_vec())];
    for node in recorded("nodes")["items"].as_array().unwrap() {
        let mut node = node.clone();
        (node["kind"], node["apiVersion"]) = ("Node".into(), "v1".into());
        let name = node["metadata"]["name"].as_str().unwrap();
        files.push((format!("{root}/cluster-scoped-resources/core/nodes/{name}.yaml"), yaml(&node)));
    }
    for kind in KINDS {
        for (namespace, list) in by_namespace(kind) {
            let group = match list["apiVersion"].as_str() {
                Some("apps/v1") => "apps",
                Some("batch/v1") => "batch",
                _ => "core",
            };
            let kind = if kind == "pvcs" { "persistentvolumeclaims" } else { kind };
            files.push((format!("{root}/namespaces/{namespace}/{group}/{kind}.yaml"), yaml(&list)));
        }
    }
    for (namespace, pod, container, previous, log) in logs() {
        let which = if previous { "previous" } else { "current" };
        let of = format!("namespaces/{namespace}/pods/{pod}/{container}/{container}/logs/{which}.log");
        files.push((format!("{root}/{of}"), log));
    }
    Layout { tool: "must-gather", kinds: &KINDS, previous: true, files }
}

/// `old`: before its lists said of what they are.
fn troubleshoot(old: bool) -> Layout {
    let list =
        |list: &Value| if old { format!("{:#}", list["items"]) } else { format!("{list:#}") }.into_bytes();
    let root = "support-bundle-2026-11-22T11_23_29/cluster-resources";
    let mut files = vec![
        (format!("{root}/nodes.json"), list(&recorded("nodes"))),
        (format!("{root}/pods-errors.json"), b"{}".to_vec()),
        (
            "support-bundle-2026-11-22T11_23_29/version.yaml".to_owned(),
            b"apiVersion: troubleshoot.sh/v1beta2\nkind: SupportBundle\n".to_vec(),
        ),
    ];
    for kind in KINDS {
        for (namespace, items) in by_namespace(kind) {
            files.push((format!("{root}/{kind}/{namespace}.json"), list(&items)));
        }
    }
    for (namespace, pod, container, previous, log) in logs() {
        let which = if previous { "-previous" } else { "" };
        files.push((format!("{root}/pods/logs/{namespace}/{pod}/{container}{which}.log"), log));
    }
    let tool = if old { "troubleshoot.sh, old" } else { "troubleshoot.sh" };
    Layout { tool, kinds: &KINDS, previous: true, files }
}

fn sos() -> Layout {
    let root = "sosreport-node-a/sos_commands/kubernetes/cluster-info";
    let mut files = vec![
        (format!("{root}/kubectl_get_-o_json_nodes"), format!("{:#}", recorded("nodes")).into_bytes()),
        (format!("{root}/kubectl_get_namespaces"), b"NAME     STATUS   AGE\nshop     Active   1d\n".to_vec()),
    ];
    for kind in KINDS {
        for (namespace, list) in by_namespace(kind) {
            let name = format!("{root}/{namespace}/kubectl_get_-o_json_--namespace_{namespace}_{kind}");
            files.push((name, format!("{list:#}").into_bytes()));
        }
    }
    for (namespace, pod, container, previous, log) in logs() {
        let name = format!("kubectl_--namespace_{namespace}_logs_{pod}_-c_{container}");
        if !previous {
            files.push((format!("{root}/{namespace}/podlogs/{pod}/{name}"), log));
        }
    }
    Layout { tool: "sos", kinds: &KINDS, previous: false, files }
}

#[test]
fn what_each_tool_gathers_gives_the_findings_of_the_cluster_as_folder_and_as_archive() {
    for Layout { tool, kinds, previous, files } in layouts() {
        let server = Server::new();
        server.cluster.load(kinds.iter().map(|kind| recorded(kind)).chain([recorded("nodes")])).unwrap();
        for (namespace, pod, container, of_previous, _) in logs() {
            if !previous && of_previous {
                // This tool has not gathered it. If there is no other one, that is not to be taken for an empty one.
                server.cluster.set_log(
                    &namespace,
                    &pod,
                    &container,
                    false,
                    Log::Failed("not gathered".to_owned()),
                );
            }
        }
        for (namespace, pod, container, of_previous, log) in logs() {
            if previous || !of_previous {
                server.cluster.set_log(&namespace, &pod, &container, of_previous, Log::Text(log.into()));
            }
        }
        let in_cluster = findings(&server.diagnose(&["-A", "-o", "json", "--now", NOW]));
        assert!(in_cluster["findings"].as_array().unwrap().len() > 50, "{tool}");
        let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(n, c)| (n.as_str(), c.as_slice())).collect();
        let folder = folder(&borrowed);
        let path = folder.path().to_str().unwrap();
        let in_folder = findings(&kubehealer(&["diagnose", "-f", path, "-o", "json", "--now", NOW]));
        same(tool, &in_folder, &in_cluster);
        let wanted = said(&read(folder.path()).snapshot);
        let archives = tempfile::tempdir().unwrap();
        // Names say nothing.
        for (form, bytes) in [("tar", tar(&files)), ("gz", gzip(&tar(&files))), ("zip", zip(&files))] {
            let path = archives.path().join(format!("{form}-of-support"));
            fs::write(&path, &bytes).unwrap();
            for dump in [read(&path), from_stdin(&bytes)] {
                assert_eq!(dump.broken, [], "{tool} {form}");
                assert!(said(&dump.snapshot) == wanted, "{tool} {form}");
            }
        }
    }
}

#[test]
fn a_cluster_info_dump_in_one_file_is_read_with_its_logs() {
    let mut text = format!("{:#}\n", recorded("nodes")).into_bytes();
    let Layout { files, .. } = cluster_info();
    let (logs, lists): (Vec<_>, Vec<_>) = files.into_iter().partition(|(name, _)| name.ends_with("logs.txt"));
    for (_, content) in lists.iter().chain(&logs) {
        text.extend_from_slice(content);
        text.push(b'\n');
    }
    let files: Files = lists.into_iter().chain(logs).collect();
    let (one, many) = (from_stdin(&text), from_stdin(&tar(&files)));
    assert_eq!((one.broken.len(), one.snapshot.undecodable.len()), (0, 0), "{:?}", one.snapshot.undecodable);
    assert!(!one.snapshot.logs.is_empty());
    assert!(said(&one.snapshot) == said(&many.snapshot));
}

fn pod(name: &str) -> Vec<u8> {
    let meta = json!({"namespace": "shop", "name": name, "uid": name});
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": meta}).to_string().into_bytes()
}

fn own(files: &[(&str, &[u8])]) -> Files {
    files.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect()
}

fn skipped(dump: &Dump) -> Vec<(&str, &str)> {
    dump.skipped.iter().map(|s| (s.place.as_str(), s.why)).collect()
}

#[test]
fn every_file_of_an_archive_is_read_or_said_to_be_skipped_and_why() {
    let files = own(&[
        ("./pods.json", &pod("cart-1")),
        ("notes.txt", b"hello"),
        ("ci/build/logs.txt", b"hello"),
        ("empty.yaml", b""),
        ("__MACOSX/._pods.json", b"\0\x05\x16\x07"),
        ("pod.json.gz", &gzip(&pod("cart-2"))),
        ("more/inner.zip", &zip(&own(&[("a/pod.json", &pod("cart-3"))]))),
        ("node.tar.xz", b"\xfd7zXZ\0\0"),
        ("describe.txt", b"Name:             cart-1\nNamespace:        shop\n"),
    ]);
    for dump in [from_stdin(&gzip(&tar(&files))), from_stdin(&zip(&files))] {
        let mut names: Vec<&str> = dump.snapshot.pods.iter().map(|p| p.metadata.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!((names, dump.read, dump.broken.len()), (vec!["cart-1", "cart-2", "cart-3"], 3, 0));
        let at = |name: &str| format!("standard input: {name}");
        let all = skipped(&dump);
        assert_eq!(all.len(), 6, "{all:?}");
        for (name, why) in [
            ("notes.txt", "unknown format"),
            ("ci/build/logs.txt", "unknown format"),
            ("empty.yaml", "empty"),
            ("__MACOSX/._pods.json", "hidden"),
            ("node.tar.xz", "compressed: unpack it first"),
            ("describe.txt", "text of kubectl describe, which leaves out what a diagnosis needs"),
        ] {
            assert!(all.contains(&(at(name).as_str(), why)), "{name}: {all:?}");
        }
    }
    // On one line by their paths within the archive.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.zip");
    fs::write(&path, zip(&files)).unwrap();
    let account = files::account(&read(&path), std::slice::from_ref(&path)).unwrap();
    assert!(account.contains("; unknown format (notes.txt, ci/build/logs.txt)"), "{account}");
}

#[test]
fn paths_and_links_in_an_archive_lead_nowhere_and_devices_are_no_files() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |name: &str, kind: tar::EntryType, target: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        // As no careful writer writes it.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, content).unwrap();
    };
    use tar::EntryType;
    put("/etc/pods.json", EntryType::Regular, "", &pod("absolute"));
    put("../../up.json", EntryType::Regular, "", &pod("up"));
    put("shop.up.cart.previous.log", EntryType::Symlink, "/etc/passwd", b"");
    put("hard.json", EntryType::Link, "/etc/passwd", b"");
    put("zero.json", EntryType::Char, "", b"");
    put("pipe.json", EntryType::Fifo, "", b"");
    put("folder", EntryType::Directory, "", b"");
    put("\u{1b}[31mred.json", EntryType::Regular, "", b"");
    let dump = from_stdin(&tar.into_inner().unwrap());
    let names: Vec<&str> = dump.snapshot.pods.iter().map(|p| p.metadata.name.as_str()).collect();
    assert_eq!((names, dump.snapshot.logs.len(), dump.broken.len()), (vec!["absolute", "up"], 0, 0));
    let whys: Vec<&str> = dump.skipped.iter().map(|s| s.why).collect();
    assert_eq!(
        whys,
        ["a link in an archive", "a link in an archive", "not a regular file", "not a regular file", "empty"]
    );
    assert!(!format!("{:?}", dump.skipped).contains("\\u{1b}"), "{:?}", dump.skipped);
}

#[test]
fn the_later_of_two_files_of_one_name_counts() {
    let newer = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": "new", "uid": "cart-1"}});
    let dump = from_stdin(&tar(&own(&[
        ("pod.json", &pod("cart-1")),
        ("shop.cart-1.cart.previous.log", b"first\n"),
        ("pod.json", newer.to_string().as_bytes()),
        ("shop.cart-1.cart.previous.log", b"second\n"),
    ])));
    let [pod] = dump.snapshot.pods.as_slice() else { panic!("{:?}", dump.snapshot.pods) };
    let [log] = dump.snapshot.logs.as_slice() else { panic!("{:?}", dump.snapshot.logs) };
    assert_eq!((pod.metadata.name.as_str(), log.tail.as_slice()), ("new", &b"second\n"[..]));
}

#[test]
fn an_archive_that_is_cut_off_or_damaged_is_said_and_is_no_pass() {
    let files: Files = (0..40).map(|n| (format!("pod-{n}.json"), pod(&format!("cart-{n}")))).collect();
    let whole = gzip(&tar(&files));
    for part in [whole.len() / 3, whole.len() / 2, whole.len() - 20] {
        let dump = from_stdin(&whole[..part]);
        assert_eq!(dump.broken.len(), 1, "{part}: {:?}", dump.broken);
        assert!(dump.broken[0].why.starts_with("cut off"), "{:?}", dump.broken);
    }
    let mut damaged = whole.clone();
    damaged[whole.len() / 2..whole.len() / 2 + 40].fill(0xff);
    let dump = from_stdin(&damaged);
    assert!(!dump.broken.is_empty() && dump.snapshot.pods.len() < 40);
    let run = with_input(&["diagnose", "-f", "-", "--fail-on", "critical"], &whole[..whole.len() - 20]);
    assert!(run.code == 2 && run.err.contains("cut off"), "{} {}", run.code, run.err);
    let zipped = zip(&files);
    let dump = from_stdin(&zipped[..zipped.len() / 2]);
    assert_eq!((dump.broken.len(), dump.snapshot.pods.len()), (1, 0));
    for fake in [&b"\x1f\x8b"[..], b"\x1f\x8bhunter2", b"PK\x03\x04hunter2", &tar(&files)[..300]] {
        let said = format!("{:?}", from_stdin(fake).broken);
        assert!(!said.contains("hunter2") && said.matches("Broken").count() == 1, "{said}");
    }
}

#[test]
fn an_archive_with_nothing_to_read_is_an_error_and_never_a_pass() {
    let files = own(&[("a/readme.txt", b"hello"), ("a/.hidden.json", &pod("cart-1"))]);
    for bytes in [tar(&files), gzip(&tar(&files)), zip(&files), zip(&[]), gzip(b"")] {
        for flags in [&["diagnose", "-f", "-"][..], &["diagnose", "-f", "-", "--fail-on", "critical"]] {
            let run = with_input(flags, &bytes);
            assert!(run.code == 2 && run.out.is_empty(), "{} {}", run.code, run.out);
        }
    }
    let run = with_input(&["diagnose", "-f", "-"], &tar(&files));
    assert!(run.err.contains("no Kubernetes objects in it") && run.err.contains("hidden"), "{}", run.err);
}

#[test]
fn what_is_written_for_people_is_named_with_the_command_to_use_instead() {
    for (text, what, instead) in [
        (
            "Name:             cart-1\nNamespace:        shop\nPriority:         0\n",
            "kubectl describe",
            "kubectl get pod NAME -o yaml",
        ),
        (
            "NAME     READY   STATUS             RESTARTS\ncart-1   0/1     CrashLoopBackOff   7\n",
            "a table of kubectl get",
            "-o yaml",
        ),
        ("LAST SEEN   TYPE      REASON    OBJECT       MESSAGE\n", "a table of kubectl get", "-o yaml"),
        (
            "2026-11-22T10:00:00Z INFO starting\n2026-11-22T10:00:01Z ERROR no\n",
            "a log",
            "NAMESPACE.POD.CONTAINER.previous.log",
        ),
        ("{\"level\":\"error\",\"msg\":\"no\"}\n", "a log", "NAMESPACE.POD.CONTAINER.previous.log"),
    ] {
        let run = with_input(&["diagnose", "-f", "-"], text.as_bytes());
        assert!(run.code == 2 && run.err.contains(what) && run.err.contains(instead), "{text}: {}", run.err);
    }
}

fn unpacked(archive: &[u8]) -> Files {
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    let files = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    });
    files.collect()
}

#[test]
fn a_dump_holds_what_a_diagnosis_reads_with_a_manifest_and_no_secret_value_or_command() {
    let server = Server::recorded();
    let hidden = ["hunter2", "s3cr3targ", "s3cr3tcommand", "s3cr3tenv", "s3cr3tannotation", "s3cr3tdata"];
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": "keys"}, "data": {"a": "s3cr3tdata"}});
    let template = json!({"containers": [{"name": "cart", "image": "cart:1", "command": ["/cart", "--s3cr3tcommand"], "args": ["s3cr3targ"],
        "env": [{"name": "PASSWORD", "value": "s3cr3tenv"}],
        "livenessProbe": {"exec": {"command": ["sh", "-c", "s3cr3tcommand"]}}}]});
    let set = |name: &str, revision: &str, ready: u32, image: &str| {
        let mut template = template.clone();
        template["containers"][0]["image"] = image.into();
        json!({"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": {"namespace": "secret", "name": name, "uid": name,
            "annotations": {"deployment.kubernetes.io/revision": revision, "other": "s3cr3tannotation"},
            "ownerReferences": [{"kind": "Deployment", "name": "cart", "uid": "d", "controller": true}]},
            "spec": {"replicas": 1, "template": {"spec": template}}, "status": {"replicas": 1, "readyReplicas": ready}})
    };
    let at = |minutes: u32| format!("2026-11-22T11:{minutes:02}:00Z");
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "secret", "name": "cart-2-x", "uid": "p", "creationTimestamp": at(1),
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "s3cr3tannotation"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-2", "uid": "cart-2", "controller": true}]},
        "spec": template, "status": {"phase": "Running", "startTime": at(1), "containerStatuses": [{"name": "cart", "image": "cart:2", "restartCount": 5,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "password=hunter2", "startedAt": at(19), "finishedAt": at(20)}}}]}});
    for object in [pod, set("cart-1", "1", 1, "cart:1"), set("cart-2", "2", 0, "cart:2")] {
        server.cluster.apply(object).unwrap();
    }
    let log = "2026-11-22T11:19:59Z starting\n2026-11-22T11:20:00Z fatal: cannot log in to db with password=hunter2\n";
    server.cluster.set_log("secret", "cart-2-x", "cart", true, Log::Text(log.into()));
    server.cluster.set_clock(NOW.parse().unwrap(), 0.0);
    let _ = server.cluster.apply(secret);
    server.cluster.fault("nodes", Fault::Forbidden);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dump.tar.gz");
    let run = server.run(&["dump", "-A", "--cluster-name", "eu-1", "-o", path.to_str().unwrap()], &[]);
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    assert!(
        run.err.contains("wrote ") && run.err.contains("without nodes: no permission to list them"),
        "{}",
        run.err
    );
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let files = unpacked(&fs::read(&path).unwrap());
    for (name, content) in &files {
        let text = String::from_utf8_lossy(content);
        for hidden in hidden {
            assert!(!text.contains(hidden), "{name} holds {hidden}");
        }
    }
    let file = |name: &str| &files.iter().find(|(n, _)| n.ends_with(name)).unwrap().1;
    let manifest: Value = serde_json::from_slice(file("/manifest.json")).unwrap();
    assert_eq!(manifest["observedAt"], NOW);
    assert_eq!((&manifest["cluster"], &manifest["kind"]), (&json!("eu-1"), &json!("Dump")));
    assert_eq!((&manifest["sources"]["nodes"], &manifest["read"]["pods"]), (&json!(false), &json!(124)));
    assert!(
        manifest["notes"].to_string().contains("without nodes: no permission to list them"),
        "{manifest}"
    );
    assert!(file("/logs/secret.cart-2-x.cart.previous.log").starts_with(b"2026-11-22T11:19:59Z starting\n"));
    assert!(!files.iter().any(|(name, _)| name.contains("node-exporter") && name.ends_with(".log")));

    // Years later, and elsewhere.
    let run = kubehealer(&["diagnose", "-f", path.to_str().unwrap(), "-n", "secret", "--all"]);
    assert_eq!(run.code, 0, "{}", run.err);
    for words in [
        "dump of eu-1 at 2026-11-22T11:23:29Z by kubehealer",
        "without nodes: no permission to list them",
        "since revision 1: image",
    ] {
        assert!(run.out.contains(words), "{words}: {}", run.out);
    }
    server.cluster.fault("events", Fault::Forbidden);
    let config = server.kubeconfig.path().join("config");
    let output = command().env("KUBECONFIG", config).args(["dump", "-A", "-o", "-"]).output().unwrap();
    assert!(output.status.success());
    let healthy = ["diagnose", "-f", "-", "-n", "shop", "web-b6cf745ff", "--fail-on", "info"];
    let run = with_input(&healthy, &output.stdout);
    assert!(run.code == 2 && run.err.contains("--fail-on cannot be evaluated"), "{}", run.err);
}

#[test]
fn a_dump_of_some_pods_has_those_and_one_of_none_is_not_written() {
    let server = Server::recorded();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dump.tar.gz");
    let to = path.to_str().unwrap();
    let run = server.run(&["dump", "-n", "shop", "deployment/cart", "--no-logs", "-o", to], &[]);
    assert_eq!(run.code, 0, "{}", run.err);
    let dump = read(&path);
    assert_eq!((dump.snapshot.pods.len(), dump.snapshot.logs.len()), (2, 0));
    let about = dump.snapshot.events.iter().map(|event| event.unpack().involved_object);
    let about: BTreeSet<String> = about.map(|object| format!("{}/{}", object.kind, object.name)).collect();
    assert!(about.iter().any(|of| of.starts_with("Pod/cart-874c48df9-")), "{about:?}");
    assert!(about.iter().any(|of| of == "ReplicaSet/cart-874c48df9"), "{about:?}");
    let other = |of: &&String| !of.split_once('/').unwrap().1.starts_with("cart") && !of.starts_with("Node/");
    assert_eq!(about.iter().find(other), None);
    let events = dump.snapshot.events.len();
    assert!(run.err.contains(&format!("wrote {to}: 2 pods, {events} events, 0 logs\n")), "{}", run.err);
    fs::remove_file(&path).unwrap();
    for args in [&["-n", "nosuch"][..], &["-A", "--context", "a,b"], &["-n", "shop", "deployment/crat"]] {
        let run = server.run(&[&["dump", "-o", to], args].concat(), &[]);
        assert!(run.code == 2 && !path.exists(), "{args:?}: {}", run.err);
    }
    let run = server.run(&["dump", "-n", "shop", "-o", "/nonexistent/dump.tar.gz"], &[]);
    assert!(run.code == 2 && run.err.contains("/nonexistent/dump.tar.gz: "), "{}", run.err);
    let hint = "hint: the directory /nonexistent does not exist: create it, or name another one\n";
    assert!(run.err.contains(hint), "{}", run.err);
    let run = server.run(&["dump", "-n", "shop", "-o", folder.path().to_str().unwrap()], &[]);
    assert!(run.code == 2 && run.err.contains("hint: name a file in it: -o "), "{}", run.err);
    // What it cannot open is not its own: it stays.
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let run = server.run(&["dump", "-n", "shop", "-o", socket.to_str().unwrap()], &[]);
    assert!(run.code == 2 && socket.exists(), "{}", run.err);
    // Nor is a device.
    let full = folder.path().join("full");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let run = server.run(&["dump", "-n", "shop", "-o", full.to_str().unwrap()], &[]);
    assert!(run.code == 2 && full.is_symlink(), "{}", run.err);
    assert!(run.err.contains("hint: free some space, or name another place with -o\n"), "{}", run.err);
    let mut closed = command();
    closed.env("KUBECONFIG", server.kubeconfig.path().join("config")).args(["dump", "-A", "-o", "-"]);
    let mut child = closed.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("hint: the program that reads the archive has exited\n"), "{err}");
}

/// Reads what a diagnosis reads.
async fn look(cluster: &Cluster) -> Snapshot {
    let (client, progress) = (simulator::client(cluster), Progress::default());
    let mut snapshot = snapshot::snapshot(&client, &Wanted::default(), &progress).await.unwrap().snapshot;
    let now = cluster.now();
    let wanted = logs_that_matter(&survey(&snapshot, now), &snapshot);
    (snapshot.logs, _) = snapshot::logs(&client, wanted, &progress).await;
    snapshot.sources.logs = true;
    let wanted = revisions_that_matter(&survey(&snapshot, now), &snapshot);
    snapshot.revisions = snapshot::revisions(&client, wanted).await;
    snapshot
}

#[tokio::test(start_paused = true)]
async fn a_dump_says_the_same_as_the_cluster_at_any_time_of_the_scenarios() {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 1.0);
    tokio::spawn(scenarios::play(cluster.clone()));
    let mut seen = 0;
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_secs(80)).await;
        let (snapshot, now) = (look(&cluster).await, cluster.now());
        let manifest = Manifest::new(now, String::new(), snapshot.sources, Vec::new());
        let mut archive = Vec::new();
        files::write(&mut archive, &snapshot, manifest).unwrap();
        let dump = from_stdin(&archive);
        assert_eq!((dump.newest_time(now), dump.broken.len(), dump.skipped.len()), (Some(now), 0, 0));
        let of = |snapshot: &Snapshot| serde_json::to_value(survey(snapshot, now).findings).unwrap();
        assert_eq!(of(&dump.snapshot), of(&snapshot));
        seen += survey(&snapshot, now).findings.len();
    }
    assert!(seen > 50, "{seen}");
}
