//! A world in memory. It answers every question by the bytes of its trial, and the same question always with the same, in
//! whatever order questions come.

use std::cell::RefCell;
use std::fmt;

use chrono::{DateTime, Utc};
use container_patch_policy::host::{CanI, GetResource, Host, ListResources};
use serde_json::{Value, json};

use crate::images::digest;
use crate::mangled::{any, mangled};
use crate::scans::{self, TIMES};
use crate::{Bytes, reports};

const NOWS: [&str; 8] = [
    "2026-11-20T12:00:00Z",
    "2026-11-20T12:00:00Z",
    "2026-11-20T12:00:00Z",
    "2026-11-20T12:00:00Z",
    "2026-12-25T00:00:00Z",
    "2027-03-28T01:30:00Z",
    "1970-01-01T00:00:00Z",
    "2038-01-19T03:14:08Z",
];

const ERRORS: [&str; 7] = [
    "Host error: manifest unknown",
    "Callback evaluation failure: sending\n\nCaused by:\n    0: connecting\n    1: connection refused\n",
    "Policy has not been granted access to Kubernetes resources. The violation has been reported.",
    "ApiError: reports.example.com is forbidden: User \"x\" cannot get resource",
    "error finding resource: ApiError: 404 page not found",
    "",
    "\u{202e}\u{7}",
];

/// How something is answered.
#[derive(Clone)]
enum Answer<T> {
    /// In the shape that it should have.
    Well(T),
    /// In nearly that shape; the bytes say what is wrong with it.
    Nearly(T, Vec<u8>),
    /// As some other JSON.
    Other(Value),
    /// As anything.
    Raw(Vec<u8>),
    /// Not at all.
    Error(String),
}

impl<T> Answer<T> {
    fn by(bytes: &mut Bytes<'_>, make: impl FnOnce(&mut Bytes<'_>) -> T) -> Self {
        match bytes.up_to(29) {
            0..=25 => Self::Well(make(bytes)),
            26 => Self::Nearly(make(bytes), bytes.raw(8)),
            27 => Self::Error(bytes.one_of(&ERRORS).to_owned()),
            28 => Self::Other(any(bytes)),
            _ => Self::Raw(bytes.raw(40)),
        }
    }

    fn as_said(&self, render: impl FnOnce(&T) -> Value) -> Result<Vec<u8>, String> {
        match self {
            Self::Well(facts) => Ok(render(facts).to_string().into_bytes()),
            Self::Nearly(facts, how) => Ok(mangled(render(facts), &mut Bytes::new(how)).to_string().into_bytes()),
            Self::Other(value) => Ok(value.to_string().into_bytes()),
            Self::Raw(bytes) => Ok(bytes.clone()),
            Self::Error(error) => Err(error.clone()),
        }
    }
}

/// A report as a list of reports has it.
#[derive(Clone)]
struct Listed {
    name: &'static str,
    digest: &'static str,
    at: &'static str,
    is_filtered: bool,
}

/// What is found in an image.
#[derive(Clone)]
struct Found {
    at: &'static str,
    vulnerabilities: Vec<reports::Vulnerability>,
}

/// The answers of a trial.
pub struct World {
    now: DateTime<Utc>,
    digests: Vec<Answer<&'static str>>,
    indexes: Vec<Answer<Value>>,
    images: Vec<Answer<Value>>,
    lists: Vec<Answer<Vec<Listed>>>,
    resources: Vec<Answer<Found>>,
    permission: Answer<bool>,
    asked: RefCell<Vec<String>>,
}

impl World {
    /// A world by some bytes.
    #[must_use]
    pub fn new(bytes: &mut Bytes<'_>) -> Self {
        let now = bytes.one_of(&NOWS);
        Self {
            now: DateTime::parse_from_rfc3339(now).expect("it is a time").to_utc(),
            images: some(bytes, |bytes| Answer::by(bytes, image)),
            digests: some(bytes, |bytes| Answer::by(bytes, digest)),
            indexes: some(bytes, |bytes| Answer::by(bytes, index)),
            lists: some(bytes, |bytes| Answer::by(bytes, |bytes| bytes.few(4, listed))),
            resources: some(bytes, |bytes| Answer::by(bytes, found)),
            permission: Answer::by(bytes, |bytes| bytes.once_in(2)),
            asked: RefCell::default(),
        }
    }

    /// What was asked since this was last asked.
    pub fn take_asked(&self) -> Vec<String> {
        self.asked.take()
    }

    fn ask(&self, question: String) -> String {
        self.asked.borrow_mut().push(question.clone());
        question
    }
}

fn some<T>(bytes: &mut Bytes<'_>, mut make: impl FnMut(&mut Bytes<'_>) -> T) -> Vec<T> {
    (0..1 + bytes.up_to(3)).map(|_| make(bytes)).collect()
}

/// One of the answers, by the question alone.
fn pick<'a, T>(answers: &'a [T], question: &str) -> &'a T {
    let hash = question
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    &answers[(hash % answers.len() as u64) as usize]
}

