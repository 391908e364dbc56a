//! What Kubewarden and Artifact Hub are told of the policy is of one piece.

use std::path::{Path, PathBuf};

use container_patch::manifest;
use container_patch::policy::Policy;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    manifest::from_yaml(&read(path)).unwrap_or_else(|error| panic!("{path}: {error:#}"))
}

/// The policies in `deploy/`, with the files they stand in.
fn deployed_policies() -> Vec<(String, Value)> {
    policies_in("deploy")
}

fn policies_in(folder: &str) -> Vec<(String, Value)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut policies = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
        for document in manifest::read(&std::fs::read_to_string(file).unwrap()) {
            let object = document.object.unwrap();
            if object["kind"] == "ClusterAdmissionPolicy" {
                policies.push((format!("{}:{}", file.display(), document.place), object));
            }
        }
    }
    assert!(!policies.is_empty(), "{folder}/ has a policy");
    policies
}

#[test]
fn the_settings_of_every_policy_in_deploy_are_valid() {
    let policy = Policy::embedded().unwrap();
    for (file, object) in deployed_policies() {
        policy.validate_settings(&object["spec"]["settings"]).unwrap_or_else(|error| panic!("{file}: {error:#}"));
    }
}

#[test]
fn the_policies_for_custom_workloads_list_the_same_registries_and_name_every_version() {
    let (policy, deployed) = (Policy::embedded().unwrap(), deployed_policies());
    for (file, object) in policies_in("deploy/custom-workloads") {
        let spec = &object["spec"];
        policy.validate_settings(&spec["settings"]).unwrap_or_else(|error| panic!("{file}: {error:#}"));
        assert_eq!(spec["settings"]["registries"], deployed[0].1["spec"]["settings"]["registries"], "{file}");
        assert_eq!((&spec["mode"], &spec["rules"][0]["apiVersions"]), (&json!("monitor"), &json!(["*"])), "{file}");
    }
}

#[test]
fn every_policy_in_deploy_has_the_version_and_the_category_of_the_metadata() {
    let metadata = yaml("metadata.yml");
    for (file, object) in deployed_policies() {
        let annotations = &metadata["annotations"];
        let image = annotations["io.kubewarden.policy.ociUrl"].as_str().unwrap();
        let version = annotations["io.kubewarden.policy.version"].as_str().unwrap();
        assert_eq!(object["spec"]["module"], format!("registry://{image}:v{version}"), "{file}");
        for annotation in ["io.kubewarden.policy.category", "io.kubewarden.policy.severity"] {
            assert_eq!(object["metadata"]["annotations"][annotation], annotations[annotation], "{file}");
        }
    }
}

#[test]
fn one_policy_in_deploy_pins_all_that_may_be_written_and_one_enforces_on_everything() {
    let metadata = yaml("metadata.yml");
    let policies = deployed_policies();
    let by = |mutating: bool| {
        let mut found = policies.iter().filter(|(_, object)| object["spec"]["mutating"] == mutating);
        let (file, object) = found.next().unwrap_or_else(|| panic!("no policy has mutating: {mutating}"));
        assert!(found.next().is_none(), "{file} is not the only one");
        object["spec"].clone()
    };
    let (pins, enforces) = (by(true), by(false));
    assert_eq!(enforces["rules"], metadata["rules"]);
    assert_eq!(enforces["contextAwareResources"], metadata["contextAwareResources"]);
    let resources = |rules: &Value| -> Vec<Value> {
        rules.as_array().unwrap().iter().flat_map(|rule| rule["resources"].as_array().unwrap().clone()).collect()
    };
    let mut pinned = resources(&metadata["rules"]);
    pinned.retain(|resource| resource != "controllerrevisions");
    assert_eq!(resources(&pins["rules"]), pinned, "nothing is written into a ControllerRevision");
    for policy in [&pins, &enforces] {
        assert_eq!(policy["settings"]["pinning"]["templates"], "record", "what one writes, the other judges");
    }
    assert_eq!(pins["settings"]["pinning"]["action"], "pin");
    assert_ne!(enforces["settings"]["pinning"]["action"], "pin", "a policy that may not mutate cannot pin");
    for policy in [&pins, &enforces] {
        assert_eq!(policy["mode"], "monitor", "a policy begins by observing, until its registries are edited");
        assert_eq!(policy["settings"]["registries"], pins["settings"]["registries"]);
        assert!(policy["settings"]["registries"].as_array().is_some_and(|listed| listed.len() > 5), "{policy}");
        assert!(policy["rules"].as_array().unwrap().iter().all(|rule| rule["apiVersions"] == json!(["*"])), "{policy}");
        assert!(policy["timeoutEvalSeconds"].as_u64() < policy["timeoutSeconds"].as_u64(), "{policy}");
        assert_eq!(policy["namespaceSelector"], pins["namespaceSelector"]);
    }
}

