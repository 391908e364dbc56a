//! The scanners whose reports can be read. A report is recognised by its fields.

mod clair;
mod grype;
mod sarif;
mod trivy;

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use super::report::ScanReport;
use crate::json_type::json_type;

/// The supported reports, for error messages.
const SUPPORTED: &str = "supported reports: Trivy (`trivy image --format json IMAGE`), Grype (`grype -o json IMAGE`), \
    Clair (`clairctl report --out json IMAGE`), and SARIF with severities, such as Trivy's and Grype's";

/// Reads a scanner's report.
pub(super) fn read(text: &str) -> Result<ScanReport> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let values = serde_json::Deserializer::from_str(text).into_iter().collect::<Result<Vec<Value>, _>>();
    let mut values = values.map_err(|error| anyhow!("invalid JSON: {error}; {SUPPORTED}"))?;
    if values.len() > 1 && values.iter().all(|value| value.is_null() || clair::is_report(value)) {
        bail!(
            "this file holds Clair's reports on {} images; expected a report on one image: give clairctl one image",
            values.len()
        );
    }
    match (values.pop(), values.is_empty()) {
        (Some(value), true) => read_value(value),
        (Some(_), false) => bail!("this file holds several JSON documents; expected one; {SUPPORTED}"),
        (None, _) => bail!("this file is empty; {SUPPORTED}"),
    }
}

fn read_value(value: Value) -> Result<ScanReport> {
    let has = |keys: &[&str]| keys.iter().all(|key| value.get(key).is_some());
    if trivy::is_report(&value) {
        trivy::read(value)
    } else if grype::is_report(&value) {
        grype::read(value)
    } else if clair::is_report(&value) {
        clair::read(value)
    } else if sarif::is_report(&value) {
        sarif::read(value)
    } else if value["bomFormat"] == "CycloneDX" {
        bail!("this is a CycloneDX bill of materials, which has no severities; {SUPPORTED}")
    } else if has(&["spdxVersion"]) {
        bail!("this is an SPDX bill of materials, which has no vulnerabilities; {SUPPORTED}")
    } else if has(&["artifacts", "artifactRelationships"]) {
        bail!("this is Syft's bill of materials, which has no vulnerabilities; scan with Grype: `grype -o json IMAGE`")
    } else if has(&["ClusterName"]) {
        bail!("this is Trivy's report on a cluster; scan one image: `trivy image --format json IMAGE`")
    } else if value[0].get("Target").is_some() {
        bail!(
            "this is a report of Trivy 0.19 or older (a list of targets without SchemaVersion); scan with a newer Trivy"
        )
    } else if value.is_null() {
        bail!("this report is null, which clairctl prints when Clair has no report on the image; {SUPPORTED}")
    } else if value.as_object().is_some_and(|fields| fields.is_empty()) {
        bail!("unknown scanner: the report has no fields; {SUPPORTED}")
    } else if let Some(fields) = value.as_object() {
        let fields = fields.keys().take(8).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        bail!("unknown scanner: the report has the fields {fields}; {SUPPORTED}")
    } else {
        bail!("unknown scanner: expected a JSON object, found {}; {SUPPORTED}", json_type(&value))
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    fn error(text: &str) -> String {
        format!("{:#}", read(text).unwrap_err())
    }

    #[test]
    fn an_unknown_report_is_refused_with_the_supported_ones() {
        for text in ["", "VULNERABILITIES: 4", "[1]", "7", "{\"a\": 1} {\"b\": 2}", "{\"results\": [], \"version\": 3}"]
        {
            let error = error(text);
            assert!(error.contains("Trivy (`trivy image --format json IMAGE`), Grype"), "{text}: {error}");
        }
        assert!(error("{\"b\": 1, \"a\": 2}").contains("the report has the fields `a`, `b`;"));
        assert!(error("{}").starts_with("unknown scanner: the report has no fields; supported reports: "));
        assert!(error("{\"a\":").starts_with("invalid JSON: EOF"));
    }

    #[test]
    fn a_document_of_another_kind_is_named() {
        assert!(error("{\"bomFormat\": \"CycloneDX\"}").starts_with("this is a CycloneDX bill of materials"));
        assert!(error("{\"spdxVersion\": \"SPDX-2.3\"}").starts_with("this is an SPDX bill of materials"));
        assert!(error("{\"artifacts\": [], \"artifactRelationships\": []}").contains("`grype -o json IMAGE`"));
        assert!(error("{\"ClusterName\": \"\", \"Resources\": []}").contains("report on a cluster"));
        assert!(error("[{\"Target\": \"alpine\"}]").contains("Trivy 0.19 or older"));
        assert!(error("null").contains("clairctl prints"));
    }
}
