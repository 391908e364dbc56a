//! Rate limits, concurrency and authentication, against servers on loopback. The time is a number, and nothing sleeps.

use std::future::Future;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use oci_client::secrets::RegistryAuth;
use serde_json::Value;
use tokio::sync::watch;

use super::pace::Timer;
use super::{KEEP_CREDENTIALS, MAX_ERROR, Registries, RegistryOptions, with_advice};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A clock that stands still until somebody waits, or until the test advances it.
struct TestTimer {
    now: watch::Sender<Duration>,
    /// Whether waiting advances the clock.
    jumps: bool,
    /// How long was waited each time.
    waits: Mutex<Vec<u64>>,
    waiting: Condvar,
}

impl TestTimer {
    fn new(jumps: bool) -> Arc<Self> {
        Arc::new(Self { now: watch::Sender::default(), jumps, waits: Mutex::default(), waiting: Condvar::new() })
    }

    fn advance_to(&self, seconds: u64) {
        self.now.send_modify(|now| *now = (*now).max(Duration::from_secs(seconds)));
    }

    fn waits(&self) -> Vec<u64> {
        self.waits.lock().unwrap().clone()
    }

    /// Returns when a number of requests wait.
    fn until_waiting(&self, number: usize) {
        drop(self.waiting.wait_while(self.waits.lock().unwrap(), |waits| waits.len() < number).unwrap());
    }
}

impl Timer for TestTimer {
    fn now(&self) -> Duration {
        *self.now.borrow()
    }

    fn date(&self) -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + self.now()
    }

    fn wait_until(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.waits.lock().unwrap().push((time - self.now()).as_secs());
        self.waiting.notify_all();
        if self.jumps {
            self.advance_to(time.as_secs());
        }
        let mut now = self.now.subscribe();
        Box::pin(async move { drop(now.wait_for(|now| *now >= time).await.unwrap()) })
    }
}

/// A response: status, further headers, body.
type Response = (u16, String, String);

fn ok(body: &str) -> Response {
    (200, String::new(), body.to_owned())
}

fn with_digest() -> Response {
    (200, format!("docker-content-digest: {DIGEST}\r\n"), String::new())
}

fn refused(status: u16, retry_after: &str) -> Response {
    (status, format!("retry-after: {retry_after}\r\n"), String::new())
}

/// A request: method and path, and the `Authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    line: String,
    authorization: String,
}

/// A server on loopback.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// A server whose responses depend on the request and on the number of the same requests before it.
    fn new(respond: impl Fn(&Request, usize) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address").to_string();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (log, respond) = (Arc::clone(&requests), Arc::new(respond));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, respond) = (Arc::clone(&log), Arc::clone(&respond));
                thread::spawn(move || serve(stream, &log, &*respond));
            }
        });
        Self { address, requests }
    }

    /// A registry without authentication, whose digests are `respond`ed.
    fn open(respond: impl Fn(&Request, usize) -> Response + Send + Sync + 'static) -> Self {
        Self::new(move |request, before| if request.line == "GET /v2/" { ok("") } else { respond(request, before) })
    }

    fn lines(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| request.line.clone()).collect()
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, respond: &dyn Fn(&Request, usize) -> Response) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    while let Some(line) = lines.next() {
        let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let authorization = headers.iter().find_map(|header| header.strip_prefix("authorization: "));
        let request = Request {
            line: line.split(" HTTP").next().unwrap_or_default().to_owned(),
            authorization: authorization.unwrap_or_default().to_owned(),
        };
        let before = {
            let mut log = log.lock().unwrap();
            log.push(request.clone());
            log.iter().filter(|other| other.line == request.line).count() - 1
        };
        let (status, headers, body) = respond(&request, before);
        let sent = if request.line.starts_with("HEAD") { "" } else { &body };
        let length = body.len();
        if write!(stream, "HTTP/1.1 {status} Status\r\n{headers}content-length: {length}\r\n\r\n{sent}").is_err() {
            return;
        }
    }
}

fn options(servers: &[&Server], concurrency: usize) -> RegistryOptions {
    RegistryOptions {
        insecure_registry: servers.iter().map(|server| server.address.clone()).collect(),
        registry_timeout: 60,
        registry_concurrency: concurrency,
        rate_limit_wait: 60,
    }
}

