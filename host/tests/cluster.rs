//! What a policy is told of a cluster, by an API server that this plays on loopback.

mod api_server;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use api_server::{ApiServer, Asked, served};
use clap::Parser;
use container_patch::admission::AdmissionRequest;
use container_patch::capabilities::{
    AllowedResources, Answer, Capabilities, ContextAwareResource, HostCall, host_call,
};
use container_patch::live::{Live, LiveOptions};
use container_patch::policy::Policy;
use serde_json::{Value, json};

/// A timeout in seconds that is long enough on a busy machine.
const LONG_TIMEOUT: &str = "60";

#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Flags {
    #[command(flatten)]
    live: LiveOptions,
}

/// The API server of these tests.
trait OfAShop: Sized {
    /// An API server with the kinds and objects of [`cluster`].
    fn of_a_shop() -> Self;

    /// The live answers for a user with the kubeconfig and these flags.
    fn live(&self, flags: &[&str]) -> Live;
}

impl OfAShop for ApiServer {
    fn of_a_shop() -> Self {
        Self::with_answers(|asked| Some(cluster(asked)))
    }

    fn live(&self, flags: &[&str]) -> Live {
        let kubeconfig = self.kubeconfig();
        let given = ["test", "--cluster-timeout", LONG_TIMEOUT, "--kubeconfig", kubeconfig.to_str().unwrap()];
        Live::new(&Flags::parse_from(given.iter().chain(flags)).live).unwrap()
    }
}

/// A cluster with some namespaces, and with image policies by a CustomResourceDefinition.
fn cluster(asked: &Asked) -> (u16, Value) {
    let forbidden = || {
        let message = "secrets \"key\" is forbidden: User \"jane\" cannot get resource \"secrets\"";
        (403, json!({"kind": "Status", "status": "Failure", "message": message, "reason": "Forbidden", "code": 403}))
    };
    match asked.line.as_str() {
        "GET /api/v1" => (
            200,
            json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                served("namespaces/finalize", "Namespace", false), served("namespaces", "Namespace", false),
                served("pods", "Pod", true), served("secrets", "Secret", true),
            ]}),
        ),
        "GET /apis/example.com/v1" => (
            200,
            json!({"kind": "APIResourceList", "groupVersion": "example.com/v1", "resources": [
                served("rules", "Rule", true),
            ]}),
        ),
        "GET /api/v1/namespaces/shop" => (200, namespace("shop")),
        "GET /apis/example.com/v1/namespaces/shop/rules/one" => (200, rule("one")),
        "GET /api/v1/namespaces limit=500" => (
            200,
            json!({"kind": "NamespaceList", "apiVersion": "v1", "metadata": {"resourceVersion": "7", "continue": ""},
                "items": [namespace("shop"), namespace("till")]}),
        ),
        "GET /apis/example.com/v1/namespaces/shop/rules fieldSelector=spec.on%3Dtrue labelSelector=team%3Da limit=500" => {
            (
                200,
                json!({"kind": "RuleList", "apiVersion": "example.com/v1",
                "metadata": {"resourceVersion": "7", "continue": "more", "remainingItemCount": 2}, "items": [rule("one")]}),
            )
        }
        "GET /apis/example.com/v1/namespaces/shop/rules continue=more fieldSelector=spec.on%3Dtrue labelSelector=team%3Da limit=500" => {
            (
                200,
                json!({"kind": "RuleList", "apiVersion": "example.com/v1", "metadata": {"resourceVersion": "7"},
                "items": [rule("two"), rule("three")]}),
            )
        }
        "GET /api/v1/namespaces/shop/secrets/key" | "GET /api/v1/namespaces/shop/secrets limit=500" => forbidden(),
        "POST /apis/authorization.k8s.io/v1/subjectaccessreviews" => {
            let mut review = asked.body.clone();
            review["status"] = json!({"allowed": false, "denied": true, "reason": "no", "evaluationError": "half"});
            (201, review)
        }
        line if line.starts_with("GET /api/v1/") => (
            404,
            json!({"kind": "Status", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404}),
        ),
        _ => (404, json!("404 page not found\n")),
    }
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": "a"}},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
}

