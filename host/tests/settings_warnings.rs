//! The warnings of other policies about valid settings.

use std::process::Command;

/// A guest with valid settings and two warnings, which it does not log.
const GUEST: &str = r#"(module
  (import "wapc" "__guest_response" (func $respond (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{\"valid\":true,\"message\":\"a: is late\\n\\nb: is odd\"}")
  (data (i32.const 128) "{\"accepted\":true}")
  (func (export "__guest_call") (param $name_len i32) (param i32) (result i32)
    (if (i32.eq (local.get $name_len) (i32.const 17)) ;; validate_settings
      (then (call $respond (i32.const 0) (i32.const 50)))
      (else (call $respond (i32.const 128) (i32.const 17))))
    (i32.const 1)))"#;

#[test]
fn each_line_of_a_message_about_valid_settings_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), wat::parse_str(GUEST).unwrap()).unwrap();
    std::fs::write(folder.path().join("pod.yaml"), "{apiVersion: v1, kind: Pod, metadata: {name: web}}").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_container-patch"));
    let output = command
        .current_dir(folder.path())
        .args(["check", "pod.yaml", "--policy", "guest.wasm", "--settings-json", "{}"])
        .output();
    let output = output.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "Warning: settings: a: is late\nWarning: settings: b: is odd\n"
    );
    assert!(output.status.success(), "{output:?}");
}
