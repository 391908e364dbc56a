use super::{REMEMBERED, Repeats};
use crate::commands::history::line::read_line;
use crate::commands::history::samples::{D1, D2, Event, decision};

/// How many records of these lines were read before.
fn repeated(repeats: &mut Repeats, lines: &[String]) -> Vec<u64> {
    let repeated = lines.iter().map(|line| {
        let mut records = Vec::new();
        read_line(line.as_bytes(), &mut records).unwrap();
        let all = records.len() as u64;
        let repeated = repeats.remove(line.as_bytes(), &mut records);
        assert_eq!(records.len() as u64 + repeated, all);
        repeated
    });
    repeated.collect()
}

#[test]
fn a_copy_of_an_event_is_removed() {
    let event = Event::deployment("web", D1);
    let plugin = |digest: &str| decision("2026-11-25T12:00:00Z", "Service", "swarm", digest, None);
    let lines = [event.line(), Event::delete("a").line(), Event::get().line(), plugin(D1), plugin(D2)];
    let mut repeats = Repeats::default();
    assert_eq!(repeated(&mut repeats, &lines), [0, 0, 0, 0, 0]);
    // A log pipeline can change the order of the keys and add some.
    let mut shipped = event.json();
    shipped["node"] = "a".into();
    let lines = [&lines[..], &[shipped.to_string()]].concat();
    assert_eq!(repeated(&mut repeats, &lines), [1, 1, 0, 1, 1, 1]);
}

#[test]
fn requests_with_the_same_id_are_different_ones() {
    let event = || Event::deployment("web", D1);
    let lines = [
        event(),
        event().user("joe"),
        event().at("2026-11-25T12:00:00.000001Z"),
        event().code(403),
        event().image(D2, None),
    ];
    assert_eq!(repeated(&mut Repeats::default(), &lines.map(|event| event.line())), [0; 5]);
}

#[test]
fn requests_that_differ_only_in_their_id_are_different_ones() {
    let event = Event::pod("", D1).line();
    let other = event.replace("6a7b6f2c", "6a7b6f2d");
    assert_ne!(event, other);
    assert_eq!(repeated(&mut Repeats::default(), &[event, other]), [0, 0]);
}

#[test]
fn a_list_of_events_has_a_copy_of_each() {
    let list = |names: &[&str]| {
        let items: Vec<String> = names.iter().map(|name| Event::deployment(name, D1).line()).collect();
        format!(r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{}]}}"#, items.join(","))
    };
    assert_eq!(repeated(&mut Repeats::default(), &[list(&["a", "b"]), list(&["b", "c"])]), [0, 1]);
}

#[test]
fn the_last_records_are_remembered() {
    let mut repeats = Repeats::default();
    let many = REMEMBERED as u64;
    assert!((0..many).all(|hash| repeats.is_new(hash)));
    assert!(!repeats.is_new(0));
    assert!(repeats.is_new(many));
    assert!(repeats.is_new(0), "it is the oldest one");
    assert_eq!((repeats.known.len(), repeats.last.len()), (REMEMBERED, REMEMBERED));
}
