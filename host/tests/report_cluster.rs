//! The report about a cluster, from an API server that this plays on loopback.

mod api_server;
#[path = "settings/validator.rs"]
mod validator;

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use api_server::{ApiServer, Asked, served};
use serde_json::{Value, json};

/// Settings that need no registry: only pinning is on, and images of pods have a digest.
const ONLY_PINNING: &str = r#"{"pinning": {"action": "warn"}, "schedule": {"action": "off"}, "baseImage": {"action": "off"}, "scan": {"action": "off"}}"#;

const OLD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// The path of the list of each kind, and the kind.
const LISTS: [(&str, &str); 9] = [
    ("/api/v1/pods", "Pod"),
    ("/api/v1/podtemplates", "PodTemplate"),
    ("/api/v1/replicationcontrollers", "ReplicationController"),
    ("/apis/apps/v1/replicasets", "ReplicaSet"),
    ("/apis/apps/v1/deployments", "Deployment"),
    ("/apis/apps/v1/statefulsets", "StatefulSet"),
    ("/apis/apps/v1/daemonsets", "DaemonSet"),
    ("/apis/batch/v1/jobs", "Job"),
    ("/apis/batch/v1/cronjobs", "CronJob"),
];

/// The answers to discovery, and to lists of these objects by kind.
fn cluster(asked: &Asked, objects: &BTreeMap<&str, Vec<Value>>) -> (u16, Value) {
    let line = asked.line.strip_prefix("GET ").expect("the report only reads");
    let (path, query) = line.split_once(' ').unwrap_or((line, ""));
    let group = path.strip_prefix("/apis/").or_else(|| path.strip_prefix("/api/")).unwrap_or_default();
    if let Some(resources) = discovery(path) {
        return (200, json!({"kind": "APIResourceList", "groupVersion": group, "resources": resources}));
    }
    let Some((_, kind)) = LISTS.iter().find(|(list, _)| *list == path) else { return not_found() };
    assert!(query.split(' ').any(|parameter| parameter == "limit=500"), "{query}");
    let items = objects.get(kind).cloned().unwrap_or_default();
    let start = query.split(' ').find_map(|parameter| parameter.strip_prefix("continue=")).unwrap_or("0");
    let start: usize = start.parse().unwrap();
    let page: Vec<Value> = items.iter().skip(start).take(500).cloned().collect();
    let next = start + page.len();
    let mut metadata = json!({"resourceVersion": "7"});
    if next < items.len() {
        metadata["continue"] = json!(next.to_string());
        metadata["remainingItemCount"] = json!(items.len() - next);
    }
    let version = path.rsplit_once('/').unwrap().0.trim_start_matches("/apis/").trim_start_matches("/api/");
    (200, json!({"kind": format!("{kind}List"), "apiVersion": version, "metadata": metadata, "items": page}))
}

fn discovery(path: &str) -> Option<Value> {
    Some(match path {
        "/api/v1" => json!([
            served("pods", "Pod", true),
            served("pods/status", "Pod", true),
            served("podtemplates", "PodTemplate", true),
            served("replicationcontrollers", "ReplicationController", true),
        ]),
        "/apis/apps/v1" => json!([
            served("replicasets", "ReplicaSet", true),
            served("deployments", "Deployment", true),
            served("statefulsets", "StatefulSet", true),
            served("daemonsets", "DaemonSet", true),
        ]),
        "/apis/batch/v1" => json!([served("jobs", "Job", true), served("cronjobs", "CronJob", true)]),
        _ => return None,
    })
}

fn not_found() -> (u16, Value) {
    (404, json!("404 page not found\n"))
}

fn forbidden(resource: &str) -> (u16, Value) {
    let message =
        format!("{resource} is forbidden: User \"jane\" cannot list resource \"{resource}\" at the cluster scope");
    (
        403,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": "Forbidden", "code": 403}),
    )
}

/// The answer to an expired `continue` token.
fn expired() -> (u16, Value) {
    let message = "The provided continue parameter is too old to display a consistent list result.";
    (
        410,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": "Expired", "code": 410}),
    )
}

