use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Content, Project, Service, ServiceImage, Variables, is_project, read};
use crate::input::{ManifestFile, ManifestObject};
use crate::manifest::from_yaml;
use crate::manifest::nodes::line_and_column;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// The content of `compose.yaml` in a folder, whose environment has `SET=set`.
fn content(folder: &Path) -> Content {
    let path = folder.join("compose.yaml");
    let document = from_yaml(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let variables = Arc::new(Variables::beside(folder).with_environment(&[("SET", "set")]));
    read(document, &Project::of(Some(&path), Some(&variables)))
}

/// The services of a Compose file in an empty folder.
fn services(text: &str) -> Vec<Service> {
    content(folder(&[("compose.yaml", text)]).path()).services
}

fn service(text: &str) -> Service {
    let mut services = services(text);
    assert_eq!(services.len(), 1, "{text}");
    services.remove(0)
}

fn named<'s>(content: &'s Content, name: &str) -> &'s Service {
    content.services.iter().find(|service| service.name == name).unwrap()
}

fn images(service: &Service) -> Vec<&str> {
    service.images.iter().map(|image| image.image.as_str()).collect()
}

fn annotations(service: &Service) -> Value {
    service.pod.as_ref().unwrap()["metadata"]["annotations"].clone()
}

fn error(service: &Service) -> &str {
    service.pod.as_ref().unwrap_err()
}

/// The objects of a file in a folder, each with its file, line and images with their places.
fn objects(folder: &Path, file: &str) -> Vec<String> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let objects = ManifestFile::new(file.to_owned(), text).at(path).objects();
    let show = |ManifestObject { source, object }: &ManifestObject| {
        let images = source.images().into_iter().map(|image| {
            let (line, column) = line_and_column(&source.file.text, image.span.start);
            format!(" {} at {line}:{column}", image.image)
        });
        let name = source.service().map_or("-", |service| service.name.as_str());
        let state = if object.is_ok() { "" } else { " failed" };
        let file = source.file.path.as_ref().and_then(|path| path.file_name()).unwrap().to_string_lossy().into_owned();
        format!("{file}:{} {name}{state}{}", source.object_line(), images.collect::<String>())
    };
    objects.iter().map(show).collect()
}

#[test]
fn a_document_with_services_of_compose_is_a_compose_file() {
    for text in [
        "services: {web: {image: a}}",
        "services: {web: {build: .}}",
        "services: {web: {build: {context: .}}}",
        "services: {web: {extends: base}}",
        "services: {web: {extends: {service: base}}}",
        "services: {db: {provider: {type: cloud}}}",
        "services: {web: {image: a}, other: {ports: [80]}, empty: }",
        "version: '3'\nservices: {web: {image: a}}",
        "apiVersion:\nkind: null\nservices: {web: {image: a}}",
    ] {
        assert!(is_project(&from_yaml(text).unwrap(), None), "{text}");
    }
}

#[test]
fn a_document_of_kubernetes_or_of_another_program_is_not_a_compose_file() {
    for text in [
        "apiVersion: v1\nkind: Pod\nservices: {web: {image: a}}",
        "kind: Pod\nservices: {web: {image: a}}",
        "apiVersion: v1\nservices: {web: {image: a}}",
        "services: [a]",
        "services: {web: {port: 80}}",
        "services: {web: {image: {repository: a, tag: b}}}",
        "services: {App\\Service: {class: x}, enabled: true}",
        "services: {web: {image: a}, enabled: true}",
        "include: [a.yml]",
        "image: a",
        "- services",
        "text",
    ] {
        assert!(!is_project(&from_yaml(text).unwrap(), None), "{text}");
        assert!(!is_project(&from_yaml(text).unwrap(), Some(Path::new("values.yaml"))), "{text}");
    }
}

