//! The cluster to ask, and the user: as in kubectl.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use hyper_util::client::proxy::matcher::Matcher;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::error_chain::error_chain;

/// A cluster, and the user that asks it.
pub(super) struct ClusterAccess {
    pub(super) config: Config,
    /// The user, for messages.
    pub(super) user: String,
}

/// The access of the given kubeconfig, else of those of kubectl, else of the pod's service account.
///
/// # Errors
/// When there is no kubeconfig, it cannot be read, or it does not have the context.
pub(super) async fn find(file: Option<&Path>, context: Option<&str>) -> Result<ClusterAccess> {
    let files = match file {
        Some(file) => vec![file.to_owned()],
        None => usual_files(),
    };
    if files.is_empty() {
        let in_a_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        if in_a_pod && context.is_none() {
            let config = Config::incluster()
                .map_err(|error| anyhow!("cannot use the service account of this pod: {}", error_chain(&error)))?;
            return Ok(ClusterAccess { config, user: "the service account of this pod".to_owned() });
        }
        bail!("{}; set one with --kubeconfig FILE", not_found());
    }
    let kubeconfig = read(&files)?;
    let names = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    let context = context_of(&kubeconfig, context).with_context(|| format!("cannot use the kubeconfig {names}"))?;
    let has_proxy = names_a_proxy(&kubeconfig, &context);
    let user = format!("the user of the kubeconfig context `{context}`");
    let options = KubeConfigOptions { context: Some(context), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| anyhow!("cannot use the kubeconfig {names}: {}", error_chain(&error)))?;
    // The library uses the proxy of the environment for every cluster.
    if !has_proxy && !goes_through_proxy(&config) {
        config.proxy_url = None;
    }
    Ok(ClusterAccess { config, user })
}

/// The value of `$KUBECONFIG`, if it is set.
fn listed_files() -> Option<OsString> {
    std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty())
}

/// The kubeconfigs of kubectl: the existing files in `$KUBECONFIG`, or the one in the home folder.
fn usual_files() -> Vec<PathBuf> {
    let files: Vec<PathBuf> = match listed_files() {
        Some(list) => std::env::split_paths(&list).collect(),
        None => std::env::home_dir().map(|home| home.join(".kube").join("config")).into_iter().collect(),
    };
    files.into_iter().filter(|file| file.exists()).collect()
}

/// The error if kubectl has no kubeconfig.
fn not_found() -> String {
    match listed_files() {
        Some(list) => format!("no kubeconfig in $KUBECONFIG exists (`{}`)", list.display()),
        None => "no kubeconfig found: $KUBECONFIG is not set, and ~/.kube/config does not exist".to_owned(),
    }
}

fn read(files: &[PathBuf]) -> Result<Kubeconfig> {
    let mut merged = Kubeconfig::default();
    for file in files {
        let next = Kubeconfig::read_from(file).and_then(|next| std::mem::take(&mut merged).merge(next));
        // After its first line the error may show lines of the file, and so secrets.
        merged = next.map_err(|error| {
            let error = error_chain(&error);
            anyhow!("cannot read the kubeconfig {}: {}", file.display(), error.lines().next().unwrap_or_default())
        })?;
    }
    Ok(merged)
}

/// The name of the given or the current context, which must exist.
fn context_of(kubeconfig: &Kubeconfig, given: Option<&str>) -> Result<String> {
    let known: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
    let list = || if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let current = kubeconfig.current_context.as_deref().filter(|name| !name.is_empty());
    let name = given.or(current).with_context(|| {
        format!("it has no current context; choose one with --context NAME (known contexts: {})", list())
    })?;
    if !known.contains(&name) {
        bail!("unknown context `{name}` (known contexts: {})", list());
    }
    Ok(name.to_owned())
}

/// Whether the kubeconfig has a proxy for the cluster.
fn names_a_proxy(kubeconfig: &Kubeconfig, context: &str) -> bool {
    let context = kubeconfig.contexts.iter().find(|named| named.name == context);
    let Some(cluster) = context.and_then(|named| named.context.as_ref()).map(|context| &context.cluster) else {
        return false;
    };
    let cluster = kubeconfig.clusters.iter().find(|named| &named.name == cluster);
    let proxy = cluster.and_then(|named| named.cluster.as_ref()).and_then(|cluster| cluster.proxy_url.as_deref());
    proxy.is_some_and(|proxy| !proxy.is_empty())
}

/// Whether the proxy of the environment applies to a cluster. It never does to one on this machine.
fn goes_through_proxy(config: &Config) -> bool {
    let host = config.cluster_url.host().unwrap_or_default().trim_matches(['[', ']']);
    let on_this_machine = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    !on_this_machine && Matcher::from_env().intercept(&config.cluster_url).is_some()
}

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;

    use super::{context_of, names_a_proxy};

    fn kubeconfig(current: &str) -> Kubeconfig {
        let text = format!(
            "{current}\nclusters:\n- {{name: far, cluster: {{server: 'https://far', proxy-url: 'http://proxy'}}}}\n\
             - {{name: near, cluster: {{server: 'https://near'}}}}\n\
             contexts:\n- {{name: prod, context: {{cluster: far, user: me}}}}\n\
             - {{name: dev, context: {{cluster: near}}}}\n"
        );
        Kubeconfig::from_yaml(&text).unwrap()
    }

    #[test]
    fn the_given_context_takes_precedence_over_the_current_one() {
        assert_eq!(context_of(&kubeconfig("current-context: dev"), None).unwrap(), "dev");
        assert_eq!(context_of(&kubeconfig("current-context: dev"), Some("prod")).unwrap(), "prod");
    }

    #[test]
    fn an_unknown_context_is_refused_with_the_known_ones() {
        let error = |current, wanted| context_of(&kubeconfig(current), wanted).unwrap_err().to_string();
        assert_eq!(error("current-context: dev", Some("test")), "unknown context `test` (known contexts: prod, dev)");
        for none in ["kind: Config", "current-context: ''"] {
            assert_eq!(
                error(none, None),
                "it has no current context; choose one with --context NAME (known contexts: prod, dev)"
            );
        }
    }

    #[test]
    fn a_proxy_belongs_to_the_cluster_of_the_context() {
        assert!(names_a_proxy(&kubeconfig(""), "prod"));
        assert!(!names_a_proxy(&kubeconfig(""), "dev"));
    }
}
