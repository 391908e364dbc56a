//! The policies of `deploy/` together, and one after the other.

use std::fs;
use std::path::Path;

use clap::Parser;
use container_patch::input::{InputOptions, ManifestFile, ManifestObject};
use container_patch::judge::verdict::{Finding, JudgedObject, Verdict};
use container_patch::judge::{Judge, JudgeOptions};
use container_patch::manifest::from_yaml;
use serde_json::{Value, json};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    judge: JudgeOptions,
}

/// Answers that the module needs for `images`: for each, the digest of its tag, and what was built when. The pair asks what two single
/// runs ask, in the same order.
fn session(questions: &[(&str, &str)]) -> String {
    let built = json!({"digest": DIGEST, "config": {"created": "2020-01-01T00:00:00Z"},
        "manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}});
    let answer = |question: &str| match question {
        "OciManifestDigest" => json!({"digest": DIGEST}),
        _ => built.clone(),
    };
    let exchange = |(question, image): &(&str, &str)| {
        let payload = Value::String(answer(question).to_string());
        format!(
            "- type: Exchange\n  request: |\n    !{question}\n    image: {image}\n  response:\n    type: Success\n    payload: {payload}\n"
        )
    };
    if questions.is_empty() { "[]\n".to_owned() } else { questions.iter().map(exchange).collect() }
}

fn judge(
    folder: &Path,
    settings: &[&Path],
    objects: &[ManifestObject],
    questions: &[(&str, &str)],
) -> Vec<JudgedObject> {
    let replayed = folder.join("session.yaml");
    fs::write(&replayed, session(questions)).unwrap();
    let path = |path: &Path| path.display().to_string();
    let mut flags = vec!["test".to_owned(), "unused.yaml".to_owned(), "--at".to_owned(), "2026-11-20".to_owned()];
    flags.extend(["--replay-host-capabilities-interactions".to_owned(), path(&replayed)]);
    flags.extend(settings.iter().flat_map(|settings| ["--settings-path".to_owned(), path(settings)]));
    let Flags { judge: options, .. } = Flags::parse_from(flags);
    let judge = Judge::open(&options).unwrap();
    let judged = judge.all(objects);
    judge.close().unwrap();
    judged
}

/// A policy of `deploy/`, changed: with another mode, and in the other file only its settings.
fn deployed(folder: &Path, name: &str, mode: &str) -> [std::path::PathBuf; 2] {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)).unwrap();
    let mut policy = from_yaml(&text).unwrap();
    assert_eq!(policy["spec"]["mode"], "monitor");
    policy["spec"]["mode"] = json!(mode);
    let (whole, settings) = (folder.join(name), folder.join(format!("settings-{name}")));
    fs::write(&whole, policy.to_string()).unwrap();
    fs::write(&settings, policy["spec"]["settings"].to_string()).unwrap();
    [whole, settings]
}

fn objects(manifests: &[Value]) -> Vec<ManifestObject> {
    let text: Vec<_> = manifests.iter().map(Value::to_string).collect();
    ManifestFile::new("all.yaml".to_owned(), text.join("\n")).objects()
}

fn pod(namespace: &str, image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"containers": [{"name": "app", "image": image}]}})
}

fn without_names(findings: &[Finding]) -> Vec<Finding> {
    findings.iter().map(|finding| Finding { policies: Vec::new(), ..finding.clone() }).collect()
}

#[test]
fn the_pair_gives_the_verdict_of_two_single_runs_in_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [pin, pin_settings] = deployed(folder, "pin.yaml", "protect");
    let [enforce, enforce_settings] = deployed(folder, "enforce.yaml", "protect");
    let asks_digest = ("OciManifestDigest", "docker.io/library/nginx:1");
    let pinned_name = format!("docker.io/library/nginx@{DIGEST}");
    let asks_build = ("OciManifestAndConfig", pinned_name.as_str());

    // A single run with the settings of each policy; the object that the first one changes goes to the second one by hand.
    let before = objects(&[pod("shop", "nginx:1")]);
    let first = judge(folder, &[&pin_settings], &before, &[asks_digest]);
    assert_eq!(first[0].pinned, [format!("nginx:1@{DIGEST}")]);
    let between = objects(&[pod("shop", &first[0].pinned[0])]);
    let second = judge(folder, &[&enforce_settings], &between, &[asks_build]);
    assert!(second[0].has_finding("stale-image"), "{:?}", second[0]);

    let pair = judge(folder, &[&enforce, &pin], &before, &[asks_digest, asks_build]);
    assert_eq!((pair[0].verdict, pair[0].pinned.clone()), (second[0].verdict, first[0].pinned.clone()));
    assert_eq!(without_names(&pair[0].findings), second[0].findings);
    assert!(pair[0].findings.iter().all(|finding| finding.policies == ["container-patch-enforce"]));
    let named: Vec<_> = second[0].messages.iter().map(|line| format!("container-patch-enforce: {line}")).collect();
    assert_eq!(pair[0].messages, named);
    assert_eq!(pair[0].images, second[0].images);
}

#[test]
fn a_denial_of_the_pinning_policy_ends_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [pin, pin_settings] = deployed(folder, "pin.yaml", "protect");
    let [enforce, _] = deployed(folder, "enforce.yaml", "protect");
    let latest = objects(&[pod("shop", "nginx:latest")]);
    let alone = judge(folder, &[&pin_settings], &latest, &[]);
    let pair = judge(folder, &[&pin, &enforce], &latest, &[]);
    assert_eq!((alone[0].verdict, pair[0].verdict), (Verdict::Denied, Verdict::Denied));
    assert_eq!(without_names(&pair[0].findings), alone[0].findings);
}

#[test]
fn the_policies_do_not_get_the_pods_of_the_cluster_itself() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [pin, _] = deployed(folder, "pin.yaml", "protect");
    let [enforce, _] = deployed(folder, "enforce.yaml", "protect");
    let judged = judge(folder, &[&pin, &enforce], &objects(&[pod("kube-system", "nginx:latest")]), &[]);
    assert_eq!(judged[0].verdict, Verdict::Skipped);
}
