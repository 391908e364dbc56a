//! Whether a container's image is the one that was scanned, and by which digest it is known.

use anyhow::{Result, bail};
use container_patch_policy::image::Reference;

use super::scan::Scan;

/// An image by the parts that are compared.
#[derive(Debug)]
struct Name {
    /// Registry and repository, normalised.
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Name {
    /// Reads a reference; what is none, such as the path of an archive, names no image.
    fn parse(text: &str) -> Option<Self> {
        let reference = Reference::parse(text).ok()?;
        Some(Self {
            repository: format!("{}/{}", reference.normalized_registry(), reference.repository()),
            tag: reference.tag().or(reference.effective_tag()).map(str::to_owned),
            digest: reference.digest().map(|digest| digest.as_str().to_owned()),
        })
    }

    /// Whether a container's image goes by a name of the image that was scanned. A container that is pinned needs no
    /// tag.
    fn is_called(&self, scanned: &Self) -> bool {
        self.repository == scanned.repository
            && match (&self.tag, &scanned.tag) {
                (Some(own), Some(scanned)) => own == scanned,
                (None, _) => true,
                (Some(_), None) => self.digest.is_some(),
            }
    }
}

/// How a container's image relates to the one that was scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// It is the same.
    Same,
    /// It goes by the same name, and is pinned to another digest.
    Conflicting,
    /// It is another.
    Other,
}

/// The image that was scanned.
#[derive(Debug)]
pub(super) struct Scanned<'a> {
    scan: &'a Scan,
    names: Vec<Name>,
    /// The digest that the user says it has.
    given: Option<&'a str>,
}

impl<'a> Scanned<'a> {
    pub(super) fn new(scan: &'a Scan, given: Option<&'a str>) -> Self {
        Self { scan, names: scan.names.iter().filter_map(|name| Name::parse(name)).collect(), given }
    }

