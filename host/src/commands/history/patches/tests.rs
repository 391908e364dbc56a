use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::{Figures, Limits, Patch, Patches};
use crate::commands::history::line::read_line;
use crate::commands::history::samples::{D1, D2, D3, Event, decision, time};

const OLD: Option<&str> = Some("2026-09-01T00:00:00Z");
const NEW: Option<&str> = Some("2026-10-01T00:00:00Z");
const NEWEST: Option<&str> = Some("2026-10-15T00:00:00Z");

/// A time of the day on which everything happens.
fn at(hour: u32) -> String {
    format!("2026-11-25T{hour:02}:00:00Z")
}

/// A pod of the build with that digest and build date, at that hour.
fn pod(hour: u32, name: &str, digest: &str, built: Option<&str>) -> String {
    Event::pod(name, digest).image(digest, built).at(&at(hour)).line()
}

fn deployment(hour: u32, digest: &str, built: Option<&str>) -> String {
    Event::deployment("web", digest).image(digest, built).at(&at(hour)).line()
}

fn delete(hour: u32, name: &str) -> String {
    Event::delete(name).at(&at(hour)).line()
}

fn added(patches: &mut Patches, lines: &[String]) -> Vec<Patch> {
    let (mut records, mut finished) = (Vec::new(), Vec::new());
    for line in lines {
        read_line(line.as_bytes(), &mut records).unwrap();
    }
    for record in &records {
        patches.add(record, &mut finished);
    }
    finished
}

/// The digest, the start and the end of each finished patch, and the digest, the start and the pods of each unfinished one.
#[derive(Debug, PartialEq)]
struct Found {
    finished: Vec<(String, DateTime<Utc>, DateTime<Utc>)>,
    unfinished: Vec<(String, DateTime<Utc>, usize)>,
}

fn found(lines: &[String]) -> Found {
    let mut patches = Patches::default();
    let finished = added(&mut patches, lines);
    Found {
        finished: finished.into_iter().map(|patch| (patch.digest, patch.start, patch.end.unwrap())).collect(),
        unfinished: patches.unfinished().into_iter().map(|patch| (patch.digest, patch.start, patch.old_pods)).collect(),
    }
}

fn finished(patches: &[(&str, u32, u32)]) -> Found {
    let patch = |(digest, start, end): &(&str, u32, u32)| ((*digest).to_owned(), time(&at(*start)), time(&at(*end)));
    Found { finished: patches.iter().map(patch).collect(), unfinished: Vec::new() }
}

fn unfinished(patches: &[(&str, u32, usize)]) -> Found {
    let patch = |(digest, start, pods): &(&str, u32, usize)| ((*digest).to_owned(), time(&at(*start)), *pods);
    Found { finished: Vec::new(), unfinished: patches.iter().map(patch).collect() }
}

#[test]
fn a_patch_lasts_from_the_first_admission_to_the_deletion_of_the_last_old_pod() {
    let mut lines = vec![
        deployment(1, D1, OLD),
        pod(1, "web-1", D1, OLD),
        pod(1, "web-2", D1, OLD),
        deployment(2, D2, NEW),
        pod(3, "web-3", D2, NEW),
        delete(4, "web-1"),
    ];
    assert_eq!(found(&lines), unfinished(&[(D2, 2, 1)]));
    lines.push(delete(5, "web-2"));
    assert_eq!(found(&lines), finished(&[(D2, 2, 5)]));
    // The kubelet deletes a pod again after its grace period.
    lines.push(delete(6, "web-2"));
    assert_eq!(found(&lines), finished(&[(D2, 2, 5)]));
}

#[test]
fn an_older_build_begins_no_patch_when_it_comes_first() {
    let lines = [deployment(1, D2, NEW), pod(1, "web-1", D2, NEW), deployment(2, D1, OLD)];
    assert_eq!(found(&lines), finished(&[]));
}

#[test]
fn without_a_build_date_the_first_admission_counts() {
    let lines = [pod(1, "web-1", D1, None), deployment(2, D2, None), pod(3, "web-2", D2, None), delete(4, "web-1")];
    assert_eq!(found(&lines), finished(&[(D2, 2, 4)]));
}

#[test]
fn a_rollback_extends_the_patch() {
    let mut lines = vec![
        pod(1, "web-1", D1, OLD),
        deployment(2, D2, NEW),
        pod(3, "web-2", D2, NEW),
        deployment(4, D1, OLD),
        pod(4, "web-3", D1, OLD),
        delete(5, "web-1"),
        delete(5, "web-2"),
    ];
    assert_eq!(found(&lines), unfinished(&[(D2, 2, 1)]));
    lines.extend([deployment(6, D2, NEW), pod(6, "web-4", D2, NEW), delete(7, "web-3")]);
    assert_eq!(found(&lines), finished(&[(D2, 2, 7)]));
}

