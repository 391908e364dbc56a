//! Reads scan results from annotations of pods and images, and from labels of images.
//!
//! Two of the keys are OpenShift's ("Container security: annotations"): `images.openshift.io/deny-execution` and
//! `quality.images.openshift.io/vulnerability.<provider>`. The third is `scan.container-patch.dev/<container>`, which is
//! about one container and names the digest that was scanned. Many tools write these annotations, with small differences. An
//! annotation that cannot be read flags the image; otherwise a typo would clear it.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::result::{Count, Scan, Severity, Vulnerability};
use crate::evidence::time;
use crate::image::Digest;
use crate::json;
use crate::sanitized::Sanitized;

/// Key of the annotation that says whether an image must not run.
pub const DENY_EXECUTION: &str = "images.openshift.io/deny-execution";
/// Prefix of the key of a scan result. The name of the scanner follows.
pub const VULNERABILITY: &str = "quality.images.openshift.io/vulnerability.";
/// Prefix of the key of a scan result for one container or image volume. Its name follows.
pub const CONTAINER: &str = "scan.container-patch.dev/";

/// The most bytes of one annotation that are read. Kubernetes allows 256 KiB for all annotations of an object, and every
/// admission reads all of them.
const LONGEST: usize = 128 << 10;

/// Whether an annotation or a label is about a scan. Case is ignored, so that no spelling hides a scan result.
#[must_use]
pub fn is_about_scans(key: &str) -> bool {
    key.eq_ignore_ascii_case(DENY_EXECUTION) || [VULNERABILITY, CONTAINER].iter().any(|prefix| starts(key, prefix))
}

/// The container or image volume that an annotation of a pod is about. Nothing if it is about all of them.
#[must_use]
pub fn container(key: &str) -> Option<&str> {
    key.get(CONTAINER.len()..).filter(|_| starts(key, CONTAINER))
}

fn starts(key: &str, prefix: &str) -> bool {
    key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A scan result from an annotation or a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanAnnotation {
    /// The scan result.
    pub scan: Scan,
    /// The digest of the scanned image, if the annotation names one.
    pub image: Option<String>,
}

/// Where an annotation or a label is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the pod that names the image.
    Pod,
    /// On the manifest of the image.
    Manifest,
    /// In the configuration of the image.
    Config,
}

/// Reads an annotation or a label about a scan. Nothing if it does not affect the image.
#[must_use]
pub fn read(key: &str, value: &str, place: Place) -> Option<ScanAnnotation> {
    let source = match place {
        Place::Pod => format!("annotation `{}` of the pod", Sanitized(key)),
        Place::Manifest => format!("annotation `{}` of the image", Sanitized(key)),
        Place::Config => format!("label `{}` of the image", Sanitized(key)),
    };
    let objecting = |objection| ScanAnnotation { scan: Scan::objecting(source.clone(), objection), image: None };
    if value.len() > LONGEST {
        return Some(objecting(format!("is {} bytes long; at most {LONGEST} are read", value.len())));
    }
    if key.eq_ignore_ascii_case(DENY_EXECUTION) {
        return match boolean(value) {
            Some(true) => Some(objecting("says that it must not run".to_owned())),
            Some(false) => None,
            None => Some(objecting(format!("is `{}`; write \"true\" or \"false\"", Sanitized(value)))),
        };
    }
    let needs_image = place == Place::Pod && starts(key, CONTAINER);
    Some(match scan_annotation(value, source.clone(), needs_image) {
        Ok(annotation) => annotation,
        Err(cause) => objecting(format!("cannot be read: {cause}")),
    })
}

/// A boolean as Go's `strconv.ParseBool` reads it, because Go tools write these annotations.
fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The fields of the annotation. Most tools that write it use Go, whose JSON keys ignore case.
#[derive(Deserialize)]
struct Quality<'a> {
    #[serde(borrow, default, alias = "Timestamp")]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "Compliant")]
    compliant: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "Summary")]
    summary: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "Image")]
    image: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    vulnerabilities: Option<Vec<Named<'a>>>,
}

/// A vulnerability as `container-patch annotate` names it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(borrow)]
    severity: Cow<'a, str>,
    #[serde(default)]
    package: Option<String>,
    #[serde(default)]
    fixed_version: Option<String>,
    #[serde(borrow, default)]
    published: Option<Cow<'a, str>>,
}