fn rule(name: &str) -> Value {
    let last_applied = "kubectl.kubernetes.io/last-applied-configuration";
    json!({"apiVersion": "example.com/v1", "kind": "Rule",
        "metadata": {"name": name, "namespace": "shop", "annotations": {last_applied: "{}", "note": "x"},
            "managedFields": [{"manager": "kubectl", "operation": "Update"}]},
        "spec": {"images": [{"name": "web", "digest": "sha256:1"}, {"name": "cart"}], "on": true},
        "status": {"seen": 3}})
}

/// The answer to a policy that may read all resources of the shop.
fn ask(live: &Live, operation: &str, question: &Value) -> Result<Value, String> {
    let kinds = [("v1", "Namespace"), ("v1", "Pod"), ("v1", "Secret"), ("v1", "Nothing"), ("example.com/v1", "Rule")];
    let kinds = kinds.iter().chain(&[("example.org/v1", "Rule"), ("example.com/v1", "Ruler")]);
    let allowed: Vec<ContextAwareResource> = kinds
        .map(|(api_version, kind)| ContextAwareResource {
            api_version: (*api_version).to_owned(),
            kind: (*kind).to_owned(),
        })
        .collect();
    let call = host_call("kubernetes", operation, question.to_string().as_bytes(), &AllowedResources::from(allowed));
    live.answer(call.unwrap()).map(|answer| serde_json::from_slice(&answer).unwrap())
}

