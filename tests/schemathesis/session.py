"""Asks each operation of swagger.yaml. Prints `ok OPERATION`, or `not ok` and the name of each way in which it is wrong.

usage: session.py REGISTRY FAILURES [OPERATION...]

A name is the group of the operation, what is wrong, the operation, and where in the answer. FAILURES gets what was asked.
"""

import base64
import io
import json
import os
import re
import sys
import tarfile
import time
from pathlib import Path

import requests
import schemathesis
import urllib3
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core import NOT_SET

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

API = "/v1.51"
SEED = 1
# How many requests of a kind are made for each operation: what its schema allows, with names that there are and with
# names that nobody has; what it does not allow.
ALLOWED, STRANGE, REFUSED = 8, 3, 6
# Bodies are where most is said.
BODIES = 2
# An answer that takes longer has no end.
SECONDS_EACH = 60
IMAGE = "busybox:latest"
BUSYBOX = Path(os.environ["SUITE_BUSYBOX"]).read_bytes()


class Engine:
    """What the requests are about. Each has it whole, whatever those before have done."""

    def __init__(self, registry):
        self.registry = registry
        self.image = f"{registry}/busybox:latest"
        self.exec = None

    def ask(self, method, path, body=None, headers=()):
        if isinstance(body, dict):
            body, headers = json.dumps(body), {"Content-Type": "application/json"}.items()
        return suite.request(method, path, body, headers)

    def must(self, codes, method, path, body=None, headers=()):
        code, told = self.ask(method, path, body, headers)
        assert code in codes, f"{method} {path}: {code} {told}"
        return told

    def make(self):
        self.must([201], "POST", f"/images/{IMAGE}/tag?repo={self.registry}/busybox&tag=latest")
        suite.push(self.image)
        self.whole()

    def whole(self):
        """Makes what is missing."""
        if self.ask("GET", f"/images/{IMAGE}/json")[0] != 200:
            self.must([200], "POST", "/images/load", BUSYBOX, {"Content-Type": "application/x-tar"}.items())
        if self.ask("GET", f"/images/{self.image}/json")[0] != 200:
            self.must([201], "POST", f"/images/{IMAGE}/tag?repo={self.registry}/busybox&tag=latest")
        if self.ask("GET", "/networks/kept")[0] != 200:
            self.must([201], "POST", "/networks/create", {"Name": "kept", "Labels": {"a": "b"}})
        self.must([201], "POST", "/volumes/create", {"Name": "kept", "Labels": {"a": "b"}})
        # Nothing holds what a request for a removal names.
        self.must([201], "POST", "/volumes/create", {"Name": "free"})
        if self.ask("GET", "/networks/free")[0] != 200:
            self.must([201], "POST", "/networks/create", {"Name": "free"})
        self.container("box", lambda state: state["Status"] == "running", self.make_box)
        self.container("done", lambda state: state["Status"] == "exited", self.make_done)
        if self.exec is None or json.loads(self.ask("GET", f"/exec/{self.exec}/json")[1]).get("ExitCode", 1) is not None:
            made = self.must([201], "POST", "/containers/box/exec", {"Cmd": ["true"], "AttachStdout": True})
            self.exec = json.loads(made)["Id"]

    def container(self, name, is_good, make):
        code, told = self.ask("GET", f"/containers/{name}/json")
        if code == 200 and is_good(json.loads(told)["State"]):
            return
        if code == 200:
            self.must([204], "DELETE", f"/containers/{name}?force=1&v=1")
        make()

    def make_box(self):
        self.must([201], "POST", "/containers/create?name=box", {
            "Image": IMAGE, "Cmd": ["sleep", "100000"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 3600_000_000_000},
            "HostConfig": {"Binds": ["kept:/kept"], "NetworkMode": "kept", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}},
        })
        self.must([204], "POST", "/containers/box/start")
        self.exec = None

    def make_done(self):
        self.must([201], "POST", "/containers/create?name=done", {"Image": IMAGE, "Cmd": ["sh", "-c", "echo said; touch /made"]})
        self.must([204], "POST", "/containers/done/start")
        self.must([200], "POST", "/containers/done/wait")

    def clear(self):
        """Removes what requests have made."""
        for one in json.loads(self.ask("GET", "/containers/json?all=1")[1]):
            if one["Names"] not in (["/box"], ["/done"]):
                self.ask("DELETE", f"/containers/{one['Id']}?force=1&v=1")
        for one in json.loads(self.ask("GET", "/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D")[1]):
            if one["Name"] not in ("kept", "free"):
                self.ask("DELETE", f"/networks/{one['Id']}")
        for one in json.loads(self.ask("GET", "/volumes")[1])["Volumes"]:
            if one["Name"] not in ("kept", "free"):
                self.ask("DELETE", f"/volumes/{suite.quote(one['Name'], safe='')}?force=1")
        for one in json.loads(self.ask("GET", "/images/json")[1]):
            if not {IMAGE, self.image} & set(one["RepoTags"]):
                self.ask("DELETE", f"/images/{one['Id']}?force=1")


