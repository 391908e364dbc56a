//! Registries that misbehave, and the module that has to say so. The ones that behave are tested in `e2e-tests/`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use clap::Parser;
use container_patch::admission::{AdmissionRequest, AdmissionResponse};
use container_patch::capabilities::{AllowedResources, Capabilities};
use container_patch::live::{Live, LiveOptions};
use container_patch::policy::Policy;
use serde_json::{Value, json};

/// Seconds that even a busy machine needs not.
const LONG_TIMEOUT: &str = "60";

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    live: LiveOptions,
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
