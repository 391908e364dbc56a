//! Decides which images get which digest.
//!
//! The policy decides: it looks up the digests, and a new digest is only written if the policy judges the changed object and the
//! findings about the image are gone. So the way to a digest is the same as in a cluster, with its exceptions, overrides and the
//! registries that may be asked.

use std::path::PathBuf;
use std::sync::Arc;

use container_patch_policy::image::Reference;
use container_patch_policy::rules::pinning::FORBIDDEN_TAG;
use container_patch_policy::workload::record_keys;
use serde_json::Value;

use super::findings::{OfImage, reason};
use crate::input::{InputOptions, ManifestFile, ManifestObject};
use crate::judge::Judge;
use crate::judge::verdict::{Effect, JudgedObject, Verdict};
use crate::manifest::edit::{self, ImageChange, ImageEdit};
use crate::manifest::nodes::{ImagePosition, line_and_column};

/// The maximum number of rounds. The policy pins images only when nothing refuses the object, so the first round may make images
/// visible that the next one fixes.
const MAX_ROUNDS: usize = 5;

/// The changes of the manifests, and the verdicts afterwards.
pub(super) struct Plan {
    /// The verdicts about the objects after the changes.
    pub(super) judged: Vec<JudgedObject>,
    pub(super) changes: Vec<FileChange>,
    pub(super) unfixed: Vec<Unfixed>,
}

/// The change of a file.
pub(super) struct FileChange {
    pub(super) path: PathBuf,
    /// The name for messages.
    pub(super) name: String,
    pub(super) before: String,
    pub(super) after: String,
    /// The number of changed images.
    images: usize,
}

/// An image, or an object, that could not be fixed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfixed {
    /// File, line and column.
    pub(super) place: String,
    /// The container and its image, or the object.
    pub(super) subject: Option<String>,
    pub(super) reason: String,
    /// Whether the settings exempt the image, so that it needs no fix.
    pub(super) is_exempt: bool,
}

impl Plan {
    pub(super) fn fixed_images(&self) -> usize {
        self.changes.iter().map(|change| change.images).sum()
    }
}

/// Plans the changes of all manifests.
pub(super) fn plan(
    judge: &Judge,
    input: &InputOptions,
    objects: Vec<ManifestObject>,
    judged: Vec<JudgedObject>,
) -> Plan {
    let mut files = files(input, objects, judged);
    for _ in 0..MAX_ROUNDS {
        let mut wishes = first_wishes(&files);
        look_up(judge, &files, &mut wishes);
        pin_waiting(judge, &files, &mut wishes);
        try_out(judge, &files, &mut wishes);
        if !write(judge, &mut files, &mut wishes) {
            break;
        }
    }
    let mut changes: Vec<FileChange> = Vec::new();
    let mut targets = Vec::new();
    let (mut judged, mut unfixed) = (Vec::new(), Vec::new());
    for file in files {
        if let Some(path) = file.current.path.clone().filter(|_| file.fixed > 0) {
            let target = path.canonicalize().unwrap_or_else(|_| path.clone());
            // The same file may be given twice.
            if !targets.contains(&target) {
                targets.push(target);
                let (before, after) = (file.original.text.clone(), file.current.text.clone());
                changes.push(FileChange { path, name: file.current.name.clone(), before, after, images: file.fixed });
            }
        }
        judged.extend(file.judged);
        for entry in file.unfixed {
            if !unfixed.contains(&entry) {
                unfixed.push(entry);
            }
        }
    }
    Plan { judged, changes, unfixed }
}

/// A manifest with its objects.
struct File {
    original: Arc<ManifestFile>,
    current: Arc<ManifestFile>,
    objects: Vec<ManifestObject>,
    judged: Vec<JudgedObject>,
    /// The images of each object. Empty if the file cannot be changed.
    images: Vec<Vec<ImagePosition>>,
    /// Why the file cannot be changed.
    obstacle: Option<String>,
    fixed: usize,
    unfixed: Vec<Unfixed>,
}

