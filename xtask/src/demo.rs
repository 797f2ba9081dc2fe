//! Shows dhow at its main job: a real web server from a real image, on a published port.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{host, images, order};

/// Where the page is published.
const PORT: &str = "18080";

/// A dhow on roots of the demo's own.
struct Dhow {
    binary: PathBuf,
    roots: PathBuf,
}

impl Dhow {
    fn command(&self, arguments: &[&str]) -> Command {
        host::dhow(&self.binary, &self.roots, arguments)
    }

    /// Says and does; the output is the person's.
    fn show(&self, arguments: &[&str]) -> Result<()> {
        host::say(&format!("\n$ dhow {}", arguments.join(" ")));
        host::finish(self.command(arguments), "dhow", arguments)
    }
}

/// Builds, makes the images, serves a page, looks at everything, cleans up.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run() -> Result<()> {
    host::say("building dhow");
    host::run("cargo", &["build", "--release", "--package", "dhow"])?;
    order::check(&binary()?)?;
    let images = images::make(&host::workspace().join("target/images"))?;
    let roots = PathBuf::from(format!("/tmp/dhow-demo-{}", std::process::id()));
    let dhow = Dhow { binary: binary()?, roots: roots.clone() };
    let shown = tour(&dhow, &images);
    let reset = dhow.show(&["system", "reset", "--force"]);
    let removed = std::fs::remove_dir_all(&roots).context("remove the demo's roots");
    shown.and(reset).and(removed)
}

fn tour(dhow: &Dhow, images: &images::Images) -> Result<()> {
    dhow.show(&["load", "-i", &text(&images.busybox)])?;
    dhow.show(&["load", "-i", &text(&images.debian)])?;
    dhow.show(&["images"])?;
    dhow.show(&["run", "--rm", "busybox", "echo", "hello from busybox"])?;
    let published = format!("{PORT}:80");
    dhow.show(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        &published,
        "debian",
        "nginx",
        "-g",
        "daemon off; error_log stderr notice;",
    ])?;
    host::say(&format!("\nfetching http://127.0.0.1:{PORT}/"));
    let page = fetch(&format!("127.0.0.1:{PORT}"))?;
    if !page.contains("nginx") {
        bail!("the page is not nginx's: {page}");
    }
    host::say(page.lines().next().unwrap_or_default());
    dhow.show(&["exec", "web", "sh", "-c", "cat /etc/debian_version; id"])?;
    dhow.show(&["ps"])?;
    dhow.show(&["logs", "web"])?;
    dhow.show(&["stats", "--no-stream", "web"])?;
    dhow.show(&["rm", "-f", "web"])
}

/// The page at `address`; the server may need a moment to listen.
fn fetch(address: &str) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match request(address) {
            Ok(page) if !page.is_empty() => return Ok(page),
            Ok(_) | Err(_) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50))
            }
            Ok(_) => bail!("no answer from {address}"),
            Err(error) => return Err(error),
        }
    }
}

fn request(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// The release binary; cargo names its folder after the target.
pub(crate) fn binary() -> Result<PathBuf> {
    built("release")
}

/// Where cargo puts what it builds by a profile.
///
/// # Errors
/// There is no compiler to ask for the target.
pub(crate) fn profile(profile: &str) -> Result<PathBuf> {
    let target = host::output("rustc", &["--print", "host-tuple"])?;
    Ok(host::workspace().join("target").join(target.trim()).join(profile))
}

/// The program of a profile, which has been built.
///
/// # Errors
/// It has not.
pub(crate) fn built(profile: &str) -> Result<PathBuf> {
    let path = self::profile(profile)?.join("dhow");
    if path.exists() { Ok(path) } else { bail!("no binary at {}", path.display()) }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
