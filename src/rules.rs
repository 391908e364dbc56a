//! The list of rules, and how an image passes through them.
//!
//! The sections of the settings and of overrides, the finding codes, the codes that exceptions can name, the schema, the reference and
//! the order of the rules are derived from the list. `CONTRIBUTING.md` describes how to add a rule.

pub mod base_image;
pub mod pinning;
pub mod rollout;
pub mod rule;
pub mod scan;
pub mod schedule;
pub mod waiver;

use std::ops::ControlFlow;

use serde_json::Value;

use crate::calendar::freeze::Freezes;
use crate::config::read::{Fields, Overridable, Path, Problems, Setting};
use crate::config::schema::{Key, Schema};
use crate::evidence::Evidence;
use crate::evidence::build::{Build, Builds};
use crate::evidence::registry::ImageAnnotations;
use crate::finding::{Code, Described, Effect, Finding};
use crate::workload::site::{ImageSite, Workload};
use rule::{Context, Edit, Image, Rule, SettingsByImage, Sink};

/// The settings of all rules, by image.
pub trait RuleSettingsByImage {
    /// The settings for the image with this normalised name. `None` if the image is exempt.
    fn rule_settings_for(&self, name: &str) -> Option<&RuleSettings>;

    /// Whether an exception for the image with this normalised name covers findings with this code.
    fn is_excepted(&self, name: &str, code: Code) -> bool;
}

/// The settings of one rule.
struct SettingsOf<'a, S>(&'a dyn RuleSettingsByImage, fn(&RuleSettings) -> &S);

impl<S> SettingsByImage<S> for SettingsOf<'_, S> {
    fn settings_for(&self, name: &str) -> Option<&S> {
        self.0.rule_settings_for(name).map(self.1)
    }

    fn is_excepted(&self, name: &str, code: Code) -> bool {
        self.0.is_excepted(name, code)
    }
}

/// The annotations and labels of images that rules read.
pub struct RuleAnnotations;

impl RuleSettings {
    /// Whether digests are written into image fields.
    #[must_use]
    pub fn pins(&self) -> bool {
        self.pinning.action == pinning::settings::PinningAction::Pin
    }

    /// Whether images may not be deployed by this tag.
    #[must_use]
    pub fn forbids_tag(&self, tag: &str) -> bool {
        self.pinning.action != pinning::settings::PinningAction::Off && self.pinning.forbids(tag)
    }

    /// Whether a new image that repairs its predecessor is admitted immediately.
    #[must_use]
    pub fn admits_fixes(&self) -> bool {
        self.rollout.fixes == rollout::settings::Fixes::Allow
    }

    /// The freezes of the schedule.
    #[must_use]
    pub fn freezes(&self) -> Freezes<'_> {
        Freezes { all: &self.schedule.freezes, zone: self.schedule.zone() }
    }
}

