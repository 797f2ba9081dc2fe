#!/usr/bin/env python3
"""Sessions with testcontainers for Python, Node and Rust, at the service at $DOCKER_HOST. usage: run.py CACHE"""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

# No registry has the reaper's image here: this one has a program that does the same.
REAPER = "dhow/reaper:1"

cache = Path(sys.argv[1]).resolve()
python = suite.python(cache, HERE / "requirements.txt")
modules = suite.node(cache, HERE)
suite.load(os.environ["SUITE_BUSYBOX"])
reaper = (HERE / "reaper.py").read_text()
suite.load(suite.python_image(cache / "reaper.tar", [REAPER], texts=[("reaper.py", reaper)],
                              config={"Cmd": ["python", "/reaper.py"], "ExposedPorts": {"8080/tcp": {}}}))
environment = {**os.environ, "NODE_PATH": str(modules / "node_modules"), "RYUK_CONTAINER_IMAGE": REAPER,
               "RYUK_RECONNECTION_TIMEOUT": "1s",
               "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE": os.environ["DOCKER_HOST"].removeprefix("unix://")}
found = {}
for command in ([python, HERE / "session.py"], ["node", HERE / "session.js"]):
    found |= suite.told(command, 180, env=environment)
environment |= suite.cargo_environment(cache)
subprocess.run(["cargo", "build", "--locked", "--quiet"], cwd=HERE / "rust", env=environment, check=True)
found |= suite.told(["cargo", "run", "--locked", "--quiet"], 180, cwd=HERE / "rust", env=environment)


# All have gone, each without removing all that it has made.
session = suite.Session("testcontainers")
session.found = found


@session.step
def reapers_leave_nothing():
    chosen = suite.quote(json.dumps({"label": ["org.testcontainers=true"]}))
    left = lambda: json.loads(suite.request("GET", f"/containers/json?all=1&filters={chosen}")[1])
    suite.until("the reapers have removed what was left", lambda: not left())


session.end(HERE)
