//! What findings make of messages as runtimes, kubelets, schedulers and controllers write them: the right thing is named,
//! nothing false is said, and what is to be done can be done as it stands.

use jiff::SignedDuration;
use kubehealer::diagnosis::{
    self, CauseCode as C, Confidence, ContainerLog, Context, Reason as R, Snapshot, Sources,
};
use kubehealer::objects::Annotation;
use serde_json::{Value, json};

use super::reasons::{
    ago, app, app_with, condition, container, end, event, event_times, failed, look, look_with, node, now,
    pending, pod, quiet, refused, running, stuck, survey, unborn, waiting, warns, words,
};

/// A container that was not started again and again, with the runtime's text.
fn not_started(message: &str) -> kubehealer::objects::Pod {
    let mut last = end("StartError", 128, 41, 40);
    last["terminated"]["message"] = message.into();
    app(waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container=app"), last, 6)
}

fn no_pull(image: &str, error: &str) -> diagnosis::Finding {
    let spec = json!({"image": image});
    let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {error}");
    let mut state = app_with(spec, waiting("ImagePullBackOff", &message), json!({}), 0);
    state.status.phase = "Pending".to_owned();
    look(&state).findings.remove(0)
}

#[test]
fn a_registry_without_tls_an_expired_certificate_and_a_proxy_are_not_mixed_up() {
    let head = "failed to do request: Head \"https://r/v2/a/manifests/1\": ";
    let f =
        no_pull("r.example.com:5000/a:1", &format!("{head}http: server gave HTTP response to HTTPS client"));
    assert_eq!(f.cause.code, C::RegistryTlsError);
    assert!(words(&f).contains("plain HTTP") && !words(&f).contains("certificate"), "{}", words(&f));

    let error = "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-22T11:55:03Z is after 2026-11-20T00:00:00Z";
    let f = no_pull("r.example.com/a:1", &format!("{head}{error}"));
    assert!(f.summary.contains("certificate has expired"), "{}", f.summary);
    assert!(f.cause.text.contains("is after 2026-11-20"), "{}", f.cause.text);

    let f = no_pull(
        "r.example.com/a:1",
        &format!("{head}proxyconnect tcp: dial tcp 10.0.0.9:3128: connect: connection refused"),
    );
    assert_eq!(f.cause.code, C::RegistryUnreachable);
    assert!(f.summary.contains("proxy") && f.cause.text.contains("10.0.0.9:3128"), "{}", words(&f));
    let f = no_pull("r.example.com/a:1", &format!("{head}Proxy Authentication Required"));
    assert!(f.cause.code == C::RegistryUnreachable && f.summary.contains("proxy"), "{}", words(&f));
}

#[test]
fn a_registry_that_does_not_tell_missing_from_private_is_not_taken_for_either() {
    for error in [
        "reading manifest v9 in docker.io/acme/cart: requested access to the resource is denied",
        "403 Forbidden: denied: Permission \"artifactregistry.repositories.downloadArtifacts\" denied on resource \"projects/p\" (or it may not exist)",
    ] {
        assert_eq!(no_pull("docker.io/acme/cart:v9", error).cause.code, C::ImageNotFoundOrPrivate, "{error}");
    }
    let f = no_pull(
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/cart:1",
        "unexpected status from HEAD request to https://x: 403 Forbidden",
    );
    assert_eq!(f.cause.code, C::RegistryUnauthorized);
    assert!(words(&f).contains("403") && words(&f).contains("12 hours"), "{}", words(&f));
}

#[test]
fn a_manifest_of_an_old_format_is_not_missing_and_a_digest_is_no_tag() {
    let f = no_pull(
        "r.example.com/old:1",
        "failed to unpack image on snapshotter overlayfs: unexpected media type application/vnd.docker.distribution.manifest.v1+prettyjws for sha256:ab: not found",
    );
    assert_eq!(f.cause.code, C::ImageCorrupt, "{}", words(&f));
    let image = "r.example.com/a@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let f = no_pull(image, &format!("{image}: not found"));
    assert!(
        f.cause.code == C::ImageNotFound && f.cause.text.contains("repository or digest"),
        "{}",
        words(&f)
    );
    let f =
        no_pull("r.example.com/big:1", "rpc error: code = Canceled desc = failed to pull: context canceled");
    assert!(f.cause.code == C::ImagePullSlow && f.summary.contains("context canceled"), "{}", words(&f));
}

#[test]
fn an_image_volume_is_named_by_its_own_image() {
    let message = "Back-off pulling image \"r.example.com/models/llama:7b\": ErrImagePull: r.example.com/models/llama:7b: not found";
    let f =
        warns(&look(&stuck("ImagePullBackOff", message, 900)), R::ImagePullBackOff, C::ImageNotFound, &[]);
    assert_eq!(f.image, "r.example.com/models/llama:7b");
    assert!(
        f.summary.contains("models/llama:7b") && !words(&f).contains("shop/cart:1 was not"),
        "{}",
        words(&f)
    );
}

#[test]
fn of_a_message_that_was_cut_the_event_tells_the_rest() {
    let cut = "Back-off pulling image \"r.example.com/shop/cart:1\": ErrImagePull: failed to pull and unpack image \"r.example.com/shop/cart:1\": failed to res";
    let pod = stuck("ImagePullBackOff", cut, 900);
    warns(&look(&pod), R::ImagePullBackOff, C::ImagePullFailed, &[]);
    let whole = event(
        "Failed",
        "Failed to pull image \"r.example.com/shop/cart:1\": r.example.com/shop/cart:1: not found",
        60,
    );
    warns(&look_with(&pod, &[whole]), R::ImagePullBackOff, C::ImageNotFound, &[]);
}

#[test]
fn what_is_wrong_with_an_image_name_is_said() {
    for (image, said) in [
        ("https://r.example.com/a:1", "https://"),
        ("r.example.com/a:${TAG}", "variable"),
        ("r.example.com/a:{{ .Values.tag }}", "variable"),
        ("r.example.com/a: 1", "space"),
        ("r.example.com/a:", "tag is empty"),
    ] {
        let message = format!(
            "Failed to apply default image tag \"{image}\": couldn't parse image name \"{image}\": invalid reference format"
        );
        let pod = app_with(json!({"image": image}), waiting("InvalidImageName", &message), json!({}), 0);
        warns(&look(&pod), R::InvalidImageName, C::InvalidImageReference, &[said]);
    }
}

#[test]
fn a_runtime_that_does_not_answer_is_no_registry() {
    let message =
        "Failed to inspect image \"\": rpc error: code = DeadlineExceeded desc = context deadline exceeded";
    warns(
        &look(&stuck("ImageInspectError", message, 900)),
        R::ImageInspectError,
        C::RuntimeTimeout,
        &["node node-a"],
    );
}

#[test]
fn the_program_is_blamed_only_for_what_is_said_of_it() {
    let runc = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: ";
    for (message, code, said, unsaid) in [
        (
            "error adding pid 123 to cgroups: failed to write 123: open /sys/fs/cgroup/x/cgroup.procs: no such file or directory: unknown",
            C::RuntimeError,
            "cgroup.procs",
            "not in the image",
        ),
        (
            "error during container init: open /proc/sys/net/ipv4/ip_unprivileged_port_start: permission denied: unknown",
            C::NodeRefused,
            "ip_unprivileged_port_start",
            "not executable",
        ),
        (
            "error during container init: unable to join session keyring: unable to create session key: disk quota exceeded: unknown",
            C::ResourceExhausted,
            "kernel.keys",
            "command",
        ),
        (
            "error during container init: mkdir /home/app: read-only file system: unknown",
            C::FileNotFound,
            "/home/app",
            ": unknown",
        ),
        (
            "error during container init: exec: \"/app/server --port 80\": stat /app/server --port 80: no such file or directory: unknown",
            C::ExecutableNotFound,
            "each argument as a separate item",
            ": unknown",
        ),
        (
            "error during container init: exec /app/server: exec format error: unknown",
            C::ExecFormatError,
            "/app/server",
            ": unknown",
        ),
    ] {
        let f = warns(&look(&not_started(&format!("{runc}{message}"))), R::RunContainerError, code, &[said]);
        let told = format!("{} {} {}", f.summary, f.cause.text, f.next_steps.join(" "));
        assert!(!told.contains(unsaid), "{unsaid:?} is in {told}");
    }
    // The image's own file system is no volume of the pod.
    let message = "failed to create containerd task: failed to create shim task: failed to mount rootfs component: invalid argument: unknown";
    warns(&look(&not_started(message)), R::RunContainerError, C::RuntimeError, &["dmesg", "crictl rmi"]);
}

#[test]
fn what_cannot_be_created_is_told_from_a_wrong_command() {
    for (message, code, said) in [
        (
            "the container name \"k8s_app_cart_shop_7b1e_0\" is already in use by 4f5e6d7c8b9a. You have to remove that container to be able to reuse that name: that name is already in use",
            C::ContainerNameReserved,
            "crictl",
        ),
        (
            "failed to create containerd container: error unpacking image: failed to resolve rootfs: content digest sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08: not found",
            C::ImageCorrupt,
            "crictl rmi",
        ),
        (
            "failed to generate container \"4f5e6d7c\" spec: failed to generate spec: failed to apply caps: unknown capability \"CAP_NET_ADMN\"",
            C::InvalidConfiguration,
            "CAP_NET_ADMN",
        ),
        (
            "failed to generate container \"4f5e6d7c\" spec: failed to generate spec: failed to stat \"/var/data\": stat /var/data: no such file or directory",
            C::MountFailed,
            "/var/data",
        ),
        ("RRO mounts are not supported", C::RuntimeError, "logs of the kubelet"),
    ] {
        let f = warns(
            &look(&stuck("CreateContainerError", message, 900)),
            R::CreateContainerError,
            code,
            &[said],
        );
        assert!(!f.next_steps.iter().any(|s| s.starts_with("check command")), "{:?}", f.next_steps);
    }
    let contradiction =
        "container's runAsUser breaks non-root policy (pod: \"cart_shop(7b1e)\", container: app)";
    warns(
        &look(&stuck("CreateContainerConfigError", contradiction, 900)),
        R::CreateContainerConfigError,
        C::RunAsNonRootViolated,
        &["runAsUser breaks non-root policy"],
    );
}

#[test]
fn an_init_container_is_called_one() {
    let pod = pod(
        json!({"spec": {"initContainers": [{"name": "migrate", "image": "r.example.com/migrate:9"}]},
        "status": {"phase": "Pending",
            "initContainerStatuses": [container("migrate", waiting("ErrImagePull", "r.example.com/migrate:9: not found"), json!({}), 0)],
            "containerStatuses": [container("app", waiting("PodInitializing", ""), json!({}), 0)]}}),
    );
    let f = warns(&look(&pod), R::ImagePullBackOff, C::ImageNotFound, &[]);
    assert!(
        f.summary.starts_with("init container migrate: image not found: r.example.com/migrate:9"),
        "{}",
        f.summary
    );
}

#[test]
fn windows_ends_are_named_by_their_status() {
    for (code, cause, said) in [
        (-1_073_741_515, C::LibraryNotFound, "0xC0000135"),
        (-532_462_766, C::Panic, ".NET"),
        (-1_073_740_791, C::Aborted, "0xC0000409"),
        (-1_073_741_571, C::Panic, "stack overflow"),
        (-2_147_024_891, C::ApplicationError, "0x80070005"),
    ] {
        let pod = app(waiting("CrashLoopBackOff", "back-off 5m0s"), end("Error", code, 62, 60), 7);
        warns(&look(&pod), R::CrashLoopBackOff, cause, &[said]);
    }
}

#[test]
fn an_end_that_containerd_made_up_is_not_the_programs() {
    let pod = app(waiting("CrashLoopBackOff", "back-off 5m0s"), end("Unknown", 255, 62, 60), 7);
    let f = warns(&look(&pod), R::CrashLoopBackOff, C::NodeRestarted, &["containerd"]);
    assert!(!words(&f).contains("-1 of the program"), "{}", words(&f));
}

#[test]
fn the_end_of_a_log_in_the_termination_message_is_read_as_a_log() {
    let mut last = end("Error", 1, 62, 60);
    last["terminated"]["message"] = "INFO connecting\npanic: dial tcp 10.0.0.1:5432: connect: connection refused\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:42 +0x1b\nexit status 2\n".into();
    let pod = app(waiting("CrashLoopBackOff", "back-off 5m0s"), last, 7);
    warns(&look(&pod), R::CrashLoopBackOff, C::DependencyUnreachable, &["10.0.0.1:5432"]);
}

#[test]
fn a_startup_probe_is_not_told_to_get_a_startup_probe() {
    let probe = json!({"startupProbe": {"httpGet": {"path": "/up", "port": 8080}, "periodSeconds": 10, "failureThreshold": 6}});
    let pod = app_with(probe, waiting("CrashLoopBackOff", "back-off 5m0s"), end("Error", 137, 152, 60), 7);
    let killing =
        event_times("Killing", "Container app failed startup probe, will be restarted", 1400, 90, 6);
    let f = warns(
        &look_with(&pod, &[killing]),
        R::StartupProbeFailed,
        C::StartupProbe,
        &["raise failureThreshold"],
    );
    assert!(!words(&f).contains("give it a startupProbe"), "{}", words(&f));
}

#[test]
fn a_probe_that_printed_nothing_leaves_no_open_end() {
    let probe = json!({"readinessProbe": {"exec": {"command": ["check"]}, "periodSeconds": 10}});
    let pod = app_with(probe, running(1900), json!({}), 0);
    let said = event("Unhealthy", "Readiness probe failed: ", 10);
    let f =
        warns(&look_with(&pod, &[said]), R::ReadinessProbeFailed, C::ReadinessProbe, &["printed nothing"]);
    assert!(!f.cause.text.trim_end().ends_with(':'), "{}", f.cause.text);
}

#[test]
fn an_init_container_that_waits_says_for_what_by_its_log() {
    let waits = pod(json!({"spec": {"initContainers": [{"name": "wait-db", "image": "busybox"}]},
        "status": {"phase": "Pending",
            "initContainerStatuses": [container("wait-db", running(1500), json!({}), 0)],
            "containerStatuses": [container("app", waiting("PodInitializing", ""), json!({}), 0)]}}));
    let logs = [diagnosis::ContainerLog {
        namespace: "shop".to_owned(),
        pod: "cart-7d9f-x2x".to_owned(),
        container: "wait-db".to_owned(),
        previous: false,
        tail: b"nc: bad address 'db'\nnc: bad address 'db'\n".to_vec(),
        reading: None,
    }];
    let context = Context { sources: Sources::ALL, logs: &logs, ..Context::pod_only() };
    let found = diagnosis::diagnose(&waits, &context, now());
    let f = warns(&found, R::InitStuck, C::InitWaiting, &["bad address 'db'"]);
    assert!(f.summary.ends_with("; log: nc: bad address 'db'"), "{}", f.summary);
    assert!(f.wants_log());
}

#[test]
fn slow_flapping_that_the_count_of_restarts_proves_is_said_at_once() {
    let day = |restarts| {
        let mut pod = app(running(100), end("Error", 1, 800, 110), restarts);
        pod.status.start_time = serde_json::from_value(json!(ago(86_400))).unwrap();
        pod
    };
    let found = look(&day(120));
    let f = warns(
        &found,
        R::FrequentRestarts,
        C::ApplicationError,
        &["120 restarts", "exit code 1", "--previous"],
    );
    // An exit code alone is no proof of a cause.
    assert_eq!(f.confidence, Confidence::Possible);
    let later = now().checked_add(SignedDuration::from_secs(3500)).unwrap();
    assert!(found.recheck.is_some_and(|at| at <= later), "it ends when nothing happens for an hour");
    let then = diagnosis::diagnose(&day(120), &Context::pod_only(), later);
    assert!(then.findings.iter().all(|f| f.reason != R::FrequentRestarts.into()), "{:?}", then.findings);
    quiet(&look(&day(12)));
    quiet(&look(&day(2)));
}

/// Trap 13: a static pod cannot be deleted through the API, its count of restarts may drop, and its events stand under the
/// uid that the kubelet knows.
#[test]
fn a_static_pod_that_was_restarted_once_is_nothing_and_its_events_are_found() {
    let mirror = |state, last, restarts| {
        let mut base = app_with(live(), state, last, restarts);
        base.metadata.annotations =
            vec![Annotation { key: Annotation::CONFIG_MIRROR.to_owned(), value: "abc".to_owned() }];
        base
    };
    quiet(&look(&mirror(running(700), end("Error", 1, 8000, 730), 1)));
    quiet(&look(&mirror(running(20), end("Error", 1, 8000, 30), 1)));

    let mut killing =
        event_times("Killing", "Container app failed liveness probe, will be restarted", 1400, 90, 6);
    killing.involved_object.uid = "abc".to_owned();
    let looping = mirror(waiting("CrashLoopBackOff", "back-off 5m0s"), end("Error", 137, 122, 60), 7);
    let found = survey(Snapshot { pods: vec![looping], events: vec![killing.into()], ..Snapshot::default() });
    assert_eq!(found.findings[0].reason, R::LivenessProbeFailed.into(), "{:?}", found.findings);
}

fn live() -> Value {
    json!({"livenessProbe": {"httpGet": {"path": "/up", "port": 8080}, "periodSeconds": 10, "failureThreshold": 3}})
}

/// Trap 21: what kubelets repeat at every sync of a pod that is well.
#[test]
fn noise_about_a_pod_that_runs_is_nothing() {
    let conditions =
        json!([condition("PodScheduled", "True", "", "", 5000), condition("Ready", "True", "", "", 4900)]);
    let mut well = pod(json!({"status": {"conditions": conditions,
        "containerStatuses": [container("app", running(4900), json!({}), 0)]}}));
    well.status.container_statuses[0].ready = true;
    let noise = [
        event_times(
            "FailedToRetrieveImagePullSecret",
            "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
            4900,
            30,
            90,
        ),
        event_times(
            "DNSConfigForming",
            "Nameserver limits were exceeded, some nameservers have been omitted",
            4900,
            30,
            90,
        ),
        event_times(
            "MissingClusterDNS",
            "pod: \"x\". kubelet does not have ClusterDNS IP configured",
            4900,
            30,
            90,
        ),
    ];
    let found = look_with(&well, &noise);
    assert!(found.findings.is_empty(), "{:?}", found.findings);
    // Beside a pull that fails it is what explains it.
    let denied = "Back-off pulling image \"r.example.com/shop/cart:1\": ErrImagePull: 401 Unauthorized";
    warns(
        &look_with(&stuck("ImagePullBackOff", denied, 900), &noise),
        R::ImagePullBackOff,
        C::RegistryUnauthorized,
        &["regcred"],
    );
}

#[test]
fn a_refusal_says_what_was_short_and_in_which_unit() {
    for (word, message, code, said) in [
        (
            "OutOfcpu",
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 4000, used: 7500, capacity: 8000",
            C::NodeFull,
            "not enough cpu left (requested 4, used 7.5, capacity 8)",
        ),
        (
            "OutOfmemory",
            "Pod was rejected: Node didn't have enough resource: memory, requested: 8589934592, used: 30000000000, capacity: 33000000000",
            C::NodeFull,
            "requested 8192Mi, used 28610Mi",
        ),
        (
            "OutOfpods",
            "Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: 110, capacity: 110",
            C::NodeFull,
            "not enough pods left (requested 1, used 110, capacity 110)",
        ),
        (
            "UnexpectedAdmissionError",
            "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices nvidia.com/gpu, which is unexpected",
            C::DeviceAllocationFailed,
            "device plugin",
        ),
        (
            "SysctlForbidden",
            "Pod was rejected: forbidden sysctl: \"net.core.somaxconn\" not allowlisted",
            C::NodeRefused,
            "net.core.somaxconn",
        ),
        (
            "NodePorts",
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
            C::NodeRefused,
            "rejected the pod: node(s) didn't have free ports",
        ),
    ] {
        let reason = R::of(word).unwrap();
        let f = warns(&look(&failed(word, message, json!({}))), reason, code, &[said]);
        assert!(!f.summary.ends_with(word), "{}", f.summary);
    }
    for (message, said) in [
        (
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 40404Ki. Container app was using 3012Mi, request is 256Mi, has larger consumption of memory. ",
            "container app was using 3012Mi, request is 256Mi",
        ),
        ("Usage of EmptyDir volume \"cache\" exceeds the limit \"1Gi\". ", "sizeLimit of 1Gi"),
        ("Pod was rejected: The node had condition: [DiskPressure]. ", "has DiskPressure"),
    ] {
        let found = look(&failed("Evicted", message, json!({})));
        assert!(found.findings[0].summary.contains(said), "{}", found.findings[0].summary);
    }
}

#[test]
fn a_taint_for_the_state_of_a_node_wants_no_toleration() {
    let at = |message: &str| look(&pending("Unschedulable", message, 900));
    for (message, code, said) in [
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.",
            C::NodeUnready,
            "kubectl get nodes",
        ),
        (
            "0/3 nodes are available: 3 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }.",
            C::NodePressure,
            "short of disk",
        ),
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, 2 Insufficient cpu.",
            C::InsufficientResources,
            "Insufficient cpu",
        ),
        (
            "0/3 nodes are available: 3 node(s) had untolerated taint {dedicated: batch}.",
            C::UntoleratedTaint,
            "toleration",
        ),
        (
            "0/5 nodes are available: 2 node(s) had untolerated taint {nvidia.com/gpu: present}, 3 Insufficient nvidia.com/gpu.",
            C::InsufficientResources,
            "so the tainted nodes likely have it",
        ),
        (
            "0/3 nodes are available: 3 cannot allocate all claims. still not schedulable, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            C::DeviceAllocationFailed,
            "cannot allocate all claims",
        ),
        ("no nodes available to schedule pods", C::SchedulingConstraints, "kubectl get nodes"),
    ] {
        let f = warns(&at(message), R::Unschedulable, code, &[said]);
        assert!(
            code == C::UntoleratedTaint
                || f.confidence == Confidence::Confirmed && !f.summary.contains("still not"),
            "{}",
            f.summary
        );
    }
    // Commands for claims name the namespace that they are in.
    let f = warns(
        &at("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        R::Unschedulable,
        C::VolumeUnavailable,
        &[],
    );
    assert!(f.next_steps.contains(&"kubectl -n shop get pvc".to_owned()), "{:?}", f.next_steps);
    let full = pending("Unschedulable", "0/5 nodes are available: 5 Insufficient cpu.", 900);
    let no = event("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached", 30);
    warns(
        &look_with(&full, &[no]),
        R::Unschedulable,
        C::InsufficientResources,
        &["adds no node: 1 max node group size reached"],
    );
}

