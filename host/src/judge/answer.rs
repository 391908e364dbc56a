//! The answers of policies about an object, as one.

use anyhow::{Context, Result};
use container_patch_policy::evidence::EVALUATE_AT_SET;
use container_patch_policy::evidence::registry::{NO_USABLE_ANSWER, UNVERIFIED};
use container_patch_policy::image::Reference;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::verdict::{Effect, Finding, JudgedImage, MONITOR};
use crate::admission::{AdmissionRequest, AdmissionResponse};
use crate::policies::DeployedPolicy;
use crate::policy::LogLine;

/// The answer of one policy, or of several.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) allowed: bool,
    /// Why it is denied: one line for each reason.
    pub(crate) messages: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) findings: Vec<Finding>,
    /// The number of findings for which the audit annotation has no room.
    pub(crate) omitted_findings: usize,
    pub(crate) images: Vec<JudgedImage>,
    /// The object as the policy changes it, if it does.
    pub(crate) object: Option<Value>,
}

impl Answer {
    /// Reads the response of the module.
    ///
    /// # Errors
    /// When its patch cannot be applied.
    pub(crate) fn of(request: &AdmissionRequest, response: AdmissionResponse) -> Result<Self> {
        let object = request.object.as_ref().map(|object| response.patched(object)).transpose();
        let object = object.context("cannot apply the policy's patch")?.flatten();
        let (findings, omitted_findings) = annotated_list(&response, "findings");
        let (images, _) = annotated_list(&response, "images");
        let message = response.status.and_then(|status| status.message).unwrap_or_default();
        Ok(Self {
            allowed: response.allowed,
            messages: message.lines().map(str::to_owned).collect(),
            warnings: response.warnings.unwrap_or_default(),
            findings,
            omitted_findings,
            images,
            object,
        })
    }

    /// Puts the cause of a failure into the findings whose text refers to the log of policy-server: here, the user who asks may know it.
    /// Returns whether there was such a finding.
    pub(crate) fn name_cause(&mut self, line: &LogLine) -> bool {
        let about = line.message.strip_prefix("image `").and_then(|rest| rest.split_once("` "));
        let Some((image, text)) = about.filter(|(_, text)| text.starts_with(UNVERIFIED)) else { return false };
        let mut is_named = false;
        for finding in &mut self.findings {
            let name = finding.image.as_deref().and_then(|image| Reference::parse(image).ok());
            let is_about_image = name.is_some_and(|name| name.registry_name() == image);
            if is_about_image && finding.text == format!("{UNVERIFIED}{NO_USABLE_ANSWER}") {
                let before = finding.to_string();
                finding.text = text.to_owned();
                let lines = self.messages.iter_mut().chain(&mut self.warnings).filter(|line| **line == before);
                lines.for_each(|line| *line = finding.to_string());
                is_named = true;
            }
        }
        is_named
    }

    /// The answer without the warning about a fixed time, for a time that the command line sets.
    pub(crate) fn without_fixed_time(mut self) -> Self {
        let code = format!(" [{EVALUATE_AT_SET}]");
        self.warnings.retain(|warning| !warning.ends_with(&code));
        self.findings.retain(|finding| finding.code != EVALUATE_AT_SET.to_string());
        self
    }

