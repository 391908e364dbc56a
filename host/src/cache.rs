//! A cache in which each key is computed once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Results by key. Each is computed once, also when several threads need it at the same time. Errors are kept, too.
pub(crate) struct Cache<T>(Mutex<HashMap<String, Slot<T>>>);

type Slot<T> = Arc<OnceLock<Result<T, String>>>;

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Cache<T> {
    /// The result of a key, computed if it is not in the cache.
    pub(crate) fn get_or_compute(&self, key: &str, compute: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key.to_owned()).or_default())
        };
        slot.get_or_init(compute).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Cache;

    #[test]
    fn a_key_is_computed_once_even_in_parallel_and_even_if_it_fails() {
        let (cache, computed) = (Cache::default(), AtomicUsize::new(0));
        let get = |key: &str| {
            cache.get_or_compute(key, || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                computed.fetch_add(1, Ordering::Relaxed);
                if key == "good" { Ok(1) } else { Err("down".to_owned()) }
            })
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!((get("good"), get("bad")), (Ok(1), Err("down".to_owned()))));
            }
        });
        assert_eq!(computed.into_inner(), 2);
    }
}
