#!/usr/bin/env python3
"""A session with lazydocker in a terminal of tmux, at the service at $DOCKER_HOST. usage: run.py CACHE"""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

SCRIPT = "trap 'exit 0' TERM; echo said by it; while :; do sleep 0.05; done"
SERVER = f"dhow-lazydocker-{os.getpid()}"

cache = Path(sys.argv[1]).resolve()
python = suite.python(cache, HERE / "requirements.txt")
suite.load(os.environ["SUITE_BUSYBOX"])
session = suite.Session("lazydocker")


def tmux(*words):
    command = ["tmux", "-L", SERVER, "-f", "/dev/null", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def shows(*texts):
    """Waits until the screen has all of these."""
    suite.until(f"the screen has {texts}", lambda: all(text in tmux("capture-pane", "-p") for text in texts))


def post(path, body=None):
    code, told = suite.request("POST", path, body and json.dumps(body), {"Content-Type": "application/json"}.items())
    assert code in (201, 204), told
    return json.loads(told) if told else None


def state():
    found = suite.request("GET", "/containers/lazy-one/json")
    return json.loads(found[1])["State"]["Status"] if found[0] == 200 else "gone"


post("/containers/create?name=lazy-one", {"Image": "busybox", "Cmd": ["sh", "-c", SCRIPT]})
post("/containers/lazy-one/start")
post("/networks/create", {"Name": "lazy-net"})
post("/volumes/create", {"Name": "lazy-vol"})
tmux("new-session", "-d", "-x", "160", "-y", "40", "-e", f"DOCKER_HOST={os.environ['DOCKER_HOST']}", "-e",
     f"HOME={cache}", str(python.parent / "lazydocker"))


@session.step
def shows_what_there_is():
    shows("running", "lazy-one", "busybox", "lazy-net", "lazy-vol")


@session.step
def shows_logs_and_figures():
    shows("said by it")
    tmux("send-keys", "]")
    shows("CPU (%):")


@session.step
def stops_and_starts_again():
    tmux("send-keys", "s")
    shows("stop this container?")
    tmux("send-keys", "Enter")
    suite.until("it is down", lambda: state() == "exited")
    shows("exited (0)")
    tmux("send-keys", "r")
    suite.until("it runs again", lambda: state() == "running")
    shows("running  lazy-one")


@session.step
def sees_what_others_do():
    post("/containers/lazy-one/rename?name=lazy-two")
    shows("lazy-two")
    post("/containers/lazy-two/rename?name=lazy-one")
    shows("lazy-one")


@session.step
def removes():
    assert suite.request("POST", "/containers/lazy-one/kill")[0] == 204
    shows("exited (137)")
    tmux("send-keys", "d")
    shows("docker rm")
    tmux("send-keys", "Enter")
    suite.until("it is gone", lambda: state() == "gone")


tmux("kill-server")
session.end(HERE)
