//! Why an image is not there, read from what the runtime answered.
//!
//! The order in which the texts are tried matters: some answers contain the words
//! of others (a platform mismatch ends in "not found").

use super::cause::CauseCode;
use super::text;

/// What a pull error says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullError {
    /// The kind of cause.
    pub code: CauseCode,
    /// In a few words.
    pub short: &'static str,
    /// One plain sentence that names the image or the registry.
    pub text: String,
    /// What to do, if there is more to say than where to look.
    pub advice: Option<String>,
}

type Kind = (CauseCode, &'static [&'static str]);

/// Words of a registry that does not let the node's address in.
const FIREWALL: &[&str] = &["is not allowed access", "/acr/firewall", "not in the allowed ip"];

/// Words of a registry whose policy keeps an image back.
const POLICY: &[&str] = &["due to configured policy", "prevented by policy", "quarantined"];

/// First hit wins; all texts in lower case.
const KINDS: &[Kind] = &[
    (CauseCode::RegistryRateLimited, &["toomanyrequests", "429 too many requests", "pull rate limit"]),
    (CauseCode::KubeletPullThrottled, &["pull qps exceeded"]),
    (
        CauseCode::ImagePlatformMismatch,
        &[
            "no match for platform in manifest",
            "no matching manifest for",
            "no image found in manifest list for architecture",
            "no image found in image index for architecture",
            "image architecture mismatch",
            "is incompatible with a",
            "does not match the host operating system",
            "cannot be used on this platform",
        ],
    ),
    (CauseCode::RegistryUnreachable, &["tls handshake timeout"]),
    (CauseCode::ImageSignature, &["source image rejected", "signature validation failed"]),
    (
        CauseCode::RegistryTlsError,
        &["x509:", "tls: ", "server gave http response to https client", "certificate "],
    ),
    (CauseCode::NodeDiskFull, &["no space left on device", "disk quota exceeded"]),
    (
        CauseCode::RegistryNameNotResolved,
        &["no such host", "server misbehaving", "temporary failure in name resolution"],
    ),
    (
        CauseCode::RegistryUnreachable,
        &[
            "proxy authentication required",
            "i/o timeout",
            "connection refused",
            "connection reset",
            "no route to host",
            "network is unreachable",
            "proxyconnect",
            "context deadline exceeded",
            "unexpected eof",
            ": eof",
            "client.timeout exceeded",
            "timed out",
            "the registry is unavailable",
        ],
    ),
    (
        CauseCode::RegistryError,
        &[" 500 internal", " 502 ", " 503 ", " 504 ", "is deprecated and shutting down"],
    ),
    // An answer of the registry's guards, not about credentials.
    (CauseCode::RegistryUnauthorized, FIREWALL),
    (CauseCode::RegistryUnauthorized, POLICY),
    // With "no basic auth credentials" the registry did ask for credentials: that is more than "may require".
    (CauseCode::RegistryUnauthorized, &["no basic auth credentials", "invalid username/password"]),
    (
        CauseCode::ImageNotFoundOrPrivate,
        &[
            "pull access denied",
            "may require authorization",
            "insufficient_scope",
            "(or it may not exist)",
            // Docker Hub, of a repository that is private or is none.
            "requested access to the resource is denied",
        ],
    ),
    (
        CauseCode::RegistryUnauthorized,
        &[
            "401 unauthorized",
            "403 forbidden",
            "(forbidden)",
            "authentication required",
            "authorization failed",
            "access to the resource is denied",
            "unauthorized",
            "denied:",
            "denied on resource",
            "not authorized",
            ": 401",
            ": 403",
        ],
    ),
    (CauseCode::ImageShortName, &["short name mode is enforcing", "short-name"]),
    (CauseCode::ImageSignature, &["signature"]),
    (
        CauseCode::InvalidImageReference,
        &["invalid reference format", "failed to parse image reference", "couldn't parse image name"],
    ),
    // What is gone from the node's own store is not missing at the registry, nor is what the runtime cannot read.
    (
        CauseCode::ImageCorrupt,
        &[
            "content digest",
            "unexpected commit ",
            "mismatched image rootfs",
            "no processor for media-type",
            "media type",
            "schema 1",
        ],
    ),
    (
        CauseCode::ImageNotFound,
        &["manifest unknown", "name unknown", "404 not found", ": not found", "code = notfound"],
    ),
    (
        CauseCode::ImageCorrupt,
        &["failed size validation", "no longer supported", "invalid tar header", "digest mismatch"],
    ),
    // The runtime breaks a pull off when no data have come for as long as it waits.
    (CauseCode::ImagePullSlow, &["context canceled"]),
];

