//! The settings of policies, from the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::configuration::{Configuration, ConfigurationOptions};
use crate::json_type::json_type;
use crate::manifest;
use crate::policies::{Policies, PolicyFiles, files_in, policy_name};
use crate::policy::print_once;
use crate::terminal::printable;

/// The settings of the policies that judge objects.
#[derive(Debug, Default, Args)]
#[group(skip)]
pub struct SettingsOptions {
    /// File of settings in YAML or JSON, or files and folders with ClusterAdmissionPolicies and AdmissionPolicies, whose
    /// rules, selectors and modes apply, too; can be repeated
    #[arg(short, long, value_name = "PATH", env = "CONTAINER_PATCH_SETTINGS_PATH", hide_env_values = true)]
    settings_path: Vec<PathBuf>,
    /// JSON string containing the settings; --settings-path takes precedence
    #[arg(long, value_name = "VALUE", env = "CONTAINER_PATCH_SETTINGS_JSON", hide_env_values = true)]
    settings_json: Option<String>,
    /// The configuration file with the settings, which has a value if neither the command line nor the environment gives settings.
    #[arg(long, value_name = "FILE", hide = true)]
    settings_of_configuration: Option<PathBuf>,
    #[command(flatten)]
    _configuration: ConfigurationOptions,
}

/// The settings of one policy, with the flags of kwctl.
#[derive(Debug, Default, Clone, Args)]
#[group(skip)]
pub struct KwctlSettingsOptions {
    /// File containing the settings for this policy in YAML or JSON, or a ClusterAdmissionPolicy or AdmissionPolicy with
    /// the settings
    #[arg(short, long, value_name = "PATH")]
    settings_path: Option<PathBuf>,
    /// JSON string containing the settings for this policy; --settings-path takes precedence
    #[arg(long, value_name = "VALUE")]
    settings_json: Option<String>,
}

impl SettingsOptions {
    /// The settings or policies in files and folders.
    pub(crate) fn of_paths(paths: Vec<PathBuf>) -> Self {
        Self { settings_path: paths, ..Self::default() }
    }

    /// The files that have the settings, with those in folders.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in &self.settings_path {
            match path.is_dir() {
                true => files.extend(files_in(path)?),
                false => files.push(path.clone()),
            }
        }
        Ok(files)
    }

    /// The configuration file, if it has the settings.
    pub(crate) fn configuration(&self) -> Option<&Path> {
        let is_given = !self.settings_path.is_empty() || self.settings_json.is_some();
        self.settings_of_configuration.as_deref().filter(|_| !is_given)
    }

    /// Whether the command line, the environment or the configuration gives settings.
    pub(crate) fn are_given(&self) -> bool {
        !self.settings_path.is_empty() || self.settings_json.is_some() || self.settings_of_configuration.is_some()
    }

    /// The file or folder with the settings, if there is only one.
    pub(crate) fn only_path(&self) -> Option<&Path> {
        if let [path] = &self.settings_path[..] { Some(path) } else { None }
    }

    /// Whether a file is given by its name, and not by that of its folder.
    pub(crate) fn names(&self, file: &Path) -> bool {
        self.settings_path.iter().any(|path| path == file)
    }

    /// Where settings come from that are in no file.
    pub(crate) fn source(&self) -> &'static str {
        if self.settings_json.is_some() { "--settings-json" } else { "the default settings" }
    }

    /// Why the settings cannot be used: the error, with the place of the settings, and with the command that shows the lines.
    pub(crate) fn unusable(&self, error: &anyhow::Error) -> anyhow::Error {
        let paths: Vec<_> = self.settings_path.iter().map(|path| path.display().to_string()).collect();
        let (place, advice) = match (&paths[..], self.configuration()) {
            ([], Some(file)) => (file.display().to_string(), "\n`container-patch validate` shows the lines".to_owned()),
            ([], None) if self.settings_json.is_none() => return anyhow!("{error:#}"),
            ([], None) => (self.source().to_owned(), String::new()),
            (paths, _) => {
                let flags = paths.iter().map(|path| format!(" --settings-path {path}"));
                let flags = flags.collect::<String>();
                (paths.join(", "), format!("\n`container-patch validate{flags}` shows the lines"))
            }
        };
        anyhow!("cannot use the settings in {place}: {error:#}{advice}")
    }

    /// Reads the settings, or the policies that contain them. Without a flag the settings are empty.
    ///
    /// # Errors
    /// When they cannot be read, or are not an object.
    pub fn policies(&self) -> Result<Policies> {
        if !self.settings_path.is_empty() {
            return of_paths(&self.settings_path);
        }
        if let Some(json) = &self.settings_json {
            return Ok(Policies::Settings(of_json(json)?));
        }
        Ok(Policies::Settings(match &self.settings_of_configuration {
            Some(file) => Configuration::read(file)?.settings(),
            None => json!({}),
        }))
    }

    /// Reads the settings with the patch schedule. Of several policies, they are those of the only one with a schedule.
    ///
    /// # Errors
    /// When they cannot be read, or are not an object, or several policies have different schedules.
    pub fn read(&self) -> Result<Value> {
        Ok(self.policies()?.with_schedule()?.clone())
    }
}

