use super::settings::Tag;
use super::*;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn decide(pinning: &Pinning, image: &str) -> Decision {
    pinning.decide(&Reference::parse(image).unwrap(), Placement::Pod)
}

fn is_refused(pinning: &Pinning, image: &str) -> bool {
    matches!(decide(pinning, image), Decision::Refuse { violation, .. } if violation.code == FORBIDDEN_TAG && violation.effect == Effect::Deny)
}

fn with_action(action: PinningAction) -> Pinning {
    Pinning { action, ..Pinning::default() }
}

#[test]
fn an_image_with_a_digest_is_accepted_with_any_tag() {
    for image in ["nginx", "nginx:1.27", "nginx:latest", "registry.example.com:5000/app:dev"] {
        assert_eq!(decide(&Pinning::default(), &format!("{image}@{DIGEST}")), Decision::LeaveAlone, "{image}");
    }
}

#[test]
fn an_image_without_a_digest_is_treated_by_the_action() {
    assert_eq!(decide(&Pinning::default(), "nginx:1.27"), Decision::Pin);
    assert_eq!(decide(&with_action(PinningAction::Deny), "nginx:1.27"), Decision::Report(Effect::Deny));
    assert_eq!(decide(&with_action(PinningAction::Warn), "nginx:1.27"), Decision::Report(Effect::Warn));
    assert_eq!(decide(&with_action(PinningAction::Off), "nginx:1.27"), Decision::LeaveAlone);
}

#[test]
fn a_forbidden_tag_is_refused_even_if_the_rule_only_pins_or_warns() {
    for image in ["nginx:latest", "nginx"] {
        for action in [PinningAction::Pin, PinningAction::Deny, PinningAction::Warn] {
            assert!(is_refused(&with_action(action), image), "{image}");
        }
        assert_eq!(decide(&with_action(PinningAction::Off), image), Decision::LeaveAlone, "{image}");
    }
    let pinning = Pinning { forbidden_tags: vec![Tag("dev".to_owned())], ..with_action(PinningAction::Warn) };
    assert!(is_refused(&pinning, "nginx:dev"));
    assert_eq!(decide(&pinning, "nginx"), Decision::Report(Effect::Warn), "the list replaces the default");
    assert_eq!(decide(&pinning, "nginx:DEV"), Decision::Report(Effect::Warn), "tags are case-sensitive");
}

#[test]
fn images_of_pod_templates_are_recorded_if_the_rule_pins_and_judged_otherwise() {
    let image = Reference::parse("nginx:1").unwrap();
    let in_template =
        |action, templates| Pinning { templates, ..with_action(action) }.decide(&image, Placement::Template);
    assert_eq!(in_template(PinningAction::Pin, None), Decision::Record);
    assert_eq!(in_template(PinningAction::Pin, Some(Templates::Record)), Decision::Record);
    assert_eq!(in_template(PinningAction::Pin, Some(Templates::Judge)), Decision::Pin);
    assert_eq!(in_template(PinningAction::Pin, Some(Templates::Ignore)), Decision::LeaveAlone);
    assert_eq!(in_template(PinningAction::Deny, None), Decision::Report(Effect::Deny));
    assert_eq!(in_template(PinningAction::Deny, Some(Templates::Record)), Decision::LeaveAlone);
    assert_eq!(in_template(PinningAction::Deny, Some(Templates::Ignore)), Decision::LeaveAlone);
    assert_eq!(in_template(PinningAction::Warn, None), Decision::Report(Effect::Warn));
}

#[test]
fn a_finding_names_the_reference_to_write_if_the_digest_is_known() {
    let image = Reference::parse("localhost:5000/app:1").unwrap();
    assert_eq!(pinned(&image, DIGEST), format!("localhost:5000/app:1@{DIGEST}"));
    let report = unpinned(&image, Some(DIGEST), Effect::Warn);
    assert!(report.text.ends_with(&format!("; write `localhost:5000/app:1@{DIGEST}`")), "{}", report.text);
    assert!(unpinned(&image, None, Effect::Warn).text.ends_with("pin it by digest: `name:tag@sha256:…`"));
}

#[test]
fn a_finding_about_a_forbidden_tag_names_the_tag_and_the_form_to_use() {
    let text = |image| match decide(&Pinning::default(), image) {
        Decision::Refuse { violation, .. } => violation.text,
        decision => panic!("{image}: {decision:?}"),
    };
    let advice = "use a version tag, ideally with a digest: `name:tag@sha256:…`";
    assert_eq!(text("nginx:latest"), format!("has the forbidden tag `latest` and no digest; {advice}"));
    assert_eq!(
        text("nginx"),
        format!("has neither tag nor digest, so it means `latest`, which is forbidden; {advice}")
    );
}
