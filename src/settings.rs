//! The settings of the policy, as an admin writes them. The doc comments of their keys become the reference in
//! `docs/settings.md`.

mod lazy;
mod raw;
mod request_settings;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::INVALID_SETTINGS;
use crate::config::images::{Images, PlatformList};
use crate::config::namespaces::Namespaces;
use crate::config::read::{Fields, Path, Problems, Setting, kind_of, section};
use crate::config::schema::{Key, Schema, Section};
use crate::enforcement::break_glass::BreakGlass;
use crate::enforcement::exceptions::Exception;
use crate::enforcement::settings::Enforcement;
use crate::evidence::EVALUATE_AT_SET;
use crate::finding::Finding;
use crate::image::{ImagePattern, Platform, RegistryPattern};
use crate::rules::RuleSettings;
use crate::workload::custom::CustomWorkload;
pub use raw::RawSettings;
pub use request_settings::{RequestSettings, SettingsAt};

section! {
    /// All settings. Every key is optional, and `{}` is a useful policy.
    pub struct General {
        /// Registries that policy-server may contact: hosts, or paths below them. An image on another registry is
        /// reported as [`unknown-registry`](unknown-registry.md), and its registry is not contacted. A host matches all of its
        /// repositories, `host/path` that repository and those below it; `*` matches any characters, in a path also `/`. With an
        /// empty list, policy-server contacts every host that a requester names, so a requester can
        /// [block admission](registries.md#which-registries-are-asked). For example
        /// `[docker.io, registry.example.com/team/*]`.
        "registries" registries: Vec<RegistryPattern> = Vec::new(),
        /// The platforms of the cluster's nodes. From an index (a multi-platform image), every image that a node of one of these
        /// platforms may run is judged. Without this list, the images for the platform of policy-server are judged. A pod that
        /// selects nodes by `kubernetes.io/arch` or `kubernetes.io/os` is judged for the platforms that it selects. For example `[linux/amd64, linux/arm64]`.
        "platforms" platforms: Option<PlatformList> = None,
        /// Images that no rule judges. An [invalid reference](invalid-reference.md) has no name to match and is still
        /// refused. For example `[registry.example.com/infra/*]`.
        "exempt" exempt: Vec<ImagePattern<'static>> = Vec::new(),
        /// Findings that are accepted for a limited time.
        /// For example `[{images: ["*"], rules: [stale-image], until: 2026-12-31, reason: SEC-42 vendor fix pending}]`.
        "exceptions" exceptions: Vec<Exception> = Vec::new(),
        /// Different settings of rules for some images, or for some namespaces. The first entry that matches the image and the namespace
        /// of the request applies. Keys that a section leaves out are inherited from the section at the top.
        /// For example `[{images: ["registry.example.com/sandbox/*"], schedule: {maxAge: 180d}}]`.
        "overrides" overrides: Overrides = Overrides::default(),
        /// How strictly findings are enforced in special cases.
        "enforcement" enforcement: Enforcement = Enforcement::default(),
        /// Who may bypass the policy in an emergency.
        "breakGlass" break_glass: BreakGlass = BreakGlass::default(),
        /// Kinds besides Kubernetes' own that contain pod templates.
        /// For example `[{apiVersion: argoproj.io/v1alpha1, kind: Rollout, podTemplate: /spec/template}]`.
        "customWorkloads" custom_workloads: Vec<CustomWorkload> = Vec::new(),
        /// The time that is used as the current time, for tests and what-if questions only. Every response then has the warning
        /// [`evaluate-at-set`](evaluate-at-set.md).
        "evaluateAt" evaluate_at: Option<DateTime<Utc>> = None,
    }
}

/// The key after which the schema lists the sections of the rules.
const BEFORE_RULES: &str = "exempt";

/// All settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The sections of the rules.
    pub rules: RuleSettings,
    /// Everything else.
    pub general: General,
}

/// The entries of `overrides` as JSON. They inherit from the sections of the rules, which are read first.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<Box<RawValue>>);

impl PartialEq for Overrides {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

/// An entry of `overrides`.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The images that it applies to.
    pub images: Images,
    /// The namespaces that it applies to.
    pub namespaces: Namespaces,
    /// The settings of rules for these images, including inherited ones.
    pub rules: RuleSettings,
}

impl Settings {
    /// Reads the settings from JSON.
    ///
    /// # Errors
    /// Every problem, each with the path of its value.
    pub fn from_json(json: &RawValue) -> Result<Self, Problems> {
        Self::with_warnings(json).map(|(settings, _)| settings)
    }

