//! The settings of the policy, as an admin writes them. `docs/settings.md` explains them to users, in the words of the
//! doc comments of keys.

mod in_force;
pub mod read;
pub mod shape;
pub mod value;

use chrono::{DateTime, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::enforcement::break_glass::BreakGlass;
use crate::enforcement::exceptions::Exception;
use crate::finding::Effect;
use crate::image::{ImagePattern, Platform, Reference, RegistryDoubt, RegistryPattern};
use crate::rules::base_image::BaseImage;
use crate::rules::pinning::Pinning;
use crate::rules::scan::Scanning;
use crate::rules::schedule::Schedule;
use crate::workload::CustomWorkload;
pub use in_force::{Given, InForce};
use read::{Path, Problems, Setting, is_empty_list, read_string, section};
use shape::Shape;
use value::Treatment;

section! {
    /// All settings. Every key is optional, and `{}` is a useful policy.
    pub struct Settings {
        /// Registries that policy-server may contact: hosts, or paths below them. An image on another registry is
        /// [`unknown-registry`](unknown-registry.md), and its registry is not contacted. A host stands for all of its repositories,
        /// `host/path` for that repository and those below it; `*` stands for any characters, in a path `/` included. With an
        /// empty list every host that a requester names is contacted, so that a requester can
        /// [block admission](registries.md#which-registries-are-asked). For example
        /// `[docker.io, registry.example.com/team/*]`.
        "registries" registries: Vec<RegistryPattern> = Vec::new(),
        /// The platforms of the cluster's nodes. Of an index, every image that a node of one of these platforms may run is
        /// judged; left out, those for the platform of policy-server. A pod that selects nodes by `kubernetes.io/arch` or
        /// `kubernetes.io/os` is judged for the platforms that it selects. For example `[linux/amd64, linux/arm64]`.
        "platforms" platforms: Option<Platforms> = None,
        /// Images that no rule looks at. A reference that is [none](invalid-reference.md) has no name to match and is
        /// refused all the same. For example `[registry.example.com/infra/*]`.
        "exempt" exempt: Vec<ImagePattern<'static>> = Vec::new(),
        /// Every image has a digest.
        "pinning" pinning: Pinning = Pinning::default(),
        /// Every image is as fresh as the patch schedule asks.
        "schedule" schedule: Schedule = Schedule::default(),
        /// Every image stands on the newest build of its base.
        "baseImage" base_image: BaseImage = BaseImage::default(),
        /// No image runs that a scanner has flagged.
        "scan" scan: Scanning = Scanning::default(),
        /// Findings that are let pass for a time.
        /// For example `[{images: ["*"], rules: [stale-image], until: 2026-12-31, reason: SEC-42 vendor fix pending}]`.
        "exceptions" exceptions: Vec<Exception> = Vec::new(),
        /// Other rules for some images. The first entry whose `images` match an image decides; a section that it gives
        /// replaces that whole section for the image, and keys that it leaves out have their defaults.
        /// For example `[{images: ["registry.example.com/sandbox/*"], schedule: {maxAge: 180d}}]`.
        "overrides" overrides: Vec<Override> = Vec::new(),
        /// How hard findings bite in special cases.
        "enforcement" enforcement: Enforcement = Enforcement::default(),
        /// The door for emergencies.
        "breakGlass" break_glass: BreakGlass = BreakGlass::default(),
        /// Kinds besides Kubernetes' own that hold pod templates.
        /// For example `[{apiVersion: argoproj.io/v1alpha1, kind: Rollout, podTemplate: /spec/template}]`.
        "customWorkloads" custom_workloads: Vec<CustomWorkload> = Vec::new(),
        /// The time at which to judge, for tests and what-if questions only. Every response then carries the warning
        /// [`evaluate-at-set`](evaluate-at-set.md).
        "evaluateAt" evaluate_at: Option<DateTime<Utc>> = None,
    }
}

section! {
    /// How hard findings bite in special cases.
    pub struct Enforcement {
        /// What becomes of findings about images that an UPDATE leaves as they were. An image is unchanged in the container
        /// of the same name. With `ignore`, registries are not asked about it either; see [operations](operations.md).
        "unchangedImages" unchanged_images: Treatment = Treatment::Warn,
        /// What becomes of findings about what Kubernetes' own controllers make of admitted workloads. Only the
        /// authenticated user counts, never an owner reference. Images are pinned in any case.
        "controllerPods" controller_pods: Treatment = Treatment::Warn,
        /// How an image in a controller's pod is judged if its workload has neither a digest nor a [record](records.md) for it. Such a
        /// digest was not judged with the workload. `warn` makes refusals warnings, unless `controllerPods` is `deny`; `deny` judges
        /// the image in full.
        "unrecordedPods" unrecorded_pods: Effect = Effect::Warn,
        /// What becomes of an image that a registry, or the cluster, could not be asked about. It is the finding
        /// [`evidence-unavailable`](evidence-unavailable.md); see [registries](registries.md), and
        /// [reports in the cluster](scans.md#reports-in-the-cluster).
        "evidenceErrors" evidence_errors: Effect = Effect::Deny,
    }
}

section! {
    /// Other rules for some images. A section that is given here replaces that whole section.
    pub struct Override {
        required {
            /// The images that this entry is for.
            "images" images: Images,
        }
        /// Replaces [`pinning`](#pinning).
        "pinning" pinning: Option<Pinning> = None,
        /// Replaces [`schedule`](#schedule).
        "schedule" schedule: Option<Schedule> = None,
        /// Replaces [`baseImage`](#baseimage).
        "baseImage" base_image: Option<BaseImage> = None,
        /// Replaces [`scan`](#scan).
        "scan" scan: Option<Scanning> = None,
    }
}

/// A list of patterns that names at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Images(Vec<ImagePattern<'static>>);

impl Images {
    /// Whether one of the patterns matches a normalised image name.
    #[must_use]
    pub fn matches(&self, normalized: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(normalized))
    }
}

