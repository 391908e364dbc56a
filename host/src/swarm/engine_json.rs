//! JSON of requests, as the engine reads it.
//!
//! The engine is written in Go, whose `encoding/json` matches the names of fields without regard to case, takes the last of several
//! values, and replaces invalid text. A body that has two readings is refused, because the engine may read what was not judged.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::json_type::json_type;

/// The most values in a body. Services have a few hundred. A value takes much more memory than its text.
const MAX_VALUES: usize = 20_000;

/// Reads a body: one JSON object, in which each name of an object is written once.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read_object(body: &[u8]) -> Result<Value, String> {
    let left = Cell::new(MAX_VALUES);
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = Unique(&left).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    let value = value.map_err(|error| format!("invalid JSON: {error}"))?;
    match value {
        Value::Object(_) => Ok(value),
        other => Err(format!("expected an object, found {}", json_type(&other))),
    }
}

/// A field of an object of the engine's API. `null` counts as missing.
///
/// # Errors
/// When several names are this field for the engine.
pub(crate) fn field<'v>(object: &'v Value, name: &str) -> Result<Option<&'v Value>, String> {
    let Some(fields) = object.as_object() else { return Ok(None) };
    let mut found = fields.iter().filter(|(key, _)| is_same_name(key, name));
    let first = found.next();
    if let (Some((first, _)), Some((second, _))) = (first, found.next()) {
        return Err(format!("`{first}` and `{second}` are the same field; write `{name}` once"));
    }
    Ok(first.map(|(_, value)| value).filter(|value| !value.is_null()))
}

/// A field that is an object. An empty object if it is missing.
///
/// # Errors
/// When several names are this field for the engine, or the value is of another type.
pub(crate) fn object<'v>(parent: &'v Value, name: &str) -> Result<Option<&'v Value>, String> {
    match field(parent, name)? {
        Some(other) if !other.is_object() => Err(format!("`{name}`: expected an object, found {}", json_type(other))),
        found => Ok(found),
    }
}

/// A field that is a list. Empty if it is missing.
///
/// # Errors
/// When several names are this field for the engine, or the value is of another type.
pub(crate) fn list<'v>(parent: &'v Value, name: &str) -> Result<&'v [Value], String> {
    match field(parent, name)? {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(format!("`{name}`: expected a list, found {}", json_type(other))),
    }
}

/// A field that is a string.
///
/// # Errors
/// When several names are this field for the engine, or the value is of another type.
pub(crate) fn text<'v>(parent: &'v Value, name: &str) -> Result<Option<&'v str>, String> {
    match field(parent, name)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("`{name}`: expected a string, found {}", json_type(other))),
    }
}

/// Whether Go takes a name in JSON for the field of this name: letters are compared without regard to case, and the Kelvin sign and
/// the long s are a `k` and an `s`.
fn is_same_name(key: &str, field: &str) -> bool {
    let folded = |character: char| match character {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(folded).eq(field.chars().map(folded))
}

/// Reads a value in whose objects each name is written once, as one of the values that are left.
#[derive(Clone, Copy)]
struct Unique<'l>(&'l Cell<usize>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.0.get().checked_sub(1) else {
            return Err(D::Error::custom(format_args!("more than {MAX_VALUES} values")));
        };
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the name `{}` is written twice", name.escape_debug())));
            }
            object.insert(name, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{field, list, object, read_object, text};

    #[test]
    fn a_body_is_one_object_in_utf_8() {
        assert_eq!(
            read_object(b" {\"a\": [1, -1, 1.5, true, null, {\"b\": \"c\"}]}\n").unwrap(),
            json!({"a": [1, -1, 1.5, true, null, {"b": "c"}]})
        );
        for (body, error) in [
            (&b"[1]"[..], "expected an object, found a list"),
            (b"", "invalid JSON: EOF while parsing a value at line 1 column 0"),
            (b"{\"Image\": \"a\"", "invalid JSON: EOF while parsing an object at line 1 column 13"),
            (b"{} {}", "invalid JSON: trailing characters at line 1 column 4"),
            (
                b"{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}",
                "invalid JSON: the name `c` is written twice at line 1 column 26",
            ),
        ] {
            assert_eq!(read_object(body).unwrap_err(), error);
        }
        assert!(read_object(b"{\"a\": \"\xff\"}").is_err(), "Go replaces invalid UTF-8");
        assert!(read_object(br#"{"a": "\ud800"}"#).is_err(), "Go replaces half a surrogate pair");
    }

    #[test]
    fn a_body_with_very_many_values_is_refused_before_it_takes_their_memory() {
        let body = |number: usize| format!(r#"{{"a": [{}]}}"#, vec!["0"; number].join(","));
        assert!(read_object(body(19_998).as_bytes()).is_ok());
        assert_eq!(
            read_object(body(19_999).as_bytes()).unwrap_err(),
            "invalid JSON: more than 20000 values at line 1 column 40003"
        );
    }

    #[test]
    fn a_field_has_the_spellings_of_go() {
        for key in ["Image", "image", "IMAGE", "iMaGe"] {
            assert_eq!(text(&json!({key: "a"}), "Image"), Ok(Some("a")), "{key}");
        }
        for (key, name) in [("Ta\u{17f}\u{212a}Template", "TaskTemplate"), ("TAſKTEMPLATE", "TaskTemplate")] {
            assert!(object(&json!({key: {}}), name).unwrap().is_some(), "{key}");
        }
        for key in ["Imag", "Image ", "Ímage", "Imagé"] {
            assert_eq!(text(&json!({key: "a"}), "Image"), Ok(None), "{key}");
        }
    }

    #[test]
    fn a_field_that_is_written_twice_is_an_error() {
        let twice = json!({"Image": "fresh", "image": "stale"});
        assert_eq!(
            field(&twice, "Image"),
            Err("`Image` and `image` are the same field; write `Image` once".to_owned())
        );
    }

    #[test]
    fn a_field_of_another_type_is_an_error() {
        let value = json!({"Image": 1, "Mounts": {}, "HostConfig": "", "Labels": null});
        assert_eq!(text(&value, "Image").unwrap_err(), "`Image`: expected a string, found a number");
        assert_eq!(list(&value, "Mounts").unwrap_err(), "`Mounts`: expected a list, found an object");
        assert_eq!(object(&value, "HostConfig").unwrap_err(), "`HostConfig`: expected an object, found a string");
        assert_eq!(object(&value, "Labels"), Ok(None));
        assert_eq!(list(&value, "Labels"), Ok(&[][..]));
    }
}
