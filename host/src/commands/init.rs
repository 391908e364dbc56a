//! `container-patch init`: writes a settings file from a preset.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use container_patch_policy::config::read::nearest;

use crate::configuration::FILE_NAME;
use crate::stdout;
use crate::terminal::printable;

/// The files of `examples/presets/`: each preset with its text.
const PRESETS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// The first line of a settings file, by which editors complete and check its keys.
const SCHEMA: &str = concat!(
    "# yaml-language-server: $schema=https://raw.githubusercontent.com/container-patch/container-patch-policy/",
    "main/docs/settings.schema.json\n"
);

/// Where the pages are that the comments of presets name.
const DOCUMENTATION: &str = concat!("# Documentation: ", env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/settings.md\n");

/// Write a commented settings file for one of the presets
///
/// Without a preset, the presets are listed; on a terminal, you can choose one.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the preset
    #[arg(value_name = "PRESET")]
    preset: Option<String>,
    /// File to write; `-` for standard output
    #[arg(short = 'O', long, value_name = "PATH", default_value = "container-patch-settings.yaml")]
    output_path: PathBuf,
    /// Also write container-patch.yaml, by which all commands in this folder and below it use the settings
    #[arg(long)]
    configuration: bool,
    /// Overwrite files that exist
    #[arg(short, long)]
    force: bool,
}

/// Writes the settings of a preset.
///
/// # Errors
/// When the preset is missing or unknown, or the file exists or cannot be written.
pub fn exec(options: &Options) -> Result<()> {
    let (name, text) = match &options.preset {
        Some(name) => preset(name)?,
        None if io::stdin().is_terminal() && io::stderr().is_terminal() => choose()?,
        None => {
            bail!("give the name of a preset, such as `container-patch init monthly-patch-day`:\n{}", list().trim_end())
        }
    };
    let text = settings(text);
    let path = &options.output_path;
    if path == Path::new("-") {
        ensure!(!options.configuration, "--configuration needs a settings file; --output-path - prints the settings");
        return stdout::print(&text);
    }
    let mut files = vec![(path.as_path(), text)];
    if options.configuration {
        files.push((Path::new(FILE_NAME), configuration(path)?));
    }
    write(&files, options.force)?;
    let path = printable(&path.display().to_string());
    let (others, flag) = match options.configuration {
        true => (format!(" and {FILE_NAME}"), String::new()),
        false => (String::new(), format!(" --settings-path {path}")),
    };
    eprintln!("Wrote {path}{others} from the preset {name}. Next: container-patch check{flag} MANIFEST");
    Ok(())
}

/// The configuration of a project that has its settings in a file.
fn configuration(settings: &Path) -> Result<String> {
    let path = serde_json::to_string(&settings.display().to_string())?;
    Ok(format!(
        "# The configuration of container-patch in this folder and below it. Flags and environment variables take precedence.\n\
         # The settings of the policy, or the policies of your cluster: files and folders.\n\
         settingsPath: {path}\n\
         # Registries that are contacted with plain HTTP:\n\
         # insecureRegistries: [localhost:5000]\n\
         # Files and folders that are not judged:\n\
         # ignore: [vendor/, \"*.template.yaml\"]\n\
         # The namespace for objects without one:\n\
         # namespace: default\n"
    ))
}

fn preset(name: &str) -> Result<(&'static str, &'static str)> {
    PRESETS.iter().find(|(known, _)| *known == name).copied().ok_or_else(|| {
        let known: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        let advice = nearest(name, &known).map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
        anyhow!("unknown preset `{}`{advice}\n{}", printable(name), list().trim_end())
    })
}

/// Asks on a terminal which preset to use.
fn choose() -> Result<(&'static str, &'static str)> {
    eprint!("{}Number or name of the preset: ", numbered());
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the name of the preset")?;
    chosen(answer.trim())
}

/// The preset with this number or name.
fn chosen(answer: &str) -> Result<(&'static str, &'static str)> {
    ensure!(!answer.is_empty(), "no preset was chosen");
    let Ok(number) = answer.parse::<usize>() else { return preset(answer) };
    let found = number.checked_sub(1).and_then(|index| PRESETS.get(index)).copied();
    found.with_context(|| format!("unknown preset {number}; expected a number from 1 to {}", PRESETS.len()))
}

/// All presets, each with its description.
pub(super) fn presets() -> Vec<(&'static str, String)> {
    PRESETS.iter().map(|(name, text)| (*name, about(name, text).to_owned())).collect()
}

/// All presets, each with its description, as text.
fn list() -> String {
    lines(|_| String::new())
}

/// All presets with their numbers, counted from 1.
fn numbered() -> String {
    let width = PRESETS.len().to_string().len();
    lines(|index| format!("{:>width$}) ", index + 1))
}

