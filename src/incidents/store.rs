//! Every pod that is watched, as small as its state allows.
//!
//! A healthy pod (no finding, nothing to look at again) is a [`Record`] alone: who it is and which terminations of its containers are
//! counted. What is known of an active pod hangs off its record as an `A`, which the caller chooses (the whole
//! slim pod, its findings). Names that many pods share (namespace, node, workload, container) are held once.
//!
//! 150,000 records with all indexes are to stay small: see `docs/performance.md` for the figure.
//!
//! Pure data structure: must not know what a finding is, how pods come in, or the time.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::HashMap;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::diagnosis::finding::WorkloadRef;

/// The uid of an object in 16 bytes: a digest of its text, so use it to identify, not to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u8; 16]);

impl Uid {
    /// Of its text, by FNV-1a.
    pub fn of(text: &str) -> Self {
        let digest = text.bytes().fold(0x6c62272e07bb014262b821756295c58d_u128, |hash, b| {
            (hash ^ u128::from(b)).wrapping_mul(0x0000000001000000000000000000013b)
        });
        Self(digest.to_be_bytes())
    }
}

/// How far the terminations of one container are counted. A container that has not begun has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub container: Arc<str>,
    /// Its `restartCount` when it was last seen.
    pub restart_count: i32,
    /// What accounting remembers of its run and its newest termination, packed.
    pub termination: u64,
}

/// Where a pod belongs: shared by all pods of a workload.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadKey {
    pub namespace: String,
    pub workload: WorkloadRef,
}

impl WorkloadKey {
    /// The one of a namespace and a workload.
    pub fn new(namespace: &str, workload: &WorkloadRef) -> Self {
        Self { namespace: namespace.to_owned(), workload: workload.clone() }
    }
}

/// A pod, as long as it exists.
#[derive(Debug)]
pub struct Record<A> {
    pub uid: Uid,
    pub name: Box<str>,
    /// Its namespace and its top controller, as far as that is known.
    pub workload_key: Arc<WorkloadKey>,
    /// Where it runs; empty until it is scheduled.
    pub node: Arc<str>,
    /// Only containers that have begun.
    pub counted: Box<[Counted]>,
    /// `metadata.resourceVersion` when it was last seen, 0 if that is no number: a list may come from a cache that is behind.
    pub version: u64,
    /// Whether it counts as one that runs on its node.
    pub runs: bool,
    /// Digest of all that it showed last and that is taken down here, see [`Store::digest`].
    pub shown: u64,
    /// What is kept of an active pod.
    pub active: Option<Box<A>>,
    /// The generation in which the pod was last seen.
    seen: u32,
}

/// Who a pod is: what [`Store::upsert`] needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// `metadata.uid`, or namespace and name joined where a file has none.
    pub uid: Uid,
    pub namespace: &'a str,
    pub name: &'a str,
    pub node: &'a str,
    pub workload: &'a WorkloadRef,
}

impl Identity<'_> {
    fn workload_key(&self) -> WorkloadKey {
        WorkloadKey::new(self.namespace, self.workload)
    }
}

/// The pods, by uid.
#[derive(Debug)]
pub struct Store<A> {
    /// By uid, which is in the records: the table is small enough to stay in a cache.
    pods: HashTable<Box<Record<A>>>,
    names: Names,
    workloads: Workloads,
    hasher: RandomState,
    generation: u32,
}

impl<A> Default for Store<A> {
    fn default() -> Self {
        Self {
            pods: HashTable::new(),
            names: Names::default(),
            workloads: Workloads::default(),
            hasher: RandomState::default(),
            generation: 0,
        }
    }
}

impl<A> Store<A> {
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// A pod by uid.
    pub fn get(&self, uid: Uid) -> Option<&Record<A>> {
        self.pods.find(self.hasher.hash_one(uid), |r| r.uid == uid).map(Box::as_ref)
    }

    /// A pod by uid, to change what is counted or kept of it.
    pub fn get_mut(&mut self, uid: Uid) -> Option<&mut Record<A>> {
        self.pods.find_mut(self.hasher.hash_one(uid), |r| r.uid == uid).map(Box::as_mut)
    }

    /// How many pods a workload has.
    pub fn pods_of(&self, workload_key: &WorkloadKey) -> u32 {
        self.workloads.0.get(workload_key).copied().unwrap_or(0)
    }