    /// The answer as policy-server gives it, for the mode of the policy and for whether it may change objects.
    pub(crate) fn of_server(mut self, policy: &DeployedPolicy) -> Self {
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
    pub(crate) fn combined(answers: Vec<(Self, &DeployedPolicy)>, names: bool) -> Self {
        let mut combined = Self { allowed: true, ..Self::default() };
        let (mut messages, mut warnings) = (Lines::default(), Lines::default());
        for (answer, policy) in answers {
            combined.allowed &= answer.allowed;
            combined.object = answer.object.or(combined.object);
            combined.omitted_findings += answer.omitted_findings;
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
                } else if finding.passed.is_none() {
                    known.passed = None;
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

/// A list in an audit annotation of the policy, and the number of items for which the annotation has no room.
fn annotated_list<T: DeserializeOwned>(response: &AdmissionResponse, key: &str) -> (Vec<T>, usize) {
    let list: Vec<Value> =
        response.annotation(key).and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
    let omitted = list.iter().filter_map(|item| item["omitted"].as_u64()).sum::<u64>();
    let items = list.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
    (items, usize::try_from(omitted).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Answer, DeployedPolicy, Effect, Finding, JudgedImage, LogLine, NO_USABLE_ANSWER, UNVERIFIED};
    use crate::policies::{Policies, PolicyFiles};

    fn policy(name: &str, spec: Value) -> DeployedPolicy {
        let policy = json!({"apiVersion": "policies.kubewarden.io/v1", "kind": "ClusterAdmissionPolicy", "metadata": {"name": name}, "spec": spec});
        let mut files = PolicyFiles::default();
        files.add("policy.yaml", &policy.to_string()).unwrap();
        let Policies::Deployed(mut policies) = files.finish().unwrap().0 else { panic!("settings alone") };
        policies.remove(0)
    }

    fn finding(effect: Effect, text: &str) -> Finding {
        Finding {
            code: "unpinned-image".to_owned(),
            effect,
            site: Some("container `app`".to_owned()),
            image: Some("a:1".to_owned()),
            passed: None,
            fix: None,
            text: text.to_owned(),
            policies: Vec::new(),
        }
    }

    /// An answer with one finding for each text.
    fn answer(effect: Effect, texts: &[&str]) -> Answer {
        let findings: Vec<_> = texts.iter().map(|text| finding(effect, text)).collect();
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        let (messages, warnings) = if effect == Effect::Deny { (lines, vec![]) } else { (vec![], lines) };
        Answer { allowed: effect == Effect::Warn, messages, warnings, findings, ..Answer::default() }
    }

    fn lines(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|finding| format!("{:?} {finding}", finding.effect)).collect()
    }

    #[test]
    fn a_policy_in_monitor_mode_denies_and_changes_nothing() {
        let monitor = policy("pin", json!({"mode": "monitor"}));
        let changing = Answer { object: Some(json!({})), ..answer(Effect::Deny, &["is old"]) };
        let answer = Answer::combined(vec![(changing.of_server(&monitor), &monitor)], false);
        assert!(answer.allowed && answer.object.is_none() && answer.messages.is_empty());
        assert_eq!(answer.warnings, ["pin (monitor): container `app`: image `a:1` is old [unpinned-image]"]);
        assert_eq!(
            lines(&answer.findings),
            ["Warn pin (monitor): container `app`: image `a:1` is old [unpinned-image]"]
        );
    }

    #[test]
    fn a_policy_that_may_not_change_objects_refuses_what_it_would_change() {
        let changing = Answer { object: Some(json!({})), ..answer(Effect::Warn, &[]) };
        let refused = changing.clone().of_server(&policy("pin", json!({"mutating": false})));
        assert!(!refused.allowed && refused.object.is_none());
        assert_eq!(
            refused.messages,
            ["the policy pin changes the object, but has `mutating: false`; a cluster refuses the object"]
        );
        assert_eq!(changing.clone().of_server(&policy("pin", json!({"mutating": true}))), changing);
    }

    #[test]
    fn what_two_policies_say_appears_once_with_both_names() {
        let (a, b) = (policy("a", json!({})), policy("b", json!({})));
        let both = Answer::combined(
            vec![(answer(Effect::Deny, &["x", "y"]), &a), (answer(Effect::Deny, &["y", "z"]), &b)],
            true,
        );
        let said = |names: &str, text: &str| format!("{names}: container `app`: image `a:1` {text} [unpinned-image]");
        assert_eq!(both.messages, [said("a", "x"), said("a, b", "y"), said("b", "z")]);
        assert_eq!(both.findings.iter().map(ToString::to_string).collect::<Vec<_>>(), both.messages);
    }

    #[test]
    fn a_denial_replaces_the_same_warning() {
        let (a, b) = (policy("a", json!({})), policy("b", json!({})));
        let both = Answer::combined(vec![(answer(Effect::Warn, &["x"]), &a), (answer(Effect::Deny, &["x"]), &b)], true);
        assert!(!both.allowed);
        assert_eq!(both.warnings, [""; 0]);
        assert_eq!(both.messages, ["b: container `app`: image `a:1` x [unpinned-image]"]);
        assert_eq!(lines(&both.findings), ["Deny a, b: container `app`: image `a:1` x [unpinned-image]"]);
    }

    #[test]
    fn one_policy_is_not_named() {
        let a = policy("a", json!({}));
        let alone = Answer::combined(vec![(answer(Effect::Deny, &["x"]), &a)], false);
        assert_eq!(alone.messages, ["container `app`: image `a:1` x [unpinned-image]"]);
        assert_eq!(alone.findings[0].policies, [""; 0]);
    }

    #[test]
    fn the_last_policy_that_judged_an_image_describes_it() {
        let image = |name: &str, sites: &[&str]| JudgedImage {
            image: name.to_owned(),
            sites: sites.iter().map(|site| (*site).to_owned()).collect(),
            exempt: false,
            digest: None,
            built: None,
            missing_platforms: Vec::new(),
            more_sites: None,
        };
        let of = |images: Vec<JudgedImage>| Answer { images, ..answer(Effect::Warn, &[]) };
        let (pin, enforce) = (policy("pin", json!({})), policy("enforce", json!({})));
        let images = Answer::combined(
            vec![
                (of(vec![image("a:1", &["x", "y"]), image("b:1", &["z"])]), &pin),
                (of(vec![image("a:1@d", &["x", "y"])]), &enforce),
            ],
            true,
        )
        .images;
        assert_eq!(images.iter().map(|image| image.image.as_str()).collect::<Vec<_>>(), ["b:1", "a:1@d"]);
    }

    #[test]
    fn the_cause_in_the_log_replaces_the_advice_to_read_it() {
        let mut unknown = answer(Effect::Deny, &[&format!("{UNVERIFIED}{NO_USABLE_ANSWER}")]);
        let line = |image: &str| LogLine {
            level: "Warning",
            message: format!("image `{image}` could not be verified: connection refused"),
        };
        assert!(!unknown.name_cause(&line("docker.io/library/b:1")), "another image");
        assert!(unknown.name_cause(&line("docker.io/library/a:1")));
        let expected = "container `app`: image `a:1` could not be verified: connection refused [unpinned-image]";
        assert_eq!((unknown.findings[0].to_string().as_str(), unknown.messages[0].as_str()), (expected, expected));
        assert!(!unknown.name_cause(&line("docker.io/library/a:1")), "it is named already");
    }

    #[test]
    fn the_warning_about_a_fixed_time_is_dropped() {
        let mut fixed = answer(Effect::Warn, &["x"]);
        fixed.warnings.insert(0, "this policy judges images as of now [evaluate-at-set]".to_owned());
        fixed.findings.insert(0, Finding { code: "evaluate-at-set".to_owned(), ..finding(Effect::Warn, "y") });
        assert_eq!(fixed.without_fixed_time(), answer(Effect::Warn, &["x"]));
    }
}
