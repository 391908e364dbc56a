//! Which calls of the Docker Engine API start an image, or change the image of what runs.
//!
//! The engine passes the method and the request URI as the client sent them. What the engine makes of a URI is more than its text: it
//! decodes percent-encoding, removes `.` and `..`, and takes an optional version before the path. A call must not have a spelling that
//! the engine understands and this module does not.

use std::borrow::Cow;

/// A call that may start an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    /// `POST /services/create`.
    CreateService,
    /// `POST /services/{id}/update`.
    UpdateService {
        /// The ID, the name, or the beginning of the ID.
        id: String,
        /// The version that the client has read, if the query gives exactly one.
        version: Option<u64>,
        /// Whether the query asks for the earlier state of the service.
        rolls_back: bool,
    },
    /// `POST /containers/create`.
    CreateContainer {
        /// The name of the container, if the query gives one.
        name: Option<String>,
        /// The platforms in the query. The engine uses the first one.
        platforms: Vec<String>,
    },
    /// `POST /containers/{id}/start` and `POST /containers/{id}/restart`.
    StartContainer {
        /// The ID, the name, or the beginning of the ID.
        id: String,
    },
    /// `POST /plugins/pull` and `POST /plugins/{name}/upgrade`: an image that the engine itself runs as a plugin.
    InstallPlugin {
        /// The references in the query. The engine uses the first one.
        remotes: Vec<String>,
    },
    /// A call that starts images which are not in the request.
    Unseen(Unseen),
}

/// A call that starts images which are not in the request, so that they cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Unseen {
    /// `POST /build`, and `POST /grpc`, with which BuildKit builds: `FROM` and `RUN` start images.
    Build,
    /// `POST /plugins/create`: a plugin from files.
    #[value(name = "plugin-files")]
    PluginFiles,
    /// `POST /swarm/join`: the engine starts what the managers of that swarm schedule on it.
    #[value(name = "swarm-join")]
    SwarmJoin,
}

impl Unseen {
    /// The name of the call on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::PluginFiles => "plugin-files",
            Self::SwarmJoin => "swarm-join",
        }
    }

    /// The kind of what the call makes.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Build => "Build",
            Self::PluginFiles => "Plugin",
            Self::SwarmJoin => "Node",
        }
    }

    /// What the call does.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Build => "a build runs the images of its Dockerfile, and they are not in the request",
            Self::PluginFiles => {
                "a plugin that is made of files runs as a part of the engine, and its files are not in the request"
            }
            Self::SwarmJoin => {
                "an engine that joins a swarm runs the services of its managers, and they are not in the request"
            }
        }
    }
}

impl Call {
    /// The call of a method and a request URI. `None` if it starts nothing.
    pub(super) fn of(method: &str, uri: &str) -> Option<Self> {
        if !method.eq_ignore_ascii_case("POST") {
            return None;
        }
        let (path, query) = split(uri);
        let path = clean(&path);
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let segments = match segments[..] {
            [version, ref rest @ ..] if is_version(version) => rest,
            ref segments => segments,
        };
        match *segments {
            ["services", "create"] => Some(Self::CreateService),
            ["services", id, "update"] => {
                let versions = query.values("version");
                let version = if let [version] = &versions[..] { version.parse().ok() } else { None };
                let rolls_back = query.values("rollback").iter().any(|value| !matches!(value.as_str(), "" | "none"));
                Some(Self::UpdateService { id: id.to_owned(), version, rolls_back })
            }
            ["containers", "create"] => Some(Self::CreateContainer {
                name: query.values("name").into_iter().next(),
                platforms: query.values("platform"),
            }),
            // The name of a container may contain slashes.
            ["containers", ref id @ .., "start" | "restart"] if !id.is_empty() => {
                Some(Self::StartContainer { id: id.join("/") })
            }
            ["plugins", "create"] => Some(Self::Unseen(Unseen::PluginFiles)),
            // The name of a plugin may contain slashes.
            ["plugins", "pull"] | ["plugins", .., "upgrade"] => {
                Some(Self::InstallPlugin { remotes: query.values("remote") })
            }
            ["swarm", "join"] => Some(Self::Unseen(Unseen::SwarmJoin)),
            ["build"] | ["grpc"] => Some(Self::Unseen(Unseen::Build)),
            _ => None,
        }
    }
}

fn is_version(segment: &str) -> bool {
    let digits = segment.strip_prefix('v');
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// The decoded path, and the query, of a request URI. Clients may send the URI with a scheme and a host.
fn split(uri: &str) -> (Cow<'_, str>, Query<'_>) {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let path = match path.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => match rest.strip_prefix("//") {
            Some(rest) => rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or(""),
            None => rest,
        },
        _ => path,
    };
    (decoded(path), Query(query))
}

/// The path without empty segments, `.` and `..`.
fn clean(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    segments.join("/")
}

/// The text with its percent-encoded bytes decoded. An invalid escape, which the engine refuses, remains as it is.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let escape = match (first, after) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| (high * 16 + low, after)),
            _ => None,
        };
        let (byte, after) = escape.unwrap_or((*first, after));
        decoded.push(byte);
        rest = after;
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The query of a URI.
struct Query<'u>(&'u str);

