//! The policy parses image references as other libraries do.

use container_patch_testing::properties::references::{each_registry_has_one_name, parses_like_oci_spec};
use proptest::prelude::*;

const SHA256: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Texts that are made of the parts of a reference, so that most are almost valid.
fn almost_a_reference() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just(String::new()),
        Just("localhost/".to_owned()),
        Just("index.docker.io/".to_owned()),
        Just("docker.io:443/".to_owned()),
        "(registry-1\\.docker\\.io|[Rr]egistry\\.hub\\.docker\\.com)(:0?443)?/",
        "[Rr]egistry(:443)?/",
        "([a-zA-Z0-9-]{1,4}\\.){1,3}[a-z]{1,3}(:[0-9]{0,6})?/",
        "\\[[0-9a-f:]{2,9}\\](:[0-9]{1,5})?/",
        "\\[(0{0,4}[1-9a-fA-F]?:){2,7}(:[0-9a-f]{1,4}|[0-9]{1,3}(\\.[0-9]{1,3}){3})\\](:0?[0-9]{1,4})?/",
        "(0[xX]?)?[0-9a-f]{1,3}(\\.(0[xX]?)?[0-9]{1,3}){0,4}(:0?[0-9]{1,4})?/",
    ];
    let path = prop_oneof![4 => "[a-z0-9]{1,4}([._/-]{0,3}[a-zA-Z0-9]{0,4}){0,4}", 1 => "sha(256|384|512)"];
    let tag = prop_oneof![
        Just(String::new()),
        ":[A-Za-z0-9_.-]{0,6}",
        ":[a-z]{126,130}",
        ":([0-9a-f]{0,12}|[0-9a-f]{64}|[0-9a-f]{128})",
    ];
    let digest = prop_oneof![
        Just(String::new()),
        Just(format!("@{SHA256}")),
        "@sha256:[0-9a-fA-F]{62,66}",
        "@sha512:[0-9a-f]{127,129}",
        "@[a-z0-9+]{1,6}:[0-9a-f]{32,64}",
    ];
    (host, path, tag, digest).prop_map(|(host, path, tag, digest)| host + &path + &tag + &digest)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16 * ProptestConfig::default().cases,
        // A failure becomes a row of the tables beside the parser, or is explained.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn almost_valid_references_are_parsed_as_oci_spec_parses_them(text in almost_a_reference()) {
        parses_like_oci_spec(&text).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn references_to_the_same_registry_name_it_alike(text in almost_a_reference()) {
        each_registry_has_one_name(&text).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn any_text_is_parsed_as_oci_spec_parses_it(text in "[a-zA-Z0-9._:/@\\[\\] -]{0,40}|\\PC{0,12}") {
        parses_like_oci_spec(&text).map_err(TestCaseError::fail)?;
    }
}
