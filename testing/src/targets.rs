//! The fuzz targets: what each does with bytes. `fuzz/` runs them for long, on bytes that it looks for; the tests run them on
//! the bytes that are kept.

use crate::Trial;
use crate::properties::{self, Broken, settings_are_judged_alike};
use crate::references::{are_read_as_the_library_reads_them, name_each_registry_in_one_way};
use crate::reports::{self, Source};

/// What a target does with bytes.
pub type Target = fn(&[u8]) -> Result<(), Broken>;

/// Every target, by its name.
pub const ALL: [(&str, Target); 9] = [
    ("validate", validate),
    ("validate_bytes", validate_bytes),
    ("settings", settings),
    ("references", references),
    ("annotations", annotations),
    ("report_sbomscanner", report_sbomscanner),
    ("report_trivy_operator", report_trivy_operator),
    ("report_quay", report_quay),
    ("report_kubescape", report_kubescape),
];

/// Requests, settings and worlds of the right shape, or nearly so: all that holds in every trial.
///
/// # Errors
/// What breaks, and the trial.
pub fn validate(bytes: &[u8]) -> Result<(), Broken> {
    let trial = Trial::new(bytes);
    properties::ALL.iter().try_for_each(|(name, property)| {
        property(&trial).map_err(|broken| format!("broken: {name}\n{broken}\n{trial:?}"))
    })
}

/// Any bytes in place of a payload.
///
/// # Errors
/// What breaks.
pub fn validate_bytes(payload: &[u8]) -> Result<(), Broken> {
    properties::any_payload_is_answered(payload, &Trial::new(&[]).world)
}

/// Settings: what begins as JSON does is taken as it stands, anything else as choices of which settings are made.
///
/// # Errors
/// What breaks, and the settings.
pub fn settings(bytes: &[u8]) -> Result<(), Broken> {
    let settings = match bytes.first() {
        Some(b'{' | b'[' | b'"' | b' ') => bytes.to_vec(),
        _ => Trial::new(bytes).settings.to_string().into_bytes(),
    };
    settings_are_judged_alike(&settings)
        .map_err(|broken| format!("{broken}\nsettings: {}", String::from_utf8_lossy(&settings)))
}

/// Image references, held against the parsers of other libraries.
///
/// # Errors
/// What breaks.
pub fn references(text: &[u8]) -> Result<(), Broken> {
    let Ok(text) = std::str::from_utf8(text) else { return Ok(()) };
    are_read_as_the_library_reads_them(text)?;
    name_each_registry_in_one_way(text)
}

/// The text of annotations about scans.
///
/// # Errors
/// What breaks.
pub fn annotations(text: &[u8]) -> Result<(), Broken> {
    let Ok(text) = std::str::from_utf8(text) else { return Ok(()) };
    let keys = [
        "scan.container-patch.dev/app",
        "quality.images.openshift.io/vulnerability.trivy",
        "images.openshift.io/deny-execution",
    ];
    keys.iter().try_for_each(|key| reports::lets_in_by_a_clean_annotation_only(key, text))
}

/// Any bytes in place of a report of SBOMscanner, and of a list of them.
///
/// # Errors
/// What breaks.
pub fn report_sbomscanner(bytes: &[u8]) -> Result<(), Broken> {
    report(Source::Sbomscanner, bytes)
}

/// Any bytes in place of a report of Trivy operator, and of a list of them.
///
/// # Errors
/// What breaks.
pub fn report_trivy_operator(bytes: &[u8]) -> Result<(), Broken> {
    report(Source::TrivyOperator, bytes)
}

/// Any bytes in place of a report of Quay's container security operator.
///
/// # Errors
/// What breaks.
pub fn report_quay(bytes: &[u8]) -> Result<(), Broken> {
    report(Source::Quay, bytes)
}

/// Any bytes in place of a report of Kubescape, and of a list of them.
///
/// # Errors
/// What breaks.
pub fn report_kubescape(bytes: &[u8]) -> Result<(), Broken> {
    report(Source::Kubescape, bytes)
}

fn report(source: Source, bytes: &[u8]) -> Result<(), Broken> {
    reports::lets_in_by_a_clean_report_only(source, bytes)?;
    reports::lets_in_by_no_list_of_reports(source, bytes)
}
