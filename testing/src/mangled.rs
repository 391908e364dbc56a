//! JSON that is nearly what it should be.

use serde_json::{Value, json};

use crate::Bytes;

/// The value with one of its parts replaced by something else, or taken out.
pub(crate) fn mangled(mut value: Value, bytes: &mut Bytes<'_>) -> Value {
    mangle(&mut value, bytes);
    value
}

fn mangle(part: &mut Value, bytes: &mut Bytes<'_>) {
    // The deeper parts are the more interesting ones, so that most walks go down to the end.
    let stops = bytes.once_in(6);
    match part {
        Value::Object(map) if !map.is_empty() && !stops => {
            let key = map.keys().nth(bytes.up_to(map.len() - 1)).cloned().unwrap_or_default();
            if bytes.once_in(12) {
                map.remove(&key);
            } else {
                mangle(&mut map[&key], bytes);
            }
        }
        Value::Array(items) if !items.is_empty() && !stops => {
            let index = bytes.up_to(items.len() - 1);
            mangle(&mut items[index], bytes);
        }
        _ => *part = any(bytes),
    }
}

/// Any small JSON value.
pub(crate) fn any(bytes: &mut Bytes<'_>) -> Value {
    match bytes.up_to(10) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1.5e300),
        4 => json!(u64::MAX),
        5 => json!([]),
        6 => json!({}),
        7 => json!(["a", {"b": null}]),
        8 => json!(""),
        9 => json!("x\n".repeat(20_000)),
        _ => json!(bytes.text(40)),
    }
}
