//! The manifests on the command line: files, folders and standard input.

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::Value;

use crate::compose::{self, Include, Project, Service, ServiceImage, Variables};
use crate::configuration;
use crate::ignored::{self, Ignored};
use crate::manifest::nodes::{self, ImagePosition, Kind, Node, Paths, Step};
use crate::manifest::{self, Place, ServicePlace};
use crate::terminal::printable;

/// The name of standard input in messages, unless the command line gives one.
pub(crate) const STDIN: &str = "<stdin>";

/// The manifests to read.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct InputOptions {
    /// Manifests and Compose files in YAML or JSON, folders of them, or `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Name of standard input in messages and outputs, such as the path of the chart that is rendered
    #[arg(long, value_name = "PATH", default_value = STDIN, hide_default_value = true, value_parser = NonEmptyStringValueParser::new())]
    stdin_name: String,
    /// Search folders recursively
    #[arg(short = 'R', long)]
    recursive: bool,
    /// File with the variables of Compose files, in place of the `.env` beside them; can be repeated
    #[arg(long = "env-file", value_name = "FILE")]
    env_files: Vec<PathBuf>,
    /// Files and folders that are not read, in the syntax of .gitignore; can be repeated, or several with commas
    #[arg(
        long,
        value_name = "PATTERN",
        env = "CONTAINER_PATCH_IGNORE",
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = ignored::pattern
    )]
    ignore: Vec<String>,
    /// The folder of the patterns, which is that of the configuration file if they come from there.
    #[arg(long, value_name = "FOLDER", default_value = ".", hide = true)]
    ignore_below: PathBuf,
}

/// An object of a manifest.
#[derive(Debug, Clone)]
pub struct ManifestObject {
    /// Where it is.
    pub source: Source,
    /// The object, or the reason why it cannot be read.
    pub object: Result<Value, String>,
}

/// The place of an object: a file and a line. It is displayed as `web.yaml:12 items[3]`.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub file: Arc<ManifestFile>,
    /// The position among the objects of the file, counted from 0. All services of a Compose file have that of their document.
    pub index: usize,
    /// The place in the file. `None` if the file cannot be read.
    pub place: Option<Place>,
    /// The line of the error, counted from 1, if the document is neither YAML nor JSON.
    pub error_line: Option<usize>,
}

/// A manifest with its text.
#[derive(Debug)]
pub struct ManifestFile {
    /// The path as it was given, or the name of standard input.
    pub name: String,
    /// The path. `None` for standard input.
    pub path: Option<PathBuf>,
    /// The text. Empty if the file cannot be read.
    pub text: String,
    /// What the file needs from outside of its text, if it is a Compose file.
    project: Project,
    nodes: OnceLock<Option<Vec<Node>>>,
    /// The images of each object.
    images: OnceLock<Vec<Vec<ImagePosition>>>,
    /// The bytes at which lines begin.
    lines: OnceLock<Vec<usize>>,
}