@schemathesis.serializer("application/x-tar")
def as_it_is(_, value):
    content = getattr(value, "data", value)
    return content if isinstance(content, bytes) else str(content).encode()


def archive(name="file", content=b"text\n"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


# The names that stand in paths.
def names(operation, engine):
    path, removes = operation.path, operation.method.upper() == "DELETE"
    if path.startswith("/containers/{id}/wait") or path.endswith(("/logs", "/attach", "/changes")):
        return {"id": "done"}
    if path.startswith("/containers/{id}"):
        return {"id": "box"}
    if path.startswith("/networks/{id}"):
        return {"id": "free" if removes or path.endswith("connect") else "kept"}
    if path.startswith("/volumes/"):
        return {"name": "free" if removes else "kept"}
    if path.startswith("/images/"):
        return {"name": engine.image if removes or path.endswith("push") else IMAGE}
    if path.startswith("/exec/"):
        return {"id": engine.exec}
    if path.startswith("/distribution/"):
        return {"name": engine.image}
    return {key: "nosuch" for key in ("id", "name") if f"{{{key}}}" in path}


def plain(engine):
    """Requests of operations that do what they are for, where one without any parameter does not."""
    auth = {"X-Registry-Auth": "e30="}
    return {
        "GET:/containers/json": {"query": {"all": "1", "size": "1"}},
        "POST:/containers/create": {"query": {"name": "made"}, "body": {"Image": IMAGE, "Cmd": ["true"]}},
        "GET:/containers/{id}/json": {"query": {"size": "1"}},
        "GET:/containers/{id}/logs": {"query": {"stdout": "1", "stderr": "1"}},
        "GET:/containers/{id}/archive": {"query": {"path": "/etc"}},
        "HEAD:/containers/{id}/archive": {"query": {"path": "/etc"}},
        "PUT:/containers/{id}/archive": {"query": {"path": "/tmp"}, "body": archive(), "media_type": "application/x-tar"},
        "POST:/containers/{id}/kill": {"query": {"signal": "CONT"}},
        "POST:/containers/{id}/rename": {"query": {"name": "renamed"}},
        "POST:/containers/{id}/resize": {"query": {"h": 20, "w": 80}},
        "POST:/containers/{id}/update": {"body": {"Memory": 64 << 20, "MemorySwap": 64 << 20}},
        "POST:/containers/{id}/exec": {"body": {"Cmd": ["true"]}},
        "POST:/exec/{id}/start": {"body": {"Detach": False}},
        "POST:/images/create": {"query": {"fromImage": engine.image}, "headers": auth},
        "POST:/images/load": {"body": BUSYBOX, "media_type": "application/x-tar"},
        "GET:/images/get": {"query": {"names": IMAGE}},
        "POST:/images/{name}/push": {"query": {"tag": "latest"}, "headers": auth},
        "POST:/images/{name}/tag": {"query": {"repo": "other", "tag": "1"}},
        "POST:/commit": {"query": {"container": "box", "repo": "committed"}, "body": {}},
        "GET:/events": {"query": {"since": "0", "until": str(int(time.time()))}},
        "POST:/volumes/create": {"body": {"Name": "made"}},
        "POST:/networks/create": {"body": {"Name": "made"}},
        "POST:/networks/{id}/connect": {"body": {"Container": "box"}},
        "POST:/networks/{id}/disconnect": {"body": {"Container": "box", "Force": True}},
        "POST:/auth": {"body": {"username": "a", "password": "b", "serveraddress": f"http://{engine.registry}"}},
    }


# What is answered otherwise than the file says, whatever else is asked: expected.txt has it.
KNOWN = {
    "POST:/containers/create": {"body": {"Image": IMAGE, "OnBuild": ["RUN true"]}},
    "GET:/containers/{id}/top": {"query": {"ps_args": "nosuch"}},
    "POST:/containers/{id}/update": {"body": {"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1}]}},
    "DELETE:/images/{name}": {"query": {"platforms": '[{"os":"linux","architecture":"amd64"}]'}},
    "GET:/images/json": {"query": {"manifests": "1"}},
    "POST:/networks/create": {"body": {"Name": "made", "IPAM": {"Driver": "nosuch"}}},
}
# Groups of which there is nothing: their operations leave what the others need as it is.
NOTHING = {"Config", "Node", "Plugin", "Secret", "Service", "Session", "Swarm", "Task"}


def bounded(case, key, engine):
    """Keeps a request from waiting without an end, and from asking the Internet."""
    query = case.query
    if key == "GET:/events":
        query.update(until="1")
    elif key == "GET:/containers/{id}/logs":
        query.update(follow="0")
    elif key == "GET:/containers/{id}/stats":
        query.update({"stream": "0", "one-shot": "1"})
    elif key == "POST:/containers/{id}/attach":
        query.update(stream="0", stdin="0")
    elif key == "POST:/containers/{id}/wait":
        query.update(condition="not-running")
    elif key in ("POST:/containers/{id}/stop", "POST:/containers/{id}/restart"):
        query.update(t="1")
    elif key == "GET:/images/search":
        query.update(term=f"{engine.registry}/{query.get('term', '')}")
    elif key == "POST:/images/create":
        query.pop("fromSrc", None)
        query.update(fromImage=engine.image)
    elif key == "GET:/distribution/{name}/json":
        case.path_parameters.update(name=engine.image)
    elif key == "POST:/auth":
        if case.body is NOT_SET:
            case.body, case.media_type = {}, "application/json"
        if isinstance(case.body, dict):
            case.body.update(serveraddress=f"http://{engine.registry}")
    elif key == "POST:/containers/create" and isinstance(case.body, dict):
        case.body.update(Image=IMAGE)


class Wrong:
    """What is wrong, once for each name."""

    def __init__(self, path):
        self.seen, self.file = set(), open(path, "w")

    def add(self, name, case, answer, text):
        if name in self.seen:
            return
        self.seen.add(name)
        print(f"not ok {name}", flush=True)
        asked = case.as_curl_command() if case else ""
        told = "" if answer is None else f"{answer.status_code} {answer.content[:2000]!r}"
        self.file.write(f"{name}\n  {text}\n  {asked}\n  {told}\n\n")
        self.file.flush()


def documents(text):
    """The JSON documents of an answer, which some have one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        yield document
        while at < len(text) and text[at].isspace():
            at += 1


def every(errors):
    """Errors with those in what may also be null, whose own error says nothing but that it is neither."""
    for error in errors:
        branches = getattr(error.kind, "context", [])
        inner = [one for branch in branches for one in branch if len(one.instance_path) > len(error.instance_path)]
        yield from every(inner) if inner else [error]


def place(path):
    """Where in an answer: all members of a list are one place, as are all that have an id for a name."""
    parts = ("[]" if isinstance(part, int) else re.sub(r"[0-9a-f]{64}", "ID", str(part)) for part in path)
    return ".".join(parts).replace(" ", "_") or "."


def judge(operation, case, answer, wrong):
    """Names what is wrong with an answer."""
    group, key = operation.tags[0], f"{operation.method.upper()}:{operation.path}"
    code = answer.status_code

    def bad(kind, text, where=""):
        wrong.add("::".join(filter(None, [group, kind, key, where])), case, answer, text)
    if code >= 500:
        bad(str(code), "a server's error")
    if code >= 400:
        if operation.method.upper() == "HEAD":
            return
        try:
            message = answer.json()["message"]
            assert isinstance(message, str) and message
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            bad("error-body", repr(error))
        return
    defined = operation.responses.find_by_status_code(code)
    if defined is None:
        return bad("status", f"{code} is none of {operation.responses.status_codes}", str(code))
    if not answer.content or operation.method.upper() == "HEAD":
        return
    kind = (answer.headers.get("content-type") or ["none"])[0].split(";")[0]
    allowed = operation.schema.get_content_types(operation, answer)
    if kind not in allowed:
        bad("type", f"{kind} is none of {allowed}", kind)
    schema = defined.get_schema(kind)
    if schema.schema is None or not kind.endswith("json"):
        return
    validator = defined.get_validator(schema.media_type, schema.schema)
    try:
        found = list(documents(answer.content.decode()))
    except ValueError as error:
        return bad("json", str(error))
    for document in found:
        for error in every(validator.iter_errors(document)):
            text = f"{error.message[:500]} at {error.instance_path}"
            if error.instance is None:
                # Lists and maps without content: the same ones wherever they come.
                wrong.add(f"null::{place(error.instance_path[-1:])}", case, answer, text)
            else:
                bad("schema", text, place(error.instance_path))


def ask(operation, case, engine, wrong, session):
    key = f"{operation.method.upper()}:{operation.path}"
    try:
        answer = case.call(base_url=f"http://engine{API}", session=session, timeout=SECONDS_EACH)
    except requests.RequestException as error:
        wrong.add(f"{operation.tags[0]}::no-answer::{key}", case, None, repr(error))
        return
    judge(operation, case, answer, wrong)


def cases(operation, engine):
    """Strategies of requests, with how many of each are wanted."""
    known = names(operation, engine)
    more = BODIES if operation.body else 1
    yield operation.as_strategy(path_parameters=known), ALLOWED * more, known, False
    yield operation.as_strategy(generation_mode=GenerationMode.NEGATIVE, path_parameters=known), REFUSED * more, known, True
    if known:
        yield operation.as_strategy(), STRANGE, None, False


def explore(operation, engine, wrong, session):
    key = f"{operation.method.upper()}:{operation.path}"
    changes = operation.method.upper() not in ("GET", "HEAD") and operation.tags[0] not in NOTHING
    for given_so in filter(lambda one: one is not None, [plain(engine).get(key, {}), KNOWN.get(key)]):
        engine.whole()
        given_so = dict(given_so)
        if operation.body:
            given_so.setdefault("body", {})
            given_so.setdefault("media_type", "application/json")
        case = operation.Case(path_parameters=names(operation, engine), **given_so)
        if "query" not in given_so:
            bounded(case, key, engine)
        ask(operation, case, engine, wrong, session)
    for strategy, many, known, strange in cases(operation, engine):
        @seed(SEED)
        @settings(max_examples=many, database=None, deadline=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))
        @given(case=strategy)
        def each(case):
            if changes:
                engine.whole()
            if known:
                case.path_parameters.update(names(operation, engine))
            bounded(case, key, engine)
            ask(operation, case, engine, wrong, session)
        try:
            each()
        except Unsatisfiable:
            if not strange:
                raise
            # It takes no parameter of which one could say what is not allowed.
    engine.clear()


class Adapter(requests.adapters.HTTPAdapter):
    """Requests by the engine's socket."""

    def get_connection_with_tls_context(self, *_, **__):
        return Pool("engine")


class Connection(urllib3.connection.HTTPConnection):
    def _new_conn(self):
        over = suite.Over()
        over.connect()
        return over.sock


class Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = Connection


def main():
    registry, failures, *chosen = sys.argv[1:]
    schema = schemathesis.openapi.from_dict(yaml.load((HERE / "swagger.yaml").read_bytes(), yaml.CSafeLoader))
    engine, wrong = Engine(registry), Wrong(failures)
    engine.make()
    session = requests.Session()
    session.mount("http://engine", Adapter())
    documented = (HERE.parents[1] / "docs/docker-compatibility.md").read_text()
    for result in schema.get_all_operations():
        operation = result.ok()
        key = f"{operation.method.upper()}:{operation.path}"
        if chosen and key not in chosen:
            continue
        if f"`{key.replace(':', ' ', 1)}`" not in documented:
            wrong.add(f"{operation.tags[0]}::documented::{key}", None, None, "docs/docker-compatibility.md does not name it")
        before, started = len(wrong.seen), time.monotonic()
        explore(operation, engine, wrong, session)
        if len(wrong.seen) == before:
            print(f"ok {operation.tags[0]}::{key}", flush=True)
        wrong.file.write(f"{key}: {time.monotonic() - started:.1f} s\n")


main()
