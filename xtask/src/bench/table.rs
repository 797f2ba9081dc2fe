//! Pairs of what was measured in the same rounds: the median of each, and of their ratios.

use std::fmt::Write as _;

use super::report::median;

/// Which of two figures is the better one.
#[derive(Clone, Copy)]
pub(super) enum Better {
    More,
    Less,
}

/// A table for each two that were compared, and who they were.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) versions: Vec<String>,
    all: Vec<Table>,
}

struct Table {
    sides: [String; 2],
    rows: Vec<Row>,
}

struct Row {
    name: String,
    unit: &'static str,
    better: Better,
    /// As the sides are.
    values: [Vec<f64>; 2],
}

impl Tables {
    /// Begins a table.
    pub(super) fn begin(&mut self, one: &str, other: &str) {
        self.all.push(Table { sides: [one.to_owned(), other.to_owned()], rows: Vec::new() });
    }

    /// A value of one of the two sides of the last table.
    pub(super) fn add(&mut self, side: usize, (name, unit, better): Case<'_>, value: f64) {
        let Some(table) = self.all.last_mut() else { return };
        let at = table.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            let values = [Vec::new(), Vec::new()];
            table.rows.push(Row { name: name.to_owned(), unit, better, values });
            table.rows.len() - 1
        });
        table.rows[at].values[side].push(value);
    }

    /// For a terminal and for `docs/performance.md`.
    pub(super) fn print(&self) -> String {
        let mut text = format!("\n{}\n", self.versions.join("\n"));
        for Table { sides: [one, other], rows } in &self.all {
            let _ = writeln!(text, "\n| case | unit | {one} | {other} | {one} is better by |");
            let _ = writeln!(text, "|---|---|---|---|---|");
            for row in rows {
                let [ours, theirs] = [0, 1].map(|side| show(median(&row.values[side])));
                let ratio = row.ratio();
                let _ = writeln!(
                    text,
                    "| {} | {} | {ours} | {theirs} | {ratio:.2} |",
                    row.name, row.unit
                );
            }
        }
        text
    }
}

/// What a row is called, its unit, and what is better in it.
pub(super) type Case<'a> = (&'a str, &'static str, Better);

impl Row {
    /// Of what was measured in one round, since that is what the machine did to both alike.
    fn ratio(&self) -> f64 {
        let pairs = self.values[0].iter().zip(&self.values[1]);
        let ratios: Vec<f64> = pairs
            .map(|(ours, theirs)| match self.better {
                Better::More => ours / theirs,
                Better::Less => theirs / ours,
            })
            .collect();
        median(&ratios)
    }
}

/// With about three digits.
fn show(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_one_round() {
        let mut tables = Tables::default();
        tables.begin("a", "b");
        for (ours, theirs) in [(10.0, 5.0), (100.0, 10.0), (9.0, 3.0)] {
            tables.add(0, ("rate", "1/s", Better::More), ours);
            tables.add(1, ("rate", "1/s", Better::More), theirs);
        }
        tables.add(0, ("time", "ms", Better::Less), 2.0);
        tables.add(1, ("time", "ms", Better::Less), 500.0);
        let text = tables.print();
        assert!(text.contains("| rate | 1/s | 10.0 | 5.00 | 3.00 |"), "{text}");
        assert!(text.contains("| time | ms | 2.00 | 500 | 250.00 |"), "{text}");
    }
}