    /// Reads the settings from JSON, with the warnings about values that are valid but probably not intended.
    ///
    /// # Errors
    /// Every problem, each with the path of its value.
    pub fn with_warnings(json: &RawValue) -> Result<(Self, Vec<String>), Problems> {
        if json.get() == "null" {
            return Ok((Self::default(), Vec::new()));
        }
        let mut problems = Problems::with_warnings();
        let settings = Self::read(json, Path::Root, &mut problems);
        if let Some(settings) = &settings {
            settings.general.find_contradictions(&mut problems);
        }
        match settings {
            Some(settings) if problems.is_empty() => Ok((settings, problems.warnings().to_vec())),
            _ => Err(problems),
        }
    }

    /// Takes the settings, but not the entries of `overrides`.
    fn take(mut fields: Fields<'_>, problems: &mut Problems) -> Option<Self> {
        let rules = RuleSettings::take(&mut fields, Path::Root, problems, None);
        let general = General::take(&mut fields, Path::Root, problems, None);
        fields.finish(&keys(), Path::Root, problems);
        Some(Self { rules: rules?, general: general? })
    }

    /// The entries of `overrides`.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        self.general.overrides.entries(&self.rules, &mut Problems::default())
    }
}

/// All keys, in the order in which the schema lists them.
fn keys() -> Vec<&'static str> {
    let first = General::KEYS.iter().position(|key| *key == BEFORE_RULES).map_or(0, |index| index + 1);
    let (before, after) = General::KEYS.split_at(first);
    [before, RuleSettings::KEYS, after].concat()
}

impl Setting for Settings {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::read(json, at, problems)?;
        let overrides = fields.get("overrides");
        let settings = Self::take(fields, problems);
        // Even if there are other problems, so that all of them are reported.
        let base = settings.as_ref().map(|settings| settings.rules.clone()).unwrap_or_default();
        if let Some(overrides) = overrides.and_then(|json| Overrides::read(json, Path::Root, &mut Problems::default()))
        {
            overrides.entries(&base, problems);
        }
        settings
    }

    fn schema() -> Schema {
        let (name, mut general) = match General::schema() {
            Schema::Section(section) => ("Settings", section),
            other => return other,
        };
        let first = general.keys.iter().position(|key| key.name == BEFORE_RULES).map_or(0, |index| index + 1);
        general.keys.splice(first..first, RuleSettings::schema());
        Schema::Section(Section { name, ..general })
    }

    fn to_json(&self) -> Value {
        let mut json = self.general.to_json();
        if let Some(object) = json.as_object_mut() {
            object.extend(self.rules.to_json().into_iter().map(|(key, value)| (key.to_owned(), value)));
        }
        json
    }
}

impl General {
    /// Reports exceptions for exempt images. An exception suggests an end date, and an exemption has none.
    fn find_contradictions(&self, problems: &mut Problems) {
        for (index, exception) in self.exceptions.iter().enumerate() {
            for pattern in exception.images.patterns() {
                let excepted = pattern.to_string();
                if let Some(exempt) = self.exempt.iter().find(|exempt| exempt.matches(&excepted)) {
                    let at = Path::Key(&Path::Root, "exceptions");
                    problems.push(
                        Path::Key(&Path::Index(&at, index), "images"),
                        format_args!("`{excepted}` is already exempt by `{exempt}`, without an end date; remove it from one of the two"),
                    );
                }
            }
        }
    }

    /// The platforms of the cluster's nodes, if they are listed.
    #[must_use]
    pub fn configured_platforms(&self) -> Option<&[Platform]> {
        self.platforms.as_ref().map(|PlatformList(platforms)| platforms.as_slice())
    }

    /// Whether no rule judges the image of this normalised name.
    #[must_use]
    pub fn exempts(&self, normalized: &str) -> bool {
        self.exempt.iter().any(|pattern| pattern.matches(normalized))
    }
}

impl Overrides {
    /// The valid entries. They inherit from `base`.
    fn entries(&self, base: &RuleSettings, problems: &mut Problems) -> Vec<Override> {
        let at = Path::Key(&Path::Root, "overrides");
        let mut entries = Vec::with_capacity(self.0.len());
        for (index, json) in self.0.iter().enumerate() {
            let at = Path::Index(&at, index);
            let fields = Fields::read(json, at, problems);
            entries.extend(fields.and_then(|fields| Override::take(fields, at, problems, base)));
        }
        entries
    }
}

