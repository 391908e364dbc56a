//! Times the policy and the do-nothing policy alternately, so that other load on the machine slows both.
//!
//! The do-nothing policy gets the same request and settings, and gives the same answer. Each policy runs on several threads at once, as
//! in policy-server: a page fault that changes a mapping interrupts all of them.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::guest::{Guest, ModuleFile};
use crate::memory::linear_memory;
use crate::scenario::{AdmissionResult, Scenario, Target};

/// The number of parts of a measurement. The spread is taken over their ratios.
pub(crate) const PARTS: usize = 10;

/// The linear memory that a policy may use in addition to four times the size of the object, in bytes.
const MEMORY: usize = 4 << 20;

/// The two policies that are compared.
pub(crate) struct Policies {
    /// The policy.
    pub(crate) policy: Guest,
    /// The do-nothing policy, into which the answer of each scenario is written.
    pub(crate) nothing: ModuleFile,
    /// How many threads evaluate requests at once.
    pub(crate) threads: usize,
}

/// The result of one scenario.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measurement {
    /// The name of the scenario.
    pub(crate) scenario: String,
    /// The number of containers, in scenarios that measure its effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) containers: Option<usize>,
    /// The size of the object in bytes.
    pub(crate) object_bytes: usize,
    /// How often each policy was run.
    pub(crate) evaluations: usize,
    /// The median time of the policy, in microseconds.
    pub(crate) policy_microseconds: f64,
    /// The median time of the do-nothing policy, in microseconds.
    pub(crate) nothing_microseconds: f64,
    /// The time of the policy divided by that of the do-nothing policy.
    pub(crate) ratio: f64,
    /// The lowest and the highest ratio among the parts of the measurement.
    pub(crate) ratio_spread: [f64; 2],
    /// The page faults of an evaluation, of the policy and of the do-nothing policy; null where the system does not count them.
    pub(crate) page_faults: Option<[f64; 2]>,
    /// The linear memory that the policy used, in bytes.
    pub(crate) linear_memory_bytes: usize,
    /// Whether the targets for time and memory are met.
    pub(crate) holds: bool,
    /// The target for the time.
    #[serde(skip)]
    pub(crate) target: Option<Target>,
}

impl Policies {
    /// Measures one scenario.
    ///
    /// # Errors
    /// If the response of the policy is not the expected one, or a guest traps.
    pub(crate) fn measure(&self, scenario: &Scenario, time: Duration) -> Result<Measurement> {
        self.measure_checked(scenario, time).with_context(|| format!("scenario `{}`", scenario.name))
    }

    /// The response of the policy.
    ///
    /// # Errors
    /// If it is not the expected one.
    pub(crate) fn response(&self, scenario: &Scenario) -> Result<Vec<u8>> {
        let response = self.policy.evaluate(&scenario.payload, &scenario.host)?;
        check(scenario, &response)?;
        Ok(response)
    }

    fn measure_checked(&self, scenario: &Scenario, time: Duration) -> Result<Measurement> {
        let response = self.response(scenario)?;
        let nothing = self.nothing.compile_with_answer(&response)?;
        let half_of_part = time / u32::try_from(2 * PARTS)?;
        let mut parts = Vec::with_capacity(PARTS);
        for _ in 0..PARTS {
            parts.push(Part {
                policy: run(&self.policy, scenario, self.threads, half_of_part)?,
                nothing: run(&nothing, scenario, self.threads, half_of_part)?,
            });
        }
        let ratios: Vec<f64> = parts.iter().map(Part::ratio).collect();
        let all = Part::concat(parts);
        let (policy_microseconds, nothing_microseconds, ratio) =
            (median(&all.policy.times), median(&all.nothing.times), all.ratio());
        let linear_memory_bytes = linear_memory(&self.policy, &scenario.payload, &scenario.host)?;
        let is_fast = scenario.target.is_none_or(|target| match target {
            Target::Ratio(most) => ratio <= most,
            Target::Milliseconds(most) => policy_microseconds <= most * 1000.0,
        });
        Ok(Measurement {
            scenario: scenario.name.clone(),
            containers: scenario.containers,
            object_bytes: scenario.object,
            evaluations: all.policy.times.len(),
            policy_microseconds,
            nothing_microseconds,
            ratio,
            ratio_spread: [
                ratios.iter().copied().fold(f64::INFINITY, f64::min),
                ratios.iter().copied().fold(0.0, f64::max),
            ],
            page_faults: all.page_faults(),
            linear_memory_bytes,
            holds: is_fast && linear_memory_bytes < 4 * scenario.object + MEMORY,
            target: scenario.target,
        })
    }
}

