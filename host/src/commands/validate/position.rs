//! Where in the text of files the settings of policies are.

use anyhow::{Context, Result};

use crate::manifest::nodes::{self, Kind, Node, line_and_column};
use crate::manifest::{self, Document};
use crate::policies::policy_name;
use crate::settings::SettingsOptions;

/// The files with settings.
pub(super) struct SettingsFiles {
    files: Vec<SettingsFile>,
    /// Where settings come from that are in no file.
    otherwise: &'static str,
}

struct SettingsFile {
    path: String,
    text: String,
    nodes: Vec<Node>,
    /// The name of the policy that an object is. `None` for other objects.
    names: Vec<Option<String>>,
    is_configuration: bool,
}

impl SettingsFiles {
    /// Reads the files on the command line.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn read(options: &SettingsOptions) -> Result<Self> {
        let mut files = Vec::new();
        let configuration = options.configuration().into_iter().map(|path| (path.to_owned(), true));
        for (path, is_configuration) in options.files()?.into_iter().map(|path| (path, false)).chain(configuration) {
            let path = path.display().to_string();
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            files.extend(SettingsFile::parse(path, text, is_configuration));
        }
        Ok(Self { files, otherwise: options.source() })
    }

    /// Finds the settings of a policy, or those that belong to no policy.
    pub(super) fn find(&self, policy: Option<&str>) -> Place<'_> {
        let found = self.files.iter().find_map(|file| Some((file, file.settings(policy)?)));
        Place { found, otherwise: self.otherwise }
    }
}

impl SettingsFile {
    /// `None` if the nodes of the file are not those that were read as settings.
    fn parse(path: String, text: String, is_configuration: bool) -> Option<Self> {
        let nodes = nodes::objects(&text).ok()?;
        let name = |document: Document| document.object.ok().as_ref().and_then(policy_name);
        let names: Vec<_> = manifest::read(&text).into_iter().map(name).collect();
        (names.len() == nodes.len()).then_some(Self { path, text, nodes, names, is_configuration })
    }

    /// The settings of a policy, or the whole file if it has no policies. An outer `None` if they are elsewhere; an inner one if the
    /// policy has no settings.
    fn settings(&self, policy: Option<&str>) -> Option<Option<&Node>> {
        let Some(policy) = policy else {
            let root = self.nodes.first();
            return match self.is_configuration {
                true => Some(root.and_then(|root| Some(&root.get("settings")?.1))),
                false => self.names.iter().all(Option::is_none).then_some(root),
            };
        };
        let index = self.names.iter().position(|name| name.as_deref() == Some(policy))?;
        let spec = self.nodes.get(index).and_then(|node| node.get("spec"));
        Some(spec.and_then(|(_, spec)| Some(&spec.get("settings")?.1)))
    }
}

/// The place of the settings of a policy.
pub(super) struct Place<'f> {
    found: Option<(&'f SettingsFile, Option<&'f Node>)>,
    otherwise: &'static str,
}

impl Place<'_> {
    /// The file, or what the settings come from otherwise.
    pub(super) fn source(&self) -> &str {
        self.found.map_or(self.otherwise, |(file, _)| &file.path)
    }

    /// The line and the column of the key or list item at a path, both counted from 1. If the path does not exist, because
    /// a required key is missing, those of the nearest existing one.
    pub(super) fn position(&self, path: &str) -> Option<(usize, usize)> {
        let (file, settings) = self.found?;
        let settings = settings?;
        let found = if path == "settings" { None } else { deepest(settings, path) };
        Some(line_and_column(&file.text, found.unwrap_or(settings).span.start))
    }
}

/// The key or list item at the longest existing part of a path. A key may contain the separators of the path.
fn deepest<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    match &node.kind {
        Kind::Mapping { entries, .. } => {
            let path = path.strip_prefix('.').unwrap_or(path);
            let matching = entries.iter().filter_map(|(key, value)| {
                let Kind::Scalar { value: name, .. } = &key.kind else { return None };
                let rest = path.strip_prefix(name.as_str())?;
                (rest.is_empty() || rest.starts_with(['.', '['])).then_some((name.len(), key, value, rest))
            });
            let (_, key, value, rest) = matching.max_by_key(|(length, ..)| *length)?;
            deepest(value, rest).or(Some(key))
        }
        Kind::Sequence(items) => {
            let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            deepest(item, rest).or(Some(item))
        }
        Kind::Scalar { .. } | Kind::Alias(_) => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{SettingsFile, SettingsFiles};

    pub(crate) fn files(text: &str, is_configuration: bool) -> SettingsFiles {
        let file = SettingsFile::parse("a.yaml".to_owned(), text.to_owned(), is_configuration);
        SettingsFiles { files: vec![file.unwrap()], otherwise: "the default settings" }
    }

    fn position(text: &str, path: &str) -> Option<(usize, usize)> {
        files(text, false).find(None).position(path)
    }

    const SETTINGS: &str =
        "schedule:\n  patchDays:\n    grace: 1d\noverrides:\n  - images: [a, b]\n  - {images: ['*']}\na.b: 1\n";

    #[test]
    fn a_path_leads_to_its_key_or_item() {
        assert_eq!(position(SETTINGS, "schedule.patchDays.grace"), Some((3, 5)));
        assert_eq!(position(SETTINGS, "overrides[0].images[1]"), Some((5, 17)));
        assert_eq!(position(SETTINGS, "overrides[1].images"), Some((6, 6)));
        assert_eq!(position(SETTINGS, "a.b"), Some((7, 1)));
        assert_eq!(position(SETTINGS, "settings"), Some((1, 1)));
    }

    #[test]
    fn a_missing_key_is_where_its_section_is() {
        assert_eq!(position(SETTINGS, "schedule.patchDays.cron"), Some((2, 3)));
        assert_eq!(position(SETTINGS, "overrides[1].schedule.action"), Some((6, 6)));
        assert_eq!(position(SETTINGS, "overrides[7]"), Some((4, 1)));
    }

    #[test]
    fn the_settings_of_each_policy_are_found_by_its_name() {
        let policy = |name: &str| {
            format!(
                "---\napiVersion: policies.kubewarden.io/v1\nkind: AdmissionPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  settings:\n    exempt: x\n"
            )
        };
        let files = files(&format!("kind: ConfigMap\n{}{}", policy("pin"), policy("enforce")), false);
        assert_eq!(files.find(Some("shop/pin")).position("exempt"), Some((8, 5)));
        assert_eq!(files.find(Some("shop/enforce")).position("exempt"), Some((15, 5)));
        assert_eq!(files.find(Some("shop/enforce")).source(), "a.yaml");
        assert_eq!(files.find(Some("other")).source(), "the default settings");
    }

    #[test]
    fn the_settings_of_a_configuration_are_below_their_key() {
        let place = files("ignore: [a]\nsettings:\n  exempt: 1\n", true);
        assert_eq!(place.find(None).position("exempt"), Some((3, 3)));
    }

    #[test]
    fn json_has_positions_too() {
        assert_eq!(position("{\n  \"scan\": {\"action\": 1}\n}", "scan.action"), Some((2, 12)));
    }
}