#[test]
fn a_file_with_a_name_of_compose_is_a_compose_file_whatever_its_services_have() {
    let is_compose = |text: &str, file: &str| is_project(&from_yaml(text).unwrap(), Some(Path::new(file)));
    for file in
        ["compose.yaml", "a/compose.yml", "docker-compose.yml", "compose.override.yaml", "docker-compose-prod.yml"]
    {
        for text in ["services: {web: {ports: [80]}}", "services: [a]", "services: {web: true}", "include: [a.yml]"] {
            assert!(is_compose(text, file), "{file} {text}");
        }
        assert!(!is_compose("kind: Pod\nservices: {web: {image: a}}", file));
        assert!(!is_compose("networks: {a: {}}", file));
    }
    assert!(!is_compose("services: {web: {ports: [80]}}", "composer.yaml"));
}

#[test]
fn a_service_is_a_pod_with_its_image_and_its_labels() {
    let web = service(
        "services:\n  web:\n    image: a:1\n    labels: {scan.container-patch.dev/web: x, n: 1, b: true, e: , pin.container-patch.dev/web: y}\n    \
         deploy: {labels: [b=c, d, e=f=g]}\n",
    );
    assert_eq!(
        web.pod.unwrap(),
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "annotations": {
                "scan.container-patch.dev/web": "x", "n": "1", "b": "c", "d": "", "e": "f=g",
            }},
            "spec": {"containers": [{"name": "web", "image": "a:1"}]},
        })
    );
}

#[test]
fn variables_are_replaced_and_a_label_of_another_program_is_never_an_error() {
    let web = service(
        "services:\n  web:\n    image: r/${SET:-a}:${TAG:-1}\n    labels: [a=$SET, b=$UNSET, 'c=${', 'd=${X:?y}', \"$$SET=1\", e=$$x]\n",
    );
    assert_eq!(images(&web), ["r/set:1"]);
    assert!(web.images[0].has_variables);
    assert_eq!(annotations(&web), json!({"a": "set", "b": "", "c": "${", "d": "${X:?y}", "$SET": "1", "e": "$x"}));
    let unset = service("services: {web: {image: 'r:$TAG'}}");
    assert_eq!(
        error(&unset),
        "`image`: the variable `TAG` is not set; set it in the environment or in .env, or write a default: `${TAG:-default}`"
    );
}

#[test]
fn a_label_with_a_variable_in_its_key_is_not_a_record() {
    let folder = folder(&[
        (".env", "KEY=pin.container-patch.dev/web\n"),
        ("compose.yaml", "services: {web: {image: a, labels: ['$KEY=x', b=c]}}"),
    ]);
    assert_eq!(annotations(&content(folder.path()).services[0]), json!({"b": "c"}));
}

#[test]
fn variables_come_from_the_file_beside_the_compose_file_and_not_beside_an_extended_one() {
    let folder = folder(&[
        (".env", "TAG=own\n"),
        ("compose.yaml", "services: {web: {extends: {file: base/compose.yaml, service: web}}}"),
        ("base/.env", "TAG=base\n"),
        ("base/compose.yaml", "services: {web: {image: 'a:$TAG'}}"),
    ]);
    assert_eq!(images(&content(folder.path()).services[0]), ["a:own"]);
}

#[test]
fn a_volume_can_be_an_image() {
    let web = service(
        "services:\n  web:\n    image: a\n    volumes:\n    - data:/data\n    - {type: image, source: 'b:${SET}', target: /b}\n    \
         - {type: bind, source: c}\n    - {type: image, source: d}\n",
    );
    assert_eq!(images(&web), ["a", "b:set", "d"]);
    assert_eq!(
        web.pod.unwrap()["spec"]["volumes"],
        json!([{"name": "mount-1", "image": {"reference": "b:set"}}, {"name": "mount-2", "image": {"reference": "d"}}])
    );
    let error = service("services: {web: {image: a, volumes: [{type: image}]}}").pod.unwrap_err();
    assert_eq!(error, "`volumes`: `source`: expected a string, found null");
}

#[test]
fn a_service_without_an_image_has_a_reason() {
    let reason = |text| service(text).no_image;
    assert_eq!(reason("services: {web: {build: .}}"), Some("`build` makes its image, so nothing is pulled"));
    assert_eq!(reason("services: {web: {provider: {type: a}}}"), Some("a provider runs it, without an image"));
    let both = content(folder(&[("compose.yaml", "services: {web: {image: a}, other: {ports: [80]}}")]).path());
    assert!(named(&both, "other").no_image.unwrap().starts_with("neither `image` nor `build`"));
    assert_eq!(named(&both, "web").no_image, None);
    // A stack ignores `build`, and runs the image of the registry.
    assert_eq!(images(&service("services: {web: {image: a, build: .}}")), ["a"]);
    // As in a pod, the policy refuses an empty image.
    assert_eq!(images(&service("services: {web: {image: ''}}")), [""]);
}

