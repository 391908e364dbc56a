//! Reads the image references of an object in one pass over its JSON text. Nothing else of the object is kept.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::kinds::Layout;
use super::nodes::Nodes;
use super::record_keys;
use super::site::{Annotation, AnnotationFilter, IMAGE_FIELDS, ImageField, ImageSite, Template, Workload};
use crate::json::{self, Entries, JsonStr};
use crate::sanitized::Sanitized;

/// Why an object cannot be read.
pub(super) enum ReadError {
    /// There is nothing at this path.
    Missing(String),
    /// A value does not match the schema. The text has the problem and its path.
    Schema(String),
}

/// Reads the pod template at a JSON pointer and adds it to the workload.
pub(super) fn read_template<'a>(
    object: &'a RawValue,
    template: Cow<'a, str>,
    layout: Layout,
    reads: AnnotationFilter,
    workload: &mut Workload<'a>,
) -> Result<(), ReadError> {
    let keys: Vec<String> = template.split('/').skip(1).map(json::unescape).collect();
    let missing = |more: &[&str]| {
        let path: Vec<&str> = keys.iter().map(String::as_str).chain(more.iter().copied()).collect();
        ReadError::Missing(path.join("."))
    };
    let found = match layout {
        Layout::Spec => {
            let spec = json::read_seed(object.get(), || PodSpec).map_err(ReadError::Schema)?;
            TemplateParts { spec, ..TemplateParts::default() }
        }
        Layout::Template | Layout::Custom | Layout::Patch => {
            let is_patch = layout == Layout::Patch;
            if is_patch {
                check_case(object)?;
            }
            let descent = || Descent { keys: &keys, depth: 0, is_patch, reads };
            json::read_seed(object.get(), descent).map_err(ReadError::Schema)?.ok_or_else(|| missing(&[]))?
        }
    };
    // A patch may have records for images of the template that it is merged into.
    let is_patch_of_records =
        layout == Layout::Patch && found.annotations.iter().any(|(key, _)| record_keys::is_ours(key));
    let no_spec = is_patch_of_records.then(|| Spec { sites: Vec::new(), nodes: Nodes::default() });
    let mut spec = found.spec.or(no_spec).ok_or_else(|| missing(&["spec"]))?;
    let is_pod = template.is_empty();
    spec.sites.retain(|site| !site.image.text.is_empty() || site.field.is_required(layout, is_pod));
    let order = |site: &Site<'_>| IMAGE_FIELDS.iter().position(|field| field == site.field);
    spec.sites.sort_unstable_by_key(|site| (order(site), site.index));
    let first = workload.sites.len();
    workload.sites.extend(spec.sites.into_iter().map(|site| ImageSite {
        field: site.field,
        index: site.index,
        name: site.name,
        image: site.image.text,
        record: None,
        template: template.clone(),
        layout,
        json: site.image.json,
    }));
    let (records, scans): (Pairs<'a>, Pairs<'a>) =
        found.annotations.into_iter().partition(|(key, _)| record_keys::is_ours(key));
    if !records.is_empty() {
        record_keys::assign(workload.sites.get_mut(first..).unwrap_or_default(), &records)
            .map_err(ReadError::Schema)?;
    }
    let with_template = |(key, value)| Annotation { key, value, template: template.clone() };
    workload.annotations.extend(scans.into_iter().map(with_template));
    workload.templates.push(Template { pointer: template, nodes: spec.nodes, records });
    Ok(())
}

/// The keys inside `affinity` that are read.
const AFFINITY_KEYS: [&str; 7] = [
    "nodeAffinity",
    "requiredDuringSchedulingIgnoredDuringExecution",
    "nodeSelectorTerms",
    "matchExpressions",
    "key",
    "operator",
    "values",
];
/// The depth up to which these keys are checked.
const AFFINITY_DEPTH: usize = 8;

