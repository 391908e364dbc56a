//! Faults of the host admit no image that should be denied: each host call fails, returns garbage, returns far too much or
//! never returns, in every combination of the settings for this, in the built module.
//!
//! The tests state the contract, independent of the code: an image with missing evidence is denied, unless the settings allow
//! it: the rule that needs the evidence is off or only warns, evidence errors are warnings, or the request is admitted by
//! leniency or break-glass. Then there is a warning.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex};

use container_patch::capabilities::{Answer, Capabilities, HostCall};
use container_patch::policy::Policy;
use container_patch::timeout::{Clock, Interrupted};
use serde_json::{Value, json};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// The base that the image was built on.
const OLD_BASE: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// What the name of the base points at now.
const NEW_BASE: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const OTHER: &str = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
/// The image for the platform of the host in the index that is judged.
const OF_HOST: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const TEN_MIB: usize = 10 << 20;

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::embedded().expect("the module loads"));

/// What a host call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Digest,
    Image,
    Index,
    BaseDigest,
    BaseIndex,
    BaseImage,
    /// Whether reports may be read at all.
    Access,
    Reports,
    Report,
    Permission,
}

fn question(call: &HostCall) -> Question {
    let of = |image: &str, own, of_base| if image.starts_with("registry.example.com/base") { of_base } else { own };
    match call {
        HostCall::OciManifestDigest(image) => of(&image.image, Question::Digest, Question::BaseDigest),
        HostCall::OciManifest(image) => of(&image.image, Question::Index, Question::BaseIndex),
        HostCall::OciManifestAndConfig(image) => of(&image.image, Question::Image, Question::BaseImage),
        HostCall::KubernetesGetResource(get) if get.name == "container-patch-" => Question::Access,
        HostCall::KubernetesGetResource(_) => Question::Report,
        HostCall::KubernetesCanI(_) => Question::Permission,
        _ => Question::Reports,
    }
}

/// The valid answers: a fresh image without vulnerabilities, on a base with a newer build a few days old. Permission is
/// refused.
fn sound(source: &str, question: Question) -> Answer {
    let image = |digest: &str, labels: Value| {
        json!({
            "digest": digest,
            "manifest": {"config": {"mediaType": IMAGE_CONFIG, "digest": digest}},
            "config": {"created": "2026-11-15T00:00:00Z", "config": {"Labels": labels}},
        })
    };
    let (base_name, base_digest) = ("org.opencontainers.image.base.name", "org.opencontainers.image.base.digest");
    let answer = match (question, source) {
        (Question::Digest, _) => json!({"digest": DIGEST}),
        (Question::Image, _) => {
            // Reports of Quay are found by digest, so its image is a single one. The others are in an index.
            let digest = if source == "quay" { DIGEST } else { OF_HOST };
            image(digest, json!({base_name: "registry.example.com/base:1", base_digest: OLD_BASE}))
        }
        (Question::BaseDigest, _) => json!({"digest": NEW_BASE}),
        (Question::Index, _) => {
            let entry = |digest, architecture| json!({"digest": digest, "platform": {"os": "linux", "architecture": architecture}});
            json!({"manifests": [entry(OF_HOST, "amd64"), entry(OTHER, "s390x")]})
        }
        (Question::BaseIndex, _) => json!({"manifests": [{"digest": OTHER, "platform": {"os": "linux"}}]}),
        (Question::BaseImage, _) => image(NEW_BASE, json!({})),
        (Question::Access, _) => return Err("Cannot find x named 'container-patch-'".to_owned()),
        (Question::Permission, _) => json!({"allowed": false}),
        // Of another image in the index.
        (Question::Reports, "sbomscanner") => {
            json!({"items": [{"metadata": {"name": "r"}, "imageMetadata": {"digest": OTHER}}]})
        }
        (Question::Reports, "trivyOperator") => {
            json!({"items": [{"metadata": {"name": "r"}, "report": {"artifact": {"digest": OTHER}}}]})
        }
        (Question::Reports, _) => {
            let annotations = json!({"kubescape.io/image-id": format!("registry.example.com/app@{OTHER}")});
            json!({"items": [{"metadata": {"name": "r", "annotations": annotations}}]})
        }
        (Question::Report, "sbomscanner") => json!({"report": {"results": [{"vulnerabilities": []}]}}),
        (Question::Report, "trivyOperator") => json!({"report": {"vulnerabilities": []}}),
        (Question::Report, "quay") => json!({"spec": {"manifest": DIGEST, "features": []}}),
        (Question::Report, _) => json!({"spec": {"payload": {"matches": []}}}),
    };
    Ok(answer.to_string().into_bytes())
}

