//! Reports of scanners in the cluster. Each source reads one kind of resource into [`Scan`]s.

mod kubescape;
mod quay;
mod resource;
mod sbomscanner;
mod trivy_operator;

use std::collections::HashMap;
use std::rc::Rc;

use super::annotated;
use super::image::ScannedImage;
use super::reported::Reported;
use super::result::Scan;
use super::settings::{ReportSource, Scanner};
use crate::evidence::{Answer, Evidence};
use resource::once;

/// The reports of the cluster that have been read.
pub(super) struct Reports {
    /// The namespace of the workload.
    namespace: Option<String>,
    sbomscanner: HashMap<String, Answer<Vec<sbomscanner::LocatedReport>>>,
    trivy_operator: trivy_operator::Index,
    kubescape: kubescape::Index,
    /// What each source reports, by the identity of the image.
    by_source: HashMap<(ReportSource, String), Rc<Reported>>,
    /// What images say themselves, by their identity.
    by_image: HashMap<String, Answer<Rc<[Scan]>>>,
}

impl Reports {
    /// The reports for a workload in a namespace, before any is read.
    #[must_use]
    pub(super) fn new(namespace: Option<&str>) -> Self {
        Self {
            namespace: namespace.map(str::to_owned),
            sbomscanner: HashMap::new(),
            trivy_operator: trivy_operator::Index::default(),
            kubescape: kubescape::Index::default(),
            by_source: HashMap::new(),
            by_image: HashMap::new(),
        }
    }

    /// The scans of an image from one source.
    pub(super) fn of(
        &mut self,
        source: &ReportSource,
        image: &ScannedImage<'_>,
        evidence: &mut Evidence<'_>,
    ) -> Rc<Reported> {
        let key = (source.clone(), format!("{} {:?}", image.identity(), image.image.tagged()));
        if let Some(known) = self.by_source.get(&key) {
            return Rc::clone(known);
        }
        let mut reported = Reported::from(self.read(source, image, evidence));
        let own = self.namespace.as_deref();
        let is_own = source.namespace().or(own) == own;
        if is_own && !source.is_read_by_summaries() {
            // Also if the settings name that namespace.
            reported.scans.iter_mut().for_each(|scan| scan.is_own = true);
            reported.is_incomplete = false;
        }
        let reported = Rc::new(reported);
        self.by_source.insert(key, Rc::clone(&reported));
        reported
    }

    /// The scans that annotations and labels of the image itself describe: first the annotations of the manifest, then the labels,
    /// each in the order of their keys.
    ///
    /// # Errors
    /// Why it is not known which image they are about.
    pub(super) fn of_image(&mut self, image: &ScannedImage<'_>, evidence: &mut Evidence<'_>) -> Answer<Rc<[Scan]>> {
        let key = image.identity();
        if let Some(known) = self.by_image.get(&key) {
            return known.clone();
        }
        let scans = annotated::of_image(image, &mut evidence.registry).map(Rc::from);
        self.by_image.insert(key, scans.clone());
        scans
    }

    fn read(
        &mut self,
        source: &ReportSource,
        image: &ScannedImage<'_>,
        evidence: &mut Evidence<'_>,
    ) -> Answer<Reported> {
        let own = self.namespace.as_deref();
        let namespace = source.namespace().or(own);
        let namespace = namespace.ok_or("the request has no namespace to look for reports in")?;
        let is_own = own == Some(namespace);
        let Evidence { cluster, registry, .. } = evidence;
        match source.source {
            Scanner::Sbomscanner => {
                let locate = || sbomscanner::locate(cluster, namespace);
                let located = once(&mut self.sbomscanner, namespace.to_owned(), locate)?;
                Ok(sbomscanner::scans(cluster, namespace, located, image, registry))
            }
            Scanner::Quay => quay::scans(cluster, (namespace, is_own), image, registry),
            Scanner::TrivyOperator => self.trivy_operator.scans(cluster, namespace, image, registry),
            Scanner::Kubescape if source.is_read_by_summaries() => {
                self.kubescape.scans_by_summaries(cluster, namespace, image, registry)
            }
            Scanner::Kubescape => self.kubescape.scans(cluster, (namespace, is_own), image, registry),
        }
    }
}

#[cfg(test)]
mod tests;