/// What to do about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wish {
    /// There is nothing to fix.
    Nothing,
    /// The digest that the tag points at has to be looked up.
    LookUp,
    /// The policy may pin it, once no other image of the object is refused.
    Waits,
    /// This image is written.
    Write(String),
    /// It cannot be fixed.
    Unfixable(String),
    /// The settings exempt it.
    Exempt,
}

/// For each file, for each object, for each image.
type Wishes = Vec<Vec<Vec<Wish>>>;

fn files(input: &InputOptions, objects: Vec<ManifestObject>, judged: Vec<JudgedObject>) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    for (object, judged) in objects.into_iter().zip(judged) {
        match files.last_mut().filter(|file| Arc::ptr_eq(&file.current, &object.source.file)) {
            Some(file) => {
                file.objects.push(object);
                file.judged.push(judged);
            }
            None => files.push(File {
                original: Arc::clone(&object.source.file),
                current: Arc::clone(&object.source.file),
                obstacle: None,
                objects: vec![object],
                judged: vec![judged],
                images: Vec::new(),
                fixed: 0,
                unfixed: Vec::new(),
            }),
        }
    }
    for file in &mut files {
        file.find_images();
        file.obstacle = file.obstacle.take().or_else(|| obstacle(input, &file.original));
    }
    files
}

/// Why a file is not written, whatever its text is.
fn obstacle(input: &InputOptions, file: &ManifestFile) -> Option<String> {
    match &file.path {
        None => Some("standard input cannot be changed; give the file".to_owned()),
        Some(path) if input.includes(path) => None,
        Some(_) if file.is_included() => {
            Some("another file includes this file; give it on the command line, too".to_owned())
        }
        Some(_) => Some("the file is a link to a file outside of the folder; give that file".to_owned()),
    }
}

impl File {
    fn find_images(&mut self) {
        let is_read = |of: &ManifestObject| of.object.is_ok() || of.source.service().is_some();
        self.images = if self.current.has_places() && self.objects.iter().all(is_read) {
            self.objects.iter().map(|object| object.source.images()).collect()
        } else {
            self.obstacle = Some("another document of the file is invalid; correct it first".to_owned());
            Vec::new()
        };
    }

    /// Replaces the objects by those of the file with another text.
    fn replace(&mut self, objects: Vec<ManifestObject>, judge: &Judge) {
        self.judged = judge.all(&objects);
        self.objects = objects;
        if let Some(object) = self.objects.first() {
            self.current = Arc::clone(&object.source.file);
        }
        self.find_images();
    }

    /// Reads the services of a Compose file again, if another file that they extend has changed.
    fn read_extended(&mut self, judge: &Judge) {
        if !self.objects.iter().any(|object| object.source.service().is_some()) {
            return;
        }
        let objects = self.current.with_text(self.current.text.clone()).own_objects();
        let values = |objects: &[ManifestObject]| objects.iter().map(|of| of.object.clone()).collect::<Vec<_>>();
        if values(&objects) != values(&self.objects) {
            self.replace(objects, judge);
        }
    }

    /// Why an image is not changed, whatever its value is.
    fn obstacle_of(&self, position: &ImagePosition) -> Option<String> {
        self.obstacle.clone().or_else(|| position.has_variables.then(|| VARIABLES.to_owned()))
    }

    fn add_unfixed(&mut self, object: usize, position: Option<&ImagePosition>, reason: String, is_exempt: bool) {
        let Some(judged) = self.judged.get(object) else { return };
        let place = match position {
            None => judged.source.to_string(),
            Some(position) => {
                let (line, column) = line_and_column(&self.current.text, position.span.start);
                format!("{}:{line}:{column}", self.current.name)
            }
        };
        let object = judged.object.as_ref().map(ToString::to_string);
        let subject = match position {
            None => object,
            Some(ImagePosition { field, name, image, .. }) => {
                let of = object.map_or_else(String::new, |object| format!(" of {object}"));
                Some(format!("{} `{name}`{of}: image `{image}`", field.noun))
            }
        };
        self.unfixed.push(Unfixed { place, subject, reason, is_exempt });
    }
}

