//! The client of a cluster. Where the server offers HTTP/2, as every API server does, all watches share one connection: kube's
//! own client speaks HTTP/1.1 alone, which takes a connection and a TLS handshake for each.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::{Builder, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::{Client, Config, Result};
use tower::ServiceBuilder;

/// How long a connection may take, TLS included.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// A connection of HTTP/2 that is silent for so long is sent a PING ...
const PING_EVERY: Duration = Duration::from_secs(30);
/// ... and closed if no answer comes within this time. Both as in client-go.
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// What the server may send ahead on one stream, and on all of them: a reader that stops leaves room for the others.
const STREAM_WINDOW: u32 = 512 << 10;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// What is read ahead on a connection of HTTP/1.1, of which each watch has its own.
const READ_AHEAD: usize = 64 << 10;

/// With `http1` it speaks nothing else. Through a proxy, kube's own client does.
pub(super) fn client(config: Config, http1: bool) -> Result<Client> {
    if http1 || config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let mut tls =
        HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = config.tls_server_name.clone() {
        let name = name.try_into().map_err(|e| kube::Error::Service(Box::new(e)))?;
        tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let mut connector = TimeoutConnector::new(tls.enable_all_versions().wrap_connector(tcp));
    connector.set_connect_timeout(Some(CONNECT));
    let http = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http1_max_buf_size(READ_AHEAD)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}
