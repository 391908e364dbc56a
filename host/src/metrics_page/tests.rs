use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{FewConnections, MAX_CONNECTIONS, address, response, routes};

#[test]
fn the_format_is_the_one_that_the_client_accepts() {
    let media_type = |accept: &str| {
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
        response(String::new(), &headers).headers()[CONTENT_TYPE].to_str().unwrap().to_owned()
    };
    assert!(media_type("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").starts_with("application/openm"));
    assert_eq!(media_type("*/*"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(media_type("text/plain"), "text/plain; version=0.0.4; charset=utf-8");
}

#[test]
fn an_address_has_a_port() {
    assert_eq!(address("127.0.0.1:9464"), Ok("127.0.0.1:9464".parse().unwrap()));
    assert_eq!(address("[::1]:9464"), Ok("[::1]:9464".parse().unwrap()));
    for text in ["127.0.0.1", "9464", "127.0.0.1:", "127.0.0.1:65536", ""] {
        let problem = address(text).unwrap_err();
        assert!(problem.starts_with("expected an address and a port, such as `127.0.0.1:9464`"), "{text}: {problem}");
    }
}

#[tokio::test]
async fn clients_that_send_nothing_do_not_keep_others_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = axum::serve(FewConnections::new(listener), routes(|| "# EOF\n".to_owned()));
    let server = tokio::spawn(async move { server.await });
    let mut idle = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
        idle.push(client);
    }
    let scraped = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), scraped).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // The first ones had to make room.
    let ended = tokio::time::timeout(Duration::from_secs(10), idle[0].read(&mut [0; 1])).await.unwrap();
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    server.abort();
}
