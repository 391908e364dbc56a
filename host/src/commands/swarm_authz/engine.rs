//! What the plugin reads from the engine whose calls it decides.
//!
//! The engine asks the plugin about these calls, too. They start nothing, so the plugin answers at once.

use std::sync::Arc;

use serde_json::Value;

use super::decision::Engine;
use super::metrics::Metrics;
use crate::engine::{self, EngineError, segment};

/// The client of the engine, whose errors are counted.
pub(super) struct CountedEngine {
    engine: engine::Engine,
    metrics: Arc<Metrics>,
}

impl CountedEngine {
    pub(super) fn new(engine: engine::Engine, metrics: Arc<Metrics>) -> Self {
        Self { engine, metrics }
    }

    fn get(&self, kind: &str, name: &str, of: &str) -> Result<Option<Value>, String> {
        self.found(segment(name).and_then(|name| self.engine.get(&format!("/{kind}/{name}{of}"))))
    }

    /// The answer. `None` if the engine does not have the object.
    fn found<T>(&self, answer: Result<T, EngineError>) -> Result<Option<T>, String> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(EngineError::Failed(reason)) => {
                self.metrics.engine_error();
                Err(reason)
            }
        }
    }
}

impl Engine for CountedEngine {
    fn service(&self, id: &str) -> Result<Option<Value>, String> {
        self.get("services", id, "")
    }

    fn image(&self, name: &str) -> Result<Option<Value>, String> {
        self.get("images", name, "/json")
    }

    fn container(&self, id: &str) -> Result<Option<Value>, String> {
        self.get("containers", id, "/json")
    }

    fn remove_container(&self, id: &str) -> Result<(), String> {
        let removed = segment(id).and_then(|id| self.engine.delete(&format!("/containers/{id}?force=true&v=true")));
        self.found(removed).map(|_| ())
    }
}
