//! Which requests are judged, and how strictly findings are enforced: requesters, changes, exceptions and break-glass.

pub mod break_glass;
pub mod codes;
pub mod downgrade;
pub mod exceptions;
pub mod fixes;
pub mod scope;
pub mod settings;
pub mod sink;
