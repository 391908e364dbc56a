//! The part of a verdict that is about one image of a manifest.

use chrono::{DateTime, Utc};
use container_patch_policy::evidence::UNKNOWN_REGISTRY;
use container_patch_policy::finding::INVALID_REQUEST;
use container_patch_policy::image::{Digest, Reference};
use container_patch_policy::rules::pinning::{FORBIDDEN_TAG, UNPINNED_IMAGE};
use container_patch_policy::rules::waiver::{EXCEPTED, EXPIRED_EXCEPTION};
use container_patch_policy::workload::INVALID_REFERENCE;

use crate::judge::changes::RecordTarget;
use crate::judge::location::is_at;
use crate::judge::verdict::{Effect, Finding, JudgedImage, JudgedObject};
use crate::manifest::nodes::ImagePosition;

/// The part of a verdict that is about the image at a position.
#[derive(Clone, Copy)]
pub(super) struct OfImage<'a> {
    judged: &'a JudgedObject,
    position: &'a ImagePosition,
}

impl<'a> OfImage<'a> {
    pub(super) fn new(judged: &'a JudgedObject, position: &'a ImagePosition) -> Self {
        Self { judged, position }
    }

    pub(super) fn findings(self) -> impl Iterator<Item = &'a Finding> {
        self.judged.findings.iter().filter(move |finding| {
            finding.site.as_deref().is_some_and(|site| is_at(self.position, site)) && self.is_about(finding)
        })
    }

    /// The findings that refuse the object.
    pub(super) fn denials(self) -> impl Iterator<Item = &'a Finding> {
        self.findings().filter(|finding| finding.effect == Effect::Deny)
    }

    /// The findings that another build of the image may not have.
    pub(super) fn about_build(self) -> impl Iterator<Item = &'a Finding> {
        let others = [
            UNPINNED_IMAGE,
            FORBIDDEN_TAG,
            UNKNOWN_REGISTRY,
            INVALID_REFERENCE,
            INVALID_REQUEST,
            EXCEPTED,
            EXPIRED_EXCEPTION,
        ];
        self.findings().filter(move |finding| others.iter().all(|code| code.as_str() != finding.code))
    }

    /// The digest that a refusal of the image names as its fix.
    pub(super) fn fix(self) -> Option<&'a str> {
        self.denials().filter_map(|finding| finding.fix.as_deref()).find(|digest| Digest::parse(digest).is_ok())
    }

    /// The finding that the image has no digest.
    pub(super) fn unpinned(self) -> Option<&'a Finding> {
        self.findings().find(|finding| finding.code == UNPINNED_IMAGE.as_str())
    }

    /// The digest that the policy looked up for the image, and that it reports, pins or records.
    pub(super) fn digest(self) -> Option<&'a str> {
        let reported = || self.image()?.digest.as_deref();
        let digest = self.pinned().or_else(|| self.recorded()).or_else(reported)?;
        Digest::parse(digest).is_ok().then_some(digest)
    }

    /// Whether the policy would write a digest for this image.
    pub(super) fn is_rewritten(self) -> bool {
        self.pinned().is_some() || self.recorded().is_some()
    }

    /// The digest that the policy would write into the image field.
    fn pinned(self) -> Option<&'a str> {
        let digest = |pinned: &'a String| pinned.strip_prefix(&self.position.image)?.strip_prefix('@');
        self.judged.pinned.iter().find_map(digest)
    }

    /// The digest that the policy would record for this image.
    pub(super) fn recorded(self) -> Option<&'a str> {
        let tagged = Reference::parse(&self.position.image).ok()?.tagged()?;
        let is_own = |target: &RecordTarget| match target {
            RecordTarget::Volume(name) => self.position.field.noun == "volume" && *name == self.position.name,
            RecordTarget::Container(name) => self.position.field.noun != "volume" && *name == self.position.name,
        };
        let mut records = self.judged.recorded.iter().filter(|record| is_own(&record.target));
        records.find_map(|record| record.image.strip_prefix(&tagged)?.strip_prefix('@'))
    }

    pub(super) fn is_exempt(self) -> bool {
        self.image().is_some_and(|image| image.exempt)
    }

    pub(super) fn built(self) -> Option<DateTime<Utc>> {
        let built = DateTime::parse_from_rfc3339(self.image()?.built.as_deref()?).ok()?;
        Some(built.to_utc())
    }

    fn image(self) -> Option<&'a JudgedImage> {
        let name = Reference::parse(&self.position.image).ok()?.normalized();
        let is_own = |image: &&JudgedImage| {
            image.more_sites.is_some() || image.sites.iter().any(|site| is_at(self.position, site))
        };
        self.judged.images.iter().filter(|image| image.image == name).find(is_own)
    }

    /// Whether a finding about this site is about its image field, or about its record.
    fn is_about(self, finding: &Finding) -> bool {
        let (Some(judged), written) = (finding.image.as_deref(), &self.position.image) else { return false };
        match judged.strip_prefix(written.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('@'),
            // The policy shortens a long reference, and escapes characters that no reference has.
            None => judged.strip_suffix('…').is_some_and(|start| written.starts_with(start)) || !written.is_ascii(),
        }
    }

    /// Whether the policy judged a digest that is not in the image field, but in a record.
    pub(super) fn is_judged_by_record(self) -> bool {
        let written = &self.position.image;
        let is_record = |judged: &str| judged.strip_prefix(written.as_str()).is_some_and(|rest| rest.starts_with('@'));
        self.findings().any(|finding| finding.image.as_deref().is_some_and(is_record))
    }
}

