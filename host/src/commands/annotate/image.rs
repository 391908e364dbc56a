//! Whether a container uses the scanned image, and the digest of that image.

use anyhow::{Result, bail};
use container_patch_policy::image::Reference;

use super::report::ScanReport;

/// An image reference, in the parts to compare.
#[derive(Debug)]
struct ImageName {
    /// Registry and repository, normalised.
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageName {
    /// Reads a reference. Other text, such as the path of an archive, is ignored.
    fn parse(text: &str) -> Option<Self> {
        let reference = Reference::parse(text).ok()?;
        Some(Self {
            repository: format!("{}/{}", reference.normalized_registry(), reference.repository()),
            tag: reference.tag().or(reference.effective_tag()).map(str::to_owned),
            digest: reference.digest().map(|digest| digest.as_str().to_owned()),
        })
    }

    /// Whether a container's image has a name of the scanned image. A pinned image needs no tag.
    fn has_name_of(&self, scanned: &Self) -> bool {
        self.repository == scanned.repository
            && match (&self.tag, &scanned.tag) {
                (Some(own), Some(scanned)) => own == scanned,
                (None, _) => true,
                (Some(_), None) => self.digest.is_some(),
            }
    }
}

/// How a container's image compares with the scanned image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// They are the same image.
    Same,
    /// They have the same name, but the container's image is pinned to another digest.
    OtherDigest,
    /// They are different images.
    Other,
}

/// The scanned image.
#[derive(Debug)]
pub(super) struct ScannedImage<'a> {
    report: &'a ScanReport,
    names: Vec<ImageName>,
    /// The digest on the command line.
    given: Option<&'a str>,
}

impl<'a> ScannedImage<'a> {
    pub(super) fn new(report: &'a ScanReport, given: Option<&'a str>) -> Self {
        Self { report, names: report.names.iter().filter_map(|name| ImageName::parse(name)).collect(), given }
    }

