//! The format of test files. `docs/test.schema.json` describes it for editors.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use container_patch_policy::config::read::nearest;
use container_patch_policy::enforcement::codes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::at::At;
use crate::json_type::json_type;
use crate::judge::verdict::Verdict;
use crate::manifest;

/// A test file.
#[derive(Debug)]
pub(super) struct TestFile {
    pub(super) name: Option<String>,
    /// `None` for those of the command line.
    pub(super) settings: Option<Settings>,
    /// The file with the recorded answers.
    pub(super) session: Option<PathBuf>,
    /// The namespace for objects without one.
    pub(super) namespace: String,
    pub(super) cases: Vec<Case>,
}

/// The settings of the policy in a test.
#[derive(Debug)]
pub(super) enum Settings {
    Files(Vec<PathBuf>),
    Inline(Map<String, Value>),
}

/// A manifest, and what is expected of its objects.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) label: String,
    pub(super) manifest: Manifest,
    /// The time of the judgement.
    pub(super) at: Option<At>,
    pub(super) expected: Vec<Expectation>,
}

/// A manifest of a case.
#[derive(Debug)]
pub(super) enum Manifest {
    File(PathBuf),
    Inline(Vec<Value>),
}

/// What is expected of the objects that it selects. Without a selector it selects all that are judged.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expectation {
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) verdict: Option<Verdict>,
    pub(super) codes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawFile {
    name: Option<String>,
    settings_path: Option<Value>,
    settings: Option<Map<String, Value>>,
    at: Option<String>,
    session: Option<PathBuf>,
    namespace: Option<String>,
    cases: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: Option<String>,
    manifest: Value,
    at: Option<String>,
    expect: Value,
}

impl TestFile {
    /// Reads a test file. The paths in it are relative to its folder.
    pub(super) fn read(path: &Path, has_known_codes: bool) -> Result<Self> {
        let text = std::fs::read_to_string(path).context("cannot read the file")?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let file = Self::parse(&text, folder)?;
        if has_known_codes {
            file.check_codes()?;
        }
        Ok(file)
    }

    fn parse(text: &str, folder: &Path) -> Result<Self> {
        let file: RawFile = typed(manifest::from_yaml(text)?, "")?;
        let settings = match (file.settings_path, file.settings) {
            (Some(_), Some(_)) => bail!("give `settingsPath` or `settings`, not both"),
            (Some(paths), None) => Some(Settings::Files(settings_paths(paths, folder)?)),
            (None, settings) => settings.map(Settings::Inline),
        };
        let at = file.at.map(|at| time(&at)).transpose()?;
        ensure!(!file.cases.is_empty(), "cases: expected at least one case");
        let cases = file.cases.into_iter().enumerate().map(|(index, case)| {
            let path = format!("cases[{index}]");
            let case: RawCase = typed(case, &path)?;
            Case::of(case, index, folder, at).context(path)
        });
        Ok(Self {
            name: file.name,
            settings,
            session: file.session.map(|session| folder.join(session)),
            namespace: file.namespace.unwrap_or_else(|| "default".to_owned()),
            cases: cases.collect::<Result<_>>()?,
        })
    }

    /// A misspelled code would never be found.
    fn check_codes(&self) -> Result<()> {
        let known: Vec<&str> = codes::all().into_iter().map(|code| code.as_str()).collect();
        for code in self.cases.iter().flat_map(|case| &case.expected).filter_map(|one| one.codes.as_ref()).flatten() {
            if !known.contains(&code.as_str()) {
                let advice = nearest(code, &known).map(|nearest| format!("; did you mean `{nearest}`?"));
                bail!("codes: unknown code `{code}`{}", advice.unwrap_or_default());
            }
        }
        Ok(())
    }
}

impl Case {
    fn of(case: RawCase, index: usize, folder: &Path, at: Option<At>) -> Result<Self> {
        let own = case.at.map(|at| time(&at)).transpose()?;
        let number = || format!("case {}", index + 1);
        let (label, manifest) = match case.manifest {
            Value::String(path) if !path.is_empty() => (path.clone(), Manifest::File(folder.join(path))),
            object @ Value::Object(_) => (number(), Manifest::Inline(vec![object])),
            Value::Array(objects) if !objects.is_empty() && objects.iter().all(Value::is_object) => {
                (number(), Manifest::Inline(objects))
            }
            other => bail!("manifest: expected a path, an object or a list of objects, found {}", json_type(&other)),
        };
        let expected = match case.expect {
            Value::Array(list) if list.is_empty() => bail!("expect: expected at least one entry"),
            Value::Array(list) => {
                list.into_iter().enumerate().map(|(index, one)| expectation(one, &format!("expect[{index}]"))).collect()
            }
            one => expectation(one, "expect").map(|one| vec![one]),
        };
        Ok(Self { label: case.name.unwrap_or(label), manifest, at: own.or(at), expected: expected? })
    }
}

fn expectation(value: Value, path: &str) -> Result<Expectation> {
    let expectation: Expectation = typed(value, path)?;
    ensure!(expectation.verdict.is_some() || expectation.codes.is_some(), "{path}: `verdict` or `codes` is required");
    Ok(expectation)
}

