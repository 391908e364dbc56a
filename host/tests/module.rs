//! Tests of the built module in a Wasm host: what no admission request of a cluster would ever say, and what the module
//! is made of.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use container_patch::capabilities::{AllowedResources, Capabilities, HostCall, Nothing};
use container_patch::policy::Policy;
use container_patch::session::Replay;
use container_patch_policy::host::{CanI, GetResource, Host, ListResources};
use serde_json::{Value, json};
use wasmparser::{ConstExpr, DataKind, Operator, Parser, Payload};

fn call(function: &str, payload: &[u8]) -> Value {
    let nothing: Arc<dyn Capabilities> = Arc::new(Nothing);
    let policy = Policy::embedded().expect("the module loads");
    let response = policy.call(function, payload, &nothing, &AllowedResources::default());
    serde_json::from_slice(&response.expect("the module does not trap")).expect("the module answers in JSON")
}

fn denial(payload: &[u8]) -> String {
    let response = call("validate", payload);
    assert_eq!(response["accepted"], json!(false), "{response}");
    response["message"].as_str().expect("a denial has a message").to_owned()
}

#[test]
fn a_payload_that_is_no_admission_request_is_denied_with_the_reason() {
    for (payload, expected) in [
        (&b""[..], "invalid admission request: EOF while parsing a value at line 1 column 0 [invalid-request]"),
        (b"\xff\xfe", "invalid admission request: this is not UTF-8: "),
        (b"{\"settings\": {}}", "invalid admission request: missing field `request` [invalid-request]"),
        (b"{\"request\": [", "invalid admission request: "),
        (
            br#"{"request": {"kind": {"kind": "Pod"}, "operation": 1}}"#,
            "invalid admission request: request.operation: ",
        ),
    ] {
        let message = denial(payload);
        assert!(message.starts_with(expected), "expected: {expected}\nfound:    {message}");
        assert!(message.ends_with("[invalid-request]"), "{message}");
    }
}

#[test]
fn deep_nesting_and_very_long_text_are_no_harm() {
    let deep = "[".repeat(1 << 20) + &"]".repeat(1 << 20);
    let payload = format!(
        r#"{{"request": {{"kind": {{"kind": "Pod"}}, "operation": "CREATE", "object": {{"spec": {{"x": {deep}}}}}}}}}"#
    );
    assert_eq!(call("validate", payload.as_bytes())["accepted"], json!(true));
    let long = "a".repeat(3 << 20);
    let request = |image: &str, name: &str| {
        let object = json!({"spec": {"containers": [{"name": name, "image": image}]}});
        let request = json!({"kind": {"kind": "Pod"}, "operation": "CREATE", "object": object});
        serde_json::to_vec(&json!({"request": request, "settings": {}})).unwrap()
    };
    let message = denial(&request(&long, "app"));
    assert!(message.contains("it is 3145728 characters long"), "{message}");
    assert!(message.len() < 1000, "the message does not repeat the image");
    assert!(denial(&request("nginx:1", &long)).len() < 1000, "the message does not repeat the name");
}

#[test]
fn a_request_with_settings_that_are_not_valid_is_denied_with_what_validate_settings_says() {
    let settings = json!({"pining": {}, "exempt": 7});
    let told = call("validate_settings", settings.to_string().as_bytes());
    assert_eq!(told["valid"], json!(false));
    let request = json!({"kind": {"kind": "Pod"}, "operation": "CREATE", "object": {"spec": {}}});
    let message = denial(json!({"request": request, "settings": settings}).to_string().as_bytes());
    assert_eq!(message, format!("{} [invalid-settings]", told["message"].as_str().unwrap()));
    assert!(message.contains("pining: unknown key; did you mean `pinning`? [invalid-settings]"), "{message}");
}

#[test]
fn settings_that_are_no_json_are_refused() {
    for settings in ["", "{", "\u{0}", "{\"a\": 1} x"] {
        assert_eq!(call("validate_settings", settings.as_bytes())["valid"], json!(false), "{settings:?}");
    }
    assert_eq!(call("validate_settings", b"{}"), json!({"valid": true, "message": null}));
}

#[test]
fn the_module_speaks_the_protocol_of_kubewarden() {
    assert_eq!(call("protocol_version", b""), json!("v1"));
}