#[test]
fn a_volume_is_told_with_what_keeps_it() {
    let claim = json!({"spec": {"volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}}, {"name": "conf", "configMap": {"name": "c"}}]}});
    for (reason, message, code, said) in [
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"kube-api-access-x\" : [failed to fetch token: serviceaccounts \"cart\" not found, object \"shop\"/\"kube-root-ca.crt\" not registered]",
            C::MissingServiceAccount,
            "ServiceAccount cart no longer exists",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-3f2a\" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name ebs.csi.aws.com not found in the list of registered CSI drivers",
            C::VolumeMountFailed,
            "CSI driver is not registered on the node",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-3f2a\" : CSINode worker-3 does not contain driver ebs.csi.aws.com",
            C::VolumeAttachFailed,
            "CSI driver is not registered on the node",
        ),
        (
            "FailedAttachVolume",
            "Multi-Attach error for volume \"pvc-3f2a\" Volume is already used by pod(s) cart-old1",
            C::VolumeAttachFailed,
            "cart-old1",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-3f2a\" : rpc error: code = NotFound desc = Volume \"vol-0abc\" not found",
            C::VolumeAttachFailed,
            "volume data (claim data-0): Volume \"vol-0abc\" not found",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"data\" : mount failed: exit status 32\nMounting arguments: -t nfs nfs:/x /y\nOutput: mount.nfs: Connection timed out",
            C::VolumeMountFailed,
            "NFS server does not answer",
        ),
        (
            "VolumePermissionChangeInProgress",
            "Setting volume ownership for 7b1e/volumes/kubernetes.io~csi/pvc-3f2a/mount is taking longer than expected, consider using OnRootMismatch",
            C::VolumeMountFailed,
            "waits for claim data-0: Setting volume ownership",
        ),
    ] {
        let mut pod = unborn("False", 900);
        pod.spec.volumes = super::reasons::pod(claim.clone()).spec.volumes;
        let f = warns(&look_with(&pod, &[event(reason, message, 40)]), R::VolumeNotReady, code, &[said]);
        assert!(
            f.next_steps.iter().all(|s| !s.contains("get pvc") || s.contains("-n shop")),
            "{:?}",
            f.next_steps
        );
    }
    // The claim is not to blame for another volume of the pod.
    let mut pod = unborn("False", 900);
    pod.spec.volumes = super::reasons::pod(claim).spec.volumes;
    let late = "MountVolume.SetUp failed for volume \"conf\" : failed to sync configmap cache: timed out waiting for the condition";
    let f = warns(
        &look_with(&pod, &[event("FailedMount", late, 40)]),
        R::VolumeNotReady,
        C::VolumeMountFailed,
        &["has not read it from the API server yet"],
    );
    assert!(f.scope.is_none() && !words(&f).contains("data-0"), "{}", words(&f));
}

/// Trap 19: the kubelet repeats its last word on a container while volumes keep it from trying again.
#[test]
fn a_reason_that_an_earlier_sandbox_left_over_does_not_lead() {
    let mut pod = stuck("CreateContainerConfigError", "configmap \"cart-config\" not found", 5000);
    for c in &mut pod.status.conditions {
        if c.kind.as_str() == "PodReadyToStartContainers" {
            *c = serde_json::from_value(condition("PodReadyToStartContainers", "False", "", "", 1000))
                .unwrap();
        }
    }
    let old = event_times("Failed", "Error: configmap \"cart-config\" not found", 4900, 1100, 40);
    let mount = "MountVolume.MountDevice failed for volume \"pvc-3f2a\" : rpc error: code = DeadlineExceeded desc = context deadline exceeded";
    let held = event_times("FailedMount", mount, 980, 30, 9);
    let f = warns(
        &look_with(&pod, &[old.clone(), held.clone()]),
        R::VolumeNotReady,
        C::VolumeMountFailed,
        &["pvc-3f2a", "cart-config"],
    );
    assert!(!f.summary.contains("cart-config"), "{}", f.summary);
    // Nothing newer is known: the reason stands.
    warns(
        &look_with(&pod, std::slice::from_ref(&old)),
        R::CreateContainerConfigError,
        C::MissingConfigMap,
        &[],
    );
    // With a sandbox the container's own word leads, whatever volumes said before.
    let tried = stuck("CreateContainerConfigError", "configmap \"cart-config\" not found", 5000);
    warns(&look_with(&tried, &[old, held]), R::CreateContainerConfigError, C::MissingConfigMap, &[]);
}

#[test]
fn refused_pods_are_told_where_to_look() {
    for (message, code, said) in [
        (
            "pods \"cart-x\" is forbidden: minimum cpu usage per Container is 100m, but request is 50m",
            C::AdmissionDenied,
            "describe limitrange",
        ),
        (
            "pods \"cart-x\" is forbidden: unable to validate against any security context constraint: [provider \"anyuid\": Forbidden: not usable by user or serviceaccount]",
            C::AdmissionDenied,
            "kubectl get scc",
        ),
        (
            "pods \"cart-x\" is forbidden: ValidatingAdmissionPolicy 'no-latest' with binding 'b' denied request: no latest",
            C::AdmissionDenied,
            "validatingadmissionpolicies",
        ),
        (
            "Pod \"cart-x\" is invalid: spec.containers[0].resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi",
            C::InvalidConfiguration,
            "not valid: spec.containers[0]",
        ),
        (
            "pods \"cart-x\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found",
            C::CreateRefused,
            "RuntimeClass gvisor does not exist",
        ),
        ("Internal error occurred: etcdserver: request timed out", C::CreateRefused, "API server error: "),
    ] {
        let f = refused(message);
        assert!(f.cause.code == code && words(&f).contains(said), "{said:?}: {}", words(&f));
    }
}

#[test]
fn a_kubelet_that_says_itself_that_it_is_not_ready_is_not_silent() {
    let ready = |status: &str, message: &str| json!([{"type": "Ready", "status": status, "reason": "x", "message": message, "lastTransitionTime": ago(900)}]);
    for (status, frozen) in [("False", false), ("Unknown", true)] {
        let sick = node(ready(status, "container runtime network not ready"), json!({}));
        let mut well = app(running(4900), json!({}), 0);
        well.status.conditions.clear();
        let found = survey(Snapshot { nodes: vec![sick], pods: vec![well], ..Snapshot::default() });
        let f = found.findings.iter().find(|f| f.reason == R::NodeNotReady.into()).unwrap();
        assert_eq!(f.next_steps.iter().any(|s| s.contains("out of date")), frozen, "{:?}", f.next_steps);
    }
}

#[test]
fn what_a_pod_says_of_its_containers_is_believed_only_where_its_node_is_known() {
    let mut stuck = app(running(80_000), json!({}), 0);
    stuck.metadata.deletion_timestamp = serde_json::from_value(json!(ago(1200))).unwrap();
    let alone =
        warns(&look(&stuck), R::StuckTerminating, C::ContainersNotStopped, &["node node-a was not read"]);
    assert_eq!(alone.confidence, Confidence::Probable);
    let well = node(
        json!([{"type": "Ready", "status": "True", "reason": "", "message": "", "lastTransitionTime": ago(90_000)}]),
        json!({}),
    );
    let context = Context { sources: Sources::ALL, node: Some(&well), ..Context::pod_only() };
    let found = diagnosis::diagnose(&stuck, &context, now());
    let sure = warns(&found, R::StuckTerminating, C::ContainersNotStopped, &["container app still runs"]);
    assert_eq!(sure.confidence, Confidence::Confirmed);
}

#[test]
fn that_no_nodes_were_seen_does_not_show_that_a_node_is_gone() {
    let mut stuck = app(running(80_000), json!({}), 0);
    stuck.metadata.deletion_timestamp = serde_json::from_value(json!(ago(1200))).unwrap();
    let other = node(
        json!([{"type": "Ready", "status": "True", "lastTransitionTime": ago(90_000)}]),
        json!({"metadata": {"name": "node-b"}}),
    );
    for (nodes, is_gone) in [(vec![], false), (vec![other], true)] {
        let found = survey(Snapshot { nodes, pods: vec![stuck.clone()], ..Snapshot::default() });
        let f = found.findings.iter().find(|f| f.reason == R::StuckTerminating.into()).unwrap();
        assert_eq!(f.summary.contains("its node node-a no longer exists"), is_gone, "{}", f.summary);
    }
}

#[test]
fn logs_that_were_not_read_are_said_once_and_an_empty_log_is_said() {
    let mut crashed = app(json!({"waiting": {"reason": "CrashLoopBackOff"}}), end("Error", 3, 60, 5), 3);
    crashed.metadata.owner_references =
        serde_json::from_value(json!([{"kind": "Job", "name": "nightly", "uid": "j", "controller": true}]))
            .unwrap();
    let job = serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": "nightly", "uid": "j"}, "spec": {"backoffLimit": 2},
        "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit", "lastTransitionTime": ago(5)}]}})).unwrap();
    let sources = Sources { logs: false, ..Sources::ALL };
    let found = diagnosis::survey(
        &Snapshot { jobs: vec![job], pods: vec![crashed.clone()], sources, ..Snapshot::default() },
        now(),
    );
    let said = |f: &diagnosis::Finding| -> Vec<String> {
        f.evidence.iter().map(|e| e.text.clone()).chain([f.cause.text.clone()]).collect()
    };
    let (of_pods, of_jobs): (Vec<_>, Vec<_>) = found.findings.iter().partition(|f| !f.pod.is_empty());
    assert!(!of_pods.is_empty() && !of_jobs.is_empty());
    // The Job's evidence quotes what is said of its pods.
    let texts = of_pods.iter().map(|f| said(f).join("\n")).chain(of_jobs.iter().flat_map(|f| said(f)));
    for text in texts.filter(|text| text.contains("cause unknown")) {
        assert_eq!(text.matches("logs were not read").count(), 1, "{text}");
    }
    assert_eq!(of_pods[0].cause.text, "cause unknown: exit code 3; logs were not read");
    let log = |previous, tail: &str| ContainerLog {
        namespace: "shop".to_owned(),
        pod: crashed.metadata.name.clone(),
        container: "app".to_owned(),
        previous,
        tail: tail.as_bytes().to_vec(),
        reading: None,
    };
    for (logs, text) in [
        (vec![log(false, ""), log(true, "\n")], "cause unknown: exit code 3; its log is empty"),
        (vec![log(false, ""), log(true, "fatal: no route\n")], "no route (exit code 3)"),
    ] {
        let context = Context { sources: Sources::ALL, logs: &logs, ..Context::pod_only() };
        let found = diagnosis::diagnose(&crashed, &context, now());
        let f = &found.findings[0];
        assert_eq!(f.cause.text, text);
        assert!(f.evidence.iter().all(|e| e.text != "the log of the run that terminated is empty"));
        let checks_command = f.next_steps[0].starts_with("it wrote nothing to its log: check its command");
        assert_eq!(checks_command, text.contains("empty"), "{:?}", f.next_steps);
    }
}