/// A line for each preset, with a mark for its index.
fn lines(mark: impl Fn(usize) -> String) -> String {
    let width = PRESETS.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    presets().iter().enumerate().fold(String::new(), |mut list, (index, (name, about))| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(list, "  {}{name:width$}  {about}", mark(index));
        list
    })
}

/// The first line of the comment at the beginning of a preset, without the name of the preset.
fn about<'t>(name: &str, text: &'t str) -> &'t str {
    let comment = text.lines().find(|line| !line.contains("yaml-language-server")).unwrap_or_default();
    let comment = comment.trim_start_matches('#').trim().trim_end_matches('.');
    comment.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(comment)
}

/// The text of a preset with the schema and the place of the documentation.
fn settings(text: &str) -> String {
    let schema = if text.contains("yaml-language-server:") { "" } else { SCHEMA };
    format!("{schema}{DOCUMENTATION}{text}")
}

/// Writes files. Without `force`, nothing is written if one of them exists.
fn write(files: &[(&Path, String)], force: bool) -> Result<()> {
    if !force {
        let existing = files.iter().map(|(path, _)| *path).find(|path| path.symlink_metadata().is_ok());
        if let Some(path) = existing {
            bail!(
                "the file {} exists already; use --force to overwrite it, or --output-path for another file",
                path.display()
            );
        }
    }
    for (path, text) in files {
        let name = path.display();
        let file = if force { File::create(path) } else { OpenOptions::new().write(true).create_new(true).open(path) };
        let mut file = file.with_context(|| format!("cannot create {name}"))?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use container_patch_policy::settings::Settings;
    use serde_json::value::to_raw_value;

    use std::path::Path;

    use serde_json::json;

    use super::{FILE_NAME, PRESETS, about, chosen, configuration, list, numbered, preset, settings, write};
    use crate::configuration::{Configuration, KEYS};
    use crate::manifest;

    #[test]
    fn every_preset_has_valid_settings_and_a_description() {
        assert!(preset("monthly-patch-day").is_ok());
        for (name, text) in PRESETS {
            let value = manifest::from_yaml(&settings(text)).unwrap();
            let read = Settings::from_json(&to_raw_value(&value).unwrap());
            assert!(read.is_ok(), "{name}: {}", read.unwrap_err());
            assert!(about(name, text).len() > 10, "{name}: {text}");
            assert!(settings(text).starts_with("# yaml-language-server: $schema=https://"), "{name}");
        }
    }

    #[test]
    fn the_description_is_the_first_line() {
        assert_eq!(about("one", "# One Rev. 2.\n# Three.\nkey: 1\n"), "One Rev. 2");
        assert_eq!(about("one", "# yaml-language-server: $schema=a\n# one: settings for all.\n"), "settings for all");
    }

    #[test]
    fn an_unknown_preset_is_an_error_with_the_nearest_one_and_all_others() {
        let error = preset("monthly-patchday").unwrap_err().to_string();
        assert!(error.starts_with("unknown preset `monthly-patchday`; did you mean `monthly-patch-day`?\n"), "{error}");
        assert!(error.ends_with(list().trim_end()), "{error}");
    }

    #[test]
    fn a_preset_is_chosen_by_its_number_or_name() {
        for (index, (name, _)) in PRESETS.iter().enumerate() {
            assert!(numbered().contains(&format!("{}) {name} ", index + 1)), "{}", numbered());
            assert_eq!(chosen(&(index + 1).to_string()).unwrap().0, *name);
            assert_eq!(chosen(name).unwrap().0, *name);
        }
        let error = |answer: &str| chosen(answer).unwrap_err().to_string();
        assert_eq!(error("0"), format!("unknown preset 0; expected a number from 1 to {}", PRESETS.len()));
        assert!(error("99").starts_with("unknown preset 99; expected a number"));
        assert_eq!(error(""), "no preset was chosen");
    }

    #[test]
    fn an_existing_file_is_overwritten_only_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.yaml");
        let other = folder.path().join("other.yaml");
        write(&[(&path, "one".to_owned())], false).unwrap();
        let files = [(other.as_path(), "three".to_owned()), (path.as_path(), "2".to_owned())];
        let error = write(&files, false).unwrap_err().to_string();
        assert!(error.contains("exists already; use --force"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        assert!(!other.exists());
        write(&files, true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2");
    }

    #[test]
    fn the_configuration_is_valid_and_its_comments_name_all_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE_NAME);
        let text = configuration(Path::new("a b: \"c\".yaml")).unwrap();
        std::fs::write(&file, &text).unwrap();
        Configuration::read(&file).unwrap();
        assert_eq!(manifest::from_yaml(&text).unwrap(), json!({"settingsPath": "a b: \"c\".yaml"}));
        let uncommented: Vec<&str> = text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
        for key in KEYS.iter().filter(|key| !["settings", "failOn"].contains(key)) {
            assert!(uncommented.iter().any(|line| line.starts_with(&format!("{key}: "))), "{key}");
        }
    }
}
