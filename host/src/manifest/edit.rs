//! Writes new values into image fields of a manifest, and keeps every other byte.
//!
//! The end of the reference, usually its digest, is replaced inside of its quotes, so the style of the scalar stays. Afterwards the
//! changed text is read again: its objects must differ from those before in exactly these image fields. With anchors and merge keys
//! one scalar can belong to several objects, and to fields that are not images.

use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use container_patch_policy::workload::site::IMAGE_FIELDS;
use saphyr_parser::ScalarStyle;
use serde_json::Value;

use super::nodes::{self, ImagePosition, Paths, Step};
use crate::compose;

/// The new image of a container or image volume of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChange {
    /// The list that has it, such as `initContainers`.
    pub list: &'static str,
    /// The name of the container or volume. Empty without one.
    pub name: String,
    /// The image before.
    pub old: String,
    /// The image afterwards.
    pub new: String,
}

impl ImageChange {
    /// The change of the image at a position.
    #[must_use]
    pub fn at(position: &ImagePosition, new: &str) -> Self {
        let ImagePosition { field, name, image, .. } = position;
        Self { list: field.list, name: name.clone(), old: image.clone(), new: new.to_owned() }
    }
}

/// A new value for the image at a position. It changes all objects that read this scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEdit {
    /// The position of the scalar.
    pub position: ImagePosition,
    /// The image afterwards.
    pub new: String,
}

/// The images of each object of a manifest, in the order of [`super::read`].
///
/// # Errors
/// When a document of the manifest is not YAML.
pub fn images(text: &str) -> Result<Vec<Vec<ImagePosition>>> {
    Ok(nodes::images_by_object(&nodes::objects(text)?))
}

/// Writes new images into a manifest.
///
/// # Errors
/// When an edit would change anything but the image fields that its scalar is the value of.
pub fn rewrite(text: &str, edits: &[ImageEdit]) -> Result<String> {
    let mut edits: Vec<&ImageEdit> = edits.iter().collect();
    edits.sort_by_key(|edit| edit.position.span.start);
    let mut changed = String::with_capacity(text.len() + edits.len() * 80);
    let mut end = 0;
    for edit in &edits {
        let span = &edit.position.span;
        changed.push_str(text.get(end..span.start).context("two changes of the same image")?);
        let raw = text.get(span.clone()).context("the image is not in the text")?;
        changed.push_str(&scalar(raw, edit)?);
        end = span.end;
    }
    changed.push_str(text.get(end..).unwrap_or_default());
    let (after, expected) = (objects(&changed)?, expected(text, &edits)?);
    let is_same = |(after, expected): (&Value, &Value)| differs_only_in_templates(after, expected, None, &edits);
    if after.len() != expected.len() || !after.iter().zip(&expected).all(is_same) {
        bail!("other values of the file would change with it");
    }
    Ok(changed)
}

/// Whether an object is as expected. A mapping with an anchor may be both a template for containers and a field of the object; its
/// `image` has changed there, too.
fn differs_only_in_templates(after: &Value, expected: &Value, key: Option<&str>, edits: &[&ImageEdit]) -> bool {
    match (after, expected) {
        (Value::Object(after), Value::Object(expected)) => {
            after.len() == expected.len()
                && after.iter().zip(expected).all(|((key, after), (expected_key, expected))| {
                    key == expected_key && differs_only_in_templates(after, expected, Some(key), edits)
                })
        }
        (Value::Array(after), Value::Array(expected)) => {
            after.len() == expected.len()
                && after
                    .iter()
                    .zip(expected)
                    .all(|(after, expected)| differs_only_in_templates(after, expected, None, edits))
        }
        (Value::String(after), Value::String(before)) if after != before => edits.iter().any(|edit| {
            let ImagePosition { field, image, has_anchor, .. } = &edit.position;
            !has_anchor && field.image.last().copied() == key && (image, &edit.new) == (before, after)
        }),
        (after, expected) => after == expected,
    }
}

