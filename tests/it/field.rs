//! What the first line says of failures as people met them: messages of kubelets, runtimes, CNIs, storage drivers,
//! registries, schedulers and webhooks, each of which the analyzer once took for another thing, or only repeated.
//!
//! The first line is what the person on call reads. Each table gives the message as it is written, the cause that must be
//! found, and words that the first line must hold.

use kubehealer::diagnosis::{self, CauseCode as C, Context, Reason as R, Snapshot, Sources};
use kubehealer::objects::{self, CronJob, Event, Node};
use serde_json::{Value, json};

use super::reasons::{
    ago, app, app_with, decode, end, event, event_times, failed, look, look_with, now, packed, pending,
    refused, running, stuck, survey, unborn, waiting, warns, words,
};

fn with_claim(mut pod: kubehealer::objects::Pod) -> kubehealer::objects::Pod {
    let claim =
        json!({"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}}]}});
    pod.spec.volumes = super::reasons::pod(claim).spec.volumes;
    pod
}

#[test]
fn a_volume_that_is_not_there_says_why_in_the_first_line() {
    for (reason, message, code, said) in [
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = rbd image replicapool/csi-vol-e4d2d56e-70d5-11eb-9a1b-9ef3bde4434c is still being used",
            C::VolumeMountFailed,
            "csi-vol-e4d2d56e-70d5-11eb-9a1b-9ef3bde4434c is still being used",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = rbd: map failed with error an error (exit status 5) occurred while running rbd args: [--id csi-rbd-node -m 172.20.58.60:6789 --keyfile=***stripped*** map replicapool/csi-vol-d391ab80 --device-type krbd --options noudev], rbd error output: rbd: sysfs write failed\nrbd: map failed: (5) Input/output error",
            C::VolumeMountFailed,
            "(5) Input/output error",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = RBD image not found",
            C::VolumeMountFailed,
            "RBD image not found",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : kubernetes.io/csi: mounter.SetUpAt failed to check for STAGE_UNSTAGE_VOLUME capability: rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing dial unix /var/lib/kubelet/plugins/csi-hostpath/csi.sock: connect: connection refused\"",
            C::VolumeMountFailed,
            "CSI driver's pod on the node does not answer",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"secrets-store-inline\" : rpc error: code = Unknown desc = failed to mount secrets store objects for pod shop/cart, err: error connecting to provider \"aws\": provider not found: provider \"aws\"",
            C::VolumeMountFailed,
            "provider \"aws\" (the provider's pod does not run on the node)",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"secrets-store-inline\" : rpc error: code = Unknown desc = failed to get secretproviderclass shop/cart-secrets, error: SecretProviderClass.secrets-store.csi.x-k8s.io \"cart-secrets\" not found",
            C::VolumeMountFailed,
            "\"cart-secrets\" not found",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"secrets-store-inline\" : rpc error: code = Unknown desc = failed to mount secrets store objects for pod shop/cart, err: rpc error: code = Unknown desc = An IAM role must be associated with service account default (namespace: shop)",
            C::VolumeMountFailed,
            "IAM role must be associated",
        ),
        (
            "FailedMount",
            "MountVolume.NewMounter initialization failed for volume \"secrets-store-inline\" : volume mode \"Ephemeral\" not supported by driver secrets-store.csi.k8s.io (no CSIDriver object)",
            C::VolumeMountFailed,
            "secrets-store.csi.k8s.io (no CSIDriver object)",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"kv\" : rpc error: code = Unknown desc = failed to mount secrets store objects for pod shop/cart, err: rpc error: code = Unknown desc = failed to mount objects, error: failed to get objectType:secret, objectName:db-pw, objectVersion:: keyvault.BaseClient#GetSecret: Failure responding to request: StatusCode=403 -- Original Error: autorest/azure: Service returned an error. Status=403 Code=\"Forbidden\" Message=\"The user, group or application 'appid=0000' does not have secrets get permission on key vault 'kv-prod;location=westeurope'.\"",
            C::VolumeMountFailed,
            "Forbidden: The user, group or application",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = Bad response statusCode [500]. Status [500 Internal Server Error]. Body: [detail=, message=unable to attach volume pvc-7e9588ad to worker-3: volume pvc-7e9588ad not scheduled, code=Server Error] from [http://longhorn-backend:9500/v1/volumes/pvc-7e9588ad?action=attach]",
            C::VolumeAttachFailed,
            "no healthy copy",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = volume pvc-7e9588ad failed to attach to node worker-3 with attachmentID csi-0c1f: faulted volume cannot be attached",
            C::VolumeAttachFailed,
            "no healthy copy",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = format of disk \"/dev/longhorn/pvc-7e9588ad\" failed: type:(\"ext4\") target:(\"/var/lib/kubelet/plugins/kubernetes.io/csi/driver.longhorn.io/af6/globalmount\") options:(\"defaults\") errcode:(exit status 1) output:(mke2fs 1.47.0 (5-Feb-2023)\n/dev/longhorn/pvc-7e9588ad is apparently in use by the system; will not make a filesystem here!\n)",
            C::VolumeMountFailed,
            "another program on the node holds the device",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = 'fsck' found errors on device /dev/longhorn/pvc-7e9588ad but could not correct them: fsck from util-linux 2.39.3\n/dev/longhorn/pvc-7e9588ad contains a file system with errors, check forced.\n/dev/longhorn/pvc-7e9588ad: Inode 131076 has illegal block(s).\n\n/dev/longhorn/pvc-7e9588ad: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.\n\t(i.e., without -a or -p options)\n",
            C::VolumeMountFailed,
            "RUN fsck MANUALLY",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = Could not attach volume \"vol-0ddf92e1\" to node \"i-0a1b2c\": could not attach volume \"vol-0ddf92e1\" to node \"i-0a1b2c\": operation error EC2: AttachVolume, https response error StatusCode: 400, RequestID: 6b7, api error InvalidVolume.ZoneMismatch: The volume 'vol-0ddf92e1' is not in the same availability zone as instance 'i-0a1b2c'",
            C::VolumeAttachFailed,
            "not in the same availability zone",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : volume attachment is being deleted",
            C::VolumeAttachFailed,
            "previous attachment has not been removed",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = Could not attach volume \"vol-0ddf92e1\" to node \"i-0a1b2c\": WaitForAttachmentState AttachVolume error, volume \"vol-0ddf92e1\" state is \"error\": Client.InternalError: Client error on launch; KMS key arn:aws:kms:eu-west-1:1:key/x is disabled",
            C::VolumeAttachFailed,
            "KMS key arn:aws:kms:eu-west-1:1:key/x is disabled",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = FailedPrecondition desc = Retriable: false, RetryAfter: 0s, HTTPStatusCode: 409, RawError: {\n  \"error\": {\n    \"code\": \"OperationNotAllowed\",\n    \"message\": \"The maximum number of data disks allowed to be attached to a VM of this size is 8.\",\n    \"target\": \"dataDisks\"\n  }\n}",
            C::VolumeAttachFailed,
            "maximum number of data disks",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Unknown desc = Attach volume /subscriptions/x to instance aks-agentpool-0 failed with Retriable: true, RetryAfter: 121s, HTTPStatusCode: 0, RawError: azure cloud provider throttled for operation VMSSVMUpdateAsync with reason \"client throttled\"",
            C::VolumeAttachFailed,
            "client throttled",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = Attach volume /subscriptions/x/disks/pvc-7e to instance aks-1 failed with disk(/subscriptions/x/disks/pvc-7e) already attached to node(/subscriptions/x/virtualMachines/aks-agentpool-0), could not be attached to node(aks-1)",
            C::VolumeAttachFailed,
            "still attached to another node",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = failed to publish volume: volume is already attached to a server, please detach it first (service_error)",
            C::VolumeAttachFailed,
            "still attached to another node",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = failed to attach disk: \"7d03bad9-eaae-4bbc-b794-9049223cf609\" with node: \"s0020-worker\" err failed to attach cns volume: \"7d03\" to node vm: \"VirtualMachine:vm-1\". fault: \"(*types.LocalizedMethodFault)(0xc0)({ Fault: (*types.ResourceInUse)(0xc1)({ Type: \\\"Disk\\\" Name: \\\"7d03\\\" }) LocalizedMessage: \\\"The resource 'volume' is in use.\\\" })\"",
            C::VolumeAttachFailed,
            "The resource 'volume' is in use",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = Could not mount \"fs-1234abcd:/\" at \"/var/lib/kubelet/pods/5e30/volumes/kubernetes.io~csi/x/mount\": mount failed: exit status 1\nMounting command: mount\nMounting arguments: -t efs -o noac,tls fs-1234abcd:/ /var/lib/kubelet/pods/5e30/volumes/kubernetes.io~csi/x/mount\nOutput: Could not start amazon-efs-mount-watchdog, unrecognized init system \"aws-efs-csi-dri\"\nFailed to locate an available port in the range [20049, 20449], try specifying a different port range in /etc/amazon/efs/efs-utils.conf\n",
            C::VolumeMountFailed,
            "no local port left",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = Could not mount \"fs-1234abcd:/\" at \"/var/lib/kubelet/pods/5e30/volumes/kubernetes.io~csi/x/mount\": mount failed: exit status 1\nMounting command: mount\nMounting arguments: -t efs -o tls fs-1234abcd:/ /var/lib/kubelet/pods/5e30/mount\nOutput: Failed to resolve \"fs-1234abcd.efs.eu-west-1.amazonaws.com\" - check that your file system ID is correct, and ensure that the VPC has an EFS mount target for this file system ID.\nSee https://docs.aws.amazon.com/console/efs/mount-dns-name for more detail.",
            C::VolumeMountFailed,
            "Failed to resolve \"fs-1234abcd",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = Could not mount \"fs-1234abcd:/\" at \"/var/lib/kubelet/x/mount\": mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t efs -o accesspoint=fsap-0a,tls fs-1234abcd:/ /var/lib/kubelet/x/mount\nOutput: Could not start amazon-efs-mount-watchdog, unrecognized init system \"aws-efs-csi-dri\"\nb'mount.nfs4: access denied by server while mounting 127.0.0.1:/'\nWarning: config file does not have fips_mode_enabled item",
            C::VolumeMountFailed,
            "access denied by server",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"cni-bin\" : mkdir /opt/cni: read-only file system",
            C::VolumeMountFailed,
            "read-only file system",
        ),
        (
            "FailedMount",
            "MountVolume.NewMounter initialization failed for volume \"local-pv-1\" : path \"/mnt/disks/ssd1\" does not exist",
            C::VolumeMountFailed,
            "/mnt/disks/ssd1\" does not exist",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs -o hard,nfsvers=4.1 10.0.0.5:/export /var/lib/kubelet/pods/x/volumes/kubernetes.io~nfs/x\nOutput: mount.nfs: Protocol not supported\n",
            C::VolumeMountFailed,
            "Protocol not supported",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs 10.0.0.5:/export /var/lib/kubelet/pods/x\nOutput: mount.nfs: rpc.statd is not running but is required for remote locking.\nmount.nfs: Either use '-o nolock' to keep locks local, or start statd.\n",
            C::VolumeMountFailed,
            "rpc.statd",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs 10.0.0.5:/export /var/lib/kubelet/pods/x\nOutput: mount.nfs: Connection refused\n",
            C::VolumeMountFailed,
            "mount.nfs: Connection refused",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs nfs.shop.svc.cluster.local:/ /var/lib/kubelet/pods/x\nOutput: mount.nfs: Failed to resolve server nfs.shop.svc.cluster.local: Name or service not known\n",
            C::VolumeMountFailed,
            "Name or service not known (DNS of the node",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : lstat /var/lib/kubelet/plugins/kubernetes.io/csi/efs/x/globalmount: stale NFS file handle",
            C::VolumeMountFailed,
            "stale NFS file handle (the node's mount is broken)",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = volume(x) mount \"//acct.file.core.windows.net/share\" on \"/x\" failed with mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t cifs -o actimeo=30,<masked> //acct.file.core.windows.net/share /x\nOutput: mount error(115): Operation now in progress\nRefer to the mount.cifs(8) manual page (e.g. man mount.cifs) and kernel log messages (dmesg)\n",
            C::VolumeMountFailed,
            "SMB server does not answer",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"gcs-fuse-csi-ephemeral\" : rpc error: code = Unauthenticated desc = failed to prepare storage service: storage service manager failed to setup service: timed out waiting for the condition",
            C::VolumeMountFailed,
            "code = Unauthenticated: failed to prepare storage service",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"kube-api-access-x2z4q\" : failed to fetch token: serviceaccounts \"runner\" is forbidden: User \"system:node:worker-3\" cannot create resource \"serviceaccounts/token\" in API group \"\" in the namespace \"shop\": no relationship found between node 'worker-3' and this object",
            C::VolumeMountFailed,
            "gets no token for the pod's ServiceAccount",
        ),
        (
            "FailedMount",
            "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data kube-api-access-x2z4q]: timed out waiting for the condition",
            C::VolumeMountFailed,
            "no event says why",
        ),
        (
            "FailedMount",
            "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process volumes=[data]: error processing PVC shop/data-db-0: PVC is being deleted",
            C::VolumeMountFailed,
            "PVC is being deleted",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = failed to format and mount device from (\"/dev/nvme1n1\") to (\"/x\") with fstype (\"ext4\") and options (\"\"): mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t ext4 -o defaults /dev/nvme1n1 /x\nOutput: mount: /x: mount(2) system call failed: Structure needs cleaning.\n",
            C::VolumeMountFailed,
            "Structure needs cleaning",
        ),
        (
            "FailedMount",
            "MountVolume.WaitForAttach failed for volume \"pvc-7e95\" : failed to get any path for iscsi disk, last err seen:\niscsi: failed to sendtargets to portal 10.0.0.9:3260 output: iscsiadm: cannot make connection to 10.0.0.9: Connection refused\niscsiadm: connection login retries (reopen_max) 5 exceeded\niscsiadm: Could not perform SendTargets discovery: encountered connection failure\n, err exit status 4",
            C::VolumeMountFailed,
            "Connection refused",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-7e9588ad-19d1-4099-bd49-30fd2b9f0d42\" : rpc error: code = Internal desc = rpc error: code = Internal desc = exit status 1: iscsiadm: Could not login to [iface: default, target: iqn.2019-10.io.longhorn:pvc-7e95, portal: 10.42.1.3,3260].\niscsiadm: initiator reported error (24 - iSCSI login failed due to authorization failure)",
            C::VolumeMountFailed,
            "iSCSI login failed due to authorization failure",
        ),
        (
            "FailedMount",
            "MountVolume.SetUp failed for volume \"cache\" : mkdir /var/lib/kubelet/pods/7b1e/volumes/kubernetes.io~empty-dir/cache: no space left on device",
            C::VolumeMountFailed,
            "no space left on device",
        ),
    ] {
        let pod = with_claim(unborn("False", 900));
        let f = warns(&look_with(&pod, &[event(reason, message, 40)]), R::VolumeNotReady, code, &[]);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
        assert!(f.summary.len() < 330, "{}", f.summary);
    }
}

#[test]
fn a_volume_that_is_no_claim_is_not_laid_to_the_pods_claim() {
    for message in [
        "MountVolume.SetUp failed for volume \"kube-api-access-x2z4q\" : failed to fetch token: serviceaccounts \"runner\" is forbidden",
        "MountVolume.SetUp failed for volume \"secrets-store-inline\" : rpc error: code = Unknown desc = failed to mount secrets store objects for pod shop/cart, err: error connecting to provider \"aws\": provider not found: provider \"aws\"",
    ] {
        let pod = with_claim(unborn("False", 900));
        let f = warns(
            &look_with(&pod, &[event("FailedMount", message, 40)]),
            R::VolumeNotReady,
            C::VolumeMountFailed,
            &[],
        );
        assert!(f.scope.is_none() && !words(&f).contains("pvc"), "{}", words(&f));
    }
}

#[test]
fn a_sandbox_that_cannot_be_made_says_what_the_node_lacks() {
    for (class, message, code, said) in [
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"bc59dc1e752f\": plugin type=\"multus\" name=\"multus-cni-network\" failed (add): Multus: [shop/cart/19241d18]: error getting pod: Get \"https://[10.96.0.1]:443/api/v1/namespaces/shop/pods/cart?timeout=1m0s\": dial tcp 10.96.0.1:443: i/o timeout",
            C::NetworkSetupFailed,
            "cannot reach the API server",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"bc59dc1e752f\": plugin type=\"multus\" name=\"multus-cni-network\" failed (add): Multus: [shop/cart/9ca0]: error loading k8s delegates k8s args: TryLoadPodDelegates: error in getting k8s network for pod: GetNetworkDelegates: failed getting the delegate: getKubernetesDelegate: cannot find a network-attachment-definition (host-devices-1) in namespace (shop): network-attachment-definitions.k8s.cni.cncf.io \"host-devices-1\" not found",
            C::NetworkSetupFailed,
            "network-attachment-definition (host-devices-1) in namespace (shop)",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"bc59dc1e752f\": plugin type=\"cilium-cni\" failed (add): unable to create endpoint: [PUT /endpoint/{id}][429] putEndpointIdTooManyRequests",
            C::NetworkSetupFailed,
            "is overloaded",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"bc59dc1e752f\": plugin type=\"cilium-cni\" failed (add): unable to connect to Cilium agent: failed to create cilium agent client after 30.000000 seconds timeout: Get \"http://localhost/v1/config\": dial unix /var/run/cilium/cilium.sock: connect: no such file or directory\nIs the agent running?",
            C::NetworkSetupFailed,
            "agent on node node-a does not answer",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"bc59dc1e752f\": plugin type=\"calico\" failed (add): error getting IPs: no configured Calico pools for node worker-3",
            C::NetworkSetupFailed,
            "no IP address is left",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"bc59dc1e752f\": plugin type=\"calico\" failed (add): stat /var/lib/calico/nodename: no such file or directory: check that the calico/node container is running and has mounted /var/lib/calico/",
            C::NetworkSetupFailed,
            "pod on node node-a writes this file",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"bc59dc1e752f\": plugin type=\"flannel\" failed (add): failed to delegate add: failed to set bridge addr: \"cni0\" already has an IP address different from 10.244.1.1/24",
            C::NetworkSetupFailed,
            "address of an earlier network",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"x\": plugin type=\"portmap\" failed (add): could not open TCP port 8080: listen tcp4 :8080: bind: address already in use",
            C::HostPortTaken,
            "host port is in use",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"bc59dc1e752f\": plugin type=\"azure-vnet\" failed (add): IPAM Invoker Add failed with error: Failed to get IP address from CNS: http request failed: Post \"http://localhost:10090/network/requestipconfigs\": dial tcp 127.0.0.1:10090: connect: connection refused",
            C::NetworkSetupFailed,
            "agent on node node-a does not answer",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create pod network sandbox k8s_cart_shop_7b1e_0(bc59): error adding pod shop_cart to CNI network \"multus-cni-network\": plugin type=\"multus-shim\" name=\"multus-cni-network\" failed (add): CmdAdd (shim): CNI request failed with status 400: 'ContainerID:\"bc59\" Netns:\"/var/run/netns/x\" IfName:\"eth0\" ERRORED: error configuring pod [shop/cart] networking: [shop/cart/7b1e:ovn-kubernetes]: error adding container to network \"ovn-kubernetes\": CNI request failed with status 400: '[shop/cart bc59 network default NAD default] failed to get pod annotation: timed out waiting for annotations: context deadline exceeded'",
            C::NetworkSetupFailed,
            "control plane did not set up the pod in time",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create pod network sandbox k8s_cart: error adding pod shop_cart to CNI network \"multus-cni-network\": CNI request failed with status 400: 'failed to configure pod interface: timed out waiting for OVS port binding (ovn-installed) for 0a:58:0a:81:02:05 [10.129.2.5/23]'",
            C::NetworkSetupFailed,
            "control plane did not set up the pod in time",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox container task \"x\": hcs::CreateComputeSystem x: The container operating system does not match the host operating system.: unknown",
            C::ImagePlatformMismatch,
            "Windows build differs",
        ),
        (
            "kata",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox \"x\": failed to create containerd task: failed to start shim: start failed: io.containerd.kata.v2: exec: \"containerd-shim-kata-v2\": executable file not found in $PATH",
            C::SandboxFailed,
            "RuntimeClass kata is not installed",
        ),
        (
            "kata",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create containerd task: failed to create shim task: failed to launch qemu: exit status 1, error messages from qemu log: Could not access KVM kernel module: No such file or directory\nqemu-system-x86_64: failed to initialize kvm: No such file or directory: unknown",
            C::SandboxFailed,
            "RuntimeClass kata needs KVM",
        ),
        (
            "gvisor",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create containerd task: failed to start shim: start failed: io.containerd.runsc.v1: exec: \"containerd-shim-runsc-v1\": executable file not found in $PATH: not found",
            C::SandboxFailed,
            "RuntimeClass gvisor is not installed",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: unable to apply cgroup configuration: failed to write 1234: write /sys/fs/cgroup/pids/kubepods/cgroup.procs: no space left on device: unknown",
            C::ResourceExhausted,
            "no room for another cgroup",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: open /proc/sys/net/ipv4/tcp_rmem2: no such file or directory: unknown",
            C::NodeRefused,
            "/proc/sys/net/ipv4/tcp_rmem2: no such file or directory (the sysctl cannot be set",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox \"x\": failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: write /proc/self/attr/keycreate: permission denied: unknown",
            C::NodeRefused,
            "SELinux label",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused\"",
            C::RuntimeTimeout,
            "does not answer the kubelet",
        ),
        (
            "",
            "Failed create pod sandbox: rpc error: code = Unavailable desc = transport is closing",
            C::RuntimeTimeout,
            "does not answer the kubelet",
        ),
        (
            "",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"bc59dc1e752f\": plugin type=\"multus\" name=\"multus-cni-network\" failed (add): [shop/cart:wb]: error adding container to network \"wb\": error at storage engine: Could not allocate IP in range: ip: 192.168.2.225 / - 192.168.2.230 / range: 192.168.2.224/28 / excludeRanges: []",
            C::NetworkSetupFailed,
            "no IP address is left",
        ),
    ] {
        let mut pod = unborn("False", 900);
        pod.spec.runtime_class_name = Some(class.to_owned()).filter(|c| !c.is_empty());
        let found = look_with(&pod, &[event("FailedCreatePodSandBox", message, 40)]);
        let f = warns(&found, R::FailedCreatePodSandBox, code, &[]);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
    }
}

#[test]
fn a_container_that_cannot_be_started_lays_it_to_whom_it_belongs() {
    for (message, code, said) in [
        (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to create new parent process: namespace path: lstat /proc/0/ns/ipc: no such file or directory: unknown",
            C::SandboxFailed,
            "sandbox had already stopped",
        ),
        (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: mkdir /src: not a directory: unknown",
            C::FileNotFound,
            "mkdir /src: not a directory",
        ),
        (
            "error while creating mount source path \"/var/lib/kubelet/pods/c40d/volumes/kubernetes.io~csi/pvc-d044/mount\": mkdir /var/lib/kubelet/pods/c40d/volumes/kubernetes.io~csi/pvc-d044/mount: file exists",
            C::MountFailed,
            "that path is a file or a stale mount",
        ),
        (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: write /proc/self/attr/keycreate: permission denied: unknown",
            C::NodeRefused,
            "SELinux label",
        ),
        (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error setting cgroup config for procHooks process: failed to write 4194304: write /sys/fs/cgroup/memory/kubepods/x/memory.limit_in_bytes: device or resource busy: unknown",
            C::MemoryLimitReached,
            "memory.limit_in_bytes: device or resource busy (too low even",
        ),
        (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/io.containerd.runtime.v2.task/k8s.io/x/log.json: no such file or directory): crun did not terminate successfully: exit status 1: unknown",
            C::RuntimeError,
            "crun did not terminate successfully",
        ),
        (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/io.containerd.runtime.v2.task/k8s.io/x/log.json: no such file or directory): fork/exec /usr/bin/nvidia-container-runtime: no such file or directory: unknown",
            C::RuntimeError,
            "/usr/bin/nvidia-container-runtime: no such file or directory (missing on the node",
        ),
        (
            "failed to create containerd task: failed to create shim task: failed to start shim: start failed: io.containerd.spin.v2: exec: \"containerd-shim-spin-v2\": executable file not found in $PATH",
            C::RuntimeError,
            "containerd-shim-spin-v2\": executable file not found in $PATH (the node lacks",
        ),
        (
            "failed to create containerd task: failed to create shim task: hcs::System::CreateProcess app: Access is denied.: unknown",
            C::ExecutableNotPermitted,
            "Access is denied",
        ),
        (
            "failed to create containerd task: failed to create shim task: hcs::System::CreateProcess app: The user name or password is incorrect.: unknown",
            C::UnknownUser,
            "The user name or password is incorrect",
        ),
        (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running prestart hook #0: exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.6, please update your driver to a newer version, or use an earlier cuda container: unknown",
            C::DeviceAllocationFailed,
            "unsatisfied condition: cuda>=12.6",
        ),
    ] {
        let mut last = end("StartError", 128, 41, 40);
        last["terminated"]["message"] = message.into();
        let found =
            look(&app(waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container=app"), last, 6));
        let f = warns(&found, R::RunContainerError, code, &[]);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
    }
    for (message, code, said) in [
        (
            "failed to mount container k8s_app_cart in pod sandbox: error creating overlay mount to /var/lib/containers/storage/overlay/x/merged: no such file or directory",
            C::ImageCorrupt,
            "copy of the image is damaged",
        ),
        ("layer not known", C::ImageCorrupt, "copy of the image is damaged"),
        (
            "failed to generate container \"x\" spec: failed to generate spec: path \"/mnt/data\" is mounted on \"/\" but it is not a shared mount",
            C::MountFailed,
            "mountPropagation",
        ),
        (
            "failed to generate container \"x\" spec: failed to generate spec: lstat /dev/infiniband/uverbs0: no such file or directory",
            C::DeviceAllocationFailed,
            "/dev/infiniband/uverbs0: no such file",
        ),
        (
            "failed to create containerd container: get apparmor_parser version: exec: \"apparmor_parser\": executable file not found in $PATH",
            C::RuntimeError,
            "apparmor_parser\": executable file not found in $PATH (missing on the node",
        ),
        (
            "failed to create containerd container: failed to create snapshot: missing parent \"k8s.io/12/sha256:ab\" bucket: not found",
            C::ImageCorrupt,
            "copy of the image is damaged",
        ),
        (
            "failed to create containerd container: mkdir /var/lib/containerd/io.containerd.metadata.v1.bolt: input/output error",
            C::RuntimeError,
            "input/output error (the node's own disk)",
        ),
        (
            "failed to create containerd container: failed to prepare extraction snapshot: failed to create temp dir: stat /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots: read-only file system",
            C::RuntimeError,
            "read-only file system (the node's own disk)",
        ),
        (
            "failed to create containerd container: too many open files in system",
            C::ResourceExhausted,
            "too many open files",
        ),
        (
            "Conflict. The container name \"/k8s_app_cart_shop_7b1e_1\" is already in use by container \"4f5e\". You have to remove (or rename) that container to be able to reuse that name.",
            C::ContainerNameReserved,
            "has not finished an earlier attempt",
        ),
        (
            "failed to create containerd container: CDI device injection failed: unresolvable CDI devices nvidia.com/net-sf=mlx5_core.sf.3",
            C::DeviceAllocationFailed,
            "unresolvable CDI devices nvidia.com",
        ),
    ] {
        let f =
            warns(&look(&stuck("CreateContainerError", message, 900)), R::CreateContainerError, code, &[]);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
    }
}

#[test]
fn a_pull_that_fails_says_on_whose_side() {
    for (image, error, code, said) in [
        (
            "docker.io/summerwind/actions-runner-dind:latest",
            "failed to pull and unpack image \"docker.io/summerwind/actions-runner-dind:latest\": failed to copy: read tcp 192.168.16.6:35464->104.18.122.25:443: read: connection reset by peer",
            C::RegistryUnreachable,
            "connection reset by peer",
        ),
        (
            "r.example.com/a:1",
            "failed to pull and unpack image \"r.example.com/a:1\": failed to copy: httpReadSeeker: failed open: unexpected status code https://r.example.com/v2/a/blobs/sha256:1: 416 Requested Range Not Satisfiable",
            C::RegistryError,
            "416 Requested Range",
        ),
        (
            "gcr.io/x/y:1",
            "failed to pull image \"gcr.io/x/y:1\": failed commit on ref \"layer-sha256:3690\": unexpected commit size 5674492, expected 2312958: unknown",
            C::ImageCorrupt,
            "unexpected commit size 5674492",
        ),
        (
            "acme.azurecr.io/app:1",
            "failed to pull and unpack image \"acme.azurecr.io/app:1\": failed to resolve reference \"acme.azurecr.io/app:1\": unexpected status from HEAD request to https://acme.azurecr.io/v2/app/manifests/1: 403 Forbidden: client with IP '20.1.2.3' is not allowed access. Refer https://aka.ms/acr/firewall to grant access",
            C::RegistryUnauthorized,
            "is not allowed access",
        ),
        (
            "gcr.io/google-containers/x:1",
            "reading manifest 1 in gcr.io/google-containers/x: denied: Container Registry is deprecated and shutting down, please use the auto migration tool to migrate to Artifact Registry",
            C::RegistryError,
            "is deprecated and shutting down",
        ),
        (
            "harbor.corp/dockerhub/library/nginx:1",
            "failed to pull and unpack image \"x\": failed to resolve reference \"harbor.corp/dockerhub/library/nginx:1\": unexpected status from HEAD request to https://harbor.corp/v2/dockerhub/library/nginx/manifests/1: 412 Precondition Failed",
            C::RegistryError,
            "412 Precondition Failed",
        ),
        (
            "harbor.corp/p/nginx:1",
            "Error response from daemon: unknown: current image with 12 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of \"High\" or higher from running.' To continue with pull, please contact your project administrator to exempt matched vulnerabilities through configuring the CVE allowlist.",
            C::RegistryUnauthorized,
            "cannot be pulled due to configured policy",
        ),
        (
            "r.example.com/a:1",
            "failed to pull and unpack image \"x\": failed to prepare extraction snapshot \"extract-1 sha256:ab\": failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-1: read-only file system",
            C::ImagePullFailed,
            "mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-1: read-only",
        ),
        (
            "docker.io/a/b:1",
            "Source image rejected: Running image docker://a/b:1 is rejected by policy.",
            C::ImageSignature,
            "is rejected by policy",
        ),
        (
            "docker.io/a/b:1",
            "registry docker.io is blocked in /etc/containers/registries.conf or /etc/containers/registries.conf.d",
            C::ImagePullFailed,
            "is blocked in /etc/containers/registries.conf",
        ),
        (
            "ghcr.io/acme/chart:1",
            "failed to pull and unpack image \"x\": failed to unpack image on snapshotter overlayfs: mismatched image rootfs and manifest layers",
            C::ImageCorrupt,
            "mismatched image rootfs",
        ),
    ] {
        let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {error}");
        let mut state =
            app_with(json!({"image": image}), waiting("ImagePullBackOff", &message), json!({}), 0);
        state.status.phase = "Pending".to_owned();
        let f = warns(&look(&state), R::ImagePullBackOff, code, &[]);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
    }
}

#[test]
fn a_refusal_that_is_not_about_credentials_asks_for_none_and_a_mirror_is_named() {
    let of = |image: &str, error: &str| {
        let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {error}");
        look(&app_with(json!({"image": image}), waiting("ImagePullBackOff", &message), json!({}), 0))
            .findings
            .remove(0)
    };
    let f = of(
        "acme.azurecr.io/app:1",
        "unexpected status from HEAD request to https://acme.azurecr.io/v2/app/manifests/1: 403 Forbidden: client with IP '20.1.2.3' is not allowed access. Refer https://aka.ms/acr/firewall to grant access",
    );
    assert!(!words(&f).contains("imagePullSecrets") && !words(&f).contains("AcrPull"), "{}", words(&f));
    assert!(f.cause.text.contains("20.1.2.3"), "{}", f.cause.text);
    let f = of(
        "docker.io/library/nginx:1",
        "failed to do request: Head \"https://mirror.example.com/v2/library/nginx/manifests/1?ns=docker.io\": dial tcp 10.0.0.9:443: connect: connection refused",
    );
    assert!(f.cause.text.contains("mirror.example.com"), "{}", f.cause.text);
    assert_eq!(f.next_steps[0], "from node node-a: curl -v https://mirror.example.com/v2/");
    // What answers for docker.io is not a host of that name.
    let f = of(
        "nginx:1",
        "failed to copy: read tcp 10.0.0.6:35464->104.18.122.25:443: read: connection reset by peer",
    );
    assert_eq!(f.next_steps[0], "from node node-a: curl -v https://registry-1.docker.io/v2/");
}

#[test]
fn a_pod_without_a_node_says_who_keeps_it_waiting() {
    for (reason, message, code, said) in [
        (
            "SchedulerError",
            "running Reserve plugin \"DynamicResources\": waiting for resource driver to allocate resource",
            C::DeviceAllocationFailed,
            "waiting for its devices: waiting for resource driver",
        ),
        (
            "Unschedulable",
            "0/2 nodes are available: request gpu: device class gpu.nvidia.com does not exist. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
            C::DeviceAllocationFailed,
            "device class gpu.nvidia.com does not exist",
        ),
        (
            "SchedulerError",
            "running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded",
            C::VolumeUnavailable,
            "waiting for its volumes: binding volumes",
        ),
        (
            "Unschedulable",
            "0/3 nodes are available: 3 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            C::VolumeUnavailable,
            "ReadWriteOncePod",
        ),
        (
            "Unschedulable",
            "0/3 nodes are available: storageclass.storage.k8s.io \"fast\" not found. preemption: x",
            C::VolumeUnavailable,
            "storageclass",
        ),
        (
            "Unschedulable",
            "0/3 nodes are available: 3 node(s) had untolerated taint {node.cilium.io/agent-not-ready: true}.",
            C::NodeUnready,
            "agent-not-ready",
        ),
        (
            "Unschedulable",
            "0/3 nodes are available: 3 node(s) had untolerated taint {ebs.csi.aws.com/agent-not-ready: }.",
            C::NodeUnready,
            "agent-not-ready",
        ),
        (
            "Unschedulable",
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) had untolerated taint {ToBeDeletedByClusterAutoscaler: 1761820000}.",
            C::NodesUnschedulable,
            "ToBeDeletedByClusterAutoscaler",
        ),
        (
            "Unschedulable",
            "0/3 nodes are available: 3 node(s) had untolerated taint {karpenter.sh/disrupted: }.",
            C::NodesUnschedulable,
            "karpenter.sh/disrupted",
        ),
    ] {
        let expected = if reason == "SchedulerError" { R::SchedulerError } else { R::Unschedulable };
        let f = warns(&look(&pending(reason, message, 900)), expected, code, &[]);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
        assert!(!f.next_steps[0].contains("toleration"), "{:?}", f.next_steps);
    }
    // A claim that one pod at a time may use is bound already.
    let rwop = "0/3 nodes are available: 3 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode.";
    let f = warns(&look(&pending("Unschedulable", rwop, 900)), R::Unschedulable, C::VolumeUnavailable, &[]);
    assert!(f.next_steps[0].contains("that pod must terminate first"), "{:?}", f.next_steps);
}

fn of_claim(reason: &str, message: &str, at: i64) -> Event {
    let mut event = event(reason, message, at);
    event.involved_object = serde_json::from_value(
        json!({"kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data-0", "uid": "c1"}),
    )
    .unwrap();
    event
}

#[test]
fn a_pod_that_waits_for_a_claim_says_what_the_claims_controller_says() {
    let unbound = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.";
    let full = "failed to provision volume with StorageClass \"fast\": rpc error: code = ResourceExhausted desc = volume limit (10) has been reached. Current number of volumes: 10.";
    let waits = "Waiting for a volume to be created either by the external provisioner 'ebs.csi.aws.com' or manually by the system administrator.";
    let timed_out = "running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded";
    for (reason, message, events, said) in [
        (
            "Unschedulable",
            unbound,
            vec![of_claim("ProvisioningFailed", full, 30)],
            ": volume limit (10) has been reached",
        ),
        // The failure, and not the news that came after it.
        (
            "Unschedulable",
            unbound,
            vec![of_claim("ProvisioningFailed", full, 30), of_claim("ExternalProvisioning", waits, 10)],
            "volume limit (10) has been reached",
        ),
        (
            "Unschedulable",
            unbound,
            vec![of_claim("ExternalProvisioning", waits, 10)],
            "waits for its provisioner ebs.csi.aws.com",
        ),
        (
            "Unschedulable",
            unbound,
            vec![of_claim(
                "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set",
                10,
            )],
            "no storage class is set",
        ),
        (
            "SchedulerError",
            timed_out,
            vec![of_claim("ProvisioningFailed", full, 30)],
            "volume limit (10) has been reached",
        ),
        (
            "Unschedulable",
            unbound,
            vec![of_claim(
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding",
                5,
            )],
            "unbound immediate",
        ),
    ] {
        let pod = pending(reason, message, 900);
        let sources = Sources { events: true, ..Sources::NONE };
        let context = Context { sources, claim_events: &events, ..Context::pod_only() };
        let expected = if reason == "SchedulerError" { R::SchedulerError } else { R::Unschedulable };
        let f = warns(&diagnosis::diagnose(&pod, &context, now()), expected, C::VolumeUnavailable, &[]);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
        // In a look at many the events find the pod by the claim's name.
        let found =
            survey(Snapshot { pods: vec![pod], events: packed(events), sources, ..Snapshot::default() });
        assert_eq!(found.findings[0].summary, f.summary);
    }
    // What is said of a claim explains no lack of room.
    let short = pending("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.", 900);
    let found = survey(Snapshot {
        pods: vec![short],
        events: packed([of_claim("ProvisioningFailed", full, 30)]),
        ..Snapshot::default()
    });
    assert!(!found.findings[0].summary.contains("claim"), "{}", found.findings[0].summary);
}

#[test]
fn an_autoscaler_that_cannot_help_is_quoted_and_not_waited_for() {
    let pod = pending("Unschedulable", "0/8 nodes are available: 8 Insufficient cpu.", 120);
    let refused =
        "Node scale up in zones europe-west1-b associated with this pod failed: GCE quota exceeded.";
    let found = look_with(&pod, &[event("FailedScaleUp", refused, 40)]);
    let f = warns(&found, R::Unschedulable, C::InsufficientResources, &["GCE quota exceeded"]);
    assert!(f.cause.text.contains("the autoscaler cannot add a node"), "{}", f.cause.text);
    // It fails in the second in which it is asked for.
    let triggered = event("TriggeredScaleUp", "pod triggered scale-up: [{pool-1 1->2 (max: 5)}]", 40);
    let stockout = refused.replace("GCE quota exceeded", "GCE out of resources");
    let found = look_with(&pod, &[triggered, event("FailedScaleUp", &stockout, 40)]);
    warns(&found, R::Unschedulable, C::InsufficientResources, &["cannot add a node: GCE out of resources"]);
    let mut karpenter = event(
        "FailedScheduling",
        "Failed to schedule pod, no instance type satisfied resources {\"cpu\":\"64455m\"}",
        40,
    );
    karpenter.source.component = "karpenter".to_owned();
    let f = warns(&look_with(&pod, &[karpenter]), R::Unschedulable, C::InsufficientResources, &[]);
    assert!(f.cause.text.contains("Karpenter adds no node: no instance type satisfied"), "{}", f.cause.text);
}

/// Why the cloud gives no node is said of the NodeClaim, in an event of its own.
#[test]
fn a_node_that_cannot_be_launched_is_why_a_pod_waits() {
    let tainted = "0/1 nodes are available: 1 node(s) had untolerated taint {CriticalAddonsOnly: }.";
    let mut nominated = event("Nominated", "Pod should schedule on: nodeclaim/general-x7k2p", 40);
    nominated.kind = "Normal".to_owned();
    for (reason, said, expected, step) in [
        (
            "InsufficientCapacityError",
            "creating instance, insufficient capacity, with fleet error(s), AuthFailure.ServiceLinkedRoleCreationNotPermitted: The provided credentials do not have permission to create the service-linked role for EC2 Spot Instances.",
            "NodeClaim general-x7k2p: AuthFailure.ServiceLinkedRoleCreationNotPermitted: The provided",
            "create the service-linked role",
        ),
        (
            "InsufficientCapacityError",
            "creating instance, insufficient capacity, with fleet error(s), InsufficientInstanceCapacity: We currently do not have sufficient p5.48xlarge capacity in the Availability Zone you requested (us-east-1a).",
            "NodeClaim general-x7k2p: InsufficientInstanceCapacity: We currently do not have sufficient p5.48xlarge",
            "the cloud has no such machine",
        ),
        (
            "LaunchFailed",
            "creating instance, getting launch template configs, instance profile not found: general-role",
            "instance profile not found: general-role",
            "check the role or instanceProfile",
        ),
    ] {
        let mut failed = event(reason, &format!("NodeClaim general-x7k2p event: {said}"), 39);
        failed.involved_object =
            serde_json::from_value(json!({"kind": "NodeClaim", "name": "general-x7k2p", "uid": "claim"}))
                .unwrap();
        failed.source.component = "karpenter".to_owned();
        let found = survey(Snapshot {
            pods: vec![pending("Unschedulable", tainted, 900)],
            events: packed([nominated.clone(), failed]),
            sources: Sources { events: true, ..Sources::NONE },
            ..Snapshot::default()
        });
        let f = &found.findings[0];
        assert!(f.summary.contains(expected), "{}", f.summary);
        assert!(f.next_steps[0].starts_with(step), "{:?}", f.next_steps);
        // A node that fits was asked for: the taints of others are not the matter.
        assert!(!f.next_steps.iter().any(|s| s.contains("toleration")), "{:?}", f.next_steps);
    }
}

#[test]
fn a_pod_that_its_node_refused_says_what_the_node_lacks() {
    for (reason, message, expected, code, said) in [
        (
            "UnexpectedAdmissionError",
            "Pod was rejected: Allocate failed due to failed to write checkpoint file \"kubelet_internal_checkpoint\": open /var/lib/kubelet/device-plugins/.543: no space left on device, which is unexpected",
            R::UnexpectedAdmissionError,
            C::NodeDiskFull,
            "no space left on device",
        ),
        (
            "MatchNodeSelector",
            "Predicate MatchNodeSelector failed",
            R::AdmissionRejected,
            C::NodeRefused,
            "Predicate MatchNodeSelector failed",
        ),
        (
            "OutOfnvidia.com/gpu",
            "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu, requested: 1, used: 0, capacity: 0",
            R::AdmissionRejected,
            C::NodeFull,
            "not enough nvidia.com/gpu left",
        ),
        (
            "OutOfhugepages-2Mi",
            "Node didn't have enough resource: hugepages-2Mi, requested: 1073741824, used: 0, capacity: 0",
            R::AdmissionRejected,
            C::NodeFull,
            "not enough hugepages-2Mi left",
        ),
        (
            "Evicted",
            "The node was low on resource: inodes. Threshold quantity: 655360, available: 612333. ",
            R::Evicted,
            C::NodePressure,
            "low on inodes",
        ),
        (
            "Evicted",
            "The node was low on resource: pids. Threshold quantity: 1000, available: 900. ",
            R::Evicted,
            C::NodePressure,
            "low on pids",
        ),
    ] {
        let f = warns(&look(&failed(reason, message, json!({}))), expected, code, &[]);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
        let steps = f.next_steps.join(" ");
        assert!(!steps.contains("spec.nodeName") && !steps.contains("set requests"), "{steps}");
    }
}

#[test]
fn a_workload_whose_pods_are_refused_says_why_in_the_first_line() {
    for (message, code, said) in [
        (
            "pods \"coredns-6955765f44-\" is forbidden: no providers available to validate pod request",
            C::AdmissionDenied,
            "no PodSecurityPolicy",
        ),
        (
            "Internal error occurred: failed calling webhook \"namespace.sidecar-injector.istio.io\": failed to call webhook: Post \"https://istiod.istio-system.svc:443/inject?timeout=10s\": context deadline exceeded",
            C::WebhookDenied,
            "namespace.sidecar-injector.istio.io cannot be called: context deadline exceeded",
        ),
        (
            "Internal error occurred: failed calling webhook \"sidecar-injector.istio.io\": Post https://istio-sidecar-injector.istio-system.svc:443/inject?timeout=30s: x509: certificate has expired or is not yet valid",
            C::WebhookDenied,
            "sidecar-injector.istio.io cannot be called: x509: certificate has expired or is not yet valid",
        ),
        (
            "admission webhook \"linkerd-proxy-injector.linkerd.io\" denied the request: could not retrieve trust anchors",
            C::WebhookDenied,
            "could not retrieve trust anchors",
        ),
        (
            "pods \"cart-\" is forbidden: No API token found for service account \"default\", retry after the token is automatically created and added to the service account",
            C::MissingServiceAccount,
            "ServiceAccount default has no token yet",
        ),
        (
            "pods \"cart-\" is forbidden: pod node label selector conflicts with its namespace node label selector",
            C::CreateRefused,
            "contradicts that of the namespace",
        ),
        (
            "pods \"cart-\" is forbidden: insufficient quota to match these scopes: [{PriorityClass In [system-node-critical system-cluster-critical]}]",
            C::QuotaExceeded,
            "allowed only in namespaces whose ResourceQuota names it: insufficient quota to match these scopes: [{PriorityClass In [system-node-critical",
        ),
        ("object is being deleted: pods \"db-0\" already exists", C::CreateRefused, "still exists"),
    ] {
        let f = refused(message);
        assert_eq!(f.cause.code, code, "{message}");
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
    }
    let silent = "Internal error occurred: failed calling webhook \"namespace.sidecar-injector.istio.io\": failed to call webhook: Post \"https://istiod.istio-system.svc:443/inject?timeout=10s\": context deadline exceeded";
    assert!(words(&refused(silent)).contains("kubectl -n istio-system get endpointslices,pods"));
}

#[test]
fn a_probe_that_fails_says_what_it_got_and_no_hint_is_for_another_kind_of_probe() {
    let http = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10});
    let command = json!({"exec": {"command": ["check"]}, "periodSeconds": 10});
    let grpc = json!({"grpc": {"port": 5000}, "periodSeconds": 10});
    let get = "Get \"http://10.1.1.1:8080/healthz\": ";
    for (probe, complaint, said, hint) in [
        (&http, format!("{get}context deadline exceeded (Client.Timeout exceeded while awaiting headers)"), "no answer in time", "timeoutSeconds 1"),
        // Nobody took the connection: that is no slow answer.
        (&http, format!("{get}dial tcp 10.1.1.1:8080: i/o timeout (Client.Timeout exceeded while awaiting headers)"), "the connection times out", "network policies"),
        (&http, format!("{get}dial tcp 10.1.1.1:8080: connect: connection refused"), "connection refused", "nothing listens"),
        (&http, "HTTP probe failed with statuscode: 503".to_owned(), "GET :8080/healthz: HTTP status 503", "the program itself reports"),
        (&http, "HTTP probe failed with statuscode: 302".to_owned(), "HTTP status 302", "without a redirect"),
        (&http, "HTTP probe failed with statuscode: 404".to_owned(), "HTTP status 404", "does not exist"),
        (&http, format!("{get}http: server gave HTTP response to HTTPS client"), "server gave HTTP response", "scheme to HTTP"),
        (&http, format!("{get}tls: first record does not look like a TLS handshake"), "first record does not look like a TLS handshake", "does not speak TLS"),
        (&http, format!("{get}EOF"), "EOF: the connection was closed", "closes the probe's connection"),
        (&http, format!("{get}net/http: HTTP/1.x transport connection broken: malformed HTTP response \"\\x00\\x00\\x12\""), "does not speak plain HTTP", "gRPC"),
        (&http, format!("{get}read tcp 10.1.1.2:45->10.1.1.1:8080: read: connection reset by peer"), "the connection is reset", "port and scheme"),
        (&http, "Readiness probe errored: strconv.Atoi: parsing \"http\": invalid syntax".to_owned(), "not one of the container's", "names in ports"),
        (&grpc, "service unhealthy (responded with \"NOT_SERVING\")".to_owned(), "gRPC :5000: answers NOT_SERVING", "the program itself reports"),
        (&grpc, "timeout: failed to connect service \"10.1.1.1:5000\" within 1s: context deadline exceeded".to_owned(), "failed to connect within timeoutSeconds", "network policies"),
        (&command, "cat: /tmp/healthy: No such file or directory".to_owned(), "command check: cat: /tmp/healthy: No such file or directory", "by hand"),
        (&command, "Could not connect to Redis at localhost:6379: Connection refused".to_owned(), "command check: Could not connect to Redis at localhost:6379: Connection refused", "by hand"),
        (&command, "command timed out: \"pg_isready -U postgres\" timed out after 1s".to_owned(), "did not finish within timeoutSeconds 1", "timeoutSeconds 1"),
        (&command, "rpc error: code = DeadlineExceeded desc = failed to exec in container: timeout 1s exceeded: context deadline exceeded".to_owned(), "did not finish within timeoutSeconds 1", "timeoutSeconds 1"),
        (&command, "OCI runtime exec failed: exec failed: unable to start container process: exec: \"/bin/grpc_health_probe\": stat /bin/grpc_health_probe: no such file or directory: unknown".to_owned(), "/bin/grpc_health_probe not found in the image", "not in the image"),
    ] {
        let ready = app_with(json!({"readinessProbe": probe}), running(1900), json!({}), 0);
        let message = if complaint.contains(" probe errored") { complaint } else { format!("Readiness probe failed: {complaint}") };
        let found = look_with(&ready, &[event("Unhealthy", &message, 10)]);
        let f = warns(&found, R::ReadinessProbeFailed, C::ReadinessProbe, &[]);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
        assert!(f.next_steps[0].contains(hint), "{hint:?} is not in: {:?}", f.next_steps);
    }
    // The same of a probe that kills.
    let dead = app_with(
        json!({"livenessProbe": http}),
        waiting("CrashLoopBackOff", "back-off 5m0s"),
        end("Error", 137, 122, 60),
        7,
    );
    let killing =
        event_times("Killing", "Container app failed liveness probe, will be restarted", 1400, 90, 6);
    let complaint = event_times(
        "Unhealthy",
        "Liveness probe failed: HTTP probe failed with statuscode: 500",
        1400,
        91,
        18,
    );
    let f = warns(&look_with(&dead, &[killing, complaint]), R::LivenessProbeFailed, C::LivenessProbe, &[]);
    assert!(f.summary.ends_with(": GET :8080/healthz: HTTP status 500"), "{}", f.summary);
}

