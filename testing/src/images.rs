//! The images that trials are about. They are few, so that the patterns of settings match them.

use crate::Bytes;

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

/// An image as a workload names it: mostly a valid one, with or without a digest.
pub(crate) fn image(bytes: &mut Bytes<'_>) -> String {
    match bytes.up_to(15) {
        0..=8 => bytes.one_of(&NAMES).to_owned(),
        9..=13 => format!("{}@{}", bytes.one_of(&NAMES), digest(bytes)),
        14 => bytes.one_of(&INVALID).to_owned(),
        _ => bytes.text(40),
    }
}

/// A digest that is known to trials. One of them is everywhere, so that what is said of an image is often about it.
pub(crate) fn digest(bytes: &mut Bytes<'_>) -> &'static str {
    if bytes.once_in(2) { bytes.one_of(&DIGESTS) } else { DIGESTS[1] }
}

/// A pattern of the settings: all of them match some image.
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
