//! Builds the response in Kubewarden's format from the findings.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::enforcement::break_glass::{BREAK_GLASS, BreakGlassOutcome, Grant};
use crate::finding::{Effect, Finding, INVALID_REQUEST};
use crate::sanitized::Sanitized;
use crate::workload::identity::Identity;
use crate::workload::site::ImageSite;

/// The most characters of one warning. Kubernetes cuts off the rest.
const MAX_WARNING: usize = 256;
/// The most characters of all warnings together. Kubernetes drops the rest.
const MAX_WARNINGS: usize = 4096;
/// How many digits of an image's own digest a warning shows.
const SHOWN_DIGITS: usize = 12;
/// The most bytes of the message of a denial, as the API server writes it into its audit log and into events.
const MAX_MESSAGE: usize = 8 * 1024;
/// The most bytes of one audit annotation, as the API server writes it into its audit log. Log backends accept events of at most
/// 100 KiB, and each policy has three annotations that may be long.
const MAX_ANNOTATION: usize = 8 * 1024;

/// The bytes that are reserved at the end of a list for the number of omitted items.
const OMISSION: usize = 64;

/// The usual bytes of a response without its object.
const USUAL_RESPONSE: usize = 1024;

/// Whether a request is accepted, and why.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    findings: Vec<Finding>,
    images: Vec<JudgedImage>,
    object: Option<String>,
    identity: Option<Identity>,
    grant: Option<Grant>,
}

/// The image at one site, for the audit annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedImage {
    /// The container or volume that names the image.
    pub site: String,
    /// The normalised name, or the image field as it is written if that is an invalid reference.
    pub image: String,
    /// Whether the settings exempt it.
    pub exempt: bool,
    /// Whether the UPDATE does not change it.
    pub unchanged: bool,
    /// The digest that was judged, if it is known.
    pub digest: Option<String>,
    /// The build date (RFC 3339), if it is known. For several images of an index it is the oldest one.
    pub built: Option<String>,
    /// The required platforms for which its index has no image.
    pub missing_platforms: Vec<String>,
}

impl JudgedImage {
    /// The image at a site, before anything else is known about it.
    #[must_use]
    pub fn at(site: &ImageSite<'_>) -> Self {
        let (site, image) = (site.to_string(), Sanitized(&site.image).to_string());
        Self { site, image, exempt: false, unchanged: false, digest: None, built: None, missing_platforms: Vec::new() }
    }
}

/// An image in the audit annotations, with all sites that have it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AuditedImage<'a> {
    image: &'a str,
    sites: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    exempt: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unchanged: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    built: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    missing_platforms: &'a [String],
    /// The number of sites that are not named.
    #[serde(skip_serializing_if = "Option::is_none")]
    more_sites: Option<usize>,
}

/// The most sites and the most missing platforms of an image, if not everything fits into the annotation. Otherwise the names of many
/// containers would keep the image out of the annotation.
const MAX_NAMED: usize = 8;

impl AuditedImage<'_> {
    fn shorten(&mut self) {
        self.more_sites = self.sites.len().checked_sub(MAX_NAMED).filter(|more| *more > 0);
        self.sites.truncate(MAX_NAMED);
        self.missing_platforms = self.missing_platforms.get(..MAX_NAMED).unwrap_or(self.missing_platforms);
    }
}

/// The distinct images, in the order of their first sites.
fn audited(images: &[JudgedImage]) -> Vec<AuditedImage<'_>> {
    let mut audited: Vec<AuditedImage<'_>> = Vec::new();
    // The same name may rarely have several entries, because the nodes that a pod selects decide which images are judged.
    let mut places: HashMap<&str, Vec<usize>> = HashMap::with_capacity(images.len());
    for JudgedImage { site, image, exempt, unchanged, digest, built, missing_platforms } in images {
        // A name with a digest already shows it.
        let digest = digest.as_deref().filter(|_| !image.contains('@'));
        let known = places.entry(image).or_default();
        let same = known.iter().copied().find(|place| {
            audited.get(*place).is_some_and(|known| {
                (known.exempt, known.unchanged, known.digest) == (*exempt, *unchanged, digest)
                    && known.built == built.as_deref()
                    && known.missing_platforms == missing_platforms
            })
        });
        match same.and_then(|place| audited.get_mut(place)) {
            Some(known) => known.sites.push(site),
            None => {
                known.push(audited.len());
                audited.push(AuditedImage {
                    image,
                    sites: vec![site],
                    exempt: *exempt,
                    unchanged: *unchanged,
                    digest,
                    built: built.as_deref(),
                    missing_platforms,
                    more_sites: None,
                });
            }
        }
    }
    audited
}

