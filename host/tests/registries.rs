//! Registries that misbehave, and the module that has to say so; and the requests that a registry gets. Other registries that behave are
//! tested in `e2e-tests/`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use clap::Parser;
use container_patch::admission::{AdmissionRequest, AdmissionResponse};
use container_patch::capabilities::{AllowedResources, Capabilities, HostCall, Image};
use container_patch::live::{Live, LiveOptions};
use container_patch::policy::Policy;
use container_patch::registry::RegistryOptions;
use oci_client::client::ImageLayer;
use serde_json::{Value, json};

/// Seconds that even a busy machine needs not.
const LONG_TIMEOUT: &str = "60";

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    live: LiveOptions,
}

/// The flags of a service.
#[derive(Debug, Parser)]
struct ServiceFlags {
    #[command(flatten)]
    registry: RegistryOptions,
}

fn service(registry: &str) -> Live {
    Live::for_service(&ServiceFlags::parse_from(["test", "--insecure-registry", registry]).registry).unwrap()
}

/// A registry that gives each request the same answer, or none.
fn registry(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            match answer {
                Some(answer) => {
                    let _ = stream.write_all(answer.as_bytes());
                }
                // An open connection keeps the client waiting.
                None => silent.push(stream),
            }
        }
    });
    address
}

/// The module's answer to a pod with an image of this registry.
fn judge(registry: &str, seconds: &str, settings: &Value) -> AdmissionResponse {
    let flags = Flags::parse_from(["test", "--insecure-registry", registry, "--registry-timeout", seconds]);
    let live: Arc<dyn Capabilities> = Arc::new(Live::new(&flags.live).unwrap());
    let request = AdmissionRequest::from_review(&json!({
        "uid": "1", "operation": "CREATE", "userInfo": {},
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": {"spec": {"containers": [{"name": "app", "image": format!("{registry}/team/app:1")}]}},
    }))
    .unwrap();
    Policy::embedded().unwrap().validate(&request, settings, &live, &AllowedResources::default()).unwrap()
}

fn denial(registry: &str, seconds: &str) -> String {
    denial_by(registry, seconds, &json!({"registries": [registry]}))
}

fn denial_by(registry: &str, seconds: &str, settings: &Value) -> String {
    let response = judge(registry, seconds, settings);
    assert!(!response.allowed);
    assert!(response.patch.is_none(), "an unknown image is not pinned");
    let message = response.status.and_then(|status| status.message).expect("a denial has a message");
    assert!(message.ends_with("[evidence-unavailable]"), "{message}");
    message
}

#[test]
fn an_error_500_of_a_registry_denies_with_the_status() {
    let address =
        registry(Some("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops"));
    let message = denial(&address, LONG_TIMEOUT);
    assert!(message.contains("500"), "{message}");
}

#[test]
fn a_registry_that_limits_the_rate_for_too_long_denies_with_the_limit() {
    let address = registry(Some(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 3600\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ));
    let message = denial(&address, LONG_TIMEOUT);
    let expected =
        format!("rate limit of {address} (code: 429): it asks to wait 3600 s; --rate-limit-wait allows 60 s in total");
    assert!(message.contains(&expected), "{message}");
}

