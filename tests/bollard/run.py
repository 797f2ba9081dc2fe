#!/usr/bin/env python3
"""Runs bollard's own tests against the service at $DOCKER_HOST, and compares with expected.txt.

usage: run.py CACHE [TEST...]

Its images are stand-ins in a local registry. With names of tests, or parts of them, those alone are run.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

# Without the compiling.
SECONDS = 1200
# What the image of a web server has at the place where the tests call it.
HTTPD = "#!/bin/sh\nmkdir -p /www\nexec httpd \"$@\"\n"
CONFIG = "\nconfig uhttpd main\n"
# `true` says nothing: what hello-world says has to be there.
HELLO = "#!/bin/sh\necho\necho 'Hello from Docker!'\n"


def stand_ins(cache, address):
    """Puts the images into the registry: the tests pull them."""
    for name, files, more in (
        ("alpine:latest", [], {}),
        ("hello-world:linux", [("hello", HELLO)], {"config": {"Cmd": ["/hello"]}}),
        ("fussybeaver/uhttpd:latest", [("usr/sbin/run_uhttpd", HTTPD), ("etc/config/uhttpd", CONFIG)], {}),
    ):
        name = f"{address}/{name}"
        suite.load(suite.pack(cache / "image.tar", [name], [], texts=files, **more))
        suite.push(name)
        code, told = suite.request("DELETE", f"/images/{name}")
        assert code == 200, told


def tests(cache):
    """A fresh copy of its tests, which are in the sources of the crate."""
    project = suite.cargo_project(cache, HERE)
    crate = suite.crate(project, "bollard")
    shutil.copytree(crate / "tests", project / "tests")
    version = project / "tests/version_test.rs"
    fixed, engine = '"unix:///var/run/docker.sock"', os.environ["DOCKER_HOST"]
    assert fixed in version.read_text()
    version.write_text(version.read_text().replace(fixed, f'"{engine}"'))
    return project


def main():
    cache, chosen = Path(sys.argv[1]).resolve(), sys.argv[2:]
    left_out, failing = suite.expected(HERE / "expected.txt")
    project = tests(cache)
    skipped = []
    for name in left_out:
        if "::" in name:
            skipped += ["--skip", name.split("::")[1]]
        else:
            (project / "tests" / name).unlink()
    address = f"127.0.0.1:{suite.free_port()}"
    with suite.registry(cache, address):
        stand_ins(cache, address)
        environment = {**suite.cargo_environment(cache), "REGISTRY_HTTP_ADDR": address}
        log = cache / "log.txt"
        test = ["cargo", "test", "--locked", "--no-fail-fast"]
        with open(log, "wb") as to:
            subprocess.run([*test, "--no-run"], cwd=project, env=environment, stdout=to, stderr=to, check=True)
            subprocess.run([*test, "--", "--test-threads", "1", *skipped, *chosen], cwd=project, env=environment,
                           stdout=to, stderr=to, timeout=SECONDS)
    found, file = {}, None
    for line in log.read_text(errors="replace").splitlines():
        if running := re.match(r" +Running tests/(\S+)\.rs ", line):
            file = running[1]
        elif outcome := re.match(r"test (\S+) (?:- should panic )?\.\.\. (ok|FAILED|ignored)$", line):
            found[f"{file}::{outcome[1]}"] = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}[outcome[2]]
    if not suite.judge("bollard", found, failing, not chosen):
        sys.exit(f"the log is {log}")


main()