/// Changes images of an object, as [`rewrite`] does in its text.
pub fn set_images(object: &mut Value, changes: &[ImageChange]) {
    match object {
        Value::Object(fields) => {
            for field in &IMAGE_FIELDS {
                let of_list: Vec<_> = changes.iter().filter(|change| change.list == field.list).collect();
                if of_list.is_empty() {
                    continue;
                }
                for entry in fields.get_mut(field.list).and_then(Value::as_array_mut).into_iter().flatten() {
                    let name = match entry.get("name") {
                        Some(Value::String(name)) => name.clone(),
                        Some(scalar @ (Value::Number(_) | Value::Bool(_))) => scalar.to_string(),
                        _ => String::new(),
                    };
                    let image = field.image.iter().try_fold(entry, |value, key| value.get_mut(key));
                    if let Some(Value::String(image)) = image
                        && let Some(change) = of_list.iter().find(|change| change.name == name && change.old == *image)
                    {
                        image.clone_from(&change.new);
                    }
                }
            }
            fields.values_mut().for_each(|value| set_images(value, changes));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| set_images(item, changes)),
        _ => {}
    }
}

/// The objects of the text after the edits.
fn expected(text: &str, edits: &[&ImageEdit]) -> Result<Vec<Value>> {
    let mut objects = objects(text)?;
    let images = images(text)?;
    if objects.len() != images.len() {
        bail!("the objects of the file cannot be told apart");
    }
    let nodes = nodes::objects(text)?;
    let paths = Paths::of(&nodes);
    for (index, (object, images)) in objects.iter_mut().zip(images).enumerate() {
        if compose::has_services(object) {
            set_service_images(object, edits, |path| Some(paths.get(index, path)?.span.clone()));
            continue;
        }
        let edit_of = |position: &ImagePosition| edits.iter().find(|edit| edit.position.span == position.span);
        let changes: Vec<ImageChange> = images
            .iter()
            .filter_map(|position| edit_of(position).map(|edit| ImageChange::at(position, &edit.new)))
            .collect();
        set_images(object, &changes);
    }
    Ok(objects)
}

/// Changes images of the services of a Compose file.
fn set_service_images(document: &mut Value, edits: &[&ImageEdit], span: impl Fn(&[Step]) -> Option<Range<usize>>) {
    for path in compose::image_paths(document) {
        let Some(span) = span(&path) else { continue };
        let image = path.iter().try_fold(&mut *document, |value, step| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Item(index) => value.get_mut(index),
        });
        if let (Some(image), Some(edit)) = (image, edits.iter().find(|edit| edit.position.span == span)) {
            *image = Value::from(edit.new.as_str());
        }
    }
}

fn objects(text: &str) -> Result<Vec<Value>> {
    super::read(text).into_iter().map(|document| document.object).collect()
}

