//! `container-patch.yaml`: the configuration of a project.
//!
//! Its values are the defaults of flags, so that the command line comes first, then the environment, then the configuration. Flags that
//! name what is judged or who is asked with which credentials have no key: the configuration may come with a pull request.

mod arguments;
mod search;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use clap::builder::FalseyValueParser;
use container_patch_policy::config::read::{self, Fields, Problems, kind_of, read_string};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::json_type::json_type;
use crate::manifest::nodes::{self, Kind, Node};
use crate::{ignored, manifest, registry};

pub use arguments::parse;

/// The name of the file that is searched for.
pub(crate) const FILE_NAME: &str = "container-patch.yaml";

/// The keys, in the order of the documentation.
pub const KEYS: [&str; 6] = ["settings", "settingsPath", "insecureRegistries", "ignore", "namespace", "failOn"];

/// The values of `failOn`.
const FAIL_ON: [&str; 2] = ["deny", "warn"];

/// Which configuration file is used.
#[derive(Debug, Default, Args)]
#[group(skip)]
pub struct ConfigurationOptions {
    /// Configuration file [default: container-patch.yaml in this folder or the next one above, up to the root of the repository]
    #[arg(long, value_name = "FILE", env = "CONTAINER_PATCH_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Do not use a configuration file
    #[arg(long, env = "CONTAINER_PATCH_NO_CONFIG", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub no_config: bool,
}

/// A configuration file.
#[derive(Debug, Default)]
pub struct Configuration {
    file: PathBuf,
    settings: Option<Value>,
    settings_path: Vec<PathBuf>,
    insecure_registries: Vec<String>,
    ignore: Vec<String>,
    namespace: Option<String>,
    fail_on: Option<String>,
}

impl Configuration {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When it cannot be read, or with all of its problems, each with its line.
    pub fn read(file: &Path) -> Result<Self> {
        let name = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot open the configuration {name}"))?;
        let value = manifest::from_yaml(&text).with_context(|| format!("cannot parse the configuration {name}"))?;
        match value {
            Value::Null => return Ok(Self { file: file.to_owned(), ..Self::default() }),
            Value::Object(_) => {}
            other => bail!("invalid configuration {name}: expected an object, found {}", json_type(&other)),
        }
        let mut problems = Problems::default();
        let configuration = Self::take(file, &to_raw_value(&value)?, &mut problems);
        match configuration {
            Some(configuration) if problems.is_empty() => Ok(configuration),
            _ => {
                let lines = with_lines(&text, problems.lines());
                let lines = lines.iter().map(|(line, problem)| format!("\n{name}:{line}: {problem}"));
                Err(anyhow!("invalid configuration:{}", lines.collect::<String>()))
            }
        }
    }

    /// The settings in the file. Empty without them.
    #[must_use]
    pub fn settings(self) -> Value {
        self.settings.unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    }

