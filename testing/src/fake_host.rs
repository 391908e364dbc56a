//! A host in memory. The choices of a case decide its responses. A host call always gets the same response, in any order of
//! host calls.

use std::cell::RefCell;
use std::fmt;

use chrono::{DateTime, Utc};
use container_patch_policy::host::{CanI, GetResource, Host, ListResources};
use serde_json::{Value, json};

use crate::generators::choices::Choices;
use crate::generators::corruption::{any_json, corrupted};
use crate::generators::images::digest;
use crate::generators::reports::{self, Scanner};
use crate::generators::scans::{self, TIMES};
use crate::generators::soaks;

/// What the clock of the host can show.
const CLOCK_TIMES: [&str; 8] = [
    "2026-11-20T12:00:00Z",
    "2026-11-20T12:00:00Z",
    "2026-11-20T12:00:00Z",
    "2026-11-20T12:00:00Z",
    "2026-12-25T00:00:00Z",
    "2027-03-28T01:30:00Z",
    "1970-01-01T00:00:00Z",
    "2038-01-19T03:14:08Z",
];

/// Errors of host calls.
const ERRORS: [&str; 7] = [
    "Host error: manifest unknown",
    "Callback evaluation failure: sending\n\nCaused by:\n    0: connecting\n    1: connection refused\n",
    "Policy has not been granted access to Kubernetes resources. The violation has been reported.",
    "ApiError: reports.example.com is forbidden: User \"x\" cannot get resource",
    "error finding resource: ApiError: 404 page not found",
    "",
    "\u{202e}\u{7}",
];

/// A response to a host call.
#[derive(Clone)]
enum Response<T> {
    /// A valid response.
    Valid(T),
    /// A valid response that is corrupted by the choices in these bytes.
    Corrupted(T, Vec<u8>),
    /// Any JSON.
    Json(Value),
    /// Any bytes.
    Bytes(Vec<u8>),
    /// An error.
    Error(String),
}

impl<T> Response<T> {
    fn generate(choices: &mut Choices<'_>, make: impl FnOnce(&mut Choices<'_>) -> T) -> Self {
        match choices.up_to(29) {
            0..=25 => Self::Valid(make(choices)),
            26 => Self::Corrupted(make(choices), choices.bytes(8)),
            27 => Self::Error(choices.one_of(&ERRORS).to_owned()),
            28 => Self::Json(any_json(choices)),
            _ => Self::Bytes(choices.bytes(40)),
        }
    }

    fn to_result(&self, render: impl FnOnce(&T) -> Value) -> Result<Vec<u8>, String> {
        match self {
            Self::Valid(facts) => Ok(render(facts).to_string().into_bytes()),
            Self::Corrupted(facts, how) => {
                Ok(corrupted(render(facts), &mut Choices::new(how)).to_string().into_bytes())
            }
            Self::Json(value) => Ok(value.to_string().into_bytes()),
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::Error(error) => Err(error.clone()),
        }
    }
}

/// A report in a list of reports.
#[derive(Clone)]
struct ListedReport {
    name: &'static str,
    digest: &'static str,
    at: &'static str,
    is_filtered: bool,
}

/// The content of a report.
#[derive(Clone)]
struct ReportContent {
    at: &'static str,
    vulnerabilities: Vec<reports::Vulnerability>,
}

/// The host of a case.
pub struct FakeHost {
    now: DateTime<Utc>,
    digests: Vec<Response<&'static str>>,
    indexes: Vec<Response<Value>>,
    images: Vec<Response<Value>>,
    lists: Vec<Response<Vec<ListedReport>>>,
    resources: Vec<Response<ReportContent>>,
    permission: Response<bool>,
    records: Vec<Response<Value>>,
    calls: RefCell<Vec<String>>,
}

impl FakeHost {
    /// The host that some choices make.
    #[must_use]
    pub fn new(choices: &mut Choices<'_>) -> Self {
        let now = choices.one_of(&CLOCK_TIMES);
        Self {
            now: DateTime::parse_from_rfc3339(now).expect("it is a valid time").to_utc(),
            images: some(choices, |choices| Response::generate(choices, image)),
            digests: some(choices, |choices| Response::generate(choices, digest)),
            indexes: some(choices, |choices| Response::generate(choices, index)),
            lists: some(choices, |choices| Response::generate(choices, |choices| choices.few(4, listed_report))),
            resources: some(choices, |choices| Response::generate(choices, report_content)),
            permission: Response::generate(choices, |choices| choices.once_in(2)),
            records: Vec::new(),
            calls: RefCell::default(),
        }
    }

