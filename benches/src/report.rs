//! The results, as tables and as JSON.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::guest::Guest;
use crate::measure::{Measurement, PARTS, Policies, cores};
use crate::scenario::Target;

/// The results of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    machine: Machine,
    policy: Module,
    threads: usize,
    scenarios: Vec<Measurement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<Growth>,
}

/// The machine of the measurement.
#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    architecture: &'static str,
}

/// Size and compile time of a module.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Module {
    bytes: usize,
    compile_milliseconds: f64,
}

/// The growth of the time between the two largest numbers of containers.
#[derive(Debug, Serialize)]
struct Growth {
    containers: [usize; 2],
    ratio: f64,
    holds: bool,
}

/// The most growth of the time for ten times as many containers.
const MOST_GROWTH: f64 = 12.0;

impl Report {
    /// Collects the results.
    #[must_use]
    pub(crate) fn new(policies: &Policies, scenarios: Vec<Measurement>) -> Self {
        let growth = growth(&scenarios);
        Self {
            machine: Machine::this(),
            policy: Module::of(&policies.policy),
            threads: policies.threads,
            scenarios,
            growth,
        }
    }

    /// The time in microseconds for each number of containers.
    #[must_use]
    pub(crate) fn by_containers(&self) -> Vec<(usize, f64)> {
        by_containers(&self.scenarios).collect()
    }

    /// The results as tables.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let mut text =
            format!("{}, {} cores, {}\n\n", self.machine.processor, self.machine.cores, self.machine.architecture);
        let Module { bytes: size, compile_milliseconds } = self.policy;
        let _ = writeln!(text, "policy: {size} bytes, compiled in {compile_milliseconds:.0} ms");
        let _ = writeln!(text, "threads: {}", self.threads);
        let header =
            ["SCENARIO", "OBJECT", "POLICY", "DO-NOTHING", "RATIO", "SPREAD", "FAULTS", "MEMORY", "TARGET", "MET"];
        let rows = self.scenarios.iter().map(|measured| {
            [
                measured.scenario.clone(),
                bytes(measured.object_bytes),
                time(measured.policy_microseconds),
                time(measured.nothing_microseconds),
                format!("{:.2}", measured.ratio),
                format!("{:.2}–{:.2}", measured.ratio_spread[0], measured.ratio_spread[1]),
                measured.page_faults.map_or_else(String::new, |[policy, nothing]| format!("{policy:.1}/{nothing:.1}")),
                bytes(measured.linear_memory_bytes),
                measured.target.map(target).unwrap_or_default(),
                yes_or_no(measured.holds).to_owned(),
            ]
        });
        text += &table(header.map(str::to_owned), rows);
        let _ = writeln!(
            text,
            "\nDO-NOTHING is a policy that gets the same request and settings and gives the same answer."
        );
        let _ = writeln!(text, "SPREAD is the lowest and the highest ratio among {PARTS} parts of the measurement.");
        text += "FAULTS are the page faults of an evaluation, of the policy and of the do-nothing policy.\n";
        text +=
            "MEMORY is the linear memory after the call. Its target is less than four times the object plus 4 MiB.\n";
        let rows = by_containers(&self.scenarios).map(|(containers, microseconds)| {
            #[expect(clippy::cast_precision_loss, reason = "there are few containers")]
            let each = microseconds / containers as f64;
            [containers.to_string(), time(microseconds), time(each)]
        });
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            text += &table(["CONTAINERS", "POLICY", "EACH"].map(str::to_owned), rows.into_iter());
        }
        if let Some(Growth { containers: [from, to], ratio, holds }) = &self.growth {
            let holds = yes_or_no(*holds);
            let _ = writeln!(
                text,
                "\n{to} containers take {ratio:.1} times as long as {from}; target: at most {MOST_GROWTH}, met: {holds}"
            );
        }
        text
    }
}

impl Machine {
    fn this() -> Self {
        let described = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = described.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            processor: model.map_or_else(|| "unknown processor".to_owned(), |(_, model)| model.to_owned()),
            cores: cores(),
            architecture: std::env::consts::ARCH,
        }
    }
}

impl Module {
    fn of(guest: &Guest) -> Self {
        Self { bytes: guest.size, compile_milliseconds: guest.compile_time.as_secs_f64() * 1000.0 }
    }
}

fn by_containers(scenarios: &[Measurement]) -> impl Iterator<Item = (usize, f64)> {
    scenarios.iter().filter_map(|measured| Some((measured.containers?, measured.policy_microseconds)))
}

fn growth(scenarios: &[Measurement]) -> Option<Growth> {
    let measured: Vec<_> = by_containers(scenarios).collect();
    let [.., (from, before), (to, after)] = measured[..] else { return None };
    let ratio = after / before;
    Some(Growth { containers: [from, to], ratio, holds: ratio <= MOST_GROWTH })
}

fn table<const N: usize>(header: [String; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    table.set_header(header).add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().fold(String::new(), |text, line| text + "\n" + line.trim_end()) + "\n"
}

fn yes_or_no(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

fn target(target: Target) -> String {
    match target {
        Target::Ratio(most) => format!("≤ {most}"),
        Target::Milliseconds(most) => format!("≤ {most} ms"),
    }
}

fn time(microseconds: f64) -> String {
    match microseconds {
        ..1000.0 => format!("{microseconds:.1} µs"),
        _ => format!("{:.2} ms", microseconds / 1000.0),
    }
}

fn bytes(bytes: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "the precision of a single byte is not needed")]
    let kib = bytes as f64 / 1024.0;
    match kib {
        ..1024.0 => format!("{kib:.1} KiB"),
        _ => format!("{:.2} MiB", kib / 1024.0),
    }
}
