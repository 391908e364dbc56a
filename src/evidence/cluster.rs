//! The cluster as a source of evidence. Each distinct resource is requested once per request.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Answer, host_error};
use crate::host::{GetResource, Host, ListResources};

/// A name that no resource can have: names of resources do not end with a dash.
pub(crate) const ACCESS_PROBE: &str = "container-patch-";

/// The start of errors in which `container-patch` gives its own advice. It asks as the user of a kubeconfig, so advice about
/// policy-server does not apply.
pub const CONTAINER_PATCH_NEEDS: &str = "container-patch needs ";

/// A kind of resource with scan results.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// Group and version.
    pub api_version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The product that writes it.
    pub product: &'static str,
    /// The path of the manifest with the permissions to read it.
    pub rbac: &'static str,
}

/// The manifest with the permissions to read the ConfigMaps that the settings name.
const CONFIG_MAP_RBAC: &str = "deploy/soak/reader.yaml";

/// The group and version, kind, namespace and name of a resource, and the fields.
type ResourceKey = (&'static str, &'static str, String, String, String);

/// A resource in JSON. `None` if it does not exist.
type GetAnswer = Answer<Option<Rc<[u8]>>>;

/// The cluster, and its answers so far.
pub struct Cluster<'h> {
    host: &'h dyn Host,
    answers: BTreeMap<ResourceKey, GetAnswer>,
}

impl<'h> Cluster<'h> {
    /// The cluster, before any question.
    #[must_use]
    pub fn new(host: &'h dyn Host) -> Self {
        Self { host, answers: BTreeMap::new() }
    }

    /// A resource in JSON, with only these fields and its metadata. `None` if it does not exist.
    ///
    /// # Errors
    /// What to do, and the reason why the resource cannot be read.
    pub fn get(&mut self, resource: &Resource, namespace: &str, name: &str, fields: &[&str]) -> GetAnswer {
        let Resource { api_version, kind, .. } = resource;
        self.ask((api_version, kind), (namespace, name), fields, |error| resource.unavailable(error))
    }

    /// A ConfigMap in JSON, with only these fields and its metadata. `None` if it does not exist.
    ///
    /// # Errors
    /// What to do, and the reason why the ConfigMap cannot be read.
    pub fn config_map(&mut self, namespace: &str, name: &str, fields: &[&str]) -> GetAnswer {
        self.ask(("v1", "ConfigMap"), (namespace, name), fields, |error| config_map_unavailable(namespace, name, error))
    }

    fn ask(
        &mut self,
        (api_version, kind): (&'static str, &'static str),
        (namespace, name): (&str, &str),
        fields: &[&str],
        unavailable: impl FnOnce(&str) -> String,
    ) -> GetAnswer {
        let host = self.host;
        let ask = || {
            let request = GetResource {
                api_version,
                kind,
                name,
                namespace: Some(namespace),
                disable_cache: false,
                field_masks: fields.iter().copied().collect(),
            };
            match host.get_resource(&request) {
                Ok(json) => Ok(Some(json.into())),
                Err(error) if is_missing(&error) => Ok(None),
                Err(error) => Err(unavailable(&error)),
            }
        };
        // Answers with other fields are other answers.
        let key = (api_version, kind, namespace.to_owned(), name.to_owned(), fields.join(" "));
        self.answers.entry(key).or_insert_with(ask).clone()
    }

