#!/usr/bin/env python3
"""A session with @devcontainers/cli and Debian's docker client, at the service at $DOCKER_HOST. usage: run.py CACHE"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

FILE = {
    "image": "busybox:latest", "updateRemoteUserUID": False, "remoteUser": "root", "containerEnv": {"A": "b"},
    "mounts": [{"type": "volume", "source": "devdata", "target": "/devdata"}], "runArgs": ["--init"],
    "postCreateCommand": "echo made >/made", "forwardPorts": [80],
}
cache = suite.node(Path(sys.argv[1]).resolve(), HERE)
suite.load(os.environ["SUITE_BUSYBOX"])
session = suite.Session("devcontainers")
place = tempfile.TemporaryDirectory(prefix="dhow-devcontainers-")
folder = Path(place.name)
(folder / ".devcontainer").mkdir()
(folder / ".devcontainer/devcontainer.json").write_text(json.dumps(FILE))
(folder / "source").write_text("of the host\n")


def ran(*words, code=0):
    """Runs the program; what it prints."""
    command = ["node", cache / "node_modules/@devcontainers/cli/devcontainer.js", words[0], "--docker-path",
               "/usr/bin/docker", "--workspace-folder", folder, *words[1:]]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def up(*words):
    told = json.loads(ran("up", *words).splitlines()[-1])
    assert told["outcome"] == "success", told
    return told["containerId"]


@session.step
def up_makes_the_container():
    made = json.loads(suite.request("GET", f"/containers/{up()}/json")[1])
    assert made["State"]["Running"] and made["HostConfig"]["Init"], made
    assert made["Config"]["Labels"]["devcontainer.local_folder"] == str(folder)


@session.step
def exec_sees_the_folder_and_what_was_asked_for():
    script = "cat source /made; echo $A; test -d /devdata; echo new >file"
    assert ran("exec", "sh", "-c", script) == "of the host\nmade\nb\n"
    assert (folder / "file").read_text() == "new\n"
    ran("exec", "sh", "-c", "exit 7", code=7)


@session.step
def up_again_finds_it():
    assert up() == up()


@session.step
def up_anew_removes_the_old_one():
    before = up()
    after = up("--remove-existing-container")
    assert after != before and suite.request("GET", f"/containers/{before}/json")[0] == 404


place.cleanup()
session.end(HERE)