impl InputOptions {
    /// Reads the objects of all manifests. A file that cannot be read has an error in place of its objects.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn read(&self) -> Result<Vec<ManifestObject>> {
        Ok(self.read_all()?.objects)
    }

    /// Reads all manifests, of which at least one must have an object, unless they may be empty.
    ///
    /// # Errors
    /// When a folder cannot be read, or there are no objects.
    pub(crate) fn read_objects(&self) -> Result<Manifests> {
        let manifests = self.read_all()?;
        if manifests.objects.is_empty() && !manifests.may_be_empty {
            return Err(self.no_objects(&manifests));
        }
        Ok(manifests)
    }

    fn read_all(&self) -> Result<Manifests> {
        let Search { found, ignored, .. } = self.search()?;
        if !ignored.is_empty() {
            eprintln!("{}", printable(&ignored_note(&ignored)));
        }
        let all_ignored = found.is_empty() && !ignored.is_empty();
        let mut manifests = Manifests { may_be_empty: all_ignored, all_ignored, ..Manifests::default() };
        let variables = (!self.env_files.is_empty()).then(|| Arc::new(Variables::of_files(&self.env_files)));
        let texts = Arc::default();
        for path in &found {
            let read = read(path, &self.stdin_name, |path| Project::of(path, variables.as_ref()).sharing(&texts));
            manifests.objects.extend(read.objects);
            manifests.may_be_empty |= read.may_be_empty;
            manifests.stdin_is_empty |= read.stdin_is_empty;
        }
        remove_repeated_files(&mut manifests.objects);
        manifests.has_files = !found.is_empty();
        Ok(manifests)
    }

    /// The error for manifests without objects.
    fn no_objects(&self, manifests: &Manifests) -> anyhow::Error {
        if manifests.stdin_is_empty && self.files.len() == 1 {
            return anyhow!("standard input is empty");
        }
        let names = self.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        let below = Self { recursive: true, ..self.clone() };
        let is_deeper = !manifests.has_files && below.search().is_ok_and(|search| !search.found.is_empty());
        anyhow!(
            "no objects in {names}{}",
            if is_deeper { "; use --recursive to read the manifests in its subfolders" } else { "" }
        )
    }

    /// Whether a file is on the command line, or is in a folder that is. A link in a folder may lead out of it.
    pub(crate) fn includes(&self, path: &Path) -> bool {
        if self.files.iter().any(|file| file == path) {
            return true;
        }
        let Ok(target) = path.canonicalize() else { return false };
        let mut folders =
            self.files.iter().filter(|file| file.is_dir()).filter_map(|folder| folder.canonicalize().ok());
        folders.any(|folder| target.starts_with(folder))
    }

    /// The files on the command line, and the manifests in the folders.
    fn search(&self) -> Result<Search> {
        let mut search = Search {
            recursive: self.recursive,
            patterns: Ignored::below(&self.ignore_below, &self.ignore)?,
            found: Vec::new(),
            ignored: Vec::new(),
        };
        for path in &self.files {
            if path != Path::new("-") && search.ignores(path) {
                continue;
            }
            if path.is_dir() {
                search.manifests_in(path)?;
            } else {
                search.found.push(path.clone());
            }
        }
        Ok(search)
    }
}

/// The most files that a Compose file includes, with those that included files include.
const MAX_INCLUDED: usize = 256;

/// The most ignored files and folders that are named.
const MAX_NAMED: usize = 5;

fn ignored_note(paths: &[PathBuf]) -> String {
    let named: Vec<_> = paths.iter().take(MAX_NAMED).map(|path| path.display().to_string()).collect();
    let more = match paths.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("Ignored: {}{more}", named.join(", "))
}

/// The search for manifests in files and folders.
struct Search {
    recursive: bool,
    patterns: Ignored,
    found: Vec<PathBuf>,
    ignored: Vec<PathBuf>,
}

impl Search {
    fn ignores(&mut self, path: &Path) -> bool {
        let ignores = self.patterns.has(path);
        if ignores {
            self.ignored.push(path.to_owned());
        }
        ignores
    }

    fn manifests_in(&mut self, folder: &Path) -> Result<()> {
        let cannot_read = || format!("cannot read the folder {}", folder.display());
        let entries = std::fs::read_dir(folder).with_context(cannot_read)?.collect::<Result<Vec<_>, _>>();
        let mut paths: Vec<PathBuf> = entries.with_context(cannot_read)?.iter().map(std::fs::DirEntry::path).collect();
        paths.sort();
        for path in paths {
            // A link to a folder may lead to a folder above it.
            if path.is_dir() {
                if self.recursive && !path.is_symlink() && !self.ignores(&path) {
                    self.manifests_in(&path)?;
                }
            } else if manifest::has_known_extension(&path) && !is_configuration(&path) && !self.ignores(&path) {
                // A link can lead to a device without an end, or to a pipe that nothing writes to.
                if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
                    bail!("cannot read {}: expected a file, found a device, pipe or socket", path.display());
                }
                self.found.push(path);
            }
        }
        Ok(())
    }
}