fn get(live: &Live, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Result<Value, String> {
    let question = json!({"api_version": api_version, "kind": kind, "name": name, "namespace": namespace,
        "disable_cache": false, "field_masks": null});
    ask(live, "get_resource", &question)
}

fn list(live: &Live, api_version: &str, kind: &str, namespace: &str) -> Result<Value, String> {
    let question = json!({"api_version": api_version, "kind": kind, "namespace": namespace});
    ask(live, "list_resources_by_namespace", &question)
}

#[test]
fn an_object_is_returned_as_in_the_api_server() {
    let server = ApiServer::of_a_shop();
    let live = server.live(&[]);
    assert_eq!(get(&live, "v1", "Namespace", None, "shop"), Ok(namespace("shop")));
    assert_eq!(get(&live, "example.com/v1", "Rule", Some("shop"), "one"), Ok(rule("one")));
    assert_eq!(
        server.lines(),
        [
            "GET /api/v1",
            "GET /api/v1/namespaces/shop",
            "GET /apis/example.com/v1",
            "GET /apis/example.com/v1/namespaces/shop/rules/one",
        ]
    );
}

#[test]
fn the_policy_gets_the_fields_of_its_masks() {
    let server = ApiServer::of_a_shop();
    let question = json!({"api_version": "example.com/v1", "kind": "Rule", "name": "one", "namespace": "shop",
        "disable_cache": true, "field_masks": ["spec.images.name", "metadata.name"]});
    let mut expected = rule("one");
    expected.as_object_mut().unwrap().remove("status");
    expected["spec"] = json!({"images": [{"name": "web"}, {"name": "cart"}]});
    assert_eq!(ask(&server.live(&[]), "get_resource", &question), Ok(expected));
}

#[test]
fn a_missing_object_is_not_found() {
    let server = ApiServer::of_a_shop();
    let live = server.live(&[]);
    assert_eq!(
        get(&live, "v1", "Pod", Some("shop"), "web").unwrap_err(),
        "Cannot find v1/Pod named 'web' inside of namespace 'Some(\"shop\")'"
    );
    assert_eq!(
        get(&live, "v1", "Namespace", None, "none").unwrap_err(),
        "Cannot find v1/Namespace named 'none' inside of namespace 'None'"
    );
    assert_eq!(
        get(&live, "v1", "Pod", None, "web").unwrap_err(),
        "Resource v1/Pod is namespaced, but no namespace was provided"
    );
}

#[test]
fn a_list_has_the_selected_objects_of_all_pages() {
    let server = ApiServer::of_a_shop();
    let question = json!({"api_version": "example.com/v1", "kind": "Rule", "namespace": "shop",
        "label_selector": "team=a", "field_selector": "spec.on=true", "field_masks": ["spec.on"]});
    let listed = |name| {
        json!({"apiVersion": "example.com/v1", "kind": "Rule", "spec": {"on": true},
            "metadata": {"name": name, "namespace": "shop", "annotations": {"note": "x"}, "managedFields": []}})
    };
    assert_eq!(
        ask(&server.live(&[]), "list_resources_by_namespace", &question),
        Ok(json!({"apiVersion": "example.com/v1", "kind": "RuleList", "metadata": {},
            "items": [listed("one"), listed("two"), listed("three")]}))
    );
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn a_list_of_the_whole_cluster_has_the_objects_of_all_namespaces() {
    let server = ApiServer::of_a_shop();
    let question = json!({"api_version": "v1", "kind": "Namespace"});
    let listed = ask(&server.live(&[]), "list_resources_all", &question).unwrap();
    assert_eq!(listed["kind"], "NamespaceList");
    assert_eq!(listed["items"][1]["metadata"]["name"], "till");
    assert_eq!(listed["items"][1]["spec"], namespace("till")["spec"]);
}

#[test]
fn a_cluster_wide_kind_cannot_be_listed_in_a_namespace() {
    let server = ApiServer::of_a_shop();
    assert_eq!(
        list(&server.live(&[]), "v1", "Namespace", "shop").unwrap_err(),
        "resource v1/Namespace is cluster wide. Cannot search for it inside of a namespace"
    );
}

#[test]
fn a_missing_kind_is_not_found() {
    let server = ApiServer::of_a_shop();
    let live = server.live(&[]);
    assert_eq!(list(&live, "v1", "Nothing", "shop").unwrap_err(), "Cannot find resource v1/Nothing");
    assert_eq!(
        list(&live, "example.com/v1", "Ruler", "shop").unwrap_err(),
        "Cannot find resource example.com/v1/Ruler"
    );
    assert_eq!(
        list(&live, "example.org/v1", "Rule", "shop").unwrap_err(),
        "error finding resource example.org/v1 / Rule: ApiError: 404 page not found (404)"
    );
}

#[test]
fn a_missing_permission_is_reported_for_the_user_of_the_kubeconfig() {
    let server = ApiServer::of_a_shop();
    let live = server.live(&[]);
    let refused = "container-patch needs permission to get and list secrets as the user of the kubeconfig context `test`: \
                   ApiError: secrets \"key\" is forbidden: User \"jane\" cannot get resource \"secrets\": Forbidden (403)";
    assert_eq!(get(&live, "v1", "Secret", Some("shop"), "key").unwrap_err(), refused);
    assert_eq!(list(&live, "v1", "Secret", "shop").unwrap_err(), refused);
}

#[test]
fn expired_credentials_are_reported_for_the_user_of_the_kubeconfig() {
    let server = ApiServer::with_answers(|_| {
        Some((401, json!({"message": "Unauthorized", "reason": "Unauthorized", "code": 401})))
    });
    assert_eq!(
        get(&server.live(&["--context", "joe"]), "v1", "Namespace", None, "shop").unwrap_err(),
        "container-patch needs valid credentials for the user of the kubeconfig context `joe`: \
         ApiError: Unauthorized: Unauthorized (401)"
    );
}

const WEB: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A cluster, next to a registry with the image `web`.
struct WithRegistry(Live);

impl Capabilities for WithRegistry {
    fn answer(&self, call: HostCall) -> Answer {
        let manifest = json!({"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": WEB}});
        let answer = match call {
            HostCall::OciManifestDigest(_) => json!({ "digest": WEB }),
            HostCall::OciManifest(_) => manifest,
            HostCall::OciManifestAndConfig(_) => {
                json!({"digest": WEB, "manifest": manifest, "config": {"created": "2026-11-01T00:00:00Z"}})
            }
            other => return self.0.answer(other),
        };
        Ok(answer.to_string().into_bytes())
    }
}

#[test]
fn a_finding_about_a_missing_permission_is_for_the_user_of_the_kubeconfig() {
    let server = ApiServer::with_answers(|asked| {
        let group = "aquasecurity.github.io";
        let (status, answer) = match asked.line.as_str() {
            "GET /apis/aquasecurity.github.io/v1alpha1" => (
                200,
                json!({"kind": "APIResourceList", "groupVersion": format!("{group}/v1alpha1"),
                    "resources": [served("vulnerabilityreports", "VulnerabilityReport", true)]}),
            ),
            _ => (
                403,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden",
                    "code": 403, "message": format!("vulnerabilityreports.{group} is forbidden: User \"jane\" cannot get")}),
            ),
        };
        Some((status, answer))
    });
    let capabilities: Arc<dyn Capabilities> = Arc::new(WithRegistry(server.live(&[])));
    let request = AdmissionRequest::from_review(&json!({
        "uid": "1", "operation": "CREATE", "userInfo": {}, "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": {"spec": {"containers": [{"name": "app", "image": format!("web:1@{WEB}")}]}},
    }))
    .unwrap();
    let policy = Policy::embedded().unwrap();
    let settings = json!({"schedule": {"action": "off"}, "baseImage": {"action": "off"},
        "scan": {"reports": [{"source": "trivyOperator"}]}});
    let response = policy.validate(&request, &settings, &capabilities, &policy.declared_resources()).unwrap();
    let message = response.status.and_then(|status| status.message).unwrap();
    assert!(
        message.contains(
            "cannot be read: container-patch needs permission to get and list vulnerabilityreports.aquasecurity.github.io \
             as the user of the kubeconfig context `test`: ApiError: "
        ),
        "{message}"
    );
    assert!(!message.contains("policy-server"), "{message}");
}