#[test]
fn a_refusal_of_a_registry_for_a_policy_or_an_expired_token_is_not_taken_for_a_missing_image_or_login() {
    let f = no_pull(
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/cart:1",
        "Error response from daemon: pull access denied for cart, repository does not exist or may require 'docker login': denied: Your authorization token has expired. Reauthenticate and try again.",
    );
    assert_eq!(f.cause.code, C::RegistryUnauthorized);
    assert!(f.summary.contains("token has expired") && !f.summary.contains("not found"), "{}", f.summary);
    assert!(!f.next_steps.iter().any(|s| s.contains("typo")), "{:?}", f.next_steps);
    let f = no_pull(
        "r.example.com/cart:1",
        "unexpected status from GET request to https://r.example.com/v2/cart/manifests/1: 403 Forbidden: DENIED: Artifact download request rejected: blocked by Xray policy block-high",
    );
    assert!(f.next_steps[0].contains("policy"), "{:?}", f.next_steps);
    assert!(!f.next_steps.iter().any(|s| s.contains("credentials")), "{:?}", f.next_steps);
}

#[test]
fn no_step_for_a_pod_without_a_node_asks_for_what_cannot_help() {
    let first = |message: &str| {
        look(&pending("Unschedulable", message, 1200)).findings.remove(0).next_steps.remove(0)
    };
    for (why, step, not) in [
        (
            "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }",
            "add worker nodes",
            "toleration",
        ),
        ("1 node(s) had untolerated taint {dedicated: gpu}", "toleration", "worker"),
        (
            "1 node(s) had untolerated taint {node.cloudprovider.kubernetes.io/uninitialized: true}",
            "cloud controller manager",
            "not ready",
        ),
        ("1 node(s) didn't match pod affinity rules", "podAffinity", "or add nodes"),
        (
            "1 node(s) didn't match pod topology spread constraints (missing required label)",
            "topologyKey",
            "or add nodes",
        ),
        ("1 node(s) didn't match pod anti-affinity rules", "or add nodes", "podAffinity"),
    ] {
        let said = first(&format!("0/1 nodes are available: {why}."));
        assert!(said.contains(step) && !said.contains(not), "{why}: {said}");
    }
}

#[test]
fn a_runtime_that_says_nothing_is_not_quoted() {
    let found = look(&not_started(""));
    let f = &found.findings[0];
    assert!(f.summary.ends_with("the runtime gave no reason"), "{}", f.summary);
}

#[test]
fn a_limit_that_is_not_there_is_not_to_be_raised() {
    let of = |spec: Value| {
        let state = waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container=app");
        look(&app_with(spec, state, end("OOMKilled", 137, 160, 40), 6)).findings.remove(0).next_steps
    };
    let without = of(json!({"image": "x"}));
    assert!(!without.iter().any(|s| s.contains("raise the memory limit")), "{without:?}");
    assert!(without.iter().any(|s| s.contains("memory request")), "{without:?}");
    let with = of(json!({"image": "x", "resources": {"limits": {"memory": "256Mi"}}}));
    assert!(with.iter().any(|s| s.contains("raise the memory limit")), "{with:?}");
}