/// Reads a waiting message or an event's text. None if it holds no error: the kubelet forgets the cause when it restarts.
pub fn classify(image: &str, message: &str) -> Option<PullError> {
    let message = cause_of(message)?;
    // Several credentials give `[error, error]`, the pod's own last.
    let parts: Vec<&str> = match message.strip_prefix('[').and_then(|m| m.strip_suffix(']')) {
        Some(inner) => inner
            .split("\", \"")
            .flat_map(|p| p.split(", rpc error"))
            .flat_map(|p| p.split(", failed to pull"))
            .collect(),
        None => vec![message],
    };
    let code = parts.iter().rev().find_map(|part| kind(part)).unwrap_or(CauseCode::ImagePullFailed);
    Some(PullError {
        code,
        short: short(code, message),
        text: sentence(code, image, message),
        advice: advice(code, image, message),
    })
}

/// The error within a waiting message: behind `Back-off pulling image "x": ErrImagePull: `.
fn cause_of(message: &str) -> Option<&str> {
    let message = message.trim();
    let rest = match message.strip_prefix("Back-off pulling image ") {
        // The image is quoted and holds colons of its own.
        Some(rest) => match rest.strip_prefix('"').and_then(|r| r.split_once('"')) {
            Some((_, rest)) => rest.strip_prefix(": ").unwrap_or_default(),
            None => "",
        },
        None => message,
    };
    let rest = ["ErrImagePull: ", "RegistryUnavailable: ", "SignatureValidationFailed: "]
        .iter()
        .find_map(|p| rest.strip_prefix(p))
        .unwrap_or(rest);
    Some(rest.trim()).filter(|r| !r.is_empty())
}

fn kind(message: &str) -> Option<CauseCode> {
    let lower = message.to_lowercase();
    // A name server that does not answer, not the registry.
    if lower.contains("dial tcp: lookup ") && lower.contains("i/o timeout") {
        return Some(CauseCode::RegistryNameNotResolved);
    }
    let mut found =
        KINDS.iter().find(|(_, words)| words.iter().any(|w| lower.contains(w))).map(|(code, _)| *code);
    if found.is_none() && lower.contains("digest") && lower.contains("mismatch") {
        found = Some(CauseCode::ImageCorrupt);
    }
    // Any other status that a registry should not answer with.
    if found.is_none() && lower.contains("unexpected status") {
        found = Some(CauseCode::RegistryError);
    }
    // Such as `artifact x not found`, of Harbor, or `image x not found`, of old Docker.
    if found.is_none() && lower.trim_end_matches(['"', '.', ' ']).ends_with(" not found") {
        found = Some(CauseCode::ImageNotFound);
    }
    found
}

fn short(code: CauseCode, message: &str) -> &'static str {
    use CauseCode as C;
    let lower = message.to_lowercase();
    match code {
        C::ImageNotFound => "image not found",
        C::ImageNotFoundOrPrivate => "image not found or private",
        C::RegistryUnauthorized if has(&lower, FIREWALL) => {
            "the registry's firewall does not let the node in"
        }
        C::RegistryUnauthorized if has(&lower, POLICY) => "the registry's policy keeps the image back",
        C::RegistryUnauthorized => "the registry refuses access",
        C::RegistryRateLimited => "the registry limits the rate of pulls",
        C::RegistryUnreachable if lower.contains("proxy") => "the proxy on the way to the registry fails",
        C::RegistryUnreachable if is_broken_off(&lower) => "the connection to the registry breaks off",
        C::RegistryUnreachable => "the registry cannot be reached",
        C::RegistryError if has(&lower, &[" 500", " 502", " 503", " 504"]) => "the registry is in trouble",
        C::RegistryError => "the registry does not serve it",
        C::ImageSignature => "the node's policy does not accept the image",
        C::RegistryNameNotResolved => "the registry's name does not resolve",
        C::RegistryTlsError if is_plain_http(&lower) => "the registry speaks HTTP, and HTTPS is wanted",
        C::RegistryTlsError if lower.contains("expired") => "the registry's certificate has expired",
        C::RegistryTlsError => "the registry's certificate is not accepted",
        C::KubeletPullThrottled => "the kubelet spaces out its pulls",
        C::ImagePlatformMismatch => "no image for this platform",
        C::NodeDiskFull => "the node's disk is full",
        C::ImagePullSlow => "the pull was broken off",
        C::ImageCorrupt => "the image is broken or of an old format",
        _ if has(&lower, NODE_DISK) => "the node cannot store it",
        _ if lower.contains("is blocked in ") => "the node's settings forbid the registry",
        _ => "the image cannot be pulled",
    }
}