/// The `ValidationResponse` of Kubewarden's SDK.
#[derive(Debug, Serialize)]
struct Response<'a> {
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    audit_annotations: BTreeMap<&'a str, String>,
}

impl Verdict {
    /// The verdict for these findings, in the order in which the user reads them.
    #[must_use]
    pub fn of(findings: Vec<Finding>, images: Vec<JudgedImage>) -> Self {
        Self { findings, images, ..Self::default() }
    }

    /// The verdict with the JSON of the changed object, which is stored if the request is accepted.
    #[must_use]
    pub fn with_object(self, object: String) -> Self {
        Self { object: Some(object), ..self }
    }

    /// Adds the name and the owner of the object, which the API server's audit event does not have.
    #[must_use]
    pub fn about(self, identity: Option<Identity>) -> Self {
        Self { identity, ..self }
    }

    /// Applies break-glass to a denied verdict.
    #[must_use]
    pub fn with_break_glass(self, outcome: BreakGlassOutcome) -> Self {
        match outcome {
            BreakGlassOutcome::NotRequested => self,
            BreakGlassOutcome::Granted(grant) => self.granted(grant),
            BreakGlassOutcome::Refused(reason) => self.preceded_by(Finding::about_request(BREAK_GLASS, reason)),
        }
    }

    fn granted(mut self, grant: Grant) -> Self {
        let text = format!("break-glass used by {}: {}", Sanitized(&grant.user), Sanitized(&grant.reason));
        let downgraded = |finding: Finding| {
            if finding.effect == Effect::Deny { finding.passing("breakGlass") } else { finding }
        };
        self.findings = self.findings.into_iter().map(downgraded).collect();
        Self { grant: Some(grant), ..self.preceded_by(Finding::warning(BREAK_GLASS, text)) }
    }

    /// The verdict with a finding before all others.
    #[must_use]
    pub fn preceded_by(mut self, finding: Finding) -> Self {
        self.findings.insert(0, finding);
        self
    }

    /// The verdict for a request with one finding about the request as a whole.
    #[must_use]
    pub fn refusing(finding: Finding) -> Self {
        Self::of(vec![finding], vec![])
    }