impl KwctlSettingsOptions {
    /// The settings in a file.
    #[cfg(test)]
    pub(crate) fn of_path(path: PathBuf) -> Self {
        Self { settings_path: Some(path), settings_json: None }
    }

    /// Where the settings come from.
    pub(crate) fn source(&self) -> String {
        match (&self.settings_path, &self.settings_json) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(_)) => "--settings-json".to_owned(),
            (None, None) => "the default settings".to_owned(),
        }
    }

    /// Reads the settings. Without a flag they are empty.
    ///
    /// # Errors
    /// When the settings cannot be read, or are not an object.
    pub fn read(&self) -> Result<Value> {
        self.read_by(of_file)
    }

    /// Reads the settings. Without a flag they are empty. A file must have some.
    ///
    /// # Errors
    /// When the settings cannot be read, or are not an object.
    pub(crate) fn read_written(&self) -> Result<Value> {
        self.read_by(of_written_file)
    }

    fn read_by(&self, of_file: fn(&str, &str) -> Result<Value>) -> Result<Value> {
        match (&self.settings_path, &self.settings_json) {
            (None, None) => Ok(json!({})),
            (None, Some(json)) => of_json(json),
            (Some(path), _) => {
                let (name, text) = read_file(path)?;
                match policies(&text)[..] {
                    [] => of_file(&name, &text),
                    [ref policy] => checked(policy["spec"]["settings"].clone(), &name),
                    _ => bail!("cannot parse settings file {name}: the file has several policies; expected one"),
                }
            }
        }
    }
}

/// The settings or policies in files and folders.
fn of_paths(paths: &[PathBuf]) -> Result<Policies> {
    let mut files = PolicyFiles::default();
    let mut plain = None;
    let mut has_policies = false;
    for path in paths {
        if path.is_dir() {
            let mut found = false;
            for file in files_in(path)? {
                let (name, text) = read_file(&file)?;
                found |= files.add(&name, &text)?;
            }
            if !found {
                bail!("no policies in the folder {}", path.display());
            }
            has_policies = true;
            continue;
        }
        let (name, text) = read_file(path)?;
        if files.add(&name, &text)? {
            has_policies = true;
        } else if let Some((other, _)) = plain.replace((name.clone(), of_written_file(&name, &text)?)) {
            bail!("{other} and {name} are both files of settings; expected one, or only policies");
        }
    }
    match plain {
        Some((name, _)) if has_policies => {
            bail!("{name} is a file of settings, and cannot be combined with policies, which have their own settings")
        }
        Some((_, settings)) => Ok(Policies::Settings(settings)),
        None => {
            let (policies, notes) = files.finish()?;
            notes.iter().for_each(|note| print_once(&printable(&format!("Warning: {note}"))));
            Ok(policies)
        }
    }
}

fn read_file(path: &Path) -> Result<(String, String)> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot open settings file {name}"))?;
    Ok((name, text))
}

fn of_json(json: &str) -> Result<Value> {
    checked(serde_json::from_str(json).context("cannot parse settings JSON")?, "--settings-json")
}

fn of_file(name: &str, text: &str) -> Result<Value> {
    checked(parsed(name, text)?, name)
}

/// The settings of a file that must have some: an empty file is more often the output of a command that failed than a wish for the
/// defaults.
fn of_written_file(name: &str, text: &str) -> Result<Value> {
    match parsed(name, text)? {
        Value::Null => bail!("the settings file {name} is empty; write {{}} for the defaults"),
        settings => checked(settings, name),
    }
}

fn parsed(name: &str, text: &str) -> Result<Value> {
    manifest::from_yaml(text).with_context(|| format!("cannot parse settings file {name}"))
}

fn checked(settings: Value, source: &str) -> Result<Value> {
    match settings {
        Value::Null => Ok(json!({})),
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("settings") => {
            bail!(
                "invalid settings in {source}: they are inside of `settings:`; give what is inside, without `settings:`"
            )
        }
        Value::Object(fields) if fields.contains_key("apiVersion") && fields.contains_key("kind") => {
            let kind = fields["kind"].as_str().unwrap_or("Kubernetes object");
            bail!("invalid settings in {source}: this is a {kind}, not settings")
        }
        Value::Object(_) => Ok(settings),
        other => bail!("invalid settings in {source}: expected an object, found {}", json_type(&other)),
    }
}

