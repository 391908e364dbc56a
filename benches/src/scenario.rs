//! The scenarios that are measured.

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::fake_host::{FakeHost, digest_of};

/// One request with its settings, the responses of the host, and the expected result.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The name in the results.
    pub(crate) name: String,
    /// The payload of waPC's `validate`.
    pub(crate) payload: Vec<u8>,
    /// The size of the object in bytes.
    pub(crate) object: usize,
    /// The responses to host calls.
    pub(crate) host: FakeHost,
    /// The expected result.
    pub(crate) expected: AdmissionResult,
    /// The target for the time.
    pub(crate) target: Option<Target>,
    /// The number of containers, in scenarios that measure its effect.
    pub(crate) containers: Option<usize>,
}

/// The result of a request. A policy with another result than the expected one is not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdmissionResult {
    /// The object is accepted unchanged.
    Accepted,
    /// The object is accepted, and its images are pinned or recorded.
    Pinned,
    /// The object is denied.
    Denied,
}

/// The most time that a scenario may take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// A multiple of the time of the do-nothing policy.
    Ratio(f64),
    /// Milliseconds.
    Milliseconds(f64),
}

/// How an image reference is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Pinned,
    Tagged,
}

fn image(number: usize, spelling: Spelling) -> String {
    let tagged = format!("registry.example.com/team/app-{number}:1.{number}.0");
    match spelling {
        Spelling::Pinned => format!("{tagged}@{}", digest_of(number)),
        Spelling::Tagged => tagged,
    }
}

/// The reference that the policy requests once it knows the digest.
fn by_digest(number: usize) -> String {
    format!("registry.example.com/team/app-{number}@{}", digest_of(number))
}

fn container(number: usize, spelling: Spelling) -> Value {
    json!({
        "name": format!("app-{number}"),
        "image": image(number, spelling),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/app", "--listen=:8080", "--log-format=json"],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {"name": "DATABASE", "valueFrom": {"secretKeyRef": {"name": "database", "key": "url"}}},
            {"name": "LOG_LEVEL", "value": "info"},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/app", "readOnly": true},
            {"name": "kube-api-access-x7zl2", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true},
        ],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 5},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    })
}

fn pod_spec(containers: usize, spelling: Spelling) -> Value {
    json!({
        "containers": (0..containers).map(|number| container(number, spelling)).collect::<Vec<_>>(),
        "volumes": [
            {"name": "config", "configMap": {"name": "app", "defaultMode": 420}},
            {"name": "kube-api-access-x7zl2", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            ]}},
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "app",
        "schedulerName": "default-scheduler",
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
    })
}

fn pod(containers: usize, spelling: Spelling) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app.kubernetes.io/name": "web"}, "uid": "a8b9f6f0-6a9b-4b2f-8f0e-5b8d8a3f8d11"},
        "spec": pod_spec(containers, spelling),
        "status": {"phase": "Pending"},
    })
}

/// A pod that a controller makes from a template with records.
fn recorded_pod(containers: usize) -> Value {
    let mut pod = pod(containers, Spelling::Tagged);
    for number in 0..containers {
        let name = pod["spec"]["containers"][number]["name"].as_str().unwrap_or_default().to_owned();
        let record = format!("{}@{}", image(number, Spelling::Tagged), digest_of(number));
        pod["metadata"]["annotations"][format!("pin.container-patch.dev/{name}")] = json!(record);
    }
    pod
}

fn deployment(containers: usize, spelling: Spelling) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app.kubernetes.io/name": "web"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app.kubernetes.io/name": "web"}},
            "template": {"metadata": {"labels": {"app.kubernetes.io/name": "web"}}, "spec": pod_spec(containers, spelling)},
        },
    })
}

/// The payload that policy-server gives to a policy when an object is created, and the size of the object in it.
fn payload(object: &Value, settings: &Value) -> (Vec<u8>, usize) {
    let (kind, resource) = match object["kind"].as_str() {
        Some("Pod") => (json!({"group": "", "version": "v1", "kind": "Pod"}), "pods"),
        _ => (json!({"group": "apps", "version": "v1", "kind": "Deployment"}), "deployments"),
    };
    let resource = json!({"group": kind["group"], "version": "v1", "resource": resource});
    let request = json!({
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "name": "web", "namespace": "shop", "operation": "CREATE", "dryRun": false,
        "userInfo": {"username": "ann", "uid": "014fbff9a07c", "groups": ["system:authenticated", "developers"]},
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", "fieldManager": "kubectl-client-side-apply"},
        "object": object,
    });
    let payload = json!({"request": request, "settings": settings});
    (payload.to_string().into_bytes(), object.to_string().len())
}

