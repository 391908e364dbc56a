//! Reading JSON: fast, and with the path of what could not be read.

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

/// Reads an object of a text that a host has written.
///
/// # Errors
/// What was wrong, after the path of the value it is about.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    read_seed(text, || PhantomData::<Object<T>>).map(|Object(value)| value)
}

/// Reads an object of a text that no host has read before. Of what is asked for nothing is read from text that is no JSON
/// anywhere.
///
/// # Errors
/// What was wrong, after the path of the value it is about.
pub(crate) fn read_strictly<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    let read = serde_json::from_str(text).or_else(|_| read_tracked(text, PhantomData::<Object<T>>));
    read.map(|Object(value)| value)
}

/// The message of a serde error without the line and column at its end.
pub(crate) fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(cause, _)| cause)
}

/// Reads a field that holds an object. Left to itself, a struct would also be read from a list of its fields' values.
///
/// # Errors
/// When there is no object, or it cannot be read.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// Reads a field that holds an object or null.
///
/// # Errors
/// When there is something else, or it cannot be read.
pub(crate) fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(value)| value))
}

/// A value that is read from an object and from nothing else.
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
/// What was wrong, and at which line and column.
pub(crate) fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    reader::read(text, PhantomData).map_or_else(|| serde_json::from_str(text), Ok)
}

/// The JSON of the value of a key of an object, the first one where there are several. What stands after it is not looked
/// at.
pub(crate) fn value_of<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    reader::value_of(object, key)
}

/// Reads a value by a seed. The seed is asked for twice when the value cannot be read: finding out why, and keeping track
/// of the path, costs more than reading.
///
/// # Errors
/// What was wrong, after the path of the value it is about.
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
            // The position counts from where this reader started, which the user never sees; the path says more.
            let cause = without_position(&cause);
            // Causes and paths repeat what stands in the text.
            match track.path().to_string().as_str() {
                "." => Sanitized(cause).to_string(),
                path => format!("{}: {}", Sanitized(path), Sanitized(cause)),
            }
        } else {
            Sanitized(&cause).to_string()
        }
    })
}

/// A string, such as a key of an object, borrowed where it holds no escapes.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The keys of an object and their values, in the order in which they are written.
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
                while let Some((Key(key), value)) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// The JSON at a JSON pointer.
pub(crate) fn at<'a>(object: &'a str, pointer: &str) -> Option<&'a str> {
    pointer.split('/').skip(1).map(unescape).try_fold(object, |json, key| {
        if json.trim_start().starts_with('{') {
            return value_of(json, &key);
        }
        let items: Vec<&RawValue> = from_str(json).ok()?;
        items.get(key.parse::<usize>().ok()?).map(|item| item.get())
    })
}

/// A key of a JSON pointer, unescaped (RFC 6901, section 4).
pub(crate) fn unescape(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}