fn registries(servers: &[&Server], timer: &Arc<TestTimer>, concurrency: usize) -> Registries {
    Registries::with_timer(&options(servers, concurrency), Arc::<TestTimer>::clone(timer)).unwrap()
}

fn registries_of_service(servers: &[&Server], timer: &Arc<TestTimer>) -> Registries {
    Registries::for_service_with_timer(&options(servers, 16), Arc::<TestTimer>::clone(timer)).unwrap()
}

fn digest(registries: &Registries, image: &str) -> Result<String, String> {
    let answer: Value = serde_json::from_slice(&registries.manifest_digest(image)?).unwrap();
    Ok(answer["digest"].as_str().unwrap().to_owned())
}

/// The answer of a registry with one response for the first request and a digest for the next, with the pauses.
fn after(first: impl Fn() -> Response + Send + Sync + 'static) -> (Result<String, String>, Vec<u64>) {
    let server = Server::open(move |_, before| if before == 0 { first() } else { with_digest() });
    let timer = TestTimer::new(true);
    let answer = digest(&registries(&[&server], &timer, 16), &server.image("app:1"));
    (answer, timer.waits())
}

#[test]
fn a_request_that_the_registry_limits_is_sent_again_after_the_time_it_asks_for() {
    let known = Ok(DIGEST.to_owned());
    assert_eq!(after(|| refused(429, "7")), (known.clone(), vec![7]));
    assert_eq!(after(|| refused(429, "Fri, 20 Nov 2026 12:00:20 GMT")), (known.clone(), vec![20]));
    assert_eq!(after(|| refused(503, "7")), (known.clone(), vec![7]));
    let dated = || {
        (
            429,
            "date: Fri, 20 Nov 2026 13:00:00 GMT\r\nretry-after: Fri, 20 Nov 2026 13:00:05 GMT\r\n".to_owned(),
            String::new(),
        )
    };
    assert_eq!(after(dated), (known.clone(), vec![5]), "the clock of the registry is an hour ahead");
    assert_eq!(after(|| refused(429, "0")), (known.clone(), vec![1]), "at least a second");
    assert_eq!(after(|| refused(429, "soon")), (known, vec![1]), "an invalid value counts as a missing one");
}

#[test]
fn another_error_is_not_a_reason_to_wait() {
    for (status, retry_after) in [(500, "5"), (503, "soon"), (404, "5"), (403, "5")] {
        let (answer, waits) = after(move || refused(status, retry_after));
        assert!(answer.unwrap_err().contains(&format!("code: {status}")), "{status}");
        assert_eq!(waits, [0; 0], "{status}");
    }
}

#[test]
fn without_retry_after_the_pauses_are_doubled() {
    let server = Server::open(|_, before| if before < 5 { (429, String::new(), String::new()) } else { with_digest() });
    let timer = TestTimer::new(true);
    assert_eq!(digest(&registries(&[&server], &timer, 16), &server.image("app:1")), Ok(DIGEST.to_owned()));
    assert_eq!(timer.waits(), [1, 2, 4, 8, 16]);
}

#[test]
fn the_number_of_retries_is_limited() {
    let server = Server::open(|_, _| refused(429, "1"));
    let timer = TestTimer::new(true);
    let error = digest(&registries(&[&server], &timer, 16), &server.image("app:1")).unwrap_err();
    assert_eq!(error, format!("rate limit of {} (code: 429): it refused 9 requests", server.address));
    assert_eq!(server.lines(), [&["GET /v2/"][..], &["HEAD /v2/app/manifests/1"; 9][..]].concat());
    assert_eq!(timer.waits(), [1; 8]);
}

