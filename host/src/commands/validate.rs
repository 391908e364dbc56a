//! `container-patch validate`: checks the settings of the policies.

mod position;
mod unread;

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use self::position::{Place, SettingsFiles};
use crate::policies::{DeployedPolicy, Policies};
use crate::policy::{PolicyOptions, SettingsReport};
use crate::settings::SettingsOptions;
use crate::stdout;
use crate::terminal::printable;

/// Check the settings of the policies, and report all problems
///
/// The exit code is 0 if the settings are valid, perhaps with warnings, and 2 otherwise.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(flatten)]
    policy: PolicyOptions,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// Lines for people
    #[default]
    Text,
    /// JSON object for programs
    Json,
}

/// What is found in the settings of a policy.
#[derive(Debug, Serialize)]
struct Checked {
    /// The name of the policy. `None` for settings that belong to no policy.
    policy: Option<String>,
    /// The file, or where the settings come from otherwise.
    source: String,
    valid: bool,
    problems: Vec<Remark>,
    warnings: Vec<Remark>,
}

/// A problem of the settings, or a warning about them.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Remark {
    /// The path of the value, such as `overrides[1].images`. `None` for a remark about something else.
    path: Option<String>,
    message: String,
    /// The place in the file, counted from 1. `None` if it is not known.
    line: Option<usize>,
    column: Option<usize>,
}

