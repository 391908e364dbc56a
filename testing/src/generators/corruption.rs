//! Corrupted JSON.

use serde_json::{Value, json};

use super::choices::Choices;

/// The value with one part replaced or removed.
pub(crate) fn corrupted(mut value: Value, choices: &mut Choices<'_>) -> Value {
    corrupt(&mut value, choices);
    value
}

fn corrupt(part: &mut Value, choices: &mut Choices<'_>) {
    // Deeper parts reach more code, so most walks go down to a leaf.
    let stops = choices.once_in(6);
    match part {
        Value::Object(map) if !map.is_empty() && !stops => {
            let key = map.keys().nth(choices.up_to(map.len() - 1)).cloned().unwrap_or_default();
            if choices.once_in(12) {
                map.remove(&key);
            } else {
                corrupt(&mut map[&key], choices);
            }
        }
        Value::Array(items) if !items.is_empty() && !stops => {
            let index = choices.up_to(items.len() - 1);
            corrupt(&mut items[index], choices);
        }
        _ => *part = any_json(choices),
    }
}

/// Any small JSON value.
pub(crate) fn any_json(choices: &mut Choices<'_>) -> Value {
    match choices.up_to(10) {
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
        _ => json!(choices.text(40)),
    }
}