#[test]
fn a_crash_says_by_its_log_why_in_the_first_line() {
    let crashed = |log: &str, code: i64| {
        let pod = app(waiting("CrashLoopBackOff", "back-off 5m0s"), end("Error", code, 63, 60), 7);
        let logs = [diagnosis::ContainerLog {
            namespace: "shop".to_owned(),
            pod: "cart-7d9f-x2x".to_owned(),
            container: "app".to_owned(),
            previous: false,
            tail: log.as_bytes().to_vec(),
            reading: None,
        }];
        let context = Context { sources: Sources::ALL, logs: &logs, ..Context::pod_only() };
        diagnosis::diagnose(&pod, &context, now()).findings.remove(0)
    };
    for (log, code, cause, said) in [
        (
            "Web server failed to start. Port 8080 was already in use.\n",
            1,
            C::AddressInUse,
            "Port 8080 was already in use",
        ),
        (
            "/entrypoint.sh: set: line 2: illegal option -\n",
            2,
            C::CommandNotFound,
            "set: line 2: illegal option -",
        ),
        (
            "WARNING: MongoDB 5.0+ requires a CPU with AVX support, and your current system does not appear to have that!\n",
            132,
            C::IllegalInstruction,
            "requires a CPU with AVX support",
        ),
    ] {
        let f = crashed(log, code);
        assert_eq!(f.cause.code, cause, "{}", words(&f));
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
        assert!(f.summary.contains(&format!("(exit code {code}")), "{}", f.summary);
    }
    // The Service to look for is the name that was not found, and no word of the sentence.
    for (log, step) in [
        ("curl: (6) Could not resolve host: redis\n", "kubectl -n shop get service redis"),
        ("wget: bad address 'db.data.svc'\n", "kubectl -n data get service db"),
        ("wget: unable to resolve host address 'repo.example.com'\n", "check the host name"),
    ] {
        let f = crashed(log, 1);
        assert_eq!(f.cause.code, C::DependencyNameNotResolved, "{}", words(&f));
        assert!(f.next_steps[0].starts_with(step), "{step:?}: {:?}", f.next_steps);
    }
    // Apache names the error before the address; and a script that failed is told, not how the rest was stopped.
    let f = crashed(
        "(13)Permission denied: AH00072: make_sock: could not bind to address 0.0.0.0:80\nno listening sockets available, shutting down\n",
        1,
    );
    assert_eq!(f.cause.code, C::PermissionDenied, "{}", words(&f));
    let f = crashed(
        "[cont-init.d] 01-env: exited 0.\n[cont-init.d] 10-user: exited 8.\n[cont-finish.d] executing container finish scripts...\n[s6-finish] sending all processes the TERM signal.\n",
        1,
    );
    assert!(f.summary.ends_with("10-user: exited 8"), "{}", f.summary);
    // A line that nobody knows is given as it is, behind an exit code that may say more.
    let f = crashed("done with what there was\n", 1);
    assert!(f.summary.ends_with("(exit code 1): last log line: done with what there was"), "{}", f.summary);
    let f = crashed("done with what there was\n", 139);
    assert!(f.summary.contains("SIGSEGV") && f.summary.contains("done with what"), "{}", f.summary);
}

