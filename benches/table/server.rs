//! The API server: the simulator with very many pods. Obeys lines on its standard input.

use std::io::{BufRead as _, Write as _};
use std::time::{Duration, Instant};

use kubehealer::simulator::{Cluster, Cut, kubeconfig, serve};

use crate::fleet::{Fleet, State};
use crate::measure;

pub fn run(pods: u32, failing: f64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cluster = Cluster::new();
    // Everything began long ago, so that no grace is still running. The server's clock stands: a daemon goes by its own where
    // they are more than a year apart.
    let begin = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(400 * 24);
    cluster.set_clock(begin, 0.0);
    cluster.set_history(400_000);
    let fleet = Fleet::new(&cluster, pods, failing);
    let every = (1.0 / failing.max(1e-9)).round() as u32;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let config = kubeconfig(listener.local_addr().unwrap());
    let path = std::env::temp_dir().join(format!("kubehealer-bench-{}.yaml", std::process::id()));
    std::fs::write(&path, config).unwrap();
    runtime.spawn(serve(listener, cluster.clone()));
    println!("{}", path.display());
    let mut turn = 0u32;
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "rate" => {
                let times = updates(
                    &cluster,
                    &fleet,
                    every,
                    words[1].parse().unwrap(),
                    words[2].parse().unwrap(),
                    &mut turn,
                );
                let mut file = std::io::BufWriter::new(std::fs::File::create(words[3]).unwrap());
                for (version, at) in &times {
                    writeln!(file, "{version} {at}").unwrap();
                }
                file.flush().unwrap();
                println!("{}", times.len());
            }
            "relist" => {
                cluster.cut_watches("pods", Cut::Gone);
                println!("ok");
            }
            "storm" => {
                let count: u32 = words[1].parse().unwrap();
                for pod in 0..count {
                    fleet.set(pod, State::NoImage);
                }
                println!("{}", measure::now());
            }
            other => panic!("{other}?"),
        }
    }
    let _ = std::fs::remove_file(path);
}

/// Mostly healthy pods that say something, and the failing ones going round. Gives when each version was written.
fn updates(
    cluster: &Cluster,
    fleet: &Fleet,
    every: u32,
    rate: u32,
    seconds: u32,
    turn: &mut u32,
) -> Vec<(u64, u64)> {
    let total = rate * seconds;
    let mut times = Vec::with_capacity(total as usize);
    let began = Instant::now();
    for n in 0..total {
        let due = Duration::from_secs_f64(f64::from(n) / f64::from(rate));
        if let Some(early) = due.checked_sub(began.elapsed()).filter(|e| *e > Duration::from_micros(200)) {
            std::thread::sleep(early);
        }
        *turn = turn.wrapping_add(1);
        // One in fifty is of a pod that fails, as one in fifty pods does.
        let pod = if n % 50 == 49 {
            (turn.wrapping_mul(2_654_435_761) % (fleet.count() / every).max(1)) * every + every - 1
        } else {
            turn.wrapping_mul(2_654_435_761) % fleet.count()
        };
        let state = if pod % every != every - 1 {
            State::Running { restarts: 0 }
        } else {
            match *turn / 50 % 3 {
                0 => State::Crashed { restarts: 5 },
                1 => State::BackOff { restarts: 5 },
                _ => State::Running { restarts: 6 },
            }
        };
        fleet.set(pod.min(fleet.count() - 1), state);
        times.push((cluster.version(), measure::now()));
    }
    times
}
