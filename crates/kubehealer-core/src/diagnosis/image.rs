//! Why an image is not there, read from what the runtime answered.

use super::cause::CauseCode;
use super::message::Message;
use super::messages::{self, Of, Rule};
use super::runtime;
use super::steps::Names;
use super::text;

/// What a pull error says.
#[derive(Clone, Debug)]
pub struct PullError {
    /// The kind of cause.
    pub code: CauseCode,
    /// What failed and why, in the answer's own words.
    pub short: String,
    /// One sentence that names the image or the registry, with more of the answer.
    pub text: String,
    /// The rule that knows it.
    pub rule: Option<&'static Rule>,
    /// The names that its steps may need.
    pub names: Names,
}

/// Reads a waiting message or an event's text. None if it holds no error: the kubelet forgets the cause when it restarts.
pub fn classify(image: &str, node: &str, message: &str) -> Option<PullError> {
    let message = Message::of_image(cause_of(message)?, image);
    let rule = messages::find(messages::image::RULES, &message);
    let code = rule.map_or(CauseCode::ImagePullFailed, |r| r.code);
    let mut registry = registry_of(image);
    let names = Names::default()
        .with("image", Some(text::name(image)))
        .with("node", Some(text::name(node)))
        .and_of(&message)
        .with("registry", Some(registry.clone()));
    let host = match mirror_of(&message.whole(), &registry) {
        Some(mirror) => {
            registry = format!("{}, the mirror of {registry}", text::name(mirror));
            text::name(mirror)
        }
        // Where Docker Hub serves its images.
        None if registry == "docker.io" => "registry-1.docker.io".to_owned(),
        None => registry.clone(),
    };
    let other = other_host(&message, &registry, &host);
    let url = match &other {
        Some(other) => format!("https://{other}/"),
        None => format!("https://{host}/v2/"),
    };
    let names = names
        .with("host", message.lookup().map(|(host, _)| host).or_else(|| other.clone()).or(Some(host)))
        .with("registry", other.clone().or_else(|| Some(registry_of(image))))
        .with("url", Some(url));
    let (mut short, mut text) = sentence(code, rule, image, &registry, &message, &names);
    if short.len() > SHORT {
        short = shorter(&short, image, &message, other.as_deref());
    }
    if let Some(other) = other.filter(|_| names_the_registry(code)) {
        if !short.contains(&other) {
            let lead = format!("cannot pull image {}: ", text::name(image));
            short = short.replacen(&lead, &format!("{lead}host {other}: "), 1);
        }
        text = text.replacen(
            &format!("registry {registry}: "),
            &format!("host {other}, to which registry {registry} refers: "),
            1,
        );
    }
    Some(PullError { code, short, text, rule, names })
}

/// The longest sentence in bytes that is shown whole everywhere: labels of metrics hold 200, with the container in front.
const SHORT: usize = 170;

/// A sentence with its decisive words near the beginning. The request is left out (the image is named), of a refusal what it may
/// be in general, and at last the path of the image; the text of the cause has all of it.
fn shorter(short: &str, image: &str, message: &Message, other: Option<&str>) -> String {
    let mut short = short.to_owned();
    for request in ["unexpected status from ", "unexpected status code ", "unexpected status: "] {
        if let Some((before, rest)) = short.split_once(request)
            && let Some((url, status)) = rest.split_once(": ").or_else(|| rest.split_once("?... "))
            && (url.contains("://") || request.ends_with(": "))
            && other.is_none_or(|other| before.contains(other))
        {
            short = format!("{before}{status}");
        }
    }
    let general = "pull access denied, repository does not exist or may require authorization: ";
    let (cause, last) = (message.cause(), message.innermost());
    if short.len() > SHORT && cause.starts_with(general) && !last.is_empty() {
        short = short.replacen(&cause, last, 1);
    }
    let name = text::name(image);
    if short.len() > SHORT
        && let Some((registry, path)) = name.split_once('/')
        && let Some((_, last)) = path.rsplit_once('/').filter(|(left_out, _)| left_out.len() > 12)
    {
        short = short.replacen(&name, &format!("{registry}/.../{last}"), 1);
    }
    short
}

