//! `container-patch swarm-authz` as a service: what it tells systemd, how it reads its settings again, and the files of `deploy/swarm/`.
#![cfg(unix)]

mod systemd;

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Longer than even a busy machine needs.
const LONG: Duration = Duration::from_secs(60);

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/swarm").join(file)
}

/// A running plugin, in a folder of its own.
struct Plugin {
    process: Child,
    socket: PathBuf,
    /// The lines on standard error.
    log: Option<Receiver<Value>>,
    folder: tempfile::TempDir,
}

/// What a plugin is started with.
struct Setup {
    folder: tempfile::TempDir,
    command: Command,
}

impl Setup {
    /// Settings in a file, and the flags.
    fn new(settings: &str, flags: &[&str]) -> Self {
        Self::by(Command::new(env!("CARGO_BIN_EXE_container-patch")), settings, flags)
    }

    fn by(mut command: Command, settings: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("settings.yaml"), settings).unwrap();
        command.arg("swarm-authz").args(flags).arg("--socket").arg(folder.path().join("plugin.sock"));
        command.arg("--settings-path").arg(folder.path().join("settings.yaml"));
        command.args(["--docker-host", "unix:///nonexistent.sock"]);
        command.env_remove("NOTIFY_SOCKET").stderr(Stdio::piped());
        Self { folder, command }
    }

    fn start(mut self) -> Plugin {
        let process = self.command.spawn().unwrap();
        Plugin { process, socket: self.folder.path().join("plugin.sock"), log: None, folder: self.folder }
    }

    /// Starts the plugin, and reads its log.
    fn start_with_log(self) -> Plugin {
        let mut plugin = self.start();
        let (sender, log) = channel();
        let lines = BufReader::new(plugin.process.stderr.take().unwrap()).lines().map_while(Result::ok);
        thread::spawn(move || {
            lines.for_each(|line| {
                let parsed = serde_json::from_str(&line).unwrap_or_else(|_| json!({"event": "no JSON", "line": line}));
                drop(sender.send(parsed));
            });
        });
        plugin.log = Some(log);
        plugin
    }
}

