//! The settings as a request needs them. policy-server has had them validated by `validate_settings` before the first request,
//! and hands them over with each one: long lists are read as far as the images of the request ask for.

use std::cell::{Cell, OnceCell};

use serde_json::value::RawValue;

use super::read::{Fields, Path, Problems, Setting};
use super::{Override, Rules, Settings};
use crate::enforcement::exceptions::{Exception, Source};
use crate::image::{ImagePattern, Name};
use crate::json::{self, Key};

/// The settings of one request.
#[derive(Debug, Default)]
pub struct InForce<'a> {
    /// All but the two lists, which are empty here.
    sections: Settings,
    overrides: Entries<'a, Override>,
    exceptions: Entries<'a, Exception>,
}

impl<'a> InForce<'a> {
    /// The settings in JSON.
    ///
    /// # Errors
    /// What is wrong, as far as it is read now.
    pub fn read(json: &'a RawValue) -> Result<Self, Problems> {
        if json.get() == "null" {
            return Ok(Self::default());
        }
        let mut problems = Problems::default();
        let Some(mut fields) = Fields::read(json, Path::Root, &mut problems) else { return Err(problems) };
        let overrides = Entries::of(fields.take_unread("overrides"));
        let exceptions = Entries::of(fields.take_unread("exceptions"));
        match Settings::from_fields(fields, Path::Root, &mut problems) {
            Some(sections) if problems.is_empty() => Ok(Self { sections, overrides, exceptions }),
            _ => Err(problems),
        }
    }

    /// The settings that are read in any case.
    #[must_use]
    pub fn sections(&self) -> &Settings {
        &self.sections
    }

    /// The rules for the image of this normalised name.
    #[must_use]
    pub fn rules_for(&self, normalized: &str) -> Rules<'_> {
        self.sections.rules_with(self.overrides.matching(Name::of(normalized)).next())
    }

    /// Whether something that was read since the beginning turned out to be wrong.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.overrides.is_broken.get() || self.exceptions.is_broken.get()
    }
}

impl Source for InForce<'_> {
    fn exceptions_for(&self, normalized: &str) -> Vec<&Exception> {
        self.exceptions.matching(Name::of(normalized)).collect()
    }
}

/// A list of entries, each for some images.
#[derive(Debug)]
struct Entries<'a, T> {
    json: Option<&'a RawValue>,
    located: OnceCell<Located<'a, T>>,
    is_broken: Cell<bool>,
}

/// The entries, and the images that each is for.
#[derive(Debug)]
struct Located<'a, T> {
    /// With the number of its entry.
    patterns: Vec<(ImagePattern<'a>, usize)>,
    entries: Vec<Entry<'a, T>>,
}

#[derive(Debug)]
struct Entry<'a, T> {
    json: &'a RawValue,
    read: OnceCell<Option<T>>,
}

impl<T> Default for Entries<'_, T> {
    fn default() -> Self {
        Self { json: None, located: OnceCell::new(), is_broken: Cell::new(false) }
    }
}

impl<T> Default for Located<'_, T> {
    fn default() -> Self {
        Self { patterns: Vec::new(), entries: Vec::new() }
    }
}

impl<'a, T: Setting> Entries<'a, T> {
    fn of(json: Option<&'a RawValue>) -> Self {
        Self { json, ..Self::default() }
    }

    /// The entries for the image of a name, in their order.
    fn matching<'s>(&'s self, name: Name<'_>) -> impl Iterator<Item = &'s T> {
        let located = self.located.get_or_init(|| {
            let located = self.json.map_or_else(|| Some(Located::default()), locate);
            self.is_broken.set(located.is_none());
            located.unwrap_or_default()
        });
        let mut last = None;
        let matching = located.patterns.iter().filter(move |(pattern, _)| pattern.matches_name(&name));
        let entries = matching.filter_map(move |(_, entry)| {
            // One entry may have several patterns that match.
            (last.replace(*entry) != Some(*entry)).then(|| located.entries.get(*entry))?
        });
        entries.filter_map(|entry| {
            let read = entry.read.get_or_init(|| {
                let mut problems = Problems::default();
                let read = T::read(entry.json, Path::Root, &mut problems).filter(|_| problems.is_empty());
                self.is_broken.set(self.is_broken.get() || read.is_none());
                read
            });
            read.as_ref()
        })
    }
}