/// Whether a file in a folder is the configuration of a project. A Kubernetes object can have the same file name.
fn is_configuration(path: &Path) -> bool {
    let is_object = |document: &manifest::Document| match &document.object {
        Ok(object) => !object["apiVersion"].is_null() || !object["kind"].is_null(),
        Err(_) => true,
    };
    path.ends_with(configuration::FILE_NAME)
        && path.is_file()
        && std::fs::read_to_string(path).is_ok_and(|text| !manifest::read(&text).iter().any(is_object))
}

/// What the manifests contain.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// The objects of all manifests.
    pub(crate) objects: Vec<ManifestObject>,
    /// Whether there may be no objects: a manifest has an empty list, or all files are ignored.
    pub(crate) may_be_empty: bool,
    /// Whether there are manifests, and all of them are ignored.
    pub(crate) all_ignored: bool,
    has_files: bool,
    stdin_is_empty: bool,
}

/// Removes Compose files that are read again because another one includes them, unless a service differs by its variables.
fn remove_repeated_files(objects: &mut Vec<ManifestObject>) {
    let mut known = HashSet::new();
    let mut repeated: HashMap<*const ManifestFile, bool> = HashMap::new();
    let mut paths = HashMap::new();
    for ManifestObject { source, object } in &*objects {
        let file = Arc::as_ptr(&source.file);
        let is_repeated = repeated.entry(file).or_insert(true);
        let (Some(service), Some(path)) = (source.service(), &source.file.path) else {
            *is_repeated = false;
            continue;
        };
        let path = paths.entry(file).or_insert_with(|| path.canonicalize().unwrap_or_else(|_| path.clone())).clone();
        let object = object.as_ref().map(ToString::to_string).map_err(Clone::clone);
        *is_repeated &= !known.insert((path, source.index, service.name.clone(), object));
    }
    objects.retain(|object| repeated.get(&Arc::as_ptr(&object.source.file)) != Some(&true));
}

fn read(path: &Path, stdin_name: &str, project: impl Fn(Option<&Path>) -> Project) -> Manifests {
    let (name, text) = if path == Path::new("-") {
        let mut text = String::new();
        (stdin_name.to_owned(), std::io::stdin().read_to_string(&mut text).map(|_| text))
    } else {
        (path.display().to_string(), std::fs::read_to_string(path))
    };
    let file = |text| {
        let file = ManifestFile::new(name, text);
        let file = if path == Path::new("-") { file } else { file.at(path.to_owned()) };
        ManifestFile { project: project(file.path.as_deref()), ..file }
    };
    match text {
        Ok(text) => {
            let file = Arc::new(file(text));
            let objects = file.read();
            let may_be_empty = objects.is_empty() && manifest::has_empty_list(&file.text);
            let stdin_is_empty = file.path.is_none() && file.text.trim().is_empty();
            Manifests { objects, may_be_empty, stdin_is_empty, ..Manifests::default() }
        }
        Err(error) => {
            let file = Arc::new(file(String::new()));
            let object = Err(format!("cannot read the file: {error}"));
            Manifests { objects: vec![ManifestObject { source: Source::of(file), object }], ..Manifests::default() }
        }
    }
}

impl ManifestFile {
    /// A manifest with this text.
    #[must_use]
    pub fn new(name: String, text: String) -> Self {
        let (nodes, images, lines) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { name, path: None, text, project: Project::of(None, None), nodes, images, lines }
    }

    /// The manifest at a path.
    #[must_use]
    pub fn at(self, path: PathBuf) -> Self {
        Self { project: Project::of(Some(&path), None), path: Some(path), ..self }
    }

