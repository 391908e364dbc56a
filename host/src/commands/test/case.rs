//! Runs the cases of a test file.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::compare::{Difference, Found, compare};
use super::file::{Case, Manifest, Settings, TestFile};
use crate::capabilities::Capabilities;
use crate::input::{ManifestFile, ManifestObject};
use crate::judge::Judge;
use crate::policies::{Origin, Policies};
use crate::policy::Policy;
use crate::session::RecordedAnswers;
use crate::settings::SettingsOptions;

/// The outcome of a test file.
#[derive(Debug)]
pub(super) struct FileReport {
    /// The path of the file.
    pub(super) path: String,
    pub(super) name: Option<String>,
    /// The cases, or why none of them could run.
    pub(super) cases: Result<Vec<CaseReport>, String>,
}

/// The outcome of a case.
#[derive(Debug)]
pub(super) struct CaseReport {
    pub(super) label: String,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    AsExpected,
    Different(Vec<Difference>),
    /// The case could not run, for this reason.
    NotRun(String),
}

/// Runs a test file.
pub(super) fn run(path: &Path, policy: &Arc<Policy>, defaults: &SettingsOptions, has_known_codes: bool) -> FileReport {
    let display = path.display().to_string();
    match TestFile::read(path, has_known_codes) {
        Err(error) => FileReport { path: display, name: None, cases: Err(format!("{error:#}")) },
        Ok(file) => {
            let cases = run_all(&file, policy, defaults).map_err(|error| format!("{error:#}"));
            FileReport { path: display, name: file.name, cases }
        }
    }
}

fn run_all(file: &TestFile, policy: &Arc<Policy>, defaults: &SettingsOptions) -> Result<Vec<CaseReport>> {
    let answers = file.session.as_deref().map(RecordedAnswers::from_file).transpose()?.unwrap_or_default();
    let answers = Arc::new(answers);
    let capabilities: Arc<dyn Capabilities> = Arc::<RecordedAnswers>::clone(&answers);
    let run = |case: &Case| {
        let policies = match &file.settings {
            None => defaults.policies()?,
            Some(Settings::Files(paths)) => SettingsOptions::of_paths(paths.clone()).policies()?,
            Some(Settings::Inline(settings)) => Policies::Settings(Value::Object(settings.clone())),
        };
        let judge = Judge::with_answers(policy, policies, case.at, file.namespace.clone(), &capabilities);
        let judge = judge.context("invalid settings")?;
        answers.forget_unanswered();
        let outcome = match differences(case, &judge) {
            Err(error) => Outcome::NotRun(format!("{error:#}")),
            Ok(differences) if differences.is_empty() => Outcome::AsExpected,
            Ok(differences) if differences.iter().any(Difference::has_no_evidence) => match answers.unanswered() {
                None => Outcome::Different(differences),
                Some(problem) => Outcome::NotRun(format!(
                    "{problem}; record the session again with `container-patch check --record-host-capabilities-interactions FILE`"
                )),
            },
            Ok(differences) => Outcome::Different(differences),
        };
        Ok(CaseReport { label: case.label.clone(), outcome })
    };
    file.cases.iter().map(run).collect()
}

fn differences(case: &Case, judge: &Judge) -> Result<Vec<Difference>> {
    let objects = objects(&case.manifest)?;
    judge.learn_namespaces(&objects, Origin::Manifest);
    let found: Vec<Found> = objects.iter().map(|object| Found::of(&judge.judge(object))).collect();
    Ok(compare(&found, &case.expected))
}

fn objects(manifest: &Manifest) -> Result<Vec<ManifestObject>> {
    let (name, text) = match manifest {
        Manifest::File(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the manifest {name}"))?;
            (name, text)
        }
        Manifest::Inline(objects) => {
            let texts = objects.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
            ("the inline manifest".to_owned(), texts.join("\n"))
        }
    };
    let objects = ManifestFile::new(name.clone(), text).objects();
    ensure!(!objects.is_empty(), "no objects in {name}");
    Ok(objects)
}
