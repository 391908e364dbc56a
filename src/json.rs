//! Reads JSON quickly, and reports errors with the path of the invalid value.

pub(crate) mod edit;
mod reader;
mod skip;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::sanitized::Sanitized;

/// Reads an object from the JSON text of a host. Values that `T` ignores are not validated.
///
/// # Errors
/// The path of the invalid value, and the cause.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    read_seed(text, || PhantomData::<Object<T>>).map(|Object(value)| value)
}

/// Reads an object from a text that no host has parsed before. The whole text must be valid JSON.
///
/// # Errors
/// The path of the invalid value, and the cause.
pub(crate) fn read_strictly<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    let read = serde_json::from_str(text).or_else(|_| read_tracked(text, PhantomData::<Object<T>>));
    read.map(|Object(value)| value)
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

/// Reads a value.
///
/// # Errors
/// The cause, with its line and column.
pub(crate) fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    reader::read(text, PhantomData).map_or_else(|| serde_json::from_str(text), Ok)
}

/// The JSON of the value of a key in an object. The first of duplicate keys counts; the text after it is not read.
pub(crate) fn value_of<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    reader::value_of(object, key)
}

/// Reads a value with a seed. An invalid text is read again with a second seed, because tracking the path and the cause costs
/// more than reading.
///
/// # Errors
/// The path of the invalid value, and the cause.
pub(crate) fn read_seed<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: impl Fn() -> S) -> Result<S::Value, String> {
    reader::read(text, seed()).map_or_else(|| read_tracked(text, seed()), Ok)
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
#[derive(Debug)]
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

/// The JSON at a JSON pointer (RFC 6901).
pub(crate) fn at<'a>(object: &'a str, pointer: &str) -> Option<&'a str> {
    pointer.split('/').skip(1).map(unescape).try_fold(object, |json, key| {
        if json.trim_start().starts_with('{') {
            return value_of(json, &key);
        }
        let items: Vec<&RawValue> = from_str(json).ok()?;
        items.get(key.parse::<usize>().ok()?).map(|item| item.get())
    })
}

/// Unescapes a key of a JSON pointer (RFC 6901, section 4).
pub(crate) fn unescape(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}