#[test]
fn profiles_and_other_keys_make_no_difference_and_names_with_a_prefix_are_services() {
    let content = content(
        folder(&[(
            "compose.yaml",
            "x-image: &x {image: x}\nx-y: {services: {no: {image: no}}}\nconfigs: {image: {file: a}}\nmodels: {llm: {model: ai/m}}\n\
             services:\n  a: {image: a, profiles: [debug], develop: {watch: []}}\n  x-b: {<<: *x, deploy: {replicas: 0}}\n",
        )])
        .path(),
    );
    let found: Vec<_> = content.services.iter().map(|service| (service.name.as_str(), images(service))).collect();
    assert_eq!(found, [("a", vec!["a"]), ("x-b", vec!["x"])]);
}

#[test]
fn values_of_an_unexpected_type_are_errors() {
    for (text, expected) in [
        ("web: {image: [a]}", "`image`: expected a string, found a list"),
        ("web: {image: 7}", "`image`: expected a string, found a number"),
        ("web: 7", "expected an object, found a number"),
        ("web: {image: a, labels: 7}", "`labels`: expected an object or a list, found a number"),
        ("web: {image: a, labels: [{}]}", "`labels`: expected a string, found an object"),
        ("web: {image: a, extends: 7}", "`extends`: expected an object or a string, found a number"),
        ("web: {image: a, extends: {}}", "`extends.service` is required"),
        ("web: {image: a, extends: {service: [a]}}", "`extends.service`: expected a string, found a list"),
        ("web: {image: a, extends: other}", "`extends`: the service `other` does not exist"),
        ("web: {image: a, extends: {service: a, file: missing.yaml}}", "cannot read "),
        ("web: {image: a, extends: {service: a, file: ''}}", "cannot read "),
        ("web: {image: a, extends: {service: a, file: 'https://a.test/b'}}", "`extends`: `https://a.test/b` is remote"),
    ] {
        let service = service(&format!("services: {{{text}}}"));
        assert!(error(&service).starts_with(expected), "{text}: {}", error(&service));
    }
    let list = service("services: [a]");
    assert_eq!((list.name.as_str(), error(&list)), ("services", "`services`: expected an object, found a list"));
}

#[test]
fn a_service_has_what_it_extends_unless_it_has_its_own() {
    let folder = folder(&[
        (
            "compose.yaml",
            "services:\n  base: {image: 'a:1', labels: {a: base, b: base}}\n  own: {extends: base, image: 'a:2', labels: [a=own]}\n  \
             same: {extends: {service: own}}\n  file: {extends: {service: app, file: common/base.yaml}, labels: {a: file}}\n  \
             self: {extends: {service: base, file: ./compose.yaml}}\n  built: {extends: {service: built, file: '${DIR:-common}/base.yaml'}}\n",
        ),
        (
            "common/base.yaml",
            "services:\n  app: {extends: {file: ../other.yaml, service: app}, labels: {b: app}}\n  built: {build: .}\n",
        ),
        ("other.yaml", "kind: Pod\n---\nservices: {app: {image: other, volumes: [{type: image, source: v}]}}"),
    ]);
    let content = content(folder.path());
    let found = |name| images(named(&content, name));
    assert_eq!(["base", "own", "same", "self"].map(found), [["a:1"], ["a:2"], ["a:2"], ["a:1"]]);
    assert_eq!(found("file"), ["other", "v"]);
    assert_eq!(annotations(named(&content, "own")), json!({"a": "own", "b": "base"}));
    assert_eq!(annotations(named(&content, "file")), json!({"a": "file", "b": "app"}));
    assert!(named(&content, "built").no_image.is_some());
    // Only images of this file have a place in it.
    let places =
        |name: &str| -> Vec<bool> { named(&content, name).images.iter().map(|image| image.path.is_some()).collect() };
    assert_eq!((places("same"), places("self"), places("file")), (vec![true], vec![true], vec![false, false]));
}

