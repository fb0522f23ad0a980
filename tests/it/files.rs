//! What `diagnose -f` reads: directories as tools write them, logs of any size, odd files.

use std::fs;
use std::path::{Path, PathBuf};

use kubehealer::diagnosis::logs::MAX_BYTES;
use kubehealer::files::{self, Dump};
use serde_json::json;

use super::cli::{FINAL, folder, kubehealer, with_input};

fn read(path: &Path) -> Dump {
    files::read(&[path.to_owned()], std::io::empty())
}

fn pod(namespace: &str, name: &str) -> Vec<u8> {
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": namespace, "name": name, "uid": name}})
        .to_string()
        .into_bytes()
}

#[test]
fn a_recorded_directory_is_read_kind_by_kind_with_its_logs() {
    let dump = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(FINAL));
    assert_eq!(dump.broken, []);
    let s = dump.snapshot;
    assert_eq!((s.pods.len(), s.nodes.len(), s.undecodable.len()), (123, 2, 0));
    assert!(s.events.len() > 800 && !s.deployments.is_empty() && !s.replica_sets.is_empty());
    assert!(
        !s.jobs.is_empty()
            && !s.cron_jobs.is_empty()
            && !s.stateful_sets.is_empty()
            && !s.daemon_sets.is_empty()
    );
    assert!(!s.claims.is_empty());
    // One file for each log; what the kubelet refused (*.err) is none.
    let logs = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(FINAL).join("logs")).unwrap();
    let logs = logs.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "log")).count();
    assert_eq!(s.logs.len(), logs);
    let log = s.logs.iter().find(|l| l.pod == "cart-874c48df9-2zw2s" && !l.previous).unwrap();
    assert_eq!((log.namespace.as_str(), log.container.as_str()), ("shop", "cart"));
    assert!(s.sources.events && s.sources.owners && s.sources.nodes && s.sources.logs);
}

#[test]
fn what_must_gather_writes_is_read() {
    let folder = folder(&[
        ("mg/event-filter.html", b"<html>"),
        ("mg/version", b"4.20"),
        ("mg/namespaces/shop/core/pods.yaml", b"---\napiVersion: v1\nitems:\n- metadata:\n    name: cart-1\n    namespace: shop\n    uid: u1\n  status:\n    phase: Running\nkind: PodList\n"),
        ("mg/namespaces/shop/core/secrets.yaml", b"apiVersion: v1\nkind: SecretList\nitems:\n- data:\n    password: aHVudGVyMg==\n"),
        ("mg/namespaces/shop/core/events.yaml", b""),
        ("mg/namespaces/shop/pods/cart-1/cart-1.yaml", b"---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: cart-1\n  namespace: shop\n  uid: u1\nstatus:\n  phase: Running\n"),
        ("mg/namespaces/shop/pods/cart-1/cart/cart/logs/previous.log", b"panic: boom\n"),
        ("mg/namespaces/shop/pods/cart-1/cart/cart/logs/current.log", b"starting\n"),
        ("mg/namespaces/shop/pods/cart-1/cart/cart/logs/previous.insecure.log", b""),
        ("mg/cluster-scoped-resources/core/nodes/node-a.yaml", b"---\napiVersion: v1\nkind: Node\nmetadata:\n  name: node-a\n  uid: n1\n"),
        ("mg/cluster-scoped-resources/config.openshift.io/nodes.yaml", b"---\napiVersion: config.openshift.io/v1\nkind: Node\nmetadata:\n  name: cluster\n  uid: n2\n"),
    ]);
    let dump = read(folder.path());
    assert_eq!(dump.broken, []);
    assert_eq!(dump.snapshot.undecodable, []);
    assert_eq!(dump.snapshot.pods.len(), 1, "the same pod stands in two files");
    assert_eq!(dump.snapshot.nodes.len(), 1, "another group's Node is none");
    let mut logs: Vec<(bool, &[u8])> =
        dump.snapshot.logs.iter().map(|l| (l.previous, l.tail.as_slice())).collect();
    logs.sort_unstable();
    assert_eq!(logs, [(false, &b"starting\n"[..]), (true, b"panic: boom\n")]);
}