#[test]
fn the_first_line_of_a_pod_without_a_node_names_what_it_asks_for() {
    let with = |message: &str, spec: Value| {
        let mut state = pending("Unschedulable", message, 900);
        let asked = super::reasons::pod(json!({"spec": spec}));
        state.spec.volumes = asked.spec.volumes;
        state.spec.node_selector = asked.spec.node_selector;
        state.spec.containers = asked.spec.containers;
        state
    };
    let requests =
        json!({"containers": [{"name": "app", "resources": {"requests": {"cpu": "64", "memory": "1Ti"}}}]});
    let ports = json!({"containers": [{"name": "app", "ports": [{"containerPort": 80, "hostPort": 8080}]}]});
    let claim = json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}}]});
    for (message, spec, code, said) in [
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu, 2 Insufficient memory. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            requests,
            C::InsufficientResources,
            "0/3 nodes: 2 Insufficient cpu (the pod requests 64), 2 Insufficient memory (the pod requests 1Ti), 1 node(s) had untolerated taint(s)",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
            json!({"nodeSelector": {"disk": "ssd"}}),
            C::NodeSelectorMismatch,
            "0/3 nodes: 3 node(s) didn't match Pod's node affinity/selector (nodeSelector disk=ssd)",
        ),
        (
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
            ports,
            C::HostPortTaken,
            "0/1 nodes: 1 node(s) didn't have free ports for the requested pod ports (host port 8080)",
        ),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
            claim.clone(),
            C::VolumeUnavailable,
            "0/3 nodes: pod has unbound immediate PersistentVolumeClaims (claim data-0)",
        ),
        // All nodes but its own are ruled out for a pod of a DaemonSet before they are looked at.
        (
            "0/3 nodes are available: 1 Insufficient memory, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.",
            json!({"containers": [{"name": "app", "resources": {"requests": {"memory": "60Gi"}}}]}),
            C::InsufficientResources,
            "0/3 nodes: 1 Insufficient memory (the pod requests 60Gi)",
        ),
        // So since 1.34; before: "volume node affinity conflict".
        (
            "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
            claim,
            C::VolumeUnavailable,
            "1 node(s) didn't match PersistentVolume's node affinity (claim data-0)",
        ),
    ] {
        let f = warns(&look(&with(message, spec)), R::Unschedulable, code, &[]);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
    }
}

