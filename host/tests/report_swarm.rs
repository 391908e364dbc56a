//! The report about a Docker swarm, from an engine that this plays on loopback. The answers have the fields of Docker Engine 20.10 that
//! matter here.

#[allow(dead_code, reason = "only tests of clusters need the discovery of Kubernetes")]
mod api_server;
#[path = "settings/validator.rs"]
mod validator;

use std::process::{Command, Output};

use api_server::{ApiServer, Asked};
use serde_json::{Value, json};

/// Settings that need no registry: only pinning is on.
const ONLY_PINNING: &str = r#"{"pinning": {"action": "warn"}, "schedule": {"action": "off"}, "baseImage": {"action": "off"}, "scan": {"action": "off"}}"#;

const OLD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const LOCAL: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

fn template(image: &str) -> Value {
    json!({"ContainerSpec": {"Image": image, "Init": false, "DNSConfig": {}, "Isolation": "default"},
        "Resources": {"Limits": {}, "Reservations": {}}, "Placement": {}, "ForceUpdate": 0, "Runtime": "container"})
}

fn service(name: &str, image: &str) -> Value {
    json!({"ID": format!("id-{name}"), "Version": {"Index": 11}, "CreatedAt": "2026-11-22T08:32:20.740777579Z",
        "Spec": {"Name": name, "Labels": {}, "TaskTemplate": template(image), "Mode": {"Replicated": {"Replicas": 2}},
            "EndpointSpec": {"Mode": "vip"}},
        "Endpoint": {"Spec": {}}})
}

/// A task in a state. Its container has the name of the service as its ID.
fn task(service: &str, image: &str, state: &str) -> Value {
    json!({"ID": "task", "Version": {"Index": 1125}, "Labels": {}, "Spec": template(image), "ServiceID": format!("id-{service}"),
        "Slot": 2, "NodeID": "node",
        "Status": {"Timestamp": "2026-11-22T08:40:32.379060037Z", "State": state, "Message": "started",
            "ContainerStatus": {"ContainerID": format!("container-of-{service}"), "PID": 11725, "ExitCode": 0}, "PortStatus": {}},
        "DesiredState": if state == "running" { "running" } else { "shutdown" }})
}

/// A container of the engine that is asked.
fn container(service: &str, image_id: &str) -> Value {
    json!({"Id": format!("container-of-{service}"), "Names": [format!("/{service}.1.task")], "ImageID": image_id,
        "Labels": {"com.docker.swarm.task.id": "task"}, "State": "running"})
}

/// What an engine knows.
#[derive(Default)]
struct Swarm {
    services: Vec<Value>,
    tasks: Vec<Value>,
    containers: Vec<Value>,
    /// The digests of images by ID.
    images: Vec<(&'static str, Value)>,
}

impl Swarm {
    fn serve(self) -> ApiServer {
        ApiServer::with_answers(move |asked| Some(self.answer(asked)))
    }

