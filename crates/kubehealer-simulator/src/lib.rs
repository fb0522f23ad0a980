//! A simulated cluster in the process: what the tests run against, and what `kubehealer demo` watches.
//!
//! [`Cluster`] holds the objects and their changes, [`Api`] answers for it as a Kubernetes 1.36 API server does, to a
//! `kube::Client` in memory or, through [`serve`], to anything that speaks HTTP, `kubectl` included. Nothing but the command
//! line's `demo`, tests and benchmarks may use this module, and it knows nothing of diagnosis or incidents.
//!
//! Time is tokio's, so that a test with paused time can let minutes pass in no time.
#![allow(missing_docs, reason = "for this repository alone")]

mod api;
mod cluster;
mod encoding;
mod fault;
pub mod kubelet;
mod logs;
mod protobuf;
pub mod replay;
mod resources;
pub mod scenarios;
mod selector;
mod table;
mod watch;

use std::net::SocketAddr;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use self::api::{Api, Body};
pub use self::cluster::{Cluster, Error, Log, Object, Request, Stamped, Template};
pub use self::fault::{Cut, Fault};
pub use self::protobuf::message as protobuf_message;
pub use self::resources::{RESOURCES, Resource};

/// A client of the simulated cluster that needs no socket.
pub fn client(cluster: &Cluster) -> kube::Client {
    kube::Client::new(Api::new(cluster.clone()), "default")
}

/// A cluster whose time runs `speed` times as fast as ours, in which [`scenarios::play`] goes on until the runtime ends. Needs
/// to be called within one. Its time starts in the past and meets ours after five minutes: clients such as `kubectl describe`
/// take ages from their own clock, and cannot say how long ago something happened that lies ahead.
pub fn demo(speed: f64) -> Cluster {
    let cluster = Cluster::new();
    let now = cluster.now();
    let ahead = jiff::SignedDuration::from_secs_f64((300.0 * (speed - 1.0)).clamp(0.0, 1e6));
    cluster.set_clock(now.checked_sub(ahead).unwrap_or(now), speed);
    tokio::spawn(scenarios::play(cluster.clone()));
    cluster
}

/// Answers on this listener until dropped, and ends every connection then.
pub async fn serve(listener: TcpListener, cluster: Cluster) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // As Go's servers do: an event is not to wait for the acknowledgement of the one before.
                    let _ = stream.set_nodelay(true);
                    let service = TowerToHyperService::new(Api::new(cluster.clone()));
                    connections.spawn(async move {
                        // A connection that breaks is the client's affair, and often a fault that was asked for.
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
                // Out of file descriptors, mostly: what is open must end first.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A kubeconfig for what [`serve`] answers at this address, for `kubectl --kubeconfig`.
pub fn kubeconfig(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: simulated\nclusters:\n- name: simulated\n  cluster:\n    server: \
         http://{address}\ncontexts:\n- name: simulated\n  context:\n    cluster: simulated\n    user: simulated\n    \
         namespace: default\nusers:\n- name: simulated\n  user: {{}}\n"
    )
}