/// Rejects keys of a patch that differ only in case from the keys on the path to an image. The API server stores the `data` of a
/// ControllerRevision as it was written, and its controller reads it with Go's encoding/json, which treats `Containers` like
/// `containers`.
#[cold]
fn check_case(object: &RawValue) -> Result<(), ReadError> {
    let data = check_keys(object, &["data"])?;
    let spec = check_keys_of(data, "data", &["spec"])?;
    let template = check_keys_of(spec, "spec", &["template"])?;
    let of_template = check_keys_of(template, "template", &["metadata", "spec"])?;
    check_keys_of(of_template.clone(), "metadata", &["annotations"])?;
    let lists: Vec<&str> = IMAGE_FIELDS.iter().map(|field| field.list).collect();
    let of_pod = check_keys_of(of_template, "spec", &[&lists[..], &["nodeSelector", "affinity"]].concat())?;
    for (key, value) in &of_pod {
        if key == "affinity" {
            check_affinity(value, 0)?;
        }
        let Some(field) = IMAGE_FIELDS.iter().find(|field| field.list == key) else { continue };
        let (first, rest) = field.image.split_first().unwrap_or((&"image", &[]));
        for entry in serde_json::from_str::<Vec<&RawValue>>(value.get()).unwrap_or_default() {
            let entries = check_keys(entry, &["name", *first])?;
            check_keys_of(entries, first, rest)?;
        }
    }
    Ok(())
}

fn check_affinity(value: &RawValue, depth: usize) -> Result<(), ReadError> {
    if depth > AFFINITY_DEPTH {
        return Ok(());
    }
    if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        return items.into_iter().try_for_each(|item| check_affinity(item, depth + 1));
    }
    check_keys(value, &AFFINITY_KEYS)?.into_iter().try_for_each(|(_, value)| check_affinity(value, depth + 1))
}

/// The keys and values of an object.
type Fields<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// The fields of an object, after a check of their keys against the keys that are read. Other values have no fields.
fn check_keys<'a>(object: &'a RawValue, read: &[&str]) -> Result<Fields<'a>, ReadError> {
    let Ok(Entries(fields)) = serde_json::from_str(object.get()) else { return Ok(Vec::new()) };
    for (key, _) in &fields {
        // Go also folds the case of two letters that are not ASCII.
        let folded = key.replace('\u{17f}', "s").replace('\u{212a}', "k");
        let meant = read.iter().find(|read| **read != key && read.eq_ignore_ascii_case(&folded));
        if let Some(meant) = meant {
            let key = Sanitized(key);
            return Err(ReadError::Schema(format!("its controller reads `{key}` as `{meant}`; write `{meant}`")));
        }
    }
    Ok(fields)
}

/// Like [`check_keys`], for the value of one of the fields.
fn check_keys_of<'a>(fields: Fields<'a>, key: &str, read: &[&str]) -> Result<Fields<'a>, ReadError> {
    let value = fields.into_iter().find(|(known, _)| known == key);
    value.map_or_else(|| Ok(Vec::new()), |(_, value)| check_keys(value, read))
}

/// An owner reference of an object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner<'a> {
    #[serde(borrow, default)]
    pub(super) api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) controller: Option<bool>,
}

/// The owner references of an object.
#[cold]
pub(super) fn owners(object: &RawValue) -> Result<Vec<Owner<'_>>, String> {
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow, default, deserialize_with = "json::optional_object")]
        metadata: Option<Owned<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Owned<'a> {
        #[serde(borrow, default)]
        owner_references: Option<Vec<Owner<'a>>>,
    }
    let object: Object<'_> = serde_json::from_str(object.get()).map_err(|error| error.to_string())?;
    Ok(object.metadata.and_then(|metadata| metadata.owner_references).unwrap_or_default())
}

/// Whether `metadata.deletionTimestamp` is there.
pub(super) fn has_deletion_timestamp(object: &RawValue) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow, default, deserialize_with = "json::optional_object")]
        metadata: Option<Metadata<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata<'a> {
        #[serde(borrow)]
        deletion_timestamp: Option<Cow<'a, str>>,
    }
    let object: Object<'_> = json::read(object.get())?;
    Ok(object.metadata.is_some_and(|metadata| metadata.deletion_timestamp.is_some()))
}

/// The parts of a pod template that are read.
#[derive(Default)]
struct TemplateParts<'a> {
    annotations: Pairs<'a>,
    /// Nothing if the template has no spec.
    spec: Option<Spec<'a>>,
}

/// The parts of a pod's spec that are read.
struct Spec<'a> {
    sites: Vec<Site<'a>>,
    nodes: Nodes,
}

/// An image site before its template is known.
struct Site<'a> {
    field: &'static ImageField,
    index: usize,
    name: Option<Cow<'a, str>>,
    image: Text<'a>,
}