    fn answer(&self, asked: &Asked) -> (u16, Value) {
        assert_eq!((asked.authorization.as_str(), &asked.body), ("", &Value::Null));
        match asked.line.strip_prefix("GET ").expect("the report only reads").trim_end() {
            "/services" => (200, self.services.clone().into()),
            "/tasks" => (200, self.tasks.clone().into()),
            "/containers/json" => (200, self.containers.clone().into()),
            other => {
                let id = other.strip_prefix("/images/").and_then(|rest| rest.strip_suffix("/json"));
                let id = id.unwrap_or_default().replace("%3A", ":");
                match self.images.iter().find(|(known, _)| *known == id) {
                    Some((_, digests)) => (200, json!({"Id": id, "RepoTags": ["web:1"], "RepoDigests": digests})),
                    None => (404, json!({"message": format!("No such image: {id}")})),
                }
            }
        }
    }
}

/// The report with these flags.
fn report(server: &ApiServer, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_container-patch"));
    command.current_dir(server.folder.path()).env_remove("DOCKER_TLS_VERIFY").env_remove("DOCKER_CERT_PATH");
    command.args(["report", "--swarm", "--docker-host"]).arg(format!("tcp://{}", server.address));
    if !flags.contains(&"--settings-json") {
        command.args(["--settings-json", ONLY_PINNING]);
    }
    if !flags.contains(&"--output") {
        command.args(["--output", "json"]);
    }
    command.args(flags).output().unwrap()
}

/// The JSON of a report, which matches its published schema.
fn json_of(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let schema = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report.schema.json")).unwrap();
    let schema = validator::Validator::new(serde_json::from_str(&schema).unwrap());
    assert!(schema.accepts(&report), "does not match docs/report.schema.json: {report}");
    report
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Repository, tags, digest, tasks and services of each image, sorted.
fn images(report: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let used = |used: &Value| {
        let declared = if used["declared"] == true { "" } else { " by its tasks" };
        assert_eq!((&used["kind"], &used["namespace"]), (&json!("Service"), &json!("")));
        format!("{}{declared}: {}", text(&used["name"]), used["pods"])
    };
    let image = |image: &Value| {
        let digest: String = text(&image["digest"]).chars().take("sha256:1".len()).collect();
        let tags: Vec<String> = image["tags"].as_array().unwrap().iter().map(text).collect();
        let uses: Vec<String> = image["usedBy"].as_array().unwrap().iter().map(used).collect();
        let repository = text(&image["repository"]).replace("docker.io/library/", "");
        format!("{repository}:{}@{digest} ({}) {}", tags.join(","), image["pods"], uses.join(", "))
    };
    let mut images: Vec<String> = report["images"].as_array().unwrap().iter().map(image).collect();
    images.sort();
    images
}

fn failures(report: &Value) -> Vec<String> {
    let failures = report["failures"].as_array().unwrap().iter();
    failures.map(|failure| format!("{}: {}", failure["subject"], failure["reason"]).replace('"', "")).collect()
}

#[test]
fn services_are_reported_with_what_their_running_tasks_run() {
    let (old, new) = (&format!("web:1@{OLD}"), &format!("web:1@{NEW}"));
    let mut job = service("job", new);
    job["Spec"]["Mode"] = json!({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}});
    let mut global = service("global", new);
    global["Spec"]["Mode"] = json!({"Global": {}});
    let swarm = Swarm {
        services: vec![service("web", new), service("zero", new), job, global],
        tasks: vec![
            task("web", old, "shutdown"),
            task("web", old, "running"),
            task("web", new, "starting"),
            task("web", new, "running"),
            task("web", new, "preparing"),
            task("web", "web:0", "rejected"),
            task("job", new, "complete"),
            task("job", new, "running"),
            task("global", new, "running"),
            task("removed", old, "running"),
        ],
        ..Swarm::default()
    };
    let server = swarm.serve();
    let output = report(&server, &[]);
    let report = json_of(&output);
    assert_eq!(
        images(&report),
        ["web:1@sha256:1 (1) web by its tasks: 1", "web:1@sha256:2 (4) global: 1, job: 1, web: 2, zero: 0",]
    );
    assert_eq!((&report["scope"], &report["namespace"]), (&json!("swarm"), &Value::Null));
    let image = |digest: &str, declared: bool, tasks: usize| json!({"image": "docker.io/library/web:1", "digest": digest, "declared": declared, "tasks": tasks});
    assert_eq!(
        report["drift"],
        json!({
            "tags": [{"repository": "docker.io/library/web", "tag": "1", "digests": [
                {"value": OLD, "usedBy": ["Service web"]},
                {"value": NEW, "usedBy": ["Service global", "Service job", "Service web"]},
            ]}],
            "repositories": [],
            "services": [{"service": "Service web", "images": [image(NEW, true, 2), image(OLD, false, 1)]}],
        })
    );
    assert_eq!((failures(&report), output.status.code()), (vec![], Some(0)));
}

#[test]
fn the_engine_that_is_asked_knows_the_digest_of_a_tag_that_runs_on_its_node() {
    let swarm = Swarm {
        services: vec![service("here", "web:1"), service("local", "built:1"), service("there", "web:1")],
        tasks: vec![
            task("here", "web:1", "running"),
            task("local", "built:1", "running"),
            task("there", "web:1", "running"),
            task("there", "web:1", "running"),
        ],
        containers: vec![container("here", "sha256:a"), container("local", LOCAL), container("other", "sha256:a")],
        images: vec![("sha256:a", json!([format!("mirror/web@{NEW}"), format!("web@{OLD}")])), (LOCAL, json!([]))],
    };
    let server = swarm.serve();
    let output = report(&server, &[]);
    let report = json_of(&output);
    assert_eq!(
        images(&report),
        [
            "built:1@- (1) local: 0, local by its tasks: 1",
            "web:1@- (2) here: 0, there: 2",
            "web:1@sha256:1 (1) here by its tasks: 1",
        ]
    );
    let built =
        report["images"].as_array().unwrap().iter().find(|image| image["repository"] == "docker.io/library/built");
    assert_eq!(built.unwrap()["usedBy"][1]["imageId"], LOCAL);
    assert_eq!(
        failures(&report),
        ["Service there: the image `web:1` has no digest, and only the nodes of 2 tasks know which one they run; \
          `docker service update --image web:1 there` adds the digest"]
    );
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("GET /containers/json")).count(), 1);
}

