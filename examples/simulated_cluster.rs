//! A simulated cluster for tests of whole programs: answers the Kubernetes API on a port, and takes what happens in it from its
//! standard input, as lines of `kubectl get -w --output-watch-events -o json`: `{"type": "MODIFIED", "object": {...}}`.
//!
//! `cargo run --example simulated_cluster -- KUBECONFIG` writes a kubeconfig for it to that file, and ends with its input. Then
//! it tells what it was asked for, one `list pods` a line.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use kubehealer::simulator::{self, Cluster, RESOURCES};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

const USAGE: &str = "usage: simulated_cluster KUBECONFIG
Answers the Kubernetes API on a free port of 127.0.0.1, and writes a kubeconfig for it to the file KUBECONFIG.
Takes changes from standard input, one a line: {\"type\": \"MODIFIED\", \"object\": {...}}.";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let kubeconfig = match std::env::args().nth(1) {
        Some(flag) if matches!(flag.as_str(), "-h" | "--help") => {
            println!("{USAGE}");
            return Ok(());
        }
        Some(path) if !path.starts_with('-') => path,
        _ => bail!("{USAGE}"),
    };
    let cluster = Cluster::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let text = simulator::kubeconfig(listener.local_addr()?);
    std::fs::write(&kubeconfig, text).with_context(|| format!("cannot write {kubeconfig}"))?;
    let server = tokio::spawn(simulator::serve(listener, cluster.clone()));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        happen(&cluster, &line).with_context(|| format!("cannot take the line {line}"))?;
        // Whoever drives it knows by this that the API shows it.
        println!("ok");
    }
    server.abort();
    // What was asked of it, for whoever wonders which rights that takes.
    let asked: BTreeSet<String> = cluster
        .requests()
        .into_iter()
        .map(|request| format!("{} {}", request.verb, request.resource))
        .collect();
    for request in asked {
        println!("{request}");
    }
    Ok(())
}

fn happen(cluster: &Cluster, line: &str) -> anyhow::Result<()> {
    let mut event: Value = serde_json::from_str(line)?;
    let object = event["object"].take();
    if event["type"] == "DELETED" {
        let resource = RESOURCES
            .iter()
            .find(|resource| object["kind"] == resource.kind)
            .with_context(|| format!("no kind {}", object["kind"]))?;
        let named = |key| object["metadata"][key].as_str().unwrap_or_default();
        cluster.delete(resource.plural, named("namespace"), named("name"));
    } else {
        cluster.apply(object)?;
    }
    Ok(())
}