/// What the verdicts about the manifests say about each image.
fn first_wishes(files: &[File]) -> Wishes {
    let of_image = |file: &File, object: &ManifestObject, judged: &JudgedObject, position: &ImagePosition| {
        let wish = first_wish(object, judged, position);
        match (file.obstacle_of(position), wish) {
            (Some(obstacle), Wish::LookUp | Wish::Write(_)) => Wish::Unfixable(obstacle),
            (_, wish) => wish,
        }
    };
    let of_file = |file: &File| {
        let objects = file.objects.iter().zip(&file.judged).zip(&file.images);
        let of_object = |((object, judged), images): ((&ManifestObject, &JudgedObject), &Vec<ImagePosition>)| {
            images.iter().map(|position| of_image(file, object, judged, position)).collect()
        };
        objects.map(of_object).collect()
    };
    files.iter().map(of_file).collect()
}

fn first_wish(object: &ManifestObject, judged: &JudgedObject, position: &ImagePosition) -> Wish {
    let of_image = OfImage::new(judged, position);
    let image = &position.image;
    let mut denials = of_image.denials();
    let is_refused = denials.next().is_some();
    let Ok(reference) = Reference::parse(image) else {
        return match of_image.denials().next() {
            Some(_) if image.contains("{{") => Wish::Unfixable(TEMPLATE.to_owned()),
            Some(finding) => Wish::Unfixable(reason(finding)),
            None => Wish::Nothing,
        };
    };
    if reference.digest().is_none() {
        if of_image.is_exempt() {
            return Wish::Exempt;
        }
        let is_by_record = of_image.recorded().is_some() || is_refused && of_image.is_judged_by_record();
        if is_by_record && has_record(object, position) {
            return Wish::Unfixable(
                "its digest is in the record, an annotation of the pod template, and only image values are changed; delete \
                 the annotation"
                    .to_owned(),
            );
        }
        let refusal = of_image.denials().find(|finding| Some(*finding) != of_image.unpinned());
        return match (of_image.digest(), refusal) {
            (Some(digest), _) if of_image.unpinned().is_some() || of_image.is_rewritten() => {
                Wish::Write(format!("{image}@{digest}"))
            }
            (_, Some(refusal)) => Wish::Unfixable(reason(refusal)),
            (None, None) if of_image.unpinned().is_some() => {
                Wish::Unfixable("its registry gives no digest for its tag".to_owned())
            }
            _ if matches!(judged.verdict, Verdict::Denied | Verdict::Failed) => Wish::Waits,
            _ => Wish::Nothing,
        };
    }
    if let Some(digest) = of_image.fix() {
        return Wish::Write(format!("{}@{digest}", name_and_tag(image)));
    }
    match (of_image.about_build().next(), of_image.denials().next()) {
        (None, None) => Wish::Nothing,
        (None, Some(finding)) => Wish::Unfixable(reason(finding)),
        (Some(_), _) if reference.tag().is_some() => Wish::LookUp,
        (Some(_), Some(finding)) => {
            Wish::Unfixable(format!("it has no tag that could point at a newer build: it {}", reason(finding)))
        }
        (Some(_), None) => Wish::Nothing,
    }
}

const TEMPLATE: &str = "it is part of a template, for example of Helm; change the values that it is rendered with";

const VARIABLES: &str =
    "it is written with variables, which a digest would replace; change their values, or write the image without them";