/// A part of a measurement.
#[derive(Default)]
struct Part {
    policy: Evaluations,
    nothing: Evaluations,
}

/// Evaluations by one policy.
#[derive(Default)]
struct Evaluations {
    /// The time of each, in microseconds.
    times: Vec<f64>,
    /// The page faults of all, 0 where the system does not count them.
    page_faults: u64,
}

impl Part {
    fn ratio(&self) -> f64 {
        median(&self.policy.times) / median(&self.nothing.times)
    }

    fn concat(parts: Vec<Self>) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.policy.extend(part.policy);
            all.nothing.extend(part.nothing);
        }
        all
    }

    fn page_faults(&self) -> Option<[f64; 2]> {
        #[expect(clippy::cast_precision_loss, reason = "both are far below 2^52")]
        let each = |run: &Evaluations| run.page_faults as f64 / run.times.len() as f64;
        page_faults_of_thread().map(|_| [each(&self.policy), each(&self.nothing)])
    }
}

impl Evaluations {
    fn extend(&mut self, other: Self) {
        self.times.extend(other.times);
        self.page_faults += other.page_faults;
    }
}

/// Evaluates a scenario on some threads at once, for some time.
fn run(guest: &Guest, scenario: &Scenario, threads: usize, time: Duration) -> Result<Evaluations> {
    let one_thread = || -> Result<Evaluations> {
        let start = Instant::now();
        let faults = page_faults_of_thread().unwrap_or_default();
        // Room for all times, so that page faults of a growing list are not counted.
        let mut times = Vec::with_capacity(4096);
        while start.elapsed() < time || times.is_empty() {
            times.push(timed(guest, scenario)?);
        }
        Ok(Evaluations { times, page_faults: page_faults_of_thread().unwrap_or_default() - faults })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one_thread)).collect();
        let mut all = Evaluations::default();
        for thread in threads {
            let Ok(run) = thread.join() else { bail!("a thread of the measurement panicked") };
            all.extend(run?);
        }
        Ok(all)
    })
}

/// The number of cores that this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The page faults of this thread up to now that needed no disk. `None` where the system does not count them.
fn page_faults_of_thread() -> Option<u64> {
    // proc_pid_stat(5): `minflt` is field 10. The name of the thread, field 2, is in parentheses and can contain spaces.
    let stat = fs::read_to_string("/proc/thread-self/stat").ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(7)?.parse().ok()
}

fn timed(guest: &Guest, scenario: &Scenario) -> Result<f64> {
    let start = Instant::now();
    let response = guest.evaluate(&scenario.payload, &scenario.host)?;
    let time = start.elapsed();
    std::hint::black_box(response);
    Ok(time.as_secs_f64() * 1e6)
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Checks that the response of the policy is the one that the scenario is about.
fn check(scenario: &Scenario, response: &[u8]) -> Result<()> {
    let response: Value = serde_json::from_slice(response).context("the response is not valid JSON")?;
    let found = match (response["accepted"].as_bool(), response.get("mutated_object")) {
        (Some(true), None) => AdmissionResult::Accepted,
        (Some(true), Some(_)) => AdmissionResult::Pinned,
        _ => AdmissionResult::Denied,
    };
    if found != scenario.expected {
        let message = response["message"].as_str().unwrap_or_default();
        bail!("expected {:?}, found {found:?}: {message}", scenario.expected);
    }
    if let Some(warning) = response["warnings"].as_array().and_then(|warnings| warnings.first()) {
        bail!("expected no warnings, found {warning}");
    }
    Ok(())
}
