//! The `Host` header against DNS rebinding: a web page whose name suddenly resolves to this server's address must not read it
//! through the browser of somebody who has a port-forward open.
//!
//! Such a page is at a name of the public DNS. Addresses, `localhost`, names without a dot and names of Services
//! (`NAME.NAMESPACE.svc`) are none; other names must be allowed.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{Request, header};

/// Names that may be asked for beside those that are always allowed.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// `*.NAME` stands for all names below it, `*` for all.
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| plain(name)).collect())
    }

    /// The first host that a request names and that is not allowed. A request without one is no browser's.
    pub fn refuse<B>(&self, request: &Request<B>) -> Option<String> {
        let named = request.headers().get_all(header::HOST).iter();
        let named = named.map(|value| value.to_str().unwrap_or("?").to_owned());
        let target = request.uri().authority().map(|authority| authority.as_str().to_owned());
        named.chain(target).map(|host| plain(without_port(&host))).find(|host| !self.allows(host))
    }

    fn allows(&self, host: &str) -> bool {
        let is_address = host.parse::<Ipv4Addr>().is_ok()
            || host
                .strip_prefix('[')
                .and_then(|h| h.strip_suffix(']'))
                .is_some_and(|h| h.parse::<Ipv6Addr>().is_ok());
        let is_local = !host.contains('.') || host.ends_with(".localhost");
        let is_service = host.ends_with(".svc") || host.ends_with(".svc.cluster.local");
        is_address || is_local || is_service || self.0.iter().any(|allowed| matches(allowed, host))
    }
}

fn matches(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix('*') {
        Some("") => true,
        Some(domain) => domain.starts_with('.') && host.ends_with(domain),
        None => allowed == host,
    }
}

fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_page_of_the_internet_can_have_and_those_allowed_are_let_through() {
        let hosts = Hosts::new(&["Status.Example.com".to_owned(), "*.corp.example".to_owned()]);
        let refused = |host: &str| {
            let request = Request::builder().header(header::HOST, host).body(()).unwrap();
            hosts.refuse(&request).is_some()
        };
        for host in [
            "127.0.0.1:8080",
            "10.0.0.7",
            "[::1]:8080",
            "[fd00::7]",
            "localhost:8080",
            "LOCALHOST",
            "kubehealer",
            "kubehealer:8080",
            "kubehealer.mon.svc",
            "kubehealer.mon.svc:8080",
            "kubehealer.mon.svc.cluster.local.",
            "status.example.com",
            "status.example.com:443",
            "a.corp.example",
            "a.b.corp.example:80",
        ] {
            assert!(!refused(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "svc.evil.example",
            "mon.svc.evil.example",
            "corp.example",
            "xcorp.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "status.example.com.evil.example",
            "1.2.3.4.5",
        ] {
            assert!(refused(host), "{host}");
        }
        let none = Request::builder().uri("/metrics").body(()).unwrap();
        assert_eq!(hosts.refuse(&none), None);
        let absolute = Request::builder()
            .uri("http://evil.example/metrics")
            .header(header::HOST, "10.0.0.7")
            .body(())
            .unwrap();
        assert_eq!(hosts.refuse(&absolute).as_deref(), Some("evil.example"));
        let all = Hosts::new(&["*".to_owned()]);
        assert_eq!(all.refuse(&absolute), None);
    }
}
