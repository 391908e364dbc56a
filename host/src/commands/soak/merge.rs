//! Merges what runs in staging with the earlier record.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::pods::{Failure, Seen, SeenDigest, State};
use super::record::{Entry, Record};

/// How long a digest may be away without an effect on its soak time: while its pods move to other nodes, for example.
const MAX_UNNOTICED: TimeDelta = TimeDelta::hours(1);

/// What runs in staging.
#[derive(Debug, Default)]
pub(super) struct Staging {
    digests: BTreeMap<String, Staged>,
    /// The number of containers and volumes whose image has no digest.
    pub(super) without_digest: usize,
    /// The number of pods.
    pub(super) pods: usize,
    /// The number of containers that are not ready and have not failed.
    pub(super) not_ready: usize,
    /// The pods with such containers.
    pub(super) waiting: BTreeSet<String>,
}

/// What the pods of staging say about a digest.
#[derive(Debug, Default)]
struct Staged {
    /// What has been ready the longest: since when, and where.
    ready: Option<(DateTime<Utc>, String)>,
    /// The last failure.
    failure: Option<Failure>,
}

/// The new record.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) record: Record,
    /// The number of digests that were not in the earlier record.
    pub(super) new: usize,
    /// The digests that run but are not recorded, because they have failed and are not ready anywhere.
    pub(super) failed: Vec<(String, String)>,
}

impl Staging {
    /// Adds what a pod says.
    pub(super) fn add(&mut self, seen: Seen) {
        self.pods += 1;
        self.without_digest += seen.without_digest;
        self.not_ready += seen.not_ready;
        if seen.not_ready > 0 {
            self.waiting.insert(seen.pod);
        }
        for SeenDigest { digest, state, place } in seen.digests {
            let staged = self.digests.entry(digest).or_default();
            match state {
                State::Ready(since) => {
                    let ready = (since, place);
                    if staged.ready.as_ref().is_none_or(|known| ready < *known) {
                        staged.ready = Some(ready);
                    }
                }
                State::Failed(failure) => {
                    if staged.failure.as_ref().is_none_or(|known| failure.at > known.at) {
                        staged.failure = Some(failure);
                    }
                }
                State::NotReady => {}
            }
        }
    }
}

/// Merges what runs in staging with the earlier record.
pub(super) fn merge(earlier: &Record, staging: &Staging, keep: TimeDelta, now: DateTime<Utc>) -> Merged {
    let record = Record { recorded_at: Some(now), ..Record::default() };
    let mut merged = Merged { record, new: 0, failed: Vec::new() };
    for (digest, staged) in &staging.digests {
        let known = earlier.entries.get(digest);
        match (&staged.ready, &staged.failure) {
            (Some(ready), failure) => {
                merged.new += usize::from(known.is_none());
                let entry =
                    running(ready, failure.as_ref(), known.map(|entry| (entry, last_seen(entry, earlier, now))));
                merged.record.entries.insert(digest.clone(), entry);
            }
            (None, Some(failure)) => merged.failed.push((digest.clone(), failure.why.clone())),
            (None, None) => {}
        }
    }
    let is_failed = |digest: &str| staging.digests.get(digest).is_some_and(|staged| staged.failure.is_some());
    for (digest, entry) in &earlier.entries {
        let until = last_seen(entry, earlier, now);
        if !merged.record.entries.contains_key(digest) && !is_failed(digest) && now - until <= keep {
            merged.record.entries.insert(digest.clone(), Entry { until: Some(until), ..entry.clone() });
        }
    }
    merged
}

/// When the digest of an entry was last seen in staging.
fn last_seen(entry: &Entry, record: &Record, now: DateTime<Utc>) -> DateTime<Utc> {
    entry.until.or(record.recorded_at).unwrap_or(now).max(entry.since)
}

