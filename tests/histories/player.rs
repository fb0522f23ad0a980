//! Plays the steps of a history into the cluster, and keeps what the daemon should count of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubehealer::diagnosis::ContainerType;
use kubehealer::simulator::Cluster;
use kubehealer::simulator::kubelet::Pod;
use serde_json::json;

use super::model::*;

/// The API's side: the cluster, and what was written into it.
pub struct Writer {
    pub cluster: Cluster,
    /// What there is, by namespace and name, in the order of lists.
    pub there: BTreeMap<(String, String), Arc<Written>>,
    /// What was written since the daemon was last shown everything.
    pub undelivered: Vec<(bool, Arc<Written>)>,
    pub seen: Coverage,
}

impl Writer {
    pub fn wrote(&mut self, player: usize, place: &Place) {
        let written = Arc::new(Written {
            player,
            kind: place.kind,
            uid: place.pod.uid().to_owned(),
            truths: place.truths.clone(),
        });
        self.there.insert(place.key(), Arc::clone(&written));
        self.undelivered.push((true, written));
    }

    pub fn publish(&mut self, player: usize, place: &mut Place) {
        self.seen.saw("updates");
        self.seen.saw_times("changes that came as one update", u64::from(place.changes > 1));
        place.changes = 0;
        assert!(place.pod.publish(), "the pod is there");
        self.wrote(player, place);
    }

    pub fn remove(&mut self, place: &Place) {
        place.pod.remove();
        if let Some(written) = self.there.remove(&place.key()) {
            self.undelivered.push((false, written));
        }
    }
}

pub struct Place {
    pub pod: Pod,
    pub kind: Kind,
    pub node: u8,
    pub truths: Vec<Truth>,
    pub deleting: bool,
    /// Evicted.
    pub failed: bool,
    /// Since the status was written.
    pub changes: u32,
}

impl Place {
    pub fn key(&self) -> (String, String) {
        (self.pod.namespace().to_owned(), self.pod.name().to_owned())
    }

    pub fn name(&self, container: usize) -> &'static str {
        self.kind.containers()[container].0
    }

    pub fn start(&mut self, c: usize, counted: bool) {
        let name = self.name(c);
        let truth = &mut self.truths[c];
        let over = self.kind == Kind::Batch && truth.begun > 0;
        if truth.runs() || self.deleting || self.failed || over {
            return;
        }
        truth.begun += 1;
        truth.pulls = false;
        let state = truth.state.take();
        if counted {
            truth.last = state.or(truth.last);
            self.pod.start(name);
        } else {
            truth.last = None;
            self.pod.start_uncounted(name);
        }
        self.changes += 1;
    }

    pub fn end(&mut self, c: usize, exit: Exit, seen: &mut Coverage) {
        let (name, kind) = self.kind.containers()[c];
        let truth = &mut self.truths[c];
        if !truth.runs() {
            return;
        }
        truth.state = Some(truth.ended());
        truth.ends.push(exit.reason());
        self.pod.terminate(name, &exit.termination());
        self.changes += 1;
        seen.saw(match exit {
            Exit::Completed => "exit 0",
            Exit::Error => "exit 1",
            Exit::Oom => "exit 137, out of memory",
            Exit::Terminated => "exit 143",
        });
        seen.saw_times("ends of init containers", u64::from(kind == ContainerType::Init));
        seen.saw_times("ends of sidecars", u64::from(kind == ContainerType::Sidecar));
    }

    /// The container has ended, or never began, and the kubelet says that it waits.
    pub fn wait(&mut self, c: usize, seen: &mut Coverage) {
        let name = self.name(c);
        let truth = &mut self.truths[c];
        if truth.runs() || self.deleting || self.failed || self.kind == Kind::Batch && truth.begun > 0 {
            return;
        }
        truth.last = truth.state.take().or(truth.last);
        if truth.begun > 0 {
            seen.saw("back-offs after an end");
            let message = format!("back-off 10s restarting failed container={name}");
            self.pod.wait(name, "CrashLoopBackOff", &message);
        } else {
            truth.pulls = true;
            seen.saw("back-offs of an image pull");
            let message = "Back-off pulling image \"registry.example.com/app:1\": ErrImagePull: not found";
            self.pod.wait(name, "ImagePullBackOff", message);
        }
        self.changes += 1;
    }
}