fn scenario(name: &str, object: &Value, settings: &Value, host: FakeHost, expected: AdmissionResult) -> Scenario {
    let (payload, object) = payload(object, settings);
    Scenario { name: name.to_owned(), payload, object, host, expected, target: None, containers: None }
}

impl Scenario {
    fn at_most(self, ratio: f64) -> Self {
        Self { target: Some(Target::Ratio(ratio)), ..self }
    }
}

/// A registry with images that were built ten days ago.
fn registry(images: usize) -> FakeHost {
    let mut host = FakeHost::default();
    let created = (Utc::now() - TimeDelta::days(10)).to_rfc3339_opts(SecondsFormat::Secs, true);
    for number in 0..images {
        host.add_image(&by_digest(number), &digest_of(number), &created);
        host.add_tag(&image(number, Spelling::Tagged), &digest_of(number));
    }
    host
}

/// Settings with no other rule than pinning.
fn pinning(action: &str) -> Value {
    json!({
        "pinning": {"action": action}, "schedule": {"action": "off"}, "baseImage": {"action": "off"}, "scan": {"action": "off"},
    })
}

fn calendar() -> Value {
    json!({
        "schedule": {
            "patchDays": {"cron": "0 0 * * TUE#2", "timeZone": "Europe/Berlin", "grace": "14d"},
            "freezes": [
                {"from": "2025-12-18", "to": "2026-01-03", "reason": "year-end change freeze"},
                {"from": "2026-06-10", "to": "2026-07-15", "reason": "audit"},
                {"from": "2026-12-18", "to": "2027-01-03", "reason": "year-end change freeze"},
            ],
        },
        "baseImage": {"action": "off"}, "scan": {"action": "off"},
    })
}