#[test]
fn services_are_selected_by_stack_and_by_label() {
    let of_stack = |name: &str, stack: &str, tier: &str| {
        let mut service = service(name, &format!("{name}:1@{NEW}"));
        service["Spec"]["Labels"] = json!({"com.docker.stack.namespace": stack, "tier": tier});
        service
    };
    let swarm = Swarm {
        services: vec![
            of_stack("shop_web", "shop", "front"),
            of_stack("shop_db", "shop", "back"),
            of_stack("x", "xshop", "back"),
        ],
        tasks: vec![
            task("shop_web", &format!("shop_web:1@{NEW}"), "running"),
            task("x", &format!("x:1@{NEW}"), "running"),
        ],
        ..Swarm::default()
    };
    let server = swarm.serve();
    let of = |flags: &[&str]| images(&json_of(&report(&server, flags)));
    assert_eq!(of(&["--stack", "shop"]), ["shop_db:1@sha256:2 (0) shop_db: 0", "shop_web:1@sha256:2 (1) shop_web: 1"]);
    assert_eq!(of(&["--selector", "tier in (front)"]), ["shop_web:1@sha256:2 (1) shop_web: 1"]);
    assert_eq!(of(&["--stack", "shop", "-l", "tier=back"]), ["shop_db:1@sha256:2 (0) shop_db: 0"]);
    let unknown = report(&server, &["--stack", "none"]);
    assert_eq!(unknown.status.code(), Some(2));
    let error = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(error.contains("the swarm has no service of the stack `none`"), "{error}");
    let output = report(&server, &["--stack", "shop"]);
    let found = json_of(&output);
    assert_eq!(found["namespace"], "shop");
    assert_eq!(found["images"][0]["usedBy"][0]["container"], "container `db`");
    assert!(text_of(&report(&server, &["--stack", "shop", "--output", "text"])).contains("Stack shop: 2 images"));
    assert!(text_of(&report(&server, &["--stack", "shop", "--output", "html"])).contains("Images of the stack shop"));
}