fn has(lower: &str, words: &[&str]) -> bool {
    words.iter().any(|w| lower.contains(w))
}

/// Words of a node whose own disk does not take the image.
const NODE_DISK: &[&str] = &["read-only file system", "input/output error"];

/// Whether the registry was reached, and the connection did not last.
fn is_broken_off(lower: &str) -> bool {
    has(lower, &["connection reset", "unexpected eof", ": eof"])
}

/// The mirror that the runtime asked in the registry's place: containerd adds for whom.
fn mirror_of<'m>(message: &'m str, registry: &str) -> Option<&'m str> {
    let url = message.split(['"', ' ']).find(|word| word.contains("?ns="))?;
    let host = url.split_once("://")?.1.split('/').next()?;
    Some(host).filter(|h| *h != registry)
}

fn is_plain_http(lower: &str) -> bool {
    lower.contains("server gave http response to https client")
}

fn sentence(code: CauseCode, image: &str, message: &str) -> String {
    use CauseCode as C;
    let mut registry = registry_of(image);
    if let Some(mirror) = mirror_of(message, &registry) {
        registry = format!("{}, asked in place of {registry},", text::name(mirror));
    }
    let digest = image.contains('@');
    let image = text::name(image);
    let lower = message.to_lowercase();
    match code {
        C::RegistryRateLimited => {
            format!("registry {registry} limits the rate of pulls (429) and refused {image}")
        }
        C::KubeletPullThrottled => {
            format!("the kubelet itself spaces out its pulls and will try {image} again")
        }
        C::ImagePlatformMismatch => {
            format!("image {image} does not exist for the node's CPU architecture or system")
        }
        C::RegistryTlsError if is_plain_http(&lower) => {
            format!("registry {registry} answers in plain HTTP, and the container runtime asks by HTTPS")
        }
        C::RegistryTlsError => {
            let why = message.rsplit_once("x509: ").map(|(_, why)| format!(": {}", text::quote(why)));
            format!("the certificate of registry {registry} is not accepted{}", why.unwrap_or_default())
        }
        C::NodeDiskFull => format!("no space is left on the node's disk for image {image}"),
        C::RegistryNameNotResolved => format!("the name of registry {registry} does not resolve on the node"),
        C::RegistryUnauthorized if has(&lower, FIREWALL) || has(&lower, POLICY) => {
            format!("registry {registry} refuses {image}: {}", tail(message))
        }
        C::RegistryUnreachable if is_broken_off(&lower) => {
            format!("the connection to registry {registry} breaks off: {}", tail(message))
        }
        C::RegistryUnreachable if lower.contains("proxy") => {
            let said =
                message.split_once("proxyconnect ").map_or_else(|| tail(message), |(_, s)| text::quote(s));
            format!("the proxy on the way to registry {registry} does not let it through: {said}")
        }
        C::RegistryUnreachable => {
            format!("registry {registry} cannot be reached from the node: {}", tail(message))
        }
        C::RegistryError => {
            format!("registry {registry} answers with an error of its own: {}", tail(message))
        }
        C::RegistryUnauthorized => {
            let answer = match () {
                () if lower.contains("403") => " (403 forbidden)",
                () if lower.contains("401") => " (401 unauthorized)",
                () => "",
            };
            format!(
                "registry {registry} refuses access to {image}{answer}: unauthorized, it wants credentials or other ones"
            )
        }
        C::ImageNotFoundOrPrivate => {
            format!(
                "image {image} does not exist, or is private and needs credentials: the registry does not tell which"
            )
        }
        C::ImageShortName => format!("the runtime does not know which registry the short name {image} means"),
        C::ImageSignature => format!("the signature of image {image} is missing or not accepted"),
        C::InvalidImageReference => format!("{image} is no valid image name"),
        C::ImageNotFound => {
            let what = if digest { "digest" } else { "tag" };
            format!("image {image} was not found: its repository or {what} does not exist at {registry}")
        }
        C::ImagePullSlow => {
            format!(
                "the pull of image {image} was broken off, as when no data come for as long as the runtime waits"
            )
        }
        C::ImageCorrupt => {
            format!(
                "image {image} is broken or of a format that the runtime does not know: {}",
                tail(message)
            )
        }
        _ => format!("the pull of image {image} failed: {}", tail(message)),
    }
}

