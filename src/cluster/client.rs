//! The connection to a cluster, and its failures in words: what is wrong and what to do.
//!
//! Must not know what is asked for. Messages never quote a kubeconfig, a token or the output of a credential plugin.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::client::AuthError;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::watcher;
use kube::{Client, Config};

use super::{connection, lean, proxy};
use crate::objects::decode::{Status, decode_status};
use crate::redact::{clean, cut};

/// How to find a cluster.
#[derive(Clone, Debug, Default)]
pub struct Connect {
    /// This file, rather than `KUBECONFIG`, `~/.kube/config` or the service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig, rather than its current one.
    pub context: Option<String>,
    /// Speak HTTP/1.1 alone: an API server takes some 100 watches on a connection of HTTP/2, and lets further ones wait.
    pub http1: bool,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub struct Connected {
    pub client: Client,
    /// From where the settings are, such as `the kubeconfig (context kind)` or `the service account`.
    pub source: String,
    /// The namespace that the kubeconfig's context, or the service account, names.
    pub namespace: String,
    /// The API server's address, and that of the proxy before it, without credentials.
    pub server: String,
}

/// Finds and checks the settings; says nothing yet about whether the server answers.
pub async fn connect(how: &Connect) -> Result<Connected, ConnectError> {
    let (mut config, source) = match kubeconfig(how) {
        Ok(file) => {
            let context = how.context.as_ref().or(file.current_context.as_ref()).cloned();
            let named = proxy::named(&file, context.as_deref());
            let options = KubeConfigOptions { context: how.context.clone(), ..KubeConfigOptions::default() };
            let config = Config::from_custom_kubeconfig(file, &options).await;
            let mut config = config.map_err(|e| ConnectError::kubeconfig(&e))?;
            config.proxy_url = proxy::to(&config.cluster_url, named.as_deref())
                .map_err(|e| ConnectError::kubeconfig(&KubeconfigError::ParseProxyUrl(e)))?;
            let path = how.kubeconfig.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default();
            (config, in_context(format!("the kubeconfig{path}"), context))
        }
        // A kubeconfig that is there but broken is not to be passed over in silence for another cluster.
        Err(error) if how.kubeconfig.is_some() || how.context.is_some() || !is_absent(&error) => {
            return Err(ConnectError::kubeconfig(&error));
        }
        Err(_) => match Config::incluster() {
            Ok(config) => (config, "the service account of this pod".to_owned()),
            Err(_) => return Err(ConnectError(NO_CLUSTER.to_owned())),
        },
    };
    settle(&mut config);
    let namespace = config.default_namespace.clone();
    let mut server = server_of(&config.cluster_url);
    if let Some(proxy) = &config.proxy_url {
        server += &format!(" (through the proxy {})", server_of(proxy));
    }
    let client = connection::client(config, how.http1).map_err(|e| ConnectError::client(&e, &source))?;
    Ok(Connected { client, source, namespace, server })
}

/// What all connections have in common.
fn settle(config: &mut Config) {
    // By which the server's owners find its requests in their metrics and audit logs.
    let name = HeaderValue::from_static(concat!("kubehealer/", env!("CARGO_PKG_VERSION")));
    config.headers.push((header::USER_AGENT, name));
    // Who asks tries again by himself, and can say why it took so long.
    config.default_retry = false;
    config.connect_timeout = Some(connection::CONNECT);
}

/// The client of a running KubeHealer at this address, with the certificate authority and the token that it wants, if any.
pub async fn daemon(url: &str, ca: Option<&Path>, token: Option<&Path>) -> Result<Client, ConnectError> {
    let unusable = |why: String| ConnectError(format!("cannot connect to {url}: {why}"));
    let name = "kubehealer";
    let file = serde_json::json!({
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority": ca}}],
        "users": [{"name": name, "user": {"tokenFile": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    });
    let file = serde_json::from_value(file).map_err(|e| unusable(e.to_string()))?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|e| unusable(e.to_string()))?;
    settle(&mut config);
    connection::client(config, true).map_err(|e| unusable(innermost(&e)))
}

/// Reads a document of a running KubeHealer, up to this many bytes.
pub async fn read(client: &Client, path: &str, most: usize) -> Result<Vec<u8>, Failure> {
    let request = http::Request::get(path).body(kube::client::Body::empty());
    let request = request.map_err(|e| Failure::new(Kind::Refused, e.to_string()))?;
    let answer = async {
        let unreachable = |error: &kube::Error| {
            let why =
                format!("no connection: {}. Is KubeHealer up, and is the address right?", innermost(error));
            Failure::new(Kind::Unreachable, why)
        };
        let response = client.send(request).await.map_err(|e| unreachable(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), most).collect().await;
        let body =
            body.map_err(|e| Failure::new(Kind::Protocol, format!("the answer cannot be read: {e}")))?;
        Ok((status, body.to_bytes()))
    };
    let late = |_| Failure::new(Kind::Timeout, "no answer within 30 s");
    let (status, body) = tokio::time::timeout(Duration::from_secs(30), answer).await.map_err(late)??;
    if status.is_success() {
        return Ok(body.to_vec());
    }
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let said = problem.get("detail").and_then(|detail| detail.as_str()).unwrap_or_default();
    let kind = match status {
        StatusCode::UNAUTHORIZED => Kind::Unauthorized,
        StatusCode::FORBIDDEN => Kind::Forbidden,
        _ => Kind::Refused,
    };
    Err(Failure::new(kind, format!("HTTP {}: {}", status.as_u16(), clean(cut(said, MAX_MESSAGE)))))
}

/// The kubeconfig that is named, else what `KUBECONFIG` lists, else that of the home directory.
fn kubeconfig(how: &Connect) -> Result<Kubeconfig, KubeconfigError> {
    // kubectl writes "" where there is no current context, and passes over it.
    let with_context = |mut file: Kubeconfig| {
        file.current_context = file.current_context.filter(|name| !name.is_empty());
        file
    };
    if let Some(path) = &how.kubeconfig {
        return Kubeconfig::read_from(path).map(with_context);
    }
    // As with kubectl, not all files of the list need to be there.
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let there: Vec<PathBuf> = std::env::split_paths(&listed).filter(|path| path.exists()).collect();
    if there.is_empty() {
        return Kubeconfig::read().map(with_context);
    }
    there
        .iter()
        .try_fold(Kubeconfig::default(), |all, path| all.merge(with_context(Kubeconfig::read_from(path)?)))
}

/// The names of the contexts that there are.
pub fn contexts(how: &Connect) -> Vec<String> {
    kubeconfig(how)
        .map(|file| file.contexts)
        .unwrap_or_default()
        .into_iter()
        .map(|context| context.name)
        .collect()
}

const NO_CLUSTER: &str = "no cluster found: there is no kubeconfig ($KUBECONFIG, ~/.kube/config) and no service account of a pod. \
                          Pass a kubeconfig with --kubeconfig, or try `kubehealer demo`, which needs no cluster";

const NO_CREDENTIALS: &str = "cannot get credentials for the API server: the token file or the credential plugin in the \
                              kubeconfig failed. Does `kubectl get pods` work?";

fn in_context(source: String, context: Option<String>) -> String {
    match context {
        Some(context) => format!("{source} (context {})", clean(&context)),
        None => source,
    }
}

/// Scheme, host and port.
fn server_of(url: &http::Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("https");
    let host = url.host().unwrap_or_default();
    match url.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

/// Whether there is no kubeconfig at all.
fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        // Without KUBECONFIG the file in the home directory need not exist.
        KubeconfigError::ReadConfig(error, _) => {
            error.kind() == std::io::ErrorKind::NotFound && std::env::var_os("KUBECONFIG").is_none()
        }
        _ => false,
    }
}

/// The settings do not lead to a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

impl ConnectError {
    /// Of a client that cannot be made. When a credential plugin fails, kube quotes what it has printed, tokens and all.
    fn client(error: &kube::Error, source: &str) -> Self {
        if causes(error).any(|cause| cause.is::<AuthError>()) {
            return Self(NO_CREDENTIALS.to_owned());
        }
        let why = innermost(error);
        let hint = match why.contains("UnsupportedCertVersion") {
            // What `openssl x509 -req` makes without `-extfile`; other programs take it.
            true => "Its client certificate is X.509 version 1: create one of version 3",
            false => "Are its certificates and its proxy right?",
        };
        Self(format!("cannot connect with the settings of {source}: {why}. {hint}"))
    }

    fn kubeconfig(error: &KubeconfigError) -> Self {
        use KubeconfigError as E;
        let path = |p: &PathBuf| clean(&p.display().to_string()).into_owned();
        Self(match error {
            E::ReadConfig(why, p) => {
                format!(
                    "cannot read the kubeconfig {}: {why}. Is the path right, and does this user have permission to read it?",
                    path(p)
                )
            }
            // The parser's own message may quote the line, and with it a token.
            E::Parse(why) => {
                let at = why.location().map(|l| format!(" (line {}, column {})", l.line(), l.column()));
                format!(
                    "the kubeconfig is not valid YAML{}. Check it with `kubectl config view`",
                    at.unwrap_or_default()
                )
            }
            E::CurrentContextNotSet => {
                "the kubeconfig has no current context. Choose one with --context or `kubectl config use-context`"
                    .to_owned()
            }
            E::LoadContext(name) => format!(
                "the kubeconfig has no context {:?}. `kubectl config get-contexts` lists them",
                clean(name)
            ),
            E::LoadClusterOfContext(name) => {
                format!("the kubeconfig's context names a cluster {:?} that it does not have", clean(name))
            }
            E::FindPath => "no kubeconfig found: pass one with --kubeconfig".to_owned(),
            E::MissingClusterUrl => "the kubeconfig's cluster has no server address".to_owned(),
            E::ParseClusterUrl(_) => "the server address in the kubeconfig is not a URL".to_owned(),
            E::ParseProxyUrl(_) => {
                "the proxy's address, in the kubeconfig or in HTTPS_PROXY, is not a URL".to_owned()
            }
            E::ParseNoProxy(_) => {
                "NO_PROXY is not valid: separate hosts, addresses and networks with commas".to_owned()
            }
            E::LoadCertificateAuthority(_) | E::ParseCertificates(_) => {
                "the certificate authority in the kubeconfig cannot be read: does the file exist, and is it PEM?"
                    .to_owned()
            }
            E::LoadClientCertificate(_) => {
                "the client certificate in the kubeconfig cannot be read: does the file exist, and is it PEM?"
                    .to_owned()
            }
            E::LoadClientKey(_) => {
                "the client key in the kubeconfig cannot be read: does the file exist?".to_owned()
            }
            other => format!("the kubeconfig cannot be used: {}", clean(&other.to_string())),
        })
    }
}

kubehealer_core::words! {
    /// The kinds of failures of a request. Their words are label values of `kubehealer_watch_errors_total`.
    pub enum Kind {
        /// No connection, or it broke.
        Unreachable = "unreachable",
        /// No answer in time.
        Timeout = "timeout",
        /// 401.
        Unauthorized = "unauthorized",
        /// 403.
        Forbidden = "forbidden",
        /// 410: the resource version or the list is too old.
        Expired = "expired",
        /// 429.
        Throttled = "throttled",
        /// Other refusals (4xx).
        Refused = "refused",
        /// 5xx.
        Server = "server",
        /// The answer is not what an API server says.
        Protocol = "protocol",
    }
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// What kind of failure.
    pub kind: Kind,
    /// What is wrong and what to do. One line, clean.
    pub text: String,
    /// How long the server asks to wait; two minutes at most.
    pub retry_after: Option<Duration>,
}

/// The longest pause that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);
/// What the server says of itself is cut to this length, bytes.
const MAX_MESSAGE: usize = 400;

impl Failure {
    /// In own words.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), retry_after: None }
    }

    /// Of an error of kube's.
    pub fn of(error: &kube::Error) -> Self {
        // The transport has said it already, and kube has wrapped it.
        if let Some(own) = causes(error).find_map(|cause| cause.downcast_ref::<Self>()) {
            return own.clone();
        }
        match error {
            kube::Error::Api(status) => Self::reported(status),
            kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => Self::new(
                Kind::Refused,
                "a namespace or a selector contains characters that a request cannot contain",
            ),
            // A plugin's output holds tokens, and kube quotes it.
            error if causes(error).any(|cause| cause.is::<AuthError>()) => {
                Self::new(Kind::Unauthorized, NO_CREDENTIALS)
            }
            error if lean::is_unreadable(error) => {
                Self::new(Kind::Protocol, "the answer of the API server cannot be read")
            }
            other => {
                let why = innermost(other);
                // How rustls says that it does not take the server's certificate; it has no error of its own in kube.
                let hint = match why.contains("peer certificate") {
                    true => {
                        "Does the kubeconfig have this cluster's certificate authority, and is the server's name in its \
                             certificate?"
                    }
                    false => "Is the API server up, and is its address right?",
                };
                Self::new(Kind::Unreachable, format!("cannot connect to the API server: {why}. {hint}"))
            }
        }
    }

    /// Of an error of a watch.
    pub(super) fn of_watch(error: &watcher::Error) -> Self {
        use watcher::Error as E;
        match error {
            E::WatchError(status) => Self::reported(status),
            E::InitialListFailed(error) | E::WatchStartFailed(error) | E::WatchFailed(error) => {
                Self::of(error)
            }
            E::NoResourceVersion => Self::new(Kind::Protocol, lean::NO_LIST),
        }
    }

    fn reported(status: &kube::core::Status) -> Self {
        let status = Status {
            code: i32::from(status.code),
            reason: status.reason.clone(),
            message: status.message.clone(),
            retry_after: status.details.as_ref().map_or(0, |d| d.retry_after_seconds.cast_signed()),
        };
        Self::status(&status, None)
    }

    /// Of a refusal.
    pub fn status(status: &Status, retry_after: Option<Duration>) -> Self {
        let message = clean(cut(&status.message, MAX_MESSAGE)).into_owned();
        let said = |prefix: &str| match message.is_empty() {
            true => format!("{prefix} (HTTP {})", status.code),
            false => format!("{prefix}: {message}"),
        };
        let (kind, text) = match status.code {
            401 => (
                Kind::Unauthorized,
                said("the API server rejects the credentials")
                    + ". Has the token expired? Log in again, or check `kubectl auth whoami`",
            ),
            403 => (
                Kind::Forbidden,
                said("not allowed")
                    + ". Bind the chart's ClusterRole; if you only have Roles, name their namespaces with -n",
            ),
            410 => (Kind::Expired, said("resourceVersion expired (410 Gone)")),
            429 => (Kind::Throttled, said("the API server is throttling requests")),
            400..=499 => (Kind::Refused, said("the API server rejects the request")),
            500..=599 => (Kind::Server, said("the API server returns an error")),
            _ => (Kind::Protocol, said("the answer is not from a Kubernetes API server")),
        };
        let from_body = u64::try_from(status.retry_after).ok().filter(|s| *s > 0).map(Duration::from_secs);
        Self { kind, text, retry_after: retry_after.or(from_body).map(|pause| pause.min(MAX_RETRY_AFTER)) }
    }

    /// Of an answer that is no success.
    pub async fn response(response: Response<kube::client::Body>) -> Self {
        let (parts, body) = response.into_parts();
        let retry_after = parts.headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        let body = tokio::time::timeout(Duration::from_secs(5), Limited::new(body, 64 << 10).collect()).await;
        let body = body.ok().and_then(Result::ok).map(|b| b.to_bytes()).unwrap_or_default();
        let mut status = decode_status(&body).unwrap_or_default();
        // A proxy's page says nothing of its status but in the header.
        status.code = parts.status.as_u16().into();
        Self::status(&status, retry_after.map(Duration::from_secs))
    }

    /// Of an answer in no encoding of Kubernetes', such as `text/html`.
    pub(super) fn content_type(kind: &str) -> Self {
        let kind = clean(cut(kind, 80));
        let text = format!(
            "the answer is {kind:?} rather than JSON: is this a Kubernetes API server, or a proxy's page?"
        );
        Self::new(Kind::Protocol, text)
    }

    /// Whether the server does not know what was asked for, so that asking otherwise may help.
    pub(super) fn is_not_understood(status: StatusCode) -> bool {
        matches!(status.as_u16(), 400 | 404 | 405 | 422 | 501)
    }
}

/// What an error came of, outermost first. An I/O error names what it wraps as its own text, not as its source.
fn causes(error: &kube::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| {
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| cause.source())
    })
}