/// The rules that hold for one image.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'s> {
    /// Every image has a digest.
    pub pinning: &'s Pinning,
    /// Every image is as fresh as the patch schedule asks.
    pub schedule: &'s Schedule,
    /// Every image stands on the newest build of its base.
    pub base_image: &'s BaseImage,
    /// No image runs that a scanner has flagged.
    pub scan: &'s Scanning,
}

impl Settings {
    /// Reads the settings from JSON.
    ///
    /// # Errors
    /// Every problem, each with the path of the value it is about.
    pub fn from_json(json: &RawValue) -> Result<Self, Problems> {
        Self::with_warnings(json).map(|(settings, _)| settings)
    }

    /// Reads the settings from JSON, with what is valid in them but probably not what was meant, a line each.
    ///
    /// # Errors
    /// Every problem, each with the path of the value it is about.
    pub fn with_warnings(json: &RawValue) -> Result<(Self, Vec<String>), Problems> {
        if json.get() == "null" {
            return Ok((Self::default(), Vec::new()));
        }
        let mut problems = Problems::default();
        let settings = Self::read(json, Path::Root, &mut problems);
        if let Some(settings) = &settings {
            settings.find_contradictions(&mut problems);
        }
        match settings {
            Some(settings) if problems.is_empty() => Ok((settings, problems.warnings().to_vec())),
            _ => Err(problems),
        }
    }

    /// An exception ends, and an exemption does not: one for images that are exempt looks as if it did.
    fn find_contradictions(&self, problems: &mut Problems) {
        for (index, exception) in self.exceptions.iter().enumerate() {
            for pattern in &exception.images.0 {
                let excepted = pattern.to_string();
                if let Some(exempt) = self.exempt.iter().find(|exempt| exempt.matches(&excepted)) {
                    let at = Path::Key(&Path::Root, "exceptions");
                    problems.push(
                        Path::Key(&Path::Index(&at, index), "images"),
                        format_args!("`{excepted}` is exempt by `{exempt}` in any case, without an end; take it out of one of the two"),
                    );
                }
            }
        }
    }

    /// Whether the registry of an image may be asked about it.
    #[must_use]
    pub fn may_ask(&self, image: &Reference<'_>) -> bool {
        self.registries.is_empty() || self.registries.iter().any(|registry| registry.matches(image))
    }

    /// The platforms of the cluster's nodes, where they are listed.
    #[must_use]
    pub fn configured_platforms(&self) -> Option<&[Platform]> {
        self.platforms.as_ref().map(|Platforms(platforms)| platforms.as_slice())
    }

    /// Whether no rule looks at the image of this normalised name.
    #[must_use]
    pub fn exempts(&self, normalized: &str) -> bool {
        self.exempt.iter().any(|pattern| pattern.matches(normalized))
    }

    /// The rules, with those of an entry of `overrides` before the others.
    fn rules_with<'s>(&'s self, entry: Option<&'s Override>) -> Rules<'s> {
        Rules {
            pinning: entry.and_then(|entry| entry.pinning.as_ref()).unwrap_or(&self.pinning),
            schedule: entry.and_then(|entry| entry.schedule.as_ref()).unwrap_or(&self.schedule),
            base_image: entry.and_then(|entry| entry.base_image.as_ref()).unwrap_or(&self.base_image),
            scan: entry.and_then(|entry| entry.scan.as_ref()).unwrap_or(&self.scan),
        }
    }
}