/// What failed and why, short and in full.
fn sentence(
    code: CauseCode,
    rule: Option<&Rule>,
    image: &str,
    registry: &str,
    message: &Message,
    names: &Names,
) -> (String, String) {
    use CauseCode as C;
    let digest = image.contains('@');
    let image = text::name(image);
    let said = runtime::explained(message, rule, names);
    let detail = runtime::detailed(message, rule, names);
    match code {
        C::ImageNotFound => {
            let what = if digest { "digest" } else { "tag" };
            (
                format!("image not found: {image}"),
                format!("image {image} was not found: its repository or {what} does not exist at {registry}"),
            )
        }
        C::ImageNotFoundOrPrivate => (
            format!("image not found or private: {image}: {said}"),
            format!(
                "image {image} does not exist, or is private and needs credentials: the registry does not say which: {detail}"
            ),
        ),
        C::ImagePlatformMismatch => (
            format!("no image for the node's platform: {image}: {said}"),
            format!(
                "image {image} has no build for the node's CPU architecture or operating system: {detail}"
            ),
        ),
        C::KubeletPullThrottled => (
            format!("image {image} is not pulled yet: {said}"),
            format!("the kubelet limits the rate of its pulls and will try {image} again: {detail}"),
        ),
        C::InvalidImageReference => {
            (format!("invalid image name {image}: {said}"), format!("image {image}: {detail}"))
        }
        C::NodeDiskFull | C::ImagePullFailed => {
            (format!("cannot pull image {image}: {said}"), format!("image {image}: {detail}"))
        }
        _ if rule.is_some_and(|rule| rule.of == Of::Node) => {
            (format!("cannot pull image {image}: {said}"), format!("image {image}: {detail}"))
        }
        _ => (format!("cannot pull image {image}: {said}"), format!("registry {registry}: {detail}")),
    }
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

/// The mirror that the runtime asked in the registry's place: containerd adds for whom.
fn mirror_of<'m>(message: &'m str, registry: &str) -> Option<&'m str> {
    let url = message.split(['"', ' ']).find(|word| word.contains("?ns="))?;
    let host = url.split_once("://")?.1.split('/').next()?;
    Some(host).filter(|h| *h != registry)
}

/// The host that failed, where it is another one than the registry: registries give out tokens and layers from hosts of their
/// own. A proxy stands in between, and is no such host.
fn other_host(message: &Message, registry: &str, host: &str) -> Option<String> {
    let looked_up = message.lookup().map(|(name, _)| name);
    let failed = looked_up.or_else(|| requested_host(&message.whole()))?;
    let bare = |name: &str| name.split([':', '@']).next().unwrap_or_default().to_owned();
    let failed = bare(&failed);
    let is_own = [registry, host].iter().any(|own| bare(own) == failed) || registry.starts_with(&failed);
    let is_name = failed.contains('.') && failed.contains(|c: char| c.is_ascii_alphabetic());
    (!is_own && is_name && !message.words().have("proxyconnect")).then(|| text::name(&failed))
}

/// How requests are written in front of their URL.
const REQUESTS: [&str; 8] = [
    "Get \"",
    "Head \"",
    "Post \"",
    "GET request to ",
    "HEAD request to ",
    "POST request to ",
    "status code ",
    "content at ",
];

/// The host of the request that failed last; other URLs are advice.
fn requested_host(whole: &str) -> Option<String> {
    let last = REQUESTS
        .iter()
        .filter_map(|mark| whole.rfind(&format!("{mark}http")).map(|at| at + mark.len()))
        .max()?;
    let url = whole.get(last..)?.split_once("://")?.1;
    url.split(['/', '"', '?', ' ']).next().map(str::to_owned)
}

/// Causes whose text is about the registry, or what stands for it.
fn names_the_registry(code: CauseCode) -> bool {
    use CauseCode as C;
    matches!(
        code,
        C::RegistryUnreachable
            | C::RegistryError
            | C::RegistryTlsError
            | C::RegistryNameNotResolved
            | C::RegistryUnauthorized
            | C::RegistryRateLimited
            | C::ImagePullSlow
    )
}

