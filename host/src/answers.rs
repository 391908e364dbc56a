//! Answers that are asked for once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Answers by question. Each question is asked once, however many ask it, and also when they ask it side by side.
pub(crate) struct Answers<T>(Mutex<HashMap<String, Slot<T>>>);

type Slot<T> = Arc<OnceLock<Result<T, String>>>;

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Answers<T> {
    /// The answer to a question, or why there is none; asks if nobody did before.
    pub(crate) fn once(&self, question: &str, ask: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let slot = {
            let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(answers.entry(question.to_owned()).or_default())
        };
        slot.get_or_init(ask).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Answers;

    #[test]
    fn a_question_is_asked_once_also_side_by_side_and_also_when_it_fails() {
        let (answers, asked) = (Answers::default(), AtomicUsize::new(0));
        let ask = |question: &str| {
            answers.once(question, || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                asked.fetch_add(1, Ordering::Relaxed);
                if question == "good" { Ok(1) } else { Err("down".to_owned()) }
            })
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!((ask("good"), ask("bad")), (Ok(1), Err("down".to_owned()))));
            }
        });
        assert_eq!(asked.into_inner(), 2);
    }
}
