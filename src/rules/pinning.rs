//! Rule `pinning`: every image has a digest. A tag says which image was meant when it was written; only a digest says
//! which one runs.

use serde_json::Value;
use serde_json::value::RawValue;

use super::Ruling;
use crate::finding::{Code, Effect};
use crate::image::{Reference, is_tag};
use crate::settings::read::{Path, Problems, Setting, Words, read_string, section};
use crate::settings::shape::Shape;
use crate::workload::Placement;

section! {
    /// Every image has a digest.
    pub struct Pinning {
        /// What becomes of an image without a digest. `pin` writes the digest that the tag points at behind it,
        /// `name:tag@sha256:…`; the policy then needs `mutating: true`. `deny` and `warn` name the digest to use, where
        /// the registry answers.
        "action" action: Action = Action::Pin,
        /// How images without a digest in the pod templates of workloads are treated; the default is `record` with `action: pin`,
        /// otherwise `true`. `record` leaves the image fields as they are: `pin` writes the digests into annotations of the template, see
        /// [records](records.md), and `deny` and `warn` accept such a record as the digest. `true` requires a digest in the image
        /// field: `pin` writes it there, and a GitOps tool then reverts it again and again. `false` leaves templates alone.
        "templates" templates: Option<Templates> = None,
        /// Tags that are refused even where `action` is `warn`, unless there is a digest. Pod templates are always checked
        /// for them. An image with neither tag nor digest counts as `latest`.
        "forbiddenTags" forbidden_tags: Vec<Tag> = vec![Tag(String::from("latest"))],
    }
}

/// What becomes of an image without a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It gets the digest that its tag points at.
    Pin,
    /// It is refused.
    Deny,
    /// The requester is told.
    Warn,
    /// Nothing; the rule is off, forbidden tags included.
    Off,
}

impl Words for Action {
    const WORDS: &'static [(&'static str, Self)] =
        &[("pin", Self::Pin), ("deny", Self::Deny), ("warn", Self::Warn), ("off", Self::Off)];
}

/// What is done about images without a digest in pod templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Templates {
    /// Their digests are recorded in annotations of the template.
    Record,
    /// They are judged like images of pods.
    Judge,
    /// Nothing.
    Ignore,
}

impl Words for Templates {
    const WORDS: &'static [(&'static str, Self)] =
        &[("record", Self::Record), ("true", Self::Judge), ("false", Self::Ignore)];
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

    fn shape() -> Shape {
        Shape::text("tag", "tags", "^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    }

    fn written(&self) -> Value {
        self.0.as_str().into()
    }
}

impl Pinning {
    /// Whether a tag is forbidden where there is no digest.
    #[must_use]
    pub fn forbids(&self, tag: &str) -> bool {
        self.forbidden_tags.iter().any(|forbidden| forbidden.0 == tag)
    }

    /// What is done about images without a digest in pod templates.
    #[must_use]
    pub fn templates(&self) -> Templates {
        self.templates.unwrap_or(if self.action == Action::Pin { Templates::Record } else { Templates::Judge })
    }

    /// What is to be done about one image.
    #[must_use]
    pub fn decide(&self, image: &Reference<'_>, placement: Placement) -> Decision {
        let unpinned = match self.action {
            Action::Pin => Decision::Pin,
            Action::Deny => Decision::Report(Effect::Deny),
            Action::Warn => Decision::Report(Effect::Warn),
            Action::Off => return Decision::LeaveAlone,
        };
        let unpinned = match (placement, self.templates()) {
            (Placement::Pod, _) => unpinned,
            // A controller compares a revision with the template that it was created from, so nothing is written into it.
            (Placement::Revision, _) if self.action == Action::Pin => Decision::LeaveAlone,
            (Placement::Template, Templates::Record) if self.action == Action::Pin => Decision::Record,
            (_, Templates::Judge) => unpinned,
            (_, Templates::Record | Templates::Ignore) => Decision::LeaveAlone,
        };
        let Some(tag) = image.effective_tag() else { return Decision::LeaveAlone };
        if self.forbids(tag) {
            let fact = match image.tag() {
                Some(_) => format!("has the forbidden tag `{tag}`"),
                None => format!("has no tag, which means the forbidden tag `{tag}`,"),
            };
            let text = format!("{fact} and no digest; name a version, best with its digest: `name:tag@sha256:…`");
            let ruling = Ruling { code: Code::ForbiddenTag, effect: Effect::Deny, text };
            return Decision::Refuse { ruling, otherwise: Box::new(unpinned) };
        }
        unpinned
    }
}

/// What is to be done about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it has a digest, or the rule does not look at it.
    LeaveAlone,
    /// It is to get the digest that its tag points at.
    Pin,
    /// Its pod template is to get a record of that digest.
    Record,
    /// It is reported as unpinned, best with the digest to use.
    Report(Effect),
    /// It is refused, whatever its digest would be.
    Refuse {
        /// Why.
        ruling: Ruling,
        /// What would be done if its tag were allowed.
        otherwise: Box<Decision>,
    },
}

/// The report of an image without a digest. `digest` is the one that its tag points at, where a registry said so.
#[must_use]
pub fn unpinned(image: &Reference<'_>, digest: Option<&str>, effect: Effect) -> Ruling {
    let text = match digest {
        Some(digest) => format!("has no digest; write `{}`", pinned(image, digest)),
        None => {
            "has no digest, so what runs can change without notice; pin it by digest: `name:tag@sha256:…`".to_owned()
        }
    };
    Ruling { code: Code::UnpinnedImage, effect, text }
}

