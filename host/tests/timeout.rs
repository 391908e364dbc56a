//! A policy that takes too long is interrupted, as in policy-server. Except in the tests of the command itself, the tests tick
//! the clock.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use container_patch::capabilities::{AllowedResources, Capabilities, HostCall, Nothing};
use container_patch::policy::Policy;
use container_patch::timeout::{Clock, Interrupted, Timeout};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// A guest that can `$ask` for the digest of `nginx:1`, and `$answer` that its settings are valid.
fn guest(functions: &str) -> NamedTempFile {
    let text = format!(
        r#"(module
          (import "wapc" "__guest_response" (func $respond (param i32 i32)))
          (import "wapc" "__host_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "kubewarden")
          (data (i32.const 16) "oci")
          (data (i32.const 32) "v1/manifest_digest")
          (data (i32.const 64) "\"nginx:1\"")
          (data (i32.const 96) "{{\"valid\":true}}")
          (func $ask (drop (call $call (i32.const 0) (i32.const 10) (i32.const 16) (i32.const 3)
                                       (i32.const 32) (i32.const 18) (i32.const 64) (i32.const 9))))
          (func $answer (call $respond (i32.const 96) (i32.const 14)))
          {functions})"#
    );
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wat::parse_str(text).unwrap()).unwrap();
    file
}

/// Asks, and then answers.
const ASKING: &str = r#"(func (export "__guest_call") (param i32 i32) (result i32)
  (call $ask) (call $answer) (i32.const 1))"#;

/// Asks, and then computes for ever.
const ENDLESS: &str = r#"(func (export "__guest_call") (param i32 i32) (result i32)
  (call $ask) (loop $again (br $again)) (i32.const 1))"#;

/// Asks, and then computes for ever, before anybody calls it.
const ENDLESS_START: &str = r#"(func (export "wapc_init") (call $ask) (loop $again (br $again)))
  (func (export "__guest_call") (param i32 i32) (result i32) (i32.const 0))"#;

/// Says that its settings are valid, and computes for ever about a request. `validate` has eight letters.
const ENDLESS_VALIDATE: &str = r#"(func (export "__guest_call") (param $operation_length i32) (param i32) (result i32)
  (if (i32.eq (local.get $operation_length) (i32.const 8)) (then (loop $again (br $again))))
  (call $answer) (i32.const 1))"#;

/// A host that takes some seconds for each answer.
struct Slow {
    clock: Clock,
    seconds: u64,
    answered: Mutex<u64>,
}

impl Capabilities for Slow {
    fn answer(&self, _: HostCall) -> Result<Vec<u8>, String> {
        (0..self.seconds).for_each(|_| self.clock.tick());
        *self.answered.lock().unwrap() += 1;
        Ok(b"{}".to_vec())
    }
}

/// What becomes of a guest whose host takes some seconds to answer, and how often the host did.
fn run(functions: &str, timeout: Timeout, seconds: u64) -> (anyhow::Result<Vec<u8>>, u64) {
    let file = guest(functions);
    let policy = Policy::from_file(file.path()).unwrap().with_timeout(timeout);
    let slow = Arc::new(Slow { clock: policy.clock().clone(), seconds, answered: Mutex::new(0) });
    let capabilities: Arc<dyn Capabilities> = Arc::<Slow>::clone(&slow);
    let outcome = policy.call("validate", b"", &capabilities, &AllowedResources::default());
    let answered = *slow.answered.lock().unwrap();
    (outcome, answered)
}

fn is_interrupted(outcome: &anyhow::Result<Vec<u8>>) -> bool {
    outcome.as_ref().is_err_and(|error| error.is::<Interrupted>())
}

