//! The settings in force, which can be read again while the plugin runs.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Result;
use serde_json::Value;

use crate::policy::Policy;
use crate::settings::KwctlSettingsOptions;

/// Where settings come from, and those in force.
pub(super) struct Settings {
    source: KwctlSettingsOptions,
    adapt: Adapt,
    current: RwLock<Arc<Value>>,
}

/// Changes settings for the plugin before the policy checks them, or says what is wrong with them.
type Adapt = fn(Value) -> Result<Value, Vec<String>>;

/// Why settings cannot be used: each problem with the path of its value, or why they cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unusable(pub(super) Vec<String>);

/// What the policy warns about in valid settings.
pub(super) type Warnings = Vec<String>;

impl Settings {
    /// Reads the settings for the first time.
    ///
    /// # Errors
    /// When they cannot be read, or are invalid.
    pub(super) fn load(
        source: KwctlSettingsOptions,
        adapt: Adapt,
        policy: &Policy,
    ) -> Result<(Self, Warnings), Unusable> {
        let (settings, warnings) = read(&source, adapt, policy)?;
        Ok((Self { source, adapt, current: RwLock::new(Arc::new(settings)) }, warnings))
    }

    /// Reads the settings again. If they cannot be used, the earlier ones stay in force.
    ///
    /// # Errors
    /// When they cannot be read, or are invalid.
    pub(super) fn reload(&self, policy: &Policy) -> Result<Warnings, Unusable> {
        let (settings, warnings) = read(&self.source, self.adapt, policy)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(warnings)
    }

    /// The settings in force. A decision gets them once, so that it uses the same ones from its beginning to its end.
    pub(super) fn current(&self) -> Arc<Value> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the settings come from.
    pub(super) fn source(&self) -> String {
        self.source.source()
    }
}

fn read(source: &KwctlSettingsOptions, adapt: Adapt, policy: &Policy) -> Result<(Value, Warnings), Unusable> {
    let unusable = |error: anyhow::Error| Unusable(vec![format!("{error:#}")]);
    let written = source.read_written().map_err(unusable)?;
    // What cannot be adapted is checked, too, so that all problems are reported at once.
    let (settings, mut problems) = match adapt(written.clone()) {
        Ok(settings) => (settings, Vec::new()),
        Err(problems) => (written, problems),
    };
    let report = policy.check_settings(&settings).map_err(unusable)?;
    // The heading of the problems says nothing more.
    let lines: Vec<String> = report.lines.into_iter().filter(|line| !line.ends_with(':')).collect();
    if report.valid && problems.is_empty() {
        return Ok((settings, lines));
    }
    if !report.valid {
        problems.extend(lines);
    }
    if problems.is_empty() {
        problems.push("the policy gives no reason".to_owned());
    }
    Err(Unusable(problems))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::thread;

    use serde_json::{Value, json};

    use super::{Settings, Unusable};
    use crate::policy::Policy;
    use crate::settings::KwctlSettingsOptions;

    fn unchanged(settings: Value) -> Result<Value, Vec<String>> {
        Ok(settings)
    }

    /// A file of settings.
    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.yaml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn settings_that_cannot_be_used_leave_the_earlier_ones_in_force() {
        let policy = Policy::embedded().unwrap();
        let (_folder, path) = file("schedule: {maxAge: 30d}");
        let (settings, warnings) =
            Settings::load(KwctlSettingsOptions::of_path(path.clone()), unchanged, &policy).unwrap();
        let first = json!({"schedule": {"maxAge": "30d"}});
        assert_eq!((&*settings.current(), &warnings[..]), (&first, &[][..]));
        assert_eq!(settings.source(), path.display().to_string());

        for (text, problem) in [
            ("schedule: {maxAge: soon, maxage: 1d}", "schedule.maxAge: "),
            ("schedule: {maxAge: 30d", "cannot parse settings file "),
            ("", "the settings file "),
            ("[]", "invalid settings in "),
        ] {
            std::fs::write(&path, text).unwrap();
            let Unusable(problems) = settings.reload(&policy).unwrap_err();
            assert!(problems[0].starts_with(problem), "{text}: {problems:?}");
            assert_eq!(*settings.current(), first, "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(settings.reload(&policy).unwrap_err().0[0].starts_with("cannot open settings file "));
        assert_eq!(*settings.current(), first);

        std::fs::write(&path, "schedule: {maxAge: 60d}").unwrap();
        settings.reload(&policy).unwrap();
        assert_eq!(*settings.current(), json!({"schedule": {"maxAge": "60d"}}));
    }

    #[test]
    fn every_problem_of_the_settings_is_reported() {
        let policy = Policy::embedded().unwrap();
        let (_folder, path) = file("schedule: {maxAge: soon, maxage: 1d}");
        let loaded = Settings::load(KwctlSettingsOptions::of_path(path), unchanged, &policy);
        let Unusable(problems) = loaded.err().unwrap();
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn problems_with_the_policy_and_with_the_engine_are_reported_together() {
        let policy = Policy::embedded().unwrap();
        let (_folder, path) = file("breakGlass: {rbac: true}\nexemt: []\n");
        let loaded = Settings::load(KwctlSettingsOptions::of_path(path), super::super::engine_settings::of, &policy);
        let Unusable(problems) = loaded.err().unwrap();
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn settings_are_adapted_each_time() {
        let policy = Policy::embedded().unwrap();
        let (_folder, path) = file("{}");
        let adapt = |mut settings: Value| {
            settings["pinning"] = json!({"action": "deny"});
            Ok(settings)
        };
        let (settings, _) = Settings::load(KwctlSettingsOptions::of_path(path), adapt, &policy).unwrap();
        settings.reload(&policy).unwrap();
        assert_eq!(*settings.current(), json!({"pinning": {"action": "deny"}}));
    }

    #[test]
    fn a_decision_keeps_its_settings_while_they_are_read_again() {
        let policy = Policy::embedded().unwrap();
        let (_folder, path) = file("schedule: {maxAge: 1d, warnBefore: 1h}");
        let (settings, _) = Settings::load(KwctlSettingsOptions::of_path(path.clone()), unchanged, &policy).unwrap();
        let held = settings.current();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let current = settings.current();
                        let schedule = &current["schedule"];
                        let pair = (schedule["maxAge"].as_str().unwrap(), schedule["warnBefore"].as_str().unwrap());
                        assert!([("1d", "1h"), ("2d", "2h")].contains(&pair), "{pair:?}");
                    }
                });
            }
            std::fs::write(&path, "schedule: {maxAge: 2d, warnBefore: 2h}").unwrap();
            settings.reload(&policy).unwrap();
        });
        assert_eq!(held["schedule"]["maxAge"], "1d");
        assert_eq!(settings.current()["schedule"]["maxAge"], "2d");
        assert_eq!(Arc::strong_count(&held), 1, "the earlier settings are freed when nothing uses them");
    }
}