/// One history on its way.
pub struct Player {
    pub number: usize,
    pub calm: bool,
    pub namespace: String,
    pub places: Vec<Place>,
    pub names: u32,
    /// By uid; begins anew with the daemon.
    pub expected: BTreeMap<String, (Kind, Vec<Expected>)>,
    /// What is expected of pods that are gone.
    pub settled: BTreeMap<(Kind, usize), BTreeMap<&'static str, u64>>,
    pub failure: Option<String>,
}

impl Player {
    pub fn new(number: usize, calm: bool) -> Self {
        Self {
            number,
            calm,
            namespace: format!("history-{number:03}"),
            places: Vec::new(),
            names: 0,
            expected: BTreeMap::new(),
            settled: BTreeMap::new(),
            failure: None,
        }
    }

    pub fn fails(&mut self, how: String) {
        self.failure.get_or_insert(how);
    }

    pub fn pick(&self, pod: u8) -> Option<usize> {
        (!self.places.is_empty()).then(|| usize::from(pod) % self.places.len())
    }

    pub fn step(&mut self, step: &Step, faults: Faults, api: &mut Writer) {
        let number = self.number;
        let pod = match *step {
            Step::Create(kind) | Step::Launch(kind) => {
                if self.places.len() < PODS && faults != Faults::OldList {
                    let at = self.create(Kind::ALL[usize::from(kind) % Kind::ALL.len()], api);
                    if matches!(step, Step::Launch(_)) {
                        self.launch(at, api);
                    }
                }
                return;
            }
            Step::LoseNode(node) => {
                while let Some(at) = self.places.iter().position(|p| p.node == node % 2) {
                    if faults == Faults::OldList {
                        return;
                    }
                    api.seen.saw("pods lost with their node");
                    let place = self.places.remove(at);
                    api.remove(&place);
                }
                return;
            }
            Step::Start(pod, _)
            | Step::End(pod, ..)
            | Step::FailToStart(pod, _)
            | Step::Vanish(pod, _)
            | Step::StartUncounted(pod, _)
            | Step::BackOff(pod, _)
            | Step::Publish(pod)
            | Step::Delete(pod, _)
            | Step::Remove(pod)
            | Step::Drain(pod, _)
            | Step::Replace(pod)
            | Step::Evict(pod)
            | Step::Finish(pod) => pod,
        };
        let Some(at) = self.pick(pod) else { return };
        let place = &mut self.places[at];
        let c = |container: u8| usize::from(container) % place.truths.len();
        match *step {
            Step::Start(_, container) => place.start(c(container), true),
            Step::End(_, container, exit) => place.end(c(container), exit, &mut api.seen),
            Step::FailToStart(_, container) => {
                let c = c(container);
                let name = place.name(c);
                let truth = &mut place.truths[c];
                if !truth.runs() && !place.deleting && !place.failed && place.kind != Kind::Batch {
                    truth.last = Some(truth.ended());
                    truth.state = None;
                    truth.begun += 1;
                    truth.pulls = false;
                    truth.ends.push("StartError");
                    place.pod.fail_to_start(name, "exec: \"serve\": executable file not found in $PATH");
                    place.changes += 1;
                    api.seen.saw("starts that failed");
                }
            }
            Step::Vanish(_, container) => {
                let c = c(container);
                let name = place.name(c);
                let truth = &mut place.truths[c];
                if truth.runs() && !place.deleting && !place.failed && place.kind != Kind::Batch {
                    truth.last = Some(truth.ended());
                    truth.ends.push("ContainerStatusUnknown");
                    place.pod.vanish(name);
                    place.changes += 1;
                    api.seen.saw("containers that the runtime lost");
                }
            }
            Step::StartUncounted(_, container) => {
                let c = c(container);
                // Provable only where the run before was shown, and its end before the count has risen again.
                if faults.delivers_all() && place.truths[c].begun > 0 && !place.truths[c].runs() {
                    let began = place.truths[c].begun;
                    api.publish(number, place);
                    place.start(c, false);
                    if place.truths[c].begun > began {
                        api.seen.saw("restartCounts that fell");
                        api.publish(number, place);
                    }
                }
            }
            Step::BackOff(_, container) => place.wait(c(container), &mut api.seen),
            Step::Publish(_) => api.publish(number, place),
            Step::Delete(_, exit) => {
                if !place.deleting {
                    place.deleting = true;
                    place.pod.mark_deleted(30);
                    api.seen.saw("graceful deletions");
                }
                api.publish(number, place);
                (0..place.truths.len()).for_each(|c| place.end(c, exit, &mut api.seen));
            }
            Step::Finish(_) => {
                if place.kind == Kind::Batch {
                    place.end(0, Exit::Completed, &mut api.seen);
                    api.publish(number, place);
                }
            }
            Step::Evict(_) => {
                if !place.failed && !place.deleting && place.kind != Kind::Batch {
                    place.failed = true;
                    place.pod.fail("Evicted", "The node was low on resource: memory. ");
                    api.seen.saw("evictions");
                    (0..place.truths.len()).for_each(|c| place.end(c, Exit::Error, &mut api.seen));
                    api.publish(number, place);
                }
            }
            // What is listed old must still be there.
            _ if faults == Faults::OldList => {}
            Step::Remove(_) => {
                if place.deleting {
                    api.publish(number, place);
                }
                let place = self.places.remove(at);
                api.remove(&place);
            }
            Step::Drain(_, exit) => {
                let mut place = self.places.remove(at);
                if !place.deleting {
                    place.deleting = true;
                    place.pod.mark_deleted(30);
                    api.seen.saw("graceful deletions");
                    api.publish(number, &mut place);
                }
                (0..place.truths.len()).for_each(|c| place.end(c, exit, &mut api.seen));
                api.publish(number, &mut place);
                api.remove(&place);
            }
            Step::Replace(_) => {
                let Some(at) = self.places.iter().position(|p| p.kind == Kind::Db) else { return };
                let old = self.places.remove(at);
                api.remove(&old);
                api.seen.saw("names used again");
                let at = self.create_named(Kind::Db, old.pod.name(), api);
                self.launch(at, api);
            }
            Step::Create(_) | Step::Launch(_) | Step::LoseNode(_) => {}
        }
    }

