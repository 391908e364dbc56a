//! Caches in which each key is computed once: without limits for a command that ends, and with limits for a service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

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

/// Returns the time since a fixed moment. Tests have their own, so that they do not wait.
pub(crate) type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The clock of the system.
pub(crate) fn system_clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

/// The bytes that the cache itself needs for an entry, roughly.
const OVERHEAD: usize = 256;

/// The part of the limit that one entry may take. A larger one is not kept. The library exceeds its limit by up to 64 entries for a
/// moment.
const LARGEST_PART: u64 = 64;

/// Results by key, for a limited time and with a limited size. What was used last is kept. Each result is computed once, also when
/// several threads need it at the same time. They all get an error, but it is not kept for later ones.
pub(crate) struct BoundedCache<T> {
    entries: moka::sync::Cache<String, Entry<T>>,
    size: fn(&T) -> usize,
    largest: usize,
    clock: Clock,
}

#[derive(Clone)]
struct Entry<T> {
    result: Result<T, String>,
    expires: Duration,
}

impl<T> Entry<T> {
    fn size(&self, key: &str, size: fn(&T) -> usize) -> usize {
        OVERHEAD + key.len() + self.result.as_ref().map_or_else(String::len, size)
    }
}

impl<T: Clone + Send + Sync + 'static> BoundedCache<T> {
    /// A cache for this number of bytes. `size` is the size of a result.
    pub(crate) fn new(bytes: u64, size: fn(&T) -> usize, clock: Clock) -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(bytes)
            .weigher(move |key: &String, entry: &Entry<T>| u32::try_from(entry.size(key, size)).unwrap_or(u32::MAX))
            .eviction_policy(moka::policy::EvictionPolicy::lru())
            .build();
        let largest = usize::try_from(bytes / LARGEST_PART).unwrap_or(usize::MAX);
        Self { entries, size, largest, clock }
    }

    /// The result of a key, computed if it is not in the cache.
    pub(crate) fn get_or_compute(
        &self,
        key: &str,
        keep: Duration,
        compute: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        let entry = self
            .entries
            .entry_by_ref(key)
            .or_insert_with_if(|| self.entry(compute(), keep), |entry| self.has_expired(entry));
        let is_fresh = entry.is_fresh();
        let entry = entry.into_value();
        if is_fresh && entry.size(key, self.size) > self.largest {
            self.entries.invalidate(key);
        }
        entry.result
    }

    /// The result of a key, if it is in the cache.
    pub(crate) fn get(&self, key: &str) -> Option<T> {
        let entry = self.entries.get(key)?;
        if self.has_expired(&entry) { None } else { entry.result.ok() }
    }

    pub(crate) fn insert(&self, key: String, keep: Duration, value: T) {
        let entry = self.entry(Ok(value), keep);
        if entry.size(&key, self.size) <= self.largest {
            self.entries.insert(key, entry);
        }
    }

    pub(crate) fn remove(&self, key: &str) {
        self.entries.invalidate(key);
    }

    fn entry(&self, result: Result<T, String>, keep: Duration) -> Entry<T> {
        let now = (self.clock)();
        let expires = if result.is_ok() { now.saturating_add(keep) } else { now };
        Entry { result, expires }
    }

    fn has_expired(&self, entry: &Entry<T>) -> bool {
        entry.expires <= (self.clock)()
    }
}

/// A cache of either kind.
pub(crate) enum AnyCache<T> {
    /// Everything is kept until the process ends.
    Unlimited(Cache<T>),
    Bounded(BoundedCache<T>),
}

