//! The worst that the policy is given takes a bounded number of instructions, so that it ends well inside of the time that policy-server
//! gives it. A request holds at most 3 MiB of one object, and settings as much as etcd stores of a policy; answers of registries and the
//! cluster have only the limits of the policy itself.

mod metered;

use std::sync::Arc;

use container_patch::capabilities::{Answer, Capabilities, HostCall};
use container_patch::policy::Policy;
use serde_json::{Value, json};

const MIB: usize = 1 << 20;
/// The largest object that an API server takes.
const OBJECT: usize = 3 * MIB;
/// The most images of an object that are judged.
const MOST_IMAGES: usize = 1024;
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The most instructions for a request, about an eighth more than the worst one takes. Its 6 billion instructions take less
/// than the 2 s of policy-server.
const BOUND: u64 = 6_700_000_000;

/// The answers of a host.
type Answers = Box<dyn Fn(&HostCall) -> Answer + Send + Sync>;

struct FakeHost(Answers);

impl Capabilities for FakeHost {
    fn answer(&self, call: HostCall) -> Answer {
        self.0(&call)
    }
}

/// Valid answers about any image.
fn sound(call: &HostCall) -> Answer {
    let answer = match call {
        HostCall::OciManifestDigest(_) => json!({"digest": DIGEST}),
        HostCall::OciManifest(_) => json!({"layers": []}),
        HostCall::OciManifestAndConfig(_) => image(""),
        HostCall::KubernetesGetResource(get) => return Err(format!("Cannot find x named '{}'", get.name)),
        HostCall::KubernetesCanI(_) => json!({"allowed": false}),
        _ => json!({"items": []}),
    };
    Ok(answer.to_string().into_bytes())
}

/// A host without answers.
fn silent(_: &HostCall) -> Answer {
    Err("Host error: connection refused".to_owned())
}

/// An image with these labels, in JSON.
fn image(labels: &str) -> Value {
    let labels: Value = serde_json::from_str(&format!("{{{labels}}}")).unwrap();
    json!({
        "digest": DIGEST,
        "manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST}},
        "config": {"created": "2026-11-01T00:00:00Z", "config": {"Labels": labels}},
    })
}

/// As many items as fit.
fn fill(bytes: usize, item: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(bytes);
    for index in 0.. {
        let next = item(index);
        if text.len() + next.len() >= bytes {
            break;
        }
        if index > 0 {
            text.push(',');
        }
        text += &next;
    }
    text
}

/// So many items.
fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

fn pod(annotations: &str, containers: &str) -> String {
    format!(r#"{{"metadata":{{"annotations":{{{annotations}}}}},"spec":{{"containers":[{containers}]}}}}"#)
}

fn request(operation: &str, object: &str, old: &str) -> String {
    format!(
        r#"{{"kind":{{"group":"","version":"v1","kind":"Pod"}},"operation":"{operation}","namespace":"shop",
            "userInfo":{{"username":"jane"}},"object":{object},"oldObject":{old}}}"#
    )
}

fn create(annotations: &str, containers: &str) -> String {
    request("CREATE", &pod(annotations, containers), "null")
}