/// One line of a summary. The count is in `data`, or in `score` in older annotations.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow, default, alias = "Label")]
    label: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "Data")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "Score")]
    score: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "SeverityIndex")]
    severity_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    fixable: Option<&'a RawValue>,
}

fn scan_annotation(value: &str, source: String, needs_image: bool) -> Result<ScanAnnotation, String> {
    let quality: Quality<'_> = json::read(value)?;
    let at = quality.timestamp.map(timestamp).transpose()?.flatten().ok_or("`timestamp` is required")?;
    let compliant = quality.compliant.map(compliant).transpose()?.flatten();
    let image = quality.image.map(Cow::into_owned);
    match &image {
        Some(digest) => {
            Digest::parse(digest).map_err(|error| format!("image: invalid digest `{}`: {error}", Sanitized(digest)))?;
        }
        None if needs_image => return Err("`image`, the digest of the scanned image, is required".to_owned()),
        None => {}
    }
    let named = named(quality.vulnerabilities.unwrap_or_default())?;
    let (total, has_counts) = summary(quality.summary)?;
    let counted = beyond(&total, &named);
    let objection = (compliant == Some(false)).then(|| "says that it is not compliant".to_owned());
    let is_result = compliant.is_some() || has_counts || !named.is_empty();
    Ok(ScanAnnotation {
        scan: Scan { objection, counted, is_result, ..Scan::of_report(source, Some(at), named) },
        image,
    })
}

fn named(vulnerabilities: Vec<Named<'_>>) -> Result<Vec<Vulnerability>, String> {
    let read = |(index, named): (usize, Named<'_>)| {
        let severity = Severity::of(&named.severity).ok_or_else(|| {
            format!("vulnerabilities[{index}].severity: unknown severity `{}`", Sanitized(&named.severity))
        })?;
        Ok(Vulnerability {
            id: named.id.into_owned(),
            aliases: named.aliases,
            package: named.package.filter(|package| !package.is_empty()),
            severity,
            fixed_in: named.fixed_version.filter(|version| !version.is_empty()),
            published: named.published.as_deref().and_then(time::parse),
        })
    };
    vulnerabilities.into_iter().enumerate().map(read).collect()
}

/// The vulnerabilities that a summary counts in addition to those that are named.
fn beyond(total: &[Count], named: &[Vulnerability]) -> Vec<Count> {
    let of = |count: &Count| {
        let known = || named.iter().filter(|vulnerability| vulnerability.severity == count.severity);
        let fixable = known().filter(|vulnerability| vulnerability.fixed_in.is_some()).count() as u64;
        let all = count.all.saturating_sub(known().count() as u64);
        Count { all, fixable: count.fixable.saturating_sub(fixable).min(all), ..*count }
    };
    total.iter().map(of).filter(|count| count.all > 0).collect()
}

/// The counts of a summary, with the worst severity first, and whether it has counts at all.
fn summary(summary: Option<&RawValue>) -> Result<(Vec<Count>, bool), String> {
    let Some(summary) = summary else { return Ok((Vec::new(), false)) };
    // Some tools write the list into a string.
    let text = match serde_json::from_str::<String>(summary.get()) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(summary.get()),
    };
    if text.trim().is_empty() {
        return Ok((Vec::new(), false));
    }
    let lines: Vec<&RawValue> = serde_json::from_str(&text)
        .map_err(|error| format!("summary: {}", Sanitized(json::without_position(&error.to_string()))))?;
    let mut counts = Severity::ALL.map(|severity| Count { severity, all: 0, fixable: 0, is_fixable_known: true });
    let mut has_counts = false;
    for (index, line) in lines.into_iter().enumerate() {
        let at = |cause: String| format!("summary[{index}].{cause}");
        let line: Line<'_> = json::read(line.get()).map_err(|cause| format!("summary[{index}]: {cause}"))?;
        if line.data.or(line.score).is_none() {
            return Err(format!("summary[{index}]: `data` is required"));
        }
        let mut all = None;
        for number in [line.data, line.score].into_iter().flatten() {
            all = all.max(count(number).map_err(|cause| at(format!("data: {cause}")))?);
        }
        let severity = severity(line.label.as_deref(), line.severity_index).map_err(at)?;
        let Some(all) = all else { continue };
        let fixable = line.fixable.map(count).transpose().map_err(|cause| at(format!("fixable: {cause}")))?.flatten();
        has_counts = true;
        for count in counts.iter_mut().filter(|count| count.severity == severity) {
            count.all = count.all.saturating_add(all);
            count.fixable = count.fixable.saturating_add(fixable.unwrap_or(all).min(all));
            count.is_fixable_known &= fixable.is_some() || all == 0;
        }
    }
    Ok((counts.into_iter().filter(|count| count.all > 0).collect(), has_counts))
}

