//! What the plugin reads from the engine whose calls it decides.
//!
//! The engine asks the plugin about these calls, too. They start nothing, so the plugin answers at once.

use anyhow::Result;
use serde_json::Value;

use super::decision::Engine;
use crate::engine::{self, EngineError, segment};

impl Engine for engine::Engine {
    fn service(&self, id: &str) -> Result<Option<Value>, String> {
        found(segment(id).and_then(|id| self.get(&format!("/services/{id}"))))
    }

    fn image(&self, name: &str) -> Result<Option<Value>, String> {
        found(segment(name).and_then(|name| self.get(&format!("/images/{name}/json"))))
    }

    fn container(&self, id: &str) -> Result<Option<Value>, String> {
        found(segment(id).and_then(|id| self.get(&format!("/containers/{id}/json"))))
    }

    fn remove_container(&self, id: &str) -> Result<(), String> {
        let removed = segment(id).and_then(|id| self.delete(&format!("/containers/{id}?force=true&v=true")));
        found(removed).map(|_| ())
    }
}

/// The answer. `None` if the engine does not have the object.
fn found<T>(answer: Result<T, EngineError>) -> Result<Option<T>, String> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(EngineError::NotFound(_)) => Ok(None),
        Err(EngineError::Failed(reason)) => Err(reason),
    }
}
