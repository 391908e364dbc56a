//! Times the policy and the policy that does nothing in turn, so that what slows the machine slows both.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::guest::Guest;
use crate::scenario::{Outcome, Scenario, Target};

/// Into how many parts a measurement is cut, to see how far their ratios lie apart.
const PARTS: usize = 10;

/// The linear memory that a policy may take besides four times that of the object, in bytes.
const MEMORY: usize = 4 << 20;

/// The two that are measured.
pub(crate) struct Guests {
    /// The policy.
    pub(crate) policy: Guest,
    /// The policy that does nothing.
    pub(crate) nothing: Guest,
}

/// What came out of one scenario.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measurement {
    /// The scenario.
    pub(crate) scenario: String,
    /// The containers of the object, where their number is what is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) containers: Option<usize>,
    /// The size of the object in bytes.
    pub(crate) object_bytes: usize,
    /// How often each of the two was run.
    pub(crate) evaluations: usize,
    /// The median time of the policy, in microseconds.
    pub(crate) policy_microseconds: f64,
    /// The median time of the policy that does nothing, in microseconds.
    pub(crate) nothing_microseconds: f64,
    /// The first over the second.
    pub(crate) ratio: f64,
    /// The lowest and the highest ratio among the parts of the measurement.
    pub(crate) ratio_spread: [f64; 2],
    /// The linear memory that the policy took, in bytes.
    pub(crate) linear_memory_bytes: usize,
    /// Whether it takes no more time and memory than it may.
    pub(crate) holds: bool,
    /// What it may cost.
    #[serde(skip)]
    pub(crate) target: Option<Target>,
}

impl Guests {
    /// Measures one scenario.
    ///
    /// # Errors
    /// When the policy does not answer as it should, or a guest traps.
    pub(crate) fn measure(&self, scenario: &Scenario, time: Duration) -> Result<Measurement> {
        self.measure_checked(scenario, time).with_context(|| format!("scenario `{}`", scenario.name))
    }

    fn measure_checked(&self, scenario: &Scenario, time: Duration) -> Result<Measurement> {
        check(scenario, &self.policy.evaluate(&scenario.payload, &scenario.world)?)?;
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
        let linear_memory_bytes = self.policy.linear_memory(&scenario.payload, &scenario.world)?;
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

/// The times of both, in microseconds.
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
    let response = guest.evaluate(&scenario.payload, &scenario.world)?;
    let time = start.elapsed();
    std::hint::black_box(response);
    Ok(time.as_secs_f64() * 1e6)
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Whether the answer of the policy is what the scenario wants measured.
fn check(scenario: &Scenario, response: &[u8]) -> Result<()> {
    let response: Value = serde_json::from_slice(response).context("the answer is no JSON")?;
    let outcome = match (response["accepted"].as_bool(), response.get("mutated_object")) {
        (Some(true), None) => Outcome::Accepted,
        (Some(true), Some(_)) => Outcome::Pinned,
        _ => Outcome::Denied,
    };
    if outcome != scenario.outcome {
        let message = response["message"].as_str().unwrap_or_default();
        bail!("it should come out as {:?}, and came out as {outcome:?}: {message}", scenario.outcome);
    }
    if let Some(warning) = response["warnings"].as_array().and_then(|warnings| warnings.first()) {
        bail!("it should come out without warnings, and came out with {warning}");
    }
    Ok(())
}
