//! Reports and annotations of any content: only a clean and trusted one admits an image.

use container_patch_testing::case::Case;
use container_patch_testing::generators::reports::Scanner;
use container_patch_testing::properties::scans::{
    a_list_of_reports_alone_does_not_admit, only_a_clean_report_admits, only_a_trusted_clean_annotation_admits,
    report_admits,
};
use proptest::prelude::*;

const SCANNERS: [Scanner; 4] = [Scanner::Sbomscanner, Scanner::TrivyOperator, Scanner::Quay, Scanner::Kubescape];

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
    fn only_a_clean_report_admits_an_image(bytes in bytes(), scanner in prop::sample::select(&SCANNERS[..])) {
        let report = scanner.report_from(&bytes);
        only_a_clean_report_admits(scanner, &report).map_err(TestCaseError::fail)?;
        only_a_clean_report_admits(scanner, &bytes).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_list_of_reports_alone_does_not_admit_an_image(bytes in bytes(), scanner in prop::sample::select(&SCANNERS[..])) {
        let list = scanner.list_from(&bytes);
        a_list_of_reports_alone_does_not_admit(scanner, &list).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn only_a_trusted_clean_annotation_admits_an_image(bytes in bytes()) {
        let (key, text) = Case::new(&bytes).annotation;
        only_a_trusted_clean_annotation_admits(&key, &text).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn a_clean_report_of_each_scanner_admits_an_image() {
    for scanner in SCANNERS {
        assert_eq!(report_admits(scanner, &scanner.report_from(&[])), Ok(true), "{scanner:?}");
    }
}
