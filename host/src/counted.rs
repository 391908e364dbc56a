//! Numbers with their nouns.

/// A number of things, such as `1 image` or `2 images`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