/// A fault, which replaces a valid answer.
type Fault = (&'static str, Box<dyn Fn(&[u8]) -> Answer + Send + Sync>);

fn always(name: &'static str, answer: Answer) -> Fault {
    (name, Box::new(move |_| answer.clone()))
}

fn text(text: &'static str) -> Fault {
    always(text, Ok(text.as_bytes().to_vec()))
}

fn failures() -> Vec<Fault> {
    vec![
        always("an error", Err("Host error: connection refused".to_owned())),
        always("an empty error", Err(String::new())),
        always("an error with control characters", Err("\u{1b}[2J\r\n\0\u{202e}".to_owned())),
    ]
}

/// Text that is not an answer to any question.
fn garbage() -> Vec<Fault> {
    let mut faults = vec![
        always("no bytes", Ok(Vec::new())),
        always("bytes that are no text", Ok(vec![b'{', 0xff, 0xfe, b'}'])),
        ("half of the answer", Box::new(|sound| Ok(sound[..sound.len() / 2].to_vec()))),
        ("the answer and more", Box::new(|sound| Ok([sound, b"}"].concat()))),
        ("the answer in a list", Box::new(|sound| Ok([b"[", sound, b"]"].concat()))),
        (
            "the answer in a string",
            Box::new(|sound| Ok(json!(String::from_utf8_lossy(sound)).to_string().into_bytes())),
        ),
    ];
    let other_types = [
        "not json", "null", "7", "-1", "1e999", "true", "\"\"", "\"text\"", "[]", "[null]", "[[]]", "[[[]]]", "[true]",
    ];
    faults.extend(other_types.map(text));
    faults
}

/// Answers about an index that cannot be read.
const INVALID_INDEXES: [&str; 5] = [
    r#"{"manifests": null}"#,
    r#"{"manifests": 7}"#,
    r#"{"manifests": {}}"#,
    r#"{"manifests": [{}]}"#,
    r#"{"manifests": [[]]}"#,
];

/// What has the shape of an answer, or nearly so, and makes no sense.
fn nonsense(source: &str, question: Question) -> Vec<Fault> {
    let texts: &[&'static str] = match (question, source) {
        (Question::Digest | Question::BaseDigest, _) => &[
            "{}",
            r#"{"digest": null}"#,
            r#"{"digest": -1}"#,
            r#"{"digest": ""}"#,
            r#"{"digest": "latest"}"#,
            r#"{"digest": "sha256:"}"#,
            r#"{"digest": "sha256:abc"}"#,
            r#"{"digest": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg"}"#,
            r#"{"digest": " sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#,
            r#"{"digest": ["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]}"#,
        ],
        // An index that lists nothing is a single image.
        // The builder of an image is responsible for invalid digests in its index, so they are not faults of the registry.
        (Question::Index, _) => &INVALID_INDEXES,
        (Question::BaseIndex, _) => {
            let digests = [r#"{"manifests": [{"digest": ""}]}"#, r#"{"manifests": [{"digest": "../../x"}]}"#];
            return INVALID_INDEXES.into_iter().chain(digests).map(text).collect();
        }
        (Question::Image | Question::BaseImage, _) => &[
            "{}",
            r#"{"manifest": {}, "config": {}}"#,
            r#"{"manifest": {"config": {"mediaType": ""}}, "config": {}}"#,
            r#"{"manifest": {"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "config": {}}"#,
            r#"{"manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, "config": null}"#,
            r#"{"manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, "config": []}"#,
            r#"{"manifest": [["application/vnd.oci.image.config.v1+json"]], "config": {}}"#,
            r#"{"manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, "config": {"created": -1}}"#,
            r#"{"manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, "config": {"config": {"Labels": []}}}"#,
            r#"{"manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, "config": {}, "digest": "latest"}"#,
        ],
        (Question::Reports, _) => &[
            "{}",
            r#"{"items": null}"#,
            r#"{"items": 7}"#,
            r#"{"items": {}}"#,
            r#"{"items": [7]}"#,
            r#"{"items": [{}]}"#,
            r#"{"items": [[]]}"#,
            r#"{"items": [{"metadata": {"name": -1}}]}"#,
        ],
        (Question::Report, "sbomscanner") => &[
            "{}",
            r#"{"report": null}"#,
            r#"{"report": {}}"#,
            r#"{"report": [[]]}"#,
            r#"{"report": {"results": [[[]]]}}"#,
            r#"{"report": {"results": [{"vulnerabilities": [["CVE-2026-0001", "low"]]}]}}"#,
            r#"{"report": {"results": [{"vulnerabilities": [{"cve": "", "severity": ""}, {"cve": "", "severity": "9.8"}]}]}}"#,
        ],
        (Question::Report, "trivyOperator") => &[
            "{}",
            r#"{"report": {}}"#,
            r#"{"report": [null, []]}"#,
            r#"{"report": {"vulnerabilities": -1}}"#,
            r#"{"report": {"vulnerabilities": [{"vulnerabilityID": "x", "severity": "worst"}]}}"#,
        ],
        (Question::Report, "quay") => &[
            "{}",
            r#"{"spec": {}}"#,
            r#"{"spec": ["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]}"#,
            r#"{"spec": {"manifest": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "features": {}}}"#,
        ],
        (Question::Report, _) => &[
            "{}",
            r#"{"spec": {}}"#,
            r#"{"spec": [null, [[]]]}"#,
            r#"{"spec": {"payload": [[]]}}"#,
            r#"{"spec": {"payload": {"matches": {}}}}"#,
        ],
        (Question::Access | Question::Permission, _) => &[],
    };
    texts.iter().map(|nonsense| text(nonsense)).collect()
}

/// Too much text that is not an answer.
fn floods() -> Vec<Fault> {
    let padded = |text: String| Ok(text.into_bytes());
    vec![
        always("an error of 10 MiB", Err("x".repeat(TEN_MIB))),
        always("an error of 10 MiB of lines", Err("\nx".repeat(TEN_MIB / 2))),
        always("10 MiB of blanks", Ok(vec![b' '; TEN_MIB])),
        always("10 MiB of zeros", Ok(vec![0; TEN_MIB])),
        always("a string of 10 MiB", padded(json!("x".repeat(TEN_MIB)).to_string())),
        always("10 MiB of lists in lists", padded("[".repeat(TEN_MIB / 2) + &"]".repeat(TEN_MIB / 2))),
        always("10 MiB of lists that do not end", Ok(vec![b'['; TEN_MIB])),
        always("10 MiB of objects in objects", padded(r#"{"manifests":"#.repeat(TEN_MIB / 13))),
        always("a digest of 10 MiB", padded(json!({"digest": format!("sha256:{}", "a".repeat(TEN_MIB))}).to_string())),
        always(
            "10 MiB of items",
            padded(format!(r#"{{"manifests":[{0}],"items":[{0}]}}"#, vec!["7"; TEN_MIB / 4].join(","))),
        ),
        always("a key of 10 MiB", padded(json!({"x".repeat(TEN_MIB): 1, "items": 1, "manifests": 1}).to_string())),
    ]
}

/// What a rule, or evidence errors, want done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Off,
    Warn,
    Deny,
}

const ACTIONS: [Action; 3] = [Action::Off, Action::Warn, Action::Deny];

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

/// The situation of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Situation {
    Created,
    /// An UPDATE that does not change the image.
    Unchanged,
    /// A request by one of Kubernetes' own controllers.
    Controller,
    /// Break-glass by a user on call.
    Emergency,
    /// Break-glass by another user.
    NoEmergency,
}

const SITUATIONS: [Situation; 5] =
    [Situation::Created, Situation::Unchanged, Situation::Controller, Situation::Emergency, Situation::NoEmergency];

impl Situation {
    /// Whether it admits a request that would be denied.
    fn lets_pass(self) -> bool {
        !matches!(self, Self::Created | Self::NoEmergency)
    }

    fn request(self, image: &str) -> Value {
        let tries = matches!(self, Self::Emergency | Self::NoEmergency);
        let annotations = if tries { json!({"container-patch.dev/break-glass": "INC-7"}) } else { json!({}) };
        let object = json!({
            "metadata": {"annotations": annotations},
            "spec": {"containers": [{"name": "app", "image": image}]},
        });
        let user = match self {
            Self::Controller => json!({"username": "system:serviceaccount:kube-system:replicaset-controller"}),
            Self::Emergency => json!({"username": "jane", "groups": ["oncall"]}),
            _ => json!({"username": "jane", "groups": ["developers"]}),
        };
        let old = (self == Self::Unchanged).then(|| object.clone());
        json!({
            "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop", "userInfo": user,
            "operation": if old.is_some() { "UPDATE" } else { "CREATE" }, "object": object, "oldObject": old,
        })
    }
}

/// The settings.
#[derive(Debug, Clone, Copy)]
struct Rules {
    pinning: &'static str,
    schedule: Action,
    base_image: Action,
    scan: Action,
    evidence_errors: Action,
    source: &'static str,
}

impl Rules {
    fn settings(&self) -> Value {
        json!({
            "evaluateAt": "2026-11-20T12:00:00Z",
            "pinning": {"action": self.pinning},
            "schedule": {"action": self.schedule.word()},
            "baseImage": {"action": self.base_image.word(), "unknown": "deny"},
            "scan": {"action": self.scan.word(), "reports": [{"source": self.source, "namespace": "scans"}]},
            "enforcement": {"evidenceErrors": self.evidence_errors.word()},
            "breakGlass": {"groups": ["oncall"], "rbac": true},
        })
    }

    /// The hardest of the rules that need the answer to a question about an image with a digest.
    fn asking(&self, question: Question) -> Action {
        match question {
            Question::Image | Question::Index => self.schedule.max(self.base_image).max(self.scan),
            Question::BaseDigest | Question::BaseIndex | Question::BaseImage => self.base_image,
            Question::Access | Question::Reports | Question::Report => self.scan,
            Question::Digest | Question::Permission => Action::Off,
        }
    }
}

/// A host with one fault, which records its questions.
struct FaultyHost {
    source: &'static str,
    faulty: Question,
    fault: Arc<Fault>,
    asked: Mutex<BTreeSet<Question>>,
}

impl Capabilities for FaultyHost {
    fn answer(&self, call: HostCall) -> Answer {
        let question = question(&call);
        self.asked.lock().unwrap().insert(question);
        let sound = sound(self.source, question);
        if question == self.faulty { self.fault.1(&sound.unwrap_or_default()) } else { sound }
    }
}

/// A response of the policy, and what was asked for it.
struct Judged {
    accepted: bool,
    codes: Vec<String>,
    response: Value,
    asked: BTreeSet<Question>,
}

fn evaluate(policy: &Policy, host: Arc<dyn Capabilities>, request: &Value, settings: &Value) -> anyhow::Result<Value> {
    let payload = json!({"request": request, "settings": settings}).to_string();
    let response = policy.call("validate", payload.as_bytes(), &host, &policy.declared_resources())?;
    assert!(response.len() < 64 << 10, "a response of {} bytes repeats what the host says", response.len());
    Ok(serde_json::from_slice(&response)?)
}

fn judge(faulty: Question, fault: &Arc<Fault>, rules: &Rules, situation: Situation, image: &str) -> Judged {
    let (source, fault) = (rules.source, Arc::clone(fault));
    let host = Arc::new(FaultyHost { source, faulty, fault, asked: Mutex::default() });
    let response = evaluate(&POLICY, Arc::<FaultyHost>::clone(&host), &situation.request(image), &rules.settings())
        .unwrap_or_else(|error| panic!("{faulty:?}, {}: {rules:?} {situation:?}: {error:#}", host.fault.0));
    let findings = response["audit_annotations"]["findings"].as_str().unwrap_or("[]");
    let findings: Vec<Value> = serde_json::from_str(findings).unwrap();
    let code = |finding: &Value| finding["code"].as_str().unwrap_or("omitted").to_owned();
    let codes = findings.iter().map(code).collect();
    let asked = host.asked.lock().unwrap().clone();
    Judged { accepted: response["accepted"] == json!(true), codes, response, asked }
}

/// Each finding is one line of limited length without control characters.
fn assert_readable(judged: &Judged, case: &str) {
    let warnings = judged.response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for line in judged.response["message"].as_str().into_iter().flat_map(str::lines).chain(warnings) {
        assert!(line.len() < 1500, "{case}: {} bytes: {line}", line.len());
        assert!(!line.chars().any(char::is_control), "{case}: {line:?}");
    }
}

/// The contract: `asking` is the hardest of the rules that needed the answer, `otherwise` whether the image is refused in any
/// case.
fn assert_contract(judged: &Judged, asking: Action, otherwise: bool, rules: &Rules, situation: Situation, case: &str) {
    let is_decisive = asking.min(rules.evidence_errors) == Action::Deny;
    let expected = (is_decisive || otherwise) && !situation.lets_pass();
    assert_eq!(!judged.accepted, expected, "{case}: refused: {}", judged.response);
    let is_reported = judged.codes.iter().any(|code| code == "evidence-unavailable");
    assert_eq!(is_reported, asking > Action::Off, "{case}: reported: {}", judged.response);
    assert_readable(judged, case);
}

/// Checks every combination of settings and situations with one fault.
fn assert_denied_unless_allowed(
    faulty: Question,
    source: &'static str,
    faults: Vec<Fault>,
    combinations: &[[Action; 3]],
) {
    let image = format!("registry.example.com/app:1@{DIGEST}");
    for fault in faults.into_iter().map(Arc::new) {
        for [schedule, base_image, scan] in combinations.iter().copied() {
            for evidence_errors in [Action::Warn, Action::Deny] {
                for situation in SITUATIONS {
                    let rules = Rules { pinning: "deny", schedule, base_image, scan, evidence_errors, source };
                    let judged = judge(faulty, &fault, &rules, situation, &image);
                    let (asking, case) =
                        (rules.asking(faulty), format!("{faulty:?}, {}: {rules:?} {situation:?}", fault.0));
                    assert_eq!(judged.asked.contains(&faulty), asking > Action::Off, "{case}: asked");
                    assert_contract(&judged, asking, false, &rules, situation, &case);
                    assert_eq!(judged.response.get("mutated_object"), None, "{case}");
                }
            }
        }
    }
}

/// Every combination of what three rules do.
fn every_combination() -> Vec<[Action; 3]> {
    let pairs = ACTIONS.iter().flat_map(|schedule| ACTIONS.iter().map(move |base| (*schedule, *base)));
    pairs.flat_map(|(schedule, base)| ACTIONS.iter().map(move |scan| [schedule, base, *scan])).collect()
}

fn faults(source: &str, question: Question) -> Vec<Fault> {
    let mut faults = failures();
    // Whether reports may be read is told by an error; what is read is not looked at.
    if question != Question::Access {
        faults.extend(garbage());
        faults.extend(nonsense(source, question));
    }
    faults
}

#[test]
fn an_image_without_an_answer_from_its_registry_is_denied_unless_the_settings_allow_it() {
    let question = Question::Image;
    assert_denied_unless_allowed(question, "sbomscanner", faults("sbomscanner", question), &every_combination());
}

#[test]
fn an_image_without_an_answer_about_its_base_is_denied_unless_the_settings_allow_it() {
    for question in [Question::BaseDigest, Question::BaseIndex, Question::BaseImage] {
        assert_denied_unless_allowed(question, "sbomscanner", faults("sbomscanner", question), &every_combination());
    }
}

#[test]
fn an_image_without_an_answer_about_its_reports_is_denied_unless_the_settings_allow_it() {
    let combinations = every_combination();
    for question in [Question::Index, Question::Access, Question::Reports, Question::Report] {
        assert_denied_unless_allowed(question, "sbomscanner", faults("sbomscanner", question), &combinations);
    }
    let scan_alone = ACTIONS.map(|scan| [Action::Off, Action::Off, scan]);
    for source in ["trivyOperator", "kubescape"] {
        for question in [Question::Index, Question::Access, Question::Reports, Question::Report] {
            assert_denied_unless_allowed(question, source, faults(source, question), &scan_alone);
        }
    }
    assert_denied_unless_allowed(Question::Report, "quay", faults("quay", Question::Report), &scan_alone);
}

#[test]
fn an_image_without_a_digest_from_its_registry_is_never_pinned_and_is_denied_unless_the_settings_allow_it() {
    for fault in faults("sbomscanner", Question::Digest).into_iter().map(Arc::new) {
        for pinning in ["pin", "deny", "warn", "off"] {
            for (scan, evidence_errors) in
                ACTIONS.iter().flat_map(|scan| [Action::Warn, Action::Deny].map(|e| (*scan, e)))
            {
                for situation in SITUATIONS {
                    let off = Action::Off;
                    let rules =
                        Rules { pinning, schedule: off, base_image: off, scan, evidence_errors, source: "sbomscanner" };
                    let judged = judge(Question::Digest, &fault, &rules, situation, "registry.example.com/app:1");
                    let case = format!("{}: {rules:?} {situation:?}", fault.0);
                    // What was let in before is not pinned.
                    let pins = pinning == "pin" && situation != Situation::Unchanged;
                    let asking = if pins { Action::Deny } else { scan };
                    assert_contract(&judged, asking, pinning == "deny", &rules, situation, &case);
                    assert_eq!(judged.response.get("mutated_object"), None, "{case}");
                }
            }
        }
    }
}

#[test]
fn break_glass_is_refused_without_an_answer_about_the_permission() {
    let mut faults: Vec<Fault> = failures().into_iter().chain(garbage()).chain(floods()).collect();
    faults.extend(
        [
            "{}",
            r#"{"allowed": null}"#,
            r#"{"allowed": "true"}"#,
            r#"{"allowed": 1}"#,
            r#"{"allowed": [true]}"#,
            r#"{"Allowed": true}"#,
            r#"{"allowed": false}"#,
            r#"{"allowed": true, "denied": true}"#,
            r#"{"allowed": true, "denied": "true"}"#,
            r#"{"status": {"allowed": true}}"#,
            "[true, false]",
        ]
        .map(text),
    );
    let off = Action::Off;
    let rules = Rules {
        pinning: "deny",
        schedule: off,
        base_image: off,
        scan: off,
        evidence_errors: Action::Warn,
        source: "quay",
    };
    let judge = |fault: Fault| {
        let (name, answer) = fault;
        let fault: Fault = (name, Box::new(move |_| answer(br#"{"allowed":true}"#)));
        judge(Question::Permission, &Arc::new(fault), &rules, Situation::NoEmergency, "registry.example.com/app:1")
    };
    for fault in faults {
        let name = fault.0;
        let judged = judge(fault);
        assert!(judged.asked.contains(&Question::Permission), "{name}");
        assert!(!judged.accepted, "{name}: {}", judged.response);
        assert_readable(&judged, name);
    }
    assert!(judge(("a sound answer", Box::new(|sound| Ok(sound.to_vec())))).accepted);
}

#[test]
fn answers_that_are_too_long_are_refused_and_not_repeated() {
    let deny = Action::Deny;
    let (image, source) = (format!("registry.example.com/app:1@{DIGEST}"), "sbomscanner");
    for fault in floods().into_iter().map(Arc::new) {
        for question in [
            Question::Image,
            Question::BaseDigest,
            Question::BaseIndex,
            Question::BaseImage,
            Question::Index,
            Question::Reports,
            Question::Report,
        ] {
            // An answer without manifests is a single image.
            if matches!(question, Question::Index | Question::BaseIndex) && fault.0 == "a digest of 10 MiB" {
                continue;
            }
            for evidence_errors in [Action::Warn, deny] {
                let rules =
                    Rules { pinning: "deny", schedule: deny, base_image: deny, scan: deny, evidence_errors, source };
                let case = format!("{question:?}, {}: {evidence_errors:?}", fault.0);
                let judged = judge(question, &fault, &rules, Situation::Created, &image);
                assert_contract(&judged, deny, false, &rules, Situation::Created, &case);
            }
        }
        let rules =
            Rules { pinning: "pin", schedule: deny, base_image: deny, scan: deny, evidence_errors: deny, source };
        let judged = judge(Question::Digest, &fault, &rules, Situation::Created, "registry.example.com/app:1");
        assert_contract(&judged, deny, false, &rules, Situation::Created, fault.0);
    }
}

#[test]
fn long_valid_answers_are_read() {
    let blank: Fault = ("blanks before it", Box::new(|sound| Ok([&vec![b' '; TEN_MIB], sound].concat())));
    let more: Fault = (
        "fields that nobody asks for",
        Box::new(|sound| Ok([b"{\"more\":\"", &vec![b'x'; TEN_MIB][..], b"\",", &sound[1..]].concat())),
    );
    let deny = Action::Deny;
    let image = format!("registry.example.com/app:1@{DIGEST}");
    for fault in [Arc::new(blank), Arc::new(more)] {
        for source in ["sbomscanner", "trivyOperator", "kubescape", "quay"] {
            let questions =
                [Question::Image, Question::BaseDigest, Question::BaseIndex, Question::BaseImage, Question::Report];
            let listed = [Question::Index, Question::Reports].into_iter().filter(|_| source != "quay");
            for question in questions.into_iter().chain(listed) {
                let rules = Rules {
                    pinning: "deny",
                    schedule: deny,
                    base_image: deny,
                    scan: deny,
                    evidence_errors: deny,
                    source,
                };
                let judged = judge(question, &fault, &rules, Situation::Created, &image);
                let case = format!("{source}, {question:?}, {}: {}", fault.0, judged.response);
                assert!(judged.asked.contains(&question), "{case}");
                assert!(judged.accepted, "{case}");
                assert_eq!(judged.codes, ["evaluate-at-set", "base-update-due"], "{case}");
            }
        }
    }
}

#[test]
fn a_late_answer_interrupts_the_evaluation_and_so_denies() {
    struct Hanging(Question, Clock);
    impl Capabilities for Hanging {
        fn answer(&self, call: HostCall) -> Answer {
            let question = question(&call);
            if question == self.0 {
                // As many seconds as policy-server gives the policy.
                (0..2).for_each(|_| self.1.tick());
            }
            sound("sbomscanner", question)
        }
    }
    // The clock is that of one engine: others would be interrupted, too.
    let policy = Policy::embedded().unwrap();
    let (deny, pinned, tagged) =
        (Action::Deny, format!("registry.example.com/app:1@{DIGEST}"), "registry.example.com/app:1");
    for (question, pinning, image) in [
        (Question::Digest, "pin", tagged),
        (Question::Image, "pin", &pinned),
        (Question::BaseDigest, "pin", &pinned),
        (Question::BaseIndex, "pin", &pinned),
        (Question::BaseImage, "pin", &pinned),
        (Question::Index, "pin", &pinned),
        (Question::Access, "pin", &pinned),
        (Question::Reports, "pin", &pinned),
        (Question::Report, "pin", &pinned),
        (Question::Permission, "deny", tagged),
    ] {
        for evidence_errors in [Action::Warn, deny] {
            let rules =
                Rules { pinning, schedule: deny, base_image: deny, scan: deny, evidence_errors, source: "sbomscanner" };
            let hanging = Arc::new(Hanging(question, policy.clock().clone()));
            let outcome = evaluate(&policy, hanging, &Situation::NoEmergency.request(image), &rules.settings());
            assert!(outcome.as_ref().is_err_and(|error| error.is::<Interrupted>()), "{question:?}: {outcome:?}");
        }
    }
}

#[test]
fn nonsense_about_an_image_does_not_clear_it() {
    let rules = json!({
        "evaluateAt": "2026-11-20T12:00:00Z", "pinning": {"action": "off"}, "baseImage": {"action": "deny", "unknown": "deny"},
        "schedule": {"unknownBuildDate": "deny"},
    });
    struct Told(Value);
    impl Capabilities for Told {
        fn answer(&self, call: HostCall) -> Answer {
            let mut answer: Value = serde_json::from_slice(&sound("quay", question(&call))?).unwrap();
            if question(&call) == Question::Image {
                json_patch::merge(&mut answer, &self.0);
            }
            Ok(answer.to_string().into_bytes())
        }
    }
    let labels = |key: &str, value: &str| json!({"config": {"config": {"Labels": {key: value}}}});
    let (base, base_digest) = ("org.opencontainers.image.base.name", "org.opencontainers.image.base.digest");
    let found = "quality.images.openshift.io/vulnerability.x";
    for (told, code) in [
        (json!({"config": {"created": ""}}), "unknown-build-date"),
        (json!({"config": {"created": "0000-00-00T00:00:00Z"}}), "unknown-build-date"),
        (json!({"config": {"created": "-1"}}), "unknown-build-date"),
        (json!({"config": {"created": "9999-12-31T23:59:59Z"}}), "future-build-date"),
        (json!({"config": {"created": "99999999999999-12-31T23:59:59Z"}}), "unknown-build-date"),
        (json!({"config": {"created": "1".repeat(1 << 20)}}), "unknown-build-date"),
        (labels(base, ""), "unknown-base-image"),
        (labels(base, "no base at all"), "unknown-base-image"),
        (labels(base, &"b".repeat(1 << 20)), "unknown-base-image"),
        (labels(base_digest, "sha256:abc"), "unknown-base-image"),
        (labels(found, ""), "scan-flagged"),
        (labels(found, "{}"), "scan-flagged"),
        (
            labels(found, r#"{"timestamp": "2026-11-19T00:00:00Z", "summary": [{"label": "critical", "data": -1}]}"#),
            "scan-flagged",
        ),
        (
            labels(
                found,
                r#"{"timestamp": "2026-11-19T00:00:00Z", "summary": [{"label": "critical", "data": 1e999}]}"#,
            ),
            "scan-flagged",
        ),
        (
            labels(
                found,
                r#"{"timestamp": "2026-11-19T00:00:00Z", "summary": [{"label": "critical", "data": 18446744073709551615}]}"#,
            ),
            "vulnerable-image",
        ),
        (labels(found, r#"{"timestamp": -62135596800, "compliant": true}"#), "scan-flagged"),
        (labels(found, r#"{"timestamp": 99999999999999999999, "compliant": true}"#), "scan-flagged"),
        (labels("images.openshift.io/deny-execution", "maybe"), "scan-flagged"),
    ] {
        let request = Situation::Created.request(&format!("registry.example.com/app:1@{DIGEST}"));
        let shown: String = told.to_string().chars().take(200).collect();
        let response = evaluate(&POLICY, Arc::new(Told(told)), &request, &rules).unwrap();
        assert_eq!(response["accepted"], json!(false), "{shown}: {response}");
        let message = response["message"].as_str().unwrap();
        assert!(message.ends_with(&format!("[{code}]")), "{shown}\n  expected: {code}\n  found:    {message}");
    }
}