macro_rules! rules {
    ($( $key:literal $module:ident: $rule:ident, )+) => {
        /// The settings of all rules: those for one image, or those at the top of the document.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct RuleSettings {
            $(
                #[doc = concat!("The section `", $key, "`.")]
                pub $module: <$module::$rule as Rule>::Settings,
            )+
        }

        impl RuleSettings {
            /// The keys of the sections.
            pub const KEYS: &[&str] = &[$( $key, )+];

            /// Takes the sections. Omitted keys are inherited from `base`. Without `base` they have their defaults.
            pub fn take(
                fields: &mut Fields<'_>,
                at: Path<'_>,
                problems: &mut Problems,
                base: Option<&Self>,
            ) -> Option<Self> {
                $(
                    let $module = match fields.take_unread($key) {
                        Some(json) => {
                            let base = base.map(|base| &base.$module);
                            Overridable::read_over(json, Path::Key(&at, $key), problems, base)
                        }
                        None => Some(base.map_or_else(Default::default, |base| base.$module.clone())),
                    };
                )+
                Some(Self { $( $module: $module?, )+ })
            }

            /// The keys of the sections, with their descriptions and schemas.
            #[must_use]
            pub fn schema() -> Vec<Key> {
                let key = |name, schema: Schema| {
                    let about = if let Schema::Section(section) = &schema { section.about.clone() } else { String::new() };
                    Key { name, about, schema, default: Some(Value::Object(serde_json::Map::new())) }
                };
                vec![$( key($key, <$module::$rule as Rule>::Settings::schema()), )+]
            }

            /// The sections that differ from their defaults.
            #[must_use]
            pub fn to_json(&self) -> Vec<(&'static str, Value)> {
                let default = Self::default();
                let all = [$( ($key, self.$module.to_json(), self.$module == default.$module), )+];
                all.into_iter().filter(|(.., is_default)| !is_default).map(|(key, json, _)| (key, json)).collect()
            }
        }

        /// All rules, for the duration of one request.
        pub struct Rules {
            $( $module: $module::$rule, )+
        }

        impl Rules {
            /// Starts a request.
            ///
            /// # Errors
            /// The finding that refuses the whole object.
            pub fn begin(
                context: &Context<'_>,
                workload: &mut Workload<'_>,
                settings: &dyn RuleSettingsByImage,
                evidence: &mut Evidence<'_>,
            ) -> Result<Self, Finding> {
                $(
                    let of_rule = SettingsOf(settings, |settings| &settings.$module);
                    let $module = $module::$rule::begin(context, workload, &of_rule, evidence)?;
                )+
                Ok(Self { $( $module, )+ })
            }

            /// Stage 1 of each rule. Returns the strictest effect for which stage 2 asks the registry, `None` if it does not ask.
            pub fn judge_reference(
                &mut self,
                settings: &RuleSettings,
                image: &Image<'_>,
                evidence: &Evidence<'_>,
                sink: &mut dyn Sink,
            ) -> Option<Effect> {
                let mut strictest = None;
                $( strictest = strictest.max(self.$module.judge_reference(&settings.$module, image, evidence, sink)); )+
                strictest
            }

            /// Stage 2 of each rule.
            pub fn judge_digest(
                &mut self,
                settings: &RuleSettings,
                image: &mut Image<'_>,
                evidence: &mut Evidence<'_>,
                sink: &mut dyn Sink,
            ) -> ControlFlow<()> {
                $( self.$module.judge_digest(&settings.$module, image, evidence, sink)?; )+
                ControlFlow::Continue(())
            }

            /// The strictest effect that a finding of stages 3 and 4 can have. `None` if no rule judges the content of this image.
            #[must_use]
            pub fn judges_content(&self, settings: &RuleSettings, image: &Image<'_>) -> Option<Effect> {
                let mut strictest = None;
                $( strictest = strictest.max(self.$module.judges_content(&settings.$module, image)); )+
                strictest
            }

            /// Stage 3 of each rule, for one of the images that nodes can choose.
            pub fn judge_content(
                &mut self,
                settings: &RuleSettings,
                image: &Image<'_>,
                build: &Build,
                evidence: &mut Evidence<'_>,
                sink: &mut dyn Sink,
            ) {
                $(
                    if self.$module.judges_content(&settings.$module, image).is_some() {
                        self.$module.judge_content(&settings.$module, image, build, evidence, sink);
                    }
                )+
            }

            /// Stage 4 of each rule, for all images that nodes can choose.
            pub fn judge_builds(
                &mut self,
                settings: &RuleSettings,
                image: &Image<'_>,
                builds: &Builds,
                evidence: &mut Evidence<'_>,
                sink: &mut dyn Sink,
            ) {
                $(
                    if self.$module.judges_content(&settings.$module, image).is_some() {
                        self.$module.judge_builds(&settings.$module, image, builds, evidence, sink);
                    }
                )+
            }

            /// The changes to the JSON text of the object.
            ///
            /// # Errors
            /// The finding for an object that cannot be changed.
            pub fn edits(self, context: &Context<'_>) -> Result<Vec<Edit>, Finding> {
                let mut edits = Vec::new();
                $( edits.extend(self.$module.edits(context)?); )+
                Ok(edits)
            }
        }

        /// The finding codes of all rules.
        #[must_use]
        pub fn codes() -> Vec<Code> {
            [$( $module::$rule::CODES, )+].concat()
        }

        /// The finding codes of all rules with their descriptions, by the section of the settings.
        #[must_use]
        pub fn described_codes() -> Vec<(&'static str, Vec<Described>)> {
            vec![$( ($key, $module::described_codes()), )+]
        }

        /// Whether a rule reads pod annotations with this key.
        #[must_use]
        pub fn reads_pod_annotation(key: &str) -> bool {
            $( $module::$rule::reads_pod_annotation(key) )||+
        }

        impl ImageAnnotations for RuleAnnotations {
            fn reads(key: &str) -> bool {
                $( $module::$rule::reads_image_annotation(key) )||+
            }
        }

        /// The reference by which an image is judged. `None` if that is the image field.
        #[must_use]
        pub fn judged_reference(settings: &RuleSettings, site: &ImageSite<'_>, is_unchanged: bool) -> Option<String> {
            let mut reference = None;
            $(
                reference = reference.or_else(|| $module::$rule::judged_reference(&settings.$module, site, is_unchanged));
            )+
            reference
        }
    };
}

// Findings about an image are reported in this order.
rules! {
    "pinning" pinning: PinningRule,
    "schedule" schedule: ScheduleRule,
    "baseImage" base_image: BaseImageRule,
    "scan" scan: ScanRule,
    "rollout" rollout: RolloutRule,
}
