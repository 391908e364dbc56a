//! Cron expressions in the settings.

use chrono::{DateTime, FixedOffset, Utc};
use container_patch_cron::Cron;
use serde_json::Value;
use serde_json::value::RawValue;

use super::zone::Zone;
use crate::config::read::{Path, Problems, Setting, read_string};
use crate::config::schema::Schema;

/// A cron expression that is due at some time.
#[derive(Debug, Clone, PartialEq)]
pub struct CronExpression {
    cron: Cron,
    text: String,
}

impl Setting for CronExpression {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a cron expression such as `0 0 * * TUE#2`", problems)?;
        let cron = match Cron::parse(&text) {
            Ok(cron) => cron,
            Err(error) => {
                let hint = "write minute, hour, day of month, month and day of week, such as `0 0 * * TUE#2`";
                problems.push(at, format_args!("invalid cron expression `{text}`: {error}; {hint}"));
                return None;
            }
        };
        if !cron.is_ever_due() {
            problems.push(at, format_args!("`{text}` never fires"));
            return None;
        }
        Some(Self { cron, text })
    }

    fn schema() -> Schema {
        Schema::text("cron expression", "cron expressions", r"^\s*(@[A-Za-z]+|\S+(\s+\S+){4})\s*$")
    }

    fn to_json(&self) -> Value {
        self.text.as_str().into()
    }
}

impl CronExpression {
    /// The first time after another at which the expression is due in a zone, in local time. `None` if clocks skip every later time
    /// of the expression.
    #[must_use]
    pub fn next_after(&self, time: DateTime<Utc>, zone: &Zone) -> Option<DateTime<FixedOffset>> {
        let seconds = self.cron.next_after(time.timestamp(), zone.time_zone())?;
        DateTime::from_timestamp(seconds, 0).map(|due| zone.local(due))
    }
}
