//! The changes that the policy makes to an object.

use std::collections::BTreeMap;

use container_patch_policy::workload::record_keys::{RECORDED_AT, RESOLVED};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::pod_template::{is_image, recorded_name};

/// The differences between an object and the object that the policy returns.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Changed images: JSON pointer, value before, value after.
    pub(crate) images: Vec<(String, String, String)>,
    /// Changed annotations of the policy, by pod template and key: the value after.
    pub(crate) annotations: BTreeMap<(String, String), Option<String>>,
}

impl Changes {
    /// Compares two objects. `templates` are the JSON pointers of the pod templates.
    ///
    /// # Errors
    /// If anything else than an image or an annotation of the policy differs.
    pub(crate) fn between(before: &Value, after: &Value, templates: &[&str]) -> Result<Self, Failure> {
        let mut changes = Self::default();
        changes.compare(before, after, String::new(), templates)?;
        Ok(changes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.annotations.is_empty()
    }

    fn compare(&mut self, before: &Value, after: &Value, at: String, templates: &[&str]) -> Result<(), Failure> {
        let template_of = |metadata: &str| {
            let template = at.strip_suffix(metadata)?;
            templates.iter().find(|known| **known == template)
        };
        if let Some(template) = template_of("/metadata/annotations") {
            return self.compare_annotations(before, after, template);
        }
        match (before, after) {
            // The policy can add the first annotations.
            (Value::Null, Value::Object(_)) if template_of("/metadata").is_some() => {
                self.compare(&Value::Object(Map::new()), after, at, templates)
            }
            (Value::Object(one), Value::Object(other)) => {
                let can_be_added = |key: &str| match key {
                    "metadata" => template_of("").is_some(),
                    "annotations" => template_of("/metadata").is_some(),
                    _ => false,
                };
                let removed = one.keys().find(|key| !other.contains_key(*key));
                let added = other.keys().find(|key| !one.contains_key(*key) && !can_be_added(key));
                if let Some(key) = removed.or(added) {
                    return Err(format!(
                        "`{key}` in {at:?} is added or removed; expected changed images and records only"
                    ));
                }
                other.iter().try_for_each(|(key, other)| {
                    self.compare(one.get(key).unwrap_or(&Value::Null), other, format!("{at}/{key}"), templates)
                })
            }
            (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
                .iter()
                .zip(other)
                .enumerate()
                .try_for_each(|(index, (one, other))| self.compare(one, other, format!("{at}/{index}"), templates)),
            _ if before == after => Ok(()),
            (Value::String(one), Value::String(other)) if is_image(&at) => {
                self.images.push((at, one.clone(), other.clone()));
                Ok(())
            }
            _ => Err(format!("{at:?} is changed from {before} to {after}; expected changed images and records only")),
        }
    }

    fn compare_annotations(&mut self, before: &Value, after: &Value, template: &str) -> Result<(), Failure> {
        if before == after {
            return Ok(());
        }
        let empty = Map::new();
        let (Some(one), Some(other)) = (before.as_object().or(before.is_null().then_some(&empty)), after.as_object())
        else {
            return Err(format!(
                "the annotations of {template:?} are changed from {before} to {after}; expected objects"
            ));
        };
        for key in one.keys().chain(other.keys()) {
            let now = other.get(key);
            if one.get(key) == now {
                continue;
            }
            let is_of_template = key == RECORDED_AT || key == RESOLVED && now.is_none() || recorded_name(key).is_some();
            let is_ours = if template.is_empty() { key == RESOLVED } else { is_of_template };
            if !is_ours || !now.is_none_or(Value::is_string) {
                return Err(format!("the annotation {key:?} of {template:?} is changed to {now:?}"));
            }
            let now = now.and_then(Value::as_str).map(str::to_owned);
            self.annotations.insert((template.to_owned(), key.clone()), now);
        }
        Ok(())
    }
}
