//! Settings as they come with a request: split into sections, which are read later.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::json::Entries;

/// Settings as they come with a request. They may be large, so they are split into sections while the request is read.
#[derive(Debug, Default)]
pub enum RawSettings<'a> {
    /// No settings, or null.
    #[default]
    Nothing,
    /// An object.
    Sections(Entries<'a>),
    /// Another value, which is not valid.
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for RawSettings<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawSettingsVisitor;
        impl<'de> Visitor<'de> for RawSettingsVisitor {
            type Value = RawSettings<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("settings")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Entries::deserialize(MapAccessDeserializer::new(map)).map(RawSettings::Sections)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(RawSettings::Nothing)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(RawSettings::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(RawSettings::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(RawSettings::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(RawSettings::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(RawSettings::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(RawSettings::Other)
            }
        }
        deserializer.deserialize_any(RawSettingsVisitor)
    }
}