/// Looks up the digests of tags: judges the objects as if these images had no digest.
fn look_up(judge: &Judge, files: &[File], wishes: &mut Wishes) {
    let wanted = |wish: &Wish, position: &ImagePosition| {
        let tagged = (*wish == Wish::LookUp).then(|| name_and_tag(&position.image))?;
        Some(ImageChange::at(position, tagged))
    };
    let probes = changed_objects(files, wishes, wanted);
    let probes = probes.into_iter().map(|mut probe| {
        // A record would be judged in place of the tag.
        if let Ok(object) = &mut probe.object.object {
            remove_records(object);
        }
        probe
    });
    for (Changed { file, index, .. }, judged) in judge_all(judge, probes.collect()) {
        for_each_image(files, wishes, file, index, |before, position, wish| {
            if *wish != Wish::LookUp {
                return;
            }
            let is_refused = OfImage::new(before, position).denials().next().is_some();
            let unfixable = |reason| if is_refused { Wish::Unfixable(reason) } else { Wish::Nothing };
            let tagged = ImagePosition { image: name_and_tag(&position.image).to_owned(), ..position.clone() };
            let probe = OfImage::new(&judged, &tagged);
            let tag = Reference::parse(&tagged.image).ok().and_then(|reference| reference.tag().map(str::to_owned));
            let tag = tag.unwrap_or_default();
            *wish = match (probe.digest(), probe.denials().next()) {
                (Some(digest), _) if position.image.ends_with(&format!("@{digest}")) => {
                    unfixable(format!("its tag `{tag}` still points at this digest, so there is no newer build"))
                }
                (Some(digest), _) => Wish::Write(format!("{}@{digest}", tagged.image)),
                (None, Some(finding)) if finding.code == FORBIDDEN_TAG.as_str() => unfixable(format!(
                    "its tag `{tag}` is forbidden, so no newer build is looked up; use a version tag"
                )),
                (None, Some(finding)) => {
                    unfixable(format!("the digest of its tag `{tag}` is unknown: it {}", reason(finding)))
                }
                (None, None) => unfixable(match &judged.messages[..] {
                    [message, ..] if judged.verdict == Verdict::Failed => message.clone(),
                    _ => format!("the digest of its tag `{tag}` is unknown"),
                }),
            };
        });
    }
}

/// Finds the digests that the policy would pin if nothing else of the object was refused: judges the objects with images that are not
/// refused in place of those that are.
fn pin_waiting(judge: &Judge, files: &[File], wishes: &mut Wishes) {
    let mut probes = Vec::new();
    for (number, (file, wishes)) in files.iter().zip(wishes.iter()).enumerate() {
        for (index, ((images, judged), wishes)) in file.images.iter().zip(&file.judged).zip(wishes).enumerate() {
            let Some((waiting, _)) = images.iter().zip(wishes).find(|(_, wish)| **wish == Wish::Waits) else {
                continue;
            };
            let is_refused = |position: &&ImagePosition| OfImage::new(judged, position).denials().next().is_some();
            let refused = images.iter().filter(is_refused);
            let changes: Vec<_> = refused.map(|position| ImageChange::at(position, &waiting.image)).collect();
            if let Some(object) = file.objects.get(index).filter(|_| !changes.is_empty()) {
                let mut object = object.clone();
                if let Ok(object) = &mut object.object {
                    edit::set_images(object, &changes);
                }
                probes.push(Changed { file: number, index, object });
            }
        }
    }
    for (Changed { file, index, .. }, judged) in judge_all(judge, probes) {
        let of_file = files.get(file);
        for_each_image(files, wishes, file, index, |_, position, wish| {
            let probe = OfImage::new(&judged, position);
            if let (Wish::Waits, true, Some(digest)) = (&*wish, probe.is_rewritten(), probe.digest()) {
                *wish = match of_file.and_then(|file| file.obstacle_of(position)) {
                    Some(obstacle) => Wish::Unfixable(obstacle),
                    None => Wish::Write(format!("{}@{digest}", position.image)),
                };
            }
        });
    }
}

