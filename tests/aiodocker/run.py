#!/usr/bin/env python3
"""Runs aiodocker's own tests against the service at $DOCKER_HOST, and compares with expected.txt.

usage: run.py CACHE [PYTEST ARGUMENT...]

Its images are stand-ins in a local registry: one of the host's Python, and one of the host's registry server. With
arguments for pytest (-k exec) only what fails is compared.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

VERSION = "0.27.0"
SECONDS_EACH = "60"
# What its tests want of Docker Hub.
IMAGES = ["python:3.13-alpine", "python:3.14-alpine"]


def stand_ins(cache, address):
    """Puts the images there: the tests pull them, and find the others."""
    names = [f"{address}/{name}" for name in IMAGES]
    suite.load(suite.python_image(cache / "python.tar", [*names, "python:latest"], config={"Cmd": ["python"]}))
    for name in names:
        suite.push(name)
    config = suite.REGISTRY_CONFIG.format(root="/registry", address=":5000")
    suite.load(suite.pack(cache / "registry.tar", ["registry:2"], [suite.REGISTRY, *suite.libraries([suite.REGISTRY])],
                          texts=[("config.yml", config)],
                          config={"Entrypoint": ["docker-registry", "serve", "/config.yml"], "Cmd": []}))


def tests(cache, address):
    """A fresh copy of its tests, with the names of the images that there are."""
    here = cache / "tests"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(suite.sdist(cache, "aiodocker", VERSION) / "tests", here / "tests")
    conftest = here / "tests/conftest.py"
    text = conftest.read_text()
    for name in IMAGES:
        assert f'"{name}"' in text, name
        text = text.replace(f'"{name}"', f'"{address}/{name}"')
    conftest.write_text(text)
    (here / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    return here


def main():
    cache, arguments = Path(sys.argv[1]).resolve(), sys.argv[2:]
    python = suite.python(cache, HERE / "requirements.txt")
    address = f"127.0.0.1:{suite.free_port()}"
    with suite.registry(cache, address):
        stand_ins(cache, address)
        here = tests(cache, address)
        left_out, failing = suite.expected(HERE / "expected.txt")
        report = cache / "report.xml"
        report.unlink(missing_ok=True)
        choice = [f"--deselect=tests/{name.replace('::', '.py::', 1)}" if "::" in name else f"--ignore=tests/{name}"
                  for name in left_out]
        environment = {**os.environ, "TESTCONTAINERS_RYUK_DISABLED": "true",
                       "TESTCONTAINERS_CONNECTION_MODE": "docker_host", "PYTHONWARNINGS": "ignore"}
        with open(cache / "log.txt", "wb") as log:
            ran = subprocess.run([python, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rfE", "--tb=short",
                                  f"--timeout={SECONDS_EACH}", f"--junitxml={report}", *choice, *arguments, "tests"],
                                 cwd=here, env=environment, stdout=log, stderr=log)
    # 1 is that tests failed, which the list knows; all others that they did not run to their end.
    if ran.returncode not in (0, 1) or not report.exists():
        sys.exit(f"pytest ended with {ran.returncode}:\n{(cache / 'log.txt').read_text()[-2000:]}")
    if not suite.judge("aiodocker", suite.outcomes(report, "tests."), failing, not arguments):
        sys.exit(f"the log is {cache / 'log.txt'}")


main()
