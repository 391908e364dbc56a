//! A JSON reader that borrows strings and skips ignored values block by block. Its errors have no details: an invalid text is
//! read again by `serde_json`, which also validates ignored values.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{JsonStr, skip};

/// The maximum nesting depth of values, as in `serde_json`. Skipped values have no limit.
const MAX_DEPTH: u8 = 128;

/// Reads a text that is one value.
pub(super) fn read<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Option<S::Value> {
    let mut reader = Reader { text, at: 0, depth: MAX_DEPTH };
    let value = seed.deserialize(&mut reader).ok()?;
    reader.skip_space();
    (reader.at == text.len()).then_some(value)
}

/// The text of the value of a key in an object.
pub(super) fn value_of<'de>(object: &'de str, key: &str) -> Option<&'de str> {
    let mut reader = Reader { text: object, at: 0, depth: MAX_DEPTH };
    reader.expect(b'{').ok()?;
    let mut items = Items { reader: &mut reader, end: b'}', is_first: true };
    while let Some(found) = items.next_key_seed(PhantomData::<JsonStr<'_>>).ok()? {
        items.reader.expect(b':').ok()?;
        let value = items.reader.skip().ok()?;
        if found.0 == key {
            return Some(value);
        }
    }
    None
}

struct Reader<'de> {
    text: &'de str,
    at: usize,
    /// The remaining nesting depth.
    depth: u8,
}

/// The error of this reader: a value cannot be read.
#[derive(Debug)]
struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot be read")
    }
}

impl std::error::Error for Failed {}

impl de::Error for Failed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'de> Reader<'de> {
    fn rest(&self) -> &'de [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space.
    fn next(&mut self) -> Result<u8, Failed> {
        self.skip_space();
        self.peek().ok_or(Failed)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Failed> {
        if self.next()? != byte {
            return Err(Failed);
        }
        self.at += 1;
        Ok(())
    }

    /// Skips a word, such as `null`, if it is next.
    fn word(&mut self, word: &str) -> bool {
        let is_next = self.rest().starts_with(word.as_bytes());
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    /// Skips the next value, and returns its text.
    fn skip(&mut self) -> Result<&'de str, Failed> {
        let first = self.next()?;
        let start = self.at;
        let rest = self.rest().get(1..).unwrap_or_default();
        let length = match first {
            b'"' => skip::rest_of_string(rest).map(|(length, _)| length + 1),
            b'{' | b'[' => skip::rest_of_container(rest),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                Some(rest.iter().take_while(|byte| !b",]} \n\r\t".contains(byte)).count())
            }
            _ => None,
        };
        self.at = start + 1 + length.ok_or(Failed)?;
        self.text.get(start..self.at).ok_or(Failed)
    }

    /// Reads a string whose opening quotation mark is next.
    fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Failed> {
        let start = self.at + 1;
        let (length, has_escapes) = skip::rest_of_string(self.rest().get(1..).unwrap_or_default()).ok_or(Failed)?;
        self.at = start + length + 1;
        if has_escapes {
            let quoted = self.text.get(start - 1..self.at).ok_or(Failed)?;
            return visitor.visit_string(serde_json::from_str(quoted).map_err(|_| Failed)?);
        }
        visitor.visit_borrowed_str(self.text.get(start..start + length).ok_or(Failed)?)
    }

    /// Reads an integer.
    fn number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Failed> {
        let text = self.skip()?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_integer =
            digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        match text.parse::<i64>() {
            _ if !is_integer || text == "-0" => Err(Failed),
            Ok(number) if number < 0 => visitor.visit_i64(number),
            _ => visitor.visit_u64(text.parse().map_err(|_| Failed)?),
        }
    }

