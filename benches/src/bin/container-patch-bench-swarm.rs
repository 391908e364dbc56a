//! Sends the same request again and again to an HTTP server on a unix socket, and prints the rate and the time of a request. `wrk` and its
//! like do not support unix sockets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Parser;
use serde_json::json;

/// The place for the number of a request in its body.
const NUMBER: &str = "NUMBER";

/// Measure how fast a server on a unix socket answers a request
#[derive(Debug, Parser)]
struct Options {
    /// Unix socket of the server
    #[arg(long, value_name = "FILE")]
    socket: PathBuf,
    /// Path of the request
    #[arg(long, value_name = "PATH")]
    path: String,
    /// File with the JSON body of the request. The number of the request replaces the word NUMBER
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// Text that each response must contain
    #[arg(long, value_name = "TEXT")]
    expect: String,
    /// Concurrent connections, with one request at a time each
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Duration of the measurement
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Most requests
    #[arg(long, value_name = "NUMBER", default_value_t = usize::MAX)]
    requests: usize,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let body = std::fs::read_to_string(&options.body).context("cannot read the body")?;
    let sent = AtomicUsize::new(0);
    let start = Instant::now();
    let end = start + Duration::from_secs(options.seconds);
    let times: Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..options.connections).map(|_| scope.spawn(|| client(&options, &body, &sent, end))).collect();
        clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client has panicked"))?).collect()
    });
    let mut times = times?.concat();
    let elapsed = start.elapsed();
    times.sort_unstable();
    ensure!(!times.is_empty(), "no request was answered in time");
    let milliseconds = |part: usize| {
        let index = (times.len() * part / 100).min(times.len() - 1);
        times.get(index).map(|time| time.as_secs_f64() * 1000.0)
    };
    #[expect(clippy::cast_precision_loss, reason = "the number is small")]
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    println!("{}", json!({"requests": times.len(), "rate": rate, "median": milliseconds(50), "p99": milliseconds(99)}));
    Ok(())
}

/// Sends requests over one connection until the end, and returns their times.
fn client(options: &Options, body: &str, sent: &AtomicUsize, end: Instant) -> Result<Vec<Duration>> {
    let mut stream = UnixStream::connect(&options.socket).context("cannot connect")?;
    let mut responses = BufReader::new(stream.try_clone()?);
    let mut times = Vec::new();
    loop {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        if number >= options.requests || Instant::now() >= end {
            return Ok(times);
        }
        let body = body.replace(NUMBER, &number.to_string());
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            options.path,
            body.len()
        );
        let start = Instant::now();
        stream.write_all(request.as_bytes())?;
        let response = read(&mut responses)?;
        times.push(start.elapsed());
        ensure!(response.contains(&options.expect), "unexpected response: {response}");
    }
}

/// Reads a response with its headers.
fn read(responses: &mut BufReader<UnixStream>) -> Result<String> {
    let mut response = String::new();
    let mut length = 0;
    loop {
        let start = response.len();
        if responses.read_line(&mut response)? == 0 {
            bail!("the connection was closed: {response}");
        }
        let line = response.get(start..).unwrap_or_default().trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().context("invalid content-length")?;
        }
    }
    responses.take(length).read_to_string(&mut response)?;
    Ok(response)
}