#[test]
fn an_overloaded_api_server_is_asked_once() {
    let server = ApiServer::with_answers(|_| Some((503, json!("try again"))));
    assert_eq!(get(&server.live(&[]), "v1", "Namespace", None, "shop").unwrap_err(), "ApiError: try again (503)");
    assert_eq!(server.lines().len(), 1);
}

#[test]
fn an_api_server_that_never_answers_times_out() {
    let server = ApiServer::with_answers(|_| None);
    assert_eq!(
        get(&server.live(&["--cluster-timeout", "1"]), "v1", "Namespace", None, "shop").unwrap_err(),
        format!("http://{} did not answer within 1 s", server.address)
    );
}

#[test]
fn an_unreachable_api_server_is_named() {
    let server = ApiServer::of_a_shop();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    std::fs::write(server.kubeconfig(), server.kubeconfig_text().replace(&server.address, &nobody)).unwrap();
    let error = get(&server.live(&[]), "v1", "Namespace", None, "shop").unwrap_err();
    assert!(error.starts_with(&format!("cannot ask http://{nobody}: ")), "{error}");
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn permissions_of_users_are_asked_of_the_api_server() {
    let server = ApiServer::of_a_shop();
    let question = json!({"disable_cache": false, "subject_access_review": {"user": "joe", "groups": ["dev"],
        "resource_attributes": {"group": "apps", "name": null, "namespace": "shop", "resource": "deployments",
            "subresource": null, "verb": "create", "version": "v1"}}});
    assert_eq!(
        ask(&server.live(&[]), "can_i", &question),
        Ok(json!({"allowed": false, "denied": true, "reason": "no", "evaluationError": "half"}))
    );
    assert_eq!(
        server.asked()[0].body["spec"],
        json!({"user": "joe", "groups": ["dev"], "resourceAttributes": {"group": "apps", "namespace": "shop",
            "resource": "deployments", "verb": "create", "version": "v1"}})
    );
}

#[test]
fn the_context_selects_the_user() {
    let server = ApiServer::of_a_shop();
    get(&server.live(&[]), "v1", "Namespace", None, "shop").unwrap();
    assert_eq!(server.asked()[0].authorization, "Bearer s3cret");
    get(&server.live(&["--context", "joe"]), "v1", "Namespace", None, "shop").unwrap();
    assert_eq!(server.asked()[2].authorization, "Basic am9lOnMzY3JldA==");
}

#[test]
fn the_error_of_a_credential_plugin_has_no_secrets() {
    let server = ApiServer::of_a_shop();
    let plugin = "user: {exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, \
                  args: [-c, 'echo hello >&2; echo log in first >&2; exit 3'], env: [{name: KEY, value: s3cret}]}}";
    let kubeconfig = server.kubeconfig_text().replace("user: {token: s3cret}", plugin);
    std::fs::write(server.kubeconfig(), kubeconfig).unwrap();
    assert_eq!(
        get(&server.live(&[]), "v1", "Namespace", None, "shop").unwrap_err(),
        format!(
            "container-patch needs access to a cluster: cannot log in to http://{}: the credential plugin in the kubeconfig failed with exit status: 3: log in first",
            server.address
        )
    );
}

#[test]
fn each_question_is_asked_once_even_in_parallel() {
    let server = ApiServer::of_a_shop();
    let live = server.live(&[]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                get(&live, "v1", "Namespace", None, "shop").unwrap();
                get(&live, "v1", "Pod", Some("shop"), "web").unwrap_err();
            });
        }
    });
    let mut lines = server.lines();
    lines.sort();
    assert_eq!(lines, ["GET /api/v1", "GET /api/v1/namespaces/shop", "GET /api/v1/namespaces/shop/pods/web"]);
}