#[test]
fn an_old_pod_after_the_end_begins_a_patch_anew() {
    let lines = [pod(1, "web-1", D1, OLD), pod(2, "web-2", D2, NEW), delete(3, "web-1"), pod(4, "web-3", D1, OLD)];
    let expected = Found { unfinished: unfinished(&[(D2, 4, 1)]).unfinished, ..finished(&[(D2, 2, 3)]) };
    assert_eq!(found(&lines), expected);
}

#[test]
fn each_new_build_has_a_patch_of_its_own() {
    let mut lines = vec![pod(1, "web-1", D1, OLD), pod(2, "web-2", D2, NEW), pod(3, "web-3", D3, NEWEST)];
    assert_eq!(found(&lines), unfinished(&[(D2, 2, 1), (D3, 3, 2)]));
    lines.push(delete(4, "web-1"));
    let expected = Found { unfinished: unfinished(&[(D3, 3, 1)]).unfinished, ..finished(&[(D2, 2, 4)]) };
    assert_eq!(found(&lines), expected);
    lines.push(delete(5, "web-2"));
    assert_eq!(found(&lines), finished(&[(D2, 2, 4), (D3, 3, 5)]));
}

#[test]
fn requests_that_are_not_stored_begin_nothing() {
    let denied = Event::deployment("web", D2).image(D2, NEW).verdict("denied").code(462).at(&at(2)).line();
    assert_eq!(found(&[pod(1, "web-1", D1, OLD), denied]), finished(&[]));
}

