//! From findings to the response. Only this module knows how Kubewarden wants to be answered.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::enforcement::break_glass::{BREAK_GLASS, BreakGlassOutcome, Grant};
use crate::finding::{Effect, Finding, INVALID_REQUEST};
use crate::sanitized::Sanitized;
use crate::workload::site::ImageSite;

/// The most characters of one warning that reach the user; Kubernetes cuts off the rest.
const MAX_WARNING: usize = 256;
/// The most characters of all warnings that reach the user.
const MAX_WARNINGS: usize = 4096;
/// How many digits of an image's own digest a warning shows.
const SHOWN_DIGITS: usize = 12;
/// The most bytes of a message of denial, as the API server writes them into its audit log, and into events.
const MAX_MESSAGE: usize = 8 * 1024;
/// The most bytes of one audit annotation, as the API server writes them into its audit log. Log backends take events of at most
/// 100 KiB, and each policy has three annotations that may be long.
const MAX_ANNOTATION: usize = 8 * 1024;

/// The bytes that the count of what was left out of a list takes.
const OMISSION: usize = 64;

/// The bytes that a response takes besides the object.
const USUAL_RESPONSE: usize = 1024;

/// What becomes of a request, and why.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    findings: Vec<Finding>,
    images: Vec<JudgedImage>,
    object: Option<String>,
    opened: Option<Grant>,
}

/// An image that was looked at, at one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedImage {
    /// The container or volume that names the image.
    pub site: String,
    /// The normalised name, or what was written where that is no image reference.
    pub image: String,
    /// Whether the settings exempt it.
    pub exempt: bool,
    /// Whether the UPDATE leaves it as it was.
    pub unchanged: bool,
    /// The digest that was judged, where it is known.
    pub digest: Option<String>,
    /// When the image was built, where it says so: RFC 3339. Of several images of an index, when the oldest was.
    pub built: Option<String>,
    /// The platforms that were asked for, and that its index has no image for.
    pub missing_platforms: Vec<String>,
}

impl JudgedImage {
    /// An image of which nothing is known yet but what was written.
    #[must_use]
    pub fn at(site: &ImageSite<'_>) -> Self {
        let (site, image) = (site.to_string(), Sanitized(&site.image).to_string());
        Self { site, image, exempt: false, unchanged: false, digest: None, built: None, missing_platforms: Vec::new() }
    }
}

/// An image as the audit annotations name it: once, with the sites that have it.
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
    /// How many more sites there are than are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    more_sites: Option<usize>,
}

/// The most sites, and the most missing platforms, that an image is named with where not all fit. Without a bound, long names of
/// many containers would keep the image out of its annotation.
const MOST_NAMED: usize = 8;

impl AuditedImage<'_> {
    fn shorten(&mut self) {
        self.more_sites = self.sites.len().checked_sub(MOST_NAMED).filter(|more| *more > 0);
        self.sites.truncate(MOST_NAMED);
        self.missing_platforms = self.missing_platforms.get(..MOST_NAMED).unwrap_or(self.missing_platforms);
    }
}

/// The images, in the order in which they come first.
fn audited(images: &[JudgedImage]) -> Vec<AuditedImage<'_>> {
    let mut audited: Vec<AuditedImage<'_>> = Vec::new();
    // What is said of one name may differ, by the nodes that a pod selects. That is rare.
    let mut places: HashMap<&str, Vec<usize>> = HashMap::with_capacity(images.len());
    for JudgedImage { site, image, exempt, unchanged, digest, built, missing_platforms } in images {
        // A name with a digest says it already.
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

/// What Kubewarden's SDK calls a `ValidationResponse`.
#[derive(Debug, Serialize)]
struct Response<'a> {
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    audit_annotations: BTreeMap<&'a str, String>,
}

impl Verdict {
    /// A verdict by what was found, in the order in which the user is to read it.
    #[must_use]
    pub fn of(findings: Vec<Finding>, images: Vec<JudgedImage>) -> Self {
        Self { findings, images, ..Self::default() }
    }

    /// The verdict, with the JSON of the object as it is to be stored if the request goes on.
    #[must_use]
    pub fn with_object(self, object: String) -> Self {
        Self { object: Some(object), ..self }
    }

    /// The denied verdict, with what break-glass does for the request.
    #[must_use]
    pub fn with_break_glass(self, outcome: BreakGlassOutcome) -> Self {
        match outcome {
            BreakGlassOutcome::NotRequested => self,
            BreakGlassOutcome::Granted(grant) => self.granted(grant),
            BreakGlassOutcome::Refused(reason) => self.preceded_by(Finding::about_request(BREAK_GLASS, reason)),
        }
    }

    fn granted(mut self, opened: Grant) -> Self {
        let text = format!("{} breaks the glass: {}", Sanitized(&opened.user), Sanitized(&opened.reason));
        let soften = |finding: Finding| {
            if finding.effect == Effect::Deny { finding.passing("breakGlass") } else { finding }
        };
        self.findings = self.findings.into_iter().map(soften).collect();
        Self { opened: Some(opened), ..self.preceded_by(Finding::warning(BREAK_GLASS, text)) }
    }

    /// The verdict, with a finding before all others.
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

