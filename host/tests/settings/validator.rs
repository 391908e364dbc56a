//! As much of JSON Schema as the schema of the settings is made of; anything else is refused. The crates that know all of
//! it change the features of crates that the host is built of, which then would be built twice.

use regex::Regex;
use serde_json::Value;

/// Whether a value is valid by a schema.
pub(crate) struct Validator(Value);

impl Validator {
    pub(crate) fn new(schema: Value) -> Self {
        Self(schema)
    }

    pub(crate) fn accepts(&self, value: &Value) -> bool {
        self.valid(&self.0, value)
    }

    fn valid(&self, schema: &Value, value: &Value) -> bool {
        let schema = schema.as_object().unwrap_or_else(|| panic!("a schema: {schema}"));
        let list = |of: &Value| of.as_array().unwrap_or_else(|| panic!("a list: {of}")).clone();
        schema.iter().all(|(keyword, argument)| match (keyword.as_str(), value) {
            ("$schema" | "$id" | "$defs" | "definitions" | "title" | "description" | "default" | "format", _) => true,
            ("$ref", _) => {
                let pointer = argument.as_str().unwrap().strip_prefix('#').unwrap();
                self.valid(self.0.pointer(pointer).unwrap_or_else(|| panic!("{argument} is nowhere")), value)
            }
            ("type", _) if argument.is_array() => list(argument).iter().any(|kind| is_of(kind, value)),
            ("type", _) => is_of(argument, value),
            ("enum", _) => list(argument).contains(value),
            ("not", _) => !self.valid(argument, value),
            ("anyOf", _) => list(argument).iter().any(|schema| self.valid(schema, value)),
            ("allOf", _) => list(argument).iter().all(|schema| self.valid(schema, value)),
            ("pattern", Value::String(text)) => Regex::new(argument.as_str().unwrap()).unwrap().is_match(text),
            ("minimum", Value::Number(number)) => number.as_f64() >= argument.as_f64(),
            ("maximum", Value::Number(number)) => number.as_f64() <= argument.as_f64(),
            ("minItems", Value::Array(items)) => items.len() as u64 >= argument.as_u64().unwrap(),
            ("items", Value::Array(items)) => items.iter().all(|item| self.valid(argument, item)),
            ("required", Value::Object(object)) => {
                list(argument).iter().all(|key| object.contains_key(key.as_str().unwrap()))
            }
            ("properties", Value::Object(object)) => {
                object.iter().all(|(key, value)| argument.get(key).is_none_or(|schema| self.valid(schema, value)))
            }
            ("additionalProperties", Value::Object(object)) => {
                assert_eq!(argument, &Value::Bool(false));
                object.keys().all(|key| schema["properties"].get(key).is_some())
            }
            (
                "pattern"
                | "minimum"
                | "maximum"
                | "minItems"
                | "items"
                | "required"
                | "properties"
                | "additionalProperties",
                _,
            ) => true,
            _ => panic!("the keyword {keyword} is not known here"),
        })
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not known here"),
    }
}
