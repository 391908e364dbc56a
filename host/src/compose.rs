//! Compose files and stack files: the services of a project as pods.
//!
//! No library fits: those with types for Compose files neither resolve `extends` nor variables, refuse keys that are newer than they
//! are, and do not know where in the text a value is. Only the keys that name images or labels are read here, and everything else may
//! be anything. <https://github.com/compose-spec/compose-spec/blob/main/spec.md>

mod dotenv;
mod interpolation;
mod pod;
mod source;
mod variables;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use container_patch_policy::workload::site::{IMAGE_FIELDS, ImageField};
use serde_json::{Map, Value};

pub(crate) use self::interpolation::has_variables;
use self::interpolation::{Unset, interpolate};
use self::pod::ServiceSpec;
pub(crate) use self::variables::Variables;
use crate::json_type::json_type;
use crate::manifest;
use crate::manifest::nodes::Step;
use crate::swarm::pod::mount_name;

/// The kind of a service in outputs. Kubernetes has another `Service`.
pub(crate) const KIND: &str = "ComposeService";

/// The most services that follow each other by `extends`.
const MAX_EXTENDS: usize = 32;

/// The most files that the services of a file extend.
const MAX_FILES: usize = 64;

/// The most levels of files that include other files.
const MAX_INCLUDES: usize = 16;

/// What a Compose file needs from outside of its text.
#[derive(Debug, Default, Clone)]
pub(crate) struct Project {
    /// The folder to which the paths in the file are relative.
    folder: PathBuf,
    /// The file. `None` for standard input.
    path: Option<PathBuf>,
    variables: Arc<Variables>,
    /// The files that include this one, each as its canonical path.
    including: Vec<PathBuf>,
    texts: Arc<Texts>,
}

/// Texts of files that are changed, and not yet written. They are read in place of those on disk.
#[derive(Debug, Default)]
pub(crate) struct Texts(Mutex<HashMap<PathBuf, String>>);

impl Texts {
    fn get(&self, path: &Path) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    fn set(&self, path: PathBuf, text: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path, text);
    }
}

impl Project {
    /// The project of a file, or of standard input in the current folder. Without `variables`, they are those of the environment and
    /// of `.env` in the folder.
    pub(crate) fn of(path: Option<&Path>, variables: Option<&Arc<Variables>>) -> Self {
        let folder = path.and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
        let variables = variables.map_or_else(|| Arc::new(Variables::beside(&folder)), Arc::clone);
        Self { folder, path: path.map(Path::to_owned), variables, ..Self::default() }
    }

    /// The same project, which shares changed texts with others.
    pub(crate) fn sharing(self, texts: &Arc<Texts>) -> Self {
        Self { texts: Arc::clone(texts), ..self }
    }

    /// Lets services of other files that extend this one see its new text.
    pub(crate) fn share(&self, text: &str) {
        if let Some(path) = &self.path {
            self.texts.set(canonical(path), text.to_owned());
        }
    }

    /// Whether another file includes this one.
    pub(crate) fn is_included(&self) -> bool {
        !self.including.is_empty()
    }
}

/// What a document of a Compose file has.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) services: Vec<Service>,
    /// The files that it includes, or why they cannot be read.
    pub(crate) includes: Vec<Result<Include, String>>,
}

/// A file that another one includes.
#[derive(Debug)]
pub(crate) struct Include {
    pub(crate) path: PathBuf,
    pub(crate) project: Project,
}

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// The pod as which it is judged, or the reason why it cannot be read.
    pub(crate) pod: Result<Value, String>,
    pub(crate) images: Vec<ServiceImage>,
    /// Why it has no image. `None` if it has one.
    pub(crate) no_image: Option<&'static str>,
}

/// An image of a service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServiceImage {
    /// The list of the pod that has it.
    pub(crate) field: &'static ImageField,
    /// The name of the container or volume in the pod.
    pub(crate) name: String,
    /// The reference, with the values of variables.
    pub(crate) image: String,
    /// Where the document has it. `None` if it is in another file.
    pub(crate) path: Option<Vec<Step>>,
    /// Whether it is written with variables.
    pub(crate) has_variables: bool,
}

