//! Starts a server and one client after another, and tells what they say.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use kube::core::ObjectList;
use kubehealer::cluster::lean::Lean;
use kubehealer::objects::Pod;
use kubehealer::objects::decode::{Encoding, protobuf_list, protobuf_object};
use serde_json::Value;

use crate::plot;

/// Updates per second, unless others are asked for, and for how many seconds.
pub const RATE: u32 = 2_000;
const SECONDS: u32 = 8;
/// The share of pods that fail.
const FAILING: f64 = 0.02;

pub const KINDS: [(&str, &str); 9] = [
    ("naive", "kube-rs reflector of the full Pod"),
    ("stripped", "the same with `modify` stripping"),
    ("lean", "kube-rs reflector of a lean Pod"),
    ("lean-watchlist", "the same, streaming list"),
    ("json", "KubeHealer, JSON, pages"),
    ("json-watchlist", "KubeHealer, JSON, streaming list"),
    ("protobuf", "KubeHealer, protobuf, pages"),
    ("watchlist", "KubeHealer, protobuf, streaming list"),
    ("daemon", "`kubehealer watch`, the whole daemon"),
];

/// Another process of this program.
pub struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "a process of the benchmark has ended");
        line.trim().to_owned()
    }

    pub fn say(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
    }

    pub fn ask(&mut self, command: &str) -> String {
        self.say(command);
        self.line()
    }

    pub fn figures(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Server(pub Process, String);

impl Server {
    pub fn start(pods: u32, failing: f64) -> Self {
        let mut process = Process::start(&[
            "--role",
            "server",
            "--pods",
            &pods.to_string(),
            "--failing",
            &failing.to_string(),
        ]);
        let kubeconfig = process.line();
        Self(process, kubeconfig)
    }

    pub fn client(&self, kind: &str) -> Process {
        Process::start(&["--role", "client", "--kind", kind, "--kubeconfig", &self.1])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.1);
    }
}

/// What was measured of one kind.
pub struct Row {
    pub bytes_per_pod: f64,
    pub list_us: f64,
    pub wall: f64,
    pub update_us: f64,
    pub latency_ms: Option<(f64, f64)>,
    pub resident: f64,
    pub peak: f64,
    pub after_relist: Option<(f64, f64)>,
}

pub fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or(f64::NAN)
}

fn times(path: &std::path::Path) -> Vec<(u64, u64)> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(version, at)| (version.parse().unwrap(), at.parse().unwrap()))
        .collect()
}

/// `rate`: updates a second.
fn measure(server: &mut Server, kind: &str, pods: u32, rate: u32, relist: bool) -> Row {
    let mut client = server.client(kind);
    let list = client.figures();
    let dir = std::env::temp_dir();
    let (written, seen) = (dir.join("kubehealer-written"), dir.join("kubehealer-seen"));
    client.ask("go");
    let count: f64 = server.0.ask(&format!("rate {rate} {SECONDS} {}", written.display())).parse().unwrap();
    client.say(&format!("stop {count} {}", seen.display()));
    let stopped = client.figures();
    let written: HashMap<u64, u64> = times(&written).into_iter().collect();
    let mut late: Vec<f64> = times(&seen)
        .into_iter()
        .filter_map(|(version, at)| Some(at.saturating_sub(*written.get(&version)?) as f64 / 1e6))
        .collect();
    late.sort_by(f64::total_cmp);
    let after_relist = relist.then(|| {
        client.say("relist");
        server.0.ask("relist");
        let after = client.figures();
        (number(&after, "resident"), number(&after, "peak"))
    });
    Row {
        bytes_per_pod: number(&list, "anonymous") / f64::from(pods),
        list_us: number(&list, "cpu") * 1e6 / f64::from(pods),
        wall: number(&list, "wall"),
        update_us: number(&stopped, "cpu") * 1e6 / number(&stopped, "updates"),
        latency_ms: (!late.is_empty()).then(|| (late[late.len() / 2], late[late.len() * 99 / 100])),
        resident: number(&list, "resident"),
        peak: number(&list, "peak"),
        after_relist,
    }
}