impl<T: Clone + Send + Sync + 'static> AnyCache<T> {
    /// The result of a key, computed if it is not in the cache. `keep` is how long a bounded cache keeps it.
    pub(crate) fn get_or_compute(
        &self,
        key: &str,
        keep: impl FnOnce() -> Duration,
        compute: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        match self {
            Self::Unlimited(cache) => cache.get_or_compute(key, compute),
            Self::Bounded(cache) => cache.get_or_compute(key, keep(), compute),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};
    use std::time::Duration;

    use super::{BoundedCache, Cache, Clock};
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

    const MINUTE: Duration = Duration::from_secs(60);

    /// A clock that stands still, and its seconds.
    fn stopped() -> (Clock, Arc<AtomicU64>) {
        let seconds: Arc<AtomicU64> = Arc::default();
        let of_clock = Arc::clone(&seconds);
        (Arc::new(move || Duration::from_secs(of_clock.load(Ordering::SeqCst))), seconds)
    }

    fn bounded(bytes: u64) -> (BoundedCache<Vec<u8>>, Arc<AtomicU64>) {
        let (clock, seconds) = stopped();
        (BoundedCache::new(bytes, Vec::len, clock), seconds)
    }

    #[test]
    fn a_bounded_cache_keeps_a_result_until_its_time_is_over() {
        let (cache, seconds) = bounded(1 << 20);
        let at = |now: u64, content: &[u8]| {
            seconds.store(now, Ordering::SeqCst);
            cache.get_or_compute("key", MINUTE, || Ok(content.to_vec())).unwrap()
        };
        assert_eq!(at(0, b"old"), b"old");
        assert_eq!(at(59, b"new"), b"old");
        assert_eq!(at(60, b"new"), b"new");
        assert_eq!(at(119, b"newer"), b"new");
        assert_eq!(cache.get("key"), Some(b"new".to_vec()));
        seconds.store(120, Ordering::SeqCst);
        assert_eq!(cache.get("key"), None);
    }

    #[test]
    fn a_bounded_cache_does_not_keep_errors() {
        let (cache, _) = bounded(1 << 20);
        assert_eq!(cache.get_or_compute("key", MINUTE, || Err("down".to_owned())), Err("down".to_owned()));
        assert_eq!(cache.get_or_compute("key", MINUTE, || Ok(vec![1])), Ok(vec![1]));
        assert_eq!(cache.get_or_compute("key", MINUTE, || Err("down".to_owned())), Ok(vec![1]));
    }

    #[test]
    fn a_bounded_cache_computes_once_for_all_threads_that_wait_also_when_it_fails() {
        for result in [Ok(vec![1]), Err("down".to_owned())] {
            let (cache, _) = bounded(1 << 20);
            let (computed, started) = (AtomicUsize::new(0), Barrier::new(8));
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        started.wait();
                        let found = cache.get_or_compute("key", MINUTE, || {
                            computed.fetch_add(1, Ordering::SeqCst);
                            // The others start to wait.
                            std::thread::sleep(Duration::from_millis(200));
                            result.clone()
                        });
                        assert_eq!(found, result);
                    });
                }
            });
            assert_eq!(computed.into_inner(), 1, "{result:?}");
        }
    }

    #[test]
    fn a_slow_key_does_not_hold_up_others() {
        let (cache, _) = bounded(1 << 20);
        let inner = cache.get_or_compute("slow", MINUTE, || cache.get_or_compute("fast", MINUTE, || Ok(vec![1])));
        assert_eq!(inner, Ok(vec![1]));
    }

    #[test]
    fn a_bounded_cache_stays_within_its_bytes_however_many_keys_there_are() {
        let (cache, _) = bounded(1 << 20);
        for key in 0..100_000 {
            let content = || Ok(vec![0; 1000]);
            cache.get_or_compute(&format!("key {key}"), MINUTE, content).unwrap();
        }
        cache.entries.run_pending_tasks();
        assert!(cache.entries.weighted_size() <= 1 << 20, "{}", cache.entries.weighted_size());
        assert!(cache.entries.entry_count() > 500, "{}", cache.entries.entry_count());
        assert!(cache.get("key 99999").is_some(), "the latest is kept");
    }

    #[test]
    fn a_result_that_takes_a_large_part_of_the_cache_is_returned_and_not_kept() {
        let (cache, _) = bounded(1 << 20);
        let large = vec![0; 1 << 15];
        assert_eq!(cache.get_or_compute("large", MINUTE, || Ok(large.clone())), Ok(large.clone()));
        assert_eq!(cache.get("large"), None);
        cache.insert("large".to_owned(), MINUTE, large);
        assert_eq!(cache.get("large"), None);
        cache.insert("small".to_owned(), MINUTE, vec![1]);
        assert_eq!(cache.get("small"), Some(vec![1]));
        cache.remove("small");
        assert_eq!(cache.get("small"), None);
    }
}