#[test]
fn the_errors_of_an_unlisted_registry_are_not_repeated() {
    let answers = [
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret",
        "HTTP/1.1 200 OK\r\ndocker-content-digest: secret\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ];
    let shut = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    let addresses = answers.map(|answer| registry(Some(answer)));
    for address in addresses.into_iter().chain([shut.to_string()]) {
        let message = denial_by(&address, LONG_TIMEOUT, &json!({}));
        let expected = "could not be verified: its registry gave no usable answer; the log of policy-server has the cause [evidence-unavailable]";
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn an_image_that_the_registry_does_not_have_is_reported_as_not_found() {
    let address = registry(Some(
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 68\r\nconnection: close\r\n\r\n{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}",
    ));
    for settings in [json!({}), json!({"registries": [address]})] {
        let message = denial_by(&address, LONG_TIMEOUT, &settings);
        assert!(message.contains("could not be verified: the registry has no such image"), "{message}");
    }
}

#[test]
fn a_registry_that_never_answers_times_out() {
    let address = registry(None);
    let message = denial(&address, "1");
    assert!(message.contains(&format!("{address} did not answer within 1 s")), "{message}");
}

#[test]
fn an_invalid_manifest_denies() {
    let address = registry(Some(
        "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.manifest.v1+json\r\ncontent-length: 8\r\nconnection: close\r\n\r\nnot json",
    ));
    let schedule_alone = json!({"pinning": {"action": "off"}, "baseImage": {"action": "off"}});
    let response = judge(&address, LONG_TIMEOUT, &schedule_alone);
    assert!(!response.allowed);
    let message = response.status.and_then(|status| status.message).unwrap();
    assert!(message.ends_with("[evidence-unavailable]"), "{message}");
}

#[test]
fn an_invalid_digest_is_not_written_into_the_pod() {
    let address = registry(Some(
        "HTTP/1.1 200 OK\r\ndocker-content-digest: sha256:abc\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ));
    let message = denial(&address, LONG_TIMEOUT);
    assert!(message.contains("digest"), "{message}");
}

#[test]
fn an_outage_only_warns_if_the_settings_say_so() {
    let address = registry(Some("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
    let response = judge(&address, LONG_TIMEOUT, &json!({"enforcement": {"evidenceErrors": "warn"}}));
    assert!(response.allowed);
    assert!(response.patch.is_none());
    assert!(response.warnings.unwrap()[0].ends_with("[evidence-unavailable]"));
}

fn digest(content: &str) -> String {
    ImageLayer::new(content.to_owned(), String::new(), None).sha256_digest()
}

/// A registry that wants a token and has an index with one image, `team/app:1`. It notes the requests that it gets.
fn registry_with_index() -> (String, Arc<Mutex<Vec<String>>>) {
    let oci = |kind: &str| format!("application/vnd.oci.image.{kind}.v1+json");
    let descriptor =
        |kind: &str, content: &str| json!({"mediaType": oci(kind), "digest": digest(content), "size": content.len()});
    let config = json!({"architecture": "amd64", "os": "linux", "created": "2026-11-01T00:00:00Z"}).to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": oci("manifest"), "config": descriptor("config", &config), "layers": [],
    })
    .to_string();
    let mut entry = descriptor("manifest", &manifest);
    entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let index = json!({"schemaVersion": 2, "mediaType": oci("index"), "manifests": [entry]}).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    let names = [(digest(&index), "INDEX"), (digest(&manifest), "MANIFEST"), (digest(&config), "CONFIG")];
    let (seen, challenge) = (Arc::new(Mutex::new(Vec::new())), format!("Bearer realm=\"http://{address}/token\""));
    let requests = Arc::clone(&seen);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let mut line = request.split(" HTTP").next().unwrap_or_default().to_owned();
            names.iter().for_each(|(digest, name)| line = line.replace(digest, name));
            let line = line.split('?').next().unwrap_or_default().to_owned();
            let (status, content) = match line.rsplit('/').next() {
                Some("") => ("401 Unauthorized", ""),
                Some("token") => ("200 OK", r#"{"token": "opaque"}"#),
                Some("1" | "INDEX") => ("200 OK", index.as_str()),
                Some("MANIFEST") => ("200 OK", manifest.as_str()),
                _ => ("200 OK", config.as_str()),
            };
            let body = if line.starts_with("HEAD") { "" } else { content };
            let (digest, length) = (digest(content), content.len());
            seen.lock().unwrap().push(line);
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nwww-authenticate: {challenge}\r\ndocker-content-digest: {digest}\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    (address, requests)
}

#[test]
fn a_registry_is_asked_for_each_manifest_and_for_a_token_once() {
    let (address, requests) = registry_with_index();
    let response =
        judge(&address, LONG_TIMEOUT, &json!({"registries": [address], "evaluateAt": "2026-11-20T12:00:00Z"}));
    assert!(response.allowed, "{response:?}");
    let expected = [
        "GET /v2/",
        "GET /token",
        "HEAD /v2/team/app/manifests/1",
        "GET /v2/team/app/manifests/INDEX",
        "GET /v2/team/app/manifests/MANIFEST",
        "GET /v2/team/app/blobs/CONFIG",
    ];
    assert_eq!(*requests.lock().unwrap(), expected);
}

/// A registry whose answers about the first images come when a number of them are waited for. It notes the most at any time.
fn registry_with_crowd(expected: usize) -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    let most = Arc::new(Mutex::new(0));
    let (noted, crowd) = (Arc::clone(&most), Arc::new((Mutex::new(0), Condvar::new())));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (noted, crowd) = (Arc::clone(&noted), Arc::clone(&crowd));
            thread::spawn(move || {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap_or(0);
                if !request[..length].starts_with(b"GET /v2/ ") {
                    let (size, grown) = &*crowd;
                    let mut waiting = size.lock().unwrap();
                    *waiting += 1;
                    let now = *waiting;
                    let mut most = noted.lock().unwrap();
                    *most = now.max(*most);
                    drop(most);
                    grown.notify_all();
                    let reached = |_: &mut usize| *noted.lock().unwrap() < expected;
                    *grown.wait_while(waiting, reached).unwrap() -= 1;
                }
                let digest = digest("");
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ndocker-content-digest: {digest}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
            });
        }
    });
    (address, most)
}

/// `check` of 100 pods, each with an image of its own, by the rule that asks for digests only.
fn check(registry: &str, flags: &[&str]) {
    let manifest = tempfile::NamedTempFile::new().unwrap();
    let pods = (0..100).map(|number| {
        let image = format!("{registry}/app-{number}:1");
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": image}]}})
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": pods.collect::<Vec<_>>()});
    std::fs::write(manifest.path(), list.to_string()).unwrap();
    let off = json!({"action": "off"});
    let settings = json!({"registries": [registry], "schedule": off, "baseImage": off, "scan": off}).to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_container-patch"))
        .args(["check", manifest.path().to_str().unwrap(), "--output", "json", "--settings-json", &settings])
        .args(["--insecure-registry", registry, "--registry-timeout", LONG_TIMEOUT])
        .args(flags)
        .output()
        .unwrap();
    let verdicts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdicts["summary"]["denied"], 0, "{verdicts}");
    assert_eq!(verdicts["summary"]["failed"], 0, "{verdicts}");
}

#[test]
fn check_asks_about_many_images_at_a_time_up_to_the_limit() {
    let (address, most) = registry_with_crowd(16);
    check(&address, &[]);
    assert_eq!(*most.lock().unwrap(), 16);
    let (address, most) = registry_with_crowd(100);
    check(&address, &["--registry-concurrency", "100"]);
    assert_eq!(*most.lock().unwrap(), 100);
}

#[test]
fn check_asks_about_one_image_at_a_time_when_it_records_the_session() {
    let (address, most) = registry_with_crowd(1);
    let session = tempfile::NamedTempFile::new().unwrap();
    check(&address, &["--record-host-capabilities-interactions", session.path().to_str().unwrap()]);
    assert_eq!(*most.lock().unwrap(), 1);
}

/// The number of requests for manifests that a registry gets, which refuses the first one.
fn registry_with_failure() -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    let requests = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&requests);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let mut status = "200 OK";
            if !request[..length].starts_with(b"GET /v2/ ") {
                let mut seen = seen.lock().unwrap();
                *seen += 1;
                status = if *seen == 1 { "500 Internal Server Error" } else { status };
            }
            let digest = digest("");
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ndocker-content-digest: {digest}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
    });
    (address, requests)
}

