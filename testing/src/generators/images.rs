//! Image references, and the names of the containers that use them. There are few, so that patterns and annotations match them.

use super::choices::Choices;

/// Names of containers and volumes.
pub(crate) const CONTAINER_NAMES: [&str; 6] = ["app", "side", "setup", "data", "", "a/b`\u{202e}"];

pub(crate) const DIGESTS: [&str; 5] = [
    "sha256:0000000000000000000000000000000000000000000000000000000000000001",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210",
    "sha256:2222222222222222222222222222222222222222222222222222222222222222",
    "sha512:33333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
];

const NAMES: [&str; 11] = [
    "nginx:1",
    "registry.example.com/team/app:1.4",
    "docker.io/library/nginx:1",
    "index.docker.io/nginx:1",
    "nginx",
    "nginx:latest",
    "registry.example.com/batch/job:2",
    "quay.io/org/tool",
    "Registry.Example.com:443/team/app:dev",
    "localhost:5000/app:1",
    "[::1]:5000/app:1",
];

const INVALID: [&str; 6] =
    ["", "Nginx:1", "nginx:1:2", "nginx@sha256:abc", "https://registry.example.com/app:1", "nginx`\n"];

/// An image reference of a workload. Most are valid, with or without a digest.
pub(crate) fn image(choices: &mut Choices<'_>) -> String {
    match choices.up_to(15) {
        0..=8 => choices.one_of(&NAMES).to_owned(),
        9..=13 => format!("{}@{}", choices.one_of(&NAMES), digest(choices)),
        14 => choices.one_of(&INVALID).to_owned(),
        _ => choices.text(40),
    }
}

/// One of the digests. Half of them are the same one, so that reports and annotations often match the image.
pub(crate) fn digest(choices: &mut Choices<'_>) -> &'static str {
    if choices.once_in(2) { choices.one_of(&DIGESTS) } else { DIGESTS[1] }
}

/// Image patterns for settings. Each matches one of the images.
pub(crate) const PATTERNS: [&str; 12] = [
    "*",
    "docker.io/library/nginx:*",
    "docker.io/library/nginx:1",
    "docker.io/*",
    "registry.example.com/*",
    "*.example.com/team/*",
    "registry.example.com/team/app:1.4*",
    "*/batch/*",
    "quay.io/org/tool@*",
    "localhost:5000/app:?",
    "*:latest",
    "*@sha512:*",
];