    /// Takes note that a pod exists, and gives its record: new (nothing counted, healthy) or the one that it has.
    /// A changed node or workload is taken over.
    pub fn upsert(&mut self, pod: Identity<'_>) -> &mut Record<A> {
        let Self { pods, names, workloads, generation, hasher } = self;
        let digest = |uid: Uid| hasher.hash_one(uid);
        let record = match pods.entry(digest(pod.uid), |r| r.uid == pod.uid, |r| digest(r.uid)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(room) => {
                let record = Record {
                    uid: pod.uid,
                    name: pod.name.into(),
                    workload_key: workloads.join(pod.workload_key()),
                    node: names.get(pod.node),
                    counted: Box::default(),
                    version: 0,
                    runs: false,
                    shown: 0,
                    active: None,
                    seen: 0,
                };
                room.insert(Box::new(record)).into_mut()
            }
        };
        record.seen = *generation;
        if *record.node != *pod.node {
            names.give_back(&record.node);
            record.node = names.get(pod.node);
        }
        if record.workload_key.workload != *pod.workload {
            workloads.leave(&record.workload_key);
            record.workload_key = workloads.join(pod.workload_key());
        }
        record
    }

    /// Sets what is counted of a pod.
    pub fn set_counted(&mut self, uid: Uid, mut counted: Vec<Counted>) {
        let found = self.pods.find_mut(self.hasher.hash_one(uid), |r| r.uid == uid);
        let Some(record) = found else { return };
        counted.iter_mut().for_each(|c| c.container = self.names.get(&c.container));
        for old in std::mem::replace(&mut record.counted, counted.into()) {
            self.names.give_back(&old.container);
        }
    }

    pub fn remove(&mut self, uid: Uid) -> Option<Record<A>> {
        let found = self.pods.find_entry(self.hasher.hash_one(uid), |r| r.uid == uid).ok()?;
        let (record, _) = found.remove();
        self.names.give_back(&record.node);
        self.workloads.leave(&record.workload_key);
        for counted in &record.counted {
            self.names.give_back(&counted.container);
        }
        if self.pods.capacity() > 4 * self.pods.len() + 1024 {
            self.pods.shrink_to(2 * self.pods.len(), |r| self.hasher.hash_one(r.uid));
        }
        Some(*record)
    }

    /// A pod by uid that is still there, whatever else is said of it.
    pub fn see(&mut self, uid: Uid) -> Option<&mut Record<A>> {
        let generation = self.generation;
        let record = self.get_mut(uid)?;
        record.seen = generation;
        Some(record)
    }

    /// A list begins: marks where it began. Pods seen from here on are newer than the mark.
    pub fn mark(&mut self) -> Mark {
        self.generation = self.generation.wrapping_add(1);
        Mark(self.generation)
    }

    /// The list that began at `mark` is complete: the uids of the pods within its scope that were not seen since, in the order
    /// of namespace and name. They are still there, for the caller to count and then [`remove`](Self::remove).
    /// `namespace` is the scope of the list; none for all.
    pub fn unseen(&self, mark: Mark, namespace: Option<&str>) -> Vec<Uid> {
        let mut gone: Vec<_> = self
            .pods
            .iter()
            // Generations wrap: what is newer by less than half the circle is newer.
            .filter(|r| r.seen.wrapping_sub(mark.0).cast_signed() < 0)
            .filter(|r| namespace.is_none_or(|n| r.workload_key.namespace == n))
            .collect();
        gone.sort_unstable_by(|a, b| {
            (&a.workload_key.namespace, &a.name).cmp(&(&b.workload_key.namespace, &b.name))
        });
        gone.into_iter().map(|r| r.uid).collect()
    }

    /// Of what a pod shows.
    pub fn digest(&self, what: impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }
}

/// Where a list began.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u32);

/// Names held once, with a count of who holds them.
#[derive(Debug, Default)]
struct Names(HashMap<Arc<str>, u32>);

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some((shared, _)) = self.0.get_key_value(name) {
            let shared = Arc::clone(shared);
            if let Some(count) = self.0.get_mut(name) {
                *count += 1;
            }
            return shared;
        }
        let shared: Arc<str> = name.into();
        self.0.insert(Arc::clone(&shared), 1);
        shared
    }

    fn give_back(&mut self, name: &str) {
        if let Some(count) = self.0.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(name);
            }
        }
    }
}

