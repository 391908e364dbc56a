//! The client against servers on a socket in a temporary folder, and on loopback.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Engine, EngineError, EngineOptions, Host, Limits, query_value, segment};

/// A response: status and body.
type Response = (u16, String);

/// An engine on a socket.
struct Server {
    folder: TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// A server whose responses depend on the method and the path.
    fn new(respond: impl Fn(&str) -> Response + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, respond) = (Arc::clone(&requests), Arc::new(respond));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, respond) = (Arc::clone(&log), Arc::clone(&respond));
                thread::spawn(move || serve(stream.try_clone().unwrap(), stream, &log, &*respond));
            }
        });
        Self { folder, requests }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn engine(&self) -> Engine {
        at(&format!("unix://{}", self.path().display()))
    }
}

/// Answers the requests of a connection until it is closed.
fn serve(input: impl Read, mut output: impl Write, log: &Mutex<Vec<String>>, respond: &dyn Fn(&str) -> Response) {
    let mut lines = BufReader::new(input).lines().map_while(Result::ok);
    while let Some(first) = lines.next() {
        lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
        let line = first.trim_end_matches(" HTTP/1.1").to_owned();
        log.lock().unwrap().push(line.clone());
        let (status, body) = respond(&line);
        let location = if status == 301 { "location: /elsewhere\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} Status\r\n{location}content-length: {}\r\n\r\n", body.len());
        if output.write_all(format!("{head}{body}").as_bytes()).is_err() {
            break;
        }
    }
}

fn at(host: &str) -> Engine {
    let folder = Some(PathBuf::new());
    Engine::new(&EngineOptions { docker_host: Some(host.to_owned()), docker_cert_path: folder }).unwrap()
}

fn message(status: u16, message: &str) -> Response {
    (status, json!({"message": message}).to_string())
}

fn failure<T: std::fmt::Debug>(answer: Result<T, EngineError>) -> String {
    match answer.unwrap_err() {
        EngineError::Failed(reason) => reason,
        EngineError::NotFound(reason) => panic!("not found: {reason}"),
    }
}

#[test]
fn an_object_is_read_and_deleted() {
    let server = Server::new(|line| match line {
        "GET /services/web" => (200, json!({"ID": "a", "Spec": {"Name": "web"}}).to_string()),
        "GET /tasks" => (200, "[1, 2]".to_owned()),
        "GET /nodes" => (200, "null".to_owned()),
        "DELETE /containers/c?force=true" => (204, String::new()),
        _ => message(404, "page not found"),
    });
    let engine = server.engine();
    assert_eq!(engine.get("/services/web").unwrap()["Spec"]["Name"], "web");
    assert_eq!(engine.list::<u8>("/tasks"), Ok(vec![1, 2]));
    assert_eq!(engine.list::<u8>("/nodes"), Ok(vec![]));
    assert_eq!(engine.delete("/containers/c?force=true"), Ok(()));
}

#[test]
fn an_object_that_does_not_exist_is_told_from_other_errors() {
    let server = Server::new(|line| match line {
        "GET /services/none" => message(404, "service none not found"),
        "GET /services" => message(503, "This node is not a swarm manager."),
        "GET /empty" => (500, String::new()),
        "GET /text" => (200, "text".to_owned()),
        _ => message(403, &"x".repeat(3_000)),
    });
    let (engine, name) = (server.engine(), format!("the Docker Engine at unix://{}", server.path().display()));
    let not_found = format!("{name}: service none not found (HTTP status 404)");
    assert_eq!(engine.get("/services/none"), Err(EngineError::NotFound(not_found)));
    assert_eq!(
        failure(engine.list::<Value>("/services")),
        format!("{name}: This node is not a swarm manager. (HTTP status 503)")
    );
    assert_eq!(failure(engine.get("/empty")), format!("{name}: Internal Server Error (HTTP status 500)"));
    assert_eq!(
        failure(engine.get("/text")),
        format!("{name} sent an answer to GET /text that cannot be read: expected ident at line 1 column 2")
    );
    assert_eq!(failure(engine.delete("/x")), format!("{name}: {} (HTTP status 403)", "x".repeat(2_000)));
}

#[test]
fn a_redirect_is_not_followed() {
    let server = Server::new(|line| match line {
        "GET /elsewhere" => (200, "{}".to_owned()),
        _ => (301, String::new()),
    });
    assert!(failure(server.engine().get("/images//json")).ends_with("Moved Permanently (HTTP status 301)"));
    assert_eq!(*server.requests.lock().unwrap(), ["GET /images//json"]);
}

#[test]
fn an_answer_that_is_too_long_or_too_late_is_an_error() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let server = Server::new(move |line| {
        if line == "GET /late" {
            // The sender is dropped at the end of the test.
            let _ = wait.lock().unwrap().recv();
        }
        (200, format!("{:?}", "x".repeat(100)))
    });
    let mut engine = server.engine();
    engine.object.bytes = 102;
    assert_eq!(engine.get("/long"), Ok(Value::from("x".repeat(100))));
    engine.object.bytes = 101;
    assert!(failure(engine.get("/long")).ends_with("sent an answer to GET /long that is longer than 101 bytes"));
    engine.object = Limits { time: Duration::from_millis(20), bytes: 1_000 };
    assert!(failure(engine.get("/late")).ends_with("did not answer within 0 s"));
    drop(release);
}

#[test]
fn several_threads_ask_at_the_same_time() {
    let both = Arc::new(std::sync::Barrier::new(8));
    let server = Server::new(move |line| {
        both.wait();
        (200, format!("{line:?}"))
    });
    let engine = server.engine();
    thread::scope(|scope| {
        for number in 0..8 {
            let engine = &engine;
            scope.spawn(move || {
                let path = format!("/services/{number}");
                assert_eq!(engine.get(&path), Ok(Value::from(format!("GET {path}"))));
            });
        }
    });
}