    /// Whether the report says which image it is about.
    pub(super) fn has_name(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether the report, or the user, says by which digest the image is known.
    pub(super) fn has_digest(&self) -> bool {
        self.digests().next().is_some() || self.scan.config.is_some()
    }

    /// Compares a container's image with what was scanned.
    pub(super) fn relation(&self, image: &str) -> Relation {
        let Some(own) = Name::parse(image) else { return Relation::Other };
        let called = self.names.iter().any(|name| own.is_called(name));
        match &own.digest {
            Some(digest) if self.digests().any(|known| known == digest) => Relation::Same,
            Some(_) if called && self.digests().next().is_some() => Relation::Conflicting,
            _ if called => Relation::Same,
            _ => Relation::Other,
        }
    }

    /// The digest to write for a container's image. Errors call the container by its label.
    pub(super) fn digest(&self, label: &str, image: &str) -> Result<String> {
        if let Some(given) = self.given {
            return Ok(given.to_owned());
        }
        let own = Name::parse(image);
        if let Some(pinned) = own.as_ref().and_then(|own| own.digest.as_ref()) {
            match self.relation(image) {
                Relation::Same => return Ok(pinned.clone()),
                _ if self.digests().next().is_some() => bail!(
                    "the {label} is pinned to {pinned}, and what was scanned, {self}, is {}; scan the \
                     image that is deployed, or say with --digest which digest was scanned",
                    self.digests().collect::<Vec<_>>().join(" or ")
                ),
                _ => {}
            }
        }
        let in_repositories = || self.names.iter().filter(|name| name.digest.is_some());
        let same_repository =
            in_repositories().find(|name| own.as_ref().is_some_and(|own| own.repository == name.repository));
        let digest = same_repository.or_else(|| in_repositories().next()).and_then(|name| name.digest.as_deref());
        match digest.or(self.scan.manifest.as_deref()).or(self.scan.config.as_deref()) {
            Some(digest) => Ok(digest.to_owned()),
            None if !self.has_name() => bail!(
                "the report names no image, and not which digest was scanned; give the digest of the image that was: \
                 --digest sha256:…"
            ),
            None => bail!(
                "the report on {self} does not say which digest was scanned, and the image `{image}` of the {label} \
                 is not pinned, or not known to be the one that was scanned; give it: --digest sha256:…"
            ),
        }
    }

    /// The digests that are known of what was scanned.
    fn digests(&self) -> impl Iterator<Item = &str> {
        let in_repositories = self.names.iter().filter_map(|name| name.digest.as_deref());
        in_repositories.chain(self.scan.manifest.as_deref()).chain(self.given)
    }
}

impl std::fmt::Display for Scanned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.scan.reference {
            Some(reference) => write!(f, "`{reference}`"),
            None => f.write_str("an image without a name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::Scan;
    use super::{Relation, Scanned};

    fn hex(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn scan(names: &[&str], manifest: Option<char>, config: Option<char>) -> Scan {
        Scan {
            scanner: "trivy".to_owned(),
            version: None,
            time: None,
            reference: names.first().map(|name| (*name).to_owned()),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            manifest: manifest.map(hex),
            config: config.map(hex),
            findings: vec![],
        }
    }

    #[test]
    fn an_image_is_known_by_any_of_its_names_however_they_are_spelled() {
        let scan = scan(&["nginx:1.27", "registry.example.com/web/nginx:stable", "nginx.tar"], None, None);
        let relation = |image: &str| Scanned::new(&scan, None).relation(image);
        for same in ["nginx:1.27", "docker.io/library/nginx:1.27", "REGISTRY.example.com:443/web/nginx:stable"] {
            assert_eq!(relation(same), Relation::Same, "{same}");
        }
        for other in ["nginx", "nginx:1.26", "registry.example.com/web/nginx:1.27", "not an image", ""] {
            assert_eq!(relation(other), Relation::Other, "{other}");
        }
        assert_eq!(relation(&format!("nginx@{}", hex('a'))), Relation::Same);
        assert_eq!(relation(&format!("nginx:1.27@{}", hex('a'))), Relation::Same);
    }

    #[test]
    fn a_digest_tells_more_than_a_name() {
        let repository_digest = format!("registry.example.com/web@{}", hex('a'));
        let scan = scan(&["registry.example.com/web:1", &repository_digest], Some('b'), Some('c'));
        let relation = |image: String| Scanned::new(&scan, None).relation(&image);
        assert_eq!(relation(format!("mirror.example.com/web:1@{}", hex('a'))), Relation::Same);
        assert_eq!(relation(format!("registry.example.com/web@{}", hex('b'))), Relation::Same);
        assert_eq!(relation(format!("registry.example.com/web:1@{}", hex('d'))), Relation::Conflicting);
        assert_eq!(relation(format!("registry.example.com/other@{}", hex('d'))), Relation::Other);
        assert_eq!(
            Scanned::new(&scan, Some(&hex('d'))).relation(&format!("registry.example.com/web:1@{}", hex('d'))),
            Relation::Same
        );
    }

    #[test]
    fn the_digest_is_the_one_in_the_repository_of_the_container() {
        let (one, two) = (format!("a.example.com/web@{}", hex('a')), format!("b.example.com/web@{}", hex('b')));
        let scan = scan(&["web:1", &one, &two], Some('c'), Some('d'));
        let scanned = Scanned::new(&scan, None);
        assert_eq!(scanned.digest("container `app`", "b.example.com/web:1").unwrap(), hex('b'));
        assert_eq!(scanned.digest("container `app`", "web:1").unwrap(), hex('a'));
        assert_eq!(scanned.digest("container `app`", &format!("web@{}", hex('c'))).unwrap(), hex('c'));
        assert_eq!(
            Scanned::new(&scan, Some(&hex('e'))).digest("container `app`", &format!("web@{}", hex('c'))).unwrap(),
            hex('e')
        );
    }

    #[test]
    fn without_a_digest_in_a_repository_the_next_best_is_taken() {
        let digest = |scan: Scan, image: &str| {
            Scanned::new(&scan, None).digest("container `app`", image).map_err(|e| e.to_string())
        };
        assert_eq!(digest(scan(&["web:1"], Some('b'), Some('c')), "web:1"), Ok(hex('b')));
        assert_eq!(digest(scan(&["web:1"], None, Some('c')), &format!("web:1@{}", hex('a'))), Ok(hex('a')));
        assert_eq!(digest(scan(&["web:1"], None, Some('c')), "web:1"), Ok(hex('c')));
        let error = digest(scan(&["web:1"], None, None), "web:1").unwrap_err();
        assert!(error.contains("give it: --digest sha256:…"), "{error}");
    }

    #[test]
    fn a_report_that_names_nothing_needs_a_digest() {
        let scan = scan(&[], None, None);
        let scanned = Scanned::new(&scan, None);
        assert!(!scanned.has_name() && !scanned.has_digest());
        let error = scanned.digest("container `app`", "web:1").unwrap_err().to_string();
        assert!(error.starts_with("the report names no image") && error.contains("--digest sha256:…"), "{error}");
        let given = hex('a');
        let scanned = Scanned::new(&scan, Some(&given));
        assert_eq!((scanned.has_digest(), scanned.digest("container `app`", "web:1").unwrap()), (true, given.clone()));
    }

    #[test]
    fn a_container_that_is_pinned_to_another_digest_is_an_error_that_names_both() {
        let scan = scan(&["web:1"], Some('b'), None);
        let error = Scanned::new(&scan, None)
            .digest("container `app`", &format!("web:1@{}", hex('a')))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&hex('a')) && error.contains(&hex('b')) && error.contains("--digest"), "{error}");
    }
}