#[test]
fn what_the_policy_may_read_there_is_a_role_to_read() {
    let mut readable = Vec::new();
    let reports = std::fs::read_dir(root().join("deploy/rbac")).unwrap().map(|file| file.unwrap().path());
    for file in reports.chain([root().join("deploy/soak/reader.yaml")]) {
        let text = std::fs::read_to_string(file).unwrap();
        if text.contains("breakGlass") {
            continue;
        }
        let objects: Vec<Value> = manifest::read(&text).into_iter().map(|document| document.object.unwrap()).collect();
        let [role, binding] = &objects[..] else { panic!("a role and its binding: {text}") };
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        assert_eq!(binding["subjects"][0]["name"], "policy-server");
        for rule in role["rules"].as_array().unwrap() {
            let by_name = text.contains("secscan.quay.redhat.com") || text.contains("configmaps");
            assert_eq!(rule["verbs"], if by_name { json!(["get"]) } else { json!(["get", "list", "watch"]) }, "{text}");
            let group = rule["apiGroups"][0].as_str().unwrap();
            let resources = rule["resources"].as_array().unwrap().iter();
            readable.extend(resources.map(|resource| format!("{group}/{}", resource.as_str().unwrap())));
        }
    }
    let plural = |kind: &str| {
        kind.to_lowercase().strip_suffix('y').map_or(format!("{}s", kind.to_lowercase()), |stem| format!("{stem}ies"))
    };
    let mut declared: Vec<String> = yaml("metadata.yml")["contextAwareResources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| {
            let (group, _) = resource["apiVersion"].as_str().unwrap().split_once('/').unwrap_or_default();
            format!("{group}/{}", plural(resource["kind"].as_str().unwrap()))
        })
        .collect();
    readable.sort();
    declared.sort();
    assert_eq!(readable, declared);
}

#[test]
fn policy_server_may_read_only_the_record_of_staging() {
    let objects = manifest::read(&read("deploy/soak/reader.yaml"));
    let role = objects[0].object.as_ref().unwrap();
    assert_eq!(role["kind"], "Role", "other ConfigMaps are not readable");
    assert_eq!(
        role["rules"],
        json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["soaked-images"], "verbs": ["get"]}])
    );
}

