use super::Message;

/// Messages as they are written, with the words that a first line takes from each.
const SAMPLES: &[(&str, &str)] = &[
    // Registries, through containerd, CRI-O and Docker.
    (
        r#"Failed to pull image "harbor.example.com:5000/a/b:1": rpc error: code = Unknown desc = failed to pull and unpack image "harbor.example.com:5000/a/b:1": failed to resolve reference "harbor.example.com:5000/a/b:1": failed to do request: Head "https://harbor.example.com:5000/v2/a/b/manifests/1": x509: certificate signed by unknown authority"#,
        "x509: certificate signed by unknown authority",
    ),
    (
        r#"rpc error: code = Unknown desc = failed to pull and unpack image "docker.io/a/b:1": failed to resolve reference "docker.io/a/b:1": failed to do request: Head "https://registry-1.docker.io/v2/a/b/manifests/1": proxyconnect tcp: dial tcp 127.0.0.1:1082: connect: connection refused"#,
        "proxyconnect tcp: dial tcp 127.0.0.1:1082: connect: connection refused",
    ),
    (
        r#"[rpc error: code = Unknown desc = failed to pull and unpack image "r.example.com/a/b:1": failed to resolve reference "r.example.com/a/b:1": failed to do request: Head "https://r.example.com/v2/a/b/manifests/1": dial tcp: lookup r.example.com on [::1]:53: read udp [::1]:47364->[::1]:53: read: connection refused, rpc error: code = Unknown desc = failed to pull and unpack image "r.example.com/a/b:1": failed to resolve reference "r.example.com/a/b:1": failed to do request: Head "https://r.example.com/v2/a/b/manifests/1": dial tcp: lookup r.example.com on [::1]:53: read udp [::1]:53312->[::1]:53: read: connection refused]"#,
        "lookup r.example.com on [::1]:53: connection refused",
    ),
    (
        r#"[rpc error: code = NotFound desc = failed to pull and unpack image "r.example.com/a/b:1": no match for platform in manifest: not found, rpc error: code = Unknown desc = failed to pull and unpack image "r.example.com/a/b:1": failed to resolve reference "r.example.com/a/b:1": failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized]"#,
        "no match for platform in manifest: not found",
    ),
    (
        "pull image err: copying system image from manifest list: choosing image instance: no image found in image index for architecture \"arm64\", variant \"v8\", OS \"linux\"; artifact err: get manifest: build image source: reading manifest 1 in r.example.com/a/b: unauthorized: access denied",
        "pull image err: copying system image from manifest list: choosing image instance: no image found in image index for architecture \"arm64\", variant \"v8\", OS \"linux\"",
    ),
    (
        "Error response from daemon: manifest for a/b:1 not found: manifest unknown: manifest unknown",
        "manifest for a/b:1 not found: manifest unknown",
    ),
    (
        r#"failed to pull and unpack image "r.example.com/a:1": failed to resolve reference "r.example.com/a:1": unexpected status from HEAD request to https://r.example.com/v2/a/manifests/1: 403 Forbidden {"errors":[{"code":"DENIED","message":"the repository is locked"}]}"#,
        r#"unexpected status from HEAD request to https://r.example.com/v2/a/manifests/1: 403 Forbidden {"errors":[{"code":"DENIED","message":"the repository is locked"}]}"#,
    ),
    // Runtimes.
    (
        "failed to create containerd task: failed to create shim task: failed to mount rootfs component &{overlay overlay [index=off workdir=/var/lib/x/work upperdir=/var/lib/x/upper lowerdir=/var/lib/y/fs:/var/lib/z/fs]}: no such file or directory: unknown",
        "failed to mount rootfs component &{overlay overlay [index=off workdir=... upperdir=... lowerdir=...]}: no such file or directory",
    ),
    (
        r#"failed to create containerd task: failed to create shim task: failed to mount rootfs component: mount source: "overlay", target: "/run/rootfs", fstype: overlay, flags: 0, data: "workdir=/a/work,upperdir=/a/fs,lowerdir=/b/fs:/c/fs,index=off", err: invalid argument"#,
        r#"failed to mount rootfs component: mount source: "overlay", target: "/run/rootfs", fstype: overlay, flags: 0, data: "workdir=...,upperdir=...,lowerdir=...,index=off", error: invalid argument"#,
    ),
    (
        "Error: container create failed: time=\"2026-11-30T09:31:44Z\" level=error msg=\"runc create failed: unable to start container process: error during container init: exec: \\\"./agent\\\": stat ./agent: no such file or directory\"\n",
        r#"exec: "./agent": stat ./agent: no such file or directory"#,
    ),
    (
        r#"failed to create containerd task: OCI runtime create failed: container_linux.go:370: starting container process caused: process_linux.go:459: container init caused: rootfs_linux.go:59: mounting "/var/lib/kubelet/pods/814a2116-90ba-42a9-a7d6-53ff904b1f67/volume-subpaths/config/search/2" to rootfs at "/run/containerd/io.containerd.runtime.v1.linux/k8s.io/search/rootfs/etc/search.yml" caused: not a directory: unknown"#,
        r#"mounting "/var/lib/kubelet/pods/*/volume-subpaths/config/search/2" to rootfs at "/etc/search.yml": not a directory"#,
    ),
    (
        r#"OCI runtime create failed: container_linux.go:345: starting container process caused "exec: \"bash\": executable file not found in $PATH": unknown"#,
        r#"exec: "bash": executable file not found in $PATH"#,
    ),
    (
        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create containerd task: failed to create shim task: Others(\"failed to handler message create container\n\nCaused by:\n    0: create\n    1: agent create container\n    2: rpc status: code: INTERNAL message: \\\"\\n\\nCaused by:\\n    0: Establishing a D-Bus connection\\n    1: I/O error: No such file or directory (os error 2)\\n    2: No such file or directory (os error 2)\\\"\"): unknown",
        "create: agent create container: Establishing a D-Bus connection: I/O error: No such file or directory (os error 2)",
    ),
    (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running prestart hook #0: exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: initialization error: nvml error: driver/library version mismatch: unknown",
        "error running prestart hook #0: exit status 1, stdout: Auto-detected mode as 'legacy'; nvidia-container-cli: initialization error: nvml error: driver/library version mismatch",
    ),
    (
        r#"Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox container for pod "a": Error response from daemon: hcsshim::CreateComputeSystem e20e69aa106e39ef9447f449e7f6d578dbed969cd31da91d1ea8a106906478fe: The container operating system does not match the host operating system.
(extra info: {"SystemType":"Container","Name":"e20e69aa106e"})"#,
        "hcsshim::CreateComputeSystem *: The container operating system does not match the host operating system.",
    ),
    (
        r#"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error mounting "/var/lib/kubelet/pods/814a2116-90ba-42a9-a7d6-53ff904b1f67/volume-subpaths/config/search/2" to rootfs at "/etc/search.yml": mount /var/lib/kubelet/pods/814a2116-90ba-42a9-a7d6-53ff904b1f67/volume-subpaths/config/search/2:/etc/search.yml (via /proc/self/fd/6), flags: 0x5001: not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type: unknown"#,
        r#"error mounting "/var/lib/kubelet/pods/*/volume-subpaths/config/search/2" to rootfs at "/etc/search.yml": not a directory"#,
    ),
    (
        r#"Error response from daemon: OCI runtime create failed: container_linux.go:380: starting container process caused: process_linux.go:545: container init caused: rootfs_linux.go:76: mounting "/srv/nginx.conf" to rootfs at "/etc/nginx/nginx.conf" caused: mount through procfd: not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"#,
        r#"mounting "/srv/nginx.conf" to rootfs at "/etc/nginx/nginx.conf": not a directory"#,
    ),
    // Of several records the last error counts, of several attempts the last one.
    (
        "container create failed: time=\"2026-11-30T09:31:43Z\" level=warning msg=\"unable to get oom kill count\" error=\"openat2 /sys/fs/cgroup/x/memory.events: no such file or directory\"\ntime=\"2026-11-30T09:31:44Z\" level=error msg=\"runc create failed: unable to start container process: exec: \\\"/app/run.sh\\\": permission denied\"\n",
        r#"exec: "/app/run.sh": permission denied"#,
    ),
    (
        "container create failed: time=\"2026-11-30T09:31:43Z\" level=warning msg=\"cannot toggle freezer: cgroups not configured for container\"\ntime=\"2026-11-30T09:31:43Z\" level=warning msg=\"lstat : no such file or directory\"\ntime=\"2026-11-30T09:31:44Z\" level=error msg=\"container_linux.go:380: starting container process caused: exec: \\\"serve\\\": executable file not found in $PATH\"\n",
        r#"exec: "serve": executable file not found in $PATH"#,
    ),
    (
        "rpc error: code = Unknown desc = (Mirrors also failed: [mirror.example.com:5000/team/app:1: pinging container registry mirror.example.com:5000: Get \"https://mirror.example.com:5000/v2/\": dial tcp: lookup mirror.example.com on 10.0.0.2:53: no such host]): quay.io/team/app:1: reading manifest 1 in quay.io/team/app: unauthorized: access to the requested resource is not authorized",
        "quay.io/team/app:1: reading manifest 1 in quay.io/team/app: unauthorized: access to the requested resource is not authorized",
    ),
    (
        "MountVolume.MountDevice failed for volume \"pvc-1\" : rpc error: code = Internal desc = 2 errors occurred:\n\t* failed to unmount stale target: exit status 32: umount: /var/lib/kubelet/plugins/x: not mounted.\n\t* mount failed: exit status 32: mount: /dev/sdb: can't read superblock on /dev/sdb.\n\n",
        "mount failed: exit status 32: mount: /dev/sdb: can't read superblock on /dev/sdb.",
    ),
    (
        "MountVolume.SetUp failed for volume \"data\" : mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs 10.0.0.5:/exports/data /var/lib/kubelet/pods/1/volumes/kubernetes.io~nfs/data\nOutput: mount.nfs: trying text-based options 'vers=4.2,addr=10.0.0.5'\nmount.nfs: mount(2): Protocol not supported\nmount.nfs: trying text-based options 'vers=4,addr=10.0.0.5'\nmount.nfs: mount(2): No such file or directory\nmount.nfs: mounting 10.0.0.5:/exports/data failed, reason given by server: No such file or directory\n",
        "mount -t nfs 10.0.0.5:/exports/data: mount.nfs: mount(2): No such file or directory; mount.nfs: mounting 10.0.0.5:/exports/data failed, reason given by server: No such file or directory",
    ),
    // Networks.
    (
        r#"Failed to create pod sandbox: rpc error: code = Unknown desc = [failed to set up sandbox container "305370681065d9971a93f2276ab367f20244091295ee5b0bec615fc2f57658db" network for pod "a": networkPlugin cni failed to set up pod "a_b" network: failed to parse Kubernetes args: pod does not have label vpc.amazonaws.com/PrivateIPv4Address, failed to clean up sandbox container "305370681065d9971a93f2276ab367f20244091295ee5b0bec615fc2f57658db" network for pod "a": networkPlugin cni failed to teardown pod "a_b" network: failed to parse Kubernetes args: pod does not have label vpc.amazonaws.com/PrivateIPv4Address]"#,
        r#"networkPlugin cni failed to set up pod "a_b" network: failed to parse Kubernetes args: pod does not have label vpc.amazonaws.com/PrivateIPv4Address"#,
    ),
    (
        r#"(combined from similar events): Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "0e48741a017856938c5c7937041f6bae67ced69e6dd85da297c75a829e4dbf21": plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized"#,
        r#"plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized"#,
    ),
    // Storage.
    (
        "MountVolume.MountDevice failed for volume \"pvc-dcc7125c-f938-4c6c-ac12-347b64f721c7\" : rpc error: code = Internal desc = could not format \"/dev/nvme1n1\" and mount it at \"/var/lib/kubelet/plugins/x/globalmount\": mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t xfs -o nouuid,defaults /dev/nvme1n1 /var/lib/kubelet/plugins/x/globalmount\nOutput: mount: /var/lib/kubelet/plugins/x/globalmount: wrong fs type, bad option, bad superblock on /dev/nvme1n1, missing codepage or helper program, or other error.\n       dmesg(1) may have more information after failed mount system call.\n",
        "mount -t xfs -o nouuid,defaults /dev/nvme1n1: wrong fs type, bad option, bad superblock on /dev/nvme1n1, missing codepage or helper program, or other error.",
    ),
    (
        "AttachVolume.Attach failed for volume \"pvc-d0b4922b-4ac7-5417-9988-a8a2e2af52ce\" : rpc error: code = FailedPrecondition desc = Retriable: false, RetryAfter: 0s, HTTPStatusCode: 409, RawError: {\n  \"error\": {\n    \"code\": \"OperationNotAllowed\",\n    \"message\": \"The maximum number of data disks allowed to be attached to a VM of this size is 8.\",\n    \"target\": \"dataDisks\"\n  }\n}",
        "OperationNotAllowed: The maximum number of data disks allowed to be attached to a VM of this size is 8.",
    ),
    (
        "MountVolume.SetUp failed for volume \"s\" : rpc error: code = Unknown desc = failed to mount secrets store objects for pod a/b, err: rpc error: code = Unknown desc = error making mount request: failed to login: Error making API request.\n\nURL: POST http://vault:8200/v1/auth/kubernetes/login\nCode: 503. Errors:\n\n* Vault is sealed",
        "failed to login; URL: POST http://vault:8200/v1/auth/kubernetes/login; Code: 503. Errors: Vault is sealed",
    ),
    (
        r#"AttachVolume.Attach failed for volume "pvc-1" : rpc error: code = Internal desc = Could not attach volume "vol-0123456789abcdef0" to node "i-0123456789abcdef0": operation error EC2: AttachVolume, https response error StatusCode: 403, RequestID: 8c122edf-8c4f-4582-a23e-847fed265beb, api error UnauthorizedOperation: You are not authorized to perform this operation."#,
        r#"Could not attach volume "vol-0123456789abcdef0" to node "i-0123456789abcdef0": operation error EC2: AttachVolume: UnauthorizedOperation: You are not authorized to perform this operation."#,
    ),
    (
        "MountVolume.MountDevice failed for volume \"pvc-1\" : rpc error: code = Internal desc = rbd: map failed with error an error (exit status 110) occurred while running rbd args: [--id csi-rbd-node -m 10.0.0.1:6789 --keyfile=***stripped*** map replicapool/csi-vol-1], rbd error output: rbd: sysfs write failed\nrbd: map failed: (110) Connection timed out\n",
        "rbd: map failed with error an error (exit status 110) occurred while running rbd args: rbd: sysfs write failed; rbd: map failed: (110) Connection timed out",
    ),
    // The kubelet, admission.
    (
        r#"error killing pod: [failed to "KillContainer" for "app" with KillContainerError: "rpc error: code = DeadlineExceeded desc = an error occurs during waiting for container \"7c753fe728d25aa1a9130674d250b15930c662bbd01256149c51e16ce2b5d35c\" to be killed: wait container \"7c753fe728d25aa1a9130674d250b15930c662bbd01256149c51e16ce2b5d35c\": context deadline exceeded", failed to "KillPodSandbox" for "938502c7-94e2-510c-af8f-84c73531edcb" with KillPodSandboxError: "rpc error: code = DeadlineExceeded desc = failed to stop container"]"#,
        r#"error killing pod: an error occurs during waiting for container "*" to be killed: wait container "*": context deadline exceeded"#,
    ),
    (
        r#"Internal error occurred: add operation does not apply: doc is missing path: "/metadata/annotations/original": missing value (x12 over 5m)"#,
        r#"add operation does not apply: doc is missing path: "/metadata/annotations/original": missing value"#,
    ),
    (
        "Exec lifecycle hook ([sh -c influx v1 dbrp create --default]) for Container \"db\" in Pod \"db-0_a(35b0a90a-42a7-496e-a2c1-fa5c6f8f43a7)\" failed - error: command 'sh -c influx v1 dbrp create --default' exited with 1: , message: \"Error: invalid argument \\\"--default\\\" for \\\"--bucket-id\\\" flag: id must have a length of 16 bytes\\nSee 'influx v1 dbrp create -h' for help\\n\"",
        r#"command 'sh -c influx v1 dbrp create --default' exited with 1: invalid argument "--default" for "--bucket-id" flag: id must have a length of 16 bytes"#,
    ),
];

#[test]
fn wrappers_are_taken_off_and_the_decisive_words_stay_whole() {
    let mut wrong = Vec::new();
    for (message, expected) in SAMPLES {
        let cause = Message::read(message).cause();
        if cause != *expected {
            wrong.push(format!("\n   {message}\nis {cause}\nnot {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_message_names_is_found() {
    let dns = Message::read(
        r#"failed to do request: Head "https://r.example.com/v2/": dial tcp: lookup r.example.com on 10.0.0.10:53: no such host"#,
    );
    assert_eq!(dns.lookup(), Some(("r.example.com".to_owned(), Some("10.0.0.10:53".to_owned()))));
    assert_eq!(dns.host().as_deref(), Some("r.example.com"));
    let call =
        Message::read(r#"Get "https://10.96.0.1:443/api": read tcp 10.0.0.2:5->10.0.0.1:443: i/o timeout"#);
    assert_eq!(call.peer().as_deref(), Some("10.0.0.1:443"));
    assert_eq!(call.host().as_deref(), Some("10.96.0.1:443"));
    let file = Message::read("open /etc/app/config.yaml: permission denied");
    assert_eq!(file.object().as_deref(), Some("/etc/app/config.yaml"));
    assert_eq!(file.operation(), "open /etc/app/config.yaml");
    assert_eq!(file.innermost(), "permission denied");
    let webhook = Message::read(
        r#"Internal error occurred: failed calling webhook "a.b.c": Post "https://a.b.svc:443/m": Address is not allowed"#,
    );
    assert_eq!(webhook.named("webhook \"", "\"").as_deref(), Some("a.b.c"));
}

#[test]
fn odd_texts_are_read_without_harm() {
    for odd in [
        "",
        "\"",
        "[",
        "[[[[",
        "a: ",
        ": :",
        "{\"",
        "msg=\"",
        "\\\\\\\"",
        "(x1)",
        "[a: b, ",
        "Caused by:",
        "Message=\"",
        "Mounting command: Output: ",
        "é: ö \"ü: ",
        "\u{0}",
    ] {
        let message = Message::read(odd);
        let _ = (
            message.cause(),
            message.detail(),
            message.others(),
            message.object(),
            message.host(),
            message.peer(),
        );
    }
    let deep = "x: \"".repeat(3000);
    assert!(Message::read(&deep).cause().len() < 2000);
    let lists = "[a: b, failed to c: ".repeat(500);
    assert!(Message::read(&lists).cause().len() < 2000);
    let escaped = "failed: \"a: \\\"b: \\\\\\\"c: no space left on device\\\\\\\"\\\"\"";
    assert!(
        Message::read(escaped).cause().ends_with("c: no space left on device"),
        "{}",
        Message::read(escaped).cause()
    );
}