/// Whether it is credentials that a refused pull lacks: a registry's firewall and its policies answer alike.
pub fn wants_credentials(error: &PullError) -> bool {
    matches!(error.code, CauseCode::RegistryUnauthorized | CauseCode::ImageNotFoundOrPrivate)
        && !error.rule.is_some_and(|r| r.name.ends_with("of the registry"))
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
        classify("r.example.com/a/b:1", "node-a", message).map(|e| e.code)
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

    /// Images, tags and digests that are called like an error.
    #[test]
    fn names_decide_nothing() {
        for (image, message) in [
            ("enix/x509-certificate-exporter:9", "docker.io/enix/x509-certificate-exporter:9: not found"),
            ("a/timeout-proxy:2", "reading manifest 2 in docker.io/a/timeout-proxy: manifest unknown"),
            ("quay.io/a/app:401", "reading manifest 401 in quay.io/a/app: manifest unknown"),
            ("unauthorized:503-alpine", "docker.io/library/unauthorized:503-alpine: not found"),
            ("signature:1", "manifest for signature:1 not found: manifest unknown: manifest unknown"),
            ("signature", "manifest for signature not found: manifest unknown: manifest unknown"),
            ("a@sha256:404503429cc", "manifest for a@sha256:404503429cc not found: manifest unknown"),
        ] {
            let code = classify(image, "node-a", message).map(|e| e.code);
            assert_eq!(code, Some(CauseCode::ImageNotFound), "{message}");
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

    /// What a label of a metric holds still says why.
    #[test]
    fn the_decisive_words_of_a_long_sentence_are_near_its_beginning() {
        let ecr = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/platform/team-checkout/services/payments-gateway-api:2026.11.30-build-8812";
        let gar = "europe-west3-docker.pkg.dev/acme-production/team-checkout-containers/payments/gateway-api-service:2026.11.30-8812";
        for (image, message, words) in [
            (
                ecr,
                "pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
                "no basic auth credentials",
            ),
            (
                ecr,
                "unexpected status from HEAD request to https://123456789012.dkr.ecr.eu-central-1.amazonaws.com/v2/platform/team-checkout/services/payments-gateway-api/manifests/2026.11.30-build-8812: 403 Forbidden",
                "403 Forbidden",
            ),
            (
                gar,
                "failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://europe-west3-docker.pkg.dev/v2/token?scope=repository%3Aacme-production%2Fteam-checkout-containers%2Fpayments%3Apull&service=europe-west3-docker.pkg.dev: 403 Forbidden",
                "403 Forbidden",
            ),
        ] {
            let error = classify(image, "node-a", message).unwrap();
            let at = error.short.find(words).unwrap_or(usize::MAX);
            assert!(at.saturating_add(words.len()) <= SHORT, "{}", error.short);
        }
        // A URL of advice is no host that failed.
        let limited = classify(
            "a/app:1",
            "node-a",
            "unexpected status from HEAD request to https://registry-1.docker.io/v2/a/app/manifests/1: 429 Too Many Requests\ntoomanyrequests: You have reached your pull rate limit. https://www.docker.com/increase-rate-limit",
        );
        assert!(!limited.unwrap().short.contains("host "), "an advice");
    }

    /// Tokens and layers come from other hosts than the manifest: the one that failed is named, not the registry.
    #[test]
    fn the_host_that_failed_is_named() {
        for (image, message, host) in [
            (
                "a/app:1",
                "failed to authorize: failed to fetch anonymous token: Get \"https://auth.docker.io/token?scope=repository%3Aa%2Fapp%3Apull&service=registry.docker.io\": dial tcp 52.1.2.3:443: i/o timeout",
                "auth.docker.io",
            ),
            (
                "x.azurecr.io/app:1",
                "failed to copy: httpReadSeeker: failed open: failed to do request: Get \"https://weumanaged37.blob.core.windows.net/b34a/docker/registry/v2/blobs/sha256/5a/5a6b/data?se=2026&sig=REDACTED\": dial tcp 20.1.2.3:443: i/o timeout",
                "weumanaged37.blob.core.windows.net",
            ),
            (
                "europe-docker.pkg.dev/p/r/app:1",
                "failed to copy: httpReadSeeker: failed open: failed to do request: Get \"https://storage.googleapis.com/x/y\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "storage.googleapis.com",
            ),
        ] {
            let error = classify(image, "node-a", message).unwrap();
            assert!(error.short.contains(host), "{}", error.short);
            assert!(error.text.starts_with(&format!("host {host}, ")), "{}", error.text);
            assert_eq!(error.names.sentence("{registry} {url}"), Some(format!("{host} https://{host}/")));
        }
        // The registry itself, by the name of its API.
        let own =
            classify("a/app:1", "node-a", "Head \"https://registry-1.docker.io/v2/a/app/manifests/1\": EOF");
        let own = own.unwrap();
        assert_eq!(own.names.sentence("{url}").as_deref(), Some("https://registry-1.docker.io/v2/"));
        assert!(own.text.starts_with("registry docker.io: "), "{}", own.text);
    }

    #[test]
    fn the_registry_of_a_name_without_one_is_docker_hub() {
        assert_eq!(registry_of("nginx:1"), "docker.io");
        assert_eq!(registry_of("library/nginx"), "docker.io");
        assert_eq!(registry_of("127.0.0.1:5999/shop/web:1"), "127.0.0.1:5999");
        assert_eq!(registry_of("localhost/a"), "localhost");
    }
}