/// The report of an image of a pod that has a record, and not its digest.
#[must_use]
pub fn not_pinned(record: &str, effect: Effect) -> Ruling {
    let text = format!("has no digest, but its workload records `{record}`; the pinning policy has to pin this pod");
    Ruling { code: Code::UnpinnedImage, effect, text }
}

/// The warning that the digest of a record could not be looked up again.
#[must_use]
pub fn not_renewed(cause: &str) -> Ruling {
    let text =
        format!("keeps its record, since its tag cannot be looked up now; renew it when the registry answers: {cause}");
    Ruling { code: Code::EvidenceUnavailable, effect: Effect::Warn, text }
}

/// The reference with a digest: `name[:tag]@digest`.
#[must_use]
pub fn pinned(image: &Reference<'_>, digest: &str) -> String {
    format!("{image}@{digest}")
}

#[cfg(test)]
mod tests {
    use super::{Action, Decision, Pinning, Tag, Templates, pinned, unpinned};
    use crate::finding::{Code, Effect};
    use crate::image::Reference;
    use crate::workload::Placement;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn decide(pinning: &Pinning, image: &str) -> Decision {
        pinning.decide(&Reference::parse(image).unwrap(), Placement::Pod)
    }

    fn is_refused(pinning: &Pinning, image: &str) -> bool {
        matches!(decide(pinning, image), Decision::Refuse { ruling, .. } if ruling.code == Code::ForbiddenTag && ruling.effect == Effect::Deny)
    }

    fn with_action(action: Action) -> Pinning {
        Pinning { action, ..Pinning::default() }
    }

    #[test]
    fn an_image_with_a_digest_is_left_alone_whatever_its_tag() {
        for image in ["nginx", "nginx:1.27", "nginx:latest", "registry.example.com:5000/app:dev"] {
            assert_eq!(decide(&Pinning::default(), &format!("{image}@{DIGEST}")), Decision::LeaveAlone, "{image}");
        }
    }

    #[test]
    fn an_image_without_a_digest_gets_what_the_action_says() {
        assert_eq!(decide(&Pinning::default(), "nginx:1.27"), Decision::Pin);
        assert_eq!(decide(&with_action(Action::Deny), "nginx:1.27"), Decision::Report(Effect::Deny));
        assert_eq!(decide(&with_action(Action::Warn), "nginx:1.27"), Decision::Report(Effect::Warn));
        assert_eq!(decide(&with_action(Action::Off), "nginx:1.27"), Decision::LeaveAlone);
    }

    #[test]
    fn a_forbidden_tag_is_refused_even_where_the_rule_only_pins_or_warns() {
        for image in ["nginx:latest", "nginx"] {
            for action in [Action::Pin, Action::Deny, Action::Warn] {
                assert!(is_refused(&with_action(action), image), "{image}");
            }
            assert_eq!(decide(&with_action(Action::Off), image), Decision::LeaveAlone, "{image}");
        }
        let pinning = Pinning { forbidden_tags: vec![Tag("dev".to_owned())], ..with_action(Action::Warn) };
        assert!(is_refused(&pinning, "nginx:dev"));
        assert_eq!(decide(&pinning, "nginx"), Decision::Report(Effect::Warn), "the list replaces the default");
        assert_eq!(decide(&pinning, "nginx:DEV"), Decision::Report(Effect::Warn), "tags know case");
    }

    #[test]
    fn images_of_pod_templates_are_recorded_where_the_rule_pins_and_else_judged() {
        let image = Reference::parse("nginx:1").unwrap();
        let in_template =
            |action, templates| Pinning { templates, ..with_action(action) }.decide(&image, Placement::Template);
        assert_eq!(in_template(Action::Pin, None), Decision::Record);
        assert_eq!(in_template(Action::Pin, Some(Templates::Record)), Decision::Record);
        assert_eq!(in_template(Action::Pin, Some(Templates::Judge)), Decision::Pin);
        assert_eq!(in_template(Action::Pin, Some(Templates::Ignore)), Decision::LeaveAlone);
        assert_eq!(in_template(Action::Deny, None), Decision::Report(Effect::Deny));
        assert_eq!(in_template(Action::Deny, Some(Templates::Record)), Decision::LeaveAlone);
        assert_eq!(in_template(Action::Deny, Some(Templates::Ignore)), Decision::LeaveAlone);
        assert_eq!(in_template(Action::Warn, None), Decision::Report(Effect::Warn));
    }

    #[test]
    fn a_report_names_the_reference_to_write_where_the_digest_is_known() {
        let image = Reference::parse("localhost:5000/app:1").unwrap();
        assert_eq!(pinned(&image, DIGEST), format!("localhost:5000/app:1@{DIGEST}"));
        let report = unpinned(&image, Some(DIGEST), Effect::Warn);
        assert!(report.text.ends_with(&format!("; write `localhost:5000/app:1@{DIGEST}`")), "{}", report.text);
        assert!(unpinned(&image, None, Effect::Warn).text.ends_with("pin it by digest: `name:tag@sha256:…`"));
    }
}
