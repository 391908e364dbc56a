//! The settings of the policy, for an engine.

use serde_json::{Value, json};

/// The settings for an engine. Unpinned images are denied where the settings pin them, because a plugin cannot change a call.
///
/// # Errors
/// With a line for each setting that needs a Kubernetes cluster.
pub(crate) fn of(mut settings: Value) -> Result<Value, Vec<String>> {
    let problems = needs_cluster(&settings);
    if !problems.is_empty() {
        return Err(problems);
    }
    if settings["pinning"].is_null() {
        settings["pinning"] = json!({});
    }
    // Settings of another type are reported by the policy.
    if let Some(pinning) = settings["pinning"].as_object_mut() {
        let action = pinning.entry("action").or_insert(Value::Null);
        if action.is_null() || action == "pin" {
            *action = "deny".into();
        }
    }
    for entry in settings.get_mut("overrides").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(action) = entry.pointer_mut("/pinning/action").filter(|action| *action == "pin") {
            *action = "deny".into();
        }
    }
    Ok(settings)
}

/// The settings that need a cluster, a line each.
fn needs_cluster(settings: &Value) -> Vec<String> {
    let reads_reports =
        |section: &Value| section["scan"]["reports"].as_array().is_some_and(|reports| !reports.is_empty());
    let reads_record = |section: &Value| !section["rollout"]["soak"].is_null();
    let mut paths = Vec::new();
    let mut check = |section: &Value, at: &str| {
        paths.extend(reads_reports(section).then(|| format!("{at}scan.reports")));
        paths.extend(reads_record(section).then(|| format!("{at}rollout.soak")));
    };
    check(settings, "");
    for (index, entry) in settings["overrides"].as_array().into_iter().flatten().enumerate() {
        check(entry, &format!("overrides[{index}]."));
    }
    if settings["breakGlass"]["rbac"] == true {
        paths.push("breakGlass.rbac".to_owned());
    }
    paths.sort();
    let advice = |path: &String| match path.as_str() {
        "breakGlass.rbac" => "list the names of users in `breakGlass.users`",
        path if path.ends_with("rollout.soak") => "remove it, or use `rollout.minAge`",
        _ => "remove it, and pass scan results as labels of services",
    };
    paths
        .iter()
        .map(|path| format!("{path}: needs a Kubernetes cluster, which an engine does not have; {}", advice(path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of;

    #[test]
    fn images_are_denied_where_a_cluster_pins_them() {
        assert_eq!(of(json!({})), Ok(json!({"pinning": {"action": "deny"}})));
        assert_eq!(of(json!({"pinning": null})), Ok(json!({"pinning": {"action": "deny"}})));
        let pin = json!({"pinning": {"action": "pin", "forbiddenTags": []}, "overrides": [{"images": ["a"], "pinning": {"action": "pin"}}, {"images": ["b"]}]});
        let deny = json!({"pinning": {"action": "deny", "forbiddenTags": []}, "overrides": [{"images": ["a"], "pinning": {"action": "deny"}}, {"images": ["b"]}]});
        assert_eq!(of(pin), Ok(deny));
        for action in ["off", "warn", "deny", "other"] {
            let settings = json!({"pinning": {"action": action}});
            assert_eq!(of(settings.clone()), Ok(settings));
        }
        assert_eq!(of(json!({"pinning": 1})), Ok(json!({"pinning": 1})), "the policy reports it");
    }

    #[test]
    fn settings_that_need_a_cluster_are_refused() {
        let reports = json!({"reports": [{"source": "trivy-operator"}]});
        let problems = of(
            json!({"scan": reports, "overrides": [{"images": ["a"]}, {"images": ["b"], "scan": reports}], "breakGlass": {"rbac": true}}),
        );
        let paths: Vec<_> =
            problems.unwrap_err().iter().map(|line| line.split_once(':').unwrap().0.to_owned()).collect();
        assert_eq!(paths, ["breakGlass.rbac", "overrides[1].scan.reports", "scan.reports"]);
        let soak = json!({"soak": {"configMaps": [{"namespace": "staging", "name": "images"}]}});
        assert_eq!(
            of(json!({"rollout": soak, "overrides": [{"images": ["a"], "rollout": soak}]})),
            Err(vec![
                "overrides[0].rollout.soak: needs a Kubernetes cluster, which an engine does not have; remove it, or use \
                 `rollout.minAge`"
                    .to_owned(),
                "rollout.soak: needs a Kubernetes cluster, which an engine does not have; remove it, or use `rollout.minAge`"
                    .to_owned(),
            ])
        );
        assert!(of(json!({"rollout": {"minAge": "3d", "soak": null}})).is_ok());
        assert!(of(json!({"scan": {"reports": []}, "breakGlass": {"rbac": false}})).is_ok());
    }
}