#[test]
fn taints_that_the_scheduler_no_longer_names_are_read_from_the_nodes() {
    let node = |name: &str, taints: Value| -> Node {
        decode(&json!({"metadata": {"name": name}, "spec": {"taints": taints}}))
    };
    let taint = |key: &str, value: &str| json!([{"key": key, "value": value, "effect": "NoSchedule"}]);
    let of = |count: u32, nodes: Vec<Node>| {
        let message = format!(
            "0/{} nodes are available: {count} node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/{count} nodes are available: {count} Preemption is not helpful for scheduling.",
            nodes.len()
        );
        let pods = vec![pending("Unschedulable", &message, 900)];
        survey(Snapshot { pods, nodes, ..Snapshot::default() }).findings.remove(0)
    };
    let f = of(1, vec![node("gpu-1", taint("dedicated", "gpu"))]);
    assert_eq!(f.cause.code, C::UntoleratedTaint);
    assert!(f.summary.contains("node gpu-1 has the taint dedicated=gpu:NoSchedule"), "{}", f.summary);
    // That tells the state of the node: it is to be mended, not tolerated.
    let f = of(1, vec![node("worker", taint("node.kubernetes.io/not-ready", ""))]);
    assert_eq!(f.cause.code, C::NodeUnready);
    assert!(f.next_steps[0].contains("not ready") && !words(&f).contains("toleration"), "{}", words(&f));
    // Beside the one that nearly every cluster has; and with both of its effects it is still one.
    let gone = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]);
    let f = of(2, vec![node("cp", taint("node-role.kubernetes.io/control-plane", "")), node("worker", gone)]);
    assert_eq!(f.cause.code, C::NodeUnready);
    assert!(
        f.summary.contains("node worker has the taint node.kubernetes.io/unreachable:NoSchedule, and others"),
        "{}",
        f.summary
    );
    // Which of two the pod does not tolerate, is not known; nor does a mere preference keep it away.
    let preferred = json!([{"key": "spot", "value": "", "effect": "PreferNoSchedule"}]);
    let f = of(1, vec![node("a", taint("one", "")), node("b", taint("two", ""))]);
    assert!(f.summary.contains("untolerated taint(s)"), "{}", f.summary);
    let f = of(1, vec![node("a", taint("one", "")), node("b", preferred)]);
    assert!(f.summary.contains("node a has the taint one:NoSchedule"), "{}", f.summary);
}