#[test]
fn yaml_gives_what_json_gives() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join(FINAL);
    for file in ["pods.json", "events.json", "nodes.json", "replicasets.json", "jobs.json"] {
        let json = read(&recorded.join(file)).snapshot;
        let value: serde_json::Value =
            serde_json::from_slice(&fs::read(recorded.join(file)).unwrap()).unwrap();
        let yaml = serde_saphyr::to_string(&value).unwrap();
        let yaml = files::read(&[PathBuf::from("-")], yaml.as_bytes()).snapshot;
        assert_eq!(format!("{yaml:?}"), format!("{json:?}"), "{file}");
    }
}

#[test]
fn of_a_huge_log_only_the_end_is_read() {
    let folder = folder(&[("pod.json", &pod("shop", "cart-1")), ("logs/shop.cart-1.cart.previous.log", b"")]);
    let path = folder.path().join("logs/shop.cart-1.cart.previous.log");
    // A file with a hole: a gigabyte long, and next to nothing on the disk.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    drop(file);
    let mut end = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut end, b"\npanic: the end\n").unwrap();
    let dump = read(folder.path());
    let log = &dump.snapshot.logs[0];
    assert_eq!(log.tail.len(), MAX_BYTES);
    assert!(log.tail.ends_with(b"panic: the end\n"));
}

#[test]
fn links_that_lead_in_a_circle_end() {
    let folder = folder(&[("a/pod.json", &pod("shop", "cart-1"))]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/up")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("a/gone.json")).unwrap();
    let dump = read(folder.path());
    assert_eq!((dump.snapshot.pods.len(), dump.broken.len()), (1, 0));
}

#[test]
fn directories_too_deep_to_follow_are_named() {
    let deep = |levels: usize| format!("{}pod.json", "d/".repeat(levels));
    let (near, far) = (pod("shop", "near"), pod("shop", "far"));
    let folder = folder(&[(&deep(24), &near), (&deep(25), &far)]);
    let dump = read(folder.path());
    assert_eq!(dump.snapshot.pods.len(), 1);
    let broken: Vec<_> = dump.broken.iter().map(|b| (b.place.ends_with("/d"), b.why.as_str())).collect();
    assert_eq!(broken, [(true, "more than 24 directories deep")]);
}

#[test]
fn one_bad_item_spoils_no_other_and_is_named_by_its_place_alone() {
    let list = r#"{"kind": "PodList", "apiVersion": "v1", "items": [
        {"metadata": {"name": "a", "uid": "a"}},
        {"metadata": {"name": "b", "uid": "b", "name": "hunter2"}},
        "hunter2",
        {"metadata": {"name": "c", "uid": "c"}, "spec": {"containers": [{"name": "app", "env": "hunter2"}]}}
    ]}"#;
    let folder = folder(&[("pods.json", list.as_bytes())]);
    let dump = read(&folder.path().join("pods.json"));
    let names: Vec<&str> = dump.snapshot.pods.iter().map(|p| p.metadata.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    let places: Vec<&str> =
        dump.snapshot.undecodable.iter().map(|u| u.place.rsplit_once("pods.json, ").unwrap().1).collect();
    assert_eq!(places, ["line 1, item 2", "line 1, item 3"]);
    assert!(!format!("{:?}", dump.snapshot.undecodable).contains("hunter2"));
}

#[test]
fn a_broken_line_of_a_stream_costs_that_line() {
    let mut stream = Vec::new();
    for name in ["a", "b", "c"] {
        stream.extend_from_slice(&pod("shop", name));
        stream.push(b'\n');
    }
    let broken = [b"{\"kind\": \"Pod\", \"metadata\": {\"na".as_slice(), b"\n", &stream].concat();
    let folder = folder(&[("pods.jsonl", &broken)]);
    let dump = read(&folder.path().join("pods.jsonl"));
    assert_eq!(dump.snapshot.pods.len(), 3);
    assert_eq!(dump.snapshot.undecodable.len(), 1);
    assert!(dump.snapshot.undecodable[0].place.ends_with("line 1"), "{:?}", dump.snapshot.undecodable);
}

