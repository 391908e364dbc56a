//! The images that are on the engine, and under which names they are judged.
//!
//! A container starts what is on the engine, not what its name points at in a registry. Names on the engine are no evidence: everybody
//! who may call the engine can give any name to any image. What ties an image of the engine to a registry is its digest there, which
//! the engine itself writes down when it pulls or pushes.

use std::collections::BTreeSet;

use container_patch_policy::image::Reference;
use serde_json::Value;

/// The most digests of one image that are judged.
const MAX_DIGESTS: usize = 16;

/// What a name means on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Local {
    /// An image with digests in registries, as references with these digests. Each of them is judged.
    Registered(Vec<String>),
    /// An image that the engine has neither pulled nor pushed.
    Unregistered,
    /// The text is the ID of an image, or a part of it, and not its name. With the names of that image, if a registry has it.
    Id(Vec<String>),
}

/// What a name means, from the engine's answer about it (`GET /images/{name}/json`).
///
/// # Errors
/// When the answer is invalid, or the image has too many digests.
pub(super) fn named(written: &str, image: &Value) -> Result<Local, String> {
    local(written, image, false)
}

/// The image of a container that exists, from the engine's answer about the ID of the image. The name with which the container was
/// created says in which repository the image is judged. It may mean another image now.
///
/// # Errors
/// When the answer is invalid, or the image has too many digests.
pub(super) fn of_container(written: &str, image: &Value) -> Result<Local, String> {
    local(written, image, true)
}

fn local(written: &str, image: &Value, is_known_by_id: bool) -> Result<Local, String> {
    let digests: BTreeSet<&str> = names(image, "RepoDigests")?.into_iter().collect();
    let digests: Vec<Reference<'_>> = digests.into_iter().filter_map(|name| Reference::parse(name).ok()).collect();
    let all = || digests.iter().map(Reference::registry_name).collect::<Vec<_>>();
    let Ok(reference) = Reference::parse(written) else { return Ok(Local::Id(all())) };
    let is_same_repository = |other: &&Reference<'_>| repository(other) == repository(&reference);
    // An engine with the image store of containerd makes a digest of each name on the engine, so that a name proves nothing.
    let names_are_digests = image["Descriptor"].is_object();
    let counts = |digest: &&Reference<'_>| is_same_repository(digest) && !names_are_digests;
    let of_repository: Vec<_> = digests.iter().filter(counts).collect();
    if let Some(digest) = reference.digest() {
        let is_known = digests.iter().any(|known| is_same_repository(&known) && known.digest() == Some(digest));
        return Ok(if is_known { Local::Registered(vec![written.to_owned()]) } else { Local::Id(all()) });
    }
    let tagged = reference.tagged();
    let has_name = names(image, "RepoTags")?.into_iter().any(|name| {
        // A name without a tag stands for the tag `latest`, on the engine as here.
        Reference::parse(name).is_ok_and(|name| name.tagged().is_some() && name.tagged() == tagged)
    });
    // The digests of an image remain when its name gets another meaning.
    let is_named = has_name || (is_known_by_id && !digests.is_empty());
    Ok(match (is_named, &of_repository[..], &digests[..]) {
        (false, ..) => Local::Id(all()),
        (true, [], []) => Local::Unregistered,
        // The name was given on the engine, and the image comes from other repositories.
        (true, [], _) => Local::Registered(bounded(all())?),
        // Others can push the image to repositories of theirs, so that the engine knows many digests.
        (true, of_repository, _) => {
            let name = tagged.unwrap_or_default();
            let digests = of_repository.iter().filter_map(|known| known.digest());
            let names = digests.map(|digest| format!("{name}@{}", digest.as_str()));
            Local::Registered(bounded(names.collect())?)
        }
    })
}

fn bounded(names: Vec<String>) -> Result<Vec<String>, String> {
    match names.len() {
        0..=MAX_DIGESTS => Ok(names),
        number => Err(format!("has {number} digests in registries on this engine; at most {MAX_DIGESTS} are judged")),
    }
}

fn repository(reference: &Reference<'_>) -> (String, String) {
    (reference.normalized_registry().into_owned(), reference.repository().into_owned())
}