#[test]
fn a_cron_job_that_makes_no_jobs_says_why_until_it_makes_one() {
    let cron_job = |more: Value| -> CronJob {
        let mut base = json!({"metadata": {"name": "sync", "namespace": "shop", "uid": "c"}});
        super::reasons::merge(&mut base, more);
        decode(&base)
    };
    let look = |cron_job: CronJob, reason: &str, message: &str| {
        let mut event = event_times(reason, message, 600, 60, 10);
        event.involved_object.kind = "CronJob".to_owned();
        event.involved_object.uid = "c".to_owned();
        survey(Snapshot { cron_jobs: vec![cron_job], events: packed([event]), ..Snapshot::default() })
            .findings
    };
    let quota = "Error creating job: jobs.batch \"sync-29700001\" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5";
    for (reason, message, code, said) in [
        (
            "FailedCreate",
            quota,
            C::QuotaExceeded,
            "Jobs of CronJob sync cannot be created: exceeded quota: jobs, requested: count/jobs.batch=1",
        ),
        (
            "UnknownTimeZone",
            "invalid timeZone: \"Mars/Base\": unknown time zone Mars/Base",
            C::InvalidConfiguration,
            "unknown time zone Mars/Base",
        ),
        (
            "MissSchedule",
            "Missed scheduled time to start a job: Sun, 22 Nov 2026 11:00:00 UTC",
            C::InvalidConfiguration,
            "startingDeadlineSeconds passed",
        ),
    ] {
        let found = look(cron_job(json!({})), reason, message);
        assert_eq!((found.len(), found[0].reason.as_str(), found[0].cause.code), (1, "FailedCreate", code));
        assert!(found[0].summary.contains(said), "{said:?} is not in: {}", found[0].summary);
        assert_eq!(found[0].workload.as_ref().unwrap().kind, "CronJob");
        assert!(look(cron_job(json!({"status": {"lastScheduleTime": ago(30)}})), reason, message).is_empty());
        assert!(look(cron_job(json!({"spec": {"suspend": true}})), reason, message).is_empty());
    }
    // It goes on after that one.
    let missed =
        "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
    assert!(look(cron_job(json!({})), "TooManyMissedTimes", missed).is_empty());
}