#[test]
fn the_version_is_the_same_everywhere() {
    assert_eq!(yaml("metadata.yml")["annotations"]["io.kubewarden.policy.version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_rules_reach_every_kind_that_the_policy_knows() {
    let metadata = yaml("metadata.yml");
    let mut resources = Vec::new();
    for rule in metadata["rules"].as_array().unwrap() {
        assert_eq!(rule["operations"], json!(["CREATE", "UPDATE"]));
        assert_eq!(rule["apiVersions"], json!(["*"]), "an old version of a kind is one, too");
        for resource in rule["resources"].as_array().unwrap() {
            resources.push(format!("{}/{}", rule["apiGroups"][0].as_str().unwrap(), resource.as_str().unwrap()));
        }
    }
    resources.sort();
    assert_eq!(
        resources,
        [
            "/pods",
            "/pods/ephemeralcontainers",
            "/podtemplates",
            "/replicationcontrollers",
            "apps/controllerrevisions",
            "apps/daemonsets",
            "apps/deployments",
            "apps/replicasets",
            "apps/statefulsets",
            "batch/cronjobs",
            "batch/jobs",
        ]
    );
}

/// What `kwctl scaffold artifacthub` makes of the metadata, but for the time at which it was made.
fn artifact_hub_package(metadata: &Value) -> Value {
    let annotation = |key: &str| metadata["annotations"][key].as_str().unwrap_or_else(|| panic!("no {key}"));
    let version = annotation("io.kubewarden.policy.version");
    let image = format!("{}:v{version}", annotation("io.kubewarden.policy.ociUrl"));
    let source = annotation("io.kubewarden.policy.source");
    let (author, email) = annotation("io.kubewarden.policy.author").trim_end_matches('>').split_once(" <").unwrap();
    let keywords: Vec<&str> = annotation("io.artifacthub.keywords").split(',').map(str::trim).collect();
    let mut annotations = json!({
        "kubewarden/mutation": metadata["mutating"].to_string(),
        "kubewarden/questions-ui": read("questions-ui.yml"),
        "kubewarden/resources": annotation("io.artifacthub.resources"),
        "kubewarden/rules": metadata["rules"],
    });
    if metadata["contextAwareResources"].as_array().is_some_and(|resources| !resources.is_empty()) {
        annotations["kubewarden/contextAwareResources"] = metadata["contextAwareResources"].clone();
    }
    json!({
        "version": version,
        "name": annotation("io.kubewarden.policy.title"),
        "displayName": annotation("io.artifacthub.displayName"),
        "description": annotation("io.kubewarden.policy.description"),
        "license": annotation("io.kubewarden.policy.license"),
        "homeURL": annotation("io.kubewarden.policy.url"),
        "containersImages": [{"name": "policy", "image": image}],
        "keywords": keywords,
        "links": [
            {"name": "policy", "url": format!("{source}/releases/download/v{version}/policy.wasm")},
            {"name": "source", "url": source},
        ],
        "maintainers": [{"name": author, "email": email}],
        "provider": {"name": "kubewarden"},
        "recommendations": [{"url": "https://artifacthub.io/packages/helm/kubewarden/kubewarden-controller"}],
        "annotations": annotations,
    })
}

#[test]
fn the_artifact_hub_package_is_what_kwctl_makes_of_the_metadata() {
    let mut package = yaml("artifacthub-pkg.yml");
    let created_at = package.as_object_mut().unwrap().remove("createdAt").expect("a package says when it was made");
    assert!(created_at.as_str().is_some_and(|time| time.contains('T') && time.ends_with('Z')), "{created_at}");
    // kwctl's text installs one policy. The test below is about the text that replaces it.
    package.as_object_mut().unwrap().remove("install").expect("a package says how to install it");
    // Rules and resources are YAML in a string.
    for key in ["kubewarden/rules", "kubewarden/contextAwareResources"] {
        if let Some(text) = package["annotations"][key].as_str() {
            package["annotations"][key] = manifest::from_yaml(text).unwrap();
        }
    }
    assert_eq!(package, artifact_hub_package(&yaml("metadata.yml")), "run `make -B artifacthub-pkg.yml`");
}

#[test]
fn the_artifact_hub_package_installs_the_policies_in_deploy() {
    let package = yaml("artifacthub-pkg.yml");
    let blocks = package["install"].as_str().unwrap().split("```yaml\n").skip(1);
    let mut installed: Vec<Value> =
        blocks.map(|block| manifest::from_yaml(block.split("```").next().unwrap()).unwrap()).collect();
    // The text begins with the policy that is switched on first, and the files are sorted by name.
    installed.reverse();
    let deployed: Vec<Value> = deployed_policies().into_iter().map(|(_, policy)| policy).collect();
    assert_eq!(installed, deployed, "run `hack/artifacthub-install artifacthub-pkg.yml`");
}
