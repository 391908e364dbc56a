//! The report as JSON. Its schema is `docs/report.schema.json`.

use anyhow::Result;

use super::model::Report;

/// The report with all its keys.
pub(super) fn render(report: &Report) -> Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}