#[test]
fn every_kind_of_service_is_reported_and_one_that_cannot_be_read_is_a_failure() {
    let mut broken = service("broken", "x");
    broken["Spec"]["TaskTemplate"]["ContainerSpec"] = json!({"Image": 1});
    let mut odd = service("odd", "a:1");
    odd["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] = json!("Not An Image");
    let mut network = service("network", "x");
    network["Spec"]["TaskTemplate"] = json!({"Runtime": "attachment", "NetworkAttachmentSpec": {"ContainerID": "c"}});
    let mut plugin = service("plugin", "x");
    plugin["Spec"]["TaskTemplate"] = json!({"Runtime": "plugin", "PluginSpec": {"Remote": format!("sshfs:1@{NEW}")}});
    let mounts = json!([{"Type": "image", "Source": format!("tools:1@{NEW}"), "Target": "/tools"}, {"Type": "bind", "Source": "/etc"}]);
    let mut mounted = service("mounted", &format!("web:1@{NEW}"));
    mounted["Spec"]["TaskTemplate"]["ContainerSpec"]["Mounts"] = mounts.clone();
    let mut of_mounted = task("mounted", &format!("web:1@{NEW}"), "running");
    of_mounted["Spec"]["ContainerSpec"]["Mounts"] = mounts;
    let services = vec![broken, odd, network, plugin, mounted];
    let swarm = Swarm { services, tasks: vec![of_mounted], ..Swarm::default() };
    let server = swarm.serve();
    let output = report(&server, &[]);
    let report = json_of(&output);
    assert_eq!(failures(&report), ["Service broken: `Image`: expected a string, found a number"]);
    assert_eq!(
        images(&report),
        [
            "Not An Image:@- (0) odd: 0",
            "sshfs:1@sha256:2 (0) plugin: 0",
            "tools:1@sha256:2 (1) mounted: 1",
            "web:1@sha256:2 (1) mounted: 1"
        ]
    );
    assert_eq!(output.status.code(), Some(1), "the invalid image is denied");
}

#[test]
fn tasks_that_cannot_be_listed_are_a_failure() {
    let swarm = Swarm { services: vec![service("web", &format!("web:1@{NEW}"))], ..Swarm::default() };
    let server = ApiServer::with_answers(move |asked| {
        let is_task = asked.line.starts_with("GET /tasks");
        Some(if is_task { (500, json!({"message": "rpc error"})) } else { swarm.answer(asked) })
    });
    let output = report(&server, &[]);
    let report = json_of(&output);
    assert_eq!(images(&report), ["web:1@sha256:2 (0) web: 0"]);
    assert!(failures(&report)[0].starts_with("tasks: the Docker Engine at tcp://"), "{report}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn digests_that_the_engine_does_not_say_are_a_failure() {
    for failing in ["GET /containers/json", "GET /images/"] {
        let swarm = Swarm {
            services: vec![service("web", "web:1")],
            tasks: vec![task("web", "web:1", "running")],
            containers: vec![container("web", "sha256:a")],
            ..Swarm::default()
        };
        let server = ApiServer::with_answers(move |asked| {
            let fails = asked.line.starts_with(failing);
            Some(if fails { (500, json!({"message": "disk error"})) } else { swarm.answer(asked) })
        });
        let output = report(&server, &[]);
        let report = json_of(&output);
        assert_eq!(images(&report), ["web:1@- (1) web: 1"]);
        let failures = failures(&report);
        assert!(
            failures[0].starts_with(
                "Service web: the digest of the image `web:1` in 1 task is unknown: the Docker Engine at tcp://"
            ) && failures[0].ends_with(": disk error (HTTP status 500)"),
            "{failures:?}"
        );
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn an_engine_that_is_not_a_manager_is_an_error() {
    let message = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
    let server = ApiServer::with_answers(move |_| Some((503, json!({"message": message}))));
    let output = report(&server, &[]);
    assert_eq!((output.status.code(), text_of(&output)), (Some(2), String::new()));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("Error: cannot list the services of the swarm: the Docker Engine at tcp://"), "{stderr}");
    assert!(stderr.contains("This node is not a swarm manager"), "{stderr}");
}

#[test]
fn labels_of_a_service_are_annotations_but_never_records() {
    let mut web = service("web", "web:1");
    web["Spec"]["Labels"] = json!({"pin.container-patch.dev/web": format!("web:1@{NEW}")});
    let server = Swarm { services: vec![web], ..Swarm::default() }.serve();
    let found = json_of(&report(&server, &[]));
    assert_eq!(images(&found), ["web:1@- (0) web: 0"]);
    assert_eq!(found["images"][0]["findings"][0]["code"], "unpinned-image");
}

#[test]
fn every_output_shows_drift_and_tasks() {
    let swarm = Swarm {
        services: vec![service("web", &format!("web:2@{NEW}"))],
        tasks: vec![task("web", &format!("web:1@{OLD}"), "running")],
        ..Swarm::default()
    };
    let server = swarm.serve();
    let of = |format: &str| text_of(&report(&server, &["--output", format]));
    let text = of("text");
    assert!(text.contains("Service web runs another image than it declares:\n"), "{text}");
    assert!(text.contains("docker.io/library/web:1 sha256:111111111111…  1 task\n"), "{text}");
    assert!(text.contains("docker.io/library/web:2 sha256:222222222222…  declared, 0 tasks\n"), "{text}");
    assert!(text.contains("(1 task)") && text.contains("(not running)"), "{text}");
    let markdown = of("markdown");
    assert!(markdown.contains("- <code>Service web</code> runs another image than it declares: "), "{markdown}");
    let html = of("html");
    assert!(html.contains("<p>Service web runs another image than it declares:</p>"), "{html}");
    assert!(html.contains("data-type=\"number\">Tasks</th>") && html.contains("Images of the swarm"), "{html}");
    assert!(of("csv").contains("Service web container `web`"));
    assert!(of("openmetrics").contains("container_patch_images{verdict=\"accepted\"} 2"));
}

#[test]
fn thousands_of_tasks_need_two_questions() {
    let image = format!("web:1@{NEW}");
    let services: Vec<Value> = (0..200).map(|number| service(&format!("web-{number}"), &image)).collect();
    let task = |number: usize| {
        let state = if number.is_multiple_of(5) { "running" } else { "shutdown" };
        task(&format!("web-{}", number % 200), &image, state)
    };
    let tasks = (0..10_000).map(|number| task(number / 5 + number % 5)).collect();
    let server = Swarm { services, tasks, ..Swarm::default() }.serve();
    let output = report(&server, &[]);
    assert_eq!((json_of(&output)["images"].as_array().unwrap().len(), output.status.code()), (1, Some(0)));
    assert_eq!(server.lines().len(), 2, "{:?}", server.lines());
}

#[test]
fn an_image_by_tag_is_denied_where_the_settings_pin_images() {
    let server = Swarm { services: vec![service("web", "web:1")], ..Swarm::default() }.serve();
    let settings = ONLY_PINNING.replace("warn", "pin");
    let found = json_of(&report(&server, &["--settings-json", &settings]));
    let finding = &found["images"][0]["findings"][0];
    assert_eq!((&finding["code"], &finding["effect"]), (&json!("unpinned-image"), &json!("deny")), "{found}");
}

#[test]
fn settings_that_need_a_cluster_are_refused() {
    let server = Swarm::default().serve();
    let output = report(&server, &["--settings-json", r#"{"scan": {"reports": [{"source": "trivyOperator"}]}}"#]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("scan.reports: needs a Kubernetes cluster"), "{stderr}");
    assert_eq!(output.status.code(), Some(2));
}