    /// Reads an object or a list whose opening brace or bracket is next.
    fn container<T>(&mut self, end: u8, read: impl FnOnce(Items<'_, 'de>) -> Result<T, Failed>) -> Result<T, Failed> {
        self.at += 1;
        self.depth = self.depth.checked_sub(1).ok_or(Failed)?;
        let value = read(Items { reader: &mut *self, end, is_first: true })?;
        self.expect(end)?;
        self.depth += 1;
        Ok(value)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Failed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        match self.next()? {
            b'"' => self.string(visitor),
            b'{' => self.container(b'}', |items| visitor.visit_map(items)),
            b'[' => self.container(b']', |items| visitor.visit_seq(items)),
            b't' if self.word("true") => visitor.visit_bool(true),
            b'f' if self.word("false") => visitor.visit_bool(false),
            b'n' if self.word("null") => visitor.visit_unit(),
            b'-' | b'0'..=b'9' => self.number(visitor),
            _ => Err(Failed),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        match self.next()? {
            b'n' if self.word("null") => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Failed> {
        // `RawValue` requests itself with a name that no type has, and expects an object with this name as the only key.
        if name.starts_with('$') {
            visitor.visit_map(Raw { name: Some(name), text: self.skip()? })
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Failed> {
        Err(Failed)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier
    }
}

/// The items of a list, or the keys and values of an object.
struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    end: u8,
    is_first: bool,
}

impl Items<'_, '_> {
    /// Whether there is another item. It is then next.
    fn has_next(&mut self) -> Result<bool, Failed> {
        let next = self.reader.next()?;
        if next == self.end {
            return Ok(false);
        }
        if !std::mem::take(&mut self.is_first) {
            self.reader.expect(b',')?;
        }
        Ok(true)
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Failed;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failed> {
        if self.has_next()? { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failed> {
        if !self.has_next()? {
            return Ok(None);
        }
        if self.reader.next()? != b'"' {
            return Err(Failed);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failed> {
        self.reader.expect(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

/// The text of a value, for `RawValue`.
struct Raw<'de> {
    name: Option<&'static str>,
    text: &'de str,
}

impl<'de> MapAccess<'de> for Raw<'de> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failed> {
        self.name.take().map(|name| seed.deserialize(StrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failed> {
        seed.deserialize(BorrowedStrDeserializer::new(self.text))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;
    use std::marker::PhantomData;

    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
    use serde::Deserialize;
    use serde::de::IgnoredAny;
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::read;

    fn read_as<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
        read(text, PhantomData)
    }

    /// Strings with characters that are special in JSON, of about the length of blocks.
    fn strings() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("\"".to_owned()),
            Just("\\".to_owned()),
            Just("{[}]".to_owned()),
            Just("ü".to_owned()),
            Just("\n".to_owned()),
            "[a-z]{1,70}",
            any::<String>(),
        ];
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            strings().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                proptest::collection::btree_map(strings(), inner, 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_reads_the_same_values_as_serde_json(value in values(), is_pretty: bool) {
            let text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            proptest::prop_assert_eq!(read_as::<Value>(&text), Some(value));
        }

        #[test]
        fn a_skipped_value_ends_at_the_same_place_as_in_serde_json(value in values(), after in values()) {
            let text = json!({"a": [value, after]}).to_string();
            let parts: BTreeMap<&str, Vec<&RawValue>> = read_as(&text).unwrap();
            let expected: BTreeMap<&str, Vec<&RawValue>> = serde_json::from_str(&text).unwrap();
            proptest::prop_assert_eq!(
                parts["a"].iter().map(|part| part.get()).collect::<Vec<_>>(),
                expected["a"].iter().map(|part| part.get()).collect::<Vec<_>>()
            );
        }

        #[test]
        fn invalid_json_is_harmless(text in r#"[\[\]{}",:\\0-9tfn -]{0,200}"#) {
            if let Some(value) = read_as::<Value>(&text) {
                proptest::prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
            }
            let _ = read_as::<IgnoredAny>(&text);
        }
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        assert!(matches!(read_as::<BorrowedText<'_>>(r#"{"text": "plain"}"#).unwrap().text, Cow::Borrowed("plain")));
        assert!(
            matches!(read_as::<BorrowedText<'_>>(r#"{"text": "\u0041b"}"#).unwrap().text, Cow::Owned(text) if text == "Ab")
        );
    }

    #[derive(Deserialize)]
    struct BorrowedText<'a> {
        #[serde(borrow)]
        text: Cow<'a, str>,
    }

    #[test]
    fn a_value_is_found_by_its_key() {
        let object = r#"{"a": [{"b": 1}], "\u0062": "}", "c": null, "a": 2, unread"#;
        let found = ["a", "b", "c"].map(|key| super::value_of(object, key));
        assert_eq!(found, [Some(r#"[{"b": 1}]"#), Some(r#""}""#), Some("null")]);
        assert_eq!(super::value_of(object, "d"), None);
        assert_eq!(super::value_of("[]", "a"), None);
    }

    #[test]
    fn an_incomplete_value_is_not_read() {
        let whole = r#"{"text": "a", "b": [1, {"c": "d\\"}], "e": -1}"#;
        assert!(read_as::<IgnoredAny>(whole).is_some() && read_as::<Value>(whole).is_some());
        for end in 0..whole.len() {
            assert!(read_as::<Value>(&whole[..end]).is_none(), "{}", &whole[..end]);
            assert!(read_as::<IgnoredAny>(&whole[..end]).is_none(), "{}", &whole[..end]);
        }
        assert!(read_as::<Value>(&format!("{whole} x")).is_none());
    }

    #[test]
    fn only_the_depth_of_values_that_are_read_is_limited() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(read_as::<Value>(&deep).is_none());
        assert!(read_as::<IgnoredAny>(&deep).is_some());
    }
}