    /// The resources of a namespace, as a list in JSON with only these fields and their metadata.
    ///
    /// # Errors
    /// What to do, and the reason why the resources cannot be read.
    pub fn list(&mut self, resource: &Resource, namespace: &str, fields: &[&'static str]) -> Answer<Vec<u8>> {
        // policy-server answers a list from a watch, and waits until the watch has started. Without permission it waits for ever and
        // blocks one of its workers. A get without permission is refused immediately.
        self.get(resource, namespace, ACCESS_PROBE, &["metadata"])?;
        let request = ListResources {
            api_version: resource.api_version,
            kind: resource.kind,
            namespace,
            label_selector: None,
            field_selector: None,
            field_masks: fields.iter().copied().collect(),
        };
        self.host.list_resources_by_namespace(&request).map_err(|error| resource.unavailable(&error))
    }
}

impl Resource {
    /// The message for a failure to read a resource.
    fn unavailable(&self, error: &str) -> String {
        let Self { api_version, kind, product, rbac } = self;
        let reason = host_error(error);
        if reason.starts_with(CONTAINER_PATCH_NEEDS) {
            return format!("{kind} of {product} cannot be read: {reason}");
        }
        let advice = if let Some(advice) = missing_permission(error, (api_version, kind), rbac) {
            advice
        } else if error.contains("annot find resource") || error.contains("404 page not found") {
            format!("install {product}, or take it out of `scan.reports`")
        } else {
            format!("check that {product} is installed, and that policy-server may read its reports ({rbac})")
        };
        format!("{advice}: {kind} of {product} cannot be read: {reason}")
    }
}

/// The message for a failure to read a ConfigMap.
fn config_map_unavailable(namespace: &str, name: &str, error: &str) -> String {
    let reason = host_error(error);
    let fact = format!("ConfigMap `{namespace}/{name}` cannot be read: {reason}");
    if reason.starts_with(CONTAINER_PATCH_NEEDS) {
        return fact;
    }
    let advice = missing_permission(error, ("v1", "ConfigMap"), CONFIG_MAP_RBAC).unwrap_or_else(|| {
        format!("check that the API server can be reached, and that policy-server may read it ({CONFIG_MAP_RBAC})")
    });
    format!("{advice}: {fact}")
}

/// What to do about a permission that the policy or policy-server lacks. `None` for another error. Long warnings lose their end, so
/// messages begin with what to do.
fn missing_permission(error: &str, (api_version, kind): (&str, &str), rbac: &str) -> Option<String> {
    if error.contains("host capability") {
        Some(format!(
            "grant the policy the host capabilities in its metadata ({rbac} grants permissions in the cluster only)"
        ))
    } else if error.contains("has not been granted access") {
        Some(format!("add `{{apiVersion: {api_version}, kind: {kind}}}` to `contextAwareResources` of the policy"))
    } else if error.contains("orbidden") || error.contains("nauthorized") {
        Some(format!("let policy-server read it, kubectl apply -f {rbac}"))
    } else {
        None
    }
}

/// Whether an error of the host means that the kind exists, but the resource does not.
fn is_missing(error: &str) -> bool {
    error.contains("Cannot find ") && error.contains(" named '")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ACCESS_PROBE, Cluster, Resource};
    use crate::host::in_memory::InMemory;

    const REPORT: Resource = Resource {
        api_version: "example.com/v1",
        kind: "Report",
        product: "Scanner",
        rbac: "deploy/rbac/scanner.yaml",
    };

    fn world() -> InMemory {
        InMemory::at("2026-11-20T12:00:00Z")
    }

    #[test]
    fn a_missing_resource_is_not_a_failure_and_is_requested_once() {
        let host = world();
        let mut cluster = Cluster::new(&host);
        for _ in 0..2 {
            assert_eq!(cluster.get(&REPORT, "shop", "a", &["x"]), Ok(None));
        }
        assert_eq!(host.asked(), ["get Report shop/a"]);
    }

