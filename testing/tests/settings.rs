//! Settings are judged alike by `validate_settings` and with a request.

use container_patch_policy::validate_settings;
use container_patch_testing::case::Case;
use container_patch_testing::generators::choices::Choices;
use container_patch_testing::generators::settings::settings;
use container_patch_testing::properties::settings::validation_and_requests_agree;
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_settings_are_valid(bytes in bytes()) {
        let settings = settings(&mut Choices::new(&bytes)).to_string();
        let response = validate_settings(settings.as_bytes(), &Case::new(&[]).host);
        let response: SettingsValidationResponse = serde_json::from_slice(&response).unwrap();
        prop_assert!(response.valid, "{:?} {}", response.message, settings);
        let warnings = response.message.unwrap_or_default();
        let is_known = |line: &str| line.starts_with("registries[") || line.contains("reports in the workload's own namespace");
        prop_assert!(warnings.lines().all(is_known), "{}", warnings);
        validation_and_requests_agree(settings.as_bytes()).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn almost_valid_settings_are_judged_as_with_a_request(bytes in bytes()) {
        let settings = Case::new(&bytes).settings.to_string();
        validation_and_requests_agree(settings.as_bytes()).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn any_bytes_are_judged_as_with_a_request(bytes in bytes()) {
        validation_and_requests_agree(&bytes).map_err(TestCaseError::fail)?;
    }
}
