//! Facts about images. Evidence asks the world and never decides; rules decide and never ask.

pub mod build_date;
pub mod registry;