#[test]
fn a_failed_job_says_in_its_first_line_why_its_pods_fail() {
    let failed = |name: &str| {
        let ended = super::reasons::container("app", end("Error", 1, 305, 300), json!({}), 0);
        super::reasons::pod(json!({"metadata": {"name": name, "uid": name, "ownerReferences":
                [{"apiVersion": "batch/v1", "kind": "Job", "name": "import", "uid": "j", "controller": true}]},
            "spec": {"restartPolicy": "Never"},
            "status": {"phase": "Failed", "containerStatuses": [ended]}}))
    };
    let job: objects::Job = decode(&json!({"metadata": {"name": "import", "namespace": "shop", "uid": "j"},
        "spec": {"backoffLimit": 1}, "status": {"failed": 2, "conditions": [{"type": "Failed", "status": "True",
            "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit", "lastTransitionTime": ago(200)}]}}));
    let logs = vec![diagnosis::ContainerLog {
        namespace: "shop".to_owned(),
        pod: "import-aaaaa".to_owned(),
        container: "app".to_owned(),
        previous: false,
        tail: b"Traceback (most recent call last):\n  File \"/app/x.py\", line 3, in <module>\nKeyError: 'DATABASE_URL'\n"
            .to_vec(),
        reading: None,
    }];
    let pods = vec![failed("import-aaaaa"), failed("import-bbbbb")];
    let found = survey(Snapshot { pods, jobs: vec![job], logs, ..Snapshot::default() });
    let f = &found.findings[0];
    assert_eq!((f.reason.as_str(), f.cause.code), ("BackoffLimitExceeded", C::TooManyFailures));
    assert!(f.summary.contains("backoffLimit of 1"), "{}", f.summary);
    assert!(f.summary.contains("KeyError: 'DATABASE_URL'"), "{}", f.summary);
}