pub fn table(pods: u32, rate: u32, only: Option<&str>) {
    println!("{pods} pods, {} % of them failing; updates at {rate}/s for {SECONDS} s\n", FAILING * 100.0);
    decode_alone();
    let mut rows = HashMap::new();
    let mut server = Server::start(pods, FAILING);
    println!(
        "| what | memory per pod | CPU per pod, first list | first list | CPU per update | latency p50 / p99 | RSS | peak | RSS, peak after a relist |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for (kind, name) in KINDS {
        if only.is_some_and(|o| !o.split(',').any(|k| k == kind)) {
            continue;
        }
        let row = measure(&mut server, kind, pods, rate, true);
        let mib = |bytes: f64| format!("{:.0} MiB", bytes / f64::from(1 << 20));
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        println!(
            "| {name} | {:.0} B | {:.1} us | {:.2} s | {:.1} us | {} | {} | {} | {} |",
            row.bytes_per_pod,
            row.list_us,
            row.wall,
            row.update_us,
            or_dash(row.latency_ms.map(|(p50, p99)| format!("{p50:.2} / {p99:.2} ms"))),
            mib(row.resident),
            mib(row.peak),
            or_dash(row.after_relist.map(|(resident, peak)| format!("{}, {}", mib(resident), mib(peak)))),
        );
        rows.insert(kind, row);
    }
    goals(&rows, pods, rate);
}

/// A line of a table: what is to be reached, what was measured, and whether that is enough.
pub fn goal(what: &str, measured: &str, met: bool) {
    println!("| {what} | {measured} | {} |", if met { "met" } else { "not met" });
}

/// What the figures say of the goals.
fn goals(rows: &HashMap<&str, Row>, pods: u32, rate: u32) {
    println!("\n| goal | measured | |\n|---|---|---|");
    let of = |kind: &str| rows.get(kind);
    let (naive, ours) = (of("naive"), [of("protobuf"), of("watchlist")]);
    for (way, row) in ["pages", "streaming list"].into_iter().zip(ours) {
        let (Some(row), Some(naive)) = (row, naive) else { continue };
        let ratio = row.list_us / naive.list_us;
        let text = format!("{:.1} of {:.1} us, {way}: {ratio:.2} x", row.list_us, naive.list_us);
        goal("first list 0.25 x naive", &text, ratio <= 0.25);
        let ratio = row.update_us / naive.update_us;
        let text = format!("{:.1} of {:.1} us, {way}: {ratio:.2} x", row.update_us, naive.update_us);
        goal("an update 0.45 x naive", &text, ratio <= 0.45);
    }
    for (way, row) in [("pages", "protobuf"), ("streaming list", "watchlist")] {
        let Some(row) = of(row).filter(|_| pods >= 100_000) else { continue };
        goal(
            "600 B a pod at 100,000",
            &format!("{way}: {:.0} B", row.bytes_per_pod),
            row.bytes_per_pod <= 600.0,
        );
    }
    if let Some((resident, peak)) = of("daemon").and_then(|row| row.after_relist).filter(|_| pods >= 150_000)
    {
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let text = format!("{:.0} MiB, peak {:.0} MiB", mib(resident), mib(peak));
        goal("the daemon at 150,000 pods within 160 MiB, relisted", &text, mib(peak) <= 160.0);
    }
    let late: Vec<f64> = ["json", "json-watchlist", "protobuf", "watchlist"]
        .iter()
        .filter_map(|kind| Some(of(kind)?.latency_ms?.0))
        .collect();
    // What is asked for at other rates is what an update costs.
    if let Some(most) = late.iter().copied().reduce(f64::max).filter(|_| rate == RATE) {
        let least = late.iter().copied().fold(most, f64::min);
        let text = format!("{least:.1} to {most:.1} ms");
        goal("an update is there within 5 ms at the median, at 2,000/s", &text, most < 5.0);
    }
}

/// All pods of a server, as it writes them.
fn page(pods: u32, failing: f64, accept: &str) -> Vec<u8> {
    use http_body_util::BodyExt as _;
    let server = Server::start(pods, failing);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let file = kube::config::Kubeconfig::read_from(&server.1).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let request = http::Request::get("/api/v1/pods").header("accept", accept);
        let request = request.body(kube::client::Body::empty()).unwrap();
        client.send(request).await.unwrap().into_body().collect().await.unwrap().to_bytes().to_vec()
    })
}