/// What to do about it.
fn advice(code: CauseCode, image: &str, message: &str) -> Option<String> {
    use CauseCode as C;
    let registry = registry_of(image);
    let fixed = match code {
        C::ImageNotFound => {
            "check the repository and the tag for a typo, and that the push of the image has succeeded"
        }
        C::ImagePlatformMismatch => {
            "push an image for the node's architecture and system, or pin the pod with a nodeSelector on kubernetes.io/arch or os"
        }
        C::RegistryRateLimited => {
            "pull with credentials, through a mirror, or wait: the kubelet goes on trying"
        }
        C::RegistryTlsError if is_plain_http(&message.to_lowercase()) => {
            "let the registry serve TLS, or name it as a plain HTTP one in the container runtime's settings on every node"
        }
        C::RegistryTlsError if message.contains("expired") => {
            "renew the registry's certificate; if it is valid, the node's clock is wrong"
        }
        C::RegistryTlsError => "give the nodes' container runtime the registry's CA, or mend the certificate",
        C::RegistryNameNotResolved => {
            "check the registry's name, and DNS on the node (not in the cluster: the kubelet pulls)"
        }
        C::ImageShortName => "write the image with its registry: registry/repository:tag",
        C::ImageCorrupt => {
            "push the image anew, with a current builder; on the node: crictl rmi, then let it be pulled again"
        }
        C::RegistryUnauthorized if has(&message.to_lowercase(), FIREWALL) => {
            "let the registry's firewall take the nodes' addresses (those that they go out with)"
        }
        C::RegistryUnauthorized if has(&message.to_lowercase(), POLICY) => {
            "mend what the policy objects to, or have the registry's admins exempt the image"
        }
        C::RegistryUnreachable | C::RegistryError | C::ImagePullSlow => {
            let host = match mirror_of(message, &registry) {
                Some(mirror) => mirror,
                // Where Docker Hub serves its images.
                None if registry == "docker.io" => "registry-1.docker.io",
                None => &registry,
            };
            return Some(format!("from the node: curl -v https://{}/v2/", text::arg(host)));
        }
        _ => return None,
    };
    Some(fixed.to_owned())
}

/// Whether it is credentials that a refused pull lacks.
pub fn wants_credentials(message: &str) -> bool {
    let lower = message.to_lowercase();
    !has(&lower, FIREWALL) && !has(&lower, POLICY)
}

/// Who gives the credentials for a cloud's own registry: not a Secret as a rule, but the identity of the node.
pub fn identity_of(registry: &str) -> Option<&'static str> {
    if registry.contains(".dkr.ecr") {
        Some(
            "ECR: the node's role needs ecr:GetAuthorizationToken and ecr:BatchGetImage; a token in a Secret is valid for 12 hours only",
        )
    } else if registry.ends_with(".pkg.dev") || registry == "gcr.io" || registry.ends_with(".gcr.io") {
        Some("Artifact Registry: the node's service account needs the role Artifact Registry Reader")
    } else if registry.ends_with(".azurecr.io") {
        Some("ACR: the kubelet's identity needs the role AcrPull on the registry")
    } else {
        None
    }
}

