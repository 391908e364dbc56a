//! Reading JSON with the path of what could not be read.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Visitor};

/// Reads a value.
///
/// # Errors
/// What was wrong, after the path of the value it is about.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    read_seed(text, || PhantomData::<T>)
}

/// Reads a value by a seed. The seed is asked for twice when the value cannot be read: keeping track of the path costs
/// more than reading, so that is left to the second time.
///
/// # Errors
/// What was wrong, after the path of the value it is about.
pub(crate) fn read_seed<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: impl Fn() -> S) -> Result<S::Value, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outcome = seed().deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    outcome.map_err(|error| {
        let mut track = serde_path_to_error::Track::new();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
        let error = seed().deserialize(tracked).err().unwrap_or(error);
        let cause = error.to_string();
        if error.is_data() {
            // The position counts from where this reader started, which the user never sees; the path says more.
            let cause = cause.rsplit_once(" at line ").map_or(cause.as_str(), |(cause, _)| cause);
            match track.path().to_string().as_str() {
                "." => cause.to_owned(),
                path => format!("{path}: {cause}"),
            }
        } else {
            cause
        }
    })
}

/// A key of an object, borrowed where it holds no escapes.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
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