#[test]
fn a_host_that_asks_for_too_long_a_pause_is_not_asked_until_its_end() {
    let server = Server::open(|request, _| match request.line.ends_with("/1") {
        true => refused(429, "3600"),
        false => with_digest(),
    });
    let timer = TestTimer::new(true);
    let registries = registries(&[&server], &timer, 16);
    let error = |seconds| {
        format!(
            "rate limit of {} (code: 429): it asks to wait {seconds} s; --rate-limit-wait allows 60 s in total",
            server.address
        )
    };
    assert_eq!(digest(&registries, &server.image("app:1")), Err(error(3600)));
    timer.advance_to(600);
    assert_eq!(digest(&registries, &server.image("app:2")), Err(error(3000)));
    assert_eq!(server.lines(), ["GET /v2/", "HEAD /v2/app/manifests/1"], "app:2 is not asked for");
    timer.advance_to(3600);
    assert_eq!(digest(&registries, &server.image("app:2")), Ok(DIGEST.to_owned()));
    assert_eq!(timer.waits(), [0; 0]);
}

#[test]
fn the_pauses_for_one_question_are_limited_in_total() {
    let server = Server::open(|_, _| refused(503, "25"));
    let timer = TestTimer::new(true);
    let error = digest(&registries(&[&server], &timer, 16), &server.image("app:1")).unwrap_err();
    let expected = "is overloaded (code: 503): it asks to wait 25 s; --rate-limit-wait allows 60 s in total";
    assert_eq!(error, format!("{} {expected}", server.address));
    assert_eq!(timer.waits(), [25, 25]);
}

#[test]
fn while_a_host_asks_to_wait_its_other_requests_wait_too_and_other_hosts_are_asked() {
    let timer = TestTimer::new(false);
    let clock = Arc::clone(&timer);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&sent);
    let limited = Server::open(move |request, before| {
        log.lock().unwrap().push(clock.now().as_secs());
        if before == 0 && request.line.ends_with("/0") { refused(429, "30") } else { with_digest() }
    });
    let other = Server::open(|_, _| with_digest());
    let registries = registries(&[&limited, &other], &timer, 4);
    thread::scope(|scope| {
        let ask = |image: String| {
            let registries = &registries;
            scope.spawn(move || assert_eq!(digest(registries, &image), Ok(DIGEST.to_owned())))
        };
        ask(limited.image("app:0"));
        timer.until_waiting(1);
        (1..=8).for_each(|number| drop(ask(limited.image(&format!("app:{number}")))));
        // Of the four concurrent requests, the limit leaves two.
        timer.until_waiting(2);
        ask(other.image("app:1")).join().unwrap();
        assert_eq!(*sent.lock().unwrap(), [0], "nothing else is sent to the limited host");
        timer.advance_to(30);
    });
    assert_eq!(sent.lock().unwrap()[1..], [30; 9]);
    assert_eq!(timer.waits(), [30, 30]);
}

