//! How many instructions the module executes.
//!
//! Each request starts a fresh instance, so it pays for everything that the module prepares.

mod metered;

use std::sync::Arc;

use container_patch::capabilities::{AllowedResources, Nothing};
use serde_json::{Value, json};

fn instructions(function: &'static str, payload: &Value) -> (u64, Value) {
    let payload = payload.to_string().into_bytes();
    let (executed, response) = metered::execute(function, &payload, Arc::new(Nothing), AllowedResources::default())
        .expect("the module does not trap");
    (executed, serde_json::from_slice(&response).expect("the response is JSON"))
}

/// A request to create a pod of three containers.
fn pod(tag: &str) -> Value {
    let containers =
        ["a", "b", "c"].map(|name| json!({"name": name, "image": format!("registry.example.com/shop/{name}:{tag}")}));
    let object = json!({"metadata": {"name": "shop", "namespace": "shop"}, "spec": {"containers": containers}});
    json!({"kind": {"kind": "Pod"}, "operation": "CREATE", "namespace": "shop", "object": object})
}

#[test]
fn the_module_starts_in_few_instructions() {
    let (executed, version) = instructions("protocol_version", &json!(null));
    assert_eq!(version, json!("v1"));
    // It takes 5,400.
    assert!(executed < 20_000, "{executed} instructions");
}

#[test]
fn a_small_request_takes_few_instructions() {
    let off = json!({"action": "off"});
    let settings = json!({"pinning": {"action": "deny"}, "schedule": off, "baseImage": off, "scan": off});
    let pinned = format!("1@sha256:{}", "0c1d".repeat(16));
    // The bounds are about twice what the module takes. Compiling the regular expression for image references takes 542 million.
    for (tag, accepted, bound) in [(&*pinned, true, 350_000), ("1", false, 550_000)] {
        let (executed, response) = instructions("validate", &json!({"request": pod(tag), "settings": settings}));
        assert_eq!(response["accepted"], json!(accepted), "{response}");
        assert!(executed < bound, "{executed} instructions, expected fewer than {bound}");
    }
}