    /// Whether the report names its image.
    pub(super) fn has_name(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether a digest of the image is known, from the report or the command line.
    pub(super) fn has_digest(&self) -> bool {
        self.digests().next().is_some() || self.report.config.is_some()
    }

    /// Compares a container's image with the scanned image.
    pub(super) fn compare(&self, image: &str) -> Match {
        let Some(own) = ImageName::parse(image) else { return Match::Other };
        let has_name = self.names.iter().any(|name| own.has_name_of(name));
        match &own.digest {
            Some(digest) if self.digests().any(|known| known == digest) => Match::Same,
            Some(_) if has_name && self.digests().next().is_some() => Match::OtherDigest,
            _ if has_name => Match::Same,
            _ => Match::Other,
        }
    }

    /// The digest to write for a container's image. `label` names the container in errors.
    pub(super) fn digest(&self, label: &str, image: &str) -> Result<String> {
        if let Some(given) = self.given {
            return Ok(given.to_owned());
        }
        let own = ImageName::parse(image);
        if let Some(pinned) = own.as_ref().and_then(|own| own.digest.as_ref()) {
            match self.compare(image) {
                Match::Same => return Ok(pinned.clone()),
                _ if self.digests().next().is_some() => bail!(
                    "the {label} is pinned to {pinned}, but the scanned image {self} is {}; scan the deployed image, or \
                     set the scanned digest with --digest",
                    self.digests().collect::<Vec<_>>().join(" or ")
                ),
                _ => {}
            }
        }
        let in_repositories = || self.names.iter().filter(|name| name.digest.is_some());
        let same_repository =
            in_repositories().find(|name| own.as_ref().is_some_and(|own| own.repository == name.repository));
        let digest = same_repository.or_else(|| in_repositories().next()).and_then(|name| name.digest.as_deref());
        match digest.or(self.report.manifest.as_deref()).or(self.report.config.as_deref()) {
            Some(digest) => Ok(digest.to_owned()),
            None if !self.has_name() => {
                bail!("the report has neither name nor digest of its image; set the scanned digest: --digest sha256:…")
            }
            None => bail!(
                "the report on {self} has no digest, and the image `{image}` of the {label} is not pinned, or has \
                 another name; set the scanned digest: --digest sha256:…"
            ),
        }
    }

    /// The known digests of the scanned image.
    fn digests(&self) -> impl Iterator<Item = &str> {
        let in_repositories = self.names.iter().filter_map(|name| name.digest.as_deref());
        in_repositories.chain(self.report.manifest.as_deref()).chain(self.given)
    }
}

impl std::fmt::Display for ScannedImage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.report.reference {
            Some(reference) => write!(f, "`{reference}`"),
            None => f.write_str("an image without a name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::ScanReport;
    use super::{Match, ScannedImage};

    fn hex(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn report(names: &[&str], manifest: Option<char>, config: Option<char>) -> ScanReport {
        ScanReport {
            scanner: "trivy".to_owned(),
            version: None,
            time: None,
            reference: names.first().map(|name| (*name).to_owned()),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            manifest: manifest.map(hex),
            config: config.map(hex),
            vulnerabilities: vec![],
        }
    }

    #[test]
    fn an_image_matches_any_of_its_names_in_any_spelling() {
        let report = report(&["nginx:1.27", "registry.example.com/web/nginx:stable", "nginx.tar"], None, None);
        let compare = |image: &str| ScannedImage::new(&report, None).compare(image);
        for same in ["nginx:1.27", "docker.io/library/nginx:1.27", "REGISTRY.example.com:443/web/nginx:stable"] {
            assert_eq!(compare(same), Match::Same, "{same}");
        }
        for other in ["nginx", "nginx:1.26", "registry.example.com/web/nginx:1.27", "not an image", ""] {
            assert_eq!(compare(other), Match::Other, "{other}");
        }
        assert_eq!(compare(&format!("nginx@{}", hex('a'))), Match::Same);
        assert_eq!(compare(&format!("nginx:1.27@{}", hex('a'))), Match::Same);
    }

    #[test]
    fn a_digest_counts_more_than_a_name() {
        let repository_digest = format!("registry.example.com/web@{}", hex('a'));
        let report = report(&["registry.example.com/web:1", &repository_digest], Some('b'), Some('c'));
        let compare = |image: String| ScannedImage::new(&report, None).compare(&image);
        assert_eq!(compare(format!("mirror.example.com/web:1@{}", hex('a'))), Match::Same);
        assert_eq!(compare(format!("registry.example.com/web@{}", hex('b'))), Match::Same);
        assert_eq!(compare(format!("registry.example.com/web:1@{}", hex('d'))), Match::OtherDigest);
        assert_eq!(compare(format!("registry.example.com/other@{}", hex('d'))), Match::Other);
        assert_eq!(
            ScannedImage::new(&report, Some(&hex('d'))).compare(&format!("registry.example.com/web:1@{}", hex('d'))),
            Match::Same
        );
    }

    #[test]
    fn the_digest_is_that_of_the_container_s_repository() {
        let (one, two) = (format!("a.example.com/web@{}", hex('a')), format!("b.example.com/web@{}", hex('b')));
        let report = report(&["web:1", &one, &two], Some('c'), Some('d'));
        let scanned = ScannedImage::new(&report, None);
        assert_eq!(scanned.digest("container `app`", "b.example.com/web:1").unwrap(), hex('b'));
        assert_eq!(scanned.digest("container `app`", "web:1").unwrap(), hex('a'));
        assert_eq!(scanned.digest("container `app`", &format!("web@{}", hex('c'))).unwrap(), hex('c'));
        assert_eq!(
            ScannedImage::new(&report, Some(&hex('e')))
                .digest("container `app`", &format!("web@{}", hex('c')))
                .unwrap(),
            hex('e')
        );
    }

    #[test]
    fn without_a_digest_in_a_repository_that_of_the_manifest_or_configuration_is_used() {
        let digest = |report: ScanReport, image: &str| {
            ScannedImage::new(&report, None).digest("container `app`", image).map_err(|e| e.to_string())
        };
        assert_eq!(digest(report(&["web:1"], Some('b'), Some('c')), "web:1"), Ok(hex('b')));
        assert_eq!(digest(report(&["web:1"], None, Some('c')), &format!("web:1@{}", hex('a'))), Ok(hex('a')));
        assert_eq!(digest(report(&["web:1"], None, Some('c')), "web:1"), Ok(hex('c')));
        let error = digest(report(&["web:1"], None, None), "web:1").unwrap_err();
        assert!(error.contains("set the scanned digest: --digest sha256:…"), "{error}");
    }

    #[test]
    fn a_report_without_a_name_needs_a_digest() {
        let report = report(&[], None, None);
        let scanned = ScannedImage::new(&report, None);
        assert!(!scanned.has_name() && !scanned.has_digest());
        let error = scanned.digest("container `app`", "web:1").unwrap_err().to_string();
        assert!(
            error.starts_with("the report has neither name nor digest") && error.contains("--digest sha256:…"),
            "{error}"
        );
        let given = hex('a');
        let scanned = ScannedImage::new(&report, Some(&given));
        assert_eq!((scanned.has_digest(), scanned.digest("container `app`", "web:1").unwrap()), (true, given.clone()));
    }

    #[test]
    fn a_container_pinned_to_another_digest_is_an_error_with_both_digests() {
        let report = report(&["web:1"], Some('b'), None);
        let error = ScannedImage::new(&report, None)
            .digest("container `app`", &format!("web:1@{}", hex('a')))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&hex('a')) && error.contains(&hex('b')) && error.contains("--digest"), "{error}");
    }
}
