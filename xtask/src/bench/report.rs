//! Medians and ratios, as a table for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use super::cases::Case;
use super::engines::Engine;
use crate::host;

/// All that was measured.
pub(crate) struct Report {
    versions: Vec<String>,
    /// By case in order.
    samples: Vec<Row>,
}

/// One line of the table.
struct Row {
    name: String,
    unit: &'static str,
    engines: BTreeMap<String, Vec<f64>>,
}

impl Report {
    /// Notes who is compared.
    pub(crate) fn new(engines: &[Engine]) -> Result<Self> {
        let mut versions = Vec::new();
        for engine in engines {
            let version = engine.ok(&["--version"])?;
            versions.push(format!("{}: {version}", engine.name));
        }
        versions.push(format!("kernel: {}", host::output("uname", &["-r"])?.trim()));
        Ok(Self { versions, samples: Vec::new() })
    }

    /// Adds one measurement.
    pub(crate) fn add(&mut self, case: &Case, engine: &str, value: f64) {
        self.add_all(case, engine, vec![(String::new(), case.unit, value)]);
    }

    /// Adds the measurements of one run of a case: each is a row of its own.
    pub(crate) fn add_all(
        &mut self,
        case: &Case,
        engine: &str,
        values: Vec<(String, &'static str, f64)>,
    ) {
        for (part, unit, value) in values {
            let name = if part.is_empty() {
                case.name.to_owned()
            } else {
                format!("{}: {part}", case.name)
            };
            let at = self.samples.iter().position(|row| row.name == name).unwrap_or_else(|| {
                self.samples.push(Row { name, unit, engines: BTreeMap::new() });
                self.samples.len() - 1
            });
            self.samples[at].engines.entry(engine.to_owned()).or_default().push(value);
        }
    }

    /// For a terminal and for `docs/performance.md`.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("\n{}\n\n", self.versions.join("\n"));
        let _ = writeln!(
            text,
            "| case | unit | dhow | docker | docker / dhow | floor | dhow / floor |"
        );
        let _ = writeln!(text, "|---|---|---|---|---|---|---|");
        for Row { name, unit, engines } in &self.samples {
            let of = |engine: &str| engines.get(engine).map(|values| median(values));
            let show =
                |value: Option<f64>| value.map(|value| format!("{value:.2}")).unwrap_or_default();
            let ratio = |above: Option<f64>, below: Option<f64>| {
                above.zip(below).map(|(a, b)| format!("{:.1}", a / b)).unwrap_or_default()
            };
            let (dhow, docker, floor) = (of("dhow"), of("docker"), of("floor"));
            let _ = writeln!(
                text,
                "| {name} | {unit} | {} | {} | {} | {} | {} |",
                show(dhow),
                show(docker),
                ratio(docker, dhow),
                show(floor),
                ratio(dhow, floor)
            );
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        let cases: Vec<_> = self
            .samples
            .iter()
            .map(|Row { name, unit, engines }| serde_json::json!({ "case": name, "unit": unit, "samples": engines }))
            .collect();
        serde_json::json!({ "versions": self.versions, "cases": cases }).to_string()
    }
}

/// The middle one.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