/// The text of a scalar with its new value. In double quotes, what both values have in common keeps its escapes.
fn scalar(raw: &str, edit: &ImageEdit) -> Result<String> {
    let ImageEdit { position: ImagePosition { image: old, style, .. }, new } = edit;
    if *style != ScalarStyle::DoubleQuoted {
        let at = raw.find(old.as_str()).context("its text is not written in a form that can be changed")?;
        let mut changed = raw.to_owned();
        changed.replace_range(at..at + old.len(), new);
        return Ok(changed);
    }
    let common = old.bytes().zip(new.bytes()).take_while(|(old, new)| old == new).count();
    let ends = old.get(common..).zip(new.get(common..));
    let kept = ends.and_then(|(old, new)| {
        let body = raw.strip_suffix('"')?.strip_suffix(old)?;
        Some(format!("{body}{new}\""))
    });
    Ok(kept.unwrap_or_else(|| Value::from(new.as_str()).to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ImageChange, ImageEdit, images, rewrite, set_images};
    use crate::manifest;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef000000000000ffff";

    /// Edits for all images with this value.
    fn edits(text: &str, old: &str, new: &str) -> Vec<ImageEdit> {
        let mut edits: Vec<ImageEdit> = Vec::new();
        for position in images(text).unwrap().into_iter().flatten().filter(|position| position.image == old) {
            if !edits.iter().any(|edit| edit.position.span == position.span) {
                edits.push(ImageEdit { position, new: new.to_owned() });
            }
        }
        assert!(!edits.is_empty(), "{old} is not an image of\n{text}");
        edits
    }

    fn pinned(image: &str) -> String {
        format!("{image}@{DIGEST}")
    }

    fn pod(image: &str) -> String {
        format!("kind: Pod\nspec:\n  containers:\n  - name: a # é\n    image: {image}\n    args: [a:1]\n# end a:1\n")
    }

    #[test]
    fn an_image_keeps_its_style() {
        for (before, after) in [
            ("a:1", "a:1@D"),
            ("a:1   # a:1", "a:1@D   # a:1"),
            ("'a:1' # it's", "'a:1@D' # it's"),
            ("\"a:1\"", "\"a:1@D\""),
            ("\"\\u0061:1\"", "\"\\u0061:1@D\""),
            ("\"a:1\" # \"a:1\"", "\"a:1@D\" # \"a:1\""),
            ("&x \"a:1\"  # é\n    # a:1", "&x \"a:1@D\"  # é\n    # a:1"),
            ("&x a:1", "&x a:1@D"),
            ("!!str a:1", "!!str a:1@D"),
            ("!!str 'a:1'", "!!str 'a:1@D'"),
            ("|-\n      a:1", "|-\n      a:1@D"),
            (">-\n      a:1\n", ">-\n      a:1@D\n"),
            ("|-  # a:1\n      a:1\n  # a:1", "|-  # a:1\n      a:1@D\n  # a:1"),
            ("\n      a:1", "\n      a:1@D"),
            ("\n\n      # a:1\n      'a:1'", "\n\n      # a:1\n      'a:1@D'"),
        ] {
            let text = pod(before);
            let changed = rewrite(&text, &edits(&text, "a:1", &pinned("a:1")));
            let changed = changed.unwrap_or_else(|error| panic!("{error:#}:\n{text}"));
            assert_eq!(changed, pod(&after.replace('D', DIGEST)));
        }
    }

    #[test]
    fn a_digest_is_replaced_in_any_style() {
        let (old, new) = (pinned("r.test/a:1"), format!("r.test/a:1@{OTHER}"));
        for style in ["D", "'D'", "\"D\"", "|-\n      D", ">-\n      D", "&x D", "D # D"] {
            let text = pod(&style.replacen('D', &old, 1).replace('D', &old));
            let changed = rewrite(&text, &edits(&text, &old, &new)).unwrap();
            assert_eq!(changed, pod(&style.replacen('D', &new, 1).replace('D', &old)));
        }
        let escaped = format!("\"r.test\\/a:1@{}\"", DIGEST.replace('f', "\\u0066"));
        let text = pod(&escaped);
        let changed = rewrite(&text, &edits(&text, &old, &new)).unwrap();
        assert_eq!(changed, pod(&format!("\"{new}\"")));
    }

    #[test]
    fn json_stays_json_with_its_escapes() {
        let text = r#"{"kind":"Pod","spec":{"containers":[{"image":"r.test\/a:1","name":"\u00e9"}]}}"#;
        let both = format!("{text}\n{text}");
        let changed = rewrite(&both, &edits(&both, "r.test/a:1", &pinned("r.test/a:1"))).unwrap();
        assert_eq!(changed, both.replace(r"\/a:1", &pinned(r"\/a:1")));
        let list = format!("{{\"kind\": \"List\", \"items\": [{text},\r\n {text}]}}");
        let changed = rewrite(&list, &edits(&list, "r.test/a:1", &pinned("r.test/a:1"))).unwrap();
        assert_eq!(changed, list.replace(r"\/a:1", &pinned(r"\/a:1")));
        serde_json::from_str::<Value>(&changed).unwrap();
    }

    #[test]
    fn line_ends_byte_order_marks_and_other_documents_stay() {
        let text = format!(
            "\u{feff}# é\r\n---\r\nkind: ConfigMap\r\ndata: {{image: a:1}}\r\n---\r\n{}...\r\n",
            pod("a:1").replace('\n', "\r\n")
        );
        let changed = rewrite(&text, &edits(&text, "a:1", &pinned("a:1"))).unwrap();
        assert_eq!(changed, text.replace("    image: a:1", &format!("    image: {}", pinned("a:1"))));
        let without_end = pod("a:1").trim_end_matches("\n    args: [a:1]\n# end a:1\n").to_owned();
        let changed = rewrite(&without_end, &edits(&without_end, "a:1", &pinned("a:1"))).unwrap();
        assert_eq!(changed, format!("{without_end}@{DIGEST}"));
    }

    #[test]
    fn flow_style_and_image_volumes_are_changed() {
        let text = "kind: Pod\nspec: {containers: [{image: a:1, name: a}, {name: b, image: 'a:1'}],\n  \
                    volumes: [{name: v, image: {reference: a:1}}]}\n";
        let changed = rewrite(text, &edits(text, "a:1", &pinned("a:1"))).unwrap();
        assert_eq!(changed, text.replace("a:1", &pinned("a:1")));
    }

    #[test]
    fn the_scalar_of_an_anchor_is_changed_once_for_all_its_users() {
        for text in [
            "kind: Pod\nx: &c\n  image: a:1\nspec:\n  containers:\n  - {<<: *c, name: one}\n  - {name: two, <<: [*c]}\n",
            "kind: Pod\nspec:\n  containers:\n  - {name: one, image: &i a:1}\n  - {name: two, image: *i}\n",
            "kind: Pod\nspec:\n  initContainers: &all\n  - image: a:1\n  containers: *all\n",
            "kind: List\nitems:\n- kind: Pod\n  spec: &s {containers: [{image: a:1}]}\n- {kind: Pod, spec: *s}\n",
        ] {
            let edits = edits(text, "a:1", &pinned("a:1"));
            assert_eq!(edits.len(), 1);
            assert_eq!(rewrite(text, &edits).unwrap(), text.replace("a:1", &pinned("a:1")));
        }
    }

    #[test]
    fn a_scalar_that_is_also_another_value_is_not_changed() {
        for text in [
            "kind: Pod\nmetadata: {labels: {image: &i a:1}}\nspec: {containers: [{image: *i}]}\n",
            "kind: Pod\nspec:\n  containers:\n  - image: &i a:1\n    env: [{name: IMAGE, value: *i}]\n",
        ] {
            assert!(rewrite(text, &edits(text, "a:1", &pinned("a:1"))).is_err(), "{text}");
        }
    }

    #[test]
    fn values_that_yaml_would_read_differently_are_not_written() {
        let text = pod("a:1");
        for hostile in
            ["a:1\n    command: [sh]", "a:1 # comment", "a:1: b", "a:1}\n", "a:1\r\n- x", "a:1\u{85}b", "a:1\u{0}"]
        {
            let edits = edits(&text, "a:1", hostile);
            assert!(rewrite(&text, &edits).is_err(), "{hostile}");
        }
        let quoted = pod("'a:1'");
        assert!(rewrite(&quoted, &edits(&quoted, "a:1", "a:1', x: '")).is_err());
    }

    #[test]
    fn edits_of_the_same_or_of_no_scalar_are_errors() {
        let text = pod("a:1");
        let edit = edits(&text, "a:1", &pinned("a:1")).remove(0);
        assert!(rewrite(&text, &[edit.clone(), edit.clone()]).is_err());
        assert!(rewrite("kind: [", std::slice::from_ref(&edit)).is_err());
        let mut outside = edit.clone();
        outside.position.span = 9000..9003;
        assert!(rewrite(&text, &[outside]).is_err());
        let mut other = edit;
        other.position.span = 0..4;
        assert!(rewrite(&text, &[other]).is_err());
    }

    #[test]
    fn a_changed_object_has_the_new_image_of_this_container_only() {
        let container = |name: &str, image: &str| json!({"name": name, "image": image});
        let mut object = json!({"spec": {"template": {"spec": {
            "initContainers": [container("a", "a:1")], "containers": [container("a", "a:1"), container("b", "a:1")],
        }}}});
        let [old, new] = ["a:1", "a:2"].map(str::to_owned);
        set_images(&mut object, &[ImageChange { list: "containers", name: "a".to_owned(), old, new }]);
        assert_eq!(
            object,
            json!({"spec": {"template": {"spec": {
                "initContainers": [container("a", "a:1")], "containers": [container("a", "a:2"), container("b", "a:1")],
            }}}})
        );
    }

    #[test]
    fn the_images_of_all_objects_are_found() {
        let text = format!("{}---\nkind: Service\n---\n{}", pod("a:1"), pod("b:1"));
        let found: Vec<usize> = images(&text).unwrap().iter().map(Vec::len).collect();
        assert_eq!(found, [1, 0, 1]);
        assert_eq!(manifest::read(&text).len(), 3);
    }
}
