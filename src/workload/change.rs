//! Which images an UPDATE changes.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::value::RawValue;

use super::records;
use super::site::{ImageSite, Workload};
use crate::image::Platform;
use crate::json::Entries;

/// For each image site of an object, whether its earlier state has the same image in the same container for the same nodes. Each
/// earlier site matches one site only, so the second of two equal containers counts as new. `configured` are the platforms in the
/// settings: nodes of another platform may run another image of an index.
#[must_use]
pub fn unchanged<'w>(now: &'w Workload<'_>, before: &'w Workload<'_>, configured: Option<&[Platform]>) -> Vec<bool> {
    let mut unmatched: HashMap<_, usize> = HashMap::with_capacity(before.sites.len());
    for identity in before.sites.iter().filter_map(ImageSite::identity) {
        *unmatched.entry(identity).or_default() += 1;
    }
    let templates = now.templates.iter().map(|template| template.pointer.as_ref());
    let moved: Vec<&str> = templates
        .filter(|template| !now.platforms(template, configured).are_among(&before.platforms(template, configured)))
        .collect();
    let mut take = |site: &'w ImageSite<'_>| {
        let left = site.identity().and_then(|identity| unmatched.get_mut(&identity)).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    };
    now.sites.iter().map(|site| take(site) && !moved.contains(&site.template())).collect()
}

/// The image sites of an earlier state, by template, list and container name. Kubernetes refuses two containers of one name, but its
/// API server does not check custom workloads.
#[derive(Debug)]
pub struct Predecessors<'w> {
    now: &'w Workload<'w>,
    before: &'w Workload<'w>,
    by_place: HashMap<Place<'w>, Vec<&'w ImageSite<'w>>>,
    /// The places that several sites of one state have.
    shared: OnceCell<HashSet<Place<'w>>>,
}

/// A template, a list and the name of a container.
type Place<'w> = (&'w str, &'static str, &'w str);

impl<'w> Predecessors<'w> {
    /// The sites of the earlier state of an object.
    #[must_use]
    pub fn of(now: &'w Workload<'w>, before: &'w Workload<'w>) -> Self {
        let mut by_place: HashMap<_, Vec<_>> = HashMap::new();
        for site in &before.sites {
            if let Some(place) = site.place() {
                by_place.entry(place).or_default().push(site);
            }
        }
        Self { now, before, by_place, shared: OnceCell::new() }
    }

    /// The earlier site of the container of `site`: if there are several, one with the same image if possible.
    #[must_use]
    pub fn of_site(&self, site: &ImageSite<'_>) -> Option<&'w ImageSite<'w>> {
        let earlier = self.by_place.get(&site.place()?)?;
        earlier.iter().find(|earlier| earlier.image == site.image).or(earlier.first()).copied()
    }

    /// Whether the object has only one container of the name of `site`, and had only one. Otherwise an earlier image can stay in the
    /// object while `site` seems to replace it.
    #[must_use]
    pub fn is_replaced_by(&self, site: &ImageSite<'_>) -> bool {
        let shared = self.shared.get_or_init(|| [self.now, self.before].into_iter().flat_map(shared_places).collect());
        site.place().is_some_and(|place| !shared.contains(&place))
    }
}

/// The places that several image sites of an object have.
fn shared_places<'w>(workload: &'w Workload<'w>) -> Vec<Place<'w>> {
    let mut places = HashSet::new();
    workload.sites.iter().filter_map(ImageSite::place).filter(|place| !places.insert(*place)).collect()
}

/// Whether an UPDATE changes neither the images of an object nor its records.
#[must_use]
pub fn keeps_images(mut now: Workload<'_>, mut before: Workload<'_>, configured: Option<&[Platform]>) -> bool {
    records::add_unused(&mut now);
    records::add_unused(&mut before);
    unchanged(&now, &before, configured).iter().all(|is_unchanged| *is_unchanged)
}

/// Whether two states of an object differ in their metadata only.
#[must_use]
pub fn changes_only_metadata(now: &RawValue, before: &RawValue) -> bool {
    match (body(now.get()), body(before.get())) {
        (Some(now), Some(before)) => now == before,
        _ => false,
    }
}

/// The fields of an object without its metadata, as they are written.
fn body(object: &str) -> Option<BTreeMap<Cow<'_, str>, &str>> {
    let Entries(entries) = serde_json::from_str(object).ok()?;
    Some(entries.into_iter().filter(|(key, _)| key != "metadata").map(|(key, value)| (key, value.get())).collect())
}