/// A guest that asks for the digest of `nginx:1`, and answers with what it is told: 1 for an answer, 0 for an error.
const ASKING_GUEST: &str = r#"(module
  (import "wapc" "__guest_request" (func $request (param i32 i32)))
  (import "wapc" "__guest_response" (func $respond (param i32 i32)))
  (import "wapc" "__guest_error" (func $fail (param i32 i32)))
  (import "wapc" "__host_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wapc" "__host_response" (func $answer (param i32)))
  (import "wapc" "__host_response_len" (func $answer_len (result i32)))
  (import "wapc" "__host_error" (func $error (param i32)))
  (import "wapc" "__host_error_len" (func $error_len (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "kubewarden")
  (data (i32.const 16) "oci")
  (data (i32.const 32) "v1/manifest_digest")
  (data (i32.const 64) "\"nginx:1\"")
  (func (export "__guest_call") (param i32 i32) (result i32)
    (if (i32.eq (i32.const 1) (call $call (i32.const 0) (i32.const 10) (i32.const 16) (i32.const 3)
                                          (i32.const 32) (i32.const 18) (i32.const 64) (i32.const 9)))
      (then
        (call $answer (i32.const 1024))
        (call $respond (i32.const 1024) (call $answer_len))
        (return (i32.const 1))))
    (call $error (i32.const 1024))
    (call $fail (i32.const 1024) (call $error_len))
    (i32.const 0)))"#;

fn asking_policy() -> (tempfile::NamedTempFile, Policy) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wat::parse_str(ASKING_GUEST).unwrap()).unwrap();
    let policy = Policy::from_file(file.path()).expect("the guest loads");
    (file, policy)
}

#[test]
fn a_session_answers_the_questions_of_a_guest_in_order() {
    let session = "- type: Exchange\n  request: |\n    !OciManifestDigest\n    image: nginx:1\n  \
                   response:\n    type: Success\n    payload: '{\"digest\":\"sha256:abc\"}'\n";
    let replay = Arc::new(Replay::parse(session).unwrap());
    let capabilities: Arc<dyn Capabilities> = Arc::<Replay>::clone(&replay);
    let (_file, policy) = asking_policy();
    let allowed = AllowedResources::default();
    assert_eq!(policy.call("x", b"", &capabilities, &allowed).unwrap(), br#"{"digest":"sha256:abc"}"#);
    assert!(replay.mismatches().is_empty());
    let error = policy.call("x", b"", &capabilities, &allowed).unwrap_err().to_string();
    assert!(error.contains("expected no more questions"), "{error}");
    assert_eq!(replay.mismatches().len(), 1);
}

#[test]
fn a_guest_gets_its_answers_from_the_capabilities_of_the_host() {
    struct Recorder(Mutex<Vec<HostCall>>);
    impl Capabilities for Recorder {
        fn answer(&self, call: HostCall) -> Result<Vec<u8>, String> {
            self.0.lock().unwrap().push(call);
            Err("the registry is down".to_owned())
        }
    }
    let recorder = Arc::new(Recorder(Mutex::new(Vec::new())));
    let capabilities: Arc<dyn Capabilities> = Arc::<Recorder>::clone(&recorder);
    let (_file, policy) = asking_policy();
    let error = policy.call("x", b"", &capabilities, &AllowedResources::default()).unwrap_err().to_string();
    assert!(error.contains("the registry is down"), "{error}");
    let calls = recorder.0.lock().unwrap();
    assert!(matches!(&calls[..], [HostCall::OciManifestDigest(image)] if image.image == "nginx:1"), "{calls:?}");
}

#[test]
fn the_module_is_small() {
    let size = std::fs::metadata(env!("POLICY_MODULE")).unwrap().len();
    assert!(size < 27 << 16, "the module has {size} bytes");
}

/// Each page of memory that a request writes to costs a page fault. `build.rs` places stack and data, whose size changes.
#[test]
fn neither_the_stack_nor_the_variables_need_one_page_more_than_necessary() {
    const PAGE: i32 = 4096;
    // The initialized variables are the last data segment; the zeroed ones follow.
    const VARIABLES: i32 = 2048;
    let constant = |expression: &ConstExpr<'_>| match expression.get_operators_reader().read().unwrap() {
        Operator::I32Const { value } => value,
        other => panic!("expected a constant, found {other:?}"),
    };
    let module = std::fs::read(env!("POLICY_MODULE")).unwrap();
    let (mut stack, mut variables) = (None, None);
    for part in Parser::new(0).parse_all(&module) {
        match part.unwrap() {
            // The first global is the stack pointer.
            Payload::GlobalSection(globals) => {
                let first = globals.into_iter().next().unwrap().unwrap();
                stack = Some(constant(&first.init_expr));
            }
            Payload::DataSection(segments) => {
                let DataKind::Active { offset_expr, .. } = segments.into_iter().last().unwrap().unwrap().kind else {
                    panic!("expected an active data segment")
                };
                variables = Some(constant(&offset_expr));
            }
            _ => {}
        }
    }
    assert_eq!(stack.unwrap() % PAGE, 0, "the stack begins at the end of a page");
    let start = variables.unwrap() % PAGE;
    assert!(
        start + VARIABLES <= PAGE,
        "the variables begin at byte {start} of a page: increase `--global-base` in build.rs by {}",
        PAGE - start
    );
}

