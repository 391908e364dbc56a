//! One line of a log: an event of the API server's audit log, or an event of the Swarm plugin's log.
//!
//! Most lines of an audit log are about other things, so a line is searched for a few bytes before it is parsed. The search may select
//! a line that has no records, but does not miss one that has: the API server writes its keys and verbs without escapes.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use memchr::memmem::{Finder, FinderRev};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::value::RawValue;

use super::record::{
    BreakGlass, Deleted, Finding, Image, Object, Operation, Outcome, Platform, Record, Request, is_same_image, parts,
};

/// The most bytes of a line. A longer one is skipped.
pub(super) const MAX_LINE: usize = 16 << 20;

/// The most items of a list that are read. The policy's lists have at most 8 KiB, which are fewer.
const MAX_ITEMS: usize = 500;

/// The most parameters of a query that is read. Go ignores a query with 10,000 parameters as a whole, since 1.24.12 and 1.25.6.
const MAX_PARAMETERS: usize = 1000;

/// The most sites of a list of images that are read. They are compared with each other.
const MAX_SITES: usize = 2000;

/// The most bytes of the annotation `object`. The policy writes at most 253 characters of each name, which can be escaped.
const MAX_OBJECT: usize = 16 << 10;

/// Why a line is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Skipped {
    /// An event without its end, or with the beginning of another event in it.
    Torn,
    /// JSON of another kind.
    Foreign,
    /// Not JSON.
    Garbage,
    /// More than [`MAX_LINE`] bytes.
    TooLong,
}

impl Skipped {
    /// All reasons.
    pub(super) const ALL: [Self; 4] = [Self::Torn, Self::Foreign, Self::Garbage, Self::TooLong];

    /// The name in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::Foreign => "foreign",
            Self::Garbage => "garbage",
            Self::TooLong => "too-long",
        }
    }
}

/// The end of the key of the annotation with the verdict. The slash before it may be escaped.
static VERDICT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"verdict\""));
/// The beginning of the verbs `delete` and `deletecollection`.
static DELETE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"delete"));
static PODS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"pods\""));
static AUDIT_GROUP: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"audit.k8s.io"));
/// The key of the time is after the objects of requesters in an event, and texts of requesters have escaped quotes.
static STAGE_TIME: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(b"\"stageTimestamp\":\""));

/// How the names of the webhooks of AdmissionPolicies begin.
const NAMESPACED: &str = "namespaced-";

/// How the API server begins an event.
const EVENT: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/"#;
/// How the Swarm plugin begins an event.
const PLUGIN_EVENT: &[u8] = br#"{"time":""#;

/// Adds the records of a line, which has no line break. Most lines have none.
///
/// # Errors
/// When the line is not an event of a log. A line without text is not an error.
pub(super) fn read_line(line: &[u8], records: &mut Vec<Record>) -> Result<(), Skipped> {
    let line = trimmed(line);
    if line.is_empty() {
        return Ok(());
    }
    let is_whole_event = line.starts_with(EVENT) && line.ends_with(b"}");
    if is_whole_event && !can_have_records(line) {
        return Ok(());
    }
    match read_event(line, records) {
        // The API server logs the body of a patch as the requester has sent it, and JSON with such bytes cannot be parsed.
        Err(_) if std::str::from_utf8(line).is_err() => read_event(String::from_utf8_lossy(line).as_bytes(), records),
        read => read,
    }
}

fn read_event(line: &[u8], records: &mut Vec<Record>) -> Result<(), Skipped> {
    if AUDIT_GROUP.find(line).is_some()
        && let Ok(event) = serde_json::from_slice::<AuditEvent<'_>>(line)
        && let Some(events) = event.events()
    {
        records.extend(events.iter().filter_map(AuditEvent::record));
        return Ok(());
    }
    match serde_json::from_slice::<PluginEvent>(line) {
        Ok(event) if event.is_plugin_event() => {
            records.extend(event.into_record());
            Ok(())
        }
        _ => Err(why_not_an_event(line)),
    }
}

/// The time of the event in a line, of any kind.
pub(super) fn time_of(line: &[u8]) -> Option<DateTime<Utc>> {
    let line = trimmed(line);
    let time = match line.strip_prefix(PLUGIN_EVENT) {
        Some(time) => time,
        None => line.get(STAGE_TIME.rfind(line)? + STAGE_TIME.needle().len()..)?,
    };
    let end = memchr::memchr(b'"', time.get(..time.len().min(40))?)?;
    parse_time(std::str::from_utf8(time.get(..end)?).ok()?)
}

