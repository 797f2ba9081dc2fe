#!/usr/bin/env python3
"""A session of Podman beside the service at $DOCKER_HOST. usage: run.py CACHE

podman-remote (`podman --remote`) speaks libpod's API alone, which no Docker Engine has: it is told so, in the words that
it has for a Docker Engine. What Podman and an engine do have in common are archives of images, both ways.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

SECONDS_EACH = 60
# What podman-remote says to a Docker Engine, whose answer to `/libpod/_ping` is `page not found`.
NO_PODMAN = "unable to connect to Podman socket: ping response was 404"

cache = Path(sys.argv[1]).resolve()
store = cache / "store"
session = suite.Session("podman")


def ran(*words, code=0):
    """Runs podman; what it prints, and its errors."""
    done = subprocess.run(["podman", *words], capture_output=True, text=True, timeout=SECONDS_EACH)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout, done.stderr


def remote(*words, code):
    return ran("--remote", "--url", os.environ["DOCKER_HOST"], *words, code=code)


def local(*words):
    """With a store of its own, which works on any file system."""
    return ran("--root", store, "--runroot", cache / "run", "--storage-driver", "vfs", *words)[0]


@session.step
def remote_is_told_that_this_is_no_podman():
    for words in (["ps"], ["images"], ["version"], ["info"], ["run", "--rm", "busybox", "true"], ["system", "df"]):
        said = remote(*words, code=125)[1]
        assert said.strip().endswith(NO_PODMAN), (words, said)


@session.step
def what_it_asks_for_first_is_nowhere():
    for path in ("/libpod/_ping", "/v4.3.1/libpod/_ping", "/v5.4.2/libpod/containers/json"):
        code, told = suite.request("GET", path)
        assert (code, json.loads(told)) == (404, {"message": "page not found"}), (path, code, told)


@session.step
def an_image_of_podmans_is_loaded():
    local("load", "-i", os.environ["SUITE_BUSYBOX"])
    local("tag", "busybox:latest", "localhost/from-podman:1")
    for form in ("docker-archive", "oci-archive"):
        archive = cache / f"{form}.tar"
        archive.unlink(missing_ok=True)
        local("save", "--format", form, "-o", archive, "localhost/from-podman:1")
        suite.load(archive)
        code, told = suite.request("GET", "/images/localhost/from-podman:1/json")
        assert code == 200, told
        assert json.loads(told)["Config"]["Cmd"] == json.loads(local("inspect", "busybox"))[0]["Config"]["Cmd"]
        code, told = suite.request("DELETE", "/images/localhost/from-podman:1")
        assert code == 200, told


@session.step
def podman_loads_an_image_from_here():
    suite.load(os.environ["SUITE_BUSYBOX"])
    code, told = suite.request("POST", "/images/busybox/tag?repo=localhost/from-here&tag=1")
    assert code == 201, told
    code, archive = suite.request("GET", "/images/localhost/from-here:1/get")
    assert code == 200
    (cache / "here.tar").write_bytes(archive)
    assert "localhost/from-here:1" in local("load", "-i", cache / "here.tar")
    there = json.loads(local("inspect", "localhost/from-here:1"))[0]
    here = json.loads(suite.request("GET", "/images/localhost/from-here:1/json")[1])
    assert there["RootFS"]["Layers"] == here["RootFS"]["Layers"]
    assert there["Config"]["Env"] == here["Config"]["Env"]


shutil.rmtree(store, ignore_errors=True)
for archive in cache.glob("*.tar"):
    archive.unlink()
session.end(HERE)
