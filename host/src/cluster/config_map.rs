//! Reads and writes one ConfigMap.

use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::{Cluster, Unanswered};

/// The HTTP status of a write that was based on an older version of the object.
const CONFLICT: u16 = 409;

/// Who applies a ConfigMap, and whether it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Apply<'a> {
    /// The name of the field manager.
    pub(crate) manager: &'a str,
    /// Whether the API server only checks the request.
    pub(crate) dry_run: bool,
}

impl Cluster {
    /// A ConfigMap. `None` if it does not exist.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn config_map(&self, namespace: &str, name: &str) -> Result<Option<Value>, String> {
        let (kind, connection) = (self.kind("v1", "ConfigMap")?, self.connection()?);
        let permission = format!("get configmaps in the namespace {namespace}");
        let found = connection.wait(&permission, connection.api(&kind, Some(namespace)).get_opt(name))?;
        found.map(|object| serde_json::to_value(object).map_err(|error| error.to_string())).transpose()
    }

    /// Writes a ConfigMap by server-side apply, so that its `data` has exactly these keys, and removes its `managedFields`. It is created if
    /// it does not exist.
    ///
    /// # Errors
    /// When it cannot be written, or `config_map` has a `resourceVersion` and the stored object has another one.
    pub(crate) fn apply_config_map(&self, config_map: &Value, apply: Apply<'_>) -> Result<(), String> {
        let (kind, connection) = (self.kind("v1", "ConfigMap")?, self.connection()?);
        let text = |key: &str| config_map["metadata"][key].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        let permission = format!("create and patch configmaps in the namespace {namespace}");
        let explain = |unanswered: Unanswered| match &unanswered {
            Unanswered::Refused(status) if status.code == CONFLICT => {
                format!("the ConfigMap {namespace}/{name} was changed at the same time; run the command again")
            }
            _ => connection.explain(&permission, &unanswered),
        };
        let api = connection.api(&kind, Some(namespace));
        let mut parameters = PatchParams::apply(apply.manager).force();
        parameters.dry_run = apply.dry_run;
        let applied = connection.ask(api.patch(name, &parameters, &Patch::Apply(config_map))).map_err(explain)?;
        // Server-side apply leaves the keys that other field managers have written.
        let wanted = config_map["data"].as_object();
        let stored = applied.data.get("data").and_then(Value::as_object);
        let is_wanted = |key: &str| wanted.is_some_and(|wanted| wanted.contains_key(key));
        let others = stored.into_iter().flatten().filter(|(key, _)| !is_wanted(key));
        let removed: Map<String, Value> = others.map(|(key, _)| (key.clone(), Value::Null)).collect();
        let is_tracked = applied.metadata.managed_fields.is_some_and(|fields| !fields.is_empty());
        if apply.dry_run || removed.is_empty() && !is_tracked {
            return Ok(());
        }
        // The API server lists every key in `managedFields`, and policy-server passes all metadata to a policy. A list with one empty entry
        // removes it (Kubernetes documentation, "Server-Side Apply", "Clearing managedFields").
        let metadata = json!({"resourceVersion": applied.metadata.resource_version, "managedFields": [{}]});
        let patch = json!({"metadata": metadata, "data": removed});
        let parameters = PatchParams { field_manager: Some(apply.manager.to_owned()), ..PatchParams::default() };
        connection.ask(api.patch(name, &parameters, &Patch::Merge(&patch))).map_err(explain)?;
        Ok(())
    }
}