    pub fn create(&mut self, kind: Kind, api: &mut Writer) -> usize {
        let name = match kind {
            Kind::Db => {
                let taken = |name: &str| self.places.iter().any(|p| p.pod.name() == name);
                (0..).map(|n| format!("db-{n}")).find(|name| !taken(name)).unwrap()
            }
            Kind::Web => format!("web-5d8f-{}", self.names),
            Kind::Mesh => format!("mesh-77c4-{}", self.names),
            Kind::Batch => format!("batch-{}", self.names),
        };
        self.create_named(kind, &name, api)
    }

    pub fn create_named(&mut self, kind: Kind, name: &str, api: &mut Writer) -> usize {
        self.names += 1;
        let (workload, of) = kind.workload();
        let (owner, owner_name, hash) = match kind {
            Kind::Web => ("ReplicaSet", "web-5d8f", Some("5d8f")),
            Kind::Mesh => ("ReplicaSet", "mesh-77c4", Some("77c4")),
            Kind::Db | Kind::Batch => (workload, of, None),
        };
        let spec = |of: ContainerType| -> Vec<_> {
            let containers = kind.containers().iter().filter(|(_, kind)| *kind == of);
            containers.map(|(name, _)| json!({"name": name, "image": "registry.example.com/app:1"})).collect()
        };
        let mut manifest = json!({
            "metadata": {"namespace": self.namespace, "name": name, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": owner, "name": owner_name, "uid": owner_name, "controller": true}]},
            "spec": {"containers": spec(ContainerType::App)}
        });
        if let Some(hash) = hash {
            manifest["metadata"]["labels"] = json!({"pod-template-hash": hash});
        }
        if kind == Kind::Batch {
            manifest["spec"]["restartPolicy"] = json!("Never");
        }
        if kind == Kind::Mesh {
            let mut inits = spec(ContainerType::Init);
            inits.extend(spec(ContainerType::Sidecar));
            inits[1]["restartPolicy"] = json!("Always");
            manifest["spec"]["initContainers"] = json!(inits);
        }
        let pod = Pod::create(&api.cluster, manifest).unwrap();
        let node = (self.names % 2) as u8;
        let truths = vec![Truth::default(); kind.containers().len()];
        let mut place = Place { pod, kind, node, truths, deleting: false, failed: false, changes: 0 };
        api.wrote(self.number, &place);
        place.pod.assign(if node == 0 { "node-a" } else { "node-b" });
        place.pod.accept();
        api.publish(self.number, &mut place);
        self.places.push(place);
        self.places.len() - 1
    }

    /// Everything starts as it should.
    pub fn launch(&mut self, at: usize, api: &mut Writer) {
        let place = &mut self.places[at];
        for c in 0..place.truths.len() {
            place.start(c, true);
            if place.kind.containers()[c].1 == ContainerType::Init {
                api.publish(self.number, place);
                place.end(c, Exit::Completed, &mut api.seen);
            }
        }
        api.publish(self.number, place);
    }

    /// Takes note of what the daemon is shown.
    pub fn expect(&mut self, written: &Written, first: bool) {
        let new = !self.expected.contains_key(&written.uid);
        let (_, expected) = self
            .expected
            .entry(written.uid.clone())
            .or_insert_with(|| (written.kind, vec![Expected::default(); written.truths.len()]));
        for (e, truth) in expected.iter_mut().zip(&written.truths) {
            if new && first {
                e.from = truth.ended();
            }
            e.shown.extend(truth.state.iter().chain(&truth.last).filter(|n| **n >= e.from));
            e.last = truth.clone();
        }
    }

    /// The daemon is shown that a pod is gone: each run that was seen to have begun has ended.
    pub fn gone(&mut self, uid: &str) {
        let Some((kind, expected)) = self.expected.remove(uid) else { return };
        for (n, e) in expected.iter().enumerate() {
            count(self.settled.entry((kind, n)).or_default(), e, e.last.begun);
        }
    }

    /// What the counts should say.
    pub fn counts(&self) -> Counts {
        let mut all = self.settled.clone();
        for (kind, expected) in self.expected.values() {
            for (n, e) in expected.iter().enumerate() {
                count(all.entry((*kind, n)).or_default(), e, e.last.ended());
            }
        }
        all.retain(|_, reasons| !reasons.is_empty());
        let rows = all.into_iter().map(|((kind, n), reasons)| {
            let (container, container_type) = kind.containers()[n];
            let (workload, name) = kind.workload();
            let of = (workload, name.to_owned(), container.to_owned(), container_type.as_str());
            (of, reasons.into_iter().map(|(reason, n)| (reason.to_owned(), n)).collect())
        });
        rows.collect()
    }
}

/// Adds the ends up to `until` that are expected.
pub fn count(reasons: &mut BTreeMap<&'static str, u64>, e: &Expected, until: u32) {
    for n in e.from..until {
        let reason = e.last.ends.get(n as usize).filter(|_| e.shown.contains(&n));
        *reasons.entry(reason.copied().unwrap_or("Unobserved")).or_default() += 1;
    }
}
