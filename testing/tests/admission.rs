//! Properties of any request, with any settings and any responses of the host.

use container_patch_testing::case::Case;
use container_patch_testing::failure::Failure;
use container_patch_testing::properties::admission;
use proptest::prelude::*;

fn any_case() -> impl Strategy<Value = Case> {
    prop::collection::vec(any::<u8>(), 0..700).prop_map(|bytes| Case::new(&bytes))
}

/// Converts a failure, so that proptest looks for a smaller case.
fn check(property: Result<(), Failure>) -> Result<(), TestCaseError> {
    property.map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4 * ProptestConfig::default().cases,
        // A failure becomes a test of its own, with a name.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_response_is_well_formed_and_agrees_with_its_findings(case in any_case()) {
        check(admission::every_response_is_well_formed_and_agrees_with_its_findings(&case))?;
    }

    #[test]
    fn evaluation_is_deterministic(case in any_case()) {
        check(admission::evaluation_is_deterministic(&case))?;
    }

    #[test]
    fn an_added_container_hides_no_denial(case in any_case()) {
        check(admission::an_added_container_hides_no_denial(&case))?;
    }

    #[test]
    fn the_order_of_containers_does_not_matter(case in any_case()) {
        check(admission::the_order_of_containers_does_not_matter(&case))?;
    }

    #[test]
    fn a_rewritten_object_is_accepted_unchanged(case in any_case()) {
        check(admission::a_rewritten_object_is_accepted_unchanged(&case))?;
    }

    #[test]
    fn records_are_written_for_users_only(case in any_case()) {
        check(admission::records_are_written_for_users_only(&case))?;
    }

    #[test]
    fn a_record_on_a_pod_does_not_count_as_a_digest(case in any_case()) {
        check(admission::a_record_on_a_pod_does_not_count_as_a_digest(&case))?;
    }

    #[test]
    fn an_annotation_of_the_requester_hides_no_denial(case in any_case()) {
        check(admission::an_annotation_of_the_requester_hides_no_denial(&case))?;
    }

    #[test]
    fn only_listed_registries_are_contacted(case in any_case()) {
        check(admission::only_listed_registries_are_contacted(&case))?;
    }

    #[test]
    fn entries_for_other_namespaces_have_no_effect(case in any_case()) {
        check(admission::entries_for_other_namespaces_have_no_effect(&case))?;
    }

    #[test]
    fn the_namespace_in_the_object_does_not_count(case in any_case()) {
        check(admission::the_namespace_in_the_object_does_not_count(&case))?;
    }
}
