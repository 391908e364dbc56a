//! The report as OpenMetrics, for the textfile collector of the node exporter or a Pushgateway.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::assessment;
use super::model::{Image, Report, Use, Verdict};
use crate::terminal::printable;

/// The metrics, with `# EOF` at the end. Writing to a `String` cannot fail.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let deadlines = report.images.iter().filter_map(|image| Some((labels(image), image.deadline?.timestamp())));
    let about = "The first moment at which the patch schedule does not accept the image.";
    gauge(&mut text, "container_patch_image_deadline_timestamp_seconds", about, deadlines);
    let builds = report.images.iter().filter_map(|image| Some((labels(image), image.built?.timestamp())));
    gauge(&mut text, "container_patch_image_build_timestamp_seconds", "The build date of the image.", builds);
    let findings = report.images.iter().flat_map(|image| {
        let with_code = |(code, count): (&str, usize)| {
            (format!("{},code=\"{}\"", labels(image), escaped(code)), i64::try_from(count).unwrap_or(i64::MAX))
        };
        image.findings_by_code().into_iter().map(with_code).collect::<Vec<_>>()
    });
    gauge(&mut text, "container_patch_image_findings", "The number of findings about the image, by code.", findings);
    let pods = report.images.iter().flat_map(|image| {
        let in_namespace = |(namespace, pods): (&str, usize)| {
            let labels = format!("{},namespace=\"{}\"", labels(image), escaped(namespace));
            (labels, i64::try_from(pods).unwrap_or(i64::MAX))
        };
        pods_by_namespace(image).into_iter().map(in_namespace).collect::<Vec<_>>()
    });
    let about = "The number of pods that run the image, or of tasks of a swarm. 0 if it is only declared.";
    gauge(&mut text, "container_patch_image_pods", about, pods);
    let verdicts = Verdict::ALL.into_iter().map(|verdict| {
        let count = i64::try_from(report.summary.count(verdict)).unwrap_or(i64::MAX);
        (format!("verdict=\"{}\"", verdict.as_str()), count)
    });
    gauge(&mut text, "container_patch_images", "The number of distinct images, by verdict.", verdicts);
    let failures = [(String::new(), i64::try_from(report.failures.len()).unwrap_or(i64::MAX))];
    let about = "The number of kinds and objects that could not be listed or judged, so that images may be missing.";
    gauge(&mut text, "container_patch_report_failures", about, failures);
    let time = [(String::new(), report.time.timestamp())];
    gauge(&mut text, "container_patch_report_timestamp_seconds", "The time of the report.", time);
    text.push_str("# EOF\n");
    text
}

/// The pods of an image in each namespace that uses it.
fn pods_by_namespace(image: &Image) -> BTreeMap<&str, usize> {
    let mut uses: BTreeMap<&str, Vec<&Use>> = BTreeMap::new();
    for used in &image.used_by {
        uses.entry(&used.namespace).or_default().push(used);
    }
    uses.into_iter().map(|(namespace, uses)| (namespace, assessment::pods(uses.into_iter()))).collect()
}

/// A gauge with its samples, each with its labels.
fn gauge(text: &mut String, name: &str, about: &str, samples: impl IntoIterator<Item = (String, i64)>) {
    let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} gauge");
    if name.ends_with("_seconds") {
        let _ = writeln!(text, "# UNIT {name} seconds");
    }
    for (labels, value) in samples {
        let _ = match labels.as_str() {
            "" => writeln!(text, "{name} {value}"),
            labels => writeln!(text, "{name}{{{labels}}} {value}"),
        };
    }
}

/// The labels of an image. Several tags of one digest are one label.
fn labels(image: &Image) -> String {
    let digest = image.digest.as_deref().unwrap_or_default();
    let tags = image.tags.join(",");
    let [repository, tags, digest] = [&image.repository, &tags, digest].map(escaped);
    format!("repository=\"{repository}\",tag=\"{tags}\",digest=\"{digest}\"")
}

/// The value of a label. Control characters are escaped twice, so that they are visible in the value.
fn escaped(value: &str) -> String {
    printable(value).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::{escaped, render};
    use crate::commands::report::samples;

    #[test]
    fn labels_cannot_leave_their_quotes() {
        assert_eq!(escaped("a\"} 1\nevil 1"), r#"a\"} 1\\nevil 1"#);
        assert_eq!(escaped(r"a\"), r"a\\");
    }

    #[test]
    fn each_metric_has_its_samples() {
        let text = render(&samples::report());
        for line in [
            "container_patch_images{verdict=\"denied\"} 1",
            "container_patch_images{verdict=\"exempt\"} 0",
            "container_patch_report_failures 1",
            "container_patch_report_timestamp_seconds 1795176000",
            &format!(
                "container_patch_image_pods{{repository=\"registry.example.com/shop/web\",tag=\"1.4\",digest=\"sha256:{}\",namespace=\"shop\"}} 3",
                "a".repeat(64)
            ),
            "# UNIT container_patch_image_deadline_timestamp_seconds seconds",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        let stale = text.lines().find(|line| line.contains("code=\"stale-image\"")).unwrap();
        assert!(stale.starts_with(
            "container_patch_image_findings{repository=\"registry.example.com/shop/web\",tag=\"1.4\",digest=\"sha256:"
        ));
        assert!(stale.ends_with(",code=\"stale-image\"} 1"), "{stale}");
        assert!(text.ends_with("\n# EOF\n"));
    }
}
