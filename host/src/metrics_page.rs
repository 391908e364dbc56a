//! A page of metrics for Prometheus.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::{self, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Context as _;
use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const OPEN_METRICS: &str = "application/openmetrics-text";

/// The most connections for metrics.
const MAX_CONNECTIONS: usize = 16;

/// The address of `--metrics-address`, with a port. For a host name, its first address is used.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected an address and a port, such as `127.0.0.1:9464`";
    let mut addresses = text.to_socket_addrs().map_err(|error| format!("{expected}: {error}"))?;
    addresses.next().ok_or_else(|| expected.to_owned())
}

/// Listens for Prometheus.
pub(crate) fn listen(address: SocketAddr) -> anyhow::Result<net::TcpListener> {
    let listener = net::TcpListener::bind(address)
        .with_context(|| format!("cannot serve metrics on {address}; choose another --metrics-address"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The metrics in the format of OpenMetrics.
pub(crate) fn open_metrics(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, registry);
    text
}

/// Serves `/metrics`, and `/healthz`, which answers while the process runs. `open_metrics` returns the metrics in the format of OpenMetrics.
pub(crate) fn routes(open_metrics: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    let serve = move |headers: HeaderMap| async move { response(open_metrics(), &headers) };
    Router::new().route("/metrics", get(serve)).route("/healthz", get(|| async { "ok\n" }))
}

/// The metrics in the format that the client accepts.
fn response(open_metrics: String, headers: &HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted.into_iter().any(|accepted| accepted.contains(OPEN_METRICS)) {
        let media_type = format!("{OPEN_METRICS}; version=1.0.0; charset=utf-8");
        return ([(CONTENT_TYPE, media_type)], open_metrics).into_response();
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], prometheus_text(&open_metrics)).into_response()
}

/// Limits the number of connections. Any process on the machine can connect to a loopback address. It must not use up the file
/// descriptors of this process, and it must not keep Prometheus out, so a new connection replaces the oldest one.
pub(crate) struct FewConnections {
    listener: TcpListener,
    /// The connections, of which the oldest is the first. One ends when its sender is dropped.
    open: VecDeque<oneshot::Sender<Infallible>>,
}

impl FewConnections {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, open: VecDeque::new() }
    }
}

impl Listener for FewConnections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        self.open.retain(|connection| !connection.is_closed());
        if self.open.len() >= MAX_CONNECTIONS {
            self.open.pop_front();
        }
        let (sender, end) = oneshot::channel();
        self.open.push_back(sender);
        (Connection { stream, end }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One of the connections.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Is ready when the connection has to make room for another one.
    end: oneshot::Receiver<Infallible>,
}

impl Connection {
    /// An error when the connection has to end. Otherwise the task is woken when it has to.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.end.is_terminated() || Pin::new(&mut self.end).poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Converts OpenMetrics to the text format of Prometheus, in which the comments have the names of the samples, such as `requests_total`.
pub(crate) fn prometheus_text(open_metrics: &str) -> String {
    let words = |line: &str| -> [String; 3] {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        [(); 3].map(|()| words.next().unwrap_or_default())
    };
    let types = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let suffixes: BTreeMap<String, &str> = types
        .filter_map(|line| {
            let [name, kind, _] = words(line);
            let suffix = match kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => return None,
            };
            Some((name, suffix))
        })
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let line = match line.strip_prefix("# ").map(words) {
            Some([comment, ..]) if comment == "EOF" || comment == "UNIT" => continue,
            Some([comment, name, rest]) => {
                let suffix = suffixes.get(&name).copied().unwrap_or_default();
                let rest = if comment == "TYPE" && rest == "info" { "gauge" } else { &rest };
                format!("# {comment} {name}{suffix} {rest}\n")
            }
            None => format!("{line}\n"),
        };
        text += &line;
    }
    text
}