/// Reads which images each entry of a list is for, and nothing else of it.
fn locate<T>(json: &RawValue) -> Option<Located<'_, T>> {
    let entries: Vec<&RawValue> = json::from_str(json.get()).ok()?;
    let mut patterns = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        let images = json::value_of(entry.get(), "images")?;
        let images: Vec<Key<'_>> = json::from_str(images).ok()?;
        patterns.extend(images.into_iter().map(|Key(text)| (ImagePattern::of_valid_text(text), number)));
    }
    let entries = entries.into_iter().map(|json| Entry { json, read: OnceCell::new() }).collect();
    Some(Located { patterns, entries })
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::InForce;
    use crate::enforcement::exceptions::Source as _;
    use crate::settings::Settings;

    fn raw(settings: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(settings).unwrap()
    }

    #[test]
    fn the_first_override_that_matches_replaces_the_whole_section() {
        let json = raw(&json!({
            "pinning": {"action": "deny", "forbiddenTags": ["latest", "dev"]},
            "overrides": [
                {"images": ["registry.example.com/a/*"]},
                {"images": ["quay.io/none:*", "registry.example.com/*"], "pinning": {"action": "warn"}},
                {"images": ["*"], "pinning": {"action": "off"}},
            ],
        }));
        let all = Settings::from_json(&json).unwrap();
        let settings = InForce::read(&json).unwrap();
        assert_eq!(settings.rules_for("registry.example.com/a/app:1").pinning, &all.pinning);
        let second = settings.rules_for("registry.example.com/b/app:1").pinning;
        assert_eq!(Some(second), all.overrides[1].pinning.as_ref());
        assert!(second.forbids("latest"), "keys that the override leaves out have their defaults");
        assert!(!second.forbids("dev"), "nothing is left of the section that was replaced");
        assert_eq!(Some(settings.rules_for("quay.io/x:1").pinning), all.overrides[2].pinning.as_ref());
        assert_eq!(settings.rules_for("quay.io/x:1").schedule, &all.schedule, "other sections stay as they are");
        assert!(!settings.is_broken());
    }

    #[test]
    fn all_exceptions_for_an_image_are_found_once_each() {
        let exception = |images: &[&str], reason: &str| json!({"images": images, "rules": ["stale-image"], "until": "2026-12-31", "reason": reason});
        let json = raw(&json!({"exceptions": [
            exception(&["*"], "all"),
            exception(&["quay.io/*"], "another"),
            exception(&["docker.io/library/*", "docker.io/*", "DOCKER.io:443/library/a:*"], "some"),
        ]}));
        let all = Settings::from_json(&json).unwrap().exceptions;
        let settings = InForce::read(&json).unwrap();
        assert_eq!(settings.exceptions_for("docker.io/library/a:1"), [&all[0], &all[2]]);
        assert_eq!(settings.exceptions_for("registry.example.com/a:1"), [&all[0]]);
    }

    #[test]
    fn what_is_wrong_is_known_once_it_is_read() {
        let json = raw(&json!({"overrides": [
            {"images": ["registry.example.com/*"]},
            {"images": ["*"], "pining": {}},
        ]}));
        let settings = InForce::read(&json).unwrap();
        let _ = settings.rules_for("registry.example.com/a:1");
        assert!(!settings.is_broken());
        let _ = settings.rules_for("quay.io/a:1");
        assert!(settings.is_broken());
        for wrong in [json!({"a": 1}), json!([{"schedule": {}}]), json!([{"images": "*"}]), json!(["*"])] {
            let json = raw(&json!({ "overrides": wrong, "exceptions": wrong }));
            let settings = InForce::read(&json).unwrap();
            settings.exceptions_for("quay.io/a:1");
            assert!(settings.is_broken(), "{wrong}");
        }
        assert!(InForce::read(&raw(&json!({"pining": {}}))).is_err());
    }

    #[test]
    fn no_settings_are_the_default_settings() {
        for json in [json!({}), Value::Null, json!({"overrides": null, "exceptions": null})] {
            assert_eq!(InForce::read(&raw(&json)).unwrap().sections(), &Settings::default());
        }
    }
}
