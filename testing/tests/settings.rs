//! Settings are judged the same, whoever asks.

use container_patch_policy::validate_settings;
use container_patch_testing::properties::settings_are_judged_alike;
use container_patch_testing::{Bytes, Trial, settings};
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn settings_of_the_right_shape_are_valid(bytes in bytes()) {
        let settings = settings(&mut Bytes::new(&bytes)).to_string();
        let response = validate_settings(settings.as_bytes(), &Trial::new(&[]).world);
        let response: SettingsValidationResponse = serde_json::from_slice(&response).unwrap();
        prop_assert!(response.valid, "{:?} {}", response.message, settings);
        let warnings = response.message.unwrap_or_default();
        let is_known = |line: &str| line.starts_with("registries[") || line.contains("reports in the workload's own namespace");
        prop_assert!(warnings.lines().all(is_known), "{}", warnings);
        settings_are_judged_alike(settings.as_bytes()).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn settings_of_nearly_the_right_shape_are_judged_as_with_a_request(bytes in bytes()) {
        let settings = Trial::new(&bytes).settings.to_string();
        settings_are_judged_alike(settings.as_bytes()).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn any_bytes_are_judged_as_with_a_request(bytes in bytes()) {
        settings_are_judged_alike(&bytes).map_err(TestCaseError::fail)?;
    }
}