impl Setting for ImagePattern<'static> {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "an image pattern", problems)?;
        match ImagePattern::parse(&text) {
            Ok(pattern) => Some(pattern.into_owned()),
            Err(error) => {
                problems.push(at, format_args!("`{text}`: {error}"));
                None
            }
        }
    }

    fn shape() -> Shape {
        // A name without a slash, and one: host, path, and a last part that has a tag, a digest or a wildcard.
        let (any, inner) = ("[A-Za-z0-9._:@*?\\[\\]/-]", "[A-Za-z0-9._:@*?\\[\\]-]");
        let host = format!("(\\*{inner}*|localhost|{inner}*[.:\\[A-Z]{inner}*)");
        let last = format!("({inner}*[*:@]{inner}*[A-Za-z0-9._*?\\[\\]-]|{inner}*\\*)");
        Shape::text("image pattern", "image patterns", format!("^(\\*{inner}*|{host}/({any}*/)?{last})$"))
    }

    fn written(&self) -> Value {
        self.to_string().into()
    }
}

impl Setting for RegistryPattern {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a registry such as `registry.example.com`", problems)?;
        match Self::parse(&text) {
            Ok(pattern) => {
                match pattern.doubt() {
                    Some(RegistryDoubt::AnyHost) => problems.warn(
                        at,
                        format_args!(
                            "`{text}` matches every host, so that requesters choose which hosts policy-server asks; \
                             list the registries that the cluster uses"
                        ),
                    ),
                    Some(RegistryDoubt::AnyEnd) => problems.warn(
                        at,
                        format_args!("`{text}` also matches hosts of other domains; end the host with your domain"),
                    ),
                    None => {}
                }
                Some(pattern)
            }
            Err(error) => {
                problems.push(at, format_args!("`{text}`: {error}"));
                None
            }
        }
    }

    fn shape() -> Shape {
        let host = r"(localhost|[A-Za-z0-9._:*?\[\]-]*[.:*?\[A-Z][A-Za-z0-9._:*?\[\]-]*)";
        Shape::text("registry pattern", "registry patterns", format!("^{host}(/[a-z0-9._*?/-]+)?$"))
    }

    fn written(&self) -> Value {
        self.to_string().into()
    }
}

/// The platforms that are judged, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platforms(pub Vec<Platform>);

impl Setting for Platforms {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        if is_empty_list(json) {
            problems.push(at, "the list is empty; write a platform such as `linux/amd64`, or leave `platforms` out");
            return None;
        }
        Vec::read(json, at, problems).map(Self)
    }

    fn shape() -> Shape {
        Shape::List { items: Box::new(Platform::shape()), least: 1 }
    }

    fn written(&self) -> Value {
        self.0.written()
    }
}

impl Setting for Platform {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a platform such as `linux/amd64`", problems)?;
        match Self::parse(&text) {
            Ok(platform) => {
                if let Some(unknown) = platform.unknown() {
                    problems.warn(at, format_args!("{unknown}; images for the platform that you meant are not judged"));
                }
                Some(platform)
            }
            Err(error) => {
                problems.push(at, format_args!("`{text}`: {error}"));
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::text("platform", "platforms", "^[A-Za-z0-9_.]+/[A-Za-z0-9_.-]+$")
    }

    fn written(&self) -> Value {
        self.to_string().into()
    }
}

impl Setting for Images {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        if is_empty_list(json) {
            problems.push(at, "a list without an image pattern; write one, or `*` for every image");
            return None;
        }
        Vec::read(json, at, problems).map(Self)
    }

    fn shape() -> Shape {
        Shape::List { items: Box::new(ImagePattern::shape()), least: 1 }
    }