#[test]
fn an_unknown_context_is_refused_with_the_known_ones() {
    let server = ApiServer::of_a_shop();
    assert_eq!(
        get(&server.live(&["--context", "prod"]), "v1", "Namespace", None, "shop").unwrap_err(),
        format!(
            "container-patch needs access to a cluster: cannot use the kubeconfig {}: unknown context `prod` (known contexts: test, joe)",
            server.kubeconfig().display()
        )
    );
}

#[test]
fn the_error_of_an_invalid_kubeconfig_has_no_secrets() {
    let server = ApiServer::of_a_shop();
    let error = |text: &str| {
        std::fs::write(server.kubeconfig(), text).unwrap();
        get(&server.live(&[]), "v1", "Namespace", None, "shop").unwrap_err()
    };
    let begin = format!(
        "container-patch needs access to a cluster: cannot read the kubeconfig {}: ",
        server.kubeconfig().display()
    );
    for broken in ["users: [{token: s3cret", "users:\n- token: s3cret\n  name: [1]", "- s3cret", "users: s3cret"] {
        let error = error(broken);
        assert!(error.starts_with(&begin), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    std::fs::remove_file(server.kubeconfig()).unwrap();
    let error = get(&server.live(&[]), "v1", "Namespace", None, "shop").unwrap_err();
    assert!(error.starts_with(&begin), "{error}");
}

/// A guest that accepts if it gets the namespace `shop`, and else fails with the error of its host.
const ASKING_GUEST: &str = r#"(module
  (@custom "io.kubewarden.metadata"
    "{\"contextAwareResources\": [{\"apiVersion\": \"v1\", \"kind\": \"Namespace\"}]}")
  (import "wapc" "__guest_response" (func $respond (param i32 i32)))
  (import "wapc" "__guest_error" (func $fail (param i32 i32)))
  (import "wapc" "__host_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wapc" "__host_error" (func $error (param i32)))
  (import "wapc" "__host_error_len" (func $error_len (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "kubewarden")
  (data (i32.const 16) "kubernetes")
  (data (i32.const 32) "get_resource")
  (data (i32.const 64) "{\"valid\":true}")
  (data (i32.const 96) "{\"accepted\":true}")
  (data (i32.const 128) "{\"api_version\":\"v1\",\"kind\":\"Namespace\",\"name\":\"shop\",\"namespace\":null,\"disable_cache\":false}")
  (func (export "__guest_call") (param $name_len i32) (param i32) (result i32)
    (if (i32.eq (local.get $name_len) (i32.const 17)) ;; validate_settings
      (then
        (call $respond (i32.const 64) (i32.const 14))
        (return (i32.const 1))))
    (if (i32.eq (i32.const 1) (call $call (i32.const 0) (i32.const 10) (i32.const 16) (i32.const 10)
                                          (i32.const 32) (i32.const 12) (i32.const 128) (i32.const 92)))
      (then
        (call $respond (i32.const 96) (i32.const 17))
        (return (i32.const 1))))
    (call $error (i32.const 1024))
    (call $fail (i32.const 1024) (call $error_len))
    (i32.const 0)))"#;

/// The command with a guest, a manifest and a request, in this home folder.
fn container_patch(home: &Path, arguments: &[&str]) -> Command {
    let file = |name: &str, content: &[u8]| std::fs::write(home.join(name), content).unwrap();
    file("guest.wasm", &wat::parse_str(ASKING_GUEST).unwrap());
    file("pod.yaml", b"{apiVersion: v1, kind: Pod, metadata: {name: web}}");
    let request = json!({"uid": "1", "operation": "CREATE", "userInfo": {}, "object": {"kind": "Pod"},
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"}});
    file("request.json", request.to_string().as_bytes());
    let mut command = Command::new(env!("CARGO_BIN_EXE_container-patch"));
    command.current_dir(home).env("HOME", home).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
    command.args(arguments);
    command
}

const CHECK: [&str; 6] = ["check", "pod.yaml", "--policy", "guest.wasm", "--output", "json"];
const RUN: [&str; 4] = ["run", "guest.wasm", "--request-path", "request.json"];

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn check_grants_the_resources_in_the_metadata() {
    let server = ApiServer::of_a_shop();
    let printed = printed(container_patch(server.folder.path(), &CHECK).env("KUBECONFIG", server.kubeconfig()));
    assert!(printed.contains(r#""accepted": 1"#), "{printed}");
}

#[test]
fn run_grants_resources_only_with_the_flag() {
    let server = ApiServer::of_a_shop();
    let run = |flags: &[&str]| {
        let mut command = container_patch(server.folder.path(), &RUN);
        printed(command.env("KUBECONFIG", server.kubeconfig()).args(flags))
    };
    let refused = run(&[]);
    assert!(refused.contains("Policy has not been granted access to Kubernetes v1/Namespace resources"), "{refused}");
    assert!(server.lines().is_empty(), "nothing is asked");
    let accepted = run(&["--allow-context-aware"]);
    assert!(accepted.contains(r#""allowed":true"#), "{accepted}");
}

#[test]
fn a_kubeconfig_is_found_where_kubectl_finds_it() {
    let server = ApiServer::of_a_shop();
    let home = server.folder.path();
    let missing = printed(&mut container_patch(home, &CHECK));
    assert!(missing.contains("$KUBECONFIG is not set, and ~/.kube/config does not exist; set one with"), "{missing}");
    let missing = printed(container_patch(home, &CHECK).env("KUBECONFIG", "/none:/neither"));
    assert!(missing.contains("no kubeconfig in $KUBECONFIG exists (`/none:/neither`); set one"), "{missing}");
    // Of several files those that exist count.
    let list = format!("/none:{}", server.kubeconfig().display());
    let found = printed(container_patch(home, &CHECK).env("KUBECONFIG", list));
    assert!(found.contains(r#""accepted": 1"#), "{found}");
    std::fs::create_dir(home.join(".kube")).unwrap();
    std::fs::copy(server.kubeconfig(), home.join(".kube/config")).unwrap();
    let found = printed(&mut container_patch(home, &CHECK));
    assert!(found.contains(r#""accepted": 1"#), "{found}");
}

#[test]
fn a_cluster_on_this_machine_is_reached_without_the_proxy() {
    let server = ApiServer::of_a_shop();
    let mut command = container_patch(server.folder.path(), &CHECK);
    command.env("KUBECONFIG", server.kubeconfig());
    let printed = printed(command.env("HTTPS_PROXY", "http://127.0.0.1:1").env("HTTP_PROXY", "http://127.0.0.1:1"));
    assert!(printed.contains(r#""accepted": 1"#), "{printed}");
}

#[test]
fn another_cluster_is_reached_through_the_proxy_of_the_environment() {
    let proxy = ApiServer::with_answers(|_| Some((502, json!("no such cluster"))));
    let elsewhere = proxy.kubeconfig_text().replace(&format!("http://{}", proxy.address), "https://192.0.2.1:6443");
    std::fs::write(proxy.kubeconfig(), elsewhere).unwrap();
    let check = |no_proxy: &str| {
        let mut command = container_patch(proxy.folder.path(), &CHECK);
        command.env("KUBECONFIG", proxy.kubeconfig()).args(["--cluster-timeout", "1"]);
        printed(command.env("HTTPS_PROXY", format!("http://{}", proxy.address)).env("NO_PROXY", no_proxy))
    };
    let printed = check("192.0.2.0/24");
    assert!(printed.contains("192.0.2.1:6443"), "{printed}");
    assert!(proxy.lines().is_empty(), "{:?}", proxy.lines());
    let printed = check("other.example.com");
    assert!(printed.contains("192.0.2.1:6443"), "{printed}");
    assert_eq!(proxy.lines(), ["CONNECT 192.0.2.1:6443"]);
}

#[test]
fn the_kubeconfig_is_not_read_before_the_first_question() {
    let flags = Flags::parse_from(["test", "--kubeconfig", "/none"]);
    let live = Live::new(&flags.live).unwrap();
    let call = host_call("oci", "v1/manifest_digest", br#""no image""#, &AllowedResources::default()).unwrap();
    let error = live.answer(call).unwrap_err();
    assert!(error.starts_with("invalid image reference `no image`"), "{error}");
}
