//! Which requests are judged at all, and how strict findings are: who asked, what changed, exceptions and break-glass.

pub mod break_glass;
pub mod codes;
pub mod downgrade;
pub mod exceptions;
pub mod scope;
pub mod settings;
pub mod sink;