    /// What was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether the request goes on.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        !self.findings.iter().any(|finding| finding.effect == Effect::Deny)
    }

    /// The response in the JSON that Kubewarden reads.
    #[must_use]
    pub fn into_response(self) -> Vec<u8> {
        let accepted = self.is_accepted();
        let warnings = self.findings.iter().filter(|finding| finding.effect == Effect::Warn);
        let response = Response {
            accepted,
            message: (!accepted).then(|| self.message()),
            warnings: within_limits(warnings),
            audit_annotations: self.audit_annotations(),
        };
        let object = self.object.as_deref().filter(|_| accepted);
        let mut bytes = Vec::with_capacity(USUAL_RESPONSE + object.map_or(0, str::len));
        // Strings and maps of strings can always be written; should that ever fail, nothing is let in.
        if serde_json::to_writer(&mut bytes, &response).is_err() {
            return br#"{"accepted":false}"#.to_vec();
        }
        if let Some(object) = object {
            // The object may be large, and is JSON already: it goes where the response would end.
            bytes.pop();
            bytes.extend_from_slice(br#","mutated_object":"#);
            bytes.extend_from_slice(object.as_bytes());
            bytes.push(b'}');
        }
        bytes
    }

    fn message(&self) -> String {
        let mut lines = Vec::new();
        let mut length = 0;
        let denials: Vec<_> = self.findings.iter().filter(|finding| finding.effect == Effect::Deny).collect();
        for (index, finding) in denials.iter().enumerate() {
            let line = finding.to_string();
            length += logged_bytes(&line) + logged_bytes("\n");
            if length > MAX_MESSAGE && index > 0 {
                lines.push(format!("… and {} more findings", denials.len() - index));
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
        if let Some(opened) = &self.opened {
            annotations.insert("breakGlass", serde_json::to_string(opened).unwrap_or_default());
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

/// How many bytes of the API server's audit log a text takes. It is written as a JSON string, by an encoder that also escapes
/// what HTML knows (Go's encoding/json).
fn logged_bytes(text: &str) -> usize {
    let bytes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        b'<' | b'>' | b'&' | 0..=0x1f => 6,
        // The two line separators of Unicode are escaped: six bytes in place of three.
        0x80.. => 2,
        _ => 1,
    });
    bytes.sum()
}

/// The items as a JSON list. Of more than an annotation holds, those that matter come first, and an object with how many were
/// left out stands at the end.
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
        // A long item does not keep the others out.
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

/// The findings as warnings that Kubernetes shows whole: each one cut before its code, and a last one that counts those
/// that are left out.
fn within_limits<'f>(findings: impl Iterator<Item = &'f Finding>) -> Vec<String> {
    let warnings: Vec<String> = findings.map(warning).collect();
    let more = |count: usize| format!("… and {count} more findings");
    let mut kept = Vec::new();
    let mut length = 0;
    for (index, warning) in warnings.iter().enumerate() {
        let left = warnings.len() - index;
        // The last one may use what the others had to leave for the count.
        let reserve = if left > 1 { more(left).chars().count() } else { 0 };
        length += warning.chars().count();
        if length + reserve > MAX_WARNINGS {
            kept.push(more(left));
            break;
        }
        kept.push(warning.clone());
    }
    kept
}

fn warning(finding: &Finding) -> String {
    let code = format!(" [{}]", finding.code);
    // The digest of the image takes a quarter of the room, and is in the audit annotations; what to do is not.
    let short = Finding { image: finding.image.as_deref().map(shortened), ..finding.clone() };
    // A line break cannot stand in the header that carries warnings.
    let statement = short.statement().replace('\n', " ");
    let room = MAX_WARNING - code.len();
    if statement.chars().count() <= room {
        return statement + &code;
    }
    statement.chars().take(room - 1).collect::<String>() + "…" + &code
}

/// An image with no more than the first digits of its digest.
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
            site: Some("container `app`".to_owned()),
            image: Some("nginx:1".to_owned()),
            passed: None,
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
    fn warnings_alone_let_the_request_go_on() {
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
    fn a_denial_names_every_finding_that_denies_one_a_line() {
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
    fn a_warning_shortens_the_digest_rather_than_the_advice() {
        let image = Some(format!("registry.example.com/team/app:1@sha256:{}", "0".repeat(64)));
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
    fn many_warnings_stay_within_what_kubernetes_shows() {
        let total = |warnings: &[String]| warnings.iter().map(|warning| warning.chars().count()).sum::<usize>();
        let warnings = response(vec![finding(Effect::Warn, &"x".repeat(300)); 16]).warnings.unwrap();
        assert_eq!((warnings.len(), total(&warnings)), (16, MAX_WARNINGS), "as many as fit to the character");
        let warnings = response(vec![finding(Effect::Warn, &"x".repeat(300)); 17]).warnings.unwrap();
        assert_eq!(warnings.len(), 16);
        assert!(total(&warnings) <= MAX_WARNINGS);
        assert_eq!(warnings[15], "… and 2 more findings");
    }

    #[test]
    fn a_message_and_its_annotations_stay_readable_with_very_many_findings() {
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
    fn what_let_a_request_in_is_not_what_a_long_list_leaves_out() {
        let mut findings = vec![finding(Effect::Warn, &"x".repeat(200)); 1000];
        findings.push(finding(Effect::Deny, "is what was let in").passing("breakGlass"));
        let list: Vec<serde_json::Value> = serde_json::from_str(&annotation(&response(findings), "findings")).unwrap();
        assert_eq!((&list[0]["passed"], &list[0]["text"]), (&"breakGlass".into(), &"is what was let in".into()));
        assert!(list.last().unwrap()["omitted"].as_u64().is_some());
    }
}
