//! What holds of every request, under whatever settings, and whatever the world answers.

use container_patch_testing::Trial;
use container_patch_testing::properties::{self, Broken};
use proptest::prelude::*;

fn any_trial() -> impl Strategy<Value = Trial> {
    prop::collection::vec(any::<u8>(), 0..700).prop_map(|bytes| Trial::new(&bytes))
}

/// The property, so that proptest looks for a smaller trial that breaks it.
fn holds(property: Result<(), Broken>) -> Result<(), TestCaseError> {
    property.map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4 * ProptestConfig::default().cases,
        // What is found becomes a test of its own, with a name.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_answer_is_well_formed_and_agrees_with_its_findings(trial in any_trial()) {
        holds(properties::every_answer_is_well_formed(&trial))?;
    }

    #[test]
    fn the_same_is_answered_the_same(trial in any_trial()) {
        holds(properties::the_same_is_answered_the_same(&trial))?;
    }

    #[test]
    fn one_more_container_clears_nothing(trial in any_trial()) {
        holds(properties::one_more_container_clears_nothing(&trial))?;
    }

    #[test]
    fn the_order_of_containers_does_not_matter(trial in any_trial()) {
        holds(properties::the_order_of_containers_does_not_matter(&trial))?;
    }

    #[test]
    fn what_is_rewritten_is_let_in_as_it_is(trial in any_trial()) {
        holds(properties::what_is_rewritten_is_let_in_as_it_is(&trial))?;
    }

    #[test]
    fn records_are_written_for_users_only(trial in any_trial()) {
        holds(properties::records_are_written_for_users_only(&trial))?;
    }

    #[test]
    fn a_record_on_a_pod_is_not_a_digest(trial in any_trial()) {
        holds(properties::a_record_on_a_pod_is_not_a_digest(&trial))?;
    }

    #[test]
    fn an_annotation_of_a_requester_clears_nothing(trial in any_trial()) {
        holds(properties::an_annotation_clears_nothing(&trial))?;
    }

    #[test]
    fn only_listed_registries_are_asked(trial in any_trial()) {
        holds(properties::only_listed_registries_are_asked(&trial))?;
    }
}
