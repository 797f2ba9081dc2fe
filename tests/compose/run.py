#!/usr/bin/env python3
"""A session of Docker Compose v2 with the project in compose.yaml, at the service at $DOCKER_HOST.

usage: run.py CACHE

CACHE keeps the client for the next run. Ends with 1 if a step fails that expected.txt does not know, or the other way
round.
"""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

PINS = [
    ("sid", "docker-compose", "2.40.3-3", "e7603d5e6df0f8404f7b03da478022b87d7b50644cffe68884b071e5cfc17fd3"),
    ("forky", "docker-compose", "2.40.3-3", "e7603d5e6df0f8404f7b03da478022b87d7b50644cffe68884b071e5cfc17fd3"),
    ("trixie", "docker-compose", "2.26.1-4", "47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea"),
]
SECONDS_EACH = 120
SERVICES = ["api", "cache", "store", "web", "worker"]

cache = Path(sys.argv[1]).resolve()
program = suite.debian(cache, PINS) / "usr/libexec/docker/cli-plugins/docker-compose"
suite.load(os.environ["SUITE_BUSYBOX"])
session = suite.Session("compose")


def ran(*words, code=0, **variables):
    """Runs compose; what it prints."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cache), "DOCKER_HOST": os.environ["DOCKER_HOST"], **variables}
    done = subprocess.run([program, "--progress", "plain", "-f", HERE / "compose.yaml", *words], env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_EACH)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def listed(*words):
    """The rows of `ps`, by name."""
    return {row["Name"]: row for row in map(json.loads, ran("ps", "--format", "json", *words).splitlines())}


def ids(service):
    return sorted(ran("ps", "-q", service).split())


def page(service, port, path):
    address = ran("port", service, str(port)).strip()
    with urllib.request.urlopen(f"http://{address}/{path}", timeout=10) as answer:
        return answer.read().decode()


def inside(service, script, **more):
    return ran("exec", "-T", service, "sh", "-c", script, **more)


def there(path):
    """What the engine lists of this project."""
    filters = suite.quote(json.dumps({"label": ["com.docker.compose.project=dhowshop"]}))
    found = json.loads(suite.request("GET", f"{path}?all=1&filters={filters}")[1])
    return found["Volumes"] if path == "/volumes" else found


@session.step
def config():
    assert sorted(ran("config", "--services").split()) == SERVICES
    assert "condition: service_healthy" in ran("config")


@session.step
def up_waits_for_health():
    ran("up", "-d", "--wait", "--wait-timeout", "60")
    rows = listed()
    assert len(rows) == 6, rows
    assert {row["State"] for row in rows.values()} == {"running"}, rows
    assert {row["Service"] for row in rows.values() if row["Health"] == "healthy"} == {"store", "cache"}, rows


@session.step
def ps_and_its_filters():
    assert sorted(ran("ps", "--services").split()) == SERVICES
    assert len(listed("--status", "running")) == 6 and not listed("--status", "exited")
    assert "dhowshop-web-1" in ran("ps") and ":80->" not in ran("ps", "worker").replace(" ", "")
    assert "running(6)" in ran("ls")


@session.step
def logs():
    suite.until("the store has said it", lambda: "store is up" in ran("logs", "--no-log-prefix", "store"))
    assert "store-1  | store is up" in ran("logs", "--no-color", "store")
    suite.until("both have said it", lambda: ran("logs", "--no-color", "worker").count(" is up") == 2)
    assert ran("logs", "--tail", "0", "worker") == ""


def worker(index):
    return listed("--no-trunc", "worker")[f"dhowshop-worker-{index}"]["ID"]


@session.step
def exec_with_its_code_and_its_user():
    assert inside("api", "echo $WORD; cat /greeting") == "first\nhello\n"
    inside("store", "exit 7", code=7)
    assert ran("exec", "-T", "-u", "33", "-w", "/tmp", "-e", "A=b", "api", "sh", "-c", "echo $(id -u) $PWD $A") == "33 /tmp b\n"
    assert ran("exec", "-T", "--index", "2", "worker", "hostname").strip() == worker(2)[:12]
    inside("nosuch", "true", code=1)


@session.step
def services_find_each_other_on_their_networks():
    inside("store", "echo a record >/data/record")
    assert inside("api", "wget -q -O - http://store/record") == "a record\n"
    assert inside("web", "wget -q -O - http://api:8080/word") == "the first\n"
    inside("worker", "until ping -c 1 -W 2 memory; do :; done")
    inside("web", "nslookup store", code=1)
    inside("worker", "ping -c 1 -W 2 web", code=1)


@session.step
def published_ports():
    assert page("api", 8080, "word") == "the first\n"
    assert page("web", 80, "index.html") == "a page\n"
    ran("port", "store", "80", code=1)


@session.step
def what_the_file_says_is_so():
    inside("cache", "touch /x", code=1)
    inside("web", "touch /srv/x", code=1)
    api = json.loads(suite.request("GET", f"/containers/{ids('api')[0]}/json")[1])
    assert api["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    cached = json.loads(suite.request("GET", f"/containers/{ids('cache')[0]}/json")[1])
    assert cached["HostConfig"]["Memory"] == 64 << 20 and cached["HostConfig"]["ReadonlyRootfs"]


@session.step
def scale():
    before = ids("worker")
    ran("up", "-d", "--no-recreate", "--scale", "worker=4")
    assert len(ids("worker")) == 4 and set(before) < set(ids("worker"))
    addresses = inside("api", "nslookup worker 2>&1 | sed 1,2d | grep '^Address.*[.]' | sort -u | wc -l")
    assert int(addresses) == 4, addresses
    ran("scale", "worker=1")
    assert len(ids("worker")) == 1


@session.step
def up_again_changes_what_has_changed():
    before = {service: ids(service) for service in SERVICES}
    told = ran("up", "-d", "--scale", "worker=1")
    assert {service: ids(service) for service in SERVICES} == before, told
    ran("up", "-d", "--wait", "--scale", "worker=1", WORD="second")
    after = {service: ids(service) for service in SERVICES}
    assert [service for service in SERVICES if after[service] != before[service]] == ["api"], (before, after)
    suite.until("the new word is served", lambda: page("api", 8080, "word") == "the second\n")


@session.step
def a_volume_outlives_its_container():
    before = ids("store")
    ran("up", "-d", "--wait", "--force-recreate", "--no-deps", "store")
    assert ids("store") != before
    assert inside("store", "cat /data/record") == "a record\n"


@session.step
def run_once():
    assert ran("run", "--rm", "-T", "--no-deps", "worker", "echo", "once") == "once\n"
    ran("run", "--rm", "-T", "--no-deps", "worker", "sh", "-c", "exit 4", code=4)
    assert len(there("/containers/json")) == 5


@session.step
def pause_and_unpause():
    ran("pause", "worker")
    assert [row["State"] for row in listed("-a", "worker").values()] == ["paused"]
    ran("unpause", "worker")
    assert [row["State"] for row in listed("worker").values()] == ["running"]


@session.step
def stop_start_restart_and_kill():
    ran("stop", "web")
    assert [(row["State"], row["ExitCode"]) for row in listed("-a", "web").values()] == [("exited", 0)]
    ran("start", "web")
    suite.until("it serves again", lambda: page("web", 80, "index.html") == "a page\n")
    ran("restart", "-t", "5", "worker")
    assert [row["State"] for row in listed("worker").values()] == ["running"]
    ran("kill", "worker")
    suite.until("it is down", lambda: [row["ExitCode"] for row in listed("-a", "worker").values()] == [137])
    ran("rm", "-f", "worker")
    assert not listed("-a", "worker")


@session.step
def top_images_stats_and_copies():
    assert "httpd" in ran("top", "web")
    assert {row["Repository"] for row in json.loads(ran("images", "--format", "json"))} == {"busybox"}
    assert len(ran("stats", "--no-stream", "--format", "json").splitlines()) == 4
    place = cache / "copied"
    ran("cp", "web:/srv/index.html", str(place))
    assert place.read_text() == "a page\n"
    ran("cp", str(place), "api:/tmp/copied")
    assert inside("api", "cat /tmp/copied") == "a page\n"


@session.step
def down_keeps_what_is_asked_for():
    ran("down", "-t", "5")
    assert not there("/containers/json") and not there("/networks")
    assert [volume["Labels"]["kept"] for volume in there("/volumes")] == ["yes"]
    ran("up", "-d", "--wait", "store")
    assert inside("store", "cat /data/record") == "a record\n"
    ran("down", "-v", "-t", "5", "--remove-orphans")
    assert not there("/containers/json") and not there("/networks") and not there("/volumes")


session.end(HERE)
