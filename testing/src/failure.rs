//! Why a property does not hold.

/// Why a property does not hold.
pub type Failure = String;

/// Returns a [`Failure`] unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($failure:tt)+) => {
        if !$condition {
            return Err(format!($($failure)+));
        }
    };
}
pub(crate) use ensure;