/// Whether a document is a Compose file, and not an object of Kubernetes or a file of another program with a key `services`.
pub(crate) fn is_project(document: &Value, file: Option<&Path>) -> bool {
    if !document.is_object() || !document["apiVersion"].is_null() || !document["kind"].is_null() {
        return false;
    }
    let is_by_name = file.is_some_and(has_compose_name);
    match &document["services"] {
        Value::Object(services) => {
            let are_mappings = services.values().all(|service| service.is_object() || service.is_null());
            is_by_name || (are_mappings && services.values().any(is_service))
        }
        Value::Null => is_by_name && !document["include"].is_null(),
        _ => is_by_name,
    }
}

/// Whether a document may be a Compose file, whatever its services are.
pub(crate) fn has_services(document: &Value) -> bool {
    document["apiVersion"].is_null() && document["kind"].is_null() && document["services"].is_object()
}

/// Whether a mapping has what only a service of Compose has.
fn is_service(service: &Value) -> bool {
    service["image"].is_string()
        || ["build", "extends"].iter().any(|key| service[*key].is_string() || service[*key].is_object())
        || service["provider"].is_object()
}

/// Whether Compose finds a file by its name, or a file that overrides it.
fn has_compose_name(file: &Path) -> bool {
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return false };
    let Some(name) = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")) else { return false };
    let name = name.strip_prefix("docker-").unwrap_or(name);
    name.strip_prefix("compose").is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
}

/// The places of all images in a document, as they are written, without what its services extend.
pub(crate) fn image_paths(document: &Value) -> Vec<Vec<Step>> {
    let mut paths = Vec::new();
    for (name, service) in document["services"].as_object().into_iter().flatten() {
        let in_service = |rest: &[Step]| [&[Step::key("services"), Step::key(name)], rest].concat();
        if service["image"].is_string() {
            paths.push(in_service(&[Step::key("image")]));
        }
        for (index, _) in service["volumes"].as_array().into_iter().flatten().enumerate() {
            paths.push(in_service(&[Step::key("volumes"), Step::Item(index), Step::key("source")]));
        }
    }
    paths
}

/// Reads the services and the included files of a document.
pub(crate) fn read(document: Value, project: &Project) -> Content {
    let reader = Reader { document: Arc::new(document), project, others: RefCell::default() };
    let names: Vec<String> = match &reader.document["services"] {
        Value::Object(services) => services.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let mut services: Vec<Service> = names.iter().map(|name| reader.service(name)).collect();
    if let other @ (Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_)) =
        &reader.document["services"]
    {
        services
            .push(Service::failed("services", format!("`services`: expected an object, found {}", json_type(other))));
    }
    Content { includes: reader.includes(), services }
}

impl Service {
    fn failed(name: &str, error: String) -> Self {
        Self { name: name.to_owned(), pod: Err(error), images: Vec::new(), no_image: None }
    }
}

struct Reader<'p> {
    document: Arc<Value>,
    project: &'p Project,
    /// The files that services extend, by their paths.
    others: RefCell<HashMap<PathBuf, Documents>>,
}

/// The documents of a file, or why they cannot be read.
type Documents = Result<Vec<Arc<Value>>, String>;

/// A service, or one that it extends.
struct Link {
    document: Arc<Value>,
    name: String,
    /// Whether it is in the document itself, and not in another file.
    is_own: bool,
}

impl Link {
    fn service(&self) -> &Value {
        &self.document["services"][&self.name]
    }

    /// The place of a value of the service.
    fn path(&self, rest: &[Step]) -> Option<Vec<Step>> {
        self.is_own.then(|| [&[Step::key("services"), Step::key(&self.name)], rest].concat())
    }
}