/// The last cause, which is the telling one: `Connection refused` rather than `client error (Connect)`.
fn innermost(error: &kube::Error) -> String {
    let text = causes(error).last().map_or_else(|| error.to_string(), ToString::to_string);
    // What rustls tells its own users behind it is of no use here.
    let text = text.split(": https://docs.rs/").next().unwrap_or_default();
    // By these words kube knows the end of a watch that it may pass over in silence.
    if text.contains("unexpected EOF") || text.contains("end of file before message length reached") {
        return "the connection was closed in the middle of an answer".to_owned();
    }
    clean(cut(text, MAX_MESSAGE)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_trusted_is_not_taken_for_a_server_that_is_down() {
        let text = |why: &str| Failure::of(&kube::Error::Service(std::io::Error::other(why).into())).text;
        let untrusted = text("invalid peer certificate: UnknownIssuer");
        assert!(untrusted.contains("UnknownIssuer. Does the kubeconfig have"), "{untrusted}");
        let cut_off =
            text("peer closed connection without sending TLS close_notify: https://docs.rs/rustls/a#b");
        assert!(
            cut_off.ends_with(
                "without sending TLS close_notify. Is the API server up, and is its address right?"
            ),
            "{cut_off}"
        );
        assert!(
            text("Connection refused (os error 111)")
                .ends_with("Is the API server up, and is its address right?")
        );
    }
}