impl Query<'_> {
    /// The values of a key, in their order.
    fn values(&self, key: &str) -> Vec<String> {
        // The engine ignores a part with a semicolon in one version, and splits it in another. Here it counts in both ways.
        let parts = self
            .0
            .split('&')
            .flat_map(|part| std::iter::once(part).chain(part.split(';').filter(move |_| part.contains(';'))));
        let pairs = parts.filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")));
        let text = |part: &str| decoded(&part.replace('+', " ")).into_owned();
        pairs.filter(|(name, _)| text(name) == key).map(|(_, value)| text(value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Unseen};

    fn call(uri: &str) -> Option<Call> {
        Call::of("POST", uri)
    }

    fn update(id: &str, version: Option<u64>, rolls_back: bool) -> Option<Call> {
        Some(Call::UpdateService { id: id.to_owned(), version, rolls_back })
    }

    fn container(name: &str) -> Option<Call> {
        let name = Some(name).filter(|name| !name.is_empty()).map(str::to_owned);
        Some(Call::CreateContainer { name, platforms: Vec::new() })
    }

    fn plugin(remotes: &[&str]) -> Option<Call> {
        Some(Call::InstallPlugin { remotes: remotes.iter().map(|remote| (*remote).to_owned()).collect() })
    }

    #[test]
    fn calls_that_start_images_are_known_with_and_without_a_version_and_whatever_the_query() {
        for prefix in ["", "/v1.41", "/v1.24", "/v2", "/v1.99.1"] {
            for query in ["", "?", "?name=web", "?a=/auth"] {
                let of = |path: &str| call(&format!("{prefix}{path}{query}"));
                assert!(matches!(of("/containers/create"), Some(Call::CreateContainer { .. })));
                assert_eq!(of("/services/create"), Some(Call::CreateService));
                assert_eq!(of("/services/web/update"), update("web", None, false));
                assert_eq!(of("/build"), Some(Call::Unseen(Unseen::Build)));
                assert_eq!(of("/grpc"), Some(Call::Unseen(Unseen::Build)));
                assert_eq!(of("/plugins/create"), Some(Call::Unseen(Unseen::PluginFiles)));
                assert_eq!(of("/swarm/join"), Some(Call::Unseen(Unseen::SwarmJoin)));
                assert_eq!(of("/plugins/pull"), plugin(&[]));
            }
        }
    }

    #[test]
    fn other_spellings_of_a_path_that_the_engine_understands_are_the_same_call() {
        for uri in [
            "/containers/%63reate",
            "/%63ontainers/create?name=a",
            "//containers//create",
            "/x/../containers/./create",
            "/v1.41/x/%2e%2e/containers/create",
            "http://docker/containers/create",
            "http://docker/v1.41/containers/create",
            "https://user@host:2376/containers/create?name=web",
            "x:/containers/create",
            "/containers/create/",
            "/%76%31.41/containers/create",
        ] {
            assert!(matches!(call(uri), Some(Call::CreateContainer { .. })), "{uri}");
        }
        assert_eq!(Call::of("post", "/containers/create"), container(""));
        assert_eq!(call("/v1.41/containers/create?name=web"), container("web"));
        let Some(Call::CreateContainer { platforms, .. }) = call("/containers/create?platform=linux%2Farm64") else {
            panic!()
        };
        assert_eq!(platforms, ["linux/arm64"]);
    }

    #[test]
    fn an_update_has_the_service_the_version_and_whether_it_rolls_back() {
        assert_eq!(call("/v1.41/services/web/update?version=12"), update("web", Some(12), false));
        assert_eq!(
            call("/services/9mnpnzenvg8p/update?registryAuthFrom=spec&version=7"),
            update("9mnpnzenvg8p", Some(7), false)
        );
        assert_eq!(call("/services/web%20a/update?version=x"), update("web a", None, false));
        assert_eq!(call("/services/web/update?version=1&version=2"), update("web", None, false));
        for query in [
            "rollback=previous",
            "%72ollback=previous",
            "rollback=&rollback=previous",
            "a;rollback=previous",
            "rollback=new",
        ] {
            assert_eq!(call(&format!("/services/web/update?{query}")), update("web", None, true), "{query}");
        }
        for query in ["rollback=", "rollback", "rollback=none", "Rollback=previous"] {
            assert_eq!(call(&format!("/services/web/update?{query}")), update("web", None, false), "{query}");
        }
    }

    #[test]
    fn a_start_and_a_restart_have_the_container() {
        let start = |id: &str| Some(Call::StartContainer { id: id.to_owned() });
        assert_eq!(call("/v1.41/containers/web/start?checkpoint=a"), start("web"));
        assert_eq!(call("/containers/4c01db0b339c/restart?t=0"), start("4c01db0b339c"));
        assert_eq!(call("/containers/a%2fb/start"), start("a/b"));
        assert_eq!(call("/containers/create/start"), start("create"));
    }

    #[test]
    fn the_references_of_plugins_are_in_the_query() {
        assert_eq!(call("/plugins/pull?remote=example.com%2Fplugin%3A1&name=a"), plugin(&["example.com/plugin:1"]));
        assert_eq!(call("/plugins/a/b:latest/upgrade?remote=x&remote=y"), plugin(&["x", "y"]));
    }

    #[test]
    fn other_calls_start_no_image() {
        for uri in [
            "/containers/json",
            "/containers/web/update",
            "/containers/start",
            "/containers/web/exec",
            "/services",
            "/services/web",
            "/commit",
            "/images/create?fromImage=a",
            "/images/load",
            "/build/prune",
            "/session",
            "/plugins/a/enable",
            "/swarm/init",
            "/vx/containers/create",
            "/a/containers/create",
            "",
            "*",
            "%",
        ] {
            assert_eq!(call(uri), None, "{uri}");
        }
        assert_eq!(Call::of("GET", "/containers/create"), None);
        assert_eq!(Call::of("DELETE", "/services/web"), None);
    }
}
