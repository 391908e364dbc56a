//! The settings of a policy, from the command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::json_type::json_type;
use crate::manifest;

/// The settings of the policy.
#[derive(Debug, Default, Args)]
pub struct SettingsOptions {
    /// File containing the settings for this policy in YAML or JSON, or a ClusterAdmissionPolicy or AdmissionPolicy with
    /// the settings
    #[arg(short, long, value_name = "PATH")]
    settings_path: Option<PathBuf>,
    /// JSON string containing the settings for this policy; --settings-path takes precedence
    #[arg(long, value_name = "VALUE")]
    settings_json: Option<String>,
}

impl SettingsOptions {
    /// Reads the settings. Without a flag they are empty.
    ///
    /// # Errors
    /// When the settings cannot be read, or are not an object.
    pub fn read(&self) -> Result<Value> {
        let (settings, source) = if let Some(path) = &self.settings_path {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot open settings file {name}"))?;
            (of_file(&text).with_context(|| format!("cannot parse settings file {name}"))?, name)
        } else if let Some(json) = &self.settings_json {
            (serde_json::from_str(json).context("cannot parse settings JSON")?, "--settings-json".to_owned())
        } else {
            return Ok(json!({}));
        };
        match settings {
            Value::Null => Ok(json!({})),
            Value::Object(fields) if fields.len() == 1 && fields.contains_key("settings") => {
                bail!(
                    "invalid settings in {source}: they are inside of `settings:`; give what is inside, without `settings:`"
                )
            }
            Value::Object(_) => Ok(settings),
            other => bail!("invalid settings in {source}: expected an object, found {}", json_type(&other)),
        }
    }
}

/// The settings of a file: those of its policy resource, or the whole file if it has none.
fn of_file(text: &str) -> Result<Value> {
    let objects: Vec<Value> = manifest::read(text).into_iter().filter_map(|document| document.object.ok()).collect();
    match objects.iter().filter(|object| is_policy(object)).collect::<Vec<_>>()[..] {
        [] => manifest::from_yaml(text),
        [policy] => Ok(policy["spec"]["settings"].clone()),
        _ => bail!("the file has several policies; expected one"),
    }
}

fn is_policy(object: &Value) -> bool {
    object["apiVersion"].as_str().is_some_and(|version| version.starts_with("policies.kubewarden.io/"))
        && matches!(object["kind"].as_str(), Some("ClusterAdmissionPolicy" | "AdmissionPolicy"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::SettingsOptions;

    fn from_file(text: &str) -> anyhow::Result<serde_json::Value> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        SettingsOptions { settings_path: Some(file.path().to_owned()), settings_json: None }.read()
    }

    #[test]
    fn settings_are_an_object_or_empty() {
        assert_eq!(SettingsOptions::default().read().unwrap(), json!({}));
        assert_eq!(from_file("").unwrap(), json!({}));
        assert_eq!(from_file("exempt: ['*']").unwrap(), json!({"exempt": ["*"]}));
        assert!(from_file("- a").unwrap_err().to_string().ends_with("expected an object, found a list"));
        assert!(from_file("a: [").is_err());
    }

    #[test]
    fn settings_inside_of_a_top_level_key_are_an_error_that_says_so() {
        for text in ["settings: {exempt: []}", "settings:"] {
            let error = from_file(text).unwrap_err().to_string();
            assert!(
                error.ends_with("they are inside of `settings:`; give what is inside, without `settings:`"),
                "{error}"
            );
        }
        assert!(from_file("settings: {}\nexempt: []").is_ok(), "the policy reports the unknown key");
    }

    #[test]
    fn the_settings_of_a_policy_resource_are_read() {
        let policy =
            "apiVersion: policies.kubewarden.io/v1\nkind: ClusterAdmissionPolicy\nspec: {settings: {exempt: []}}";
        assert_eq!(from_file(policy).unwrap(), json!({"exempt": []}));
        let with_others = format!("kind: A\n---\n{policy}\n---\nkind: B\n");
        assert_eq!(from_file(&with_others).unwrap(), json!({"exempt": []}));
        assert!(from_file(&format!("{policy}\n---\n{policy}")).is_err());
        let bare = "apiVersion: policies.kubewarden.io/v1\nkind: ClusterAdmissionPolicy\nspec: {}";
        assert_eq!(from_file(bare).unwrap(), json!({}));
    }
}