fn owner(kind: &str, name: &str) -> Value {
    let api_version = if kind == "Node" { "v1" } else { "apps/v1" };
    json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": "u", "controller": true, "blockOwnerDeletion": true}])
}

fn workload(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": name}},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": image, "resources": {}}]}}},
        "status": {"readyReplicas": 1}})
}

fn owned(mut object: Value, kind: &str, name: &str) -> Value {
    object["metadata"]["ownerReferences"] = owner(kind, name);
    object
}

/// A pod as a kubelet reports it, with fields that are different in each pod.
fn pod(name: &str, image: &str, image_id: &str) -> Value {
    let volume = format!("kube-api-access-{name}");
    let state =
        if image_id.is_empty() { json!({"waiting": {"reason": "ContainerCreating"}}) } else { json!({"running": {}}) };
    json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "annotations": {"cni.example.com/ip": name}},
        "spec": {
            "containers": [{"name": "app", "image": image, "volumeMounts": [{"name": volume, "mountPath": "/var/run/secrets"}]}],
            "nodeName": format!("node-{name}"),
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [format!("node-{name}")]}]}]}}},
            "volumes": [{"name": volume, "projected": {"sources": []}}]},
        "status": {"phase": if image_id.is_empty() { "Pending" } else { "Running" },
            "containerStatuses": [{"name": "app", "image": image, "imageID": image_id, "ready": true, "state": state}]}})
}