#[test]
fn a_failure_that_its_job_never_hears_of_is_no_try_that_it_allows() {
    let pod = |proxy: Value, ended: i64| {
        super::reasons::pod(json!({"metadata": {"ownerReferences":
                [{"apiVersion": "batch/v1", "kind": "Job", "name": "import", "uid": "j", "controller": true}]},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "a"}, {"name": "proxy", "image": "b"}]},
            "status": {"containerStatuses": [
                super::reasons::container("app", end("Error", 1, ended + 5, ended), json!({}), 0),
                super::reasons::container("proxy", proxy, json!({}), 0)]}}))
    };
    warns(&look(&pod(running(3000), 2000)), R::Error, C::ApplicationError, &["proxy still runs"]);
    // It may be about to end, too; and where it has, the Job is told.
    super::reasons::quiet(&look(&pod(running(3000), 60)));
    super::reasons::quiet(&look(&pod(end("Completed", 0, 3000, 1990), 2000)));
}

#[test]
fn a_claim_on_devices_that_cannot_be_made_is_no_scheduler_that_does_not_run() {
    let mut pod = pending("Unschedulable", "", 900);
    pod.status.conditions.clear();
    warns(&look(&pod), R::SchedulerError, C::SchedulingConstraints, &["no scheduler"]);
    let refused = event(
        "FailedResourceClaimCreation",
        "PodResourceClaim gpu: resourceclaimtemplate.resource.k8s.io \"one-gpu\" not found",
        30,
    );
    let f = warns(
        &look_with(&pod, &[refused]),
        R::FailedPrepareDynamicResources,
        C::DeviceAllocationFailed,
        &["resourceclaimtemplates"],
    );
    assert!(f.summary.contains("\"one-gpu\" not found"), "{}", f.summary);
}