fn contains(module: &[u8], text: &str) -> bool {
    module.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn what_is_told_of_settings_is_not_in_the_module() {
    let module = std::fs::read(env!("POLICY_MODULE")).unwrap();
    assert!(contains(&module, "unknown IANA time zone"), "texts of the module can be found");
    assert!(!contains(&module, "IANA name"), "the name of a type");
    assert!(!contains(&module, "the policy then needs"), "the description of a key");
}

/// The linker drops code that nothing calls. So a module that compiles no regular expression does not contain the parser either,
/// which is recognized by its error messages.
#[test]
fn the_module_cannot_compile_a_regular_expression() {
    let module = std::fs::read(env!("POLICY_MODULE")).unwrap();
    for invalid in ["(", "[a", r"(a)\1", "(?P<a>x)(?P<a>y)"] {
        let error = regex::Regex::new(invalid).unwrap_err().to_string();
        let (_, message) = error.rsplit_once("error: ").expect("the error ends with its cause");
        assert!(!contains(&module, message), "the module has the error message of `{invalid}`: {message}");
    }
}

/// A world that answers nothing, as [`Nothing`] does for the module.
struct Silent;

impl Host for Silent {
    fn manifest_digest(&self, _: &str) -> Result<Vec<u8>, String> {
        Err(String::new())
    }

    fn manifest(&self, _: &str) -> Result<Vec<u8>, String> {
        Err(String::new())
    }

    fn manifest_and_config(&self, _: &str) -> Result<Vec<u8>, String> {
        Err(String::new())
    }

    fn get_resource(&self, _: &GetResource<'_>) -> Result<Vec<u8>, String> {
        Err(String::new())
    }

    fn list_resources_by_namespace(&self, _: &ListResources<'_>) -> Result<Vec<u8>, String> {
        Err(String::new())
    }

    fn can_i(&self, _: &CanI<'_>) -> Result<Vec<u8>, String> {
        Err(String::new())
    }

    fn log_warning(&self, _: &str) {}

    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// In the module, JSON is passed over by other instructions than in unit tests.
#[test]
fn the_module_reads_a_request_as_the_same_code_does_outside_of_it() {
    let policy = Policy::embedded().expect("the module loads");
    let nothing: Arc<dyn Capabilities> = Arc::new(Nothing);
    let off = json!({"action": "off"});
    let settings = json!({"pinning": {"action": "deny"}, "schedule": off, "baseImage": off, "scan": off});
    let pieces = ["\"", "\\", "\\\"", "{[", "]}", "ü", "\n", "word", ",:", "\\\\\\"];
    for length in 0..150 {
        for (index, piece) in pieces.iter().enumerate() {
            // Something special, at each offset of a block, in a string and in keys.
            let text = format!("{}{}{}", "x".repeat(length), piece, pieces[(index + length) % pieces.len()]);
            let object = json!({
                "metadata": {"annotations": {&text: [&text, {&text: text}]}},
                "spec": {"nodeSelector": {"a": [[text]]}, "containers": [{"args": [text], "image": "nginx:1", "name": text}]},
            });
            let request = json!({"kind": {"kind": "Pod"}, "operation": "CREATE", "object": object, "uid": text});
            let payload = json!({"request": request, "settings": settings}).to_string();
            let expected = container_patch_policy::validate(payload.as_bytes(), &Silent);
            assert!(String::from_utf8_lossy(&expected).contains("unpinned-image"), "{payload}");
            let found = policy.call("validate", payload.as_bytes(), &nothing, &AllowedResources::default()).unwrap();
            assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected), "{payload}");
        }
    }
}
