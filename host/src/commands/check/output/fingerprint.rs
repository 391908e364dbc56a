//! Identities of findings, by which services recognize a finding in the next run.

use std::collections::HashMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::judge::verdict::{Finding, JudgedObject};

/// The bytes of the hash that a fingerprint shows.
const BYTES: usize = 16;

/// Makes the fingerprints of one run, each different.
#[derive(Debug, Default)]
pub(super) struct Fingerprints {
    seen: HashMap<String, usize>,
}

impl Fingerprints {
    /// The fingerprint of a finding: its code, the file, the object and the container. It stays the same if lines move, or if
    /// the image gets another tag. Equal findings are numbered.
    pub(super) fn of(&mut self, file: &str, object: &JudgedObject, finding: &Finding) -> String {
        self.of_parts(&[&finding.code, file, &identity(object), finding.site.as_deref().unwrap_or_default()])
    }

    /// The fingerprint of an object that could not be judged.
    pub(super) fn of_failure(&mut self, file: &str, object: &JudgedObject) -> String {
        self.of_parts(&["", file, &identity(object)])
    }

    fn of_parts(&mut self, parts: &[&str]) -> String {
        // Names in Kubernetes and paths have no null character, so the parts cannot be confused.
        let text = parts.join("\0");
        let number = self.seen.entry(text.clone()).or_default();
        *number += 1;
        let hash = Sha256::digest(format!("{text}\0{number}"));
        hash.iter().take(BYTES).fold(String::new(), |mut hex, byte| {
            // Writing to a `String` cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// The group, kind, namespace and name of an object, without the version of the API.
fn identity(object: &JudgedObject) -> String {
    object.object.as_ref().map_or_else(String::new, |name| format!("{} {name}", name.group()))
}

#[cfg(test)]
mod tests {
    use super::Fingerprints;
    use crate::commands::check::output::tests::{denied, finding, object};
    use crate::judge::verdict::{Effect, Finding, JudgedObject, ObjectName};

    #[test]
    fn a_fingerprint_depends_on_code_file_object_and_container_alone() {
        let fingerprint = |file: &str, name: ObjectName, finding: &Finding| {
            let object = JudgedObject { object: Some(name), ..denied(vec![]) };
            Fingerprints::default().of(file, &object, finding)
        };
        let stale = finding("stale-image", Effect::Deny);
        let first = fingerprint("a.yaml", object("Pod"), &stale);
        assert_eq!(first.len(), 32);
        let later = Finding {
            image: Some("web:2".to_owned()),
            text: "is older".to_owned(),
            effect: Effect::Warn,
            ..stale.clone()
        };
        assert_eq!(fingerprint("a.yaml", object("Pod"), &later), first);
        let other = ObjectName { name: Some("api".to_owned()), ..object("Pod") };
        for different in [
            fingerprint("b.yaml", object("Pod"), &stale),
            fingerprint("a.yaml", object("Job"), &stale),
            fingerprint("a.yaml", other, &stale),
            fingerprint("a.yaml", object("Pod"), &finding("patch-due", Effect::Deny)),
            fingerprint("a.yaml", object("Pod"), &Finding { site: Some("volume `app`".to_owned()), ..stale.clone() }),
        ] {
            assert_ne!(different, first);
        }
    }

    #[test]
    fn equal_findings_have_different_fingerprints() {
        let (mut fingerprints, stale) = (Fingerprints::default(), finding("stale-image", Effect::Deny));
        let object = denied(vec![]);
        assert_ne!(fingerprints.of("a.yaml", &object, &stale), fingerprints.of("a.yaml", &object, &stale));
    }
}
