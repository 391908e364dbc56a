//! The settings as a request needs them. policy-server has had them validated by `validate_settings` before the first request,
//! and hands them over with each one: long lists are read as far as the images of the request ask for.

use std::cell::{Cell, OnceCell};
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::read::{Entries, Fields, Path, Problems, Setting};
use super::{Override, Rules, Settings};
use crate::enforcement::exceptions::{Exception, Source};
use crate::image::{ImagePattern, Name};
use crate::json::{self, Key};

/// The settings of one request.
#[derive(Debug, Default)]
pub struct InForce<'a> {
    /// All but the two lists, which are empty here.
    sections: Settings,
    overrides: Late<'a, Override>,
    exceptions: Late<'a, Exception>,
}

/// Settings as they come with a request. They may be large, and are cut up into sections while the request is read.
#[derive(Debug, Default)]
pub enum Given<'a> {
    /// None, or null.
    #[default]
    Nothing,
    /// An object.
    Sections(Entries<'a>),
    /// Something else, which no settings are.
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Given<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GivenVisitor;
        impl<'de> Visitor<'de> for GivenVisitor {
            type Value = Given<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("settings")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Entries::deserialize(MapAccessDeserializer::new(map)).map(Given::Sections)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Given::Nothing)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Given::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Given::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Given::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Given::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Given::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Given::Other)
            }
        }
        deserializer.deserialize_any(GivenVisitor)
    }
}

impl<'a> InForce<'a> {
    /// The settings that came with a request.
    ///
    /// # Errors
    /// What is wrong, as far as it is read now.
    pub fn read(given: Given<'a>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let entries = match given {
            Given::Nothing => return Ok(Self::default()),
            Given::Sections(entries) => entries,
            Given::Other => return Err(problems),
        };
        let Some(mut fields) = Fields::of(entries, Path::Root, &mut problems) else { return Err(problems) };
        let overrides = Late::of(fields.take_unread("overrides"));
        let exceptions = Late::of(fields.take_unread("exceptions"));
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
struct Late<'a, T> {
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

impl<T> Default for Late<'_, T> {
    fn default() -> Self {
        Self { json: None, located: OnceCell::new(), is_broken: Cell::new(false) }
    }
}

impl<T> Default for Located<'_, T> {
    fn default() -> Self {
        Self { patterns: Vec::new(), entries: Vec::new() }
    }
}

impl<'a, T: Setting> Late<'a, T> {
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

    use super::{InForce, Problems};
    use crate::enforcement::exceptions::Source as _;
    use crate::settings::Settings;

    fn read(json: &RawValue) -> Result<InForce<'_>, Problems> {
        InForce::read(serde_json::from_str(json.get()).unwrap())
    }

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
        let settings = read(&json).unwrap();
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
        let settings = read(&json).unwrap();
        assert_eq!(settings.exceptions_for("docker.io/library/a:1"), [&all[0], &all[2]]);
        assert_eq!(settings.exceptions_for("registry.example.com/a:1"), [&all[0]]);
    }

    #[test]
    fn what_is_wrong_is_known_once_it_is_read() {
        let json = raw(&json!({"overrides": [
            {"images": ["registry.example.com/*"]},
            {"images": ["*"], "pining": {}},
        ]}));
        let settings = read(&json).unwrap();
        let _ = settings.rules_for("registry.example.com/a:1");
        assert!(!settings.is_broken());
        let _ = settings.rules_for("quay.io/a:1");
        assert!(settings.is_broken());
        for wrong in [json!({"a": 1}), json!([{"schedule": {}}]), json!([{"images": "*"}]), json!(["*"])] {
            let json = raw(&json!({ "overrides": wrong, "exceptions": wrong }));
            let settings = read(&json).unwrap();
            settings.exceptions_for("quay.io/a:1");
            assert!(settings.is_broken(), "{wrong}");
        }
        for wrong in [json!({"pining": {}}), json!([{}]), json!("x"), json!(true), json!(-1), json!(1), json!(1.5)] {
            assert!(read(&raw(&wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_settings_are_the_default_settings() {
        for json in [json!({}), Value::Null, json!({"overrides": null, "exceptions": null})] {
            assert_eq!(read(&raw(&json)).unwrap().sections(), &Settings::default());
        }
    }
}