/// Checks the settings, and prints the problems and warnings.
///
/// # Errors
/// When no settings are given, or the module cannot be read.
pub fn exec(options: &Options) -> Result<ExitCode> {
    ensure!(
        options.settings.are_given(),
        "no settings are given; use --settings-path, --settings-json, or a configuration file with settings"
    );
    let checked = match options.settings.policies() {
        Ok(policies) => check(options, &policies)?,
        Err(error) => unread::checked(&options.settings, &error),
    };
    let valid = checked.iter().all(|checked| checked.valid);
    stdout::print(&match options.output {
        Output::Text => checked.iter().map(Checked::text).collect(),
        Output::Json => serde_json::to_string_pretty(&json!({"valid": valid, "policies": checked}))? + "\n",
    })?;
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn check(options: &Options, policies: &Policies) -> Result<Vec<Checked>> {
    let files = SettingsFiles::read(&options.settings)?;
    let module = options.policy.load()?;
    let checked = policies.settings().map(|(name, settings)| {
        let report = module.check_settings(settings)?;
        Ok(Checked::of(name, &files.find(name), &report))
    });
    let mut checked: Vec<Checked> = checked.collect::<Result<_>>()?;
    if let Policies::Deployed(policies) = policies {
        for (checked, policy) in checked.iter_mut().zip(policies).filter(|(checked, _)| checked.valid) {
            let place = files.find(Some(&policy.name));
            checked.warnings.extend(unread_records(policy).iter().map(|line| Remark::of(line, &place)));
        }
    }
    Ok(checked)
}

/// A warning for each section that needs the record of staging, if the policy may not read it.
fn unread_records(policy: &DeployedPolicy) -> Vec<String> {
    if policy.resources.include("v1", "ConfigMap") {
        return Vec::new();
    }
    let reads_record = |section: &Value| !section["rollout"]["soak"].is_null();
    let overrides = policy.settings["overrides"].as_array().into_iter().flatten().enumerate();
    let of_overrides = overrides.map(|(index, entry)| (format!("overrides[{index}]."), entry));
    let sections = std::iter::once((String::new(), &policy.settings)).chain(of_overrides);
    let advice = if policy.is_namespaced() {
        "an AdmissionPolicy cannot read the ConfigMaps; use a ClusterAdmissionPolicy"
    } else {
        "the policy cannot read the ConfigMaps; add `{apiVersion: v1, kind: ConfigMap}` to `spec.contextAwareResources`"
    };
    let warning = |(at, _): (String, _)| format!("{at}rollout.soak: {advice}");
    sections.filter(|(_, section)| reads_record(section)).map(warning).collect()
}

impl Checked {
    fn of(policy: Option<&str>, place: &Place<'_>, SettingsReport { valid, lines }: &SettingsReport) -> Self {
        // The policy begins its problems with a title.
        let remarks = lines.iter().filter(|line| !line.ends_with(':')).map(|line| Remark::of(line, place));
        let mut remarks: Vec<Remark> = remarks.collect();
        remarks.sort_by_key(|remark| (remark.line.is_none(), remark.line, remark.column));
        let (problems, warnings) = if *valid { (Vec::new(), remarks) } else { (remarks, Vec::new()) };
        let source = place.source().to_owned();
        Self { policy: policy.map(str::to_owned), source, valid: *valid, problems, warnings }
    }

    /// A line for each remark, and one for the verdict.
    fn text(&self) -> String {
        let Self { policy, source, valid, problems, warnings } = self;
        let source = printable(source);
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        for Remark { path, message, line, column } in problems.iter().chain(warnings) {
            text.push_str(&source);
            for number in line.iter().chain(column) {
                let _ = write!(text, ":{number}");
            }
            text.push_str(if *valid { ": warning: " } else { ": " });
            if let Some(path) = path {
                let _ = write!(text, "{}: ", printable(path));
            }
            let _ = writeln!(text, "{}", printable(message));
        }
        let name = policy.as_ref().map(|name| format!(" (policy {})", printable(name))).unwrap_or_default();
        let _ = write!(text, "{source}{name}: {}", if *valid { "valid" } else { "invalid" });
        let _ = match (problems.len(), warnings.len()) {
            (0, 0) => writeln!(text),
            (0, 1) => writeln!(text, ", with 1 warning"),
            (0, warnings) => writeln!(text, ", with {warnings} warnings"),
            (1, _) => writeln!(text, ", with 1 problem"),
            (problems, _) => writeln!(text, ", with {problems} problems"),
        };
        text
    }
}

impl Remark {
    /// Splits a line of the policy into the path of a value and the message, and looks for the path in the file.
    fn of(line: &str, place: &Place<'_>) -> Self {
        let split = line.split_once(": ").filter(|(path, _)| !path.contains(' '));
        let Some((path, message)) = split else {
            return Self { path: None, message: line.to_owned(), line: None, column: None };
        };
        let (line, column) = place.position(path).unzip();
        Self { path: Some(path.to_owned()), message: message.to_owned(), line, column }
    }
}

#[cfg(test)]
mod tests {
    use super::position::tests::files;
    use super::{Checked, Remark, SettingsReport};

    fn checked(valid: bool, lines: &[&str]) -> Checked {
        let files = files("schedule:\n  maxAge: 90\n", false);
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Checked::of(Some("pin"), &files.find(None), &SettingsReport { valid, lines })
    }

    #[test]
    fn a_line_is_split_into_path_and_message_with_its_position() {
        let found = checked(false, &["the settings are not valid:", "schedule.maxAge: expected a: b"]).problems;
        let (path, message) = (Some("schedule.maxAge".to_owned()), "expected a: b".to_owned());
        assert_eq!(found, [Remark { path, message, line: Some(2), column: Some(3) }]);
    }

    #[test]
    fn a_line_without_a_path_is_a_message() {
        let message = "… and 3 more: see above".to_owned();
        let found = checked(true, &[&message]).warnings;
        assert_eq!(found, [Remark { path: None, message, line: None, column: None }]);
    }

    #[test]
    fn the_text_has_a_line_for_each_remark_and_the_verdict() {
        assert_eq!(
            checked(false, &["schedule.maxAge: bad\u{1b}", "scan: bad"]).text(),
            "a.yaml:1:1: scan: bad\na.yaml:2:3: schedule.maxAge: bad\\u{1b}\na.yaml (policy pin): invalid, with 2 problems\n"
        );
        assert_eq!(
            checked(true, &["schedule: odd"]).text(),
            "a.yaml:1:1: warning: schedule: odd\na.yaml (policy pin): valid, with 1 warning\n"
        );
        assert_eq!(checked(true, &[]).text(), "a.yaml (policy pin): valid\n");
    }
}
