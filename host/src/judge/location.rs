//! Where in its manifest a finding is.

use super::verdict::{Finding, JudgedObject};
use crate::input::ManifestFile;
use crate::manifest::nodes::ImagePosition;

/// A position in a manifest. Lines and columns are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column in characters.
    pub column: usize,
    /// The column in UTF-16 code units, as SARIF and editors count.
    pub utf16_column: usize,
}

/// A part of a manifest. The end is the position after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The first character.
    pub start: Position,
    /// The character after the last one.
    pub end: Position,
}

impl Position {
    fn of_byte(file: &ManifestFile, byte: usize) -> Self {
        let (line, start) = file.line_of(byte);
        let before = file.text.get(start..byte).unwrap_or_default().trim_start_matches('\u{feff}');
        Self { line, column: before.chars().count() + 1, utf16_column: before.encode_utf16().count() + 1 }
    }
}

impl Region {
    fn of_image(file: &ManifestFile, image: &ImagePosition) -> Self {
        // A block scalar ends with its line.
        let length = file.text.get(image.span.clone()).unwrap_or_default().trim_end().len();
        Self {
            start: Position::of_byte(file, image.span.start),
            end: Position::of_byte(file, image.span.start + length),
        }
    }
}

/// Where the image of each finding is in the manifest. None for a finding about the whole object, and where the manifest does
/// not show it, such as the image of a record.
#[must_use]
pub fn regions(object: &JudgedObject) -> Vec<Option<Region>> {
    if object.findings.iter().all(|finding| finding.site.is_none()) {
        return vec![None; object.findings.len()];
    }
    let images = object.source.images();
    let region = |finding| position(finding, &images).map(|image| Region::of_image(&object.source.file, image));
    object.findings.iter().map(region).collect()
}

/// The image that a finding is about: one of its container, and if there are several, the one with the same reference.
fn position<'a>(finding: &Finding, images: &'a [ImagePosition]) -> Option<&'a ImagePosition> {
    let site = finding.site.as_deref()?;
    let of_site = || images.iter().filter(|image| is_at(image, site));
    let same_image = |image: &&ImagePosition| finding.image.as_deref() == Some(image.image.as_str());
    of_site().find(same_image).or_else(|| of_site().next())
}

/// Whether a finding about this site is about the image. Messages show a container as `noun `name``, and one without a name
/// with its path.
pub(crate) fn is_at(image: &ImagePosition, site: &str) -> bool {
    let Some(rest) = site.strip_prefix(image.field.noun).and_then(|rest| rest.strip_prefix(' ')) else { return false };
    if image.name.is_empty() {
        return rest.starts_with("without a name");
    }
    rest.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).is_some_and(|name| is_shown_as(&image.name, name))
}

/// Whether messages show the name like this. They escape everything but printable ASCII, and cut long names.
fn is_shown_as(name: &str, shown: &str) -> bool {
    let is_plain = |c: char| c == ' ' || c.is_ascii_graphic();
    let escape = |c: char| if is_plain(c) { c.to_string() } else { c.escape_default().to_string() };
    let escaped: String = name.chars().map(escape).collect();
    shown.strip_suffix('…').map_or(escaped == shown, |begin| escaped.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::{Region, regions};
    use crate::input::ManifestFile;
    use crate::judge::verdict::{Effect, Finding, JudgedObject, Verdict};

    /// The regions of findings about these sites and images, as `line:column-line:column`, with the UTF-16 column of the start.
    fn found(text: &str, index: usize, findings: &[(&str, &str)]) -> Vec<String> {
        let mut objects = ManifestFile::new("web.yaml".to_owned(), text.to_owned()).objects();
        let finding = |(site, image): &(&str, &str)| Finding {
            code: "unpinned-image".to_owned(),
            effect: Effect::Deny,
            site: Some((*site).to_owned()).filter(|site| !site.is_empty()),
            image: Some((*image).to_owned()),
            passed: None,
            fix: None,
            text: "has no digest".to_owned(),
            policies: Vec::new(),
        };
        let object = JudgedObject {
            findings: findings.iter().map(finding).collect(),
            ..JudgedObject::with_verdict(Verdict::Denied, None, objects.remove(index).source)
        };
        let show = |region: Option<Region>| match region {
            Some(Region { start, end }) => {
                format!("{}:{}-{}:{} {}", start.line, start.column, end.line, end.column, start.utf16_column)
            }
            None => "-".to_owned(),
        };
        regions(&object).into_iter().map(show).collect()
    }

    #[test]
    fn a_finding_is_where_its_image_is() {
        let text = "kind: Pod\nspec:\n  containers:\n  - {name: a, image: 'web:1'}\n  - name: b\n    image: web:2\n";
        assert_eq!(
            found(
                text,
                0,
                &[("container `b`", "web:2"), ("container `a`", "web:1"), ("", ""), ("volume `a`", "web:1")]
            ),
            ["6:12-6:17 12", "4:22-4:29 22", "-", "-"]
        );
    }

    #[test]
    fn columns_are_counted_in_characters_and_in_utf_16() {
        let text = "spec: {containers: [{name: '😀', image: web:1}]}\n";
        assert_eq!(found(text, 0, &[(r"container `\u{1f600}`", "web:1")]), ["1:40-1:45 41"]);
    }

    #[test]
    fn containers_of_the_same_name_are_told_apart_by_their_images() {
        let text =
            "spec:\n  leader: {containers: [{name: app, image: a}]}\n  worker: {containers: [{name: app, image: b}]}\n";
        assert_eq!(
            found(text, 0, &[("container `app`", "b"), ("container `app`", "a"), ("container `app`", "c")]),
            ["3:44-3:45 44", "2:44-2:45 44", "2:44-2:45 44"]
        );
        let unnamed = "spec: {containers: [{image: a}, {image: b}]}\n";
        assert_eq!(
            found(unnamed, 0, &[("container without a name at /spec/containers/1/image", "b")]),
            ["1:41-1:42 41"]
        );
    }

    #[test]
    fn an_image_in_a_block_ends_with_its_text() {
        let text = "spec:\n  containers:\n  - name: a\n    image: >-\n      web:1\n\n  restartPolicy: Never\n";
        let region = found(text, 0, &[("container `a`", "web:1")]).remove(0);
        assert!(region.ends_with(char::is_numeric) && region.contains("-5:12 "), "{region}");
    }
}