#[test]
fn circles_of_extends_are_errors_in_one_file_and_across_files() {
    for (own, other) in [
        ("web: {extends: web, image: a}", ""),
        ("web: {extends: b}, b: {extends: web}", ""),
        ("web: {extends: {file: compose.yaml, service: web}}", ""),
        ("web: {extends: {file: other.yaml, service: web}}", "web: {extends: {file: compose.yaml, service: web}}"),
        ("web: {extends: {file: other.yaml, service: web}}", "web: {extends: {file: ./other.yaml, service: web}}"),
    ] {
        let folder = folder(&[
            ("compose.yaml", &format!("services: {{{own}}}")),
            ("other.yaml", &format!("services: {{{other}}}")),
        ]);
        let content = content(folder.path());
        assert_eq!(error(named(&content, "web")), "`extends`: the service `web` extends itself", "{own}");
    }
}

#[test]
fn the_levels_and_files_of_extends_are_bounded() {
    let mut text = "services:\n  s0: {image: a}\n".to_owned();
    for level in 1..100 {
        text += &format!("  s{level}: {{extends: s{}}}\n", level - 1);
    }
    let content_of = content(folder(&[("compose.yaml", &text)]).path());
    assert_eq!(images(named(&content_of, "s31")), ["a"]);
    assert_eq!(error(named(&content_of, "s32")), "`extends`: more than 32 levels");
    let names: Vec<String> = (0..70).map(|number| format!("f{number}.yaml")).collect();
    let services = names.iter().enumerate();
    let text: String =
        services.map(|(number, name)| format!("  s{number}: {{extends: {{service: a, file: {name}}}}}\n")).collect();
    let text = format!("services:\n{text}");
    let mut files = vec![("compose.yaml", text.as_str())];
    files.extend(names.iter().map(|name| (name.as_str(), "services: {a: {image: a}}")));
    let failed = content(folder(&files).path()).services.into_iter().filter(|service| service.pod.is_err()).count();
    assert_eq!(failed, 6);
}

#[cfg(unix)]
#[test]
fn a_file_that_is_not_a_file_or_not_yaml_is_an_error_without_its_text() {
    let folder = folder(&[
        (
            "compose.yaml",
            "services: {a: {extends: {file: link.yaml, service: a}}, b: {extends: {file: secret, service: a}}, c: {extends: {file: ., service: a}}}",
        ),
        ("secret", "password: hunter2\nservices: [\n"),
    ]);
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("link.yaml")).unwrap();
    let content = content(folder.path());
    let error = |name| error(named(&content, name));
    assert!(error("a").ends_with("expected a file, found a device, pipe or socket"), "{}", error("a"));
    assert!(
        error("b").contains("secret: invalid YAML from line ") && !error("b").contains("hunter2"),
        "{}",
        error("b")
    );
    assert!(error("c").ends_with("expected a file, found a folder"), "{}", error("c"));
}

#[test]
fn files_are_included_with_their_own_variables() {
    let folder = folder(&[
        (".env", "TAG=own\n"),
        (
            "compose.yaml",
            "include:\n- db/compose.yaml\n- {path: [a.yaml, b.yaml], project_directory: p, env_file: v.env}\n- {path: c.yaml, env_file: [v.env]}\n\
             services: {web: {image: 'a:$TAG'}}\n",
        ),
        ("db/.env", "TAG=db\nDB=db\n"),
        ("v.env", "DB=v\n"),
    ]);
    let content = content(folder.path());
    let includes: Vec<_> = content.includes.iter().map(|include| include.as_ref().unwrap()).collect();
    let path = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
    let shown = includes.iter().map(|include| {
        let get = |name| include.project.variables.get(name).unwrap().unwrap_or_default();
        format!("{} in {:?}: {} {}", path(&include.path), path(&include.project.folder), get("TAG"), get("DB"))
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            "db/compose.yaml in \"db\": own db",
            "a.yaml in \"p\": own v",
            "b.yaml in \"p\": own v",
            "c.yaml in \"\": own v"
        ]
    );
}

