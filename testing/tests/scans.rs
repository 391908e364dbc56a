//! What nobody vouches for lets no image in: reports and annotations of any content.

use container_patch_testing::Trial;
use container_patch_testing::reports::{
    Source, lets_in_by_a_clean_annotation_only, lets_in_by_a_clean_report_only, lets_in_by_no_list_of_reports,
};
use proptest::prelude::*;

const SOURCES: [Source; 4] = [Source::Sbomscanner, Source::TrivyOperator, Source::Quay, Source::Kubescape];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2 * ProptestConfig::default().cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_image_is_let_in_by_a_clean_report_only(bytes in bytes(), source in prop::sample::select(&SOURCES[..])) {
        let report = source.nearly_a_report(&bytes);
        lets_in_by_a_clean_report_only(source, &report).map_err(TestCaseError::fail)?;
        lets_in_by_a_clean_report_only(source, &bytes).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn no_list_of_reports_lets_an_image_in(bytes in bytes(), source in prop::sample::select(&SOURCES[..])) {
        let list = source.nearly_a_list(&bytes);
        lets_in_by_no_list_of_reports(source, &list).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn an_image_is_let_in_by_a_clean_annotation_only(bytes in bytes()) {
        let (key, text) = Trial::new(&bytes).annotation;
        lets_in_by_a_clean_annotation_only(&key, &text).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn a_clean_report_of_each_source_lets_an_image_in() {
    for source in SOURCES {
        assert_eq!(source.lets_in(&source.nearly_a_report(&[])), Ok(true), "{source:?}");
    }
}
