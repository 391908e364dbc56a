//! A Kubewarden policy that keeps the images of a cluster patched: it answers at admission whether the images that a
//! workload names are pinned, fresh enough for the patch schedule and built on a current base, and says what to do where
//! they are not.
//!
//! This module holds the entry points that a waPC host calls. The way of a request is told in [`admission`].
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod admission;
pub mod config;
pub mod enforcement;
pub mod evidence;
pub mod finding;
pub mod host;
pub mod image;
mod json;
pub mod request;
pub mod response;
pub mod rules;
mod sanitized;
pub mod settings;
pub mod workload;

use kubewarden_policy_sdk::settings::SettingsValidationResponse;

/// Answers waPC's `validate`: a payload with a request and settings in, a `ValidationResponse` out.
#[must_use]
pub fn validate(payload: &[u8], host: &dyn host::Host) -> Vec<u8> {
    admission::evaluate(payload, host).into_response()
}

/// Answers waPC's `validate_settings`: settings in, a `SettingsValidationResponse` out. The message of valid settings holds
/// warnings, one a line; they are also written into the log, as Kubewarden shows no such message.
#[must_use]
pub fn validate_settings(settings: &[u8], host: &dyn host::Host) -> Vec<u8> {
    let (valid, message) = match settings::check(settings) {
        Ok(warnings) => {
            for warning in &warnings {
                host.log_warning(&format!("settings: {warning}"));
            }
            (true, (!warnings.is_empty()).then(|| warnings.join("\n")))
        }
        Err(message) => (false, Some(message)),
    };
    let response = SettingsValidationResponse { valid, message };
    // Serializing a flag and a string does not fail. If it did, the settings would have to be refused.
    serde_json::to_vec(&response).unwrap_or_else(|_| br#"{"valid":false}"#.to_vec())
}

/// Answers waPC's `protocol_version`.
#[must_use]
pub fn protocol_version() -> Vec<u8> {
    br#""v1""#.to_vec()
}

#[cfg(target_arch = "wasm32")]
mod guest {
    use wapc_guest::register_function;

    // The name is the one that waPC hosts look for.
    #[allow(unsafe_code)]
    #[unsafe(no_mangle)]
    extern "C" fn wapc_init() {
        register_function("validate", |payload| Ok(super::validate(payload, &super::host::Kubewarden)));
        register_function("validate_settings", |settings| {
            Ok(super::validate_settings(settings, &super::host::Kubewarden))
        });
        register_function("protocol_version", |_| Ok(super::protocol_version()));
    }
}