    fn written(&self) -> Value {
        self.0.written()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::Settings;
    use super::read::Setting;

    fn read(settings: &Value) -> Result<Settings, Vec<String>> {
        let json = serde_json::value::to_raw_value(settings).unwrap();
        Settings::from_json(&json).map_err(|problems| problems.lines().to_vec())
    }

    fn problems(settings: &Value) -> Vec<String> {
        read(settings).expect_err("these settings are not valid")
    }

    #[test]
    fn no_settings_are_the_default_settings() {
        assert_eq!(read(&json!({})), Ok(Settings::default()));
        assert_eq!(read(&json!(null)), Ok(Settings::default()));
        assert_eq!(read(&json!({"pinning": null, "exempt": null})), Ok(Settings::default()));
    }

    #[test]
    fn every_problem_is_reported_at_once_with_its_path() {
        let found = problems(&json!({
            "exempt": ["nginx*", 7, "registry.example.com/*"],
            "pinning": {"action": "denny", "templates": "yes", "forbiddenTags": ["-x", 1.1], "actoin": "deny"},
            "overrides": [{"pinning": {"action": "warn"}}, {"images": [], "pining": {}}, 3],
            "customWorkloads": [{"apiVersion": "v1", "kind": "Rollout"}],
            "exmpt": [],
            "zzz": 1,
        }));
        assert_eq!(
            found,
            [
                "exempt[0]: `nginx*`: a pattern starts with a registry host or with `*`; write `docker.io/library/nginx*`",
                "exempt[1]: expected an image pattern, found a number; put it in quotes: \"7\"",
                "pinning.action: `denny` is none of pin, deny, warn, off",
                "pinning.templates: `yes` is none of record, true, false",
                "pinning.forbiddenTags[0]: `-x` is no tag; a tag has at most 128 letters, digits, `_`, `.` and `-`, and starts with none of `.` `-`",
                "pinning.forbiddenTags[1]: expected a tag, found a number; put it in quotes: \"1.1\"",
                "pinning.actoin: unknown key; did you mean `action`?",
                "overrides[0]: `images` is missing",
                "overrides[1].images: a list without an image pattern; write one, or `*` for every image",
                "overrides[1].pining: unknown key; did you mean `pinning`?",
                "overrides[2]: expected an object, found a number",
                "customWorkloads[0]: `podTemplate` is missing",
                "exmpt: unknown key; did you mean `exempt`?",
                "zzz: unknown key; the keys here are registries, platforms, exempt, pinning, schedule, baseImage, scan, exceptions, overrides, enforcement, breakGlass, customWorkloads, evaluateAt",
            ]
        );
    }

    #[test]
    fn settings_are_written_as_they_are_read() {
        assert_eq!(Settings::default().written(), json!({}), "what has its default is left out");
        let written = json!({
            "exempt": ["docker.io/library/*", "*.example.com/x:*", "*/nothing:*"],
            "pinning": {"action": "off", "templates": "true", "forbiddenTags": []},
            "schedule": {
                "patchDays": {"cron": "0 0 2 * *", "timeZone": "Europe/Berlin", "grace": "36h"},
                "warnBefore": "90s",
                "freezes": [{"from": "2026-12-18", "to": "2027-01-03", "reason": "r"}],
                "unknownBuildDate": "allow",
            },
            "baseImage": {"registries": ["quay.io"]},
            "scan": {
                "require": true,
                "maxAllowed": {"critical": 0, "high": 3},
                "patchWithin": {"unknown": "7d"},
                "reports": [{"source": "quay", "namespace": "scans"}, {"source": "kubescape"}],
                "podAnnotations": "trust",
            },
            "exceptions": [
                {"images": ["*"], "rules": ["stale-image"], "cves": ["RHSA-2026:1234"], "until": "2026-12-31", "reason": "r"},
            ],
            "overrides": [{"images": ["*"], "pinning": {}, "scan": {"maxAge": "1d"}}],
            "enforcement": {"evidenceErrors": "warn"},
            "customWorkloads": [{"apiVersion": "v1", "kind": "Rollout", "podTemplate": "/spec/template"}],
            "evaluateAt": "2026-11-20T12:00:00Z",
        });
        assert_eq!(read(&written).unwrap().written(), written);
    }

    #[test]
    fn settings_that_are_no_object_are_refused() {
        for (settings, found) in [(json!([]), "a list"), (json!("x"), "a string"), (json!(true), "a boolean")] {
            assert_eq!(problems(&settings), [format!("settings: expected an object, found {found}")]);
        }
    }

    #[test]
    fn many_and_long_problems_are_told_in_short() {
        let many: Vec<_> = (0..100_000).collect();
        let told = read(&json!({ "exempt": many })).unwrap_err();
        assert_eq!(
            (told.len(), told[0].as_str()),
            (100, "exempt[0]: expected an image pattern, found a number; put it in quotes: \"0\"")
        );
        let json = serde_json::value::to_raw_value(&json!({ "exempt": many })).unwrap();
        assert!(Settings::from_json(&json).unwrap_err().to_string().ends_with("\n… and 99900 more"));
        let long = "x".repeat(1 << 20);
        let told = problems(&json!({"exempt": [long], "pinning": {"action": long, &long: 1}, &long: 1}));
        assert!(told.iter().all(|line| line.len() < 2100), "{}", told.join("\n").len());
        let keys: serde_json::Map<_, _> = (0..100_000).map(|key| (format!("key{key}"), json!(1))).collect();
        assert_eq!(problems(&json!({ "pinning": keys })), ["pinning: it has 100000 keys, many more than there are"]);
    }

    #[test]
    fn a_key_that_is_given_twice_is_refused() {
        let json: &RawValue = serde_json::from_str(r#"{"exempt": ["quay.io/infra/*"], "exempt": []}"#).unwrap();
        assert_eq!(Settings::from_json(json).unwrap_err().lines(), ["exempt: given twice"]);
    }
}