    /// Adds the records of the images that run in staging.
    pub fn add_records(&mut self, choices: &mut Choices<'_>) {
        self.records = some(choices, |choices| Response::generate(choices, soaks::record));
    }

    /// The host calls since the last call of this function.
    pub fn take_calls(&self) -> Vec<String> {
        self.calls.take()
    }

    /// Records a host call.
    fn record(&self, call: String) -> String {
        self.calls.borrow_mut().push(call.clone());
        call
    }
}

/// BuildKit's build information of an image on `docker.io/library/debian:12`.
const BUILD_INFO: &str = "eyJzb3VyY2VzIjpbeyJ0eXBlIjoiZG9ja2VyLWltYWdlIiwicmVmIjoiZG9ja2VyLmlvL2xpYnJhcnkvZGViaWFuOjEyIiwicGluIjoic2hhMjU2OjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYifV19";

/// One to four values.
fn some<T>(choices: &mut Choices<'_>, mut make: impl FnMut(&mut Choices<'_>) -> T) -> Vec<T> {
    (0..1 + choices.up_to(3)).map(|_| make(choices)).collect()
}

/// The response to a host call. It depends on the host call alone.
fn pick<'a, T>(responses: &'a [T], call: &str) -> &'a T {
    let hash = call
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    &responses[(hash % responses.len() as u64) as usize]
}

fn image(choices: &mut Choices<'_>) -> Value {
    let mut annotations = scan_annotations(choices);
    let mut labels = scan_annotations(choices);
    if choices.once_in(2) {
        let bases =
            ["docker.io/library/debian:12", "evil.test/base:1", "debian:12@sha256:abc", "", "localhost:5000/base"];
        let place = if choices.once_in(2) { &mut annotations } else { &mut labels };
        place["org.opencontainers.image.base.name"] = json!(choices.one_of(&bases));
        place["org.opencontainers.image.base.digest"] = json!(digest(choices));
    }
    if choices.once_in(12) {
        let reference = format!("docker.io/library/run@{}", digest(choices));
        let metadata = json!({"runImage": {"reference": reference, "image": "docker.io/library/run:1"}});
        labels["io.buildpacks.lifecycle.metadata"] = json!(metadata.to_string());
    }
    if choices.once_in(6) {
        // This reads no choice of its own, so the stored inputs keep their meaning.
        let is_annotated = annotations.as_object().is_some_and(|annotations| annotations.is_empty());
        let place = if is_annotated { &mut annotations } else { &mut labels };
        place["org.opencontainers.image.created"] = json!(choices.one_of(&TIMES));
    }
    let media_types = [
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.cncf.helm.config.v1+json",
    ];
    let mut answer = json!({
        "digest": digest(choices),
        "manifest": {
            "schemaVersion": 2,
            "config": {"mediaType": choices.one_of(&media_types), "digest": digest(choices), "size": 1},
            "layers": [],
            "annotations": annotations,
        },
        "config": {
            "created": choices.one_of(&TIMES),
            "config": {"Labels": labels},
            "history": choices.few(2, |choices| json!({"created": choices.one_of(&TIMES)})),
        },
    });
    // This reads no choice of its own, either.
    if answer["config"]["created"] == answer["config"]["history"][0]["created"] {
        answer["config"]["moby.buildkit.buildinfo.v1"] = json!(BUILD_INFO);
    }
    answer
}

fn scan_annotations(choices: &mut Choices<'_>) -> Value {
    if choices.once_in(4) { Value::Object(scans::annotations(choices)) } else { json!({}) }
}

fn index(choices: &mut Choices<'_>) -> Value {
    if !choices.once_in(2) {
        return json!({"schemaVersion": 2, "config": {}, "layers": []});
    }
    let manifest = |choices: &mut Choices<'_>| {
        let os = choices.one_of(&["linux", "windows", "unknown"]);
        let architecture = choices.one_of(&["amd64", "arm64", "386", ""]);
        json!({"digest": digest(choices), "platform": {"os": os, "architecture": architecture}})
    };
    json!({"schemaVersion": 2, "manifests": choices.few(3, manifest)})
}

fn listed_report(choices: &mut Choices<'_>) -> ListedReport {
    ListedReport {
        name: choices.one_of(&["r0", "r1", "r2", "container-patch-"]),
        digest: if choices.once_in(5) { "" } else { digest(choices) },
        at: choices.one_of(&TIMES),
        is_filtered: choices.once_in(3),
    }
}

