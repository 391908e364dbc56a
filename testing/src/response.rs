//! What makes a response of the policy well-formed.

use container_patch_policy::enforcement::codes;
use kubewarden_policy_sdk::response::ValidationResponse;
use serde_json::Value;

use crate::failure::Failure;

/// The most characters of one warning, and of all warnings, that Kubernetes passes on.
const MAX_WARNING: usize = 256;
const MAX_WARNINGS: usize = 4096;
/// Kubernetes repeats a message in events and logs. The last finding can exceed the policy's own limit.
const MAX_MESSAGE: usize = 12 * 1024;
/// Log backends accept events of at most 100 KiB. One annotation gets a twelfth of that.
const MAX_ANNOTATION: usize = 8 * 1024;

/// Checks that a response is a `ValidationResponse` of Kubewarden, and that its parts are consistent.
///
/// # Errors
/// The first violation, with the response.
pub(crate) fn well_formed(response: &[u8]) -> Result<ValidationResponse, Failure> {
    let text = String::from_utf8_lossy(response);
    let fail = |what: &str| Err(format!("{what}: {text}"));
    let read: ValidationResponse =
        serde_json::from_slice(response).map_err(|error| format!("invalid ValidationResponse: {error}: {text}"))?;
    let annotations = read.audit_annotations.as_ref().ok_or_else(|| format!("no audit annotations: {text}"))?;
    if read.accepted == read.message.is_some() {
        return fail("expected a message with every denial, and with nothing else");
    }
    if read.mutated_object.is_some() && !read.accepted {
        return fail("a denied object is rewritten");
    }
    // Clients act on other statuses: they try again, or take the object as missing or as changed meanwhile.
    if read.accepted == read.code.is_some() || read.code.is_some_and(|code| !(460..=479).contains(&code)) {
        return fail("expected a status of 460 to 479 with every denial, and with nothing else");
    }
    let warnings = read.warnings.as_deref().unwrap_or_default();
    let lengths: Vec<usize> = warnings.iter().map(|warning| warning.chars().count()).collect();
    if lengths.iter().any(|length| *length > MAX_WARNING) || lengths.iter().sum::<usize>() > MAX_WARNINGS {
        return fail("Kubernetes truncates these warnings");
    }
    let message = read.message.as_deref().unwrap_or_default();
    if read.message.is_some() && !lines_end_with_codes(message) {
        return fail("a line of the message does not end with a finding code");
    }
    if message.len() > MAX_MESSAGE && !message.ends_with("[invalid-settings]") {
        return fail("the message is too long");
    }
    if !warnings
        .iter()
        .enumerate()
        .all(|(index, line)| ends_with_code(line) || (index + 1 == warnings.len() && is_omission(line)))
    {
        return fail("a warning does not end with a finding code");
    }
    if warnings.iter().any(|warning| warning.contains(char::is_control)) {
        return fail("a warning contains a control character");
    }
    if annotations.iter().any(|(key, value)| key != "breakGlass" && value.len() > MAX_ANNOTATION) {
        return fail("an audit annotation is too long");
    }
    let findings: Vec<Value> = match annotations.get("findings") {
        Some(list) => {
            serde_json::from_str(list).map_err(|error| format!("invalid list of findings: {error}: {text}"))?
        }
        None => Vec::new(),
    };
    if let Some(list) = annotations.get("images") {
        serde_json::from_str::<Vec<Value>>(list).map_err(|error| format!("invalid list of images: {error}: {text}"))?;
    }
    let verdict = match (read.accepted, findings.is_empty()) {
        (false, _) => "denied",
        (true, false) => "warned",
        (true, true) => "accepted",
    };
    if annotations.get("verdict").map(String::as_str) != Some(verdict) {
        return fail("the annotation `verdict` contradicts the response");
    }
    let is_whole = findings.iter().all(|finding| finding.get("omitted").is_none());
    let has_denial = findings.iter().any(|finding| finding["effect"] == "deny");
    if (is_whole && has_denial == read.accepted) || (has_denial && read.accepted) {
        return fail("the findings contradict the verdict");
    }
    if is_whole && findings.iter().filter(|finding| finding["effect"] == "warn").count() < warnings.len() {
        return fail("there are more warnings than findings that warn");
    }
    Ok(read)
}

/// Whether every line is a finding, apart from a last line that counts the omitted ones. A message about invalid settings has
/// one line for each problem instead.
fn lines_end_with_codes(message: &str) -> bool {
    let mut lines: Vec<&str> = message.lines().collect();
    if message.ends_with("[invalid-settings]") && message.starts_with("the settings of this policy are not valid:\n") {
        return true;
    }
    if lines.last().is_some_and(|line| is_omission(line)) && lines.len() > 1 {
        lines.pop();
    }
    !lines.is_empty() && lines.iter().all(|line| ends_with_code(line) && !line.contains(char::is_control))
}

fn ends_with_code(line: &str) -> bool {
    let code = line.strip_suffix(']').and_then(|line| line.rsplit_once(" [")).map(|(_, code)| code);
    code.is_some_and(|code| codes::all().iter().any(|known| known.as_str() == code))
}

/// Whether a line counts omitted findings.
fn is_omission(line: &str) -> bool {
    let rest = line.strip_prefix("… and ").unwrap_or_default();
    let number = rest.strip_suffix(" more findings").and_then(|number| number.parse::<usize>().ok());
    rest == "1 more finding" || number.is_some_and(|number| number > 1)
}
