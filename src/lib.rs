//! A Kubewarden policy that keeps the images of a cluster patched. At admission it checks whether the images of a workload are
//! pinned, fresh enough for the patch schedule, built on a current base and not flagged by a scanner, and its messages say
//! what to do otherwise.
//!
//! This module holds the entry points that a waPC host calls. [`admission`] evaluates a request.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod admission;
pub mod calendar;
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
mod wildcard;
pub mod workload;

use kubewarden_policy_sdk::settings::SettingsValidationResponse;

/// Handles waPC's `validate`. The payload has a request and settings; the result is a `ValidationResponse`.
#[must_use]
pub fn validate(payload: &[u8], host: &dyn host::Host) -> Vec<u8> {
    admission::evaluate(payload, host).into_response()
}

/// Handles waPC's `validate_settings`. The payload has the settings; the result is a `SettingsValidationResponse`. For valid settings
/// its message has the warnings, one per line. They are also logged, because Kubewarden does not show that message.
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

/// Handles waPC's `protocol_version`.
#[must_use]
pub fn protocol_version() -> Vec<u8> {
    br#""v1""#.to_vec()
}

#[cfg(target_arch = "wasm32")]
mod guest {
    use wapc_guest::register_function;

    // waPC hosts look for this name.
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