/// Workloads held once, each for as long as it has pods, with their number.
#[derive(Debug, Default)]
struct Workloads(HashMap<Arc<WorkloadKey>, u32>);

impl Workloads {
    /// A pod more.
    fn join(&mut self, workload_key: WorkloadKey) -> Arc<WorkloadKey> {
        let shared = self
            .0
            .get_key_value(&workload_key)
            .map_or_else(|| Arc::new(workload_key), |(workload_key, _)| Arc::clone(workload_key));
        *self.0.entry(Arc::clone(&shared)).or_default() += 1;
        shared
    }

    /// A pod less.
    fn leave(&mut self, workload_key: &WorkloadKey) {
        if let Some(pods) = self.0.get_mut(workload_key) {
            *pods -= 1;
            if *pods == 0 {
                self.0.remove(workload_key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(name: &str) -> WorkloadRef {
        WorkloadRef { kind: "Deployment".into(), name: name.into() }
    }

    fn add<'a>(store: &'a mut Store<()>, uid: &str, namespace: &str, name: &str) -> &'a mut Record<()> {
        let uid = Uid::of(uid);
        store.upsert(Identity { uid, namespace, name, node: "node-a", workload: &workload("web") })
    }

    fn counted(container: &str, restart_count: i32) -> Counted {
        Counted { container: container.into(), restart_count, termination: 7 }
    }

    #[test]
    fn a_pod_is_found_until_it_is_removed() {
        let mut store = Store::<()>::default();
        add(&mut store, "1", "shop", "web-0");
        add(&mut store, "2", "shop", "web-1");
        assert_eq!(&*store.get(Uid::of("1")).unwrap().name, "web-0");
        assert!(store.get(Uid::of("3")).is_none());
        let workload_key = WorkloadKey::new("shop", &workload("web"));
        assert_eq!(store.pods_of(&workload_key), 2);
        assert_eq!(&*store.remove(Uid::of("1")).unwrap().name, "web-0");
        assert_eq!(store.pods_of(&workload_key), 1);
        assert!(store.get(Uid::of("1")).is_none());
        assert!(store.remove(Uid::of("1")).is_none());
        assert_eq!(store.pods(), 1);
    }

    #[test]
    fn what_a_list_did_not_show_is_unseen_within_its_namespace_only() {
        let mut store = Store::<()>::default();
        for (uid, namespace) in [("1", "a"), ("2", "a"), ("3", "b")] {
            add(&mut store, uid, namespace, uid);
        }
        let a = store.mark();
        let b = store.mark();
        add(&mut store, "1", "a", "1");
        assert_eq!(store.unseen(a, Some("a")), [Uid::of("2")]);
        assert_eq!(store.unseen(b, Some("b")), [Uid::of("3")]);
        assert_eq!(store.unseen(a, None), [Uid::of("2"), Uid::of("3")]);
    }

    #[test]
    fn shared_names_are_forgotten_with_the_last_pod_that_has_them() {
        let mut store = Store::<()>::default();
        for job in 0..1000 {
            let uid = Uid::of(&job.to_string());
            let name = format!("backup-{job}");
            let workload = workload(&name);
            store.upsert(Identity {
                uid,
                namespace: "ops",
                name: &name,
                node: "node-a",
                workload: &workload,
            });
            store.set_counted(uid, vec![counted("dump", 1)]);
            store.set_counted(uid, vec![counted("dump", 2), counted("other", 1)]);
            store.remove(uid);
        }
        assert!(store.names.0.is_empty() && store.workloads.0.is_empty());
    }

    #[test]
    fn a_pod_that_gets_a_node_or_another_owner_keeps_what_is_counted() {
        let mut store = Store::<()>::default();
        let uid = Uid::of("1");
        let web = workload("web");
        store.upsert(Identity { uid, namespace: "shop", name: "x", node: "", workload: &web });
        store.set_counted(uid, vec![counted("app", 3)]);
        let other = workload("other");
        let record =
            store.upsert(Identity { uid, namespace: "shop", name: "x", node: "node-b", workload: &other });
        assert_eq!((&*record.node, &record.workload_key.workload), ("node-b", &other));
        assert_eq!(record.counted[0].restart_count, 3);
        assert_eq!(store.names.0.len(), 2, "node-b and app");
    }
}