impl Reader<'_> {
    fn service(&self, name: &str) -> Service {
        self.links(name)
            .and_then(|links| self.read_service(name, &links))
            .unwrap_or_else(|error| Service::failed(name, error))
    }

    fn read_service(&self, name: &str, links: &[Link]) -> Result<Service, String> {
        let mut images = Vec::new();
        images.extend(self.image(name, links)?);
        let image = images.first().map(|image| image.image.clone());
        for link in links {
            self.add_volumes(link, &mut images)?;
        }
        let volumes = images.iter().filter(|image| image.field.noun == "volume");
        let spec = ServiceSpec {
            name: name.to_owned(),
            volumes: volumes.map(|volume| (volume.name.clone(), volume.image.clone())).collect(),
            labels: self.labels(links)?,
            image,
        };
        let has = |key: &str| links.iter().any(|link| !link.service()[key].is_null());
        let no_image = images.is_empty().then(|| {
            if has("build") {
                "`build` makes its image, so nothing is pulled"
            } else if has("provider") {
                "a provider runs it, without an image"
            } else {
                "neither `image` nor `build`; another file of the project must have it"
            }
        });
        Ok(Service { name: name.to_owned(), pod: Ok(pod::pod(&spec)), images, no_image })
    }

    /// The image of the container: that of the service, or of the first service that it extends and that has one.
    fn image(&self, name: &str, links: &[Link]) -> Result<Option<ServiceImage>, String> {
        let Some(link) = links.iter().find(|link| !link.service()["image"].is_null()) else { return Ok(None) };
        let Value::String(written) = &link.service()["image"] else {
            return Err(format!("`image`: expected a string, found {}", json_type(&link.service()["image"])));
        };
        Ok(Some(ServiceImage {
            field: field("container"),
            name: name.to_owned(),
            image: self.interpolated("image", written)?,
            path: link.path(&[Step::key("image")]),
            has_variables: has_variables(written),
        }))
    }

    /// The volumes that are images.
    fn add_volumes(&self, link: &Link, images: &mut Vec<ServiceImage>) -> Result<(), String> {
        for (index, volume) in link.service()["volumes"].as_array().into_iter().flatten().enumerate() {
            let kind = volume["type"].as_str().map(|kind| self.interpolated("volumes.type", kind)).transpose()?;
            if kind.as_deref() != Some("image") {
                continue;
            }
            let Value::String(written) = &volume["source"] else {
                return Err(format!("`volumes`: `source`: expected a string, found {}", json_type(&volume["source"])));
            };
            let number = images.iter().filter(|image| image.field.noun == "volume").count();
            images.push(ServiceImage {
                field: field("volume"),
                name: mount_name(number),
                image: self.interpolated("volumes.source", written)?,
                path: link.path(&[Step::key("volumes"), Step::Item(index), Step::key("source")]),
                has_variables: has_variables(written),
            });
        }
        Ok(())
    }

    /// The labels of the container, and those of the service of Swarm, which take precedence.
    fn labels(&self, links: &[Link]) -> Result<Vec<(String, String)>, String> {
        let mut labels = BTreeMap::new();
        for key in ["", "deploy"] {
            for link in links.iter().rev() {
                let service = link.service();
                let holder = if key.is_empty() { service } else { &service[key] };
                self.add_labels(&holder["labels"], &mut labels)?;
            }
        }
        Ok(labels.into_iter().collect())
    }

    fn add_labels(&self, written: &Value, labels: &mut BTreeMap<String, String>) -> Result<(), String> {
        // A label of another program may have variables that only its deployment knows.
        let lookup = |name: &str| self.project.variables.get_name(name);
        let replaced = |text: &str| interpolate(text, &lookup, Unset::Empty).unwrap_or_else(|_| text.to_owned());
        match written {
            Value::Null => {}
            Value::Object(written) => {
                for (key, value) in written {
                    labels.insert(key.clone(), replaced(&scalar("labels", value)?));
                }
            }
            Value::Array(written) => {
                for label in written {
                    let label = replaced(&scalar("labels", label)?);
                    let (key, value) = label.split_once('=').unwrap_or((&label, ""));
                    labels.insert(key.to_owned(), value.to_owned());
                }
            }
            other => return Err(format!("`labels`: expected an object or a list, found {}", json_type(other))),
        }
        Ok(())
    }

    fn interpolated(&self, key: &str, text: &str) -> Result<String, String> {
        let lookup = |name: &str| self.project.variables.get_name(name);
        interpolate(text, &lookup, Unset::Refused).map_err(|error| format!("`{key}`: {error}"))
    }

    /// A service and those that it extends, in this order.
    fn links(&self, name: &str) -> Result<Vec<Link>, String> {
        let mut links: Vec<Link> = Vec::new();
        let mut link = Link { document: Arc::clone(&self.document), name: name.to_owned(), is_own: true };
        let mut folder = self.project.folder.clone();
        loop {
            let is_known = |other: &Link| Arc::ptr_eq(&other.document, &link.document) && other.name == link.name;
            if links.iter().any(is_known) {
                return Err(format!("`extends`: the service `{}` extends itself", link.name));
            }
            if links.len() == MAX_EXTENDS {
                return Err(format!("`extends`: more than {MAX_EXTENDS} levels"));
            }
            match link.document["services"].get(&link.name) {
                Some(Value::Object(_) | Value::Null) => {}
                Some(other) => return Err(format!("expected an object, found {}", json_type(other))),
                None => return Err(format!("`extends`: the service `{}` does not exist", link.name)),
            }
            let Some((file, base)) = self.extended(&link.service()["extends"])? else {
                links.push(link);
                return Ok(links);
            };
            let next = match file {
                None => Link { document: Arc::clone(&link.document), name: base, is_own: link.is_own },
                Some(file) => {
                    let path = local("extends", &folder, &file)?;
                    path.parent().unwrap_or(Path::new("")).clone_into(&mut folder);
                    self.link(&path, base)?
                }
            };
            links.push(std::mem::replace(&mut link, next));
        }
    }

    /// The file and the service that a service extends.
    fn extended(&self, extends: &Value) -> Result<Option<(Option<String>, String)>, String> {
        let text = |key: &str, value: &Value| match value {
            Value::Null => Ok(None),
            Value::String(text) => self.interpolated(key, text).map(Some),
            other => Err(format!("`{key}`: expected a string, found {}", json_type(other))),
        };
        match extends {
            Value::Null => Ok(None),
            Value::String(_) => Ok(text("extends", extends)?.map(|service| (None, service))),
            Value::Object(_) => {
                let service = text("extends.service", &extends["service"])?;
                let service = service.ok_or_else(|| "`extends.service` is required".to_owned())?;
                Ok(Some((text("extends.file", &extends["file"])?, service)))
            }
            other => Err(format!("`extends`: expected an object or a string, found {}", json_type(other))),
        }
    }

    /// A service of a file that another service extends.
    fn link(&self, path: &Path, name: String) -> Result<Link, String> {
        let file = canonical(path);
        let is_own = self.project.path.as_deref().is_some_and(|own| canonical(own) == file);
        if is_own && !self.document["services"][&name].is_null() {
            return Ok(Link { document: Arc::clone(&self.document), name, is_own });
        }
        let mut others = self.others.borrow_mut();
        if others.len() == MAX_FILES && !others.contains_key(&file) {
            return Err(format!("`extends`: more than {MAX_FILES} files"));
        }
        let documents =
            others.entry(file).or_insert_with_key(|file| documents(path, self.project.texts.get(file))).clone()?;
        let has_service = |document: &&Arc<Value>| document["services"].get(&name).is_some();
        let Some(document) = documents.iter().find(has_service).map(Arc::clone) else {
            return Err(format!("`extends`: the service `{name}` does not exist in {}", path.display()));
        };
        Ok(Link { document, name, is_own: false })
    }

    /// The files that the document includes.
    fn includes(&self) -> Vec<Result<Include, String>> {
        match &self.document["include"] {
            Value::Null => Vec::new(),
            Value::Array(entries) => entries
                .iter()
                .flat_map(|entry| match self.include(entry) {
                    Ok(includes) => includes.into_iter().map(|include| self.unless_circular(include)).collect(),
                    Err(error) => vec![Err(error)],
                })
                .collect(),
            other => vec![Err(format!("`include`: expected a list, found {}", json_type(other)))],
        }
    }

    /// An entry of `include`: one path, or a mapping with one or several.
    fn include(&self, entry: &Value) -> Result<Vec<Include>, String> {
        let folder = &self.project.folder;
        let none = Map::new();
        let (paths, keys) = match entry {
            Value::Object(keys) => (keys.get("path").unwrap_or(&Value::Null), keys),
            path => (path, &none),
        };
        let paths = self.paths("include", folder, paths)?;
        let Some(first) = paths.first() else { return Err("`include.path` is required".to_owned()) };
        let project_folder = match keys.get("project_directory") {
            None | Some(Value::Null) => first.parent().unwrap_or(Path::new("")).to_owned(),
            Some(directory) => {
                let directory = self.paths("include.project_directory", folder, directory)?;
                directory.first().cloned().unwrap_or_default()
            }
        };
        let variables =
            match self.paths("include.env_file", folder, keys.get("env_file").unwrap_or(&Value::Null))?.as_slice() {
                [] => Variables::beside(&project_folder),
                files => Variables::of_named_files(files),
            };
        let variables = Arc::new(variables.included_by(&self.project.variables));
        let own = self.project.path.as_deref().map(canonical);
        // Standard input has no path, but its files are included nevertheless.
        let including = [&*self.project.including, &[own.unwrap_or_default()]].concat();
        let include = |path: PathBuf| {
            let (folder, variables, including) = (project_folder.clone(), Arc::clone(&variables), including.clone());
            let texts = Arc::clone(&self.project.texts);
            Include { project: Project { folder, path: Some(path.clone()), variables, including, texts }, path }
        };
        Ok(paths.into_iter().map(include).collect())
    }

    fn unless_circular(&self, include: Include) -> Result<Include, String> {
        if include.project.including.contains(&canonical(&include.path)) {
            return Err(format!("`include`: {} includes itself", include.path.display()));
        }
        if include.project.including.len() > MAX_INCLUDES {
            return Err(format!("`include`: more than {MAX_INCLUDES} levels"));
        }
        Ok(include)
    }

    /// A path or a list of paths, relative to a folder.
    fn paths(&self, key: &str, folder: &Path, value: &Value) -> Result<Vec<PathBuf>, String> {
        let one = |value: &Value| match value {
            Value::String(path) => local(key, folder, &self.interpolated(key, path)?),
            other => Err(format!("`{key}`: expected a string, found {}", json_type(other))),
        };
        match value {
            Value::Null => Ok(Vec::new()),
            Value::Array(paths) => paths.iter().map(one).collect(),
            path => Ok(vec![one(path)?]),
        }
    }
}

