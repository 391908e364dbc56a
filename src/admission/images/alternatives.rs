//! Judges other images that matter for a new image: its predecessor, which it may fix, and the build that its tag points at now, which a
//! refusal names.

use super::{ImageJudge, judge_content};
use crate::enforcement::exceptions::Exceptions;
use crate::enforcement::fixes;
use crate::enforcement::sink::ImageSink;
use crate::finding::{Code, Effect, Finding};
use crate::image::Reference;
use crate::response::JudgedImage;
use crate::rules::rule::Image;
use crate::rules::{self, RuleSettings};

/// The most images of a request for which a refusal names a fix. Each costs questions to its registry.
const MAX_NAMED_FIXES: usize = 8;

/// The length of a date in RFC 3339.
const DATE: usize = 10;

/// The findings about an image that is judged in place of another.
struct Alternative {
    findings: Vec<Finding>,
    /// The build date, if it is known.
    built: Option<String>,
}

impl ImageJudge<'_, '_> {
    /// Admits a fix. `first` is the index of the first finding about the image.
    pub(super) fn admit_fix(&mut self, settings: &RuleSettings, image: &Image<'_>, first: usize) {
        let found = self.findings.get(first..).unwrap_or_default();
        if !settings.admits_fixes() || image.predecessor.is_none() || !fixes::only_time_refuses(found) {
            return;
        }
        let Some(repaired) = self.refusal_of_predecessor(image) else { return };
        fixes::admit(self.findings.get_mut(first..).unwrap_or_default(), repaired);
    }

    /// The code for which the predecessor of an image is refused. `None` if it is not refused, if it is in another repository, if it may
    /// stay in the object, or if it cannot be judged.
    fn refusal_of_predecessor(&mut self, image: &Image<'_>) -> Option<Code> {
        let site = image.predecessor.filter(|_| self.predecessors.is_replaced_by(image.site))?;
        let written =
            Reference::parse(&site.image).ok().filter(|written| written.has_repository_of(&image.reference))?;
        let name = written.normalized();
        if self.settings.general().exempts(&name) {
            return None;
        }
        let settings = self.settings.rules_for(&name);
        let exceptions = Exceptions::for_image(self.settings, &name, self.evidence.now);
        let recorded = rules::judged_reference(settings, site, true);
        let recorded = recorded.as_deref().and_then(|image| Reference::parse(image).ok());
        let reference = recorded.unwrap_or_else(|| written.clone());
        let mut predecessor = Image {
            context: image.context,
            site,
            index: image.index,
            written: &written,
            digest: reference.digest().map(|digest| digest.as_str().to_owned()),
            reference,
            // The nodes on which it runs: another image of an index may be stale, and have run nowhere.
            platforms: image.context.before.platforms(site.template(), self.settings.general().configured_platforms()),
            is_unchanged: true,
            follows_from_workload: false,
            predecessor: None,
            is_predecessor: true,
            freezes: settings.freezes(),
            waivers: &exceptions,
        };
        let judged = self.judge_alternative(settings, &mut predecessor, &exceptions)?;
        fixes::refusal(&judged.findings).map(|finding| finding.code)
    }

    /// Adds to the refusal of an image how to keep the digest that was recorded before the UPDATE, if it differs now.
    pub(super) fn name_earlier_record(&mut self, image: &Image<'_>, first: usize) {
        let predecessor = image.predecessor.filter(|predecessor| predecessor.image == image.site.image);
        let earlier = predecessor.and_then(|predecessor| predecessor.recorded());
        let Some(earlier) = earlier.filter(|earlier| *earlier != image.reference.as_str()) else { return };
        let mut found = self.findings.get_mut(first..).unwrap_or_default().iter_mut();
        if let Some(refusal) = found.find(|finding| finding.effect == Effect::Deny) {
            refusal.text = format!("{}; to keep the digest recorded before, write `{earlier}`", refusal.text);
        }
    }