/// Judges the objects with their new images, and drops the changes that the policy does not accept.
fn try_out(judge: &Judge, files: &[File], wishes: &mut Wishes) {
    let wanted = |wish: &Wish, position: &ImagePosition| match wish {
        Wish::Write(image) => Some(ImageChange::at(position, image)),
        _ => None,
    };
    let candidates = changed_objects(files, wishes, wanted);
    for (Changed { file, index, .. }, judged) in judge_all(judge, candidates) {
        for_each_image(files, wishes, file, index, |before, position, wish| {
            if let Wish::Write(image) = wish {
                let new = ImagePosition { image: image.clone(), ..position.clone() };
                if let Err(replacement) = accept(before, position, &judged, &new) {
                    *wish = replacement;
                }
            }
        });
    }
}

/// Checks that a change repairs what the policy reports about an image, and adds no reason to refuse the object.
fn accept(before: &JudgedObject, old: &ImagePosition, after: &JudgedObject, new: &ImagePosition) -> Result<(), Wish> {
    if after.verdict == Verdict::Failed && after.findings.is_empty() {
        return Err(Wish::Unfixable(after.messages.first().cloned().unwrap_or_default()));
    }
    let codes = |judged: &JudgedObject| {
        let of_object =
            judged.findings.iter().filter(|finding| finding.site.is_none() && finding.effect == Effect::Deny);
        of_object.map(|finding| finding.code.clone()).collect::<Vec<_>>()
    };
    let known = codes(before);
    if let Some(code) = codes(after).into_iter().find(|code| !known.contains(code)) {
        return Err(Wish::Unfixable(format!("with `{}`, the object would be refused [{code}]", new.image)));
    }
    let (was, is) = (OfImage::new(before, old), OfImage::new(after, new));
    let digest = new.image.rsplit('@').next().unwrap_or_default();
    if !old.image.contains('@') {
        let added = is.denials().find(|denial| was.denials().all(|known| known.code != denial.code));
        return match added.or_else(|| is.unpinned()) {
            Some(finding) => Err(Wish::Unfixable(format!("its tag points at {digest}, which {}", reason(finding)))),
            None => Ok(()),
        };
    }
    let is_refused = was.denials().next().is_some();
    let unfixable = |reason| Err(if is_refused { Wish::Unfixable(reason) } else { Wish::Nothing });
    if let (Some(was), Some(is)) = (was.built(), is.built())
        && is < was
    {
        return unfixable(format!("its tag points at an older build, {digest} of {}", is.format("%Y-%m-%d")));
    }
    if let Some(denial) = is.denials().next() {
        return unfixable(format!("its tag points at {digest}, which is refused, too: it {}", reason(denial)));
    }
    let is_better = is_refused || {
        let codes = |of: OfImage<'_>| of.findings().map(|finding| finding.code.clone()).collect::<Vec<_>>();
        let (was, is) = (codes(was), codes(is));
        is.len() < was.len() && is.iter().all(|code| was.contains(code))
    };
    if is_better { Ok(()) } else { Err(Wish::Nothing) }
}

/// Writes the wished images into the texts of the files, and judges these again. Returns whether a file changed.
fn write(judge: &Judge, files: &mut [File], wishes: &mut Wishes) -> bool {
    let mut is_changed = false;
    for (file, wishes) in files.iter_mut().zip(wishes) {
        let edits = edits(file, wishes);
        let (mut written, mut failed) = (Vec::new(), Vec::new());
        rewritable(&file.current.text, &edits, &mut written, &mut failed);
        for_each_wish(file, wishes, |position, wish| {
            let failure = failed.iter().find(|(edit, _)| edit.position.span == position.span);
            if let (Wish::Write(_), Some((_, reason))) = (&*wish, failure) {
                *wish = Wish::Unfixable(format!("it cannot be changed on its own: {reason}"));
            }
        });
        file.unfixed = Vec::new();
        list_unfixed(file, wishes);
        if written.is_empty() {
            continue;
        }
        let Ok(text) = edit::rewrite(&file.current.text, &written) else { continue };
        is_changed = true;
        file.fixed += written.len();
        file.replace(file.current.with_text(text).own_objects(), judge);
    }
    if is_changed {
        files.iter_mut().for_each(|file| file.read_extended(judge));
    }
    is_changed
}

