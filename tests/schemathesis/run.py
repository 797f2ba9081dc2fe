#!/usr/bin/env python3
"""Asks the service at $DOCKER_HOST all that Docker's swagger file has, by schemathesis, and compares with expected.txt.

usage: run.py CACHE [OPERATION...]

CACHE keeps the library for the next run, and what was asked and answered where something is wrong. With operations
(GET:/containers/json) those alone are asked, and only what fails is compared.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

SECONDS = 1800

cache, chosen = Path(sys.argv[1]).resolve(), sys.argv[2:]
python = suite.python(cache, HERE / "requirements.txt")
suite.load(os.environ["SUITE_BUSYBOX"])
address = f"127.0.0.1:{suite.free_port()}"
with suite.registry(cache, address):
    wrongs = cache / "failures.txt"
    found = suite.told([python, HERE / "session.py", address, wrongs, *chosen], SECONDS)
_, failing = suite.expected(HERE / "expected.txt")
if not suite.judge("schemathesis", found, failing, whole=not chosen):
    sys.exit(f"what was asked and answered is in {wrongs}")
