//! Rule `pinning`: every image has a digest. A tag says which image was meant when it was written; only a digest says
//! which one runs.

use serde_json::value::RawValue;

use super::Ruling;
use crate::finding::{Code, Effect};
use crate::image::{Reference, is_tag};
use crate::settings::read::{Path, Problems, Setting, read_string, read_word, section};

section! {
    /// The settings of the rule.
    pub struct Pinning {
        /// What becomes of an image without a digest.
        "action" action: Action = Action::Deny,
        /// Whether pod templates in workloads are judged too, or pods only.
        "templates" templates: bool = true,
        /// Tags that are refused even where `action` only warns, unless there is a digest.
        "forbiddenTags" forbidden_tags: Vec<Tag> = vec![Tag(String::from("latest"))],
    }
}

/// What becomes of an image without a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is refused.
    Deny,
    /// The requester is told.
    Warn,
    /// Nothing; the rule is off, forbidden tags included.
    Off,
}

impl Setting for Action {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        read_word(json, at, &[("deny", Self::Deny), ("warn", Self::Warn), ("off", Self::Off)], problems)
    }
}

/// A tag of the reference grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

impl Setting for Tag {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let tag = read_string(json, at, "a tag", problems)?;
        if !is_tag(&tag) {
            problems.push(
                at,
                format_args!(
                    "`{tag}` is no tag; a tag has at most 128 letters, digits, `_`, `.` and `-`, \
                     and starts with none of `.` `-`"
                ),
            );
            return None;
        }
        Some(Self(tag))
    }
}

impl Pinning {
    /// Whether a tag is forbidden where there is no digest.
    #[must_use]
    pub fn forbids(&self, tag: &str) -> bool {
        self.forbidden_tags.iter().any(|forbidden| forbidden.0 == tag)
    }

    /// Judges one image, which stands in a pod or in a pod template.
    #[must_use]
    pub fn judge(&self, image: &Reference<'_>, in_template: bool) -> Option<Ruling> {
        let effect = match self.action {
            Action::Deny => Effect::Deny,
            Action::Warn => Effect::Warn,
            Action::Off => return None,
        };
        if in_template && !self.templates {
            return None;
        }
        let tag = image.effective_tag()?;
        let advice = "pin it by digest: `name:tag@sha256:…`";
        if self.forbids(tag) {
            let fact = match image.tag() {
                Some(_) => format!("has the forbidden tag `{tag}`"),
                None => format!("has no tag, which means the forbidden tag `{tag}`,"),
            };
            return Some(Ruling {
                code: Code::ForbiddenTag,
                effect: Effect::Deny,
                text: format!("{fact} and no digest; name a version and {advice}"),
            });
        }
        Some(Ruling {
            code: Code::UnpinnedImage,
            effect,
            text: format!("has no digest, so what runs can change without notice; {advice}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Pinning, Tag};
    use crate::finding::{Code, Effect};
    use crate::image::Reference;

    const DIGEST: &str = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn judge(pinning: &Pinning, image: &str) -> Option<(Code, Effect)> {
        let ruling = pinning.judge(&Reference::parse(image).unwrap(), false)?;
        Some((ruling.code, ruling.effect))
    }

    fn with_action(action: Action) -> Pinning {
        Pinning { action, ..Pinning::default() }
    }

    #[test]
    fn an_image_with_a_digest_is_pinned_whatever_its_tag() {
        for image in ["nginx", "nginx:1.27", "nginx:latest", "registry.example.com:5000/app:dev"] {
            assert_eq!(judge(&Pinning::default(), &format!("{image}{DIGEST}")), None, "{image}");
        }
    }

    #[test]
    fn an_image_without_a_digest_gets_what_the_action_says() {
        assert_eq!(judge(&with_action(Action::Deny), "nginx:1.27"), Some((Code::UnpinnedImage, Effect::Deny)));
        assert_eq!(judge(&with_action(Action::Warn), "nginx:1.27"), Some((Code::UnpinnedImage, Effect::Warn)));
        assert_eq!(judge(&with_action(Action::Off), "nginx:1.27"), None);
    }

    #[test]
    fn a_forbidden_tag_is_denied_even_where_the_rule_only_warns() {
        for image in ["nginx:latest", "nginx"] {
            assert_eq!(judge(&with_action(Action::Warn), image), Some((Code::ForbiddenTag, Effect::Deny)), "{image}");
            assert_eq!(judge(&with_action(Action::Off), image), None, "{image}");
        }
        let pinning = Pinning { forbidden_tags: vec![Tag("dev".to_owned())], ..with_action(Action::Warn) };
        assert_eq!(judge(&pinning, "nginx:dev"), Some((Code::ForbiddenTag, Effect::Deny)));
        assert_eq!(
            judge(&pinning, "nginx"),
            Some((Code::UnpinnedImage, Effect::Warn)),
            "the list replaces the default"
        );
        assert_eq!(judge(&pinning, "nginx:DEV"), Some((Code::UnpinnedImage, Effect::Warn)), "tags know case");
    }

    #[test]
    fn pod_templates_are_left_alone_where_the_settings_say_so() {
        let image = Reference::parse("nginx:latest").unwrap();
        let pods_only = Pinning { templates: false, ..Pinning::default() };
        assert_eq!(pods_only.judge(&image, true), None);
        assert!(pods_only.judge(&image, false).is_some());
        assert!(Pinning::default().judge(&image, true).is_some());
    }
}