/// The innermost error of a chain `outer: inner: innermost`, with the one around it where it is very short.
fn tail(message: &str) -> String {
    let message = message.rsplit_once(" desc = ").map_or(message, |(_, said)| said);
    let mut parts = message.rsplit(": ");
    let last = parts.next().unwrap_or_default();
    let text = match parts.next() {
        Some(before) if last.len() < 40 => format!("{before}: {last}"),
        _ => last.to_owned(),
    };
    text::quote(&text)
}

/// The registry host of an image reference; Docker Hub where none is named, as runtimes have it.
pub fn registry_of(image: &str) -> String {
    let host = image.split_once('/').map(|(host, _)| host);
    let host = host.filter(|h| h.contains(['.', ':']) || *h == "localhost").unwrap_or("docker.io");
    text::name(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(message: &str) -> Option<CauseCode> {
        classify("r.example.com/a/b:1", message).map(|e| e.code)
    }

    #[test]
    fn answers_of_registries_and_runtimes_are_told_apart() {
        use CauseCode as C;
        for (message, expected) in [
            (
                r#"failed to pull and unpack image "docker.io/library/nginx:nope": failed to resolve reference "docker.io/library/nginx:nope": docker.io/library/nginx:nope: not found"#,
                C::ImageNotFound,
            ),
            (
                "initializing source docker://quay.io/a/b:x: reading manifest x in quay.io/a/b: manifest unknown",
                C::ImageNotFound,
            ),
            (
                "rpc error: code = NotFound desc = failed to pull and unpack image \"x\": no match for platform in manifest: not found",
                C::ImagePlatformMismatch,
            ),
            (
                "choosing image instance: no image found in image index for architecture arm64, variant \"v8\", OS linux",
                C::ImagePlatformMismatch,
            ),
            (
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                C::ImageNotFoundOrPrivate,
            ),
            (
                "pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
                C::RegistryUnauthorized,
            ),
            (
                "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 401 Unauthorized",
                C::RegistryUnauthorized,
            ),
            (
                "Requesting bearer token: invalid status code from registry 403 (Forbidden)",
                C::RegistryUnauthorized,
            ),
            (
                "429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit",
                C::RegistryRateLimited,
            ),
            (
                "failed to do request: Head \"https://r/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                C::RegistryTlsError,
            ),
            ("net/http: TLS handshake timeout", C::RegistryUnreachable),
            ("dial tcp: lookup r.example.com on 10.0.0.10:53: no such host", C::RegistryNameNotResolved),
            ("dial tcp 10.1.2.3:443: i/o timeout", C::RegistryUnreachable),
            (
                "writing blob: adding layer with blob \"sha256:ab\": write /x: no space left on device",
                C::NodeDiskFull,
            ),
            (
                "unexpected status from HEAD request to https://r/v2/a/manifests/1: 503 Service Unavailable",
                C::RegistryError,
            ),
            (
                "short name mode is enforcing, but image name \"nginx\" returns ambiguous list",
                C::ImageShortName,
            ),
            (
                "image pull failed for x because the registry is unavailable: connect ECONNREFUSED",
                C::RegistryUnreachable,
            ),
            ("pull QPS exceeded", C::KubeletPullThrottled),
            ("something quite new", C::ImagePullFailed),
        ] {
            assert_eq!(code(message), Some(expected), "{message}");
        }
    }

    #[test]
    fn the_cause_behind_a_back_off_is_read_and_a_bare_back_off_has_none() {
        let bare = r#"Back-off pulling image "127.0.0.1:5999/a:b""#;
        assert_eq!(code(bare), None);
        assert_eq!(
            code(&format!("{bare}: ErrImagePull: rpc error: code = NotFound desc = x: not found")),
            Some(CauseCode::ImageNotFound)
        );
    }

    #[test]
    fn of_several_credentials_the_last_answer_counts() {
        let message = r#"[rpc error: code = Unknown desc = unauthorized: a, rpc error: code = NotFound desc = x: not found]"#;
        assert_eq!(code(message), Some(CauseCode::ImageNotFound));
    }

    #[test]
    fn the_registry_of_a_name_without_one_is_docker_hub() {
        assert_eq!(registry_of("nginx:1"), "docker.io");
        assert_eq!(registry_of("library/nginx"), "docker.io");
        assert_eq!(registry_of("127.0.0.1:5999/shop/web:1"), "127.0.0.1:5999");
        assert_eq!(registry_of("localhost/a"), "localhost");
    }
}
