//! Properties of settings.

use container_patch_policy::{validate, validate_settings};
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use serde_json::value::RawValue;

use crate::case::Case;
use crate::failure::{Failure, ensure};
use crate::response::well_formed;

/// Any settings are either valid or rejected with a message. A request with valid settings is judged. A request with invalid
/// settings is denied with the same message, or does not need the invalid part.
///
/// # Errors
/// If it does not hold.
pub fn validation_and_requests_agree(settings: &[u8]) -> Result<(), Failure> {
    let response = validate_settings(settings, &Case::new(&[]).host);
    let response: SettingsValidationResponse = serde_json::from_slice(&response)
        .map_err(|error| format!("invalid response: {error}: {}", String::from_utf8_lossy(&response)))?;
    let valid = response.valid;
    ensure!(valid || response.message.is_some(), "a rejection without a message: {response:?}");
    let Ok(raw) = serde_json::from_slice::<&RawValue>(settings) else {
        ensure!(!valid, "settings that are not JSON are valid");
        // A request can only contain JSON.
        return Ok(());
    };
    let pod =
        r#"{"kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "object": {"spec": {}}}"#;
    let payload = format!(r#"{{"settings": {raw}, "request": {pod}}}"#);
    let answer = well_formed(&validate(payload.as_bytes(), &Case::new(&[]).host))?;
    let expected = response.message.filter(|_| !valid).map(|message| format!("{message} [invalid-settings]"));
    ensure!(answer.accepted || expected == answer.message, "validation and request differ:\n{expected:?}\n{answer:?}");
    Ok(())
}