#[test]
fn an_include_that_cannot_be_read_is_an_error() {
    for (include, expected) in [
        ("[{}]", "`include.path` is required"),
        ("[7]", "`include`: expected a string, found a number"),
        ("text", "`include`: expected a list, found a string"),
        ("['oci://a.test/b']", "`include`: `oci://a.test/b` is remote"),
        ("['$UNSET']", "`include`: the variable `UNSET` is not set"),
        ("[./compose.yaml]", "`include`: "),
    ] {
        let folder = folder(&[("compose.yaml", &format!("include: {include}\nservices: {{web: {{image: a}}}}"))]);
        let content = content(folder.path());
        let [Err(error)] = &content.includes[..] else { panic!("{include}: {:?}", content.includes) };
        assert!(error.starts_with(expected), "{include}: {error}");
    }
}

#[test]
fn services_have_their_lines_and_images_their_places_also_in_included_files() {
    let folder = folder(&[
        (
            "compose.yaml",
            "# é\ninclude: [more.yaml]\nx-base: &base\n  image: \"b:1\"\nservices:\n  web:\n    image: é:1 # comment\n  \
             also: {<<: *base}\n  again: {extends: web}\n  far: {extends: {service: a, file: far.yaml}}\n\
             ---\nkind: Pod\nspec: {containers: [{name: a, image: pod}]}\n",
        ),
        (
            "more.yaml",
            "include: [missing.yaml]\nservices:\n  web: {image: more, volumes: [a, {type: image, source: v}]}\n",
        ),
        ("far.yaml", "services: {a: {image: far}}"),
    ]);
    assert_eq!(
        objects(folder.path(), "compose.yaml"),
        [
            "compose.yaml:6 web é:1 at 7:12",
            "compose.yaml:8 also b:1 at 4:10",
            "compose.yaml:9 again é:1 at 7:12",
            "compose.yaml:10 far",
            "compose.yaml:12 - pod at 13:38",
            "more.yaml:3 web more at 3:16 v at 3:57",
            "missing.yaml:1 - failed",
        ]
    );
}

#[test]
fn circles_of_includes_are_errors_and_their_files_are_read_once() {
    let folder = folder(&[
        ("a.yaml", "include: [b.yaml]\nservices: {a: {image: a}}"),
        ("b.yaml", "include: [a.yaml]\nservices: {b: {image: b}}"),
    ]);
    assert_eq!(objects(folder.path(), "a.yaml"), ["a.yaml:2 a a at 2:23", "b.yaml:2 b b at 2:23", "b.yaml:1 - failed"]);
}

#[test]
fn files_that_include_each_other_in_many_ways_are_bounded() {
    let names: Vec<String> = (0..14).map(|number| format!("f{number}.yaml")).collect();
    let texts: Vec<String> = (0..14)
        .map(|number| match names.get(number + 1) {
            Some(next) => format!("include: [{next}, {next}, {next}]\nservices: {{a: {{image: a}}}}"),
            None => "services: {a: {image: a}}".to_owned(),
        })
        .collect();
    let files: Vec<_> = names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let found = objects(folder(&files).path(), "f0.yaml");
    assert!(found.len() < 400 && found.iter().any(|object| object.contains("failed")), "{}", found.len());
}

#[test]
fn the_places_of_all_images_of_a_document_are_known() {
    let document = json!({"services": {"a": {"image": "a"}, "b": {"volumes": ["x", {"type": "image", "source": "v"}]}, "c": null}});
    let paths = super::image_paths(&document);
    let shown: Vec<String> = paths.iter().map(|path| format!("{path:?}")).collect();
    assert_eq!(shown.len(), 3);
    assert!(shown[0].contains("\"a\"") && shown[2].contains("Item(1)"), "{shown:?}");
}

#[test]
fn an_image_names_its_container_or_its_volume() {
    let web = service("services: {web: {image: a, volumes: [{type: image, source: b, target: /c}]}}");
    let shown: Vec<_> =
        web.images.iter().map(|ServiceImage { field, name, .. }| (field.noun, field.list, name.as_str())).collect();
    assert_eq!(shown, [("container", "containers", "web"), ("volume", "volumes", "mount-1")]);
}