fn names<'i>(image: &'i Value, key: &str) -> Result<Vec<&'i str>, String> {
    match &image[key] {
        Value::Null => Ok(Vec::new()),
        Value::Array(names) => Ok(names.iter().filter_map(Value::as_str).collect()),
        _ => Err(format!("invalid answer of the engine about an image: `{key}`: expected a list")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Local, named as local, of_container};

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn image(tags: &[&str], digests: &[&str]) -> Value {
        json!({"Id": "sha256:cccc", "RepoTags": tags, "RepoDigests": digests})
    }

    fn registered(names: &[&str]) -> Local {
        Local::Registered(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn an_image_is_judged_by_its_digest_in_the_registry_of_its_name() {
        let of = |written: &str, tags: &[&str], digests: &[&str]| local(written, &image(tags, digests)).unwrap();
        let hub = format!("nginx@{A}");
        assert_eq!(
            of("nginx", &["nginx:latest"], &[&hub]),
            registered(&[&format!("docker.io/library/nginx:latest@{A}")])
        );
        assert_eq!(
            of("docker.io/library/nginx:1.27", &["nginx:1.27"], &[&hub]),
            registered(&[&format!("docker.io/library/nginx:1.27@{A}")])
        );
        let (own, other) = (format!("localhost:5000/app@{A}"), format!("example.com/app@{B}"));
        assert_eq!(
            of("localhost:5000/app:1", &["localhost:5000/app:1"], &[&other, &own]),
            registered(&[&format!("localhost:5000/app:1@{A}")])
        );
        assert_eq!(of(&own, &[], &[&own]), registered(&[&own]));
    }

    #[test]
    fn all_digests_of_the_repository_are_judged() {
        let digests = [format!("example.com/app@{B}"), format!("example.com/app@{A}")];
        let digests: Vec<_> = digests.iter().map(String::as_str).collect();
        let names = [format!("example.com/app:1@{A}"), format!("example.com/app:1@{B}")];
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(local("example.com/app:1", &image(&["example.com/app:1"], &digests)).unwrap(), registered(&names));
        let many: Vec<_> = (0..17).map(|number| format!("example.com/app@sha256:{number:064}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(local("example.com/app:1", &image(&["example.com/app:1"], &many)).is_err());
        let mut junk: Vec<_> = (0..1000).map(|number| format!("example.com/junk-{number}@{A}")).collect();
        junk.push(format!("example.com/app@{A}"));
        let junk: Vec<_> = junk.iter().map(String::as_str).collect();
        assert_eq!(
            local("example.com/app:1", &image(&["example.com/app:1"], &junk)).unwrap(),
            registered(&[&format!("example.com/app:1@{A}")])
        );
    }

    #[test]
    fn a_name_that_was_given_on_the_engine_does_not_hide_where_the_image_comes_from() {
        let stale = format!("example.com/stale@{A}");
        let renamed = image(&["example.com/stale:1", "example.com/fresh:1"], &[&stale]);
        assert_eq!(local("example.com/fresh:1", &renamed).unwrap(), registered(&[&stale]));
    }

    #[test]
    fn where_names_are_digests_all_of_them_are_judged() {
        let (own, other) = (format!("example.com/stale@{A}"), format!("trusted.example.com/fresh@{A}"));
        let mut image = image(&["example.com/stale:1", "trusted.example.com/fresh:1"], &[&own, &other]);
        image["Descriptor"] = json!({"digest": A});
        assert_eq!(local("trusted.example.com/fresh:1", &image).unwrap(), registered(&[&own, &other]));
    }

    #[test]
    fn an_image_without_a_digest_is_only_on_the_engine() {
        assert_eq!(local("app:dev", &image(&["app:dev"], &[])).unwrap(), Local::Unregistered);
        assert_eq!(
            local("app:dev", &json!({"RepoTags": ["app:dev"], "RepoDigests": null})).unwrap(),
            Local::Unregistered
        );
    }

    #[test]
    fn an_id_is_not_a_name() {
        let digest = format!("nginx@{A}");
        let stored = image(&["nginx:1"], &[&digest]);
        let id = Local::Id(vec![format!("docker.io/library/nginx@{A}")]);
        for written in
            ["cccc", "sha256:cccc", &"c".repeat(64), "nginx:2", &format!("nginx@{B}"), &format!("other@{A}"), "<none>"]
        {
            assert_eq!(local(written, &stored).unwrap(), id, "{written}");
        }
    }

    #[test]
    fn the_image_of_a_container_is_judged_although_its_name_means_another_image_now() {
        let own = format!("example.com/app@{A}");
        assert_eq!(
            of_container("example.com/app:1", &image(&[], &[&own])).unwrap(),
            registered(&[&format!("example.com/app:1@{A}")])
        );
        assert_eq!(of_container("example.com/other:1", &image(&[], &[&own])).unwrap(), registered(&[&own]));
        assert_eq!(of_container("example.com/app:1", &image(&[], &[])).unwrap(), Local::Id(vec![]));
        assert_eq!(of_container("sha256:cccc", &image(&[], &[&own])).unwrap(), Local::Id(vec![own]));
    }

    #[test]
    fn an_invalid_answer_is_an_error() {
        assert!(local("a", &json!({"RepoDigests": "x"})).is_err());
    }
}
