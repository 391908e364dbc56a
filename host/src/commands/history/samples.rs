//! Events for tests, in the form in which an API server writes them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

pub(super) const D1: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
pub(super) const D2: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
pub(super) const D3: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

/// The prefix of the annotations.
const WEBHOOK: &str = "clusterwide-enforce.kubewarden.admission";

pub(super) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// An event of the audit log.
#[derive(Debug, Clone)]
pub(super) struct Event(Vec<(String, Value)>);

impl Event {
    fn new(verb: &str, object: Value, code: u16) -> Self {
        let fields = json!({
            "level": "Metadata", "auditID": "6a7b6f2c", "stage": "ResponseComplete", "requestURI": "/", "verb": verb,
            "user": {"username": "jane", "groups": ["dev"]}, "sourceIPs": ["10.0.0.7"], "objectRef": object,
            "responseStatus": {"metadata": {}, "code": code},
            "requestReceivedTimestamp": "2026-11-25T11:59:59.000000Z", "stageTimestamp": "2026-11-25T12:00:00.000000Z",
            "annotations": {"authorization.k8s.io/decision": "allow"},
        });
        // The API server writes the fields in this order.
        let order = [
            "level",
            "auditID",
            "stage",
            "requestURI",
            "verb",
            "user",
            "sourceIPs",
            "objectRef",
            "responseStatus",
            "requestReceivedTimestamp",
            "stageTimestamp",
            "annotations",
        ];
        let first = [("kind".to_owned(), "Event".into()), ("apiVersion".to_owned(), "audit.k8s.io/v1".into())];
        Self(first.into_iter().chain(order.map(|key| (key.to_owned(), fields[key].clone()))).collect())
    }

    /// Something that has nothing to do with images.
    pub(super) fn get() -> Self {
        Self::new("get", json!({"resource": "configmaps", "namespace": "shop", "name": "c", "apiVersion": "v1"}), 200)
    }

    /// The creation of a Deployment in the namespace `shop` with an image of that digest.
    pub(super) fn deployment(name: &str, digest: &str) -> Self {
        let object = json!({"resource": "deployments", "namespace": "shop", "name": name, "apiGroup": "apps", "apiVersion": "v1"});
        Self::new("create", object, 201).verdict("accepted").image(digest, None)
    }

    /// The creation of a pod. Without a name, it is generated.
    pub(super) fn pod(name: &str, digest: &str) -> Self {
        let mut object = json!({"resource": "pods", "namespace": "shop", "name": name, "apiVersion": "v1"});
        if name.is_empty() {
            object.as_object_mut().unwrap().remove("name");
        }
        Self::new("create", object, 201).verdict("accepted").image(digest, None)
    }

    /// The deletion of a pod.
    pub(super) fn delete(name: &str) -> Self {
        Self::new("delete", json!({"resource": "pods", "namespace": "shop", "name": name, "apiVersion": "v1"}), 200)
    }

    fn set(mut self, key: &str, change: impl FnOnce(&mut Value)) -> Self {
        if let Some((_, value)) = self.0.iter_mut().find(|(name, _)| name == key) {
            change(value);
        }
        self
    }

    /// The image `registry.example.com/web:1`.
    pub(super) fn image(self, digest: &str, built: Option<&str>) -> Self {
        let mut image = json!({"image": "registry.example.com/web:1", "sites": ["container `web`"], "digest": digest});
        if let Some(built) = built {
            image["built"] = built.into();
        }
        self.annotation("images", &json!([image]).to_string())
    }

    pub(super) fn annotation(self, name: &str, value: &str) -> Self {
        self.set("annotations", |annotations| annotations[format!("{WEBHOOK}/{name}")] = value.into())
    }

    pub(super) fn verdict(self, verdict: &str) -> Self {
        self.annotation("verdict", verdict)
    }

    pub(super) fn verb(self, verb: &str) -> Self {
        self.set("verb", |value| *value = verb.into())
    }

    pub(super) fn uri(self, uri: &str) -> Self {
        self.set("requestURI", |value| *value = uri.into())
    }

    pub(super) fn stage(self, stage: &str) -> Self {
        self.set("stage", |value| *value = stage.into())
    }

    pub(super) fn code(self, code: u16) -> Self {
        self.set("responseStatus", |status| status["code"] = code.into())
    }

    pub(super) fn message(self, message: &str) -> Self {
        self.set("responseStatus", |status| status["message"] = message.into())
    }

    pub(super) fn user(self, name: &str) -> Self {
        self.set("user", |user| user["username"] = name.into())
    }

    pub(super) fn namespace(self, name: &str) -> Self {
        self.set("objectRef", |object| object["namespace"] = name.into())
    }

    /// The time of the answer.
    pub(super) fn at(self, time: &str) -> Self {
        self.set("stageTimestamp", |value| *value = time.into())
    }

    pub(super) fn json(&self) -> Value {
        Value::Object(self.0.iter().cloned().collect())
    }

    /// The line, without its end.
    pub(super) fn line(&self) -> String {
        let fields = self.0.iter().map(|(key, value)| format!("\"{key}\":{value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }
}

/// A decision of the Swarm plugin that allows an object with the image `registry.example.com/web:1`.
pub(super) fn decision(time: &str, kind: &str, name: &str, digest: &str, built: Option<&str>) -> String {
    json!({
        "time": time, "level": "info", "event": "decision", "allowed": true, "user": "jane", "authentication": "TLS", "method": "POST",
        "path": "/v1.47/services/create", "operation": "CREATE", "object": {"kind": kind, "name": name},
        "annotations": {"verdict": "accepted", "images": [
            {"image": "registry.example.com/web:1", "sites": ["container `web`"], "digest": digest, "built": built}]},
        "seconds": 0.001,
    })
    .to_string()
}
