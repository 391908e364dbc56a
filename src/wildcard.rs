//! Patterns with wildcards: `*` matches any number of characters, and `?` matches one.

/// Whether a pattern matches the whole text. Settings may have thousands of patterns, and a request matches each of them once,
/// so patterns are not compiled.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // The positions after the last `*`: in the pattern, and in the text after the characters that it matches.
    let mut retry: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, read));
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at += 1;
                read += 1;
            }
            // Only the last `*` has to match more characters: with an earlier one, it would only begin later.
            _ => match &mut retry {
                Some((after, rest)) => {
                    *rest += 1;
                    (at, read) = (*after, *rest);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;
    use wildmatch::WildMatch;

    use super::matches;

    proptest! {
        #[test]
        fn a_pattern_matches_as_in_another_implementation(pattern in "[ab/*?]{0,8}", text in "[ab/]{0,12}") {
            proptest::prop_assert_eq!(matches(&pattern, &text), WildMatch::new(&pattern).matches(&text));
        }
    }
}