impl Plugin {
    /// The next event of the log.
    #[track_caller]
    fn event(&self, name: &str) -> Value {
        let event = self.log.as_ref().unwrap().recv_timeout(LONG).expect("another line in the log");
        assert_eq!(event["event"], name, "{event}");
        event
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn write_settings(&self, settings: &str) {
        fs::write(self.folder.path().join("settings.yaml"), settings).unwrap();
    }

    /// The answer to the creation of a service with an image by tag.
    fn create_service(&self) -> Value {
        let stream = UnixStream::connect(&self.socket).unwrap();
        let call = create_service("127.0.0.1:1/web:1");
        serde_json::from_str(&http(stream, "POST /AuthZPlugin.AuthZReq", &call)).unwrap()
    }

    /// Ends the plugin as systemd does. Returns whether it succeeded.
    fn stop(&mut self) -> bool {
        self.signal(Signal::TERM);
        self.process.wait().unwrap().success()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The message of the engine about a service that is created.
fn create_service(image: &str) -> String {
    let body = json!({"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": image}}});
    let body = STANDARD.encode(body.to_string());
    json!({"RequestMethod": "POST", "RequestUri": "/v1.41/services/create", "RequestBody": body}).to_string()
}

/// The body of a response.
fn http(mut stream: impl Read + Write, request: &str, body: &str) -> String {
    let length = body.len();
    write!(stream, "{request} HTTP/1.1\r\nhost:\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    response.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Settings that need no registry to decide.
const DENIES: &str = "registries: [registry.example.com]\npinning: {action: deny}\n";
const ALLOWS: &str = "exempt: ['*']\n";

#[test]
fn systemd_is_notified_when_the_plugin_is_ready_reloads_and_stops() {
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("notify.sock");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(LONG)).unwrap();
    let told = || {
        let mut message = [0; 4096];
        let length = systemd.recv(&mut message).expect("a message for systemd");
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let mut setup = Setup::new(DENIES, &[]);
    setup.command.env("NOTIFY_SOCKET", &path);
    let mut plugin = setup.start_with_log();

    let ready = told();
    assert!(ready.starts_with("READY=1\nSTATUS="), "{ready}");
    assert!(UnixStream::connect(&plugin.socket).is_ok(), "it is ready after it listens");
    plugin.event("started");
    plugin.signal(Signal::HUP);
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    let ready = told();
    assert!(ready.starts_with("READY=1\n"), "{ready}");
    plugin.event("reloaded");
    plugin.signal(Signal::TERM);
    assert_eq!(told().trim_end(), "STOPPING=1");
    assert!(plugin.process.wait().unwrap().success());
    plugin.event("stopped");
    assert!(!plugin.socket.exists());
}

#[test]
fn the_watchdog_of_systemd_is_fed() {
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("notify.sock");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(LONG)).unwrap();
    let mut setup = Setup::new(DENIES, &[]);
    setup.command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let _plugin = setup.start_with_log();
    let mut fed = 0;
    while fed < 3 {
        let mut message = [0; 4096];
        let length = systemd.recv(&mut message).expect("a message for systemd");
        fed += usize::from(message[..length].starts_with(b"WATCHDOG=1"));
    }
}

#[test]
fn settings_are_read_again_and_invalid_ones_leave_the_earlier_ones_in_force() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut plugin = Setup::new(DENIES, &["--metrics-address", &free]).start_with_log();
    let started = plugin.event("started");
    assert!(started["module"].as_str().unwrap().starts_with("sha256:"), "{started}");
    let is_loaded = || {
        let metrics = http(TcpStream::connect(&free).unwrap(), "GET /metrics", "");
        let line =
            metrics.lines().find(|line| line.starts_with("container_patch_swarm_settings_last_reload_successful "));
        line.unwrap().ends_with(" 1")
    };
    assert_eq!(plugin.create_service()["Allow"], false);
    plugin.event("decision");
    assert!(is_loaded());

    for (settings, problem) in
        [("schedule: {maxAge: soon}", "schedule.maxAge: "), ("", "the settings file "), ("{", "cannot parse")]
    {
        plugin.write_settings(settings);
        plugin.signal(Signal::HUP);
        let failed = plugin.event("reload-failed");
        assert!(failed["problems"][0].as_str().unwrap().starts_with(problem), "{failed}");
        assert_eq!((&failed["level"], is_loaded()), (&json!("error"), false));
        assert_eq!(plugin.create_service()["Allow"], false);
        plugin.event("decision");
    }

    plugin.write_settings(ALLOWS);
    plugin.signal(Signal::HUP);
    plugin.event("reloaded");
    assert!(is_loaded());
    assert_eq!(plugin.create_service(), json!({"Allow": true}));
    assert_eq!(plugin.event("decision")["allowed"], true);
    assert_eq!(http(TcpStream::connect(&free).unwrap(), "GET /healthz", ""), "ok\n");
    assert!(plugin.stop());
}

#[test]
fn a_decision_that_waits_for_a_registry_does_not_hold_up_the_end() {
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = registry.local_addr().unwrap().to_string();
    let flags = ["--insecure-registry", &address, "--registry-timeout", "600"];
    let mut plugin = Setup::new(&format!("registries: ['{address}']"), &flags).start_with_log();
    plugin.event("started");
    let image = format!("{address}/web:1@sha256:{}", "0".repeat(64));
    let mut waiting = UnixStream::connect(&plugin.socket).unwrap();
    let call = create_service(&image);
    let length = call.len();
    write!(waiting, "POST /AuthZPlugin.AuthZReq HTTP/1.1\r\nhost:\r\ncontent-length: {length}\r\n\r\n{call}").unwrap();
    // The registry takes the question, and never answers it.
    let _question = registry.accept().unwrap();
    assert!(plugin.stop());
    plugin.event("stopped");
}

#[test]
fn connections_for_metrics_do_not_use_up_the_files_of_the_plugin() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut plugin = Setup::new(DENIES, &["--metrics-address", &free]).start_with_log();
    plugin.event("started");
    let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&free).unwrap()).collect();
    assert_eq!(plugin.create_service()["Allow"], false);
    let files = fs::read_dir(format!("/proc/{}/fd", plugin.process.id()));
    if let Ok(files) = files {
        let number = files.count();
        assert!(number < 80, "{number} files are open");
    }
    drop(idle);
    assert!(http(TcpStream::connect(&free).unwrap(), "GET /metrics", "").contains("container_patch_swarm_build_info"));
    assert!(plugin.stop());
}