    /// The same manifest with another text, which services of other files see that extend this one.
    #[must_use]
    pub(crate) fn with_text(&self, text: String) -> Self {
        self.project.share(&text);
        Self { path: self.path.clone(), project: self.project.clone(), ..Self::new(self.name.clone(), text) }
    }

    /// The objects of the manifest, with the services of included Compose files.
    #[must_use]
    pub fn objects(self) -> Vec<ManifestObject> {
        Arc::new(self).read()
    }

    /// The objects of the manifest itself.
    pub(crate) fn own_objects(self) -> Vec<ManifestObject> {
        Arc::new(self).read_own().0
    }

    /// Whether the place of each object in the text is known, so that its images can be changed.
    pub(crate) fn has_places(&self) -> bool {
        self.nodes().is_some_and(|nodes| nodes.len() == manifest::read(&self.text).len())
    }

    /// Whether the manifest is read because a Compose file includes it.
    pub(crate) fn is_included(&self) -> bool {
        self.project.is_included()
    }

    fn read(self: &Arc<Self>) -> Vec<ManifestObject> {
        self.read_with_includes(&mut 0)
    }

    /// `files` is the number of included files so far. A few files can include each other in very many ways.
    fn read_with_includes(self: &Arc<Self>, files: &mut usize) -> Vec<ManifestObject> {
        let (mut objects, includes) = self.read_own();
        for Include { path, project } in includes {
            *files += 1;
            if *files > MAX_INCLUDED {
                let error = format!("`include`: more than {MAX_INCLUDED} files");
                objects.push(ManifestObject { source: Source::of(Arc::clone(self)), object: Err(error) });
                break;
            }
            let text = compose::read_included(&path);
            let name = path.display().to_string();
            let file = Self::new(name, text.clone().unwrap_or_default()).at(path);
            let file = Arc::new(Self { project, ..file });
            match text {
                Ok(_) => objects.extend(file.read_with_includes(files)),
                Err(error) => objects.push(ManifestObject { source: Source::of(file), object: Err(error) }),
            }
        }
        objects
    }

    /// The objects of the manifest, and the files that it includes.
    fn read_own(self: &Arc<Self>) -> (Vec<ManifestObject>, Vec<Include>) {
        let (mut objects, mut includes) = (Vec::new(), Vec::new());
        let paths = LazyCell::new(|| self.nodes().map(Paths::of));
        for (index, document) in manifest::read(&self.text).into_iter().enumerate() {
            let source = Source {
                file: Arc::clone(self),
                index,
                place: Some(document.place),
                error_line: document.object.as_ref().err().and_then(manifest::line_of_error),
            };
            match document.object {
                Ok(object) if compose::is_project(&object, self.path.as_deref()) => {
                    let content = compose::read(object, &self.project);
                    objects.extend(self.services(content.services, &source, paths.as_ref()));
                    for include in content.includes {
                        match include {
                            Ok(include) => includes.push(include),
                            Err(error) => objects.push(ManifestObject { source: source.clone(), object: Err(error) }),
                        }
                    }
                }
                object => objects.push(ManifestObject { source, object: object.map_err(|error| format!("{error:#}")) }),
            }
        }
        (objects, includes)
    }

    /// The services of a Compose file, in the order of the text. `document` is the source of the document.
    fn services(&self, services: Vec<Service>, document: &Source, paths: Option<&Paths<'_>>) -> Vec<ManifestObject> {
        let object = |service: Service| {
            let key = [Step::key("services"), Step::key(&service.name)];
            let start = paths.and_then(|paths| paths.key_start(document.index, &key));
            let images = service.images.into_iter();
            let images = images.filter_map(|image| image_position(paths?, document.index, image)).collect();
            let place = Place {
                line: start.map_or(document.line(), |start| self.line_of(start).0),
                items: document.place.as_ref().map(|place| place.items.clone()).unwrap_or_default(),
                service: Some(Arc::new(ServicePlace { name: service.name, images, no_image: service.no_image })),
            };
            let source = Source { place: Some(place), ..document.clone() };
            (start, ManifestObject { source, object: service.pod })
        };
        let mut objects: Vec<_> = services.into_iter().map(object).collect();
        objects.sort_by_key(|(start, _)| *start);
        objects.into_iter().map(|(_, object)| object).collect()
    }