fn report_content(choices: &mut Choices<'_>) -> ReportContent {
    ReportContent { at: choices.one_of(&TIMES), vulnerabilities: reports::vulnerabilities(choices) }
}

impl Host for FakeHost {
    fn manifest_digest(&self, image: &str) -> Result<Vec<u8>, String> {
        let call = self.record(format!("digest {image}"));
        pick(&self.digests, &call).to_result(|digest| json!({ "digest": digest }))
    }

    fn manifest(&self, image: &str) -> Result<Vec<u8>, String> {
        let call = self.record(format!("manifest {image}"));
        pick(&self.indexes, &call).to_result(Value::clone)
    }

    fn manifest_and_config(&self, image: &str) -> Result<Vec<u8>, String> {
        let call = self.record(format!("config {image}"));
        pick(&self.images, &call).to_result(|response| {
            let mut response = response.clone();
            // In most cases it is a single image with the requested digest, else an image of an index.
            if let Some((_, digest)) = image.split_once('@').filter(|_| !call.len().is_multiple_of(4)) {
                response["digest"] = json!(digest);
            }
            response
        })
    }

    fn get_resource(&self, request: &GetResource<'_>) -> Result<Vec<u8>, String> {
        let GetResource { api_version, kind, name, namespace, field_masks, .. } = request;
        let call = format!("get {api_version} {kind} {namespace:?} {name}");
        // The question for other fields is another one.
        self.record(format!("{call} {field_masks:?}"));
        // The policy probes for a name that ends with `-` before it lists, and that resource never exists.
        if name.ends_with('-') || call.len().is_multiple_of(7) {
            return Err(format!("Cannot find {api_version}/{kind} named '{name}' inside of namespace {namespace:?}"));
        }
        if *kind == "ConfigMap" && !self.records.is_empty() {
            return pick(&self.records, &call).to_result(Value::clone);
        }
        pick(&self.resources, &call)
            .to_result(|found| reports::report((*api_version, *kind), name, found.at, &found.vulnerabilities))
    }

    fn list_resources_by_namespace(&self, request: &ListResources<'_>) -> Result<Vec<u8>, String> {
        let ListResources { api_version, kind, namespace, .. } = request;
        let call = self.record(format!("list {api_version} {kind} {namespace}"));
        pick(&self.lists, &call).to_result(|listed| {
            let items = listed.iter().map(|ListedReport { name, digest, at, is_filtered }| {
                reports::list_item((*api_version, *kind), name, digest, at, *is_filtered)
            });
            json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()})
        })
    }

    fn can_i(&self, request: &CanI<'_>) -> Result<Vec<u8>, String> {
        let call = self.record(format!("can_i {}", json!(request)));
        let may = call.len().is_multiple_of(2);
        self.permission.to_result(|allowed| json!({"allowed": *allowed == may, "denied": false}))
    }

    fn log_warning(&self, _: &str) {}

    fn now(&self) -> DateTime<Utc> {
        self.now
    }
}

impl fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn show<T>(
            f: &mut fmt::Formatter<'_>,
            what: &str,
            responses: &[Response<T>],
            render: impl Fn(&T) -> Value,
        ) -> fmt::Result {
            for response in responses {
                match response.to_result(&render) {
                    Ok(json) => writeln!(f, "  {what}: {}", String::from_utf8_lossy(&json))?,
                    Err(error) => writeln!(f, "  {what}: error {error:?}")?,
                }
            }
            Ok(())
        }
        writeln!(f, "  now: {}", self.now)?;
        show(f, "digest", &self.digests, |digest| json!(digest))?;
        show(f, "manifest", &self.indexes, Value::clone)?;
        show(f, "manifest and configuration", &self.images, Value::clone)?;
        show(f, "list", &self.lists, |listed| {
            json!(
                listed
                    .iter()
                    .map(|listed| json!([listed.name, listed.digest, listed.at, listed.is_filtered]))
                    .collect::<Vec<_>>()
            )
        })?;
        show(f, "resource, shown as a report of Quay", &self.resources, |found| {
            reports::report(Scanner::Quay.kind(), "…", found.at, &found.vulnerabilities)
        })?;
        show(f, "record of staging", &self.records, Value::clone)?;
        show(f, "permission", std::slice::from_ref(&self.permission), |allowed| json!(allowed))
    }
}
