//! Requests to Kubernetes have the fields of the policy SDK, both those that the policy sends and those that the host reads.
//!
//! Neither uses the SDK's types, which depend on another version of k8s-openapi than kube does.

use std::collections::BTreeSet;
use std::fmt::Debug;

use container_patch::capabilities::{AllowedResources, ContextAwareResource, HostCall, host_call};
use container_patch_policy::host::{CanI, GetResource, ListResources, ResourceAttributes, SubjectAccessReview};
use kubewarden_policy_sdk::host_capabilities::kubernetes as sdk;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// Checks that a type of the SDK reads a request, and writes the same.
fn assert_is_of_the_sdk<T: Debug + Serialize + DeserializeOwned>(request: &impl Serialize) {
    let sent = to_json(request);
    let read: T = serde_json::from_value(sent.clone()).expect("the SDK reads the request");
    assert_eq!(to_json(&read), sent);
}

/// Reads a request of the SDK as the host does.
fn read_by_host(operation: &str, request: &impl Serialize) -> HostCall {
    let allowed = ContextAwareResource { api_version: "example.com/v1".to_owned(), kind: "Report".to_owned() };
    let payload = serde_json::to_vec(request).unwrap();
    host_call("kubernetes", operation, &payload, &AllowedResources::from(vec![allowed])).expect("the host reads it")
}

#[test]
fn the_policy_sends_requests_of_the_sdk() {
    for (namespace, masks) in
        [(Some("shop"), BTreeSet::from(["report.summary", "report.updateTimestamp"])), (None, BTreeSet::new())]
    {
        assert_is_of_the_sdk::<sdk::GetResourceRequest>(&GetResource {
            api_version: "example.com/v1",
            kind: "Report",
            name: "app",
            namespace,
            disable_cache: false,
            field_masks: masks,
        });
    }
    for selector in [Some("a=b"), None] {
        assert_is_of_the_sdk::<sdk::ListResourcesByNamespaceRequest>(&ListResources {
            api_version: "example.com/v1",
            kind: "Report",
            namespace: "shop",
            label_selector: selector,
            field_selector: selector,
            field_masks: BTreeSet::from(["report"]),
        });
    }
    for (groups, text) in [(Some(&["oncall"][..]), Some("x")), (None, None)] {
        let resource_attributes = ResourceAttributes {
            group: text,
            name: text,
            namespace: text,
            resource: "containerpatchpolicies",
            subresource: text,
            verb: "break-glass",
            version: text,
        };
        let subject_access_review = SubjectAccessReview { groups, resource_attributes, user: "jane" };
        assert_is_of_the_sdk::<sdk::CanIRequest>(&CanI { subject_access_review, disable_cache: false });
    }
}

#[test]
fn the_host_reads_requests_of_the_sdk() {
    let (api_version, kind) = ("example.com/v1".to_owned(), "Report".to_owned());
    let texts = || [Some("x".to_owned()), None];
    let masks = || [Some(BTreeSet::from(["report".to_owned()])), None];
    for (text, field_masks) in texts().into_iter().zip(masks()) {
        let get = sdk::GetResourceRequest {
            api_version: api_version.clone(),
            kind: kind.clone(),
            name: "app".to_owned(),
            namespace: text.clone(),
            disable_cache: text.is_some(),
            field_masks: field_masks.clone(),
        };
        let read = read_by_host("get_resource", &get);
        assert_eq!(to_json(&read), json!({"KubernetesGetResource": to_json(&get)}));

        let list = sdk::ListResourcesByNamespaceRequest {
            api_version: api_version.clone(),
            kind: kind.clone(),
            namespace: "shop".to_owned(),
            label_selector: text.clone(),
            field_selector: text.clone(),
            field_masks: field_masks.clone(),
        };
        let read = read_by_host("list_resources_by_namespace", &list);
        assert_eq!(to_json(&read), json!({"KubernetesListResourceNamespace": to_json(&list)}));

        let list = sdk::ListAllResourcesRequest {
            api_version: api_version.clone(),
            kind: kind.clone(),
            label_selector: text.clone(),
            field_selector: text.clone(),
            field_masks,
        };
        let read = read_by_host("list_resources_all", &list);
        assert_eq!(to_json(&read), json!({"KubernetesListResourceAll": to_json(&list)}));

        let resource_attributes = sdk::ResourceAttributes {
            group: text.clone(),
            name: text.clone(),
            namespace: text.clone(),
            resource: "containerpatchpolicies".to_owned(),
            subresource: text.clone(),
            verb: "break-glass".to_owned(),
            version: text.clone(),
        };
        let groups = text.map(|group| vec![group]);
        let review = sdk::SubjectAccessReview { groups, resource_attributes, user: "jane".to_owned() };
        let asked = sdk::CanIRequest { subject_access_review: review.clone(), disable_cache: true };
        // kwctl records the review under another name than the policy sends it.
        let recorded = json!({"KubernetesCanI": {"request": to_json(&review), "disable_cache": true}});
        assert_eq!(to_json(&read_by_host("can_i", &asked)), recorded);
    }
}
