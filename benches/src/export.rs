//! Files for measuring scenarios in policy-server.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::measure::Policies;
use crate::scenario::{AdmissionResult, Scenario};

/// Writes the scenarios without host calls to a folder, each as two files: `NUMBER.json` has its name, its settings and the
/// `AdmissionReview` that the API server sends; `NUMBER.wasm` is the do-nothing policy with the answer of the policy.
///
/// # Errors
/// If the response of the policy is not the expected one, or a file cannot be written.
pub(crate) fn write(policies: &Policies, scenarios: &[Scenario], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // For the message of a denied pod, the policy asks the registry for digests.
    let without_host_calls =
        scenarios.iter().filter(|scenario| scenario.host.is_empty() && scenario.expected != AdmissionResult::Denied);
    for (number, scenario) in without_host_calls.enumerate() {
        let Value::Object(mut payload) = serde_json::from_slice(&scenario.payload)? else { continue };
        let described = json!({
            "name": scenario.name,
            "settings": payload.remove("settings"),
            "review": {
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "request": payload.remove("request"),
            },
        });
        let nothing = policies.nothing.with_answer(&policies.response(scenario)?)?.into_owned();
        for (extension, bytes) in [("json", described.to_string().into_bytes()), ("wasm", nothing)] {
            let path = folder.join(number.to_string()).with_extension(extension);
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