/// Whether a line has text.
pub(super) fn is_blank(line: &[u8]) -> bool {
    trimmed(line).is_empty()
}

/// Whether an event can be about images, or about the deletion of pods.
fn can_have_records(line: &[u8]) -> bool {
    VERDICT.find(line).is_some() || (DELETE.find(line).is_some() && PODS.find(line).is_some())
}

/// Without white space around it. After a crash, a file system may have filled a block with null bytes.
fn trimmed(line: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0);
    let start = line.iter().position(is_text).unwrap_or(line.len());
    let end = line.iter().rposition(is_text).map_or(start, |last| last + 1);
    line.get(start..end).unwrap_or_default()
}

fn why_not_an_event(line: &[u8]) -> Skipped {
    let begins_like_an_event = line.starts_with(br#"{"kind":"Event"#) || line.starts_with(PLUGIN_EVENT);
    match serde_json::from_slice::<IgnoredAny>(line) {
        Ok(IgnoredAny) => Skipped::Foreign,
        Err(error) if begins_like_an_event || (error.is_eof() && line.starts_with(b"{\"")) => Skipped::Torn,
        Err(_) => Skipped::Garbage,
    }
}

fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

/// An event of the API server's audit log, or a list of events. Objects of requests and responses are skipped unless they are needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditEvent<'l> {
    kind: Option<String>,
    api_version: Option<String>,
    #[serde(borrow)]
    items: Option<Vec<AuditEvent<'l>>>,
    stage: Option<String>,
    #[serde(rename = "requestURI")]
    request_uri: Option<String>,
    verb: Option<String>,
    user: Option<User>,
    impersonated_user: Option<User>,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    #[serde(borrow)]
    request_object: Option<&'l RawValue>,
    #[serde(borrow)]
    response_object: Option<&'l RawValue>,
    request_received_timestamp: Option<String>,
    stage_timestamp: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct User {
    username: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    api_group: String,
}

#[derive(Debug, Deserialize)]
struct ResponseStatus {
    code: Option<u16>,
    message: Option<String>,
}

/// What a request with `DELETE` says about itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteOptions {
    dry_run: Option<Vec<String>>,
}

/// The beginning of an object.
#[derive(Debug, Deserialize)]
struct WithMetadata {
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    #[serde(default)]
    owner_references: Vec<OwnerReference>,
}

#[derive(Debug, Deserialize)]
struct OwnerReference {
    kind: String,
    name: String,
    #[serde(default)]
    controller: bool,
}

/// The annotation `object`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuditedObject {
    name: Option<String>,
    owner: Option<String>,
}

/// An item of the annotation `images`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuditedImage {
    image: Option<String>,
    sites: Vec<String>,
    exempt: bool,
    unchanged: bool,
    digest: Option<String>,
    built: Option<String>,
}

/// An item of the annotation `findings`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuditedFinding {
    code: Option<String>,
    effect: Option<String>,
    site: Option<String>,
    image: Option<String>,
    passed: Option<String>,
    text: String,
}

/// What the policies say about a request, merged.
#[derive(Debug, Default)]
struct Judgement {
    /// From `accepted` to `denied`.
    verdict: Verdict,
    images: Vec<Image>,
    findings: Vec<Finding>,
    break_glass: Option<BreakGlass>,
    object: AuditedObject,
    is_shortened: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    #[default]
    Accepted,
    Warned,
    Denied,
}

impl Verdict {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "accepted" => Self::Accepted,
            "warned" => Self::Warned,
            "denied" => Self::Denied,
            _ => return None,
        })
    }

    fn outcome_if_stored(self) -> Outcome {
        match self {
            Self::Accepted => Outcome::Admitted,
            Self::Warned => Outcome::Warned,
            Self::Denied => Outcome::Monitored,
        }
    }
}