    /// Adds the fix to the refusal of an image: the build that its tag points at now, or that there is no newer one. `first` and `content`
    /// are the indexes of the first finding about the image, and of the first one about its content.
    pub(super) fn name_fix(
        &mut self,
        settings: &RuleSettings,
        image: &mut Image<'_>,
        (first, content): (usize, usize),
    ) {
        let is_refused = fixes::refusal(self.findings.get(first..).unwrap_or_default()).is_some();
        if !is_refused || self.named_fixes == MAX_NAMED_FIXES {
            return;
        }
        self.named_fixes += 1;
        if (image.context.is_denial_final)() {
            self.evidence.registry.request_is_refused();
        }
        let Some((fix, advice)) = self.fix_of(settings, image, (first, content)) else { return };
        if let Some(refusal) = fixes::refusal_mut(self.findings.get_mut(first..).unwrap_or_default()) {
            refusal.text = format!("{}; {advice}", refusal.text);
            refusal.fix = fix.map(String::into_boxed_str);
        }
    }

    /// The digest of the fix, if there is one, and the advice. `None` if the tag is forbidden, or if the registry does not say what
    /// it points at.
    fn fix_of(
        &mut self,
        settings: &RuleSettings,
        image: &mut Image<'_>,
        (first, content): (usize, usize),
    ) -> Option<(Option<String>, String)> {
        let judged = image.digest.clone()?;
        let tagged = image.reference.tagged()?;
        let tagged = Reference::parse(&tagged).ok()?;
        let tag = tagged.effective_tag().filter(|tag| !settings.forbids_tag(tag))?;
        let digest = self.evidence.registry.digest_if_known(&tagged.registry_name())?;
        if digest == judged {
            return Some((None, format!("there is no newer build under the tag `{tag}`")));
        }
        // Patterns in the settings can match the digest.
        let name = format!("{}@{digest}", tagged.normalized());
        if self.settings.general().exempts(&name) {
            return None;
        }
        let settings = self.settings.rules_for(&name);
        let exceptions = &Exceptions::for_image(self.settings, &name, self.evidence.now);
        image.digest = Some(digest.clone());
        let alternative = self.judge_alternative(settings, image, exceptions);
        image.digest = Some(judged);
        let Alternative { mut findings, built } = alternative?;
        // What is judged by the reference is the same for every build.
        findings.extend(self.findings.get(first..content).unwrap_or_default().iter().cloned());
        let built = built.map(|built| format!(", built {}", built.get(..DATE).unwrap_or_default())).unwrap_or_default();
        let target = format!("the tag `{tag}` now points at {digest}{built}");
        let waits = fixes::only_time_refuses(&findings);
        let is_accepted = findings.iter().all(|finding| finding.effect != Effect::Deny)
            || waits && settings.admits_fixes() && self.refusal_of_predecessor(image).is_some();
        if is_accepted {
            return Some((Some(digest), format!("{target}: deploy that build")));
        }
        let codes = denials(&findings);
        let waiting = findings.iter().find(|finding| waits && finding.effect == Effect::Deny);
        Some((
            None,
            match waiting {
                Some(Finding { text, .. }) => format!("{target}, which may not be deployed yet ({codes}): it {text}"),
                None => format!("there is no better build under its tag: {target}, which is also refused ({codes})"),
            },
        ))
    }

    /// Judges the content of an image without effect on the verdict. `None` if its registry may not be asked.
    fn judge_alternative(
        &mut self,
        settings: &RuleSettings,
        image: &mut Image<'_>,
        exceptions: &Exceptions<'_>,
    ) -> Option<Alternative> {
        let Self { rules, evidence, .. } = self;
        let strictest =
            rules.judges_content(settings, image).filter(|_| evidence.registry.may_ask(&image.reference))?;
        let mut findings = Vec::new();
        let mut judged = JudgedImage::at(image.site);
        let sink = &mut ImageSink {
            site: image.site,
            written: image.written,
            judged: image.reference.clone(),
            exceptions,
            downgrade: None,
            findings: &mut findings,
        };
        judge_content(rules, settings, image, strictest, evidence, sink, &mut judged);
        Some(Alternative { findings, built: judged.built })
    }
}

/// The codes of the findings that refuse an image, each once.
fn denials(findings: &[Finding]) -> String {
    let mut codes: Vec<String> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.effect == Effect::Deny) {
        let code = format!("`{}`", finding.code);
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes.join(", ")
}