    /// Whether the request could be read. Break-glass does not accept what cannot be read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.findings.iter().all(|finding| finding.code != INVALID_REQUEST)
    }

    /// The findings.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether the request is accepted.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.denials().next().is_none()
    }

    /// The response in the JSON that Kubewarden reads.
    #[must_use]
    pub fn into_response(self) -> Vec<u8> {
        let accepted = self.is_accepted();
        let warnings = self.findings.iter().filter(|finding| finding.effect == Effect::Warn);
        let response = Response {
            accepted,
            message: (!accepted).then(|| self.message()),
            code: self.denials().find_map(|finding| finding.code.status()),
            warnings: within_limits(warnings),
            audit_annotations: self.audit_annotations(),
        };
        let object = self.object.as_deref().filter(|_| accepted);
        let mut bytes = Vec::with_capacity(USUAL_RESPONSE + object.map_or(0, str::len));
        // Strings and maps of strings can always be serialized. If that ever fails, the request is denied.
        if serde_json::to_writer(&mut bytes, &response).is_err() {
            return br#"{"accepted":false}"#.to_vec();
        }
        if let Some(object) = object {
            // The object may be large and is JSON already, so it is appended instead of serialized.
            bytes.pop();
            bytes.extend_from_slice(br#","mutated_object":"#);
            bytes.extend_from_slice(object.as_bytes());
            bytes.push(b'}');
        }
        bytes
    }

    /// The findings that deny the request. The first one decides the HTTP status.
    fn denials(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.effect == Effect::Deny)
    }

    fn message(&self) -> String {
        let mut lines = Vec::new();
        let mut length = 0;
        let denials: Vec<_> = self.denials().collect();
        for (index, finding) in denials.iter().enumerate() {
            let line = finding.to_string();
            length += logged_bytes(&line) + logged_bytes("\n");
            if length > MAX_MESSAGE && index > 0 {
                lines.push(more_findings(denials.len() - index));
                break;
            }
            lines.push(line);
        }
        lines.join("\n")
    }

    fn audit_annotations(&self) -> BTreeMap<&'static str, String> {
        let verdict = match (self.is_accepted(), self.findings.is_empty()) {
            (false, _) => "denied",
            (true, false) => "warned",
            (true, true) => "accepted",
        };
        let mut annotations = BTreeMap::from([("verdict", verdict.to_owned())]);
        if let Some(grant) = &self.grant {
            annotations.insert("breakGlass", serde_json::to_string(grant).unwrap_or_default());
        }
        if let Some(identity) = &self.identity {
            annotations.insert("object", serde_json::to_string(identity).unwrap_or_default());
        }
        if !self.findings.is_empty() {
            annotations.insert("findings", json_list(&self.findings, Finding::is_decisive));
        }
        if !self.images.is_empty() {
            let mut images = audited(&self.images);
            let whole = serde_json::to_string(&images).unwrap_or_default();
            if logged_bytes(&whole) <= MAX_ANNOTATION {
                annotations.insert("images", whole);
            } else {
                images.iter_mut().for_each(AuditedImage::shorten);
                annotations.insert("images", json_list(&images, |image| !image.exempt && !image.unchanged));
            }
        }
        annotations
    }
}

/// The bytes that a text takes in the API server's audit log. It is written as a JSON string by Go's encoding/json, which also
/// escapes the special characters of HTML.
fn logged_bytes(text: &str) -> usize {
    let bytes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        b'<' | b'>' | b'&' | 0..=0x1f => 6,
        // Go escapes the two line separators of Unicode: six bytes instead of three.
        0x80.. => 2,
        _ => 1,
    });
    bytes.sum()
}

/// The items as a JSON list. If they do not fit into an annotation, the items that matter come first, and an object with the number
/// of omitted items is at the end.
fn json_list<T: Serialize>(items: &[T], matters: impl Fn(&T) -> bool) -> String {
    let whole = serde_json::to_string(items).unwrap_or_default();
    if logged_bytes(&whole) <= MAX_ANNOTATION {
        return whole;
    }
    let (first, last): (Vec<&T>, Vec<&T>) = items.iter().partition(|item| matters(item));
    let mut list = String::from("[");
    let mut length = 0;
    let mut omitted = 0;
    for item in first.into_iter().chain(last) {
        let item = serde_json::to_string(item).unwrap_or_default();
        // Shorter items after a long one may still fit.
        let longer = length + logged_bytes(&item) + 1;
        if longer > MAX_ANNOTATION - OMISSION {
            omitted += 1;
            continue;
        }
        length = longer;
        if list.len() > 1 {
            list.push(',');
        }
        list += &item;
    }
    if list.len() > 1 {
        list.push(',');
    }
    list + &format!("{{\"omitted\":{omitted}}}]")
}

/// The findings as warnings within the limits of Kubernetes. A long warning is cut before its code, and the last warning gives the
/// number of omitted ones.
fn within_limits<'f>(findings: impl Iterator<Item = &'f Finding>) -> Vec<String> {
    let warnings: Vec<String> = findings.map(warning).collect();
    let mut kept = Vec::new();
    let mut length = 0;
    for (index, warning) in warnings.iter().enumerate() {
        let left = warnings.len() - index;
        // The last warning needs no room for the number of omitted ones.
        let reserve = if left > 1 { more_findings(left).chars().count() } else { 0 };
        length += warning.chars().count();
        if length + reserve > MAX_WARNINGS {
            kept.push(more_findings(left));
            break;
        }
        kept.push(warning.clone());
    }
    kept
}