impl AuditEvent<'_> {
    /// The events of the line. `None` if it is not from an audit log.
    fn events(&self) -> Option<&[Self]> {
        if !self.api_version.as_deref()?.starts_with("audit.k8s.io/") {
            return None;
        }
        match self.kind.as_deref()? {
            "Event" => Some(std::slice::from_ref(self)),
            "EventList" => Some(self.items.as_deref().unwrap_or_default()),
            _ => None,
        }
    }

    fn record(&self) -> Option<Record> {
        if !matches!(self.stage.as_deref(), Some("ResponseComplete" | "Panic")) || self.is_dry_run() {
            return None;
        }
        let time = parse_time(self.stage_timestamp.as_deref().or(self.request_received_timestamp.as_deref())?)?;
        match self.verb.as_deref()? {
            "create" | "update" | "patch" => self.request(time).map(Record::Request),
            "delete" | "deletecollection" => self.deleted(time).map(Record::Deleted),
            _ => None,
        }
    }

    fn request(&self, time: DateTime<Utc>) -> Option<Request> {
        let object = self.object_ref.as_ref()?;
        let is_create = match (self.verb.as_deref()?, object.subresource.as_str()) {
            (_, "ephemeralcontainers") => false,
            ("create", "") => true,
            // Server-side apply creates objects, too.
            (_, "") => self.status() == Some(201),
            _ => return None,
        };
        let operation = if is_create { Operation::Create } else { Operation::Update };
        let empty = BTreeMap::new();
        let annotations = self.annotations.as_ref().unwrap_or(&empty);
        let mut judgement: Option<Judgement> = None;
        let mut denied_by = Vec::new();
        let policies = annotations.iter().filter_map(|(key, value)| {
            let webhook = key.strip_suffix("/verdict").filter(|webhook| !webhook.is_empty())?;
            Some((webhook, Verdict::parse(value)?))
        });
        let policies: Vec<(&str, Verdict)> = policies.collect();
        let is_by_namespaced_policy = policies.iter().all(|(webhook, _)| webhook.starts_with(NAMESPACED));
        for (webhook, verdict) in policies {
            if webhook.starts_with(NAMESPACED) && !is_by_namespaced_policy {
                continue;
            }
            if verdict == Verdict::Denied {
                denied_by.push(webhook);
            }
            let text = |name: &str| annotations.get(&format!("{webhook}/{name}")).map(String::as_str);
            let of_policy = Judgement::of_texts(verdict, text);
            match &mut judgement {
                Some(judgement) => judgement.merge(of_policy),
                None => judgement = Some(of_policy),
            }
        }
        let judgement = judgement?;
        let outcome = self.outcome(judgement.verdict, &denied_by);
        let is_identified = !object.name.is_empty() && judgement.object.owner.is_some();
        let stored = if is_identified || !outcome.is_stored() { None } else { self.stored_object() };
        let stored = stored.unwrap_or_default();
        let name = Some(&object.name).filter(|name| !name.is_empty()).cloned();
        let username = |user: &Option<User>| user.as_ref().and_then(|user| user.username.clone());
        let (user, impersonated_by) = match (username(&self.user), username(&self.impersonated_user)) {
            (user, Some(impersonated)) => (impersonated, user),
            (user, None) => (user.unwrap_or_default(), None),
        };
        Some(Request {
            time,
            outcome,
            status: self.status(),
            operation,
            object: Object {
                kind: kind_of(&object.api_group, &object.resource),
                namespace: object.namespace.clone(),
                name: name.or(judgement.object.name).or(stored.name),
                owner: judgement.object.owner.or(stored.owner),
                platform: Platform::Cluster,
            },
            user,
            impersonated_by,
            images: judgement.images,
            findings: judgement.findings,
            break_glass: judgement.break_glass,
            is_shortened: judgement.is_shortened,
            is_by_namespaced_policy,
        })
    }

    fn outcome(&self, verdict: Verdict, denied_by: &[&str]) -> Outcome {
        if self.is_stored() {
            return verdict.outcome_if_stored();
        }
        let is_our_status = self.status().is_some_and(|code| (460..=479).contains(&code));
        let message = self.response_status.as_ref().and_then(|status| status.message.as_deref()).unwrap_or_default();
        let is_our_message = denied_by.iter().any(|webhook| message.contains(*webhook));
        let is_denied = verdict == Verdict::Denied && (is_our_status || is_our_message);
        if is_denied { Outcome::Denied } else { Outcome::Rejected }
    }

    /// The deletion of a pod, or of all pods of a namespace.
    fn deleted(&self, time: DateTime<Utc>) -> Option<Deleted> {
        let object = self.object_ref.as_ref()?;
        let is_pod = object.resource == "pods" && object.api_group.is_empty() && object.subresource.is_empty();
        if !is_pod || !self.is_stored() {
            return None;
        }
        let name = if self.verb.as_deref() == Some("delete") {
            Some(Some(&object.name).filter(|name| !name.is_empty())?.clone())
        } else {
            // Which of the pods are selected is not in the log. The kubelet deletes each of them afterwards.
            let selects = |key: &str| self.query(key).any(|value| !value.is_empty());
            if self.has_too_many_parameters()
                || ["labelSelector", "fieldSelector", "limit", "continue"].into_iter().any(selects)
            {
                return None;
            }
            None
        };
        Some(Deleted { time, namespace: object.namespace.clone(), name })
    }

    fn status(&self) -> Option<u16> {
        self.response_status.as_ref()?.code
    }

    fn is_stored(&self) -> bool {
        self.status().is_some_and(|code| (200..300).contains(&code))
    }

    fn is_dry_run(&self) -> bool {
        const ALL: &str = "All";
        // The options of a deletion are usually its body, and then the API server ignores those in the query. Other objects do not have
        // this field.
        let is_deletion = self.verb.as_deref().is_some_and(|verb| verb.starts_with("delete"));
        match parse::<DeleteOptions>(self.request_object.map(RawValue::get).filter(|_| is_deletion)) {
            Some(options) => options.dry_run.iter().flatten().any(|value| value == ALL),
            // Some API servers ignore such a query, and nothing shows which. So the request counts as stored, and the pod as running: when
            // it ends, the kubelet deletes it again.
            None if self.has_too_many_parameters() => is_deletion,
            None => self.query("dryRun").any(|value| value == ALL),
        }
    }

    /// Whether the query has so many parameters that it depends on the version of the API server whether it counts.
    fn has_too_many_parameters(&self) -> bool {
        self.raw_query().bytes().filter(|byte| *byte == b'&').count() >= MAX_PARAMETERS
    }

    fn raw_query(&self) -> &str {
        self.request_uri.as_deref().and_then(|uri| uri.split_once('?')).map_or("", |(_, query)| query)
    }

    /// The decoded values of a parameter in the query. As for the API server, a parameter with a wrong escape does not exist: otherwise
    /// a requester could hide a request as a dry run.
    fn query<'q>(&'q self, key: &'q str) -> impl Iterator<Item = String> + 'q {
        self.raw_query().split('&').filter(|parameter| !parameter.contains(';')).filter_map(move |parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            percent_decoded(value).filter(|_| percent_decoded(name).as_deref() == Some(key))
        })
    }

    /// The name and the owner of the object in the answer, which is in the log at the level `RequestResponse`.
    fn stored_object(&self) -> Option<AuditedObject> {
        let metadata = parse::<WithMetadata>(self.response_object.map(RawValue::get))?.metadata;
        let owner = metadata.owner_references.into_iter().find(|owner| owner.controller);
        Some(AuditedObject { name: metadata.name, owner: owner.map(|owner| format!("{}/{}", owner.kind, owner.name)) })
    }
}

