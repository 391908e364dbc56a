//! The answers of policies about an object, as one.

use anyhow::{Context, Result};
use container_patch_policy::evidence::EVALUATE_AT_SET;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::verdict::{Effect, Finding, JudgedImage, MONITOR};
use crate::admission::{AdmissionRequest, AdmissionResponse};
use crate::policies::DeployedPolicy;

/// The answer of one policy, or of several.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// Why it is denied: one line for each reason.
    pub(super) messages: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) findings: Vec<Finding>,
    pub(super) images: Vec<JudgedImage>,
    /// The object as the policy changes it, if it does.
    pub(super) object: Option<Value>,
}

impl Answer {
    /// Reads the response of the module.
    ///
    /// # Errors
    /// When its patch cannot be applied.
    pub(super) fn of(request: &AdmissionRequest, response: AdmissionResponse) -> Result<Self> {
        let object = request.object.as_ref().map(|object| response.patched(object)).transpose();
        let object = object.context("cannot apply the policy's patch")?.flatten();
        let (findings, images) = (annotated_list(&response, "findings"), annotated_list(&response, "images"));
        let message = response.status.and_then(|status| status.message).unwrap_or_default();
        Ok(Self {
            allowed: response.allowed,
            messages: message.lines().map(str::to_owned).collect(),
            warnings: response.warnings.unwrap_or_default(),
            findings,
            images,
            object,
        })
    }

    /// The answer without the warning about a fixed time, for a time that the command line sets.
    pub(super) fn without_fixed_time(mut self) -> Self {
        let code = format!(" [{EVALUATE_AT_SET}]");
        self.warnings.retain(|warning| !warning.ends_with(&code));
        self.findings.retain(|finding| finding.code != EVALUATE_AT_SET.to_string());
        self
    }

    /// The answer as policy-server gives it, for the mode of the policy and for whether it may change objects.
    pub(super) fn of_server(mut self, policy: &DeployedPolicy) -> Self {
        if policy.monitor {
            for finding in self.findings.iter_mut().filter(|finding| finding.effect == Effect::Deny) {
                finding.effect = Effect::Warn;
                finding.passed = Some(MONITOR.to_owned());
            }
            let denials = std::mem::take(&mut self.messages);
            self.warnings.splice(0..0, denials);
            self.allowed = true;
            self.object = None;
        } else if !policy.mutating && self.object.take().is_some() {
            self.allowed = false;
            let name = &policy.name;
            self.messages = vec![format!(
                "the policy {name} changes the object, but has `mutating: false`; a cluster refuses the object"
            )];
        }
        self
    }

    /// The answers of several policies, in their order, as one. What several policies say appears once, with their names.
    pub(super) fn combined(answers: Vec<(Self, &DeployedPolicy)>, names: bool) -> Self {
        let mut combined = Self { allowed: true, ..Self::default() };
        let (mut messages, mut warnings) = (Lines::default(), Lines::default());
        for (answer, policy) in answers {
            combined.allowed &= answer.allowed;
            combined.object = answer.object.or(combined.object);
            let (name, label) = match (names, policy.monitor) {
                (_, true) => (Some(&policy.name), Some(format!("{} (monitor)", policy.name))),
                (true, false) => (Some(&policy.name), Some(policy.name.clone())),
                (false, false) => (None, None),
            };
            answer.messages.into_iter().for_each(|line| messages.add(line, label.as_deref()));
            answer.warnings.into_iter().for_each(|line| warnings.add(line, label.as_deref()));
            answer.findings.into_iter().for_each(|finding| combined.add_finding(finding, name));
            // A later policy judges what earlier ones changed, and knows more about the images that it judges.
            combined.images.retain(|image| !image.sites.iter().any(|site| names_site(&answer.images, site)));
            combined.images.extend(answer.images);
        }
        warnings.0.retain(|(line, _)| !messages.0.iter().any(|(denial, _)| denial == line));
        combined.messages = messages.named();
        combined.warnings = warnings.named();
        combined
    }

    fn add_finding(&mut self, finding: Finding, policy: Option<&String>) {
        let is_same = |other: &&mut Finding| {
            let key = |of: &Finding| (of.code.clone(), of.site.clone(), of.image.clone(), of.text.clone());
            key(other) == key(&finding)
        };
        match self.findings.iter_mut().find(is_same) {
            Some(known) => {
                known.policies.extend(policy.cloned());
                if known.effect < finding.effect {
                    (known.effect, known.passed) = (finding.effect, finding.passed);
                }
            }
            None => self.findings.push(Finding { policies: policy.cloned().into_iter().collect(), ..finding }),
        }
    }
}

/// Lines, each with the policies that say it.
#[derive(Default)]
struct Lines(Vec<(String, Vec<String>)>);

impl Lines {
    fn add(&mut self, line: String, policy: Option<&str>) {
        let policy = policy.map(str::to_owned);
        match self.0.iter_mut().find(|(known, _)| *known == line) {
            Some((_, policies)) => policies.extend(policy),
            None => self.0.push((line, policy.into_iter().collect())),
        }
    }

    fn named(self) -> Vec<String> {
        let named = |(line, policies): (String, Vec<String>)| match policies[..] {
            [] => line,
            _ => format!("{}: {line}", policies.join(", ")),
        };
        self.0.into_iter().map(named).collect()
    }
}

fn names_site(images: &[JudgedImage], site: &String) -> bool {
    images.iter().any(|image| image.sites.contains(site))
}

/// A list in an audit annotation of the policy. An object with the number of omitted items is left out.
fn annotated_list<T: DeserializeOwned>(response: &AdmissionResponse, key: &str) -> Vec<T> {
    let list: Vec<Value> =
        response.annotation(key).and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
    list.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect()
}