/// Decoding alone, of one page.
fn decode_alone() {
    let json = page(500, FAILING, "application/json");
    let protobuf = page(500, FAILING, "application/vnd.kubernetes.protobuf");
    println!(
        "decode alone, {} B of JSON and {} B of protobuf a pod:",
        json.len() / 500,
        protobuf.len() / 500
    );
    let time = |name: &str, mut decode: Box<dyn FnMut() -> usize + '_>| {
        decode();
        let began = Instant::now();
        let mut pods = 0;
        while began.elapsed().as_millis() < 500 {
            pods += decode();
        }
        println!("  {name}: {:.1} us per pod", began.elapsed().as_secs_f64() * 1e6 / pods as f64);
    };
    time(
        "full Pod, JSON",
        Box::new(|| {
            let list: k8s_openapi::List<k8s_openapi::api::core::v1::Pod> =
                serde_json::from_slice(&json).unwrap();
            list.items.len()
        }),
    );
    let slim = |body: &[u8], encoding| match encoding {
        Encoding::Json => {
            let list: ObjectList<Lean<Pod>> = serde_json::from_slice(body).unwrap();
            std::hint::black_box(list).items.len()
        }
        Encoding::Protobuf => {
            let mut count = 0;
            protobuf_list(body, |raw| {
                std::hint::black_box(protobuf_object::<Pod>(raw).unwrap());
                count += 1;
            })
            .unwrap();
            count
        }
    };
    time("slim Pod, JSON", Box::new(|| slim(&json, Encoding::Json)));
    time("slim Pod, protobuf", Box::new(|| slim(&protobuf, Encoding::Protobuf)));
    println!();
}

/// Cost by size, and the picture of it.
pub fn plot() {
    let sizes = [10_000, 30_000, 50_000, 100_000, 150_000];
    let mut lines: Vec<(&str, Vec<(u32, Row)>)> = Vec::new();
    for (kind, name) in KINDS.into_iter().filter(|(kind, _)| ["naive", "json", "watchlist"].contains(kind)) {
        lines.push((name, Vec::new()));
        for pods in sizes {
            let mut server = Server::start(pods, FAILING);
            let row = measure(&mut server, kind, pods, RATE, false);
            println!(
                "{name}, {pods} pods: {:.0} B and {:.1} us per pod, {:.1} us per update, RSS {:.0} MiB, peak {:.0} MiB",
                row.bytes_per_pod,
                row.list_us,
                row.update_us,
                row.resident / f64::from(1 << 20),
                row.peak / f64::from(1 << 20),
            );
            lines.last_mut().unwrap().1.push((pods, row));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/growth.svg");
    std::fs::write(path, plot::draw(&lines)).unwrap();
    println!("{path}");
}

/// A fifth of all pods fails at once.
pub fn storm(pods: u32) {
    let mut server = Server::start(pods, FAILING);
    let mut client = server.client("daemon");
    let quiet = client.figures();
    let count = pods / 5;
    let wanted = f64::from(count) + f64::from(pods - count) * FAILING;
    client.say(&format!("storm {}", wanted as u64));
    let last_write: f64 = server.0.ask(&format!("storm {count}")).parse().unwrap();
    let after = client.figures();
    let mib = |v: &Value, key: &str| number(v, key) / f64::from(1 << 20);
    let late = (number(&after, "last") - last_write) / 1e9;
    println!("{count} of {pods} pods fail at once\n\n| goal | measured | |\n|---|---|---|");
    let text = format!("{} open, the last {late:.2} s after the last write", number(&after, "open"));
    goal(
        "every incident open within 10 s of the last update",
        &text,
        late <= 10.0 && number(&after, "open") >= wanted,
    );
    let (quiet, resident, peak) = (mib(&quiet, "resident"), mib(&after, "resident"), mib(&after, "peak"));
    let scraped = mib(&after, "scraped");
    let text = format!(
        "{quiet:.0} to {resident:.0} MiB, peak {peak:.0} MiB: {:.2} x; peak {scraped:.0} MiB when scraped: {:.2} x",
        peak / quiet,
        scraped / quiet
    );
    goal("memory below 256 MiB, scraped", &text, scraped < 256.0);
    let (probes, unready) = (number(&after, "probes"), number(&after, "unready"));
    let text = format!("{unready} of {probes} answers said no");
    goal("`/readyz` stays true", &text, probes > 0.0 && unready == 0.0);
    let (lines, told) = (number(&after, "lines"), number(&after, "told"));
    let text = format!("{lines} lines, which tell of {told} incidents by name or by count");
    goal("the log is rate-limited, with counts", &text, lines < 500.0 && told >= wanted);
}