/// A string, and the JSON that it was read from. A missing one is empty, as it is for the API server.
#[derive(Default)]
struct Text<'a> {
    text: Cow<'a, str>,
    json: Option<&'a RawValue>,
}

/// Follows the path to a pod template, and reads the template. The result is nothing if a key or its value is missing.
struct Descent<'k> {
    keys: &'k [String],
    depth: usize,
    /// Whether the path may end in another value, because the content of a patch is arbitrary.
    is_patch: bool,
    reads: AnnotationFilter,
}

impl<'k> Descent<'k> {
    fn next(&self) -> Self {
        Self { depth: self.depth + 1, ..*self }
    }

    /// The result if the path ends in another value than an object.
    fn ends_at<'de, E: serde::de::Error>(&self, found: Unexpected<'_>) -> Result<Option<TemplateParts<'de>>, E> {
        if self.is_patch && self.depth < self.keys.len() { Ok(None) } else { Err(E::invalid_type(found, self)) }
    }
}

impl<'de> DeserializeSeed<'de> for Descent<'_> {
    type Value = Option<TemplateParts<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Descent<'_> {
    type Value = Option<TemplateParts<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        self.ends_at(Unexpected::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.ends_at(Unexpected::Signed(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.ends_at(Unexpected::Unsigned(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.ends_at(Unexpected::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        self.ends_at(Unexpected::Str(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        match self.keys.get(self.depth) {
            Some(wanted) => Ok(only_value(map, wanted, || self.next())?.flatten()),
            None => template(map, self.reads).map(Some),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let Some(wanted) = self.keys.get(self.depth).and_then(|key| key.parse::<usize>().ok()) else {
            let end = self.ends_at(Unexpected::Seq);
            while end.is_ok() && items.next_element::<IgnoredAny>()?.is_some() {}
            return end;
        };
        let mut found = None;
        for index in 0.. {
            if index == wanted {
                match items.next_element_seed(self.next())? {
                    Some(item) => found = item,
                    None => break,
                }
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// Reads the annotations and the image sites of a pod template.
fn template<'de, A: MapAccess<'de>>(mut map: A, reads: AnnotationFilter) -> Result<TemplateParts<'de>, A::Error> {
    let mut template = TemplateParts::default();
    let (mut metadata, mut spec) = (false, false);
    while let Some(JsonStr(key)) = map.next_key()? {
        let seen = match key.as_ref() {
            "metadata" => &mut metadata,
            "spec" => &mut spec,
            _ => {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
        };
        if std::mem::replace(seen, true) {
            return Err(given_twice(&key));
        }
        if key == "metadata" {
            template.annotations = map.next_value_seed(Metadata(reads))?;
        } else {
            template.spec = map.next_value_seed(PodSpec)?;
        }
    }
    Ok(template)
}

/// The keys and values of annotations.
type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Reads the annotations in the metadata of a pod template.
struct Metadata(AnnotationFilter);

impl<'de> DeserializeSeed<'de> for Metadata {
    type Value = Pairs<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(only_value(map, "annotations", || Annotations(self.0))?.unwrap_or_default())
    }
}

/// Reads the annotations that rules read, and those of records. If an annotation of a rule is given twice, both values are kept, and
/// the rule can choose the worse one.
struct Annotations(AnnotationFilter);

impl<'de> DeserializeSeed<'de> for Annotations {
    type Value = Pairs<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Annotations {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(JsonStr(key)) = map.next_key()? {
            // Other annotations are skipped, because they may be long, such as kubectl's copy of the whole object.
            if record_keys::is_ours(&key) {
                // A value that is not a string is an invalid record.
                let value: &RawValue = map.next_value()?;
                let text = serde_json::from_str(value.get()).map_or(Cow::Borrowed(""), |JsonStr(text)| text);
                pairs.push((key, text));
            } else if (self.0)(&key) {
                let value: Option<JsonStr<'_>> = map.next_value()?;
                pairs.push((key, value.map_or(Cow::Borrowed(""), |JsonStr(value)| value)));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(pairs)
    }
}

/// Reads the spec of a pod template. Nothing if it is null.
struct PodSpec;

impl<'de> DeserializeSeed<'de> for PodSpec {
    type Value = Option<Spec<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PodSpec {
    type Value = Option<Spec<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        pod_spec(map).map(Some)
    }
}

/// Reads the fields of a pod's spec that name images, and those that select nodes.
fn pod_spec<'de, A: MapAccess<'de>>(mut map: A) -> Result<Spec<'de>, A::Error> {
    let mut sites = Vec::new();
    let mut seen = [false; IMAGE_FIELDS.len()];
    let (mut selector, mut affinity) = (None, None);
    while let Some(JsonStr(key)) = map.next_key()? {
        let known = IMAGE_FIELDS.iter().zip(&mut seen).find(|(field, _)| field.list == key);
        if let Some((field, seen)) = known {
            if std::mem::replace(seen, true) {
                return Err(given_twice(&key));
            }
            map.next_value_seed(List { field, sites: &mut sites })?;
            continue;
        }
        let is_twice = match key.as_ref() {
            "nodeSelector" => selector.replace(map.next_value::<&RawValue>()?).is_some(),
            "affinity" => affinity.replace(map.next_value::<&RawValue>()?).is_some(),
            _ => {
                map.next_value::<IgnoredAny>()?;
                false
            }
        };
        if is_twice {
            return Err(given_twice(&key));
        }
    }
    let nodes = Nodes::of(selector, affinity).map_err(A::Error::custom)?;
    Ok(Spec { sites, nodes })
}

/// Reads a list of containers or volumes.
struct List<'s, 'de> {
    field: &'static ImageField,
    sites: &'s mut Vec<Site<'de>>,
}

impl<'de> DeserializeSeed<'de> for List<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            match items.next_element_seed(Entry { image: self.field.image })? {
                None => break,
                Some((_, None)) => {}
                Some((name, Some(image))) => self.sites.push(Site { field: self.field, index, name, image }),
            }
        }
        Ok(())
    }
}

/// Reads the name and the image of a container or a volume. Only a volume may have no image at all.
struct Entry {
    image: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for Entry {
    type Value = (Option<Cow<'de, str>>, Option<Text<'de>>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entry {
    type Value = (Option<Cow<'de, str>>, Option<Text<'de>>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut name, mut image) = (None, None);
        while let Some(JsonStr(key)) = map.next_key()? {
            let (value, keys) = match (key.as_ref(), self.image.split_first()) {
                ("name", _) => (&mut name, &[][..]),
                (key, Some((first, rest))) if key == *first => (&mut image, rest),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if value.is_some() {
                return Err(given_twice(&key));
            }
            *value = Some(map.next_value_seed(TextAt(keys))?);
        }
        let is_container = self.image.len() == 1;
        let image = image.flatten().or_else(|| is_container.then(Text::default));
        Ok((name.flatten().map(|name: Text<'de>| name.text), image))
    }
}

/// Reads the string at a path. It is empty if it is missing or null in an object on the path. Nothing if the first value is null.
struct TextAt(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for TextAt {
    type Value = Option<Text<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if !self.0.is_empty() {
            return deserializer.deserialize_any(self);
        }
        let value = <&RawValue>::deserialize(deserializer)?;
        if value.get() == "null" {
            return Ok(None);
        }
        match serde_json::from_str(value.get()) {
            Ok(JsonStr(text)) => Ok(Some(Text { text, json: Some(value) })),
            Err(error) => Err(D::Error::custom(json::without_position(&error.to_string()))),
        }
    }
}

impl<'de> Visitor<'de> for TextAt {
    type Value = Option<Text<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        match self.0.split_first() {
            Some((wanted, rest)) => Ok(Some(only_value(map, wanted, || TextAt(rest))?.flatten().unwrap_or_default())),
            None => Err(A::Error::invalid_type(Unexpected::Map, &self)),
        }
    }
}

/// The value of one key of a map. The other keys are skipped.
fn only_value<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
    mut map: A,
    wanted: &str,
    seed: impl Fn() -> S,
) -> Result<Option<S::Value>, A::Error> {
    let mut found = None;
    while let Some(JsonStr(key)) = map.next_key()? {
        if key != wanted {
            map.next_value::<IgnoredAny>()?;
        } else if found.is_some() {
            return Err(given_twice(&key));
        } else {
            found = Some(map.next_value_seed(seed())?);
        }
    }
    Ok(found)
}

/// The error for a duplicate key. Two parsers of one document may each use another one of the two values, so it is rejected.
fn given_twice<E: serde::de::Error>(key: &str) -> E {
    E::custom(format_args!("`{}` is given twice", Sanitized(key)))
}