#[test]
fn a_plugin_with_invalid_settings_does_not_start_and_says_why() {
    let mut setup = Setup::new("schedule: {maxAge: soon}", &[]);
    let output = setup.command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("schedule.maxAge: invalid duration `soon`"), "{said}");
    assert!(!setup.folder.path().join("plugin.sock").exists());
}

#[test]
fn decisions_are_made_while_nothing_reads_the_log() {
    let mut plugin = Setup::new(DENIES, &[]).start();
    for _ in 0..600 {
        if plugin.socket.exists() && UnixStream::connect(&plugin.socket).is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    // A pipe takes 64 KiB.
    for _ in 0..200 {
        assert_eq!(plugin.create_service()["Allow"], false);
    }
    assert!(plugin.stop());
    let mut log = String::new();
    plugin.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.len() > 60_000, "{}", log.len());
}

#[test]
fn a_socket_of_systemd_is_used_and_stays() {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        eprintln!("systemd-socket-activate is not on the PATH");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("activated.sock");
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--listen").arg(&socket).arg(env!("CARGO_BIN_EXE_container-patch"));
    let setup = Setup::by(command, DENIES, &[]);
    let own = setup.folder.path().join("plugin.sock");
    let mut plugin = setup.start();
    for _ in 0..600 {
        if socket.exists() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    plugin.socket.clone_from(&socket);
    // The first connection starts the plugin, which answers it.
    assert_eq!(plugin.create_service()["Allow"], false);
    assert!(!own.exists());
    assert!(plugin.stop());
    assert!(socket.exists(), "systemd keeps it");
}

/// The units, with the program of this build, in a folder.
fn units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for unit in ["container-patch-swarm-authz.service", "container-patch-swarm-authz.socket"] {
        let text = fs::read_to_string(deploy(unit)).unwrap();
        fs::write(folder.path().join(unit), systemd::with_built_program(&text)).unwrap();
    }
    folder
}

#[test]
fn systemd_accepts_the_units_without_a_warning() {
    let folder = units();
    let files: Vec<PathBuf> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    if let Some((printed, succeeded)) = systemd::analyze(&["verify"], &files) {
        let about_units: Vec<&str> =
            printed.lines().filter(|line| line.contains("container-patch-swarm-authz")).collect();
        assert!(succeeded && about_units.is_empty(), "{printed}");
    }
}

#[test]
fn the_service_is_hardened() {
    let folder = units();
    let service = folder.path().join("container-patch-swarm-authz.service");
    // The exposure is at most 2.
    let arguments = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    if let Some((printed, succeeded)) = systemd::analyze(&arguments, &[service]) {
        assert!(succeeded, "{printed}");
    }
}

#[test]
fn the_plugin_starts_with_the_settings_of_the_service() {
    let settings = fs::read_to_string(deploy("settings.yaml")).unwrap();
    let mut plugin = Setup::new(&settings, &[]).start_with_log();
    let started = plugin.event("started");
    assert_eq!(started["level"], "info", "without warnings: {started}");
    assert!(plugin.stop());
}

#[test]
fn the_engine_and_the_units_name_the_same_plugin() {
    let daemon: Value = serde_json::from_str(&fs::read_to_string(deploy("daemon.json")).unwrap()).unwrap();
    let name = daemon["authorization-plugins"][0].as_str().unwrap();
    let socket = fs::read_to_string(deploy("container-patch-swarm-authz.socket")).unwrap();
    assert!(socket.contains(&format!("ListenStream=/run/docker/plugins/{name}.sock\n")), "{socket}");
}
