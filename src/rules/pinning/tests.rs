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
fn an_image_with_a_digest_is_left_alone_whatever_its_tag() {
    for image in ["nginx", "nginx:1.27", "nginx:latest", "registry.example.com:5000/app:dev"] {
        assert_eq!(decide(&Pinning::default(), &format!("{image}@{DIGEST}")), Decision::LeaveAlone, "{image}");
    }
}

#[test]
fn an_image_without_a_digest_gets_what_the_action_says() {
    assert_eq!(decide(&Pinning::default(), "nginx:1.27"), Decision::Pin);
    assert_eq!(decide(&with_action(PinningAction::Deny), "nginx:1.27"), Decision::Report(Effect::Deny));
    assert_eq!(decide(&with_action(PinningAction::Warn), "nginx:1.27"), Decision::Report(Effect::Warn));
    assert_eq!(decide(&with_action(PinningAction::Off), "nginx:1.27"), Decision::LeaveAlone);
}

#[test]
fn a_forbidden_tag_is_refused_even_where_the_rule_only_pins_or_warns() {
    for image in ["nginx:latest", "nginx"] {
        for action in [PinningAction::Pin, PinningAction::Deny, PinningAction::Warn] {
            assert!(is_refused(&with_action(action), image), "{image}");
        }
        assert_eq!(decide(&with_action(PinningAction::Off), image), Decision::LeaveAlone, "{image}");
    }
    let pinning = Pinning { forbidden_tags: vec![Tag("dev".to_owned())], ..with_action(PinningAction::Warn) };
    assert!(is_refused(&pinning, "nginx:dev"));
    assert_eq!(decide(&pinning, "nginx"), Decision::Report(Effect::Warn), "the list replaces the default");
    assert_eq!(decide(&pinning, "nginx:DEV"), Decision::Report(Effect::Warn), "tags know case");
}

#[test]
fn images_of_pod_templates_are_recorded_where_the_rule_pins_and_else_judged() {
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
fn a_report_names_the_reference_to_write_where_the_digest_is_known() {
    let image = Reference::parse("localhost:5000/app:1").unwrap();
    assert_eq!(pinned(&image, DIGEST), format!("localhost:5000/app:1@{DIGEST}"));
    let report = unpinned(&image, Some(DIGEST), Effect::Warn);
    assert!(report.text.ends_with(&format!("; write `localhost:5000/app:1@{DIGEST}`")), "{}", report.text);
    assert!(unpinned(&image, None, Effect::Warn).text.ends_with("pin it by digest: `name:tag@sha256:…`"));
}