impl Judgement {
    /// From the annotations of a policy, which are texts.
    fn of_texts<'t>(verdict: Verdict, text: impl Fn(&str) -> Option<&'t str>) -> Self {
        let mut judgement = Self { verdict, ..Self::default() };
        let images = text("images").map(serde_json::from_str::<Vec<Value>>);
        let findings = text("findings").map(serde_json::from_str::<Vec<Value>>);
        for list in [images.as_ref(), findings.as_ref()] {
            judgement.is_shortened |= matches!(list, Some(Err(_)));
        }
        judgement.add_lists(images.and_then(Result::ok), findings.and_then(Result::ok));
        judgement.break_glass = parse(text("breakGlass"));
        judgement.object = parse(text("object").filter(|object| object.len() <= MAX_OBJECT)).unwrap_or_default();
        judgement
    }

    fn add_lists(&mut self, images: Option<Vec<Value>>, findings: Option<Vec<Value>>) {
        let is_long = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| list.len() > MAX_ITEMS);
        self.is_shortened |= is_long(&images) || is_long(&findings);
        let mut sites_left = MAX_SITES;
        for item in images.into_iter().flatten().take(MAX_ITEMS) {
            match serde_json::from_value(item) {
                Ok(AuditedImage { image: Some(image), mut sites, exempt, unchanged, digest, built }) => {
                    self.is_shortened |= sites.len() > sites_left;
                    sites.truncate(sites_left);
                    sites_left -= sites.len();
                    let (repository, tag, written) = parts(&image);
                    let digest = written.or(digest);
                    let built = built.as_deref().and_then(parse_time);
                    self.images.push(Image { repository, tag, digest, built, sites, unchanged, exempt });
                }
                // The number of omitted items.
                _ => self.is_shortened = true,
            }
        }
        for item in findings.into_iter().flatten().take(MAX_ITEMS) {
            match serde_json::from_value(item) {
                Ok(AuditedFinding { code: Some(code), effect: Some(effect), site, image, passed, text }) => {
                    self.findings.push(Finding { code, effect, site, image, passed, text });
                }
                _ => self.is_shortened = true,
            }
        }
    }

    /// Adds what another policy says about the same request.
    fn merge(&mut self, other: Self) {
        self.verdict = self.verdict.max(other.verdict);
        self.is_shortened |= other.is_shortened;
        self.break_glass = self.break_glass.take().or(other.break_glass);
        self.object.name = self.object.name.take().or(other.object.name);
        self.object.owner = self.object.owner.take().or(other.object.owner);
        for finding in other.findings {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
        let mut is_merged = vec![false; self.images.len()];
        for image in other.images {
            let same = self.images.iter_mut().zip(&mut is_merged).find(|(known, is_merged)| {
                // Another policy may have pinned the image in between.
                !**is_merged
                    && is_same_image(known, &image)
                    && known.sites.iter().any(|site| image.sites.contains(site))
            });
            let Some((known, is_merged)) = same else {
                self.images.push(image);
                continue;
            };
            *is_merged = true;
            known.tag = known.tag.take().or(image.tag);
            known.digest = known.digest.take().or(image.digest);
            known.built = known.built.take().or(image.built);
            known.sites.extend(image.sites.into_iter().filter(|site| !known.sites.contains(site)).collect::<Vec<_>>());
            known.unchanged &= image.unchanged;
            known.exempt &= image.exempt;
        }
    }
}

