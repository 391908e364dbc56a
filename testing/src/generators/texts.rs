//! The sections and the texts from which settings are generated.

/// The sections that [`settings`](super::settings) generates itself. It generates the others from the schema.
pub(super) const SECTIONS: [&str; 13] = [
    "registries",
    "platforms",
    "exempt",
    "pinning",
    "schedule",
    "baseImage",
    "scan",
    "exceptions",
    "overrides",
    "enforcement",
    "breakGlass",
    "customWorkloads",
    "evaluateAt",
];

pub(super) const DURATIONS: [&str; 8] = ["90d", "14d", "1s", "12h", "2weeks", "36500d", "1h 30m", "7d"];

/// The finding codes that exceptions can name.
pub(super) const CODES: [&str; 16] = [
    "stale-image",
    "unpinned-image",
    "forbidden-tag",
    "patch-due",
    "unknown-build-date",
    "future-build-date",
    "outdated-base-image",
    "base-update-due",
    "unknown-base-image",
    "scan-flagged",
    "vulnerable-image",
    "patch-window-open",
    "unscanned-image",
    "stale-scan",
    "evidence-unavailable",
    "unknown-registry",
];

pub(super) const CRONS: [&str; 5] = ["0 0 * * TUE#2", "0 0 L * *", "*/5 * * * *", "0 0 * * FRI#L", "0 2 29 2 *"];

pub(super) const TIME_ZONES: [&str; 5] = ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"];

pub(super) const REGISTRIES: [&str; 6] =
    ["docker.io", "registry.example.com", "*.example.com/team/*", "localhost:5000", "quay.io/org", "*"];

pub(super) const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "windows/amd64"];

/// Patterns of namespaces. The requests are in `shop`.
pub(super) const NAMESPACES: [&str; 7] = ["shop", "sh*p", "s?op", "*", "staging-*", "shop-*", "???"];
