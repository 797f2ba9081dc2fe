//! Automation: demo, test, testbed, soak, bench, images, tidy.

mod bench;
mod clients;
mod conformance;
mod demo;
mod host;
mod images;
mod leaks;
mod order;
mod packages;
mod power_loss;
mod soak;
mod steps;
mod testbed;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};
use testbed::Layout;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo          build dhow, make images from Debian packages and run a web server from one
  test [--testbed]
                install what the tests need, run them all, count what is left on the host;
                and then the privileged ones on the testbed, whose power is cut some times
  testbed [--hybrid] [FILTER...]
                run the privileged tests on a throw-away host with systemd and cgroup v2
  testbed --short
                of these what no other host can show, in some minutes
  testbed --kernel
                build a fuller kernel for that host, once, in over ten minutes
  clients [SUITE [ARGUMENT...]]
                run the suites of real clients below tests/, or one of them (docker-py -k exec)
  clients docker-cli --record
                write down what the Docker Engine in DOCKER_HOST answers, which dhow is compared with
  conformance [SUITE/RUNTIME/FILE...]
                run the suites that others have written for OCI runtimes against dhow, runc
                and crun, in over half an hour, and write who passes what; what is named runs
                again (bats, bats/dhow, bats/dhow/exec), else what has not run since dhow changed
  conformance --check
                run the OCI's validation programs and compare with the list in the repository
  power-loss [N]
                cut the power of that host N times (36) while dhow works there; what was
                acknowledged has to be there after each boot
  leaks PROGRAM [ARGUMENT...]
                run a program and count what it leaves on the host
  soak [N]      N containers come and go (2000), 20 at a time; what stays must not grow
  bench [ROUNDS] [--only TEXT] [--json FILE] [--program FILE]
                measure dhow (a release of it, or a program that is there) beside Docker and
                beside the kernel's floor; with --only oci, its runtime beside runc and crun;
                with --only rootless, a user's beside Podman; with --only network, published
                ports, names and many containers on one network; with --only service,
                dhow serve beside Docker's daemon
  order         build a release, see what its starts execute, and write what the linker is to
                put first in the next (crates/dhow/order.txt)
  images DIR    write busybox.tar and debian.tar (docker-archive) into DIR
  tidy          check the rules that no compiler checks";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            host::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Reads the options of `bench`.
fn bench(options: &[&str]) -> Result<()> {
    let mut asked = bench::Options { rounds: 20, only: "", json: None, program: None };
    let mut rest = options;
    while let [first, more @ ..] = rest {
        rest = match (*first, more) {
            ("--only", [text, more @ ..]) => {
                asked.only = text;
                more
            }
            ("--json", [file, more @ ..]) => {
                asked.json = Some(file);
                more
            }
            ("--program", [file, more @ ..]) => {
                asked.program = Some(file);
                more
            }
            (number, more) => {
                asked.rounds = number.parse()?;
                more
            }
        };
    }
    bench::run(&asked)
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        ["tidy"] => tidy::check(),
        ["images", dir] => images::make(dir.as_ref()).map(drop),
        ["demo"] => steps::demo(),
        ["order"] => order::run(),
        ["test"] => steps::test(),
        ["test", "--testbed"] => {
            steps::test()?;
            testbed::run(Layout::Unified, &[])?;
            power_loss::run(power_loss::FEW)
        }
        ["testbed", "--kernel"] => testbed::kernel(),
        ["testbed", "--hybrid", filters @ ..] => testbed::run(Layout::Hybrid, filters),
        ["testbed", "--short"] => testbed::run(Layout::Unified, &testbed::SHORT),
        ["testbed", filters @ ..] => testbed::run(Layout::Unified, filters),
        ["leaks", program, arguments @ ..] => steps::leaks(program, arguments),
        ["clients", arguments @ ..] => {
            packages::install(&clients::PACKAGES)?;
            clients::run(arguments)
        }
        ["conformance", "--check"] => conformance::check(&demo::built("debug")?),
        ["conformance", suites @ ..] => conformance::run(&demo::built("debug")?, suites),
        ["power-loss"] => power_loss::run(power_loss::CUTS),
        ["power-loss", number] => power_loss::run(number.parse()?),
        ["soak"] => steps::soak(soak::CONTAINERS),
        ["soak", number] => steps::soak(number.parse()?),
        // A part of `bench`, in a mount namespace of its own.
        ["bench-oci", dir, rounds] => bench::oci::measure(dir.as_ref(), rounds.parse()?),
        ["bench-rootless", dir, rounds] => bench::rootless::measure(dir.as_ref(), rounds.parse()?),
        ["bench", options @ ..] => bench(options),
        _ => bail!("{USAGE}"),
    }
}
