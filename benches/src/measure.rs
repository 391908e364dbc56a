//! Times the policy and the do-nothing policy alternately, so that other load on the machine slows both.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::guest::Guest;
use crate::memory::linear_memory;
use crate::scenario::{AdmissionResult, Scenario, Target};

/// The number of parts of a measurement. The spread is taken over their ratios.
pub(crate) const PARTS: usize = 10;

/// The linear memory that a policy may use in addition to four times the size of the object, in bytes.
const MEMORY: usize = 4 << 20;

/// The two policies that are compared.
pub(crate) struct Guests {
    /// The policy.
    pub(crate) policy: Guest,
    /// The do-nothing policy.
    pub(crate) nothing: Guest,
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
    /// The linear memory that the policy used, in bytes.
    pub(crate) linear_memory_bytes: usize,
    /// Whether the targets for time and memory are met.
    pub(crate) holds: bool,
    /// The target for the time.
    #[serde(skip)]
    pub(crate) target: Option<Target>,
}

impl Guests {
    /// Measures one scenario.
    ///
    /// # Errors
    /// If the response of the policy is not the expected one, or a guest traps.
    pub(crate) fn measure(&self, scenario: &Scenario, time: Duration) -> Result<Measurement> {
        self.measure_checked(scenario, time).with_context(|| format!("scenario `{}`", scenario.name))
    }

    fn measure_checked(&self, scenario: &Scenario, time: Duration) -> Result<Measurement> {
        check(scenario, &self.policy.evaluate(&scenario.payload, &scenario.host)?)?;
        let part = time / u32::try_from(PARTS)?;
        let mut parts = Vec::with_capacity(PARTS);
        for _ in 0..PARTS {
            let start = Instant::now();
            let mut part_times = Times::default();
            while start.elapsed() < part || part_times.policy.is_empty() {
                part_times.policy.push(timed(&self.policy, scenario)?);
                part_times.nothing.push(timed(&self.nothing, scenario)?);
            }
            parts.push(part_times);
        }
        let ratios: Vec<f64> = parts.iter().map(Times::ratio).collect();
        let all = Times::concat(parts);
        let (policy_microseconds, nothing_microseconds, ratio) =
            (median(&all.policy), median(&all.nothing), all.ratio());
        let linear_memory_bytes = linear_memory(&self.policy, &scenario.payload, &scenario.host)?;
        let is_fast = scenario.target.is_none_or(|target| match target {
            Target::Ratio(most) => ratio <= most,
            Target::Milliseconds(most) => policy_microseconds <= most * 1000.0,
        });
        Ok(Measurement {
            scenario: scenario.name.clone(),
            containers: scenario.containers,
            object_bytes: scenario.object,
            evaluations: all.policy.len(),
            policy_microseconds,
            nothing_microseconds,
            ratio,
            ratio_spread: [
                ratios.iter().copied().fold(f64::INFINITY, f64::min),
                ratios.iter().copied().fold(0.0, f64::max),
            ],
            linear_memory_bytes,
            holds: is_fast && linear_memory_bytes < 4 * scenario.object + MEMORY,
            target: scenario.target,
        })
    }
}

/// The times of both policies, in microseconds.
#[derive(Default)]
struct Times {
    policy: Vec<f64>,
    nothing: Vec<f64>,
}

impl Times {
    fn ratio(&self) -> f64 {
        median(&self.policy) / median(&self.nothing)
    }

    fn concat(parts: Vec<Self>) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.policy.extend(part.policy);
            all.nothing.extend(part.nothing);
        }
        all
    }
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