/// Reads the Compose file at the path of an include.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read_included(path: &Path) -> Result<String, String> {
    source::read_compose(path)
}

fn field(noun: &str) -> &'static ImageField {
    let [.., containers, _, volumes] = &IMAGE_FIELDS;
    if noun == volumes.noun { volumes } else { containers }
}

/// A scalar as text.
fn scalar(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        other => Err(format!("`{key}`: expected a string, found {}", json_type(other))),
    }
}

/// A path in a Compose file, relative to a folder.
fn local(key: &str, folder: &Path, path: &str) -> Result<PathBuf, String> {
    let is_remote = path.contains("://") || path.starts_with("git@") || path.starts_with("github.com/");
    if is_remote {
        return Err(format!(
            "`{key}`: `{path}` is remote, and only files are read; check the output of `docker compose config`"
        ));
    }
    Ok(folder.join(path))
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The documents of a file that a service extends. Errors do not show its text, since it may be any file.
fn documents(path: &Path, changed: Option<String>) -> Documents {
    let text = changed.map_or_else(|| source::read_compose(path), Ok)?;
    let objects = manifest::read(&text).into_iter().map(|document| {
        document.object.map(Arc::new).map_err(|error| {
            let line = manifest::line_of_error(&error).unwrap_or(document.place.line);
            format!("cannot read {}: invalid YAML from line {line}", path.display())
        })
    });
    objects.collect()
}

#[cfg(test)]
mod tests;
