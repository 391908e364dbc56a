//! Where the settings of a policy come from.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::admission::kind_of;
use crate::manifest;

/// The settings of the policy.
#[derive(Debug, Default, Args)]
pub struct Source {
    /// File containing the settings for this policy, as YAML or JSON; or a ClusterAdmissionPolicy or AdmissionPolicy
    /// that holds them
    #[arg(short, long, value_name = "PATH")]
    settings_path: Option<PathBuf>,
    /// JSON string containing the settings for this policy
    #[arg(long, value_name = "VALUE", conflicts_with = "settings_path")]
    settings_json: Option<String>,
}

impl Source {
    /// Reads the settings; without a source they are empty.
    ///
    /// # Errors
    /// When the source cannot be read or holds no object.
    pub fn read(&self) -> Result<Value> {
        let (settings, source) = if let Some(path) = &self.settings_path {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot open settings file {name}"))?;
            let settings = manifest::from_yaml(&text).with_context(|| format!("cannot parse settings file {name}"))?;
            (of_policy_resource(settings), name)
        } else if let Some(json) = &self.settings_json {
            (serde_json::from_str(json).context("cannot parse settings JSON")?, "--settings-json".to_owned())
        } else {
            return Ok(json!({}));
        };
        match settings {
            Value::Null => Ok(json!({})),
            Value::Object(_) => Ok(settings),
            other => bail!("{source} holds {}, and settings are an object", kind_of(&other)),
        }
    }
}

/// The settings in a resource that deploys a policy; anything else is taken for settings itself.
fn of_policy_resource(document: Value) -> Value {
    let is_policy =
        document["apiVersion"].as_str().is_some_and(|version| version.starts_with("policies.kubewarden.io/"))
            && matches!(document["kind"].as_str(), Some("ClusterAdmissionPolicy" | "AdmissionPolicy"));
    if is_policy { document["spec"]["settings"].clone() } else { document }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::Source;

    fn from_file(text: &str) -> anyhow::Result<serde_json::Value> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Source { settings_path: Some(file.path().to_owned()), settings_json: None }.read()
    }

    #[test]
    fn settings_are_an_object_or_nothing() {
        assert_eq!(Source::default().read().unwrap(), json!({}));
        assert_eq!(from_file("").unwrap(), json!({}));
        assert_eq!(from_file("exempt: ['*']").unwrap(), json!({"exempt": ["*"]}));
        assert!(from_file("- a").unwrap_err().to_string().ends_with("holds a list, and settings are an object"));
        assert!(from_file("a: [").is_err());
    }

    #[test]
    fn the_settings_in_a_policy_resource_are_found() {
        let policy =
            "apiVersion: policies.kubewarden.io/v1\nkind: ClusterAdmissionPolicy\nspec: {settings: {exempt: []}}";
        assert_eq!(from_file(policy).unwrap(), json!({"exempt": []}));
        let bare = "apiVersion: policies.kubewarden.io/v1\nkind: ClusterAdmissionPolicy\nspec: {}";
        assert_eq!(from_file(bare).unwrap(), json!({}));
    }
}
