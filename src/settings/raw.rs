//! Settings as they come with a request: split into sections, which are read later.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::json::{Entries, JsonStr};

/// Settings as they come with a request. They may be large, so they are split while the request is read, in the same pass: into
/// sections, and the two lists that may be long into entries.
#[derive(Debug, Default)]
pub struct RawSettings<'a> {
    /// The sections, without the two lists.
    pub sections: Entries<'a>,
    /// The entries of `overrides`.
    pub overrides: Option<Vec<Entries<'a>>>,
    /// The entries of `exceptions`.
    pub exceptions: Option<Vec<Entries<'a>>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for RawSettings<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawSettingsVisitor;
        impl<'de> Visitor<'de> for RawSettingsVisitor {
            type Value = RawSettings<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut settings = RawSettings::default();
                while let Some(JsonStr(key)) = map.next_key()? {
                    let list = match key.as_ref() {
                        "overrides" => &mut settings.overrides,
                        "exceptions" => &mut settings.exceptions,
                        _ => {
                            settings.sections.0.push((key, map.next_value()?));
                            continue;
                        }
                    };
                    if list.is_some() {
                        return Err(A::Error::custom("duplicate key"));
                    }
                    *list = Some(map.next_value::<Option<_>>()?.unwrap_or_default());
                }
                Ok(settings)
            }
        }
        deserializer.deserialize_map(RawSettingsVisitor)
    }
}