#[test]
fn a_limit_of_the_token_server_is_heeded() {
    let tokens = Server::new(|_, before| if before == 0 { refused(429, "9") } else { ok(r#"{"token": "t"}"#) });
    let realm = tokens.address.clone();
    let server = Server::new(move |request, _| match request.line.as_str() {
        "GET /v2/" => (401, format!("www-authenticate: Bearer realm=\"http://{realm}/token\"\r\n"), String::new()),
        _ => with_digest(),
    });
    let timer = TestTimer::new(true);
    assert_eq!(digest(&registries(&[&server], &timer, 16), &server.image("app:1")), Ok(DIGEST.to_owned()));
    assert_eq!(timer.waits(), [9]);
    assert_eq!(tokens.lines().len(), 2);
}

/// Counts the requests that are responded to at the same time, and responds only when there are as many as expected.
#[derive(Default)]
struct Crowd {
    /// The requests that wait for their response now, and the most at any time.
    size: Mutex<(usize, usize)>,
    grown: Condvar,
}

impl Crowd {
    fn join(&self, expected: usize) {
        let mut size = self.size.lock().unwrap();
        size.0 += 1;
        size.1 = size.1.max(size.0);
        self.grown.notify_all();
        let mut size = self.grown.wait_while(size, |size| size.1 < expected).unwrap();
        size.0 -= 1;
    }
}

#[test]
fn a_host_gets_as_many_requests_at_a_time_as_allowed_and_the_first_one_alone() {
    let (crowd, timer) = (Arc::new(Crowd::default()), TestTimer::new(true));
    let joined = Arc::clone(&crowd);
    let server = Server::open(move |_, _| {
        joined.join(4);
        with_digest()
    });
    let registries = registries(&[&server], &timer, 4);
    thread::scope(|scope| {
        for number in 0..32 {
            let (registries, image) = (&registries, server.image(&format!("app-{number}:1")));
            scope.spawn(move || assert_eq!(digest(registries, &image), Ok(DIGEST.to_owned())));
        }
    });
    assert_eq!(crowd.size.lock().unwrap().1, 4);
    let lines = server.lines();
    assert_eq!((lines[0].as_str(), lines.len()), ("GET /v2/", 33), "{lines:?}");
}

/// A registry that requires tokens, and its token server.
fn with_tokens(respond: impl Fn(&Request) -> Response + Send + Sync + 'static) -> (Server, Server) {
    let tokens = Server::new(|_, before| ok(&format!(r#"{{"access_token": "token-{before}"}}"#)));
    let challenge = format!("www-authenticate: Bearer realm=\"http://{}/token\",service=\"s\"\r\n", tokens.address);
    let registry = Server::new(move |request, _| match request.line.as_str() {
        "GET /v2/" => (401, challenge.clone(), String::new()),
        _ => respond(request),
    });
    (registry, tokens)
}

#[test]
fn a_token_is_asked_for_once_for_each_repository_and_again_when_it_has_expired() {
    let (registry, tokens) = with_tokens(|request| match request.authorization.as_str() {
        "Bearer token-0" if request.line.ends_with("a/manifests/late") => (401, String::new(), String::new()),
        "" => (401, String::new(), String::new()),
        _ => with_digest(),
    });
    let registries = registries(&[&registry], &TestTimer::new(true), 16);
    for image in ["a:1", "a:2", "b:1", "a:late"] {
        assert_eq!(digest(&registries, &registry.image(image)), Ok(DIGEST.to_owned()), "{image}");
    }
    let token = |repository| format!("GET /token?scope=repository%3A{repository}%3Apull&service=s");
    assert_eq!(tokens.lines(), ["a", "b", "a"].map(token));
    let digests = ["a/manifests/1", "a/manifests/2", "b/manifests/1", "a/manifests/late", "a/manifests/late"];
    assert_eq!(registry.lines()[1..], digests.map(|path| format!("HEAD /v2/{path}")));
    assert_eq!(registry.lines()[0], "GET /v2/");
}

#[test]
fn the_authentication_of_a_registry_and_its_tokens_are_asked_for_again_after_ten_minutes() {
    let (registry, tokens) = with_tokens(|_| with_digest());
    let timer = TestTimer::new(true);
    let registries = registries_of_service(&[&registry], &timer);
    let mut requests = Vec::new();
    for seconds in [0, 599, 600] {
        timer.advance_to(seconds);
        assert_eq!(digest(&registries, &registry.image("a:1")), Ok(DIGEST.to_owned()));
        let challenges = registry.lines().iter().filter(|line| *line == "GET /v2/").count();
        requests.push((challenges, tokens.lines().len()));
    }
    assert_eq!(requests, [(1, 1), (1, 1), (2, 2)]);
}

#[test]
fn a_service_reads_credentials_again_after_a_minute_and_at_once_after_an_error() {
    let timer = TestTimer::new(true);
    let registries = registries_of_service(&[], &timer);
    let read = |result: Result<&str, &str>| {
        let result = result.map(|token| RegistryAuth::Bearer(token.to_owned())).map_err(str::to_owned);
        match registries.credentials.get_or_compute("registry.test", || KEEP_CREDENTIALS, || result) {
            Ok(RegistryAuth::Bearer(token)) => token,
            other => format!("{other:?}"),
        }
    };
    assert_eq!(read(Err("helper failed")), "Err(\"helper failed\")");
    assert_eq!(read(Ok("first")), "first");
    timer.advance_to(59);
    assert_eq!(read(Ok("second")), "first");
    timer.advance_to(60);
    assert_eq!(read(Ok("second")), "second");
}

#[test]
fn a_registry_that_refuses_each_token_is_not_asked_for_ever() {
    let (registry, tokens) = with_tokens(|_| (401, String::new(), String::new()));
    let registries = registries(&[&registry], &TestTimer::new(true), 16);
    let error = digest(&registries, &registry.image("a:1")).unwrap_err();
    assert!(error.starts_with("Not authorized: url http://"), "{error}");
    assert!(tokens.lines().len() <= 2, "{:?}", tokens.lines());
}

#[test]
fn an_answer_that_does_not_match_its_digest_is_an_error() {
    let server = Server::open(|request, _| match request.line.as_str() {
        "HEAD /v2/app/manifests/1" => ok(""),
        _ => (200, format!("docker-content-digest: {DIGEST}\r\n"), "other".to_owned()),
    });
    let registries = registries(&[&server], &TestTimer::new(true), 16);
    for answer in [
        digest(&registries, &server.image("app:1")).map(drop),
        registries.manifest(&server.image(&format!("app@{DIGEST}"))).map(drop),
    ] {
        assert!(
            answer.unwrap_err().starts_with(&format!("Digest error: Invalid digest. Expected {DIGEST}, got sha256:"))
        );
    }
}

#[test]
fn user_and_password_are_sent_to_a_registry_that_asks_for_them() {
    let server = Server::new(|request, _| match request.authorization.as_str() {
        // robot:secret
        "Basic cm9ib3Q6c2VjcmV0" => with_digest(),
        _ => (401, "www-authenticate: Basic realm=\"test\"\r\n".to_owned(), String::new()),
    });
    let registries = registries(&[&server], &TestTimer::new(true), 16);
    let robot = RegistryAuth::Basic("robot".to_owned(), "secret".to_owned());
    let _ = registries.credentials.get_or_compute(&server.address, || Duration::ZERO, || Ok(robot));
    assert_eq!(digest(&registries, &server.image("app:1")), Ok(DIGEST.to_owned()));
}

#[test]
fn requests_that_are_limited_at_the_same_time_are_all_sent_again() {
    let (crowd, timer) = (Arc::new(Crowd::default()), TestTimer::new(true));
    let joined = Arc::clone(&crowd);
    let server = Server::open(move |_, before| {
        if before > 0 {
            return with_digest();
        }
        joined.join(4);
        refused(429, "5")
    });
    let registries = registries(&[&server], &timer, 4);
    thread::scope(|scope| {
        for number in 0..4 {
            let (registries, image) = (&registries, server.image(&format!("app-{number}:1")));
            scope.spawn(move || assert_eq!(digest(registries, &image), Ok(DIGEST.to_owned())));
        }
    });
    assert_eq!(server.lines().len(), 9);
}

#[test]
fn an_answer_without_end_is_an_error() {
    let server = Server::open(|_, _| ok(&" ".repeat((16 << 20) + 1)));
    let registries = registries(&[&server], &TestTimer::new(true), 16);
    let error = registries.manifest(&server.image("app:1")).unwrap_err();
    assert_eq!(error, format!("the answer of {} is longer than 16 MiB", server.address));
}

#[test]
fn user_and_password_are_not_sent_to_another_host_after_a_redirect() {
    let storage = Server::new(|_, _| with_digest());
    let location = format!("location: http://{}/manifest\r\n", storage.address);
    let server = Server::new(move |request, _| match request.authorization.as_str() {
        "" => (401, "www-authenticate: Basic realm=\"test\"\r\n".to_owned(), String::new()),
        _ => (307, location.clone(), String::new()),
    });
    let registries = registries(&[&server], &TestTimer::new(true), 16);
    let robot = RegistryAuth::Basic("robot".to_owned(), "secret".to_owned());
    let _ = registries.credentials.get_or_compute(&server.address, || Duration::ZERO, || Ok(robot));
    assert_eq!(digest(&registries, &server.image("app:1")), Ok(DIGEST.to_owned()));
    let sent = storage.requests.lock().unwrap().clone();
    assert_eq!(sent, [Request { line: "HEAD /manifest".to_owned(), authorization: String::new() }]);
}

#[test]
fn a_long_error_of_a_registry_is_cut() {
    let error = format!("manifest unknown: {}", "é".repeat(MAX_ERROR));
    let shown = with_advice(error.clone(), "registry.test");
    assert!(shown.starts_with("manifest unknown: é") && shown.ends_with('…'), "{shown}");
    assert_eq!(shown.chars().count(), MAX_ERROR + 1);
    assert_eq!(with_advice("not found".to_owned(), "registry.test"), "not found");
}
