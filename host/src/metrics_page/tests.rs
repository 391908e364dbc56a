use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};

use super::{address, response};

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