/// A finding in a sentence about its image.
pub(super) fn reason(finding: &Finding) -> String {
    format!("{} [{}]", finding.text, finding.code)
}

#[cfg(test)]
mod tests {
    use container_patch_policy::workload::site::IMAGE_FIELDS;
    use saphyr_parser::ScalarStyle;
    use serde_json::json;

    use super::OfImage;
    use crate::input::ManifestFile;
    use crate::judge::verdict::{JudgedObject, Verdict};
    use crate::manifest::nodes::ImagePosition;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn position(list: &str, name: &str, image: &str) -> ImagePosition {
        let field = IMAGE_FIELDS.iter().find(|field| field.list == list).unwrap();
        let (name, image) = (name.to_owned(), image.to_owned());
        ImagePosition {
            field,
            name,
            image,
            span: 0..1,
            style: ScalarStyle::Plain,
            has_anchor: false,
            has_variables: false,
        }
    }

    /// A denied object with a finding about this site and image.
    fn denied(site: &str, image: &str) -> JudgedObject {
        let source = ManifestFile::new("a".to_owned(), "kind: Pod".to_owned()).objects().remove(0).source;
        let finding = json!({"code": "stale-image", "effect": "deny", "site": site, "image": image, "text": "is old"});
        JudgedObject {
            findings: vec![serde_json::from_value(finding).unwrap()],
            ..JudgedObject::with_verdict(Verdict::Denied, None, source)
        }
    }

    #[test]
    fn a_finding_belongs_to_the_container_and_the_image_that_it_names() {
        let long = format!("r.test/{}", "a".repeat(220));
        for (site, image, list, name, written, belongs) in [
            ("container `app`", "a:1", "containers", "app", "a:1", true),
            ("container `app`", "a:1@sha256:0", "containers", "app", "a:1", true),
            ("container `app`", "a:10", "containers", "app", "a:1", false),
            ("container `app`", "b:1", "containers", "app", "a:1", false),
            ("container `app2`", "a:1", "containers", "app", "a:1", false),
            ("init container `app`", "a:1", "containers", "app", "a:1", false),
            ("init container `app`", "a:1", "initContainers", "app", "a:1", true),
            ("volume `app`", "a:1", "volumes", "app", "a:1", true),
            ("record of container `app`", "a:1", "containers", "app", "a:1", false),
            ("container without a name at /spec/containers/0/image", "a:1", "containers", "", "a:1", true),
            ("container `app`", &format!("{}…", &long[..200]), "containers", "app", &long, true),
            ("container `app`", "caf\\u{e9}", "containers", "app", "café", true),
        ] {
            let (judged, position) = (denied(site, image), position(list, name, written));
            assert_eq!(
                OfImage::new(&judged, &position).denials().count(),
                usize::from(belongs),
                "{site} {image} {written}"
            );
        }
    }

    #[test]
    fn a_digest_is_only_used_if_it_is_valid_and_of_this_image() {
        let position = position("containers", "app", "web:1");
        let digest = |change: fn(&mut JudgedObject, String), digest: &str| {
            let mut judged = denied("container `app`", "web:1");
            change(&mut judged, digest.to_owned());
            OfImage::new(&judged, &position).digest().map(str::to_owned)
        };
        let changes: [fn(&mut JudgedObject, String); 3] = [
            |judged, digest| judged.pinned.push(format!("web:1@{digest}")),
            |judged, digest| {
                let image = json!({"image": "docker.io/library/web:1", "sites": ["container `app`"], "digest": digest});
                judged.images.push(serde_json::from_value(image).unwrap());
            },
            |judged, digest| {
                let target = crate::judge::changes::RecordTarget::Container("app".to_owned());
                let image = format!("docker.io/library/web:1@{digest}");
                judged.recorded.push(crate::judge::changes::Record { target, image, template: String::new() });
            },
        ];
        for change in changes {
            assert_eq!(digest(change, DIGEST).as_deref(), Some(DIGEST));
            for invalid in ["", "sha256:0", &DIGEST.to_uppercase(), &format!("{DIGEST}\n- x"), &format!("{DIGEST} # a")]
            {
                assert_eq!(digest(change, invalid), None, "{invalid}");
            }
        }
        assert_eq!(digest(|judged, digest| judged.pinned.push(format!("web:10@{digest}")), DIGEST), None);
    }
}
