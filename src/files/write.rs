//! Writing what a look has read as an archive that `diagnose -f` reads.
//!
//! The slim types are written, so that what they do not hold (`env`, `command`, `args`, Secrets, ConfigMaps) cannot be in it; their
//! texts are redacted when they are decoded, and logs here.

use std::collections::BTreeMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::API_VERSION;
use crate::diagnosis::logs::LogTail;
use crate::diagnosis::{Snapshot, Sources};

/// The directory in the archive.
const FOLDER: &str = "kubehealer-dump";
/// Objects in one file: a file is written, and read, as a whole.
const OBJECTS: usize = 1_000;

/// What an archive says of itself: `manifest.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    api_version: String,
    kind: String,
    /// Of the program that wrote it.
    pub version: String,
    /// When the cluster was looked at, by its clock.
    pub observed_at: Timestamp,
    /// What the cluster is called, if that was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// What could be read at all.
    pub sources: Sources,
    /// How many objects and logs there are, by file.
    pub read: BTreeMap<String, usize>,
    /// What could not be read and why, and whatever else was said.
    pub notes: Vec<String>,
}

impl Manifest {
    pub(super) const KIND: &str = "Dump";

    /// Of a look at this time.
    pub fn new(observed_at: Timestamp, cluster: String, sources: Sources, notes: Vec<String>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            observed_at,
            cluster,
            sources,
            read: BTreeMap::new(),
            notes,
        }
    }
}

/// A list as the API server writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a, T> {
    api_version: &'a str,
    kind: String,
    items: &'a [T],
}

struct Archive<W: Write> {
    tar: tar::Builder<W>,
    manifest: Manifest,
}

impl<W: Write> Archive<W> {
    fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(self.manifest.observed_at.as_second().try_into().unwrap_or_default());
        header.set_size(content.len() as u64);
        self.tar.append_data(&mut header, format!("{FOLDER}/{name}"), content)
    }

    fn list<T: Serialize>(
        &mut self,
        name: &str,
        api_version: &str,
        kind: &str,
        objects: &[T],
    ) -> io::Result<()> {
        self.manifest.read.insert(name.to_owned(), objects.len());
        for (number, items) in objects.chunks(OBJECTS).enumerate() {
            let list = List { api_version, kind: format!("{kind}List"), items };
            let number = if number == 0 { String::new() } else { format!("-{}", number + 1) };
            self.file(&format!("{name}{number}.json"), &serde_json::to_vec(&list)?)?;
        }
        Ok(())
    }
}

/// Writes the archive, as `tar.gz`, with the manifest at its end.
///
/// # Errors
/// If it cannot be written.
pub fn write(out: impl Write, snapshot: &Snapshot, manifest: Manifest) -> io::Result<()> {
    let s = snapshot;
    let tar = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    let mut archive = Archive { tar, manifest };
    archive.list("pods", "v1", "Pod", &s.pods)?;
    archive.list("events", "v1", "Event", &s.events)?;
    archive.list("nodes", "v1", "Node", &s.nodes)?;
    archive.list("replicasets", "apps/v1", "ReplicaSet", &s.replica_sets)?;
    archive.list("deployments", "apps/v1", "Deployment", &s.deployments)?;
    archive.list("statefulsets", "apps/v1", "StatefulSet", &s.stateful_sets)?;
    archive.list("daemonsets", "apps/v1", "DaemonSet", &s.daemon_sets)?;
    archive.list("jobs", "batch/v1", "Job", &s.jobs)?;
    archive.list("cronjobs", "batch/v1", "CronJob", &s.cron_jobs)?;
    archive.list("persistentvolumeclaims", "v1", "PersistentVolumeClaim", &s.claims)?;
    // ReplicaSets among them as well: what their templates set.
    archive.list("revisions", "apps/v1", "ControllerRevision", &s.revisions)?;
    archive.manifest.read.insert("logs".to_owned(), s.logs.len());
    for log in &s.logs {
        let which = if log.previous { "previous" } else { "current" };
        let name = format!("logs/{}.{}.{}.{which}.log", log.namespace, log.pod, log.container);
        archive.file(&name, LogTail::text(&log.tail).as_bytes())?;
    }
    archive.file("manifest.json", &serde_json::to_vec_pretty(&archive.manifest)?)?;
    archive.tar.into_inner()?.finish()?.flush()
}