/// The settings of a large organisation. Only the last override matches the images of the scenario.
fn many_rules(overrides: usize, exceptions: usize) -> Value {
    let overrides = (0..overrides).map(|team| {
        let team = if team + 1 == overrides { "registry.example.com/team/*".to_owned() } else { format!("registry.example.com/team-{team}/*") };
        json!({"images": [team], "schedule": {"maxAge": "180d"}, "pinning": {"action": "deny", "forbiddenTags": ["latest", "dev"]}})
    });
    let exceptions = (0..exceptions).map(|team| {
        json!({
            "images": [format!("registry.example.com/legacy-{team}/*"), format!("*/mirror-{team}/*")],
            "rules": ["stale-image", "vulnerable-image"],
            "until": "2099-12-31",
            "reason": format!("SEC-{team} vendor fix pending"),
        })
    });
    let mut settings = pinning("deny");
    settings["overrides"] = overrides.collect();
    settings["exceptions"] = exceptions.collect();
    // The overrides replace the schedule. Switched off, it needs nothing from the registry.
    settings["overrides"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .for_each(|entry| entry["schedule"]["action"] = json!("off"));
    settings
}

fn reports() -> Value {
    json!({
        "schedule": {"action": "off"}, "baseImage": {"action": "off"},
        "scan": {"reports": [{"source": "sbomscanner", "namespace": "sbomscanner"}]},
    })
}

/// A pod of about `bytes` bytes. Most of them are in an annotation, as a client writes it.
fn large_pod(bytes: usize) -> Value {
    let mut pod = pod(3, Spelling::Tagged);
    let entry = r#"{"name":"SETTING","value":"0123456789 abcdefghijklmnopqrstuvwxyz"},"#;
    let rest = bytes.saturating_sub(pod.to_string().len());
    // In a string, each quotation mark of an entry is written with a backslash.
    let entries = rest / (entry.len() + 8);
    pod["metadata"]["annotations"] = json!({"example.com/applied-configuration": entry.repeat(entries)});
    pod
}

/// All scenarios, in the order of the results.
#[must_use]
pub(crate) fn all() -> Vec<Scenario> {
    let empty = FakeHost::default;
    let mut scenarios = vec![
        scenario(
            "pod with 3 pinned containers",
            &pod(3, Spelling::Pinned),
            &pinning("deny"),
            empty(),
            AdmissionResult::Accepted,
        )
        .at_most(1.5),
        scenario(
            "the same unpinned, denied",
            &pod(3, Spelling::Tagged),
            &pinning("deny"),
            empty(),
            AdmissionResult::Denied,
        )
        .at_most(1.6),
        scenario(
            "the same unpinned, pinned by the policy",
            &pod(3, Spelling::Tagged),
            &pinning("pin"),
            registry(3),
            AdmissionResult::Pinned,
        ),
        scenario(
            "the same unpinned, pinned by its records",
            &recorded_pod(3),
            &pinning("pin"),
            empty(),
            AdmissionResult::Pinned,
        ),
        scenario(
            "the same pinned, `settings: {}`",
            &pod(3, Spelling::Pinned),
            &json!({}),
            registry(3),
            AdmissionResult::Accepted,
        ),
        scenario(
            "calendar with time zone and freezes",
            &pod(3, Spelling::Pinned),
            &calendar(),
            registry(3),
            AdmissionResult::Accepted,
        )
        .at_most(2.0),
        scenario("20 overrides", &pod(3, Spelling::Pinned), &many_rules(20, 0), empty(), AdmissionResult::Accepted),
        scenario(
            "200 overrides and 200 exceptions",
            &pod(3, Spelling::Pinned),
            &many_rules(200, 200),
            empty(),
            AdmissionResult::Accepted,
        )
        .at_most(2.5),
        scenario(
            "Deployment with 3 tags, digests recorded",
            &deployment(3, Spelling::Tagged),
            &pinning("pin"),
            registry(3),
            AdmissionResult::Pinned,
        ),
    ];
    let mut scanned = registry(1);
    scanned.add_sbomscanner_report("sbomscanner", &digest_of(0), 400, 50);
    scenarios.push(scenario(
        "scan report of 400 vulnerabilities",
        &pod(1, Spelling::Pinned),
        &reports(),
        scanned,
        AdmissionResult::Accepted,
    ));
    let rollout_only = |soak: Value| {
        let off = json!({"action": "off"});
        json!({"pinning": {"action": "deny"}, "schedule": {"maxAge": "3660d"}, "baseImage": off, "scan": off, "rollout": soak})
    };
    let soak = json!({"soak": {"configMaps": [{"namespace": "staging", "name": "images"}]}});
    let recorded = |images: usize| {
        let mut host = registry(3);
        host.add_record("staging", "images", &[0, 1, 2].map(digest_of), images);
        host
    };
    scenarios.extend([
        scenario(
            "3 pinned containers, `rollout: {}`",
            &pod(3, Spelling::Pinned),
            &rollout_only(json!({})),
            registry(3),
            AdmissionResult::Accepted,
        ),
        scenario(
            "the same, in a record of 100 images",
            &pod(3, Spelling::Pinned),
            &rollout_only(soak.clone()),
            recorded(100),
            AdmissionResult::Accepted,
        ),
        scenario(
            "the same, in a record of 5000 images",
            &pod(3, Spelling::Pinned),
            &rollout_only(soak),
            recorded(5000),
            AdmissionResult::Accepted,
        ),
    ]);
    scenarios.extend([1, 10, 100, 1000].map(|containers| {
        let name = format!("Deployment, {containers} container{}", if containers == 1 { "" } else { "s" });
        let object = deployment(containers, Spelling::Pinned);
        let scenario = scenario(&name, &object, &json!({}), registry(containers), AdmissionResult::Accepted);
        Scenario { containers: Some(containers), ..scenario }
    }));
    let large = scenario(
        "object of 3 MiB, pinned by the policy",
        &large_pod(3 << 20),
        &pinning("pin"),
        registry(3),
        AdmissionResult::Pinned,
    );
    scenarios.push(Scenario { target: Some(Target::Milliseconds(250.0)), ..large });
    scenarios
}