#[test]
fn a_start_that_fails_for_its_configuration_says_which_in_the_first_line() {
    for (reason, message, said) in [
        (
            "CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root (pod: \"cart_shop(0a1b)\", container: app)",
            "image will run as root",
        ),
        (
            "CreateContainerConfigError",
            "failed to prepare subPath for volumeMount \"data\" of container \"app\"",
            "volumeMount data",
        ),
        (
            "CreateContainerConfigError",
            "environment variable key \"DB\" not found in file \"cfg.env\"",
            "key \"DB\" not found in file \"cfg.env\"",
        ),
        ("CreateContainerConfigError", "something quite new about hosts", "something quite new about hosts"),
        (
            "ErrImageNeverPull",
            "Container image \"r.example.com/shop/cart:1\" is not present with pull policy of Never",
            "image r.example.com/shop/cart:1 is not on the node",
        ),
    ] {
        let found = look(&stuck(reason, message, 300));
        assert!(
            found.findings[0].summary.contains(said),
            "{said:?} is not in: {}",
            found.findings[0].summary
        );
    }
    for (message, said) in [
        (
            "pods \"cart-1\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"app\" must set securityContext.allowPrivilegeEscalation=false), runAsNonRoot != true (pod or container \"app\" must set securityContext.runAsNonRoot=true)",
            "violates PodSecurity restricted:latest: allowPrivilegeEscalation != false, runAsNonRoot != true",
        ),
        (
            "pods \"cart-1\" is forbidden: maximum memory usage per Container is 512Mi, but limit is 2Gi",
            "is 512Mi, but limit is 2Gi",
        ),
        ("pods \"cart-1\" is forbidden: no PriorityClass with name high was found", "PriorityClass high"),
    ] {
        let f = refused(message);
        assert!(f.summary.contains(said), "{said:?} is not in: {}", f.summary);
    }
}

#[test]
fn all_that_a_pod_lacks_for_its_volumes_is_named() {
    let lacks = |messages: &[&str]| {
        let events: Vec<Event> =
            messages.iter().enumerate().map(|(n, m)| event("FailedMount", m, 20 + n as i64)).collect();
        look_with(&unborn("False", 600), &events)
    };
    let both = "MountVolume.SetUp failed for volume \"all\" : [configmap \"app-config\" not found, secret \"app-tls\" not found]";
    let f = warns(
        &lacks(&[both]),
        R::VolumeNotReady,
        C::MissingSecret,
        &["get configmap app-config", "get secret app-tls"],
    );
    assert!(f.summary.contains("ConfigMap app-config, Secret app-tls"), "{}", f.summary);
    // Each volume has an event of its own.
    let of = |volume: &str, what: &str| {
        format!("MountVolume.SetUp failed for volume \"{volume}\" : {what} not found")
    };
    let (map, secret) = (of("cfg", "configmap \"app-config\""), of("tls", "secret \"app-tls\""));
    warns(
        &lacks(&[&secret, &map]),
        R::VolumeNotReady,
        C::MissingSecret,
        &["Secret app-tls of volume tls", "app-config"],
    );
    // A key that no volume of the pod's spec tells the object of: it is of no object that could be named.
    let key = "MountVolume.SetUp failed for volume \"all\" : references non-existent config key: app.yaml";
    let f = warns(&lacks(&[key]), R::VolumeNotReady, C::MissingConfigMapKey, &["has no key app.yaml"]);
    assert_eq!(f.scope, None);
}

#[test]
fn an_attempt_that_is_held_up_by_an_earlier_one_says_what_failed_that_one() {
    let mount =
        |words: &str| format!("MountVolume.SetUp failed for volume \"data\" : rpc error: code = {words}");
    for (reason, held_up, earlier, said) in [
        (
            "FailedAttachVolume",
            mount("Unavailable desc = ControllerPublish not permitted on node \"w-1\" due to backoff condition"),
            mount("Internal desc = Failed to Attach: The disk is already being used by instance w-2"),
            "already being used by instance w-2",
        ),
        (
            "FailedMount",
            mount("Aborted desc = an operation with the given Volume ID v-77 already exists"),
            mount("Internal desc = mount failed: exit status 32: mount.nfs: access denied by server while mounting nas:/data"),
            "access denied by server",
        ),
        (
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to reserve sandbox name \"cart\": name \"cart\" is reserved for \"77\"".to_owned(),
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network: plugin type=\"macvlan\" failed (add): master interface ens19 not found".to_owned(),
            "ens19",
        ),
    ] {
        let found = look_with(&unborn("False", 600), &[event(reason, &held_up, 20), event(reason, &earlier, 50)]);
        assert!(found.findings[0].summary.contains(said), "{said:?} is not in: {}", found.findings[0].summary);
        let alone = look_with(&unborn("False", 600), &[event(reason, &held_up, 20)]);
        assert!(!alone.findings.is_empty(), "{held_up}");
    }
}

#[test]
fn a_deadline_that_passed_before_anything_ran_says_what_it_waited_for() {
    let mut never = stuck("ImagePullBackOff", "Back-off pulling image \"r.example.com/shop/cart:9\"", 900);
    never.status.phase = "Failed".to_owned();
    never.status.reason = "DeadlineExceeded".to_owned();
    let f = warns(&look(&never), R::DeadlineExceeded, C::DeadlineReached, &["describe pod"]);
    assert!(f.summary.contains("container app never started: ImagePullBackOff"), "{}", f.summary);
    assert!(!words(&f).contains("raise activeDeadlineSeconds"), "{}", words(&f));
}

#[test]
fn without_events_the_pod_itself_tells_what_may_be_missing() {
    let mut waits = unborn("False", 900);
    let volumes = json!({"spec": {"volumes": [{"name": "cfg", "configMap": {"name": "app-config"}},
        {"name": "tls", "secret": {"secretName": "app-tls"}}, {"name": "d", "persistentVolumeClaim": {"claimName": "data-0"}}]}});
    waits.spec.volumes = super::reasons::pod(volumes).spec.volumes;
    let f = warns(&look(&waits), R::PodNotStarted, C::Unexplained, &[]);
    assert!(
        words(&f).contains("its volumes need ConfigMap app-config, Secret app-tls, claim data-0"),
        "{}",
        words(&f)
    );
    let probe = json!({"livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10, "failureThreshold": 3}});
    let killed = app_with(probe, end("Error", 137, 50, 5), end("Error", 137, 130, 85), 3);
    let f = warns(&look(&killed), R::CrashLoopBackOff, C::LivenessProbe, &[]);
    assert!(f.summary.ends_with("; its liveness probe may have killed it"), "{}", f.summary);
}