    fn take(file: &Path, json: &RawValue, problems: &mut Problems) -> Option<Self> {
        let root = read::Path::Root;
        let mut fields = Fields::read(json, root, problems)?;
        let has_both = fields.has("settings") && fields.has("settingsPath");
        let mut value = |key| Some((fields.take_unread(key)?, read::Path::Key(&root, key)));
        let settings = value("settings").and_then(|(json, at)| match serde_json::from_str(json.get()) {
            Ok(settings @ Value::Object(_)) => Some(settings),
            _ => {
                problems.push(at, format_args!("expected an object, found {}", kind_of(json)));
                None
            }
        });
        let settings_path = match value("settingsPath") {
            Some((json, at)) if kind_of(json) == "a list" => texts(json, at, "a path", problems, |_| Ok(())),
            Some((json, at)) => read_string(json, at, "a path or a list of paths", problems).into_iter().collect(),
            None => Vec::new(),
        };
        let insecure_registries = value("insecureRegistries").map_or_else(Vec::new, |(json, at)| {
            texts(json, at, "a host", problems, |text| registry::host(text).map(|_| ()))
        });
        let ignore = value("ignore").map_or_else(Vec::new, |(json, at)| {
            texts(json, at, "a pattern", problems, |text| ignored::pattern(text).map(|_| ()))
        });
        let namespace = value("namespace").and_then(|(json, at)| {
            let name = read_string(json, at, "the name of a namespace", problems)?;
            if name.is_empty() {
                problems.push(at, "expected the name of a namespace, found an empty string");
            }
            Some(name)
        });
        let fail_on = value("failOn").and_then(|(json, at)| {
            let word = read_string(json, at, &format!("one of {}", FAIL_ON.join(", ")), problems)?;
            if !FAIL_ON.contains(&word.as_str()) {
                let nearest = read::nearest(&word, &FAIL_ON).map(|word| format!("; did you mean `{word}`?"));
                let expected = FAIL_ON.join(", ");
                let advice = nearest.unwrap_or_default();
                problems.push(at, format_args!("unknown value `{word}`; expected one of {expected}{advice}"));
            }
            Some(word)
        });
        fields.finish(&KEYS, root, problems);
        if has_both {
            problems.push(read::Path::Key(&root, "settingsPath"), "`settings` is also given; remove one of the two");
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        let settings_path = settings_path.into_iter().map(|path| folder.join(path)).collect();
        Some(Self { file: file.to_owned(), settings, settings_path, insecure_registries, ignore, namespace, fail_on })
    }

    /// The values of flags, each with the flag's name in clap, for flags that are not given.
    fn flags(&self) -> Vec<Flag> {
        let folder = match self.file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut flags = Vec::new();
        if self.settings.is_some() {
            flags.push(Flag::new("settings_of_configuration", &SETTINGS_FLAGS, [self.file.as_os_str()]));
        }
        flags.push(Flag::new("settings_path", &SETTINGS_FLAGS, self.settings_path.iter().map(|path| path.as_os_str())));
        flags.push(Flag::new("insecure_registry", &["insecure_registry"], &self.insecure_registries));
        flags.push(Flag::new("ignore", &["ignore"], &self.ignore));
        flags.push(Flag::new("ignore_below", &["ignore"], [folder]));
        flags.push(Flag::new("namespace", &["namespace"], &self.namespace));
        flags.push(Flag::new("fail_on", &["fail_on"], &self.fail_on));
        flags.retain(|flag| !flag.values.is_empty());
        flags
    }
}

/// The flags with settings. One of them replaces the others.
const SETTINGS_FLAGS: [&str; 2] = ["settings_path", "settings_json"];

/// A flag with the values that it has in the configuration.
struct Flag {
    /// Its name in clap.
    id: &'static str,
    /// The flags that replace this value.
    replaced_by: Vec<&'static str>,
    values: Vec<OsString>,
}

impl Flag {
    fn new<V: Into<OsString>>(
        id: &'static str,
        replaced_by: &[&'static str],
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self { id, replaced_by: replaced_by.to_vec(), values: values.into_iter().map(Into::into).collect() }
    }
}

/// Reads a list of strings, and checks each of them.
fn texts(
    json: &RawValue,
    at: read::Path<'_>,
    one: &str,
    problems: &mut Problems,
    check: impl Fn(&str) -> Result<(), String>,
) -> Vec<String> {
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json.get()) else {
        problems.push(at, format_args!("expected a list, found {}", kind_of(json)));
        return Vec::new();
    };
    let mut texts = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let at = read::Path::Index(&at, index);
        let text = read_string(item, at, one, problems);
        if let Some(Err(error)) = text.as_deref().map(&check) {
            problems.push(at, error);
        }
        texts.extend(text);
    }
    texts
}

/// The problems with their lines, in the order of the lines. Each problem begins with the path of its value.
fn with_lines<'p>(text: &str, problems: &'p [String]) -> Vec<(usize, &'p str)> {
    let mut places = Vec::new();
    if let Some(root) = nodes::objects(text).ok().and_then(|objects| objects.into_iter().next()) {
        add_places(&root, read::Path::Root, &mut places);
    }
    let line = |problem: &str| {
        let known = places
            .iter()
            .filter(|(path, _)| problem.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with(": ")));
        let byte = known.map(|(_, byte)| *byte).next();
        byte.map_or(1, |byte| nodes::line_and_column(text, byte).0)
    };
    let mut lines: Vec<_> = problems.iter().map(|problem| (line(problem), problem.as_str())).collect();
    lines.sort_by_key(|(line, _)| *line);
    lines
}

fn add_places(node: &Node, at: read::Path<'_>, places: &mut Vec<(String, usize)>) {
    match &node.kind {
        Kind::Mapping { entries, .. } => {
            for (key, value) in entries {
                let Kind::Scalar { value: name, .. } = &key.kind else { continue };
                let at = read::Path::Key(&at, name);
                places.push((at.to_string(), key.span.start));
                add_places(value, at, places);
            }
        }
        Kind::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                let at = read::Path::Index(&at, index);
                places.push((at.to_string(), item.span.start));
                add_places(item, at, places);
            }
        }
        Kind::Scalar { .. } | Kind::Alias(_) => {}
    }
}

#[cfg(test)]
mod tests;