#[test]
fn deep_and_odd_documents_do_no_harm() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("arrays.json", deep("[", "]").into_bytes()),
        ("objects.json", format!("{{\"kind\":\"Pod\",\"spec\":{}}}", deep("{\"a\":", "}").replace(":}", ":1}")).into_bytes()),
        ("flow.yaml", format!("kind: Pod\nspec: {}", deep("[", "]")).into_bytes()),
        ("bomb.yaml", b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f]\nkind: Pod\nmetadata: {name: bomb}\nspec: {x: *g}\n".to_vec()),
        ("good.json", pod("shop", "cart-1")),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, c)| (*n, c.as_slice())).collect();
    let folder = folder(&files);
    let dump = read(folder.path());
    assert!(dump.snapshot.pods.iter().any(|p| p.metadata.name == "cart-1"));
}

#[test]
fn a_text_that_is_broken_all_over_is_not_read_again_and_again_and_its_faults_do_not_flood() {
    let open = "{\"a\":[\n".repeat(40_000);
    let odd =
        "{\"kind\": \"Pod\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": \"a\", \"name\": \"b\"}}\n"
            .repeat(20_000);
    let good = String::from_utf8(pod("shop", "cart-1")).unwrap();
    for text in [format!("{good}\n{open}"), format!("{good}\n{odd}")] {
        let begun = std::time::Instant::now();
        let run = with_input(&["diagnose", "-f", "-"], text.as_bytes());
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(run.out.contains("Looked at 1 pod") && run.out.lines().count() < 60, "{}", run.out);
    }
}

#[test]
fn several_paths_are_one_look() {
    let one = folder(&[("pods.json", &pod("shop", "a"))]);
    let two = folder(&[(
        "more.yaml",
        b"kind: Pod\napiVersion: v1\nmetadata: {name: b, namespace: shop, uid: b}\n",
    )]);
    let paths: Vec<PathBuf> = vec![one.path().to_owned(), two.path().join("more.yaml"), "-".into()];
    let stdin = pod("shop", "c");
    let dump = files::read(&paths, stdin.as_slice());
    assert_eq!(dump.snapshot.pods.len(), 3);
}

fn skipped(dump: &Dump) -> Vec<(&str, &str)> {
    let name = |s: &files::Skipped| s.place.rsplit('/').next().unwrap_or_default().to_owned();
    let mut all: Vec<(String, &str)> = dump.skipped.iter().map(|s| (name(s), s.why)).collect();
    all.sort();
    all.into_iter().map(|(name, why)| (&*name.leak(), why)).collect()
}

#[test]
fn every_file_of_a_directory_is_read_or_said_to_be_skipped_and_why() {
    let folder = folder(&[
        ("pods.json", &pod("shop", "cart-1")),
        ("pods.json.xz", b"\xfd7zXZ\0"),
        ("notes.txt", b"hello"),
        ("empty.yaml", b""),
        ("secrets.yaml", b"hello: world\n"),
        (".hidden.json", &pod("shop", "cart-2")),
        ("shop.cart-1.cart.previous.log", b"boom\n"),
    ]);
    let dump = read(folder.path());
    assert_eq!(dump.read, 2);
    assert_eq!(
        skipped(&dump),
        [
            (".hidden.json", "hidden"),
            ("empty.yaml", "empty"),
            ("notes.txt", "unknown format"),
            ("pods.json.xz", "compressed: unpack it first"),
            ("secrets.yaml", "no Kubernetes objects in it"),
        ]
    );
    let run = kubehealer(&["diagnose", "-f", folder.path().to_str().unwrap()]);
    assert!(run.err.contains("read 2 files, skipped 5: "), "{}", run.err);
    assert!(run.err.contains("; unknown format (notes.txt)"), "{}", run.err);
    assert!(run.err.contains("compressed: unpack it first (pods.json.xz)"), "{}", run.err);
    assert_eq!(run.code, 0);
}