/// The report with these flags.
fn report(server: &ApiServer, flags: &[&str]) -> Output {
    let kubeconfig = server.kubeconfig();
    let mut command = Command::new(env!("CARGO_BIN_EXE_container-patch"));
    // In the usual home folder, since the compiled module is in its cache.
    command.current_dir(server.folder.path());
    command
        .args(["report", "--cluster", "--cluster-timeout", "60", "--output", "json", "--kubeconfig"])
        .arg(kubeconfig);
    if !flags.iter().any(|flag| flag.starts_with("--settings")) {
        command.args(["--settings-json", ONLY_PINNING]);
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

/// Repository, tags, digest, pods and objects of each image, sorted.
fn images(report: &Value) -> Vec<String> {
    let mut images: Vec<String> = report["images"].as_array().unwrap().iter().map(image).collect();
    images.sort();
    images
}

fn image(image: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let digest = text(&image["digest"]).chars().take("sha256:1".len()).collect::<String>();
    let tags: Vec<String> = image["tags"].as_array().unwrap().iter().map(text).collect();
    let used = |used: &Value| {
        let declared = if used["declared"] == true { "" } else { " by its pods" };
        format!(
            "{} {}/{}{declared}: {}",
            text(&used["kind"]),
            text(&used["namespace"]),
            text(&used["name"]),
            used["pods"]
        )
    };
    let uses: Vec<String> = image["usedBy"].as_array().unwrap().iter().map(used).collect();
    format!("{}:{}@{digest} ({}) {}", text(&image["repository"]), tags.join(","), image["pods"], uses.join(", "))
}

#[test]
fn running_images_are_attributed_to_their_workloads() {
    let objects = BTreeMap::from([
        ("Deployment", vec![workload("web", "web:1")]),
        (
            "ReplicaSet",
            vec![
                owned(workload("web-2", "web:1"), "Deployment", "web"),
                owned(workload("web-1", "web:0"), "Deployment", "web"),
                workload("lone", "lone:1"),
            ],
        ),
        (
            "CronJob",
            vec![json!({"metadata": {"name": "night", "namespace": "shop"},
                "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "night:1"}]}}}}}})],
        ),
        ("Job", vec![owned(workload("night-1", "night:1"), "CronJob", "night")]),
        (
            "Pod",
            vec![
                owned(pod("web-2-a", "web:1", &format!("docker.io/library/web@{NEW}")), "ReplicaSet", "web-2"),
                owned(pod("web-2-b", "web:1", &format!("docker-pullable://web@{OLD}")), "ReplicaSet", "web-2"),
                owned(pod("web-2-c", "web:1", &format!("docker.io/library/web@{NEW}")), "ReplicaSet", "web-2"),
                owned(pod("web-2-d", "web:1", ""), "ReplicaSet", "web-2"),
                owned(pod("night-1-a", "night:1", &format!("docker.io/library/night@{NEW}")), "Job", "night-1"),
                owned(pod("api", "kube/api:1", &format!("docker.io/kube/api@{NEW}")), "Node", "node-1"),
                owned(pod("rolled", "rolled:1", &format!("docker.io/library/rolled@{NEW}")), "Rollout", "rolled"),
                pod("bare", "bare", &format!("docker.io/library/bare@{NEW}")),
                pod("local", "local:1", OLD),
                {
                    let mut finished = pod("done", "done:1", &format!("docker.io/library/done@{NEW}"));
                    finished["status"]["phase"] = json!("Succeeded");
                    finished
                },
            ],
        ),
    ]);
    let server = ApiServer::with_answers(move |asked| Some(cluster(asked, &objects)));
    let output = report(&server, &[]);
    let report = json_of(&output);
    assert_eq!(
        images(&report),
        [
            "docker.io/kube/api:1@sha256:2 (1) Pod shop/api: 1",
            "docker.io/library/bare:latest@sha256:2 (1) Pod shop/bare: 1",
            "docker.io/library/local:1@- (1) Pod shop/local: 1",
            "docker.io/library/lone:1@- (0) ReplicaSet shop/lone: 0",
            "docker.io/library/night:1@- (0) CronJob shop/night: 0",
            "docker.io/library/night:1@sha256:2 (1) CronJob shop/night by its pods: 1",
            "docker.io/library/rolled:1@sha256:2 (1) Rollout shop/rolled by its pods: 1",
            "docker.io/library/web:1@- (0) Deployment shop/web: 0",
            "docker.io/library/web:1@sha256:1 (1) Deployment shop/web by its pods: 1",
            "docker.io/library/web:1@sha256:2 (2) Deployment shop/web by its pods: 2",
        ]
    );
    let local =
        report["images"].as_array().unwrap().iter().find(|image| image["repository"] == "docker.io/library/local");
    assert_eq!(local.unwrap()["usedBy"][0]["imageId"], OLD);
    let digests =
        json!([{"value": OLD, "usedBy": ["Deployment shop/web"]}, {"value": NEW, "usedBy": ["Deployment shop/web"]}]);
    assert_eq!(
        report["drift"],
        json!({"tags": [{"repository": "docker.io/library/web", "tag": "1", "digests": digests}], "repositories": []})
    );
    assert_eq!((report["failures"].clone(), output.status.code()), (json!([]), Some(0)));
    for asked in server.asked() {
        assert!(asked.line.starts_with("GET "), "{}", asked.line);
        assert_eq!((asked.authorization.as_str(), asked.body), ("Bearer s3cret", Value::Null));
    }
}

#[test]
fn ten_thousand_pods_of_five_hundred_images_need_one_question_for_each_image() {
    let (pods, distinct) = (10_000, 500);
    let digest = |number: usize| format!("sha256:{number:064x}");
    let pods: Vec<Value> = (0..pods)
        .map(|number| {
            let name = format!("app-{}", number % distinct);
            let id = format!("127.0.0.1:1/{name}@{}", digest(number % distinct));
            owned(pod(&format!("p{number}"), &format!("127.0.0.1:1/{name}:1"), &id), "ReplicaSet", &name)
        })
        .collect();
    let objects = BTreeMap::from([("Pod", pods)]);
    let server = ApiServer::with_answers(move |asked| Some(cluster(asked, &objects)));
    let settings = r#"{"baseImage": {"action": "off"}, "scan": {"action": "off"}}"#;
    let flags = ["--settings-json", settings, "--insecure-registry", "127.0.0.1:1"];
    let output = report(&server, &[&flags[..], &["--record-host-capabilities-interactions", "session.yaml"]].concat());
    let report = json_of(&output);
    assert_eq!((report["images"].as_array().unwrap().len(), output.status.code()), (distinct, Some(2)));
    assert!(
        report["images"].as_array().unwrap().iter().all(|image| image["pods"] == 20 && image["verdict"] == "failed")
    );
    let session = std::fs::read_to_string(server.folder.path().join("session.yaml")).unwrap();
    assert_eq!(session.matches("type: Exchange").count(), distinct);
    for number in 0..distinct {
        assert_eq!(session.matches(&format!("image: 127.0.0.1:1/app-{number}@")).count(), 1, "{number}");
    }
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("GET /api/v1/pods ")).count(), 20);
}

#[test]
fn a_list_whose_continue_token_expires_begins_again() {
    let pods: Vec<Value> =
        (0..1_200).map(|number| pod(&format!("p{number}"), "app:1", &format!("docker.io/library/app@{NEW}"))).collect();
    let objects = BTreeMap::from([("Pod", pods)]);
    let expiries = AtomicUsize::new(0);
    let server = ApiServer::with_answers(move |asked| {
        let is_last = asked.line.starts_with("GET /api/v1/pods ") && asked.line.contains("continue=1000");
        let expires = is_last && expiries.fetch_add(1, Ordering::Relaxed) < 2;
        Some(if expires { expired() } else { cluster(asked, &objects) })
    });
    let output = report(&server, &[]);
    let report = json_of(&output);
    assert_eq!((report["images"][0]["pods"].clone(), output.status.code()), (json!(1_200), Some(0)));
    assert_eq!(server.lines().iter().filter(|line| *line == "GET /api/v1/pods limit=500").count(), 3);
}

#[test]
fn a_list_that_expires_again_and_again_is_a_failure_of_its_kind() {
    let deployments: Vec<Value> = (0..600).map(|number| workload(&format!("d{number}"), "app:1")).collect();
    let objects = BTreeMap::from([("Deployment", deployments), ("StatefulSet", vec![workload("db", "db:1")])]);
    let server = ApiServer::with_answers(move |asked| {
        let is_second = asked.line.contains("/deployments ") && asked.line.contains("continue=500");
        Some(if is_second { expired() } else { cluster(asked, &objects) })
    });
    let output = report(&server, &[]);
    let report = json_of(&output);
    assert_eq!(images(&report), ["docker.io/library/db:1@- (0) StatefulSet shop/db: 0"]);
    assert_eq!(report["failures"][0]["subject"], "Deployment (apps/v1)");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(server.lines().iter().filter(|line| line.contains("/deployments limit=500")).count(), 4);
}

#[test]
fn kinds_that_cannot_be_listed_are_failures_and_the_others_are_reported() {
    let objects = BTreeMap::from([("Deployment", vec![workload("web", "web:1")]), ("CronJob", vec![])]);
    let server = ApiServer::with_answers(move |asked| {
        let (path, _) = asked.line.split_once(" limit").unwrap_or((&asked.line, ""));
        Some(match path {
            "GET /apis/batch/v1/cronjobs" => forbidden("cronjobs.batch"),
            "GET /apis/apps/v1/daemonsets" => not_found(),
            _ => cluster(asked, &objects),
        })
    });
    let custom = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "podTemplate": "/spec/template"});
    let mut settings: Value = serde_json::from_str(ONLY_PINNING).unwrap();
    settings["customWorkloads"] = json!([custom]);
    let output = report(&server, &["--settings-json", &settings.to_string()]);
    let report = json_of(&output);
    assert_eq!(images(&report), ["docker.io/library/web:1@- (0) Deployment shop/web: 0"]);
    let failures: Vec<(&str, &str)> = report["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| (failure["subject"].as_str().unwrap(), failure["reason"].as_str().unwrap()))
        .collect();
    let (subjects, reasons): (Vec<&str>, Vec<&str>) = failures.into_iter().unzip();
    assert_eq!(subjects, ["DaemonSet (apps/v1)", "CronJob (batch/v1)", "Rollout (argoproj.io/v1alpha1)"]);
    assert!(
        reasons[1].contains("permission to list cronjobs.batch as the user of the kubeconfig context `test`"),
        "{reasons:?}"
    );
    assert!(reasons[0].contains("404"), "{reasons:?}");
    assert!(reasons[2].contains("argoproj.io/v1alpha1"), "{reasons:?}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn custom_kinds_of_any_version_are_listed_in_the_preferred_one() {
    let server = ApiServer::with_answers(move |asked| {
        Some(match asked.line.as_str() {
            "GET /apis" => {
                let versions = json!([{"groupVersion": "argoproj.io/v1", "version": "v1"}, {"groupVersion": "argoproj.io/v2", "version": "v2"}]);
                let group = json!({"name": "argoproj.io", "versions": versions, "preferredVersion": versions[1]});
                (200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}))
            }
            "GET /apis/argoproj.io/v2" => {
                let resources = json!([served("rollouts", "Rollout", true)]);
                (200, json!({"kind": "APIResourceList", "groupVersion": "argoproj.io/v2", "resources": resources}))
            }
            "GET /apis/argoproj.io/v2/rollouts limit=500" => (
                200,
                json!({"kind": "RolloutList", "apiVersion": "argoproj.io/v2", "metadata": {}, "items": [workload("web", "web:1")]}),
            ),
            _ => cluster(asked, &BTreeMap::new()),
        })
    });
    let mut settings: Value = serde_json::from_str(ONLY_PINNING).unwrap();
    settings["customWorkloads"] =
        json!([{"apiVersion": "argoproj.io/*", "kind": "Rollout", "podTemplate": "/spec/template"}]);
    let output = report(&server, &["--settings-json", &settings.to_string()]);
    assert_eq!(images(&json_of(&output)), ["docker.io/library/web:1@- (0) Rollout shop/web: 0"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn namespace_and_selector_are_sent_to_the_api_server() {
    let server = ApiServer::with_answers(move |asked| {
        let of_shop = Asked { line: asked.line.replace("/namespaces/shop/", "/"), ..asked.clone() };
        let objects = BTreeMap::from([
            ("ReplicaSet", vec![owned(workload("web-1", "web:1"), "Deployment", "web")]),
            ("Pod", vec![owned(pod("web-1-a", "web:1", &format!("web@{NEW}")), "ReplicaSet", "web-1")]),
        ]);
        let is_filtered = asked.line.contains("labelSelector");
        let has_no_label = is_filtered && asked.line.contains("replicasets");
        let objects = if has_no_label { BTreeMap::new() } else { objects };
        Some(cluster(&of_shop, &objects))
    });
    let output = report(&server, &["--namespace", "shop", "--selector", "app=web"]);
    assert_eq!(
        images(&json_of(&output)),
        ["docker.io/library/web:1@sha256:2 (1) Deployment shop/web by its pods: 1"],
        "the owner of a pod may have other labels"
    );
    let lists: Vec<String> = server.lines().into_iter().filter(|line| line.contains("limit=")).collect();
    assert!(lists.iter().all(|line| line.contains("/namespaces/shop/")), "{lists:?}");
    let unfiltered: Vec<&String> = lists.iter().filter(|line| !line.contains("labelSelector=app%3Dweb")).collect();
    assert_eq!(
        unfiltered,
        [
            "GET /apis/apps/v1/namespaces/shop/replicasets limit=500",
            "GET /apis/batch/v1/namespaces/shop/jobs limit=500"
        ]
    );
}

#[test]
fn a_namespace_without_workloads_causes_a_warning() {
    let server = ApiServer::with_answers(|asked| {
        let objects = BTreeMap::from([("Deployment", vec![workload("web", "web:1")])]);
        let of_shop = Asked { line: asked.line.replace("/namespaces/shop/", "/"), ..asked.clone() };
        let of_none = Asked { line: asked.line.replace("/namespaces/nosuch/", "/"), ..asked.clone() };
        let is_none = of_none.line != asked.line;
        Some(if is_none { cluster(&of_none, &BTreeMap::new()) } else { cluster(&of_shop, &objects) })
    });
    let warning = |flags: &[&str]| {
        let output = report(&server, flags);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let expected = "Warning: the namespace `nosuch` has no workloads, or does not exist\n";
    assert_eq!(warning(&["--namespace", "nosuch"]), expected);
    for flags in [&["--namespace", "shop"][..], &["--namespace", "nosuch", "--selector", "app=x"], &[]] {
        assert_eq!(warning(flags), "", "{flags:?}");
    }
}

#[test]
fn without_a_cluster_there_is_no_report() {
    let server = ApiServer::with_answers(|_| Some((503, json!("overloaded"))));
    let output = report(&server, &[]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("503"), "{output:?}");
}

#[test]
fn deployed_policies_judge_the_namespaces_that_they_select() {
    let in_namespace = |mut object: Value, namespace: &str| {
        object["metadata"]["namespace"] = json!(namespace);
        object
    };
    let workloads = vec![
        in_namespace(workload("web", "web:latest"), "shop"),
        in_namespace(workload("proxy", "proxy:latest"), "system"),
    ];
    let objects = BTreeMap::from([("Deployment", workloads)]);
    let namespace = |name: &str, team: &str| json!({"metadata": {"name": name, "labels": {"team": team, "kubernetes.io/metadata.name": name}}});
    let server = ApiServer::with_answers(move |asked| {
        Some(match asked.line.as_str() {
            "GET /api/v1" => {
                let mut resources = discovery("/api/v1").unwrap();
                resources.as_array_mut().unwrap().push(served("namespaces", "Namespace", false));
                (200, json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": resources}))
            }
            "GET /api/v1/namespaces limit=500" => {
                let items = [namespace("shop", "shop"), namespace("system", "ops")];
                (200, json!({"kind": "NamespaceList", "apiVersion": "v1", "metadata": {}, "items": items}))
            }
            _ => cluster(asked, &objects),
        })
    });
    let policy = json!({"apiVersion": "policies.kubewarden.io/v1", "kind": "ClusterAdmissionPolicy", "metadata": {"name": "patch"},
    "spec": {
        "module": "registry://ghcr.io/example/container-patch-policy:v1", "mutating": false,
        "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE"]}],
        "namespaceSelector": {"matchLabels": {"team": "shop"}},
        "settings": serde_json::from_str::<Value>(ONLY_PINNING).unwrap(),
    }});
    std::fs::write(server.folder.path().join("policy.yaml"), policy.to_string()).unwrap();
    let output = report(&server, &["--settings-path", "policy.yaml"]);
    let report = json_of(&output);
    let verdicts: BTreeMap<&str, &str> = report["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (image["repository"].as_str().unwrap(), image["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(verdicts["docker.io/library/proxy"], "exempt", "{report}");
    assert_ne!(verdicts["docker.io/library/web"], "exempt", "{report}");
    assert_eq!(report["failures"], json!([]));
}

#[test]
fn a_pod_without_a_digest_is_reported_with_the_image_that_a_policy_pins() {
    let image = "registry.example.com/shop/web:1";
    let mut recorded = workload("web", image);
    recorded["spec"]["template"]["metadata"]["annotations"] =
        json!({"pin.container-patch.dev/app": format!("{image}@{NEW}")});
    let objects = BTreeMap::from([
        ("Deployment", vec![recorded]),
        ("ReplicaSet", vec![owned(workload("web-1", image), "Deployment", "web")]),
        ("Pod", vec![owned(pod("web-1-a", image, ""), "ReplicaSet", "web-1")]),
    ]);
    let server = ApiServer::with_answers(move |asked| Some(cluster(asked, &objects)));
    let policy = |name: &str, mutating: bool, pinning: Value| {
        let mut settings: Value = serde_json::from_str(ONLY_PINNING).unwrap();
        settings["pinning"] = pinning;
        let rules = [("", "pods"), ("apps", "deployments")].map(|(group, resources)| {
            json!({"apiGroups": [group], "apiVersions": ["v1"], "resources": [resources], "operations": ["CREATE"]})
        });
        let module = "registry://ghcr.io/example/container-patch-policy:v1";
        json!({"apiVersion": "policies.kubewarden.io/v1", "kind": "ClusterAdmissionPolicy", "metadata": {"name": name},
            "spec": {"module": module, "mutating": mutating, "rules": rules, "settings": settings}})
    };
    let pin = policy("pin", true, json!({"action": "pin"}));
    let enforce = policy("enforce", false, json!({"action": "deny", "templates": "record"}));
    let policies = format!("{pin}\n---\n{enforce}\n");
    std::fs::write(server.folder.path().join("policies.yaml"), policies).unwrap();
    let answer = json!({"digest": NEW}).to_string();
    let exchange = json!([{"type": "Exchange", "request": format!("!OciManifestDigest\nimage: {image}\n"),
        "response": {"type": "Success", "payload": answer}}]);
    std::fs::write(server.folder.path().join("session.yaml"), exchange.to_string()).unwrap();
    let replay = ["--replay-host-capabilities-interactions", "session.yaml"];
    let report = json_of(&report(&server, &[&["--settings-path", "policies.yaml"], &replay[..]].concat()));
    assert_eq!(
        images(&report),
        [format!("registry.example.com/shop/web:1@{} (0) Deployment shop/web: 0", &NEW[..8])],
        "{report}"
    );
    assert_eq!((&report["images"][0]["verdict"], &report["images"][0]["findings"]), (&json!("accepted"), &json!([])));
}

#[test]
fn overrides_for_namespaces_apply_to_the_namespaces_of_the_workloads() {
    let in_namespace = |name: &str, image: &str, namespace: Option<&str>| {
        let mut object = workload(name, image);
        object["metadata"]["namespace"] = json!(namespace);
        object
    };
    let deployments = vec![
        in_namespace("web", "web:1", Some("production")),
        in_namespace("web", "web:1", Some("staging-eu")),
        in_namespace("tool", "tool:1", Some("staging-eu")),
    ];
    let runners = json!([in_namespace("ci", "runner:1", None)]);
    let objects = BTreeMap::from([("Deployment", deployments)]);
    let server = ApiServer::with_answers(move |asked| {
        Some(match asked.line.as_str() {
            "GET /apis/example.com/v1" => {
                let resources = json!([served("runners", "Runner", false)]);
                (200, json!({"kind": "APIResourceList", "groupVersion": "example.com/v1", "resources": resources}))
            }
            "GET /apis/example.com/v1/runners limit=500" => (
                200,
                json!({"kind": "RunnerList", "apiVersion": "example.com/v1", "metadata": {}, "items": runners.clone()}),
            ),
            _ => cluster(asked, &objects),
        })
    });
    let mut settings: Value = serde_json::from_str(ONLY_PINNING).unwrap();
    settings["pinning"]["action"] = json!("deny");
    settings["customWorkloads"] =
        json!([{"apiVersion": "example.com/v1", "kind": "Runner", "podTemplate": "/spec/template"}]);
    settings["overrides"] =
        json!([{"images": ["*"], "namespaces": ["staging-*", "default"], "pinning": {"action": "warn"}}]);
    let report = json_of(&report(&server, &["--settings-json", &settings.to_string()]));
    assert_eq!(report["failures"], json!([]));
    let found: BTreeMap<&str, Vec<&str>> = report["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| {
            let effects =
                image["findings"].as_array().unwrap().iter().map(|finding| finding["effect"].as_str().unwrap());
            let verdict = image["verdict"].as_str().unwrap();
            (image["repository"].as_str().unwrap(), std::iter::once(verdict).chain(effects).collect())
        })
        .collect();
    let expected = BTreeMap::from([
        // In production it is refused.
        ("docker.io/library/web", vec!["denied", "deny"]),
        ("docker.io/library/tool", vec!["warned", "warn"]),
        // Without a namespace, its request matches no entry with `namespaces`.
        ("docker.io/library/runner", vec!["denied", "deny"]),
    ]);
    assert_eq!(found, expected);
}