fn image(bytes: &mut Bytes<'_>) -> Value {
    let mut annotations = scans_now_and_then(bytes);
    let mut labels = scans_now_and_then(bytes);
    if bytes.once_in(2) {
        let bases =
            ["docker.io/library/debian:12", "evil.test/base:1", "debian:12@sha256:abc", "", "localhost:5000/base"];
        let place = if bytes.once_in(2) { &mut annotations } else { &mut labels };
        place["org.opencontainers.image.base.name"] = json!(bytes.one_of(&bases));
        place["org.opencontainers.image.base.digest"] = json!(digest(bytes));
    }
    if bytes.once_in(12) {
        let reference = format!("docker.io/library/run@{}", digest(bytes));
        let metadata = json!({"runImage": {"reference": reference, "image": "docker.io/library/run:1"}});
        labels["io.buildpacks.lifecycle.metadata"] = json!(metadata.to_string());
    }
    if bytes.once_in(6) {
        labels["org.opencontainers.image.created"] = json!(bytes.one_of(&TIMES));
    }
    let media_types = [
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.cncf.helm.config.v1+json",
    ];
    json!({
        "digest": digest(bytes),
        "manifest": {
            "schemaVersion": 2,
            "config": {"mediaType": bytes.one_of(&media_types), "digest": digest(bytes), "size": 1},
            "layers": [],
            "annotations": annotations,
        },
        "config": {
            "created": bytes.one_of(&TIMES),
            "config": {"Labels": labels},
            "history": bytes.few(2, |bytes| json!({"created": bytes.one_of(&TIMES)})),
        },
    })
}

fn scans_now_and_then(bytes: &mut Bytes<'_>) -> Value {
    if bytes.once_in(4) { Value::Object(scans::annotations(bytes)) } else { json!({}) }
}

fn index(bytes: &mut Bytes<'_>) -> Value {
    if !bytes.once_in(2) {
        return json!({"schemaVersion": 2, "config": {}, "layers": []});
    }
    let manifest = |bytes: &mut Bytes<'_>| {
        let os = bytes.one_of(&["linux", "windows", "unknown"]);
        let architecture = bytes.one_of(&["amd64", "arm64", "386", ""]);
        json!({"digest": digest(bytes), "platform": {"os": os, "architecture": architecture}})
    };
    json!({"schemaVersion": 2, "manifests": bytes.few(3, manifest)})
}

fn listed(bytes: &mut Bytes<'_>) -> Listed {
    Listed {
        name: bytes.one_of(&["r0", "r1", "r2", "container-patch-"]),
        digest: if bytes.once_in(5) { "" } else { digest(bytes) },
        at: bytes.one_of(&TIMES),
        is_filtered: bytes.once_in(3),
    }
}

fn found(bytes: &mut Bytes<'_>) -> Found {
    Found { at: bytes.one_of(&TIMES), vulnerabilities: reports::vulnerabilities(bytes) }
}

impl Host for World {
    fn manifest_digest(&self, image: &str) -> Result<Vec<u8>, String> {
        let question = self.ask(format!("digest {image}"));
        pick(&self.digests, &question).as_said(|digest| json!({ "digest": digest }))
    }

    fn manifest(&self, image: &str) -> Result<Vec<u8>, String> {
        let question = self.ask(format!("manifest {image}"));
        pick(&self.indexes, &question).as_said(Value::clone)
    }

    fn manifest_and_config(&self, image: &str) -> Result<Vec<u8>, String> {
        let question = self.ask(format!("config {image}"));
        pick(&self.images, &question).as_said(|answer| {
            let mut answer = answer.clone();
            // Mostly it is a single image, and else one of an index.
            if let Some((_, digest)) = image.split_once('@').filter(|_| !question.len().is_multiple_of(4)) {
                answer["digest"] = json!(digest);
            }
            answer
        })
    }

    fn get_resource(&self, request: &GetResource<'_>) -> Result<Vec<u8>, String> {
        let GetResource { api_version, kind, name, namespace, .. } = request;
        let question = self.ask(format!("get {api_version} {kind} {namespace:?} {name}"));
        // Where there are no such resources, the one that the policy asks for before it lists them is not there either.
        if name.ends_with('-') || question.len().is_multiple_of(7) {
            return Err(format!("Cannot find {api_version}/{kind} named '{name}' inside of namespace {namespace:?}"));
        }
        pick(&self.resources, &question)
            .as_said(|found| reports::report((*api_version, *kind), name, found.at, &found.vulnerabilities))
    }

    fn list_resources_by_namespace(&self, request: &ListResources<'_>) -> Result<Vec<u8>, String> {
        let ListResources { api_version, kind, namespace, .. } = request;
        let question = self.ask(format!("list {api_version} {kind} {namespace}"));
        pick(&self.lists, &question).as_said(|listed| {
            let items = listed.iter().map(|Listed { name, digest, at, is_filtered }| {
                reports::identity((*api_version, *kind), name, digest, at, *is_filtered)
            });
            json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()})
        })
    }

    fn can_i(&self, question: &CanI<'_>) -> Result<Vec<u8>, String> {
        let question = self.ask(format!("can_i {}", json!(question)));
        let may = question.len().is_multiple_of(2);
        self.permission.as_said(|allowed| json!({"allowed": *allowed == may, "denied": false}))
    }

    fn log_warning(&self, _: &str) {}

    fn now(&self) -> DateTime<Utc> {
        self.now
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn show<T>(
            f: &mut fmt::Formatter<'_>,
            what: &str,
            answers: &[Answer<T>],
            render: impl Fn(&T) -> Value,
        ) -> fmt::Result {
            for answer in answers {
                match answer.as_said(&render) {
                    Ok(said) => writeln!(f, "  {what}: {}", String::from_utf8_lossy(&said))?,
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
        let quay = ("secscan.quay.redhat.com/v1alpha1", "ImageManifestVuln");
        show(f, "resource, here as one of Quay", &self.resources, |found| {
            reports::report(quay, "…", found.at, &found.vulnerabilities)
        })?;
        show(f, "permission", std::slice::from_ref(&self.permission), |allowed| json!(allowed))
    }
}