#[test]
fn a_pipe_or_a_socket_in_a_directory_holds_nothing_up_and_is_said() {
    let folder = folder(&[("pods.json", &pod("shop", "cart-1"))]);
    let pipe = |name: &str| {
        let made = std::process::Command::new("mkfifo").arg(folder.path().join(name)).status().unwrap();
        assert!(made.success());
    };
    pipe("more.json");
    pipe("shop.cart-1.cart.previous.log");
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s.json")).unwrap();
    let dump = read(folder.path());
    assert_eq!((dump.read, dump.snapshot.logs.len()), (1, 0));
    let why = "not a regular file";
    assert_eq!(skipped(&dump), [("more.json", why), ("s.json", why), ("shop.cart-1.cart.previous.log", why)]);
}

#[test]
fn links_are_followed_within_the_directory_only() {
    let outside = folder(&[("secret.log", b"root:x:0:0\n"), ("pods.json", &pod("shop", "stranger"))]);
    let folder =
        folder(&[("pods.json", &pod("shop", "cart-1")), ("data/v1/nodes.json", &pod("shop", "cart-2"))]);
    let link =
        |target: &Path, name: &str| std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
    link(&outside.path().join("secret.log"), "shop.cart-1.cart.previous.log");
    link(&outside.path().join("pods.json"), "stranger.json");
    link(Path::new("/dev/zero"), "zero.json");
    link(Path::new("nowhere"), "gone.json");
    link(Path::new("."), "self");
    link(Path::new("data/v1/nodes.json"), "inside.json");
    let dump = read(folder.path());
    let mut names: Vec<&str> = dump.snapshot.pods.iter().map(|p| p.metadata.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!((names, dump.read, dump.snapshot.logs.len()), (vec!["cart-1", "cart-2"], 3, 0));
    let out = "a link that points outside the directory";
    assert_eq!(
        skipped(&dump),
        [
            ("gone.json", "a broken link"),
            ("self", "a link to a directory"),
            ("shop.cart-1.cart.previous.log", out),
            ("stranger.json", out),
            ("zero.json", out),
        ]
    );
}

#[test]
fn a_device_is_refused_in_words() {
    let run = kubehealer(&["diagnose", "-f", "/dev/zero"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("/dev/zero: a device, not a file"), "{}", run.err);
}

#[test]
fn a_named_pipe_is_refused_and_waited_for_by_nobody() {
    let folder = folder(&[]);
    let pipe = folder.path().join("pods.json");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Lets a program that waits end after a while.
    let writer = pipe.clone();
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(5));
        std::fs::write(writer, "{}")
    });
    let run = kubehealer(&["diagnose", "-f", pipe.to_str().unwrap()]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("pods.json: a named pipe, not a file"), "{}", run.err);
    assert!(run.err.contains("pass - and redirect the standard input"), "{}", run.err);
    let rules = kubehealer(&["rules", "check", pipe.to_str().unwrap()]);
    assert!(rules.code == 2 && rules.err.contains("a named pipe, not a file"), "{}", rules.err);
    // The pipe of a shell's <(...) has its writer.
    let script = format!("{} diagnose -f <(echo '{{}}')", env!("CARGO_BIN_EXE_kubehealer"));
    let run = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    let err = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(err.contains("no Kubernetes objects"), "{err}");
}

#[test]
fn a_large_binary_file_is_refused_without_being_read_into_memory() {
    let folder = folder(&[("zeros.json", b"{\"kind\": \"List\", \"items\": ["), ("nul", b"")]);
    for name in ["zeros.json", "nul"] {
        let path = folder.path().join(name);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        // A sparse file, which takes no room on the disk.
        file.set_len(2 << 30).unwrap();
        let binary = env!("CARGO_BIN_EXE_kubehealer");
        let script = format!("ulimit -v 1000000; exec {binary} diagnose -f {}", path.display());
        let run = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let err = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(2), "{name}: {err}");
        assert!(err.contains("neither JSON nor YAML, but binary"), "{name}: {err}");
    }
}