/// The entry of a digest that is ready now. `known` is its earlier entry, and when it was last seen.
fn running(
    (since, place): &(DateTime<Utc>, String),
    failure: Option<&Failure>,
    known: Option<(&Entry, DateTime<Utc>)>,
) -> Entry {
    let ready = Entry { since: *since, until: None, place: place.clone() };
    let Some((entry, last_seen)) = known else { return ready };
    // The time that it was away does not count.
    let away = *since - last_seen;
    let kept = if away > MAX_UNNOTICED { entry.since + away } else { entry.since };
    // What was ready before a failure does not count.
    let kept = failure.map_or(kept, |failure| kept.max(failure.at));
    if kept >= ready.since {
        return ready;
    }
    let place = if entry.place.is_empty() { ready.place } else { entry.place.clone() };
    Entry { since: kept, until: None, place }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Merged, Staging, merge};
    use crate::commands::soak::pods::{Failure, Seen, SeenDigest, State};
    use crate::commands::soak::record::{Entry, Record};

    const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

    /// A time of November 2026, as day and time: `20T12:00`.
    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-{text}:00Z").parse().unwrap()
    }

    fn ready(since: &str) -> State {
        State::Ready(at(since))
    }

    fn failed(when: &str) -> State {
        State::Failed(Failure { at: at(when), why: format!("failed at {when}") })
    }

    /// What runs in staging: containers of one digest, each in the workload of its number.
    fn staging(states: &[State]) -> Staging {
        let mut staging = Staging::default();
        for (index, state) in states.iter().enumerate() {
            let seen = SeenDigest { digest: DIGEST.to_owned(), state: state.clone(), place: format!("new/{index}") };
            staging.add(Seen { digests: vec![seen], ..Seen::default() });
        }
        staging
    }

    /// A record of one digest, written at 11:50 on the 20th.
    fn record(since: &str, until: Option<&str>) -> Record {
        let entry = Entry { since: at(since), until: until.map(at), place: "old".to_owned() };
        Record { entries: [(DIGEST.to_owned(), entry)].into(), recorded_at: Some(at("20T11:50")) }
    }

    /// Merges at 12:00 on the 20th.
    fn merged(earlier: &Record, states: &[State]) -> Merged {
        merge(earlier, &staging(states), TimeDelta::days(7), at("20T12:00"))
    }

    /// The entry: `since`, perhaps `until`, and where.
    fn text(merged: &Merged) -> String {
        let short = |time: DateTime<Utc>| time.format("%dT%H:%M").to_string();
        let entry = merged.record.entries.get(DIGEST).map(|entry| {
            let until = entry.until.map(|until| format!(" until {}", short(until))).unwrap_or_default();
            format!("{}{until} {}", short(entry.since), entry.place)
        });
        entry.unwrap_or_else(|| "none".to_owned())
    }

    #[test]
    fn a_new_digest_is_recorded_since_its_first_ready_container() {
        for (name, states, expected, new) in [
            ("one", vec![ready("19T08:00")], "19T08:00 new/0", 1),
            ("the first of several", vec![ready("19T08:00"), ready("18T08:00"), State::NotReady], "18T08:00 new/1", 1),
            ("with a failure elsewhere", vec![failed("20T11:00"), ready("19T08:00")], "19T08:00 new/1", 1),
            ("not ready yet", vec![State::NotReady], "none", 0),
            ("failed", vec![failed("20T11:00")], "none", 0),
            ("nothing", vec![], "none", 0),
        ] {
            let merged = merged(&Record::default(), &states);
            assert_eq!((text(&merged).as_str(), merged.new), (expected, new), "{name}");
            assert_eq!(merged.record.recorded_at, Some(at("20T12:00")));
        }
    }

    #[test]
    fn a_digest_keeps_its_soak_time_while_its_pods_are_replaced() {
        let running = || record("10T08:00", None);
        for (name, earlier, states, expected) in [
            ("the same pod", running(), vec![ready("10T08:00")], "10T08:00 new/0"),
            ("an older pod than was known", running(), vec![ready("09T08:00")], "09T08:00 new/0"),
            ("a drained pod that is ready elsewhere", running(), vec![ready("20T11:55")], "10T08:00 old"),
            ("a drained pod that still starts", running(), vec![State::NotReady], "10T08:00 until 20T11:50 old"),
            ("a drained pod that has no replacement yet", running(), vec![], "10T08:00 until 20T11:50 old"),
            (
                "ready again within an hour",
                record("10T08:00", Some("20T11:00")),
                vec![ready("20T12:00")],
                "10T08:00 old",
            ),
        ] {
            let merged = merged(&earlier, &states);
            assert_eq!((text(&merged).as_str(), merged.new), (expected, 0), "{name}");
        }
    }

    #[test]
    fn a_longer_absence_does_not_count() {
        // Two days of soak time, then away for eight days and one hour.
        let back = merged(&record("10T08:00", Some("12T08:00")), &[ready("20T09:00")]);
        assert_eq!(text(&back), "18T09:00 old");
        // The recorder did not run for a day. The digest was in staging at both ends, in different pods.
        let mut earlier = record("10T08:00", None);
        earlier.recorded_at = Some(at("19T11:50"));
        assert_eq!(text(&merged(&earlier, &[ready("20T01:50")])), "10T22:00 old");
        assert_eq!(
            text(&merged(&earlier, &[ready("19T12:30")])),
            "10T08:00 old",
            "the new pod followed within an hour"
        );
        assert_eq!(text(&merged(&earlier, &[ready("15T00:00")])), "10T08:00 old", "the pod was there all the time");
        // Nothing says when it was last seen.
        earlier.recorded_at = None;
        assert_eq!(text(&merged(&earlier, &[ready("20T01:50")])), "10T08:00 old");
        assert_eq!(text(&merged(&earlier, &[])), "10T08:00 until 20T12:00 old");
    }

    #[test]
    fn a_failure_ends_the_soak_time() {
        for (name, states, expected) in [
            ("every pod has failed", vec![failed("20T11:00"), failed("19T11:00")], "none"),
            ("one has failed, and none is ready", vec![failed("20T11:00"), State::NotReady], "none"),
            ("one is crash-looping, and one is ready", vec![failed("20T12:00"), ready("19T08:00")], "19T08:00 new/1"),
            ("one failed before the other was ready", vec![failed("15T08:00"), ready("19T08:00")], "15T08:00 old"),
            ("one failed before the soak time", vec![failed("05T08:00"), ready("19T08:00")], "10T08:00 old"),
        ] {
            assert_eq!(text(&merged(&record("10T08:00", None), &states)), expected, "{name}");
        }
        let lost = merged(&record("10T08:00", Some("19T08:00")), &[failed("20T11:00")]);
        assert_eq!(text(&lost), "none");
        assert_eq!(lost.failed, [(DIGEST.to_owned(), "failed at 20T11:00".to_owned())]);
    }

    #[test]
    fn a_digest_that_has_left_is_kept_for_a_time() {
        for (until, expected) in [
            (Some("19T08:00"), "10T08:00 until 19T08:00 old"),
            (Some("13T12:00"), "10T08:00 until 13T12:00 old"),
            (Some("13T11:59"), "none"),
            (None, "10T08:00 until 20T11:50 old"),
        ] {
            assert_eq!(text(&merged(&record("10T08:00", until), &[])), expected, "{until:?}");
        }
    }

    #[test]
    fn a_time_before_the_record_does_not_make_until_earlier_than_since() {
        let mut earlier = record("20T11:00", None);
        earlier.recorded_at = Some(at("19T08:00"));
        assert_eq!(text(&merged(&earlier, &[])), "20T11:00 until 20T11:00 old");
    }
}
