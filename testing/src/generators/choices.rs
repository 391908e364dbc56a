//! The choices that a generated value is made from.

use arbitrary::Unstructured;

/// Choices that are read from bytes. At their end, every choice is the first option and no rare event happens, so fewer bytes
/// make simpler values.
#[derive(Debug)]
pub struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    /// The choices in some bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// A number from 0 to `most`, inclusive.
    pub fn up_to(&mut self, most: usize) -> usize {
        self.0.int_in_range(0..=most).unwrap_or_default()
    }

    /// One of several options.
    pub fn one_of<T: Clone>(&mut self, options: &[T]) -> T {
        options[self.up_to(options.len() - 1)].clone()
    }

    /// Whether a rare event happens, which has a chance of one in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.up_to(times - 1) == times - 1
    }

    /// A list of at most `most` values.
    pub fn few<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.up_to(most)).map(|_| make(self)).collect()
    }

    /// At most `most` bytes.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.up_to(most).min(self.0.len());
        self.0.bytes(length).unwrap_or_default().to_vec()
    }

    /// Any text of about `most` bytes.
    pub fn text(&mut self, most: usize) -> String {
        String::from_utf8_lossy(&self.bytes(most)).into_owned()
    }
}
