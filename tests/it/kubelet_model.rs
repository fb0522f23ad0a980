//! Histories played through the simulator's API server and the real watch into the daemon: cuts of every kind, lists anew,
//! restarts of the daemon. Far more of them, without the wire, are in `src/incidents/property.rs`.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use kubehealer::daemon::{self, Running, Settings, Target};
use kubehealer::simulator::kubelet::{End, Pod};
use kubehealer::simulator::{self, Cluster, Cut};
use serde_json::json;

/// The same histories each time; another `KUBEHEALER_SEED`, others.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

struct Place {
    pod: Pod,
    running: bool,
    ends: u64,
    /// Ends before the daemon that runs now had its first list.
    before: u64,
}

async fn start(cluster: &Cluster) -> Running {
    let mut settings =
        Settings::new(Target::Client(simulator::client(cluster), "a simulated cluster".to_owned()));
    settings.listen = ([127, 0, 0, 1], 0).into();
    let clock = cluster.clone();
    settings.clock = std::sync::Arc::new(move || clock.now());
    (settings.events, settings.owners, settings.nodes) = (false, false, false);
    daemon::start(settings).await.unwrap()
}

fn booked(running: &Running) -> BTreeMap<String, u64> {
    let incidents = running.incidents.read().unwrap_or_else(PoisonError::into_inner);
    let rows = incidents.terminations().iter();
    rows.map(|(of, reasons)| (of.home.workload.name.clone(), reasons.map(|(_, n)| n).sum())).collect()
}

/// Returns how many ends were booked that had to be.
async fn history(seed: u64) -> u64 {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let cluster = Cluster::new();
    let mut running = start(&cluster).await;
    // The first list is empty: what comes is ours.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut places: Vec<Place> = Vec::new();
    let mut names = 0;
    for _ in 0..80 {
        let at = (!places.is_empty()).then(|| random.below(places.len() as u64) as usize);
        match (random.below(20), at) {
            (0..=2, _) if places.len() < 5 => {
                names += 1;
                let manifest = json!({"metadata": {"namespace": "model", "name": format!("pod-{names}")},
                    "spec": {"containers": [{"name": "app", "image": "x"}]}});
                let mut pod = Pod::create(&cluster, manifest).unwrap();
                pod.bind("node-a");
                pod.accept();
                pod.publish();
                places.push(Place { pod, running: false, ends: 0, before: 0 });
            }
            (3..=8, Some(at)) => {
                let place = &mut places[at];
                if place.running {
                    let end = if random.below(2) == 0 { End::oom() } else { End::exit(1) };
                    place.pod.end("app", &end);
                    place.ends += 1;
                } else {
                    place.pod.start("app");
                }
                place.running = !place.running;
            }
            (9..=13, Some(at)) => {
                places[at].pod.publish();
            }
            (14, Some(at)) => {
                let place = places.remove(at);
                place.pod.remove();
            }
            (15, _) => cluster.cut_watches("pods", Cut::Gone),
            (16, _) => cluster.cut_watches("pods", Cut::MidLine),
            (17, _) => {
                cluster.cut_watches("pods", Cut::End);
                cluster.compact();
            }
            (18, _) if random.below(4) == 0 => {
                running.stop().await;
                for place in &mut places {
                    place.pod.publish();
                }
                running = start(&cluster).await;
                settled(&running, &cluster).await;
                places.iter_mut().for_each(|p| p.before = p.ends);
            }
            _ => tokio::time::sleep(Duration::from_millis(random.below(3_000))).await,
        }
    }
    for place in &mut places {
        place.pod.publish();
    }
    settled(&running, &cluster).await;
    let wanted: BTreeMap<String, u64> =
        places.iter().map(|p| (p.pod.name().to_owned(), p.ends - p.before)).filter(|(_, n)| *n > 0).collect();
    // The watch may still be pausing after a cut.
    for _ in 0..200 {
        let got = booked(&running);
        if places.iter().all(|p| got.get(p.pod.name()) == wanted.get(p.pod.name())) {
            running.stop().await;
            return wanted.values().sum();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("seed {seed}: booked {:?}, in truth {wanted:?}", booked(&running));
}

/// Until the daemon knows the pods that there are.
async fn settled(running: &Running, cluster: &Cluster) {
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let pods = running.incidents.read().unwrap_or_else(PoisonError::into_inner).pods();
        if pods == cluster.len("pods") {
            return;
        }
    }
    panic!("the daemon never knew all pods");
}

#[tokio::test(start_paused = true)]
async fn the_books_balance_through_the_real_watch() {
    let first: u64 = std::env::var("KUBEHEALER_SEED").map_or(1, |s| s.parse().unwrap());
    let mut booked = 0;
    for seed in first..first + 60 {
        booked += history(seed).await;
    }
    assert!(booked > 100, "the histories are too dull: {booked}");
}
