//! `container-patch history --follow` as a service: what it tells systemd, and the files of `deploy/audit/`.
#![cfg(unix)]

mod systemd;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longer than even a busy machine needs.
const LONG: Duration = Duration::from_secs(60);

const SERVICE: &str = "container-patch-history.service";

fn deploy(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/audit").join(file)).unwrap()
}

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    response.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn systemd_is_notified_when_the_metrics_are_served_and_when_the_service_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify.sock");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(LONG)).unwrap();
    let told = || {
        let mut message = [0; 4096];
        let length = systemd.recv(&mut message).expect("a message for systemd");
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let log = folder.path().join("audit.log");
    fs::write(&log, "not an event\n").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_container-patch"));
    command.args(["history", "--follow", "--metrics-address", &free]).arg(&log);
    command.env("NOTIFY_SOCKET", &path).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());

    assert_eq!(told(), "READY=1\nSTATUS=following 1 log\n");
    let metrics = get(&free, "/metrics");
    assert!(metrics.contains("container_patch_history_skipped_lines_total{reason=\"garbage\"} 1\n"), "{metrics}");
    assert_eq!(get(&free, "/healthz"), "ok\n");
    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    assert_eq!(told().trim_end(), "STOPPING=1");
    assert!(running.0.wait().unwrap().success());
    let mut printed = String::new();
    running.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "");
    running.0.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(printed.starts_with("Warning: skipped 1 line ") && printed.lines().count() == 1, "{printed}");
}

#[test]
fn a_blocked_output_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let decision = r#"{"time":"2026-11-20T12:00:00.000Z","level":"info","event":"decision","allowed":false,"user":"jane","authentication":"TLS","method":"POST","path":"/services/create","operation":"CREATE","object":{"kind":"Service","name":"web"},"annotations":{"verdict":"denied","findings":[{"code":"stale-image","effect":"deny","image":"nginx:1","text":"is stale"}],"images":[{"image":"docker.io/library/nginx:1"}]},"seconds":0.1}"#;
    // A pipe takes 64 KiB.
    fs::write(&log, format!("{decision}\n").repeat(5000)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_container-patch"));
    command.args(["history", "--follow", "--output", "json"]).arg(&log).stdout(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut first = [0; 1];
    running.0.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    kill_process(Pid::from_child(&running.0), Signal::INT).unwrap();
    assert!(running.0.wait().unwrap().success());
}

/// The unit, with the program of this build, in a folder.
fn unit() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let text = systemd::with_built_program(&deploy(SERVICE));
    let path = folder.path().join(SERVICE);
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// What `systemd-analyze` says about the unit.
fn systemd_analyze(arguments: &[&str]) -> Option<(String, bool)> {
    let (_folder, unit) = unit();
    systemd::analyze(arguments, &[unit])
}

#[test]
fn systemd_accepts_the_unit_without_a_warning() {
    if let Some((printed, succeeded)) = systemd_analyze(&["verify"]) {
        assert!(succeeded && !printed.contains("container-patch-history"), "{printed}");
    }
}

#[test]
fn the_service_is_hardened() {
    // The exposure is at most 2.
    if let Some((printed, succeeded)) = systemd_analyze(&["security", "--offline=true", "--threshold=20", "--no-pager"])
    {
        assert!(succeeded, "{printed}");
    }
}

#[test]
fn the_service_reads_nothing_but_the_folder_of_the_log() {
    let unit = deploy(SERVICE);
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("no {key}"));
    let folder = value("BindReadOnlyPaths=");
    assert!(value("ExecStart=").ends_with(&format!(" {folder}/audit.log")), "{unit}");
    assert_eq!(value("TemporaryFileSystem="), "/etc:ro /var:ro");
    assert_eq!(value("Environment="), "METRICS_ADDRESS=127.0.0.1:9465");
    // The same folder as in the manifest, where it is read-only, too.
    let manifest = deploy("history.yaml");
    for line in [
        format!("hostPath: {{path: {folder}, type: Directory}}"),
        format!("- {{name: audit, mountPath: {folder}, readOnly: true}}"),
        format!("args: [history, --follow, --metrics-address, \"0.0.0.0:9465\", {folder}/audit.log]"),
    ] {
        assert!(manifest.lines().any(|known| known.trim() == line), "no {line} in\n{manifest}");
    }
}

#[test]
fn kubernetes_knows_every_field_of_the_manifest() {
    fn known<T: DeserializeOwned + Serialize>(object: &Value) {
        let typed: T = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(&serde_json::to_value(&typed).unwrap(), object);
    }
    let manifest = deploy("history.yaml");
    let objects = manifest.split("\n---\n").map(|text| yaml_serde::from_str::<Value>(text).unwrap());
    for (object, check) in objects.zip([known::<Namespace>, known::<Deployment>, known::<NetworkPolicy>]) {
        check(&object);
    }
}
