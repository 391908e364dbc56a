//! Rewrites images and annotations in the JSON text of an object. All other bytes stay the same: fields that no version of
//! Kubernetes defines, the order of keys, the spelling of numbers.

use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Replaces spans of the object's text by other JSON text. `None` if a span is outside of the text, if spans overlap, or if the
/// result is not JSON.
#[must_use]
pub(crate) fn rewrite(object: &RawValue, mut edits: Vec<(Range<usize>, String)>) -> Option<String> {
    edits.sort_unstable_by_key(|(span, _)| span.start);
    let text = object.get();
    let mut rewritten = String::with_capacity(text.len() + edits.iter().map(|(_, json)| json.len()).sum::<usize>());
    let mut end = 0;
    for (span, json) in edits {
        rewritten.push_str(text.get(end..span.start)?);
        rewritten.push_str(&json);
        end = span.end;
    }
    rewritten.push_str(text.get(end..)?);
    // Skipped values have not been validated, and a response with an invalid one would not be JSON.
    serde_json::from_str::<IgnoredAny>(&rewritten).ok()?;
    Some(rewritten)
}

/// The range of a part of a text, if it is a slice of that text.
pub(crate) fn span(text: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let span = start..start.checked_add(part.len())?;
    (text.get(span.clone())? == part).then_some(span)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::rewrite;

    #[test]
    fn only_the_spans_are_replaced() {
        let text = r#"{ "z": 1.50e3, "a": "one", "b": [ "two" ], "big": 123456789012345678901234567890 }"#;
        let object: &RawValue = serde_json::from_str(text).unwrap();
        let span = |word: &str| {
            let start = text.find(word).unwrap();
            start..start + word.len()
        };
        let edits = vec![(span("\"two\""), "\"2\"".to_owned()), (span("\"one\""), r#""1\"1""#.to_owned())];
        let expected = text.replace("\"two\"", "\"2\"").replace("\"one\"", r#""1\"1""#);
        assert_eq!(rewrite(object, edits).unwrap(), expected);
    }

    #[test]
    fn spans_that_overlap_or_exceed_the_text_are_refused() {
        let object: &RawValue = serde_json::from_str("{}").unwrap();
        assert!(rewrite(object, vec![(5..9, String::new())]).is_none());
        assert!(rewrite(object, vec![(0..2, String::new()), (1..2, String::new())]).is_none());
    }
}