/// The edits of a file, one for each scalar. All images that share a scalar must get the same value.
fn edits(file: &File, wishes: &mut [Vec<Wish>]) -> Vec<ImageEdit> {
    let mut edits: Vec<ImageEdit> = Vec::new();
    let mut contested = Vec::new();
    for_each_wish(file, wishes, |position, wish| {
        if let Wish::Write(new) = wish
            && !edits.iter().rev().any(|edit| edit.position.span == position.span)
        {
            edits.push(ImageEdit { position: position.clone(), new: new.clone() });
        }
    });
    for_each_wish(file, wishes, |position, wish| {
        let edit = edits.iter().find(|edit| edit.position.span == position.span);
        if edit.is_some_and(|edit| *wish != Wish::Write(edit.new.clone())) {
            contested.push(position.span.clone());
        }
    });
    edits.retain(|edit| !contested.contains(&edit.position.span));
    for_each_wish(file, wishes, |position, wish| {
        if matches!(wish, Wish::Write(_)) && contested.contains(&position.span) {
            let reason =
                "several containers share it through an anchor, and it would have to change for some of them only";
            *wish = Wish::Unfixable(reason.to_owned());
        }
    });
    edits
}

/// Separates the edits that can be made from those that would change other values, too.
fn rewritable(text: &str, edits: &[ImageEdit], written: &mut Vec<ImageEdit>, failed: &mut Vec<(ImageEdit, String)>) {
    if edits.is_empty() {
        return;
    }
    match edit::rewrite(text, edits) {
        Ok(_) => written.extend_from_slice(edits),
        Err(error) => match edits {
            [edit] => failed.push((edit.clone(), format!("{error:#}"))),
            _ => {
                let (first, second) = edits.split_at(edits.len() / 2);
                rewritable(text, first, written, failed);
                rewritable(text, second, written, failed);
            }
        },
    }
}

fn list_unfixed(file: &mut File, wishes: &[Vec<Wish>]) {
    for (index, wishes) in wishes.iter().enumerate() {
        for (image, wish) in wishes.iter().enumerate() {
            let Some(position) = file.images.get(index).and_then(|images| images.get(image)).cloned() else { continue };
            match wish {
                Wish::Unfixable(reason) => file.add_unfixed(index, Some(&position), reason.clone(), false),
                Wish::Exempt => file.add_unfixed(index, Some(&position), "the settings exempt it".to_owned(), true),
                Wish::Nothing | Wish::LookUp | Wish::Waits | Wish::Write(_) => {}
            }
        }
    }
    for index in 0..file.judged.len() {
        if let Some(reason) = file.unfixable_object(index) {
            file.add_unfixed(index, None, reason, false);
        }
    }
}

impl File {
    /// Why an object could not be fixed as a whole.
    fn unfixable_object(&self, index: usize) -> Option<String> {
        let judged = self.judged.get(index)?;
        match judged.verdict {
            Verdict::Failed if judged.findings.is_empty() => {
                let message = judged.messages.first().cloned().unwrap_or_default();
                let is_unrendered = self.current.text.contains("{{") && !message.contains("templates");
                let advice = if is_unrendered { "; if it is a Helm template, change its values" } else { "" };
                Some(message + advice)
            }
            Verdict::Skipped => None,
            _ if self.images.is_empty() => {
                let is_wanted = matches!(judged.verdict, Verdict::Denied | Verdict::Failed)
                    || !judged.pinned.is_empty()
                    || !judged.recorded.is_empty();
                self.obstacle.clone().filter(|_| is_wanted)
            }
            // The findings that no image of the text has.
            _ => {
                let images = self.images.get(index)?;
                let mut denials = judged.findings.iter().filter(|finding| finding.effect == Effect::Deny);
                let is_of_image = |position| OfImage::new(judged, position).denials().collect::<Vec<_>>();
                let other =
                    denials.find(|denial| !images.iter().any(|position| is_of_image(position).contains(denial)));
                let is_elsewhere = judged.source.service().is_some() && images.is_empty();
                let advice =
                    if is_elsewhere { "; the image is in another file, which the service extends" } else { "" };
                other.map(|finding| format!("{finding}{advice}"))
            }
        }
    }
}