    fn nodes(&self) -> Option<&[Node]> {
        self.nodes.get_or_init(|| nodes::objects(&self.text).ok()).as_deref()
    }

    /// The line of a byte, counted from 1, and the byte at which that line begins.
    pub(crate) fn line_of(&self, byte: usize) -> (usize, usize) {
        let begin = self.text.match_indices('\n').map(|(end, _)| end + 1);
        let lines = self.lines.get_or_init(|| std::iter::once(0).chain(begin).collect());
        let line = lines.partition_point(|begin| *begin <= byte);
        (line, lines.get(line.saturating_sub(1)).copied().unwrap_or_default())
    }
}

/// The position of an image of a service, if the file has it.
fn image_position(paths: &Paths<'_>, document: usize, image: ServiceImage) -> Option<ImagePosition> {
    let ServiceImage { field, name, image, path, has_variables } = image;
    let node = paths.get(document, &path?)?;
    let Kind::Scalar { style, .. } = node.kind else { return None };
    let (span, has_anchor) = (node.span.clone(), node.anchor != 0);
    Some(ImagePosition { field, name, image, span, style, has_anchor, has_variables })
}

impl Source {
    /// A file as a whole.
    fn of(file: Arc<ManifestFile>) -> Self {
        Self { file, index: 0, place: None, error_line: None }
    }

    /// The service of a Compose file that the object is.
    #[must_use]
    pub fn service(&self) -> Option<&ServicePlace> {
        self.place.as_ref()?.service.as_deref()
    }

    /// The line on which the object's document begins, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place.as_ref().map_or(1, |place| place.line)
    }

    /// The line on which the object begins, counted from 1: that of the item, for an object in a list. The line of the error, if the
    /// document cannot be parsed.
    #[must_use]
    pub fn object_line(&self) -> usize {
        if let Some(line) = self.error_line {
            return line;
        }
        if self.service().is_some() {
            return self.line();
        }
        let node = self.file.nodes().and_then(|objects| objects.get(self.index));
        node.map_or_else(|| self.line(), |node| self.file.line_of(node.span.start).0)
    }

    /// The images of the object with their positions. Empty if another document of the file is invalid.
    pub fn images(&self) -> Vec<ImagePosition> {
        if let Some(service) = self.service() {
            return service.images.clone();
        }
        let images =
            self.file.images.get_or_init(|| self.file.nodes().map(nodes::images_by_object).unwrap_or_default());
        images.get(self.index).cloned().unwrap_or_default()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file.name)?;
        self.place.iter().try_for_each(|place| write!(f, ":{place}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Search;
    use crate::ignored::Ignored;

    fn found(folder: &Path) -> anyhow::Result<Vec<String>> {
        let patterns = Ignored::below(folder, &[])?;
        let mut search = Search { recursive: false, patterns, found: Vec::new(), ignored: Vec::new() };
        search.manifests_in(folder)?;
        Ok(search.found.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn a_manifest_with_the_name_of_the_configuration_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("container-patch.yaml");
        for (text, is_read) in [
            ("namespace: shop\n", false),
            ("", false),
            ("apiVersion: v1\nkind: Pod\n", true),
            ("namespace: shop\n---\nkind: Pod\n", true),
            ("{{", true),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(found(folder.path()).unwrap().len(), usize::from(is_read), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_device_in_a_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("a.yaml")).unwrap();
        let error = found(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("a.yaml: expected a file, found a device, pipe or socket"), "{error}");
    }
}
