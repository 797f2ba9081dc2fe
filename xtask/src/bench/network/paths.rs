//! Ways to a server in a container: its own address, and a port of the host's, from the host and from outside.

use anyhow::{Context, Result};

use super::super::engines::Engine;
use super::super::table::{Better, Tables};
use super::{Bench, INSIDE, SERVER, Side, probe};
use crate::host;

/// A host beside this one, with a link between the two.
const BESIDE: &str = "dhow-bench";
const LINK: &str = "dhowbench0";
const OURS: &str = "10.219.0.1";
/// Where dhow's container is published, and Docker's.
const PORTS: [&str; 2] = ["24080", "24081"];

/// The other host. Gone with this value.
pub(super) struct Outside;

impl Outside {
    pub(super) fn make() -> Result<Self> {
        // Of a run that was killed.
        remove();
        host::run("ip", &["netns", "add", BESIDE])?;
        let outside = Self;
        host::run(
            "ip",
            &["link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", BESIDE],
        )?;
        host::run("ip", &["addr", "add", "10.219.0.1/24", "dev", LINK])?;
        host::run("ip", &["link", "set", LINK, "up"])?;
        host::run("ip", &["-n", BESIDE, "addr", "add", "10.219.0.2/24", "dev", "eth0"])?;
        host::run("ip", &["-n", BESIDE, "link", "set", "eth0", "up"])?;
        Ok(outside)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        remove();
    }
}

fn remove() {
    let quiet = |words: &[&str]| {
        let _ = host::command("ip", words).stderr(std::process::Stdio::null()).status();
    };
    quiet(&["link", "delete", LINK]);
    quiet(&["netns", "delete", BESIDE]);
}

/// How the load comes to the server.
struct Way {
    name: &'static str,
    /// From where: nothing is the host itself.
    from: &'static [&'static str],
    address: String,
}

fn ways(engine: &Engine, port: &str) -> Result<[Way; 4]> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let own = engine.ok(&["inspect", "-f", format, SERVER])?;
    let way = |name, from, address| Way { name, from, address };
    Ok([
        way("its own address", &[], format!("{own}:{INSIDE}")),
        way("127.0.0.1", &[], format!("127.0.0.1:{port}")),
        way("an address of the host", &[], format!("{OURS}:{port}")),
        way("the same from outside", &["ip", "netns", "exec", BESIDE], format!("{OURS}:{port}")),
    ])
}

/// What is measured of a way: what it is called, wrk's path and connections, the line with the result.
const LOADS: [(&str, &str, &str, &str, &str); 2] = [
    ("requests", "1/s", "/", "16", "Requests/sec:"),
    ("throughput", "MB/s", "/large", "2", "Transfer/sec:"),
];

/// Each way of each engine for a second, again and again: what else the machine does meets all of them.
pub(super) fn measure(
    bench: &Bench,
    engines: [&Engine; 2],
    rounds: u32,
    tables: &mut Tables,
) -> Result<()> {
    for (engine, port) in engines.iter().zip(PORTS) {
        let publish = format!("{port}:{INSIDE}");
        let flags = ["-d", "--name", SERVER, "-p", &publish];
        probe(engine, bench, &flags, &["serve", INSIDE])?;
    }
    let both = [ways(engines[0], PORTS[0])?, ways(engines[1], PORTS[1])?];
    for (what, unit, path, connections, line) in LOADS {
        host::say(&format!("measuring: {what} beside {}", engines[1].name));
        for _ in 0..rounds {
            for (side, ways) in both.iter().enumerate() {
                let rates = ways.iter().map(|way| load(way, path, connections, line));
                let rates: Vec<f64> = rates.collect::<Result<_>>()?;
                note(ways, &rates, (what, unit), (side, tables));
            }
        }
    }
    for engine in engines {
        engine.ok(&["rm", "-f", SERVER])?;
    }
    Ok(())
}

/// Each rate, and how much of what the container's own address has it is.
fn note(ways: &[Way], rates: &[f64], (what, unit): (&str, &'static str), (side, tables): Side<'_>) {
    for (way, rate) in ways.iter().zip(rates) {
        let name = format!("{what} to {}", way.name);
        tables.add(side, (&name, unit, Better::More), *rate);
    }
    for (way, rate) in ways.iter().zip(rates).skip(1) {
        let name = format!("{what} to {}, beside its own address", way.name);
        tables.add(side, (&name, "", Better::More), rate / rates[0]);
    }
}

/// One second of wrk. What it says is in bytes, thousands or 1024s of them.
fn load(way: &Way, path: &str, connections: &str, line: &str) -> Result<f64> {
    let url = format!("http://{}{path}", way.address);
    let wrk = ["wrk", "-t", "1", "-c", connections, "-d", "1", &url];
    let words = [way.from, &wrk].concat();
    let text = host::output(words[0], &words[1..])?;
    let value = text.lines().find_map(|one| one.trim().strip_prefix(line));
    rate(value.unwrap_or_default().trim()).with_context(|| format!("wrk {url} says {text:?}"))
}

/// Requests as they are; bytes in millions.
fn rate(text: &str) -> Option<f64> {
    let (number, unit) =
        text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let scale = match unit {
        "" => 1.0,
        "KB" => 1024.0 / 1e6,
        "MB" => 1024.0 * 1024.0 / 1e6,
        "GB" => 1024.0 * 1024.0 * 1024.0 / 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        assert_eq!(rate("41234.56"), Some(41234.56));
        assert_eq!(rate("1.00GB"), Some(1_073.741_824));
        assert_eq!(rate("512.00KB"), Some(0.524_288));
        assert_eq!(rate("1.00TB"), None);
        assert_eq!(rate(""), None);
    }
}
