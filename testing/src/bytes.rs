//! Choices, made by bytes.

use arbitrary::Unstructured;

/// Bytes that decide what a trial is like. Where they run out, every choice is its first, and nothing rare happens: fewer
/// bytes make simpler trials.
#[derive(Debug)]
pub struct Bytes<'a>(Unstructured<'a>);

impl<'a> Bytes<'a> {
    /// Choices by these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// A number from 0 to `most`, both included.
    pub fn up_to(&mut self, most: usize) -> usize {
        self.0.int_in_range(0..=most).unwrap_or_default()
    }

    /// One of some options.
    pub fn one_of<T: Clone>(&mut self, options: &[T]) -> T {
        options[self.up_to(options.len() - 1)].clone()
    }

    /// Whether something happens that does once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.up_to(times - 1) == times - 1
    }

    /// A few of what is made.
    pub fn few<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.up_to(most)).map(|_| make(self)).collect()
    }

    /// Bytes as they are.
    pub fn raw(&mut self, most: usize) -> Vec<u8> {
        let length = self.up_to(most).min(self.0.len());
        self.0.bytes(length).unwrap_or_default().to_vec()
    }

    /// Any text.
    pub fn text(&mut self, most: usize) -> String {
        String::from_utf8_lossy(&self.raw(most)).into_owned()
    }
}