fn small(index: usize) -> String {
    format!(r#"{{"image":"a:{index}"}}"#)
}

/// A container with an image whose name is as long as runtimes understand.
fn long(index: usize) -> String {
    format!(r#"{{"name":"container-{index}","image":"registry.example.com/{}:{index}"}}"#, "a".repeat(234))
}

/// One more spelling of an annotation that flags an image.
fn flag(index: usize) -> String {
    let key = "images.openshift.io/deny-execution"
        .char_indices()
        .map(|(at, letter)| if index >> (at % 31) & 1 == 1 { letter.to_ascii_uppercase() } else { letter });
    format!(r#""{}":"1""#, key.collect::<String>())
}

/// A scan result in an annotation or a label, of nearly the length that is read, in a JSON string.
fn result(index: usize) -> String {
    let found = fill(100 << 10, |id| format!(r#"{{\"id\":\"C{id}\",\"severity\":\"low\",\"fixedVersion\":\"1\"}}"#));
    format!(
        r#""quality.images.openshift.io/vulnerability.p{index:02}":"{{\"timestamp\":\"2026-11-01T00:00:00Z\",\"vulnerabilities\":[{found}]}}""#
    )
}

/// Settings under which scans alone are judged, by these.
fn scan(settings: &str) -> String {
    let off = r#"{"action":"off"}"#;
    format!(
        r#"{{"evaluateAt":"2026-11-20T12:00:00Z","pinning":{off},"schedule":{off},"baseImage":{off},"scan":{settings}}}"#
    )
}

const EVERY_SEVERITY: &str =
    r#"{"podAnnotations":"trust","maxAllowed":{"critical":0,"high":0,"medium":0,"low":0,"negligible":0,"unknown":0}}"#;

/// A name, a request, settings, the answers of the host, and a part of the response.
type Input = (&'static str, String, String, Answers, &'static str);

fn inputs_of_requesters() -> Vec<Input> {
    let filler = format!(r#""filler":"{}""#, "x".repeat(OBJECT - MIB));
    let most = |container: fn(usize) -> String| list(MOST_IMAGES, container);
    let deep = "[".repeat(OBJECT / 2) + &"]".repeat(OBJECT / 2);
    let too_many = pod("", &fill(OBJECT, small));
    let last = fill(OBJECT, small) + r#",{"image":7}"#;
    let groups = fill(OBJECT, |index| format!("\"{index}\""));
    let emergency = create(r#""container-patch.dev/break-glass":"now""#, r#"{"image":"A"}"#)
        .replace(r#""username":"jane""#, &format!(r#""username":"jane","groups":[{groups}]"#));
    let on_call =
        format!(r#"{{"breakGlass":{{"rbac":true,"groups":[{}]}}}}"#, fill(MIB, |index| format!(r#""g{index}""#)));
    let default = || "{}".to_owned();
    vec![
        (
            "more images than are judged",
            create("", &fill(OBJECT, small)),
            default(),
            Box::new(sound),
            "over the limit of 1024",
        ),
        (
            "an update of as many",
            request("UPDATE", &too_many, &too_many),
            default(),
            Box::new(sound),
            "over the limit of 1024",
        ),
        ("the last one malformed", create("", &last), default(), Box::new(sound), "invalid type: integer `7`"),
        (
            "images to pin in a large object",
            create(&filler, &most(long)),
            default(),
            Box::new(sound),
            r#""accepted":true"#,
        ),
        ("images without answers", create(&filler, &most(long)), default(), Box::new(silent), "[evidence-unavailable]"),
        (
            "images without a tag",
            create("", &most(|index| format!(r#"{{"image":"a{index}"}}"#))),
            r#"{"pinning":{"action":"deny"}}"#.to_owned(),
            Box::new(sound),
            "[forbidden-tag]",
        ),
        (
            "flags for every image",
            create(&fill(OBJECT - MIB / 10, flag), &most(small)),
            scan("{}"),
            Box::new(sound),
            "[scan-flagged]",
        ),
        (
            "scan results for every image",
            create(&fill(OBJECT - MIB / 10, result), &most(small)),
            scan(EVERY_SEVERITY),
            Box::new(sound),
            "name more than 4096 vulnerabilities",
        ),
        (
            "scan results for every image, as many as are read",
            create(&fill(256 << 10, result), &most(small)),
            scan(EVERY_SEVERITY),
            Box::new(sound),
            "[vulnerable-image]",
        ),
        (
            "deep nesting",
            request("CREATE", &format!(r#"{{"spec":{{"x":{deep}}}}}"#), "null"),
            default(),
            Box::new(sound),
            r#""accepted":true"#,
        ),
        ("a user in every group", emergency, on_call, Box::new(sound), "is accepted only from"),
    ]
}

fn inputs_of_admins() -> Vec<Input> {
    let nasty = |index: usize| format!("*a*a*a*a*a*a*a*b{index}");
    let overrides = list(200, |index| format!(r#"{{"images":["{}"],"pinning":{{"action":"warn"}}}}"#, nasty(index)));
    let exceptions = list(200, |index| {
        format!(r#"{{"images":["{}"],"rules":["stale-image"],"until":"2026-12-31","reason":"x"}}"#, nasty(index))
    });
    let patterns = format!(r#"{{"overrides":[{overrides}],"exceptions":[{exceptions}]}}"#);
    // Each freeze begins where another one ends, and they are listed backwards.
    let first = chrono::NaiveDate::from_ymd_opt(2026, 11, 1).unwrap();
    let freezes = list(10_000, |index| {
        let day = first + chrono::Days::new(10_000 - index as u64);
        format!(r#"{{"from":"{day}","to":"{day}","reason":"x"}}"#)
    });
    let freezes =
        format!(r#"{{"evaluateAt":"2026-11-20T12:00:00Z","schedule":{{"maxAge":"1d","freezes":[{freezes}]}}}}"#);
    // A dated freeze on the only day of each year that yearly ones leave free.
    let free_days = list(5000, |index| format!(r#"{{"from":"{}-01-02","to":"{0}-01-02","reason":"x"}}"#, 7000 - index));
    let yearly = list(5000, |_| r#"{"from":"01-03","to":"01-01","reason":"x"}"#.to_owned());
    let yearly_freezes = format!(
        r#"{{"evaluateAt":"2026-11-20T12:00:00Z","schedule":{{"maxAge":"1d","freezes":[{yearly},{free_days}]}}}}"#
    );
    // The next opening is more than a year ahead. The images are not pinned, so that the registry is not asked.
    let windows = |count| {
        let windows = list(count, |_| r#"{"cron":"0 0 29 2 SUN#L","timeZone":"Europe/Berlin","for":"90m"}"#.to_owned());
        format!(
            r#"{{"evaluateAt":"2026-11-20T12:00:00Z","pinning":{{"action":"off"}},"rollout":{{"windows":[{windows}]}}}}"#
        )
    };
    let refused = |name: &'static str, keys: String| -> Input {
        (name, create("", &list(3, small)), format!("{{{keys}}}"), Box::new(sound), r#""accepted":false"#)
    };
    vec![
        (
            "patterns that nearly match",
            create("", &list(MOST_IMAGES, long)),
            patterns,
            Box::new(sound),
            r#""accepted":true"#,
        ),
        ("a freeze on every day", create("", &list(30, small)), freezes, Box::new(sound), r#""accepted":true"#),
        (
            "yearly freezes on nearly every day, and dated ones on the others",
            create("", &list(30, small)),
            yearly_freezes,
            Box::new(sound),
            r#""accepted":true"#,
        ),
        (
            "many windows that are closed",
            create("", &list(30, small)),
            windows(1000),
            Box::new(sound),
            "[outside-window]",
        ),
        (
            "many images outside of the windows",
            create("", &list(MOST_IMAGES, small)),
            windows(10),
            Box::new(sound),
            "[outside-window]",
        ),
        refused("unknown keys", list(90_000, |index| format!(r#""key{index}":1"#))),
        refused("keys that are given twice", list(90_000, |_| r#""pinning":1"#.to_owned())),
        refused("wrong values", format!(r#""exempt":[{}]"#, list(500_000, |_| "1".to_owned()))),
        refused("a long unknown key", format!(r#""{}":1"#, "x".repeat(1 << 20))),
        refused(
            "a long time zone",
            format!(r#""schedule":{{"patchDays":{{"cron":"@daily","timeZone":"{}"}}}}"#, "x".repeat(1 << 20)),
        ),
        refused("a long duration", format!(r#""schedule":{{"maxAge":"{}"}}"#, "1d ".repeat(300_000) + "x")),
        refused(
            "long words",
            format!(r#""pinning":{{"action":"{0}"}},"exceptions":[{{"rules":["{0}"]}}]"#, "x".repeat(1 << 19)),
        ),
    ]
}

/// Settings, and answers with a report of SBOMscanner that has this number of vulnerabilities.
fn report_of(vulnerabilities: usize, excepted: usize) -> (String, Answers) {
    let found = list(vulnerabilities, |id| {
        format!(r#"{{"cve":"CVE-2026-{id:05}","severity":"critical","fixedVersions":["1"],"packageName":"p"}}"#)
    });
    let report = format!(r#"{{"report":{{"results":[{{"vulnerabilities":[{found}]}}]}}}}"#);
    let cves = list(excepted, |id| format!(r#""cve-2026-{id:05}""#));
    let exceptions = format!(r#"[{{"images":["*"],"cves":[{cves}],"until":"2026-12-31","reason":"x"}}]"#);
    let settings =
        scan(r#"{"reports":[{"source":"sbomscanner"}]}"#).replacen('{', &format!(r#"{{"exceptions":{exceptions},"#), 1);
    let answers = move |call: &HostCall| match call {
        HostCall::KubernetesListResourceNamespace(_) => {
            Ok(json!({"items": [{"metadata": {"name": "r"}, "imageMetadata": {"digest": DIGEST}}]})
                .to_string()
                .into_bytes())
        }
        HostCall::KubernetesGetResource(get) if get.name == "r" => Ok(report.clone().into_bytes()),
        call => sound(call),
    };
    (settings, Box::new(answers))
}

/// Settings, and answers with this number of reports of Trivy Operator about an image in the workload's namespace.
fn reports_of(count: usize) -> (String, Answers) {
    let summary = r#"{"criticalCount":1,"highCount":1,"mediumCount":1,"lowCount":1,"unknownCount":1}"#;
    let listed = list(count, |index| {
        format!(
            r#"{{"metadata":{{"name":"r{index}"}},"report":{{"artifact":{{"digest":"{DIGEST}"}},"summary":{summary},
                "updateTimestamp":"2026-11-19T08:00:00Z"}}}}"#
        )
    });
    let listed = format!(r#"{{"items":[{listed}]}}"#);
    let found = list(100, |id| {
        format!(r#"{{"vulnerabilityID":"CVE-2026-{id:05}","severity":"CRITICAL","fixedVersion":"1","resource":"p"}}"#)
    });
    let report = format!(r#"{{"report":{{"vulnerabilities":[{found}]}}}}"#);
    let answers = move |call: &HostCall| match call {
        HostCall::KubernetesListResourceNamespace(_) => Ok(listed.clone().into_bytes()),
        HostCall::KubernetesGetResource(get) if get.name.starts_with('r') => Ok(report.clone().into_bytes()),
        call => sound(call),
    };
    (scan(r#"{"reports":[{"source":"trivyOperator"}]}"#), Box::new(answers))
}

fn inputs_of_registries_and_clusters() -> Vec<Input> {
    let one = || create("", r#"{"image":"a:1"}"#);
    let few = || create("", &list(8, |index| format!(r#"{{"image":"a{index}:1"}}"#)));
    let long = 10 * MIB;
    let always = |answer: Answer| -> Answers { Box::new(move |_| answer.clone()) };
    let labelled = |labels: String| -> Answers {
        let answer = image(&labels).to_string().into_bytes();
        Box::new(move |call| match call {
            HostCall::OciManifestAndConfig(_) => Ok(answer.clone()),
            call => sound(call),
        })
    };
    let digest = |index: usize| format!("sha256:{index:064x}");
    let index =
        format!(r#"{{"manifests":[{}]}}"#, list(40_000, |index| format!(r#"{{"digest":"{}"}}"#, digest(index))));
    let reports = list(60_000, |index| {
        format!(r#"{{"metadata":{{"name":"r{index}"}},"imageMetadata":{{"digest":"{}"}}}}"#, digest(1_000_000 + index))
    });
    let reports = format!(r#"{{"items":[{reports}]}}"#);
    let listing: Answers = Box::new(move |call| match call {
        HostCall::KubernetesListResourceNamespace(_) => Ok(reports.clone().into_bytes()),
        HostCall::OciManifest(_) => Ok(index.clone().into_bytes()),
        call => sound(call),
    });
    let (many, many_found) = report_of(100_000, 60_000);
    let (shared, shared_found) = report_of(10_000, 1);
    let (written, written_reports) = reports_of(512);
    let (flooded, flood) = reports_of(60_000);
    let default = || "{}".to_owned();
    let sources = scan(r#"{"reports":[{"source":"sbomscanner"}]}"#);
    let same = create("", &list(MOST_IMAGES, |index| format!(r#"{{"image":"a:{index}@{DIGEST}"}}"#)));
    vec![
        ("blanks", few(), default(), always(Ok(vec![b' '; long])), "[evidence-unavailable]"),
        ("deep nesting", few(), default(), always(Ok(vec![b'['; long])), "[evidence-unavailable]"),
        ("errors of many lines", few(), default(), always(Err("\nx".repeat(long / 2))), "[evidence-unavailable]"),
        ("labels", few(), default(), labelled(fill(long, |index| format!(r#""l{index}":"v""#))), r#""accepted":true"#),
        ("scan results in labels", one(), scan(EVERY_SEVERITY), labelled(fill(long, result)), "[vulnerable-image]"),
        ("reports, and images in an index", one(), sources, listing, r#""accepted":true"#),
        ("a report and exceptions from it", one(), many, many_found, "[vulnerable-image]"),
        (
            "as many reports as are read about every container",
            same.clone(),
            written,
            written_reports,
            "[vulnerable-image]",
        ),
        ("more reports than are read", few(), flooded, flood, "at most 512 are read"),
        ("a report about every container", same, shared, shared_found, "[vulnerable-image]"),
    ]
}

fn assert_none_takes_long(inputs: Vec<Input>) {
    let allowed = Policy::embedded().unwrap().declared_resources();
    for (name, request, settings, answers, expected) in inputs {
        let payload = format!(r#"{{"request":{request},"settings":{settings}}}"#);
        let host = Arc::new(FakeHost(answers));
        let (executed, response) = metered::execute("validate", payload.as_bytes(), host, allowed.clone())
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let response = String::from_utf8(response).unwrap();
        let shown: String = response.chars().take(1000).collect();
        assert!(response.contains(expected), "{name}\n  expected: {expected}\n  found:    {shown}");
        assert!(executed < BOUND, "{name}: {executed} instructions, expected fewer than {BOUND}");
    }
}

#[test]
fn the_worst_requests_do_not_take_long() {
    assert_none_takes_long(inputs_of_requesters());
}

#[test]
fn the_worst_settings_do_not_take_long() {
    assert_none_takes_long(inputs_of_admins());
}

#[test]
fn the_search_for_windows_that_are_always_open_does_not_take_long() {
    let every_minute = r#"{"cron":"* * * * *","for":"1m","timeZone":"Europe/Berlin"}"#;
    let windows = list(10, |_| every_minute.to_owned());
    let overrides = list(20, |_| format!(r#"{{"images":["*"],"rollout":{{"windows":[{windows}]}}}}"#));
    let settings = format!(r#"{{"rollout":{{"windows":[{windows}]}},"overrides":[{overrides}]}}"#);
    let allowed = Policy::embedded().unwrap().declared_resources();
    let host = Arc::new(FakeHost(Box::new(silent)));
    let (executed, response) = metered::execute("validate_settings", settings.as_bytes(), host, allowed)
        .unwrap_or_else(|error| panic!("{error:#}"));
    let response = String::from_utf8(response).unwrap();
    assert!(response.contains(r#""valid":true"#), "{response}");
    assert!(executed < BOUND, "{executed} instructions, expected fewer than {BOUND}");
}

#[test]
fn the_worst_answers_of_registries_and_clusters_do_not_take_long() {
    assert_none_takes_long(inputs_of_registries_and_clusters());
}
