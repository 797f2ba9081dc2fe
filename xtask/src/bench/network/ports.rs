//! What ten thousand published ports cost beside one: of dhow alone, since Docker starts a program for each.

use anyhow::Result;

use super::super::engines::Engine;
use super::super::table::{Better, Tables};
use crate::host;

/// What is published.
const PUBLISHED: [&str; 2] = ["20000:20000", "20000-29999:20000-29999"];

/// Starts a container, looks at it and removes it, with one port and with many in turn.
pub(super) fn measure(dhow: &Engine, rounds: u32, tables: &mut Tables) -> Result<()> {
    host::say("measuring: ten thousand ports");
    tables.begin("one port", "10,000 ports");
    for _ in 0..rounds {
        for (side, ports) in PUBLISHED.into_iter().enumerate() {
            let run =
                ["run", "-d", "--name", "bench-ports", "-p", ports, "busybox", "sleep", "36000"];
            let commands: [(&str, &[&str]); 5] = [
                ("run -d", &run),
                ("ps", &["ps"]),
                ("inspect", &["inspect", "bench-ports"]),
                ("port", &["port", "bench-ports"]),
                ("rm -f", &["rm", "-f", "bench-ports"]),
            ];
            for (name, words) in commands {
                let milliseconds = dhow.time(words)? * 1e3;
                tables.add(side, (name, "ms", Better::Less), milliseconds);
            }
        }
    }
    Ok(())
}