/// A line of the Swarm plugin's log. `swarm_authz/log.rs` describes its fields.
#[derive(Debug, Deserialize)]
struct PluginEvent {
    time: String,
    level: String,
    event: String,
    allowed: Option<bool>,
    user: Option<String>,
    operation: Option<String>,
    object: Option<PluginObject>,
    annotations: Option<PluginAnnotations>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PluginObject {
    kind: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PluginAnnotations {
    verdict: String,
    images: Option<Vec<Value>>,
    findings: Option<Vec<Value>>,
    break_glass: Option<BreakGlass>,
}

impl PluginEvent {
    fn is_plugin_event(&self) -> bool {
        let is_level = matches!(self.level.as_str(), "info" | "warning" | "error");
        is_level && parse_time(&self.time).is_some() && (self.event != "decision" || self.allowed.is_some())
    }

    fn into_record(self) -> Option<Record> {
        if self.event != "decision" {
            return None;
        }
        let (time, allowed) = (parse_time(&self.time)?, self.allowed?);
        let annotations = self.annotations.unwrap_or_default();
        let object = self.object.unwrap_or_default();
        // The verdict is missing in a line that is shortened as far as possible.
        let default = if allowed { Verdict::Accepted } else { Verdict::Denied };
        let verdict = Verdict::parse(&annotations.verdict).unwrap_or(default);
        let mut judgement = Judgement { verdict, is_shortened: self.truncated, ..Judgement::default() };
        judgement.add_lists(annotations.images, annotations.findings);
        Some(Record::Request(Request {
            time,
            outcome: if allowed { verdict.outcome_if_stored() } else { Outcome::Denied },
            status: None,
            operation: if self.operation.as_deref() == Some("UPDATE") { Operation::Update } else { Operation::Create },
            object: Object {
                kind: object.kind,
                namespace: String::new(),
                name: Some(object.name).filter(|name| !name.is_empty()),
                owner: None,
                platform: Platform::Docker,
            },
            user: self.user.unwrap_or_default(),
            impersonated_by: None,
            images: judgement.images,
            findings: judgement.findings,
            break_glass: annotations.break_glass,
            is_shortened: judgement.is_shortened,
            is_by_namespaced_policy: false,
        }))
    }
}

fn parse<T: DeserializeOwned>(json: Option<&str>) -> Option<T> {
    serde_json::from_str(json?).ok()
}

/// The kind as people write it; the resource for kinds that are not Kubernetes' own.
fn kind_of(group: &str, resource: &str) -> String {
    let kinds: &[&str] = match group {
        "" => &["Pod", "PodTemplate", "ReplicationController"],
        "apps" => &["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ControllerRevision"],
        "batch" => &["Job", "CronJob"],
        _ => &[],
    };
    let plural = |kind: &&&str| format!("{}s", kind.to_ascii_lowercase()) == resource;
    kinds.iter().find(plural).map_or(resource, |kind| *kind).to_owned()
}

/// Text of a URL without its escapes. `None` if an escape is wrong.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}