/// A count. Nothing for a letter grade.
fn count(json: &RawValue) -> Result<Option<u64>, String> {
    let text = text_of(json).ok_or_else(|| format!("invalid count `{}`", Sanitized(json.get())))?;
    let text = text.trim();
    if let [b'A'..=b'Z' | b'a'..=b'z', sign @ ..] = text.as_bytes()
        && matches!(sign, [] | [b'+' | b'-'])
    {
        return Ok(None);
    }
    // Some JSON libraries write 4 as 4.0.
    let whole = text.strip_suffix(".0").unwrap_or(text);
    whole.parse().map(Some).map_err(|_| format!("invalid count `{}`", Sanitized(text)))
}

/// The severity of a line: the worse one of its label and its index. Without either it is unknown.
fn severity(label: Option<&str>, index: Option<&RawValue>) -> Result<Severity, String> {
    let index = match index {
        Some(index) => {
            let text = text_of(index).unwrap_or_else(|| index.get().to_owned());
            match text.trim() {
                "3" => Some(Severity::Critical),
                "2" => Some(Severity::High),
                "1" => Some(Severity::Medium),
                "0" => Some(Severity::Low),
                other => return Err(format!("severityIndex: expected 0, 1, 2 or 3, found `{}`", Sanitized(other))),
            }
        }
        None => None,
    };
    // `critical`, `Critical:`, `critical severity`.
    let word = label.and_then(|label| label.trim_start().split(|c: char| !c.is_ascii_alphanumeric()).next());
    Ok(word.and_then(Severity::of).max(index).unwrap_or(Severity::Unknown))
}

/// The text of a JSON string or number.
fn text_of(json: &RawValue) -> Option<String> {
    match json.get().bytes().next() {
        Some(b'"') => serde_json::from_str(json.get()).ok(),
        Some(b'-' | b'0'..=b'9') => Some(json.get().to_owned()),
        _ => None,
    }
}

/// A boolean or its text. Nothing for null, which means that the scanner does not judge.
fn compliant(json: &RawValue) -> Result<Option<bool>, String> {
    let text = if json.get().starts_with('"') { text_of(json) } else { Some(json.get().to_owned()) };
    match text.as_deref().map(str::trim) {
        Some("") => Ok(None),
        Some(text) if boolean(text).is_some() => Ok(boolean(text)),
        _ => Err(format!("compliant: expected true or false, found `{}`", Sanitized(json.get()))),
    }
}

