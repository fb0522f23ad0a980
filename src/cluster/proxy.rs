//! The proxy on the way to an API server, as kubectl chooses it.
//!
//! Not left to kube's client: it asks `NO_PROXY` about the proxy's own address rather than the server's, so that a cluster on
//! this machine would be looked for through the company's proxy; and it takes no address without a scheme.

use http::Uri;
use http::uri::InvalidUri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::config::Kubeconfig;

/// What the kubeconfig's context names.
pub(super) fn named(file: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let context = file.contexts.iter().find(|c| Some(c.name.as_str()) == context)?.context.as_ref()?;
    let cluster = file.clusters.iter().find(|c| c.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|url| !url.is_empty())
}

/// The proxy to `server`: the one that is named, whatever the environment says; else `HTTPS_PROXY`, or `HTTP_PROXY` for a
/// server without TLS, unless `NO_PROXY` or the loopback address speak against it.
pub(super) fn to(server: &Uri, named: Option<&str>) -> Result<Option<Uri>, InvalidUri> {
    let variable =
        |names: [&str; 2]| names.iter().find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()));
    let url = match named {
        Some(url) => Some(url.to_owned()),
        None => {
            let is_plain = server.scheme_str() == Some("http");
            let url = variable(if is_plain {
                ["HTTP_PROXY", "http_proxy"]
            } else {
                ["HTTPS_PROXY", "https_proxy"]
            });
            let exceptions = variable(["NO_PROXY", "no_proxy"]).unwrap_or_default();
            url.filter(|_| !is_direct(server, &exceptions))
        }
    };
    let with_scheme = |url: String| if url.contains("://") { url } else { format!("http://{url}") };
    url.map(|url| with_scheme(url).parse()).transpose()
}

/// Whether a server is reached without a proxy. This machine always is.
fn is_direct(server: &Uri, exceptions: &str) -> bool {
    let host = server.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
        return true;
    }
    if exceptions.split(',').any(|exception| exception.trim() == "*") {
        return true;
    }
    // Only whether there is an answer is of interest, not the proxy in it.
    let all = Matcher::builder().all("http://proxy").no(exceptions.to_owned()).build();
    all.intercept(server).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_this_machine_or_of_no_proxy_is_reached_directly() {
        let direct = |server: &str, exceptions: &str| is_direct(&server.parse().unwrap(), exceptions);
        for server in
            ["https://127.0.0.1:41231", "https://[::1]:6443", "https://localhost:6443", "http://127.0.0.2"]
        {
            assert!(direct(server, ""), "{server}");
        }
        for exceptions in ["10.0.0.0/8", "localhost,10.1.2.3", "*", "10.1.2.3, ,"] {
            assert!(direct("https://10.1.2.3:6443", exceptions), "{exceptions}");
        }
        for exceptions in ["corp.example", ".corp.example,", "k8s.corp.example"] {
            assert!(direct("https://k8s.corp.example", exceptions), "{exceptions}");
        }
        assert!(!direct("https://10.1.2.3:6443", "10.2.0.0/16,corp.example"));
        assert!(!direct("https://k8s.corp.example", "other.example,proxy"));
    }

    #[test]
    fn a_proxy_that_is_named_is_taken_and_needs_no_scheme() {
        let proxy =
            |named| to(&"https://127.0.0.1:6443".parse().unwrap(), named).unwrap().map(|url| url.to_string());
        assert_eq!(proxy(Some("socks5://127.0.0.1:1080")).as_deref(), Some("socks5://127.0.0.1:1080/"));
        assert_eq!(
            proxy(Some("proxy.corp.example:3128")).as_deref(),
            Some("http://proxy.corp.example:3128/")
        );
        assert_eq!(proxy(None), None);
    }
}
