//! Why an image is not there: the answers of registries, and of runtimes that store images.
//!
//! The order matters: some answers contain the words of others (a missing platform ends in "not found").

use super::generic::Fact;
use super::{Of, Rule, rule};
use crate::diagnosis::cause::CauseCode as C;

const CURL: &str = "from node {node}: curl -v {url}";

/// First match wins.
pub const RULES: &[Rule] = &[
    rule("kubelet throttle", C::KubeletPullThrottled).any(&["pull qps exceeded"]),
    rule("rate limit", C::RegistryRateLimited).fact(&[Fact::RateLimited]).of(Of::Registry),
    rule("no build for the platform", C::ImagePlatformMismatch).any(&[
        "no match for platform in manifest",
        "no matching manifest for",
        "no image found in manifest list for architecture",
        "no image found in image index for architecture",
        "no match for platform",
        "image architecture mismatch",
        "is incompatible with a",
        "does not match the host operating system",
        "cannot be used on this platform",
        "image operating system",
    ]),
    // A Windows node makes a layer only from one that has the parts of a Windows layer.
    rule("layer without Windows parts", C::ImagePlatformMismatch)
        .any(&["hcsshim::processbaselayer", "hcsshim::processutilityvmimage", "hcsshim::importlayer"])
        .fact(&[Fact::NotFound])
        .note("not a Windows layer: the image is for another platform, most likely Linux"),
    rule("slow handshake", C::RegistryUnreachable).any(&["tls handshake timeout"]).of(Of::Registry).only(&[CURL]),
    rule("signature", C::ImageSignature)
        .any(&["source image rejected", "signature validation failed", "no signature exists", "signature verification", "invalid signature"]),
    rule("clock", C::RegistryTlsError)
        .fact(&[Fact::NotYetValid])
        .of(Of::Node)
        .note("that is the time on node {node}: check its clock")
        .only(&["on node {node}: date, timedatectl, chronyc tracking: correct the time (NTP); only if it is right, look at the certificate"]),
    rule("expired certificate", C::RegistryTlsError)
        .fact(&[Fact::Expired])
        .of(Of::Registry)
        .only(&["renew the certificate of {registry}; if it is valid, correct the clock of node {node}"]),
    rule("plain HTTP", C::RegistryTlsError)
        .fact(&[Fact::PlainHttp])
        .of(Of::Registry)
        .only(&["enable TLS on {registry}, or, only in a network that you trust, list it as a plain HTTP registry in the container runtime's settings on every node (containerd: certs.d/{registry}/hosts.toml)"]),
    rule("TLS", C::RegistryTlsError).fact(&[Fact::Tls]).of(Of::Registry),
    rule("disk full", C::NodeDiskFull).fact(&[Fact::DiskFull]).of(Of::Node),
    rule("the node cannot store it", C::ImagePullFailed)
        .fact(&[Fact::ReadOnly, Fact::IoError])
        .of(Of::Node)
        .only(&["on node {node}: dmesg, and the health of the disk behind the runtime's directory", "kubectl describe node {node}"]),
    rule("proxy", C::RegistryUnreachable)
        .any(&["proxyconnect", "proxy authentication required", "407 proxy"])
        .of(Of::Node)
        .note("the proxy that the container runtime uses")
        .only(&["on node {node}: check HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the container runtime's service (systemctl cat containerd), and that the proxy listens"]),
    rule("name server silent", C::RegistryNameNotResolved)
        .all(&["lookup "])
        .any(&["i/o timeout", "connection refused", "no route to host", "network is unreachable", "timed out"])
        .of(Of::Node)
        .note("DNS on the node: name server {server} does not answer"),
    rule("name", C::RegistryNameNotResolved)
        .fact(&[Fact::Dns])
        .of(Of::Registry)
        .note("DNS on the node: the name does not resolve"),
    rule("cut off", C::RegistryUnreachable).fact(&[Fact::Reset]).of(Of::Registry).only(&[CURL, "check the proxy, firewall and MTU between the node and the registry"]),
    rule("unreachable", C::RegistryUnreachable)
        .fact(&[Fact::Refused, Fact::Unreachable])
        .of(Of::Registry)
        .only(&[CURL]),
    // Unpacking is the node's own work: the registry has answered.
    rule("slow to unpack", C::ImagePullSlow)
        .any(&["extraction snapshot", "failed to extract layer", "mount callback failed"])
        .fact(&[Fact::TimeOut])
        .of(Of::Node)
        .only(&["on node {node}: check the disk load (iostat), and read the log of the container runtime", "kubectl describe node {node}"]),
    // The runtime breaks a pull off when no data have come for as long as it waits.
    rule("too slow", C::ImagePullSlow).any(&["context canceled"]).of(Of::Registry).only(&[CURL, "the runtime cancels a pull that receives no data for a time (containerd: image_pull_progress_timeout)"]),
    rule("no answer", C::RegistryUnreachable)
        .fact(&[Fact::TimeOut])
        .of(Of::Registry)
        .only(&[CURL]),
    rule("registry unavailable", C::RegistryUnreachable).any(&["the registry is unavailable"]).of(Of::Registry).only(&[CURL]),
    rule("registry fails", C::RegistryError).fact(&[Fact::ServerError]).of(Of::Registry).only(&[CURL, "check the registry's status and log; the kubelet retries"]),
    rule("old service", C::RegistryError).any(&["is deprecated and shutting down"]).of(Of::Registry).only(&["pull the image from the registry that replaced it"]),
    // Unpacking begins when all parts have come: what is not found then is missing in the node's own store.
    rule("store lacks a part", C::ImageCorrupt)
        .any(&[
            "extraction snapshot",
            "parent snapshot",
            "snapshot sha256",
            "on snapshotter",
            "failed to extract layer",
            "failed to create snapshot",
            "failed to commit snapshot",
            "content store",
            "adding layer with blob",
            "layer not known",
            "committing the finished image",
        ])
        .fact(&[Fact::NotFound])
        .of(Of::Node)
        .note("in the node's own store; the registry has the image")
        .only(&["on node {node}: crictl rmi {image}, then it is pulled again; if that does not help, read the log of the container runtime"]),
    // The tag is there: its manifest was read before.
    rule("part missing", C::RegistryError)
        .any(&["could not fetch content descriptor", "blob unknown", "blob_unknown", "unknown blob"])
                .of(Of::Registry)
        .note("the registry has the manifest, but not this part of the image")
        .only(&["push the image again, or have the registry (or mirror) fetch it again: garbage collection or an incomplete upload can lose parts"]),
    rule("part not found", C::RegistryError)
        .any(&["failed to copy: httpreadseeker", "fetching blob", "reading blob"])
        .fact(&[Fact::NotFound])
        .of(Of::Registry)
        .note("the registry has the manifest, but not this part of the image")
        .only(&["push the image again, or have the registry (or mirror) fetch it again: garbage collection or an incomplete upload can lose parts"]),
    // Answers of a registry's guards, not about credentials.
    rule("firewall of the registry", C::RegistryUnauthorized)
        .any(&["is not allowed access", "/acr/firewall", "not in the allowed ip"])
        .only(&["allow the nodes' outgoing addresses in the registry's firewall"]),
    // Registries of clouds hand their layers out from another host.
    rule("storage of the registry", C::RegistryUnauthorized)
        .any(&["blob.core.windows.net", "starport-layer-bucket", ".s3.", "cloudfront.net", "storage.googleapis.com", "r2.cloudflarestorage.com"])
        .all(&["403"])
        .note("the registry's storage denies the request, not the registry itself")
        .only(&["allow the nodes to read from that storage host (firewall, private endpoint, endpoint policy); a proxy may alter the signed URL"]),
    rule("policy of the registry", C::RegistryUnauthorized)
        .any(&["due to configured policy", "prevented by policy", "blocked by policy", "quarantined"])
        .only(&["correct what violates the policy, or have the registry's admins exempt the image"]),
    rule("named policy of the registry", C::RegistryUnauthorized)
        .all(&["blocked by ", " policy"])
        .only(&["correct what violates the policy, or have the registry's admins exempt the image"]),
    rule("blocked on the node", C::ImagePullFailed)
        .any(&["is blocked in "])
        .of(Of::Node)
        .only(&["on node {node}: /etc/containers/registries.conf lists the blocked registries"]),
    // The registry asked for credentials and got none: more than "may require".
    rule("no credentials", C::RegistryUnauthorized).fact(&[Fact::NoCredentials]).note("no credentials for the registry were sent"),
    rule("bad login", C::RegistryUnauthorized).any(&["invalid username/password", "incorrect username or password"]),
    // Docker says "may not exist" of any refusal; the registry's own words behind it decide.
    rule("expired token", C::RegistryUnauthorized)
        .any(&["token has expired", "token is expired", "token expired", "expiredtoken"])
        .only(&["get a new token, and replace the one in the pod's pull Secret or in the node's credential provider"]),
    rule("not found or private", C::ImageNotFoundOrPrivate).any(&[
        "pull access denied",
        "may require authorization",
        "insufficient_scope",
        "(or it may not exist)",
        // Docker Hub, of a repository that is private or is none.
        "requested access to the resource is denied",
    ]),
    rule("refused", C::RegistryUnauthorized).fact(&[Fact::Unauthorized, Fact::Forbidden]),
    rule("short name", C::ImageShortName).any(&["short name mode is enforcing", "short-name", "did not resolve to an alias"]),
    rule("signature policy", C::ImageSignature).any(&["signature"]),
    rule("reference", C::InvalidImageReference)
        .any(&["invalid reference format", "failed to parse image reference", "couldn't parse image name", "couldn't parse image reference", "repository name must be lowercase"]),
    // What is gone from the node's own store is not missing at the registry, nor is what the runtime cannot read.
    rule("broken", C::ImageCorrupt).any(&[
        "content digest",
        "unexpected commit ",
        "mismatched image rootfs",
        "no processor for media-type",
        "media type",
        "schema 1",
        "failed size validation",
        "no longer supported",
        "invalid tar header",
        "digest mismatch",
        "wrong diff id",
    ]),
    rule("digest", C::ImageCorrupt).all(&["digest", "mismatch"]),
    rule("not found", C::ImageNotFound).any(&[
        "manifest unknown",
        "manifest_unknown",
        "name unknown",
        "name_unknown",
        "404 not found",
        ": not found",
        "code = notfound",
        "image not known",
        "manifest invalid",
    ]),
    // `artifact x not found` of Harbor, `image x not found` of old Docker.
    rule("not found, other words", C::ImageNotFound).any(&["artifact", "image", "repository", "tag "]).all(&[" not found"]),
    rule("odd status", C::RegistryError).any(&["unexpected status"]).of(Of::Registry).only(&[CURL]),
];