fn policies(text: &str) -> Vec<Value> {
    let objects = manifest::read(text).into_iter().filter_map(|document| document.object.ok());
    objects.filter(|object| policy_name(object).is_some()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::{Value, json};

    use super::{KwctlSettingsOptions, Policies, SettingsOptions};

    const POLICY: &str =
        "apiVersion: policies.kubewarden.io/v1\nkind: ClusterAdmissionPolicy\nspec: {settings: {exempt: []}}";

    /// A folder with these files, and their paths.
    fn files(texts: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let path = |(index, text): (usize, &&str)| {
            let path = folder.path().join(format!("{index}.yaml"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let paths = texts.iter().enumerate().map(path).collect();
        (folder, paths)
    }

    fn from_files(texts: &[&str]) -> anyhow::Result<Policies> {
        let (_folder, settings_path) = files(texts);
        SettingsOptions { settings_path, ..SettingsOptions::default() }.policies()
    }

    /// The settings of a file, read as by `check` and as by `run`.
    fn from_file(text: &str) -> anyhow::Result<Value> {
        let (_folder, mut paths) = files(&[text]);
        let run = KwctlSettingsOptions { settings_path: paths.pop(), settings_json: None }.read();
        match (from_files(&[text]), run) {
            (Ok(policies), Ok(run)) => {
                assert_eq!(policies.settings().map(|(_, settings)| settings).collect::<Vec<_>>(), [&run]);
                Ok(run)
            }
            (Err(error), Err(_)) => Err(error),
            (check, run) => panic!("{check:?} {run:?}"),
        }
    }

    #[test]
    fn an_empty_file_is_an_error_except_for_run_which_follows_kwctl() {
        for text in ["", "# exempt: []\n", "---\n"] {
            let (_folder, mut paths) = files(&[text]);
            let error = from_files(&[text]).unwrap_err().to_string();
            assert!(error.starts_with("the settings file ") && error.ends_with(" is empty; write {} for the defaults"));
            let run = KwctlSettingsOptions { settings_path: paths.pop(), settings_json: None };
            assert_eq!(run.read().unwrap(), json!({}));
        }
    }

    #[test]
    fn settings_are_an_object() {
        assert!(
            matches!(SettingsOptions::default().policies().unwrap(), Policies::Settings(settings) if settings == json!({}))
        );
        assert_eq!(KwctlSettingsOptions::default().read().unwrap(), json!({}));
        assert_eq!(from_file("{}").unwrap(), json!({}));
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
    fn another_kubernetes_object_is_an_error_with_its_kind() {
        let error = from_file("apiVersion: v1\nkind: ConfigMap\ndata: {}\n").unwrap_err().to_string();
        assert!(error.ends_with("0.yaml: this is a ConfigMap, not settings"), "{error}");
    }

    #[test]
    fn the_settings_of_a_policy_resource_are_read() {
        assert_eq!(from_file(POLICY).unwrap(), json!({"exempt": []}));
        let with_others = format!("kind: A\n---\n{POLICY}\n---\nkind: B\n");
        assert_eq!(from_file(&with_others).unwrap(), json!({"exempt": []}));
        let bare = "apiVersion: policies.kubewarden.io/v1\nkind: ClusterAdmissionPolicy\nspec: {}";
        assert_eq!(from_file(bare).unwrap(), json!({}));
    }

    #[test]
    fn run_takes_one_policy() {
        let (_folder, mut paths) = files(&[&format!("{POLICY}\n---\n{POLICY}")]);
        let error = KwctlSettingsOptions { settings_path: paths.pop(), settings_json: None }.read().unwrap_err();
        assert!(error.to_string().ends_with("the file has several policies; expected one"), "{error}");
    }

    #[test]
    fn settings_and_policies_are_not_mixed() {
        let error = |texts: &[&str]| format!("{:#}", from_files(texts).unwrap_err());
        let mixed = error(&["exempt: []", POLICY]);
        assert!(mixed.contains("0.yaml is a file of settings, and cannot be combined with policies"), "{mixed}");
        let twice = error(&["exempt: []", "exempt: []"]);
        assert!(twice.contains("0.yaml and ") && twice.contains("1.yaml are both files of settings"), "{twice}");
        assert!(error(&[POLICY, POLICY]).contains("two policies have the name (no name)"));
    }

    #[test]
    fn a_folder_has_its_policies_and_other_manifests() {
        let (folder, _) = files(&["kind: Namespace", POLICY, "{}"]);
        std::fs::write(folder.path().join("notes.txt"), "{{").unwrap();
        let read =
            |folder: PathBuf| SettingsOptions { settings_path: vec![folder], ..SettingsOptions::default() }.policies();
        assert_eq!(read(folder.path().to_owned()).unwrap().settings().count(), 1);
        let empty = tempfile::tempdir().unwrap();
        let error = read(empty.path().to_owned()).unwrap_err().to_string();
        assert!(error.starts_with("no policies in the folder "), "{error}");
    }
}