#[test]
fn an_engine_that_cannot_be_reached_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let engine = at(&format!("unix://{}", socket.display()));
    let name = format!("cannot ask the Docker Engine at unix://{}", socket.display());
    assert_eq!(
        failure(engine.get("/info")),
        format!(
            "{name}: the socket does not exist; start the engine, or set --docker-host or DOCKER_HOST to the address of another one"
        )
    );
    drop(UnixListener::bind(&socket).unwrap());
    assert!(failure(engine.get("/info")).contains(": the engine does not listen on this socket; start it, or set"));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reason = failure(at(&format!("tcp://{closed}")).get("/info"));
    assert!(reason.starts_with(&format!("cannot ask the Docker Engine at tcp://{closed}: ")), "{reason}");
    assert!(reason.contains("Connection refused"), "{reason}");
}

#[test]
fn an_engine_that_expects_tls_or_does_not_speak_it_is_explained() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let respond = |_: &str| (400, "Client sent an HTTP request to an HTTPS server.\n".to_owned());
            serve_once(stream.try_clone().unwrap(), stream, &respond);
        }
    });
    assert_eq!(
        failure(at(&format!("tcp://{address}")).get("/info")),
        format!("tcp://{address} expects TLS; set --docker-cert-path to the folder with ca.pem, cert.pem and key.pem")
    );
    let folder = tempfile::tempdir().unwrap();
    let options = EngineOptions {
        docker_host: Some(format!("tcp://{address}")),
        docker_cert_path: Some(folder.path().to_owned()),
    };
    let reason = failure(Engine::new(&options).unwrap().get("/info"));
    assert!(
        reason.ends_with(
            "it does not answer over TLS; unset DOCKER_TLS_VERIFY and DOCKER_CERT_PATH if it uses plain HTTP"
        ),
        "{reason}"
    );
}

/// Answers whatever comes first.
fn serve_once(mut input: impl Read, mut output: impl Write, respond: &dyn Fn(&str) -> Response) {
    let _ = input.read(&mut [0; 1_024]);
    let (status, body) = respond("");
    let _ = write!(output, "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n\r\n{body}", body.len());
}

#[test]
fn certificates_that_cannot_be_used_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = || {
        let options = EngineOptions {
            docker_host: Some("tcp://localhost".to_owned()),
            docker_cert_path: Some(folder.path().to_owned()),
        };
        format!("{:#}", Engine::new(&options).err().unwrap())
    };
    std::fs::write(folder.path().join("cert.pem"), "none").unwrap();
    assert!(error().contains("key.pem belongs to "), "{}", error());
    std::fs::write(folder.path().join("key.pem"), "none").unwrap();
    assert!(error().contains("key.pem are not a certificate and its key"), "{}", error());
}

#[test]
fn an_address_is_read_as_the_docker_cli_reads_it() {
    let tcp = |address: &str, tls| Host::Tcp { address: address.to_owned(), tls };
    for (text, tls, host) in [
        ("unix:///run/docker.sock", false, Host::Socket("/run/docker.sock".into())),
        ("unix:///run/docker.sock", true, Host::Socket("/run/docker.sock".into())),
        ("tcp://10.0.0.1:2375", false, tcp("10.0.0.1:2375", false)),
        ("tcp://manager", false, tcp("manager:2375", false)),
        ("tcp://manager/", true, tcp("manager:2376", true)),
        ("tcp://manager:80", false, tcp("manager:80", false)),
        ("tcp://[::1]:2376", true, tcp("[::1]:2376", true)),
        ("tcp://[::1]", true, tcp("[::1]:2376", true)),
    ] {
        assert_eq!(Host::parse(text, tls).unwrap(), host, "{text}");
    }
    for (text, expected) in [
        ("ssh://jane@manager", "forward the socket"),
        ("npipe:////./pipe/docker_engine", "listen on tcp://"),
        ("unix://run/docker.sock", "absolute path"),
        ("/run/docker.sock", "expected unix:///PATH or tcp://HOST:PORT"),
        ("manager:2375", "expected unix:///PATH or tcp://HOST:PORT"),
        ("http://manager:2375", "expected unix:///PATH or tcp://HOST:PORT"),
        ("tcp://", "expected tcp://HOST:PORT"),
        ("tcp://user@manager:2375", "expected tcp://HOST:PORT"),
        ("tcp://manager:2375/path", "expected tcp://HOST:PORT"),
        ("tcp://manager:x", "expected tcp://HOST:PORT"),
    ] {
        let error = format!("{:#}", Host::parse(text, false).unwrap_err());
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_name_is_one_segment_of_a_path() {
    for (name, encoded) in [
        ("web", "web"),
        ("registry.example.com:5000/shop/web:1.4", "registry.example.com%3A5000%2Fshop%2Fweb%3A1.4"),
        ("web?x#y%2e\n", "web%3Fx%23y%252e%0A"),
        ("é", "%C3%A9"),
        ("..web", "..web"),
    ] {
        assert_eq!(segment(name).as_deref(), Ok(encoded), "{name}");
        let url = reqwest::Url::parse(&format!("http://docker/services/{encoded}/logs")).unwrap();
        assert_eq!(url.path(), format!("/services/{encoded}/logs"), "{name}");
    }
    for name in ["", ".", "..", "a/../b", "/a", "a/", "a//b", "a\\..\\b"] {
        assert!(failure(segment(name)).ends_with("is not a name or an ID of the Docker Engine"), "{name}");
    }
    assert_eq!(query_value(r#"{"label":["a=b&c"]}"#), "%7B%22label%22%3A%5B%22a%3Db%26c%22%5D%7D");
}