#[test]
fn a_guest_that_waits_longer_than_the_timeout_is_interrupted_after_the_answer() {
    let (outcome, answered) = run(ASKING, Timeout::OF_POLICY_SERVER, 1);
    assert_eq!((outcome.unwrap(), answered), (br#"{"valid":true}"#.to_vec(), 1));
    let (outcome, answered) = run(ASKING, Timeout::OF_POLICY_SERVER, 2);
    assert!(is_interrupted(&outcome), "{outcome:?}");
    assert_eq!(answered, 1, "the host call itself is not cut short");
    let (outcome, _) = run(ASKING, Timeout::Total(9), 8);
    assert!(outcome.is_ok(), "{outcome:?}");
    let (outcome, _) = run(ASKING, Timeout::Total(9), 9);
    assert!(is_interrupted(&outcome), "{outcome:?}");
}

#[test]
fn a_guest_that_computes_forever_is_interrupted_in_a_call_and_at_its_start() {
    for functions in [ENDLESS, ENDLESS_START] {
        let (outcome, answered) = run(functions, Timeout::OF_POLICY_SERVER, 2);
        assert!(is_interrupted(&outcome), "{outcome:?}");
        assert_eq!(answered, 1);
    }
}

#[test]
fn with_a_timeout_for_computing_a_waiting_guest_is_not_interrupted() {
    let (outcome, answered) = run(ASKING, Timeout::Computing(1), 1000);
    assert_eq!((outcome.unwrap(), answered), (br#"{"valid":true}"#.to_vec(), 1));
}

#[test]
fn with_a_timeout_for_computing_a_guest_that_computes_forever_is_interrupted() {
    let file = guest(ENDLESS);
    let policy = Policy::from_file(file.path()).unwrap().with_timeout(Timeout::Computing(1));
    let nothing: Arc<dyn Capabilities> = Arc::new(Nothing);
    let outcome = std::thread::scope(|scope| {
        let endless = scope.spawn(|| policy.call("validate", b"", &nothing, &AllowedResources::default()));
        while !endless.is_finished() {
            policy.clock().tick();
            std::thread::yield_now();
        }
        endless.join().unwrap()
    });
    assert!(is_interrupted(&outcome), "{outcome:?}");
}

#[test]
fn an_interrupted_evaluation_does_not_affect_the_next_one() {
    let file = guest(ASKING);
    let policy = Policy::from_file(file.path()).unwrap();
    for (seconds, interrupted) in [(2, true), (0, false), (2, true), (1, false)] {
        let slow = Slow { clock: policy.clock().clone(), seconds, answered: Mutex::new(0) };
        let capabilities: Arc<dyn Capabilities> = Arc::new(slow);
        let outcome = policy.call("validate", b"", &capabilities, &AllowedResources::default());
        assert_eq!(is_interrupted(&outcome), interrupted, "{outcome:?}");
    }
}

#[test]
fn an_error_with_the_message_of_an_interruption_is_not_an_interruption() {
    struct Lying;
    impl Capabilities for Lying {
        fn answer(&self, _: HostCall) -> Result<Vec<u8>, String> {
            Err("guest code interrupted, execution deadline exceeded".to_owned())
        }
    }
    let lying: Arc<dyn Capabilities> = Arc::new(Lying);
    let request =
        json!({"kind": {"kind": "Pod"}, "operation": "CREATE", "object": {"spec": {"containers": [{"image": "a"}]}}});
    let payload = json!({"request": request, "settings": {"pinning": {"forbiddenTags": []}}}).to_string();
    let answer =
        Policy::embedded().unwrap().call("validate", payload.as_bytes(), &lying, &AllowedResources::default()).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["accepted"], json!(false));
    assert!(answer["message"].as_str().unwrap().ends_with("[evidence-unavailable]"), "{answer}");
}

fn container_patch(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_container-patch")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn run_denies_like_policy_server_when_a_policy_takes_too_long() {
    let (policy, request) = (guest(ENDLESS_VALIDATE), NamedTempFile::new().unwrap());
    let review = json!({
        "uid": "1", "operation": "CREATE", "userInfo": {},
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
    });
    std::fs::write(request.path(), review.to_string()).unwrap();
    let (policy, request) = (policy.path().to_str().unwrap(), request.path().to_str().unwrap());
    let output = container_patch(&["run", policy, "--request-path", request, "--policy-timeout", "1"]);
    let response: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        response,
        json!({
            "uid": "1", "allowed": false, "auditAnnotations": null, "warnings": null,
            "status": {
                "code": 500,
                "message": "Policy execution interrupted because it exceeded the allowed execution time",
            },
        })
    );
    let advice = text(&output.stderr);
    assert!(advice.contains("within 1 s") && advice.contains("--policy-timeout"), "{advice}");
    assert!(output.status.success());
}

#[test]
fn check_reports_an_object_as_failed_when_the_policy_takes_too_long() {
    let (policy, manifest) = (guest(ENDLESS_VALIDATE), NamedTempFile::new().unwrap());
    std::fs::write(manifest.path(), "{apiVersion: v1, kind: Pod, metadata: {name: web}}").unwrap();
    let (policy, manifest) = (policy.path().to_str().unwrap(), manifest.path().to_str().unwrap());
    let output = container_patch(&["check", manifest, "--policy", policy, "--policy-timeout", "1", "--output", "json"]);
    let verdicts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [object] = &verdicts["objects"].as_array().unwrap()[..] else { panic!("{verdicts}") };
    assert_eq!((&object["verdict"], &object["object"]), (&json!("failed"), &json!("Pod default/web")));
    let message = object["messages"][0].as_str().unwrap();
    for part in ["more than 1 s", "--policy-timeout", "`timeoutEvalSeconds`"] {
        assert!(message.contains(part), "expected: {part}\nfound:    {message}");
    }
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn settings_are_not_reported_as_invalid_when_the_policy_takes_too_long() {
    let policy = guest(ENDLESS);
    let request = NamedTempFile::new().unwrap();
    std::fs::write(request.path(), r#"{"uid": "1", "operation": "CREATE", "userInfo": {}, "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"}}"#).unwrap();
    let (policy, request) = (policy.path().to_str().unwrap(), request.path().to_str().unwrap());
    let output = container_patch(&["run", policy, "--request-path", request, "--policy-timeout", "1"]);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("cannot check the settings: Policy execution interrupted"), "{stderr}");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
}
