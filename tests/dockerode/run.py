#!/usr/bin/env python3
"""Runs session.js, a session with dockerode, at the service at $DOCKER_HOST. usage: run.py CACHE"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

cache = suite.node(Path(sys.argv[1]).resolve(), HERE)
suite.load(os.environ["SUITE_BUSYBOX"])
environment = {**os.environ, "NODE_PATH": str(cache / "node_modules")}
suite.end("dockerode", HERE, suite.told(["node", HERE / "session.js"], 120, env=environment))
