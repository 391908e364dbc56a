//! Slots, so that only some of many threads work at the same time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::capabilities::{Answer, Capabilities, HostCall};

/// A number of slots.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Negative if slots that were lent are needed again and not yet free.
    free: Mutex<isize>,
    freed: Condvar,
}

impl Slots {
    pub(crate) fn new(number: u16) -> Self {
        Self { free: Mutex::new(isize::try_from(number).unwrap_or(isize::MAX)), freed: Condvar::new() }
    }

    fn free(&self) -> MutexGuard<'_, isize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) {
        *self.free() += 1;
        self.freed.notify_one();
    }

    /// Waits for a free slot. It is taken until the result is dropped.
    pub(crate) fn take(&self) -> Taken<'_> {
        let mut free = self.freed.wait_while(self.free(), |free| *free <= 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Taken(self)
    }

    /// Lends a taken slot to another thread until the result is dropped. The lender then continues without waiting: a thread
    /// that is not interrupted could hold the slot for ever.
    fn lend(&self) -> Lent<'_> {
        self.add();
        Lent(self)
    }
}

pub(crate) struct Taken<'s>(&'s Slots);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.add();
    }
}

struct Lent<'s>(&'s Slots);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *self.0.free() -= 1;
    }
}

/// Answers questions. While an evaluation waits for an answer, another one gets its slot.
pub(crate) struct Lending {
    inner: Arc<dyn Capabilities>,
    slots: Arc<Slots>,
}

impl Lending {
    pub(crate) fn new(inner: Arc<dyn Capabilities>, slots: Arc<Slots>) -> Self {
        Self { inner, slots }
    }
}

impl Capabilities for Lending {
    fn answer(&self, call: HostCall) -> Answer {
        let _lent = self.slots.lend();
        self.inner.answer(call)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Slots;

    #[test]
    fn no_more_threads_work_than_there_are_slots() {
        let (slots, working, most) = (Slots::new(3), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let _taken = slots.take();
                    most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    working.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= 3);
        assert_eq!(*slots.free(), 3);
    }

    #[test]
    fn a_lent_slot_can_be_taken_and_is_owed_until_it_is_free_again() {
        let slots = Slots::new(1);
        let first = slots.take();
        let lent = slots.lend();
        let second = slots.take();
        drop(lent);
        assert_eq!(*slots.free(), -1);
        drop(second);
        assert_eq!(*slots.free(), 0);
        drop(first);
        assert_eq!(*slots.free(), 1);
    }
}