    #[test]
    fn two_questions_about_a_resource_with_other_fields_have_an_answer_each() {
        let record = json!({"metadata": {"name": "record"}, "data": {"a": "1", "b": "2"}});
        let host = world().answer("get", "ConfigMap staging/record", Ok(record));
        let mut cluster = Cluster::new(&host);
        for (fields, expected) in [
            (&["data.a"][..], json!({"a": "1"})),
            (&["data.b"], json!({"b": "2"})),
            (&["data.a", "data.b"], json!({"a": "1", "b": "2"})),
            (&["data.a"], json!({"a": "1"})),
        ] {
            let answer = cluster.config_map("staging", "record", fields).unwrap().unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["data"], expected);
        }
        assert_eq!(host.asked().len(), 3);
    }

    #[test]
    fn a_config_map_that_cannot_be_read_is_reported_with_what_to_do() {
        let fact = "ConfigMap `staging/record` cannot be read: ";
        for (error, advice) in [
            (
                "Policy has not been granted access to Kubernetes v1/ConfigMap resources. The violation has been reported.",
                "add `{apiVersion: v1, kind: ConfigMap}` to `contextAwareResources` of the policy: ",
            ),
            (
                "ApiError: configmaps \"record\" is forbidden: User \"x\" cannot get resource",
                "let policy-server read it, kubectl apply -f deploy/soak/reader.yaml: ",
            ),
            (
                "Policy has not been granted access to the 'kubernetes/get_resource' host capability.",
                "grant the policy the host capabilities in its metadata (deploy/soak/reader.yaml grants permissions in the cluster \
                 only): ",
            ),
            (
                "connection refused",
                "check that the API server can be reached, and that policy-server may read it (deploy/soak/reader.yaml): ",
            ),
            ("container-patch needs access to a cluster: Failed to infer configuration", ""),
        ] {
            let host = world().answer("get", "ConfigMap staging/record", Err(format!("Host error: {error}")));
            let found = Cluster::new(&host).config_map("staging", "record", &[]).unwrap_err();
            assert_eq!(found, format!("{advice}{fact}{error}"));
        }
    }

    #[test]
    fn resources_that_may_not_be_read_are_not_listed() {
        let probe = format!("Report shop/{ACCESS_PROBE}");
        let forbidden = "Host error: ApiError: reports.example.com is forbidden: User \"x\" cannot get resource";
        let host = world().answer("get", &probe, Err(forbidden.to_owned()));
        let error = Cluster::new(&host).list(&REPORT, "shop", &[]).unwrap_err();
        assert_eq!(
            error,
            "let policy-server read it, kubectl apply -f deploy/rbac/scanner.yaml: Report of Scanner cannot be read: \
             ApiError: reports.example.com is forbidden: User \"x\" cannot get resource"
        );
        assert_eq!(host.asked(), [format!("get {probe}")], "a list would wait for ever");
    }

    #[test]
    fn resources_of_the_same_kind_in_two_groups_differ() {
        const OTHER: Resource = Resource { api_version: "example.org/v1", ..REPORT };
        let host = world();
        let mut cluster = Cluster::new(&host);
        assert_eq!(
            (cluster.get(&REPORT, "shop", "a", &[]), cluster.get(&OTHER, "shop", "a", &[])),
            (Ok(None), Ok(None))
        );
        assert_eq!(host.asked().len(), 2);
    }

    #[test]
    fn resources_are_listed_if_a_get_is_allowed() {
        let host = world().answer("list", "Report shop", Ok(json!({"items": []})));
        let list = Cluster::new(&host).list(&REPORT, "shop", &["x"]);
        assert_eq!(list, Ok(br#"{"items":[]}"#.to_vec()));
    }

    #[test]
    fn the_advice_of_container_patch_replaces_that_about_policy_server() {
        let needs = "container-patch needs permission to get reports: ApiError: reports is forbidden: Forbidden (403)";
        let host = world().answer("get", "Report shop/a", Err(format!("Host error: {needs}")));
        assert_eq!(
            Cluster::new(&host).get(&REPORT, "shop", "a", &[]).unwrap_err(),
            format!("Report of Scanner cannot be read: {needs}")
        );
    }

    #[test]
    fn a_failure_is_reported_with_what_to_do() {
        for (error, advice) in [
            (
                "Policy has not been granted access to Kubernetes example.com/v1/Report resources. The violation has been reported.",
                "add `{apiVersion: example.com/v1, kind: Report}` to `contextAwareResources` of the policy",
            ),
            (
                "error finding resource example.com/v1 / Report: ApiError: 404 page not found",
                "install Scanner, or take it out of `scan.reports`",
            ),
            (
                "Policy has not been granted access to the 'kubernetes/get_resource' host capability.",
                "grant the policy the host capabilities in its metadata (deploy/rbac/scanner.yaml grants permissions in the cluster only)",
            ),
            (
                "error finding resource example.com/v1 / Report: ApiError: service unavailable: ServiceUnavailable (503)",
                "check that Scanner is installed, and that policy-server may read its reports (deploy/rbac/scanner.yaml)",
            ),
            ("Cannot find resource example.com/v1/Report", "install Scanner, or take it out of `scan.reports`"),
            (
                "connection refused",
                "check that Scanner is installed, and that policy-server may read its reports (deploy/rbac/scanner.yaml)",
            ),
        ] {
            let host = world().answer("get", "Report shop/a", Err(error.to_owned()));
            let found = Cluster::new(&host).get(&REPORT, "shop", "a", &[]).unwrap_err();
            assert!(
                found.starts_with(&format!("{advice}: Report of Scanner cannot be read: ")),
                "expected: {advice}\nfound:    {found}"
            );
        }
    }
}
