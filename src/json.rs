//! Reads JSON with `serde_json`, reports errors with the path of the invalid value, and rewrites parts of a text.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::sanitized::Sanitized;

/// Reads an object. The whole text must be valid JSON, also the values that `T` ignores.
///
/// # Errors
/// The path of the invalid value, and the cause.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    read_seed(text, || PhantomData::<Object<T>>).map(|Object(value)| value)
}

/// The message of a serde error without the line and column at its end.
pub(crate) fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(cause, _)| cause)
}

/// Reads a field whose value is an object. By default, serde also reads a struct from a list of the values of its fields.
///
/// # Errors
/// If the value is not an object, or cannot be read.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// Reads a field whose value is an object or null.
///
/// # Errors
/// If the value is another one, or cannot be read.
pub(crate) fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(value)| value))
}

/// A value that is read from an object only.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// Reads a value with a seed. An invalid text is read again with a second seed, because tracking the path costs more than reading.
///
/// # Errors
/// The path of the invalid value, and the cause.
pub(crate) fn read_seed<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: impl Fn() -> S) -> Result<S::Value, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = seed().deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    read.or_else(|_| read_tracked(text, seed()))
}

fn read_tracked<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: S) -> Result<S::Value, String> {
    let mut track = serde_path_to_error::Track::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let outcome = seed.deserialize(tracked).and_then(|value| deserializer.end().map(|()| value));
    outcome.map_err(|error| {
        let cause = error.to_string();
        if error.is_data() {
            // The position is relative to the text of this reader, which users do not see. The path says more.
            let cause = without_position(&cause);
            // Causes and paths repeat parts of the text.
            match track.path().to_string().as_str() {
                "." => Sanitized(cause).to_string(),
                path => format!("{}: {}", Sanitized(path), Sanitized(cause)),
            }
        } else {
            Sanitized(&cause).to_string()
        }
    })
}

/// A string, such as a key of an object, borrowed if it has no escapes.
pub(crate) struct JsonStr<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonStr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonStrVisitor;
        impl<'de> Visitor<'de> for JsonStrVisitor {
            type Value = JsonStr<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonStr(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonStr(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(JsonStrVisitor)
    }
}

/// The keys and values of an object, in their order in the text.
#[derive(Debug, Clone, Default)]
pub struct Entries<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(map.size_hint().unwrap_or_default());
                while let Some((JsonStr(key), value)) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// The JSON of the value of a key in an object. The first of duplicate keys counts; the text after it is not read.
pub(crate) fn value_of<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    struct ValueVisitor<'k, 'de> {
        key: &'k str,
        found: &'k mut Option<&'de RawValue>,
    }
    impl<'de> Visitor<'de> for ValueVisitor<'_, 'de> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(JsonStr(key)) = map.next_key()? {
                if key == self.key {
                    *self.found = Some(map.next_value()?);
                    break;
                }
                map.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }
    let mut found = None;
    let visitor = ValueVisitor { key, found: &mut found };
    // It is an error that the rest of the object is not read.
    let _ = serde_json::Deserializer::from_str(object).deserialize_map(visitor);
    found.map(RawValue::get)
}

/// The JSON at a JSON pointer (RFC 6901).
pub(crate) fn at<'a>(object: &'a str, pointer: &str) -> Option<&'a str> {
    pointer.split('/').skip(1).map(unescape).try_fold(object, |json, key| {
        if json.trim_start().starts_with('{') {
            return value_of(json, &key);
        }
        let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        items.get(key.parse::<usize>().ok()?).map(|item| item.get())
    })
}

/// Unescapes a key of a JSON pointer (RFC 6901, section 4).
pub(crate) fn unescape(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

/// Replaces spans of an object's text by other JSON text. All other bytes stay the same: fields that no version of Kubernetes
/// defines, the order of keys, the spelling of numbers. `None` if a span is outside of the text, or if spans overlap.
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
    // The object is valid, edits replace values by values, and what they insert is a member with its comma.
    debug_assert!(serde_json::from_str::<IgnoredAny>(&rewritten).is_ok(), "the rewritten object is not JSON");
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

    use super::{rewrite, value_of};

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

    #[test]
    fn a_value_is_found_by_its_key() {
        let object = r#"{"a": [{"b": 1}], "\u0062": "}", "c": null, "a": 2}"#;
        let found = ["a", "b", "c"].map(|key| value_of(object, key));
        assert_eq!(found, [Some(r#"[{"b": 1}]"#), Some(r#""}""#), Some("null")]);
        assert_eq!(value_of(object, "d"), None);
        assert_eq!(value_of("[]", "a"), None);
    }
}