#[test]
fn an_image_that_a_request_does_not_change_begins_nothing() {
    let images =
        format!(r#"[{{"image":"registry.example.com/web:1@{D2}","sites":["container `web`"],"unchanged":true}}]"#);
    let scaled = Event::deployment("api", D2).annotation("images", &images).verb("patch").code(200).at(&at(2)).line();
    assert_eq!(found(&[pod(1, "web-1", D1, OLD), scaled]), finished(&[]));
}

#[test]
fn pods_of_jobs_do_not_count() {
    let of_job = Event::pod("backup-1", D1).image(D1, OLD).annotation("object", r#"{"owner":"Job/backup-29"}"#);
    let of_job = of_job.at(&at(1));
    for controller in ["system:serviceaccount:kube-system:job-controller", "system:kube-controller-manager"] {
        let created = of_job.clone().user(controller).line();
        assert_eq!(found(&[created, deployment(2, D2, NEW)]), finished(&[]), "{controller}");
    }
    // Every user can write an owner reference.
    assert_eq!(found(&[of_job.line(), deployment(2, D2, NEW)]), unfinished(&[(D2, 2, 1)]));
}

#[test]
fn a_build_date_in_the_future_does_not_make_other_builds_old() {
    let future = Some("9999-12-31T00:00:00Z");
    let lines = [pod(1, "web-1", D3, future), delete(2, "web-1"), pod(3, "web-2", D1, None), deployment(4, D2, None)];
    assert_eq!(found(&lines), unfinished(&[(D2, 4, 1)]));
}

#[test]
fn an_update_that_does_not_name_the_builds_of_a_pod_leaves_them() {
    let unknown = r#"{"image":"registry.example.com/web:1","sites":["container `web`"],"unchanged":true}"#;
    let debug = format!(
        r#"{{"image":"registry.example.com/debug:1","sites":["ephemeral container `debug`"],"digest":"{D3}"}}"#
    );
    let update =
        |images: &str| Event::pod("web-1", D1).annotation("images", images).verb("patch").code(200).at(&at(3)).line();
    for images in [format!("[{unknown},{debug}]"), format!(r#"[{debug},{{"omitted":1}}]"#)] {
        let mut lines = vec![pod(1, "web-1", D1, OLD), deployment(2, D2, NEW), update(&images)];
        assert_eq!(found(&lines), unfinished(&[(D2, 2, 1)]), "{images}");
        lines.push(delete(4, "web-1"));
        assert_eq!(found(&lines), finished(&[(D2, 2, 4)]), "{images}");
    }
}

#[test]
fn a_pod_that_gets_another_image_leaves_the_old_one() {
    let updated = Event::pod("web-1", D2).image(D2, NEW).verb("patch").code(200).at(&at(3)).line();
    assert_eq!(found(&[pod(1, "web-1", D1, OLD), deployment(2, D2, NEW), updated]), finished(&[(D2, 2, 3)]));
}

#[test]
fn the_deletion_of_all_pods_of_a_namespace_ends_them() {
    let other = Event::pod("web-1", D1).image(D1, OLD).namespace("staging").at(&at(1)).line();
    let all = Event::delete("").verb("deletecollection").uri("/api/v1/namespaces/shop/pods").at(&at(3)).line();
    let mut lines = vec![pod(1, "web-1", D1, OLD), pod(1, "web-2", D1, OLD), other, deployment(2, D2, NEW), all];
    assert_eq!(found(&lines), unfinished(&[(D2, 2, 1)]));
    lines.push(Event::delete("web-1").namespace("staging").at(&at(4)).line());
    assert_eq!(found(&lines), finished(&[(D2, 2, 4)]));
}

#[test]
fn pods_without_a_known_name_are_counted() {
    let mut patches = Patches::default();
    added(&mut patches, &[pod(1, "", D1, OLD), pod(1, "", D1, OLD), deployment(2, D2, NEW)]);
    assert_eq!((patches.unnamed_pods(), patches.unfinished()), (2, Vec::new()));
}

#[test]
fn a_service_of_a_swarm_ends_when_it_is_updated() {
    let service = |hour, name, digest, built| decision(&at(hour), "Service", name, digest, built);
    let lines = [
        service(1, "web", D1, OLD),
        service(1, "api", D1, OLD),
        decision(&at(1), "Container", "shell", D1, OLD),
        service(2, "web", D2, NEW),
        service(3, "api", D2, NEW),
    ];
    assert_eq!(found(&lines), finished(&[(D2, 2, 3)]));
}

#[test]
fn state_has_limits() {
    let mut patches = Patches::with(Limits { pods: 1, repositories: 1, builds: 2 });
    added(&mut patches, &[pod(1, "web-1", D1, OLD), pod(1, "web-1", D1, OLD)]);
    assert!(!patches.exceeds_limits());
    added(&mut patches, &[pod(1, "web-2", D1, OLD)]);
    assert!(patches.exceeds_limits());
    let mut patches = Patches::with(Limits { pods: 9, repositories: 9, builds: 2 });
    added(&mut patches, &[pod(1, "web-1", D1, OLD), pod(1, "web-2", D2, OLD)]);
    assert!(!patches.exceeds_limits());
    added(&mut patches, &[pod(1, "web-3", D3, OLD)]);
    assert!(patches.exceeds_limits() && patches.repositories[0].builds.len() == 2);
    let mut patches = Patches::default();
    for build in 0..200 {
        let digest = format!("sha256:{build:064x}");
        added(&mut patches, &[deployment(1, &digest, None)]);
    }
    assert!(patches.repositories[0].builds.len() < 50);
    added(&mut patches, &[pod(1, "web-1", D1, OLD)]);
    for build in 200..1400 {
        let digest = format!("sha256:{build:064x}");
        added(&mut patches, &[deployment(2, &digest, None)]);
    }
    assert!(patches.repositories[0].builds.len() < 1100 && patches.exceeds_limits());
    assert_eq!(patches.repositories[0].builds.len(), patches.repositories[0].by_digest.len());
}

#[test]
fn figures_use_the_nearest_rank() {
    let figures = |hours: &[i64]| Figures::of(hours.iter().copied().map(TimeDelta::hours).collect(), 0);
    let hours = |hours| Some(TimeDelta::hours(hours));
    let ten = figures(&[10, 1, 9, 2, 8, 3, 7, 4, 6, 5]);
    assert_eq!((ten.finished, ten.p90, ten.slowest), (10, hours(9), hours(10)));
    assert_eq!(ten.mean, Some(TimeDelta::minutes(330)));
    let eleven = figures(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(eleven.p90, hours(10));
    assert_eq!(figures(&[4]), Figures { finished: 1, unfinished: 0, mean: hours(4), p90: hours(4), slowest: hours(4) });
    assert_eq!(figures(&[]), Figures::default());
}

proptest! {
    /// Whatever happens, a patch is unfinished exactly while an older build runs.
    #[test]
    fn a_patch_is_unfinished_while_an_older_build_runs(steps in prop::collection::vec((0_u32..4, 0_usize..5, 0_u32..4), 1..60)) {
        let mut patches = Patches::default();
        let mut pods = std::collections::BTreeMap::new();
        for (hour, (what, build, name)) in steps.into_iter().enumerate() {
            let hour = u32::try_from(hour % 24).unwrap();
            let digest = format!("sha256:{build:064x}");
            let built = format!("2026-10-{:02}T00:00:00Z", build + 1);
            let name = format!("web-{name}");
            match what {
                0 => added(&mut patches, &[deployment(hour, &digest, Some(&built))]),
                1 => {
                    pods.remove(&name);
                    added(&mut patches, &[delete(hour, &name)])
                }
                _ => {
                    pods.insert(name.clone(), build);
                    added(&mut patches, &[pod(hour, &name, &digest, Some(&built))])
                }
            };
            prop_assert_eq!(patches.pod_count, pods.len());
            let oldest = pods.values().min();
            for patch in patches.unfinished() {
                let target: usize = usize::from_str_radix(patch.digest.trim_start_matches("sha256:"), 16).unwrap();
                prop_assert_eq!(patch.old_pods, pods.values().filter(|build| **build < target).count());
                prop_assert!(patch.old_pods > 0);
            }
            // As soon as pods of two builds run, the older one is to be replaced.
            let newest = pods.values().max();
            if oldest < newest {
                prop_assert!(!patches.unfinished().is_empty());
            }
        }
    }
}