/// A value as its type, or an error with its path.
fn typed<T: DeserializeOwned>(value: Value, path: &str) -> Result<T> {
    // An array would be read as the fields of the struct in their order.
    if !value.is_object() {
        let at = if path.is_empty() { String::new() } else { format!("{path}: ") };
        bail!("{at}expected an object, found {}", json_type(&value));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let inner = if inner == "." { "" } else { &inner };
        let at: Vec<&str> = [path, inner].into_iter().filter(|part| !part.is_empty()).collect();
        match at.is_empty() {
            true => anyhow!("{}", error.inner()),
            false => anyhow!("{}: {}", at.join("."), error.inner()),
        }
    })
}

/// One path, or a list of them, as in `container-patch.yaml`.
fn settings_paths(value: Value, folder: &Path) -> Result<Vec<PathBuf>> {
    let list = match value {
        Value::Array(list) if !list.is_empty() => list,
        one => vec![one],
    };
    let path = |value: Value| match value {
        Value::String(path) => Ok(folder.join(path)),
        other => bail!("settingsPath: expected a path or a list of paths, found {}", json_type(&other)),
    };
    list.into_iter().map(path).collect()
}

fn time(text: &str) -> Result<At> {
    At::parse(text).map_err(|error| anyhow!("at: invalid time `{text}`: {error}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{At, Manifest, Settings, TestFile, Verdict};

    fn parse(text: &str) -> anyhow::Result<TestFile> {
        let file = TestFile::parse(text, Path::new("folder"))?;
        file.check_codes()?;
        Ok(file)
    }

    fn error(text: &str) -> String {
        format!("{:#}", parse(text).unwrap_err())
    }

    #[test]
    fn a_file_has_settings_a_time_a_session_and_cases() {
        let file = parse(
            "name: shop\nsettingsPath: s.yaml\nat: 2026-11-20\nsession: session.yaml\nnamespace: shop\ncases:\n\
             - manifest: web.yaml\n  expect: {verdict: denied, codes: [stale-image]}\n\
             - name: later\n  manifest: {kind: Pod}\n  at: 2027-01-01T12:00:00+01:00\n  expect: [{kind: Pod, name: a, verdict: warned}]\n",
        )
        .unwrap();
        assert!(matches!(&file.settings, Some(Settings::Files(paths)) if paths[..] == [Path::new("folder/s.yaml")]));
        assert_eq!(file.session.unwrap(), Path::new("folder/session.yaml"));
        let [first, second] = &file.cases[..] else { panic!("{:?}", file.cases) };
        assert!(matches!(&first.manifest, Manifest::File(path) if path == Path::new("folder/web.yaml")));
        assert_eq!(first.label, "web.yaml");
        assert_eq!(first.at, At::parse("2026-11-20").ok());
        assert_eq!(first.expected[0].verdict, Some(Verdict::Denied));
        assert_eq!(first.expected[0].codes.as_ref().unwrap(), &["stale-image"]);
        assert!(matches!(&second.manifest, Manifest::Inline(objects) if objects.len() == 1));
        assert_eq!((second.label.as_str(), second.at), ("later", At::parse("2027-01-01T11:00:00Z").ok()));
        assert_eq!(second.expected[0].kind.as_deref(), Some("Pod"));
    }

    #[test]
    fn problems_are_reported_with_their_path() {
        assert!(error("case: []").starts_with("case: unknown field `case`, expected one of"), "{}", error("case: []"));
        assert_eq!(
            error("{settingsPath: [1], cases: [a]}"),
            "settingsPath: expected a path or a list of paths, found a number"
        );
        assert_eq!(error("cases: []"), "cases: expected at least one case");
        assert_eq!(error("[]"), "expected an object, found a list");
        assert_eq!(error("{settings: {}, settingsPath: a, cases: [a]}"), "give `settingsPath` or `settings`, not both");
        assert_eq!(error("cases: [a]"), "cases[0]: expected an object, found a string");
        let case = |fields: &str| error(&format!("cases: [{{{fields}}}]"));
        assert!(
            case("manifest: a, expect: {verdct: denied}")
                .starts_with("cases[0]: expect.verdct: unknown field `verdct`")
        );
        assert!(
            case("manifest: a, expect: {verdict: refused}")
                .starts_with("cases[0]: expect.verdict: unknown variant `refused`")
        );
        assert_eq!(case("manifest: a, expect: []"), "cases[0]: expect: expected at least one entry");
        assert_eq!(case("manifest: a, expect: [{kind: Pod}]"), "cases[0]: expect[0]: `verdict` or `codes` is required");
        assert_eq!(
            case("manifest: 1, expect: {verdict: denied}"),
            "cases[0]: manifest: expected a path, an object or a list of objects, found a number"
        );
        assert_eq!(case("manifest: a"), "cases[0]: missing field `expect`");
        assert_eq!(
            case("manifest: a, at: noon, expect: {verdict: denied}"),
            "cases[0]: at: invalid time `noon`: expected a day such as 2027-01-04, or a time such as 2027-01-04T08:00:00Z"
        );
        assert_eq!(
            case("manifest: a, expect: {codes: [stale-imag]}"),
            "codes: unknown code `stale-imag`; did you mean `stale-image`?"
        );
    }
}