/// A time as text, or in seconds since 1970. Nothing for an empty text.
fn timestamp(json: &RawValue) -> Result<Option<DateTime<Utc>>, String> {
    let unreadable = || format!("timestamp: invalid time `{}`; write an RFC 3339 time", Sanitized(json.get()));
    let text = text_of(json).ok_or_else(unreadable)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    // A fraction of a second is dropped. A number with an exponent is rejected, not truncated.
    let fraction = text.split_once('.').filter(|(_, fraction)| fraction.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds = fraction.map_or(text, |(seconds, _)| seconds);
    let since_epoch = seconds.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let time = since_epoch.or_else(|| time::parse(text)).ok_or_else(unreadable)?;
    if !time::is_plausible(time) {
        return Err(format!("timestamp: implausible time `{}`; write the time of the scan", Sanitized(json.get())));
    }
    Ok(Some(time))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{CONTAINER, Place, VULNERABILITY, container, is_about_scans, read};
    use crate::rules::scan::result::{Count, Scan, Severity};

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn scan_of(value: &str) -> Scan {
        read(&format!("{VULNERABILITY}trivy"), value, Place::Manifest).unwrap().scan
    }

    /// The scan of an annotation with a timestamp and these fields.
    fn quality(fields: Value) -> Scan {
        let mut all = json!({"timestamp": "2026-11-19T08:00:00Z"});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        scan_of(&all.to_string())
    }

    fn objection(scan: &Scan) -> &str {
        scan.objection.as_deref().unwrap_or("none")
    }

    fn counts(scan: &Scan) -> Vec<(Severity, u64, u64)> {
        assert_eq!(scan.objection, None);
        scan.counted.iter().map(|Count { severity, all, fixable, .. }| (*severity, *all, *fixable)).collect()
    }

    #[test]
    fn keys_are_recognized_in_any_case() {
        for key in [
            "images.openshift.io/deny-execution",
            "Images.OpenShift.io/Deny-Execution",
            "quality.images.openshift.io/vulnerability.redhatcatalog",
            "scan.container-patch.dev/app",
        ] {
            assert!(is_about_scans(key), "{key}");
        }
        for key in ["quality.images.openshift.io/license.x", "images.openshift.io/deny", "scan.container-patch.dé", "é"]
        {
            assert!(!is_about_scans(key), "{key}");
        }
        assert_eq!(container(&format!("{CONTAINER}app")), Some("app"));
        assert_eq!(container("SCAN.container-patch.dev/app"), Some("app"));
        assert_eq!(container(&format!("{VULNERABILITY}x")), None, "it is about all containers");
    }

    #[test]
    fn deny_execution_accepts_the_booleans_of_go() {
        let of = |value| read("images.openshift.io/deny-execution", value, Place::Pod);
        for value in ["true", "True", "1", "t"] {
            assert_eq!(objection(&of(value).unwrap().scan), "says that it must not run", "{value}");
        }
        assert_eq!((of("false"), of("0")), (None, None));
        for value in ["yes", "", "tRUE", "null"] {
            assert!(objection(&of(value).unwrap().scan).starts_with("is `"), "{value}");
        }
    }

    #[test]
    fn a_summary_is_read_in_every_known_spelling() {
        let critical = vec![(Severity::Critical, 4, 4)];
        for fields in [
            json!({"summary": [{"label": "critical", "data": 4, "severityIndex": 3, "reference": null}]}),
            json!({"summary": [{"label": "Critical", "data": "4"}]}),
            json!({"summary": [{"label": "critical", "data": 4.0}]}),
            json!({"summary": [{"label": "critical severity", "score": "4"}]}),
            json!({"summary": [{"label": "findings", "data": 4, "severityIndex": "3"}]}),
            json!({"summary": "[{\"label\": \"critical\", \"data\": \"4\"}]"}),
            json!({"summary": [{"label": "critical", "data": 1}, {"label": "defcon1", "data": 3}]}),
            json!({"summary": [{"label": "critical", "data": 4}], "compliant": null, "name": 7, "reference": {"a": []}}),
        ] {
            let scan = quality(fields.clone());
            assert_eq!((counts(&scan), scan.is_result), (critical.clone(), true), "{fields}");
        }
        let words = json!({"summary": [
            {"label": "Important", "data": 1}, {"label": "moderate", "data": 2}, {"label": "low", "data": 3},
            {"label": "total", "data": 6}, {"label": "", "data": 5, "severityIndex": 0},
        ]});
        assert_eq!(
            counts(&quality(words)),
            [(Severity::High, 1, 1), (Severity::Medium, 2, 2), (Severity::Low, 8, 8), (Severity::Unknown, 6, 6)]
        );
        assert_eq!(
            counts(&quality(json!({"summary": [{"label": "high", "data": "9", "fixable": 2}]}))),
            [(Severity::High, 9, 2)]
        );
    }

    #[test]
    fn a_summary_that_does_not_say_how_many_have_a_fix_is_marked() {
        let known = |summary: Value| quality(json!({"summary": summary})).counted[0].is_fixable_known;
        assert!(known(json!([{"label": "high", "data": 9, "fixable": 2}])));
        assert!(!known(json!([{"label": "high", "data": 9}])));
        assert!(!known(json!([{"label": "high", "data": 9, "fixable": 2}, {"label": "important", "data": 1}])));
        assert!(known(json!([{"label": "high", "data": 9, "fixable": 2}, {"label": "important", "data": 0}])));
        assert!(known(json!([{"label": "high", "data": 9, "fixable": 2}, {"label": "low", "data": 1}])));
    }

    #[test]
    fn a_letter_grade_or_an_empty_summary_is_not_a_scan_result() {
        for summary in
            [json!([{"label": "health", "data": "A", "severityIndex": 0}]), json!([]), json!(""), json!(null)]
        {
            let scan = quality(json!({ "summary": summary }));
            assert_eq!((counts(&scan), scan.is_result), (vec![], false), "{summary}");
        }
        assert!(quality(json!({"summary": [{"label": "critical", "data": 0}]})).is_result);
        assert!(quality(json!({"compliant": true})).is_result);
    }

    #[test]
    fn compliant_is_a_boolean_its_text_or_null() {
        for value in [json!(false), json!("false"), json!("False")] {
            assert_eq!(objection(&quality(json!({ "compliant": value }))), "says that it is not compliant");
        }
        for value in [json!(true), json!("true"), json!(null), json!("")] {
            assert_eq!(objection(&quality(json!({ "compliant": value }))), "none", "{value}");
        }
    }

    #[test]
    fn a_timestamp_is_text_or_seconds() {
        for timestamp in [
            json!("2026-11-19T08:00:00Z"),
            json!(1_795_075_200),
            json!("1795075200"),
            json!(1_795_075_200.5),
            json!("2026-11-19T08:00:00+0000"),
        ] {
            let at = scan_of(&json!({"timestamp": timestamp, "compliant": true}).to_string()).at;
            assert_eq!(at.map(|at| at.to_rfc3339()), Some("2026-11-19T08:00:00+00:00".to_owned()), "{timestamp}");
        }
    }

    #[test]
    fn named_vulnerabilities_are_not_counted_twice() {
        let scan = quality(json!({
            "summary": [{"label": "critical", "data": "3", "fixable": 1}, {"label": "low", "data": "1", "fixable": 0}],
            "vulnerabilities": [
                {"id": "CVE-2026-0001", "severity": "critical", "package": "openssl", "fixedVersion": "3.0.8", "published": "2026-11-01"},
                {"id": "GHSA-a", "severity": "critical", "aliases": ["CVE-2026-0002"]},
                {"id": "CVE-2026-0003", "severity": "low", "fixedVersion": ""},
            ],
        }));
        assert_eq!(counts(&scan), [(Severity::Critical, 1, 0)]);
        let first = &scan.named[0];
        assert_eq!(
            (first.id.as_str(), first.package.as_deref(), first.fixed_in.as_deref()),
            ("CVE-2026-0001", Some("openssl"), Some("3.0.8"))
        );
        assert_eq!(first.published.unwrap().to_rfc3339(), "2026-11-01T00:00:00+00:00");
        assert_eq!(scan.named[1].aliases, ["CVE-2026-0002"]);
        assert_eq!(scan.named[2].fixed_in, None);
    }

    #[test]
    fn an_annotation_that_cannot_be_read_flags_the_image_with_the_cause() {
        let deep = "[".repeat(10_000);
        let long = "x".repeat(200 << 10);
        let with = |field: &str| format!(r#"{{"timestamp": 1763539200, {field}}}"#);
        for (value, expected) in [
            ("", "EOF while parsing a value"),
            ("true", "invalid type: boolean `true`, expected an object"),
            ("[]", "invalid type: sequence, expected an object"),
            (deep.as_str(), "invalid type: sequence, expected an object"),
            (&with(&format!(r#""summary": {deep}"#)), "expected value"),
            (
                &with(&format!(r#""summary": {deep}{}"#, "]".repeat(10_000))),
                "summary[0]: invalid type: sequence, expected an object",
            ),
            (&format!("{{\"a\": \"{}\"", &long[..100_000]), "EOF while parsing an object"),
            ("{}", "`timestamp` is required"),
            (r#"{"timestamp": null}"#, "`timestamp` is required"),
            (r#"{"timestamp": 0}"#, "timestamp: implausible time `0`"),
            (r#"{"timestamp": "0001-01-01T00:00:00Z"}"#, "timestamp: implausible time `\"0001-01-01T00:00:00Z\"`"),
            (r#"{"timestamp": 8210266876799}"#, "timestamp: implausible time `8210266876799`"),
            (r#"{"timestamp": -8334601228800}"#, "timestamp: implausible time `-8334601228800`"),
            (r#"{"timestamp": "soon"}"#, "timestamp: invalid time `\"soon\"`"),
            (r#"{"timestamp": 1e400}"#, "timestamp: invalid time `1e400`"),
            (r#"{"timestamp": 99999999999999999999}"#, "timestamp: invalid time `99999999999999999999`"),
            (&with(r#""compliant": "maybe""#), "compliant: expected true or false, found `\"maybe\"`"),
            (&with(r#""compliant": 7"#), "compliant: expected true or false, found `7`"),
            (&with(r#""compliant": false, "compliant": true"#), "duplicate field `compliant`"),
            (&with(r#""summary": {}"#), "summary: invalid type: map"),
            (&with(r#""summary": [7]"#), "summary[0]: invalid type: integer `7`"),
            (&with(r#""summary": [{"label": "critical"}]"#), "summary[0]: `data` is required"),
            (&with(r#""summary": [{"label": "critical", "data": -1}]"#), "summary[0].data: invalid count `-1`"),
            (&with(r#""summary": [{"label": "critical", "data": 1e400}]"#), "summary[0].data: invalid count `1e400`"),
            (
                &with(r#""summary": [{"label": "critical", "data": 99999999999999999999}]"#),
                "summary[0].data: invalid count `99999999999999999999`",
            ),
            (&with(r#""summary": [{"label": "critical", "data": "many"}]"#), "summary[0].data: invalid count `many`"),
            (&with(r#""summary": [{"label": "critical", "data": [4]}]"#), "summary[0].data: invalid count `[4]`"),
            (
                &with(r#""summary": [{"label": "x", "data": 1, "severityIndex": 9}]"#),
                "summary[0].severityIndex: expected 0, 1, 2 or 3, found `9`",
            ),
            (&with(r#""image": "latest""#), "image: invalid digest `latest`"),
            (
                &with(r#""vulnerabilities": [{"id": "CVE-1", "severity": "severe"}]"#),
                "vulnerabilities[0].severity: unknown severity `severe`",
            ),
            (&with(r#""vulnerabilities": [{"severity": "low"}]"#), "vulnerabilities[0]: missing field `id`"),
        ] {
            let scan = scan_of(value);
            let expected = format!("cannot be read: {expected}");
            assert!(
                !scan.is_result && objection(&scan).starts_with(&expected),
                "{:.80}\n  expected: {expected}\n  found:    {}",
                value,
                objection(&scan)
            );
            assert!(objection(&scan).len() < 500);
        }
    }

    #[test]
    fn a_very_long_annotation_flags_the_image() {
        let value = |length: usize| {
            format!(r#"{{"timestamp": 1763539200, "compliant": true, "x": "{}"}}"#, "x".repeat(length - 53))
        };
        assert_eq!((value(1 << 17).len(), scan_of(&value(1 << 17)).objection), (1 << 17, None));
        assert_eq!(objection(&scan_of(&value(200 << 10))), "is 204800 bytes long; at most 131072 are read");
    }

    #[test]
    fn the_worse_of_two_values_in_a_summary_counts() {
        for line in [
            json!({"label": "Critical:", "data": 5}),
            json!({"label": "low", "data": 5, "severityIndex": 3}),
            json!({"label": "critical", "data": "A", "score": 5}),
            json!({"label": "critical", "data": 0, "score": 5}),
            json!({"Label": "critical", "Data": 5}),
        ] {
            assert_eq!(counts(&quality(json!({"summary": [line]}))), [(Severity::Critical, 5, 5)], "{line}");
        }
        assert_eq!(objection(&quality(json!({"Compliant": false}))), "says that it is not compliant");
    }

    #[test]
    fn an_annotation_of_a_container_requires_the_digest_of_the_scanned_image() {
        let key = format!("{CONTAINER}app");
        let value = json!({"timestamp": 1_763_539_200, "compliant": true, "image": DIGEST}).to_string();
        let annotation = read(&key, &value, Place::Pod).unwrap();
        assert_eq!((annotation.image.as_deref(), annotation.scan.objection), (Some(DIGEST), None));
        let value = json!({"timestamp": 1_763_539_200, "compliant": true}).to_string();
        let scan = read(&key, &value, Place::Pod).unwrap().scan;
        assert_eq!(objection(&scan), "cannot be read: `image`, the digest of the scanned image, is required");
        assert_eq!(
            read(&key, &value, Place::Config).unwrap().scan.objection,
            None,
            "an image cannot contain its own digest"
        );
    }
}
