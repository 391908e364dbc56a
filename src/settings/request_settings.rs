//! The settings of one request. policy-server validates settings with `validate_settings` before the first request, and passes
//! them with each request. Of long lists, only the entries that match the namespace and images of the request are read.

use chrono::{DateTime, Utc};

use super::lazy::LazyList;
use super::{General, Override, RawSettings, Settings};
use crate::config::read::{Fields, Path, Problems};
use crate::enforcement::exceptions::{Exception, Exceptions, Source};
use crate::finding::Code;
use crate::image::Name;
use crate::rules::{RuleSettings, RuleSettingsByImage};

/// The settings of one request.
#[derive(Debug, Default)]
pub struct RequestSettings<'a> {
    /// All settings except the two lists, which are empty here.
    settings: Settings,
    overrides: LazyList<'a, RuleSettings>,
    exceptions: LazyList<'a, Exception>,
}

impl<'a> RequestSettings<'a> {
    /// The settings that came with a request for an object in this namespace.
    ///
    /// The namespace is that of the request, which the API server has authorized. `metadata.namespace` of the object does not count.
    ///
    /// # Errors
    /// The problems in the keys that are read immediately.
    pub fn read(raw: Option<RawSettings<'a>>, namespace: Option<&'a str>) -> Result<Self, Problems> {
        let Some(RawSettings { sections, overrides, exceptions }) = raw else { return Ok(Self::default()) };
        let mut problems = Problems::default();
        let Some(fields) = Fields::of(sections, Path::Root, &mut problems) else { return Err(problems) };
        let overrides = LazyList::of(overrides.unwrap_or_default(), namespace);
        let exceptions = LazyList::of(exceptions.unwrap_or_default(), namespace);
        match Settings::take(fields, &mut problems) {
            Some(settings) if problems.is_empty() => Ok(Self { settings, overrides, exceptions }),
            _ => Err(problems),
        }
    }

    /// The settings that do not belong to a rule.
    #[must_use]
    pub fn general(&self) -> &General {
        &self.settings.general
    }

    /// The settings of the rules for the image of this normalised name.
    #[must_use]
    pub fn rules_for(&self, normalized: &str) -> &RuleSettings {
        let base = &self.settings.rules;
        let mut matching = self.overrides.matching(Name::of(normalized), |fields, problems| {
            Override::take(fields, Path::Root, problems, base).map(|entry| entry.rules)
        });
        matching.next().unwrap_or(base)
    }

    /// Whether any entry of a list that has been read so far is invalid.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.overrides.is_broken() || self.exceptions.is_broken()
    }
}

impl Source for RequestSettings<'_> {
    fn exceptions_for(&self, normalized: &str) -> Vec<&Exception> {
        let read = |mut fields: Fields<'_>, problems: &mut Problems| {
            let exception = Exception::take(&mut fields, Path::Root, problems, None);
            fields.finish(Exception::KEYS, Path::Root, problems);
            exception
        };
        self.exceptions.matching(Name::of(normalized), read).collect()
    }
}

/// The settings at the time of a request.
pub struct SettingsAt<'s, 'a>(pub &'s RequestSettings<'a>, pub DateTime<Utc>);

impl RuleSettingsByImage for SettingsAt<'_, '_> {
    fn rule_settings_for(&self, name: &str) -> Option<&RuleSettings> {
        let Self(settings, _) = self;
        if settings.general().exempts(name) { None } else { Some(settings.rules_for(name)) }
    }

    fn is_excepted(&self, name: &str, code: Code) -> bool {
        let Self(settings, now) = self;
        Exceptions::for_image(*settings, name, *now).covers(code)
    }
}

#[cfg(test)]
mod tests;