#[test]
fn a_service_asks_again_after_an_error_and_a_command_does_not() {
    let ask = |live: &Live, address: &str| {
        let image = Image { image: format!("{address}/app:1") };
        live.answer(HostCall::OciManifestDigest(image)).is_ok()
    };
    let (address, requests) = registry_with_failure();
    let service = service(&address);
    assert_eq!([(); 3].map(|()| ask(&service, &address)), [false, true, true]);
    assert_eq!(*requests.lock().unwrap(), 2, "the answer is kept");
    let (address, requests) = registry_with_failure();
    let command = Live::new(&Flags::parse_from(["test", "--insecure-registry", &address]).live).unwrap();
    assert_eq!([(); 3].map(|()| ask(&command, &address)), [false, false, false]);
    assert_eq!(*requests.lock().unwrap(), 1);
}

#[test]
fn a_service_asks_once_for_all_requests_that_wait_for_the_same_answer() {
    let (address, requests) = registry_with_index();
    let live = service(&address);
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let image = Image { image: format!("{address}/team/app:1") };
                live.answer(HostCall::OciManifestDigest(image)).unwrap();
            });
        }
    });
    let heads = requests.lock().unwrap().iter().filter(|line| line.starts_with("HEAD")).count();
    assert_eq!(heads, 1);
}
