//! Image references are read as others read them.

use container_patch_testing::references::{are_read_as_the_library_reads_them, name_each_registry_in_one_way};
use proptest::prelude::*;

const SHA256: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Texts made of the pieces that decide, so that most are nearly right.
fn nearly_a_reference() -> impl Strategy<Value = String> {
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
        // What was found is kept as a case of the tables beside the parser, or is explained.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nearly_valid_references_are_read_as_the_library_reads_them(text in nearly_a_reference()) {
        are_read_as_the_library_reads_them(&text).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn each_registry_has_one_name(text in nearly_a_reference()) {
        name_each_registry_in_one_way(&text).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn any_text_is_read_as_the_library_reads_it(text in "[a-zA-Z0-9._:/@\\[\\] -]{0,40}|\\PC{0,12}") {
        are_read_as_the_library_reads_them(&text).map_err(TestCaseError::fail)?;
    }
}