/// The line for the findings that a message omits.
fn more_findings(count: usize) -> String {
    if count == 1 { "… and 1 more finding".to_owned() } else { format!("… and {count} more findings") }
}

fn warning(finding: &Finding) -> String {
    let code = format!(" [{}]", finding.code);
    // The digest of the image would take a quarter of a warning, and is in the audit annotations. The advice is not.
    let short = Finding { image: finding.image.as_deref().map(|image| shortened(image).into()), ..finding.clone() };
    // Warnings are sent in an HTTP header, which cannot contain line breaks.
    let statement = short.statement().replace('\n', " ");
    let room = MAX_WARNING - code.len();
    if statement.chars().count() <= room {
        return statement + &code;
    }
    statement.chars().take(room - 1).collect::<String>() + "…" + &code
}

/// An image with only the first digits of its digest.
fn shortened(image: &str) -> String {
    match image.split_once("@sha256:") {
        Some((name, digits)) if digits.len() > SHOWN_DIGITS => {
            format!("{name}@sha256:{}…", digits.get(..SHOWN_DIGITS).unwrap_or_default())
        }
        _ => image.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use kubewarden_policy_sdk::response::ValidationResponse;

    use super::{JudgedImage, MAX_ANNOTATION, MAX_MESSAGE, MAX_WARNING, MAX_WARNINGS, Verdict};
    use crate::finding::{Effect, Finding};

    fn finding(effect: Effect, text: &str) -> Finding {
        Finding {
            code: crate::rules::pinning::UNPINNED_IMAGE,
            effect,
            site: Some("container `app`".into()),
            image: Some("nginx:1".into()),
            passed: None,
            fix: None,
            text: text.to_owned(),
        }
    }

    /// The response as the policy server reads it.
    fn response(findings: Vec<Finding>) -> ValidationResponse {
        let images = vec![JudgedImage {
            site: "container `app`".to_owned(),
            image: "i".to_owned(),
            exempt: false,
            unchanged: false,
            digest: None,
            built: None,
            missing_platforms: Vec::new(),
        }];
        serde_json::from_slice(&Verdict::of(findings, images).into_response()).unwrap()
    }

    fn annotation(response: &ValidationResponse, key: &str) -> String {
        response.audit_annotations.as_ref().unwrap()[key].clone()
    }

    #[test]
    fn without_findings_the_request_is_accepted() {
        let response = response(vec![]);
        assert!(response.accepted);
        assert_eq!((response.message.as_ref(), response.warnings.as_ref()), (None, None));
        assert_eq!(annotation(&response, "verdict"), "accepted");
        assert_eq!(annotation(&response, "images"), r#"[{"image":"i","sites":["container `app`"]}]"#);
        assert!(!response.audit_annotations.unwrap().contains_key("findings"));
    }

    #[test]
    fn a_denial_has_the_status_of_its_first_finding() {
        let stale = Finding { code: crate::rules::schedule::STALE_IMAGE, ..finding(Effect::Deny, "is old") };
        let unpinned = |effect| finding(effect, "has no digest");
        assert_eq!(response(vec![unpinned(Effect::Deny), stale.clone()]).code, Some(461));
        assert_eq!(response(vec![unpinned(Effect::Warn), stale]).code, Some(462));
        assert_eq!(response(vec![unpinned(Effect::Warn)]).code, None);
    }

    #[test]
    fn a_request_with_only_warnings_is_accepted() {
        let response = response(vec![finding(Effect::Warn, "has no digest")]);
        assert!(response.accepted);
        assert_eq!(response.message, None);
        assert_eq!(
            response.warnings.as_deref(),
            Some(&["container `app`: image `nginx:1` has no digest [unpinned-image]".to_owned()][..])
        );
        assert_eq!(annotation(&response, "verdict"), "warned");
    }

    #[test]
    fn a_denial_lists_every_denying_finding_on_its_own_line() {
        let response =
            response(vec![finding(Effect::Deny, "a"), finding(Effect::Warn, "b"), finding(Effect::Deny, "c")]);
        assert!(!response.accepted);
        assert_eq!(
            response.message.as_deref(),
            Some(
                "container `app`: image `nginx:1` a [unpinned-image]\ncontainer `app`: image `nginx:1` c [unpinned-image]"
            )
        );
        assert_eq!(response.warnings.as_ref().map(Vec::len), Some(1));
        assert_eq!(annotation(&response, "verdict"), "denied");
        assert_eq!(
            annotation(&response, "findings")
                .matches(
                    r#"{"code":"unpinned-image","effect":"deny","site":"container `app`","image":"nginx:1","text":"#
                )
                .count(),
            2
        );
    }

    #[test]
    fn a_long_warning_is_cut_before_its_code() {
        let warnings = response(vec![finding(Effect::Warn, &"ü".repeat(300))]).warnings.unwrap();
        assert_eq!(warnings[0].chars().count(), MAX_WARNING);
        assert!(warnings[0].ends_with("ü… [unpinned-image]"), "{}", warnings[0]);
        let exact = MAX_WARNING - "container `app`: image `nginx:1`  [unpinned-image]".len();
        let warnings = response(vec![finding(Effect::Warn, &"x".repeat(exact))]).warnings.unwrap();
        assert!(warnings[0].ends_with("x [unpinned-image]"), "{}", warnings[0]);
    }

    #[test]
    fn a_warning_shortens_the_digest_and_keeps_the_advice() {
        let image = Some(format!("registry.example.com/team/app:1@sha256:{}", "0".repeat(64)).into());
        let warnings =
            response(vec![Finding { image, ..finding(Effect::Warn, "is old; rebuild it") }]).warnings.unwrap();
        assert_eq!(
            warnings,
            [
                "container `app`: image `registry.example.com/team/app:1@sha256:000000000000…` is old; rebuild it [unpinned-image]"
            ]
        );
    }

    #[test]
    fn many_warnings_stay_within_the_limits_of_kubernetes() {
        let total = |warnings: &[String]| warnings.iter().map(|warning| warning.chars().count()).sum::<usize>();
        let warnings = response(vec![finding(Effect::Warn, &"x".repeat(300)); 16]).warnings.unwrap();
        assert_eq!((warnings.len(), total(&warnings)), (16, MAX_WARNINGS), "as many as fit to the character");
        let warnings = response(vec![finding(Effect::Warn, &"x".repeat(300)); 17]).warnings.unwrap();
        assert_eq!(warnings.len(), 16);
        assert!(total(&warnings) <= MAX_WARNINGS);
        assert_eq!(warnings[15], "… and 2 more findings");
    }

    #[test]
    fn one_omitted_finding_is_counted_in_the_singular() {
        let long = finding(Effect::Deny, &"x".repeat(MAX_MESSAGE));
        let message = response(vec![long.clone(), long]).message.unwrap();
        assert_eq!(message.lines().last(), Some("… and 1 more finding"));
    }

    #[test]
    fn a_message_and_its_annotations_stay_short_with_very_many_findings() {
        let response = response(vec![finding(Effect::Deny, &"x".repeat(200)); 1000]);
        let message = response.message.as_deref().unwrap();
        assert!(message.len() < MAX_MESSAGE + 100, "{}", message.len());
        let shown = message.lines().count() - 1;
        assert_eq!(message.lines().last(), Some(&*format!("… and {} more findings", 1000 - shown)));
        let findings = annotation(&response, "findings");
        assert!(findings.len() < MAX_ANNOTATION + 100);
        let findings: Vec<serde_json::Value> = serde_json::from_str(&findings).unwrap();
        assert_eq!(findings.last().unwrap()["omitted"], 1000 - (findings.len() - 1));
    }

    #[test]
    fn a_long_list_keeps_the_findings_that_a_setting_let_pass() {
        let mut findings = vec![finding(Effect::Warn, &"x".repeat(200)); 1000];
        findings.push(finding(Effect::Deny, "is allowed").passing("breakGlass"));
        let list: Vec<serde_json::Value> = serde_json::from_str(&annotation(&response(findings), "findings")).unwrap();
        assert_eq!((&list[0]["passed"], &list[0]["text"]), (&"breakGlass".into(), &"is allowed".into()));
        assert!(list.last().unwrap()["omitted"].as_u64().is_some());
    }
}