impl Setting for Overrides {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        match serde_json::from_str::<Vec<&RawValue>>(json.get()) {
            Ok(entries) => Some(Self(entries.into_iter().map(ToOwned::to_owned).collect())),
            Err(_) => {
                problems.push(at, format_args!("expected a list, found {}", kind_of(json)));
                None
            }
        }
    }

    fn schema() -> Schema {
        let images = Key {
            name: Override::IMAGES,
            about: "The images that this entry applies to.".to_owned(),
            schema: Images::schema(),
            default: None,
        };
        let namespaces = Key {
            name: Override::NAMESPACES,
            about: "The namespaces that this entry applies to: names, or patterns with `*` and `?`. By default, it applies to all requests. \
                    With `namespaces`, it does not apply to a request without a namespace. For example `[staging, staging-*]`."
                .to_owned(),
            schema: Namespaces::schema(),
            default: Some(Value::Null),
        };
        let rules = RuleSettings::schema().into_iter().map(|key| {
            let (name, page) = (key.name, key.name.to_lowercase());
            Key { about: format!("Changes [`{name}`](#{page}) for these images."), default: Some(Value::Null), ..key }
        });
        let about = "Different settings of rules for some images. Keys that are left out are inherited from the section at the top.";
        Schema::List {
            items: Box::new(Schema::Section(Section {
                name: "Override",
                about: about.to_owned(),
                keys: [images, namespaces].into_iter().chain(rules).collect(),
                constraints: Vec::new(),
            })),
            least: 0,
        }
    }

    fn to_json(&self) -> Value {
        self.0.iter().map(|entry| serde_json::from_str::<Value>(entry.get()).unwrap_or_default()).collect()
    }
}

impl Override {
    /// Whether it applies to the image of this normalised name, in a request for an object in this namespace.
    #[must_use]
    pub fn matches(&self, normalized: &str, namespace: Option<&str>) -> bool {
        self.namespaces.include(namespace) && self.images.matches(normalized)
    }

    const IMAGES: &str = "images";
    const NAMESPACES: &str = "namespaces";

    /// Takes an entry. Keys that its sections leave out are inherited from `base`.
    fn take(mut fields: Fields<'_>, at: Path<'_>, problems: &mut Problems, base: &RuleSettings) -> Option<Self> {
        let images = fields.take_required(Self::IMAGES, at, problems);
        let namespaces = fields.take(Self::NAMESPACES, at, problems).unwrap_or_default();
        let rules = RuleSettings::take(&mut fields, at, problems, Some(base));
        fields.finish(&[&[Self::IMAGES, Self::NAMESPACES], RuleSettings::KEYS].concat(), at, problems);
        Some(Self { images: images?, namespaces, rules: rules? })
    }
}

/// Validates the settings that waPC's `validate_settings` receives.
///
/// Returns the warnings about values that are valid but probably not intended.
///
/// # Errors
/// All problems, in one message.
pub fn check(json: &[u8]) -> Result<Vec<String>, String> {
    let json: &RawValue = serde_json::from_slice(json)
        .map_err(|error| format!("the settings of this policy are not valid JSON: {error}"))?;
    let read = Settings::with_warnings(json);
    read.map(|(_, warnings)| warnings).map_err(|problems| message(&problems))
}

/// The finding for a request with invalid settings. It lists all problems; `found` are those that were found so far.
#[must_use]
pub fn invalid(payload: &[u8], found: &Problems) -> Finding {
    #[derive(Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        settings: &'a RawValue,
    }
    let all = serde_json::from_slice(payload).ok();
    let all = all.and_then(|Payload { settings }| Settings::from_json(settings).err());
    Finding::about_request(INVALID_SETTINGS, message(all.as_ref().unwrap_or(found)))
}

fn message(problems: &Problems) -> String {
    format!("the settings of this policy are not valid:\n{problems}")
}

/// The warning that images are judged as of `evaluateAt`.
#[must_use]
pub fn evaluate_at_warning(settings: &General) -> Option<Finding> {
    let time = settings.evaluate_at?.to_rfc3339_opts(SecondsFormat::Secs, true);
    let text = format!("this policy judges images as of {time}; remove `evaluateAt` from its settings");
    Some(Finding::warning(EVALUATE_AT_SET, text))
}

#[cfg(test)]
mod tests;
