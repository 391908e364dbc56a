//! Records of staging of any content: only a run that was long enough admits an image.

use container_patch_testing::generators::choices::Choices;
use container_patch_testing::generators::soaks::record;
use container_patch_testing::properties::soaks::{only_a_long_run_admits, record_admits};
use proptest::prelude::*;
use serde_json::json;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2 * ProptestConfig::default().cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn only_a_long_run_admits_an_image(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let record = record(&mut Choices::new(&bytes)).to_string();
        only_a_long_run_admits(record.as_bytes()).map_err(TestCaseError::fail)?;
        only_a_long_run_admits(&bytes).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn any_text_as_an_entry_admits_no_image_without_a_long_run(text in ".{0,80}", since in "[0-9]{4}-1[0-2]-[0-3][0-9]T[0-2][0-9]:00:00Z") {
        let key = "sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for entry in [text.clone(), json!({ "since": text }).to_string(), json!({"since": since, "where": text}).to_string()] {
            let record = json!({"data": {key: entry}}).to_string();
            only_a_long_run_admits(record.as_bytes()).map_err(TestCaseError::fail)?;
        }
    }
}

#[test]
fn generated_records_admit_some_images() {
    let mut state = 1_u64;
    let mut bytes = || {
        // The generator of `java.util.Random`.
        state = state.wrapping_mul(0x5_DEEC_E66D).wrapping_add(11);
        (state >> 24) as u8
    };
    let records =
        (0..200).map(|_| record(&mut Choices::new(&(0..80).map(|_| bytes()).collect::<Vec<_>>())).to_string());
    let admitted = records.filter(|record| record_admits(record.as_bytes()).unwrap()).count();
    assert!((20..180).contains(&admitted), "{admitted}");
}
