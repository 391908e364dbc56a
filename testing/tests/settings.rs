//! Settings are judged alike by `validate_settings` and with a request.

use std::collections::BTreeSet;

use container_patch_policy::validate_settings;
use container_patch_testing::case::Case;
use container_patch_testing::generators::choices::Choices;
use container_patch_testing::generators::schema;
use container_patch_testing::generators::settings::settings;
use container_patch_testing::properties::settings::validation_and_requests_agree;
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use proptest::prelude::*;
use serde_json::json;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

/// Sections that no generator lists are generated from the schema, so that each new rule is tested.
#[test]
fn sections_are_generated_from_the_schema_with_every_key() {
    for name in ["pinning", "schedule", "baseImage", "scan", "enforcement", "breakGlass"] {
        let mut missing: BTreeSet<&str> = schema::keys_of(name).into_iter().collect();
        let mut valid = 0;
        for seed in 0..200_u64 {
            let bytes: Vec<u8> =
                (0..40).map(|index| (seed.wrapping_mul(2_654_435_761) >> (index % 24)) as u8 ^ index).collect();
            let Some(section) = schema::section(name, &mut Choices::new(&bytes)) else { continue };
            let settings = json!({name: section}).to_string();
            let response = validate_settings(settings.as_bytes(), &Case::new(&[]).host);
            let response: SettingsValidationResponse = serde_json::from_slice(&response).unwrap();
            if response.valid {
                valid += 1;
                missing.retain(|key| section.get(key).is_none());
            }
        }
        assert!(valid > 50, "{name}: {valid} valid sections");
        assert!(missing.is_empty(), "{name}: no valid section has {missing:?}");
    }
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
        let is_known = |line: &str| {
            line.starts_with("registries[")
                || line.contains("reports in the workload's own namespace")
                || line.contains("scan only images that already run")
        };
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
