//! Settings of calendars: time zones, cron expressions and freezes.

pub mod expression;
pub mod freeze;
pub mod window;
pub mod zone;