/// An object with other images.
struct Changed {
    file: usize,
    index: usize,
    object: ManifestObject,
}

/// The objects with at least one changed image.
fn changed_objects(
    files: &[File],
    wishes: &Wishes,
    wanted: impl Fn(&Wish, &ImagePosition) -> Option<ImageChange>,
) -> Vec<Changed> {
    let mut changed = Vec::new();
    for (number, (file, wishes)) in files.iter().zip(wishes).enumerate() {
        for (index, ((object, images), wishes)) in file.objects.iter().zip(&file.images).zip(wishes).enumerate() {
            let wanted = images.iter().zip(wishes).filter_map(|(position, wish)| wanted(wish, position));
            let changes: Vec<ImageChange> = wanted.collect();
            if changes.is_empty() {
                continue;
            }
            let mut object = object.clone();
            if let Ok(object) = &mut object.object {
                edit::set_images(object, &changes);
            }
            changed.push(Changed { file: number, index, object });
        }
    }
    changed
}

fn judge_all(judge: &Judge, changed: Vec<Changed>) -> Vec<(Changed, JudgedObject)> {
    let objects: Vec<ManifestObject> = changed.iter().map(|changed| changed.object.clone()).collect();
    let judged = if objects.is_empty() { Vec::new() } else { judge.all(&objects) };
    changed.into_iter().zip(judged).collect()
}

/// Visits the images of an object, with its verdict.
fn for_each_image(
    files: &[File],
    wishes: &mut Wishes,
    file: usize,
    index: usize,
    mut visit: impl FnMut(&JudgedObject, &ImagePosition, &mut Wish),
) {
    let (Some(file), Some(wishes)) = (files.get(file), wishes.get_mut(file).and_then(|wishes| wishes.get_mut(index)))
    else {
        return;
    };
    if let (Some(judged), Some(images)) = (file.judged.get(index), file.images.get(index)) {
        images.iter().zip(wishes).for_each(|(position, wish)| visit(judged, position, wish));
    }
}

/// Visits the images of all objects of a file.
fn for_each_wish(file: &File, wishes: &mut [Vec<Wish>], mut visit: impl FnMut(&ImagePosition, &mut Wish)) {
    for (images, wishes) in file.images.iter().zip(wishes) {
        images.iter().zip(wishes).for_each(|(position, wish)| visit(position, wish));
    }
}

/// The image without its digest, as it is written.
fn name_and_tag(image: &str) -> &str {
    image.split_once('@').map_or(image, |(tagged, _)| tagged)
}

/// Whether a key of an annotation is a record.
fn is_record(key: &str) -> bool {
    [record_keys::CONTAINER, record_keys::VOLUME, record_keys::OTHER_CONTAINER]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

fn remove_records(object: &mut Value) {
    match object {
        Value::Object(fields) => {
            if let Some(Value::Object(annotations)) = fields.get_mut("annotations") {
                annotations.retain(|key, _| !is_record(key));
            }
            fields.values_mut().for_each(remove_records);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_records),
        _ => {}
    }
}

/// Whether an annotation of the object is the record of a container or volume.
fn has_record(object: &ManifestObject, position: &ImagePosition) -> bool {
    fn is_in(value: &Value, position: &ImagePosition) -> bool {
        let is_own = |key: &str| is_record(key) && key.rsplit('/').next() == Some(&position.name);
        match value {
            Value::Object(fields) => fields.iter().any(|(key, value)| match value {
                Value::Object(annotations) if key == "annotations" => annotations.keys().any(|key| is_own(key)),
                value => is_in(value, position),
            }),
            Value::Array(items) => items.iter().any(|item| is_in(item, position)),
            _ => false,
        }
    }
    object.object.as_ref().is_ok_and(|object| is_in(object, position))
}
