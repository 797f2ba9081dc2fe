"""What the suites of clients have in common: getting a client from its registry, and comparing with expected.txt."""

import contextlib
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import traceback
import xml.etree.ElementTree as xml
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

# Sources of their own: what the machine itself installs stays with its release.
APT = '''
Dir::Etc::sourcelist "{here}/list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "{here}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{here}/cache";
Acquire::IndexTargets::deb::Translations::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Languages "none";
'''
BUSYBOX = Path("/bin/busybox")
REGISTRY = "/usr/bin/docker-registry"
REGISTRY_CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "{address}"}}
"""
# What the crates are compiled for: others are not fetched.
PLATFORM = "x86_64-unknown-linux-gnu"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def mirror():
    """Where this machine gets Debian from."""
    # `apt-get indextargets` knows all the forms that a list of sources can have.
    sites = subprocess.check_output(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages",
                                     "Origin: Debian"], text=True).split()
    return next((site for site in sites if "security" not in site), "http://deb.debian.org/debian")


def debian(cache, pins):
    """Unpacks the first of Debian's packages that there is; the directory. A pin is (suite, package, version, sha256).

    Suites that change let go of old versions: the pins that follow are of a suite that changes rarely.
    """
    here = cache / "debian"
    for suite, package, version, digest in pins:
        tree = here / f"{package}-{version}"
        if tree.exists():
            return tree
        (here / "lists/partial").mkdir(parents=True, exist_ok=True)
        (here / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
        (here / "list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
        (here / "apt.conf").write_text(APT.format(here=here))
        environment = {**os.environ, "APT_CONFIG": str(here / "apt.conf")}
        subprocess.run(["apt-get", "-qq", "update"], env=environment, check=True)
        got = subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", f"{package}={version}"],
                             env=environment, cwd=here, stderr=subprocess.PIPE, text=True)
        if got.returncode != 0:
            print(f"Debian's {suite} has no {package} {version} any more: {got.stderr.strip()}", flush=True)
            continue
        archive = next(here.glob(f"{package}_*.deb"))
        content = archive.read_bytes()
        if sha256(content).hexdigest() != digest:
            sys.exit(f"{archive.name} is not what was pinned: {sha256(content).hexdigest()}")
        partial = tree.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run(["dpkg-deb", "-x", archive, partial], check=True)
        archive.unlink()
        partial.rename(tree)
        return tree
    sys.exit(f"Debian has none of these any more, pin what it has: {', '.join(' '.join(pin[:3]) for pin in pins)}")


def python(cache, requirements):
    """A Python environment with what a file of requirements names."""
    wanted, have = requirements.read_text(), cache / "requirements.txt"
    if not have.exists() or have.read_text() != wanted:
        shutil.rmtree(cache / "env", ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", cache / "env"], check=True)
        subprocess.run([*pip(cache), "install", "-r", requirements], check=True)
        have.write_text(wanted)
    return cache / "env/bin/python"


def pip(cache):
    return [cache / "env/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]


def sdist(cache, package, version):
    """The unpacked sources of a package of PyPI, whose tests are in no wheel."""
    name = f"{package}-{version}"
    if not (cache / f"{name}.tar.gz").exists():
        subprocess.run([*pip(cache), "download", f"{package}=={version}", "--no-binary", package, "--no-deps",
                        "-d", cache], check=True)
    with tarfile.open(cache / f"{name}.tar.gz") as source:
        source.extractall(cache / "source", filter="data")
    return cache / "source" / name


def expected(path):
    """Tests that are left out, and tests that fail: by name, or by a part of it."""
    left_out, failing = [], []
    for line in path.read_text().splitlines() if path.exists() else []:
        if not line.strip() or line.startswith("#"):
            continue
        verdict, name = line.split()[:2]
        {"leave": left_out, "fail": failing}[verdict].append(name)
    return left_out, failing


def outcomes(report, prefix):
    """What each test of pytest's report came to, under the name that expected.txt gives it."""
    found = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        name = case.get("classname").removeprefix(prefix).replace(".", "::") + "::" + case.get("name")
        bad = case.find("failure") is not None or case.find("error") is not None
        found[name] = "failed" if bad else "skipped" if case.find("skipped") is not None else "passed"
    return found


def judge(suite, found, failing, whole):
    """Prints what is not as it is written down; whether all is."""
    matches = lambda name, part: name == part or name.startswith(part + "::")
    wrong = []
    for name, outcome in sorted(found.items()):
        due = any(matches(name, part) for part in failing)
        if outcome == "failed" and not due:
            wrong.append(f"{name} fails")
        if outcome == "passed" and due:
            wrong.append(f"{name} passes: take it out of expected.txt")
    if whole:
        wrong += [f"{part} is no test: take it out of expected.txt" for part in failing
                  if not any(matches(name, part) for name in found)]
    for line in wrong:
        print(line)
    counts = {word: list(found.values()).count(word) for word in ("passed", "failed", "skipped")}
    print(f"{suite}: " + ", ".join(f"{count} {word}" for word, count in counts.items()))
    return not wrong and bool(counts["passed"])


class Over(http.client.HTTPConnection):
    """A connection to the engine's Unix socket."""

    def __init__(self):
        super().__init__("engine", timeout=60)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))


def request(method, path, body=None, headers=()):
    """What the engine answers: the code and the body."""
    connection = Over()
    connection.request(method, path, body=body, headers=dict(headers))
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def load(archive, *names):
    """Loads an image, and gives it more names."""
    with open(archive, "rb") as content:
        code, told = request("POST", "/images/load", content.read(), {"Content-Type": "application/x-tar"}.items())
    assert code == 200, told
    for name in names:
        repository, _, tag = name.rpartition(":")
        code, told = request("POST", f"/images/busybox/tag?repo={quote(repository, safe='')}&tag={tag}")
        assert code == 201, told


def expect_nothing():
    """Ends the program if the engine has something: it is somebody's."""
    has = [path for path in ("/containers/json?all=1", "/images/json") if json.loads(request("GET", path)[1])]
    if has:
        sys.exit(f"{os.environ['DOCKER_HOST']} has containers or images: this needs an engine of its own")


def remove_all():
    """Removes all that an engine has that had nothing."""
    for one in json.loads(request("GET", "/containers/json?all=1")[1]):
        request("DELETE", f"/containers/{one['Id']}?force=1&v=1")
    for one in json.loads(request("GET", "/images/json")[1]):
        request("DELETE", f"/images/{one['Id']}?force=1")
    for one in json.loads(request("GET", "/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D")[1]):
        request("DELETE", f"/networks/{one['Id']}")
    for one in json.loads(request("GET", "/volumes")[1])["Volumes"] or []:
        request("DELETE", f"/volumes/{one['Name']}?force=1")


class Session:
    """Steps of a session with a client, each with a name: one that raises has failed, and the others go on."""

    def __init__(self, name):
        self.name, self.found = name, {}

    def step(self, function):
        """Runs a step now."""
        name = function.__name__
        try:
            function()
            self.found[name] = "passed"
        except Exception:
            self.found[name] = "failed"
            traceback.print_exc()
        return function

    def end(self, here):
        """Compares with expected.txt, and ends the program."""
        end(self.name, here, self.found)


def until(what, condition, seconds=30):
    """Waits until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} seconds not: {what}"
        time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def registry(cache, address):
    """A registry on the host, with what the block puts there."""
    config = cache / "registry.yml"
    config.write_text(REGISTRY_CONFIG.format(root=cache / "registry", address=address))
    server = subprocess.Popen([REGISTRY, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    host, _, port = address.partition(":")

    def answers():
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0
    try:
        until("the registry listens", answers)
        yield
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(cache / "registry", ignore_errors=True)


def node(cache, here):
    """What a package-lock.json names, installed; the directory. From here on `node` is the one that is pinned beside this."""
    # Debian's is older than some packages take, and other people's packages of it displace each other.
    env = python(cache.parent / "node", Path(__file__).with_name("node.txt")).parent
    if str(env) not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([str(env), os.environ["PATH"]])
    wanted = (here / "package-lock.json").read_text()
    have = cache / "installed.json"
    if not have.exists() or have.read_text() != wanted:
        cache.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(here / name, cache / name)
        # Scripts of packages bring programs of their own, which nothing here needs.
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"], cwd=cache,
                       check=True)
        have.write_text(wanted)
    return cache


def told(command, seconds, **more):
    """Runs a program that prints `ok STEP` or `not ok STEP` for each; what they came to."""
    ran = subprocess.run(command, text=True, stdout=subprocess.PIPE, timeout=seconds, **more)
    found = {}
    for line in ran.stdout.splitlines():
        for begin, outcome in (("ok ", "passed"), ("not ok ", "failed")):
            if line.startswith(begin):
                found[line.removeprefix(begin).strip()] = outcome
    for line in ran.stdout.splitlines():
        if not line.startswith("ok "):
            print(line, flush=True)
    if ran.returncode != 0:
        sys.exit(f"{command[0]} ended with {ran.returncode}")
    return found


def end(name, here, found):
    """Compares with expected.txt, and ends this program."""
    _, failing = expected(here / "expected.txt")
    sys.exit(0 if judge(name, found, failing, whole=True) else 1)


# The programs of an image: a command of the host each, with the libraries that it needs.
PYTHON_PACKAGES = ["{0}-minimal", "lib{0}-minimal", "lib{0}-stdlib"]


def libraries(files):
    """What programs and libraries of the host are linked with."""
    told = subprocess.run(["ldd", *files], capture_output=True, text=True).stdout
    return sorted({word for line in told.splitlines() for word in line.split() if word.startswith("/") and word[-1] != ":"})


def python_files():
    """The files of the host's Python, without what it was installed beside."""
    version = Path("/usr/bin/python3").resolve().name
    packages = [name.format(version) for name in PYTHON_PACKAGES]
    listed = subprocess.check_output(["dpkg", "-L", *packages], text=True).splitlines()
    files = [name for name in listed if os.path.isfile(name) and not name.startswith("/usr/share/")]
    linked = [name for name in files if name.endswith(".so") or name == f"/usr/bin/{version}"]
    return [*files, *libraries(linked)], version


def pack(path, names, files, links=(), texts=(), config=None, mode=0o755):
    """Writes a docker-archive of an image: busybox, the host's files at their places, links and texts."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        have = set()

        def add(name, content=b"", **fields):
            for parent in reversed(Path(name).parents):
                if str(parent) not in (".", "/"):
                    add_one(str(parent), type=tarfile.DIRTYPE, mode=0o755)
            add_one(name, content, **fields)

        def add_one(name, content=b"", **fields):
            name = name.strip("/")
            if name in have:
                return
            have.add(name)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for field, value in fields.items():
                setattr(entry, field, value)
            tar.addfile(entry, io.BytesIO(content))

        add("tmp", type=tarfile.DIRTYPE, mode=0o1777)
        add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", mode=0o644)
        add("bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        for applet in set(subprocess.check_output([BUSYBOX, "--list"], text=True).split()) - {"busybox"}:
            add(f"bin/{applet}", type=tarfile.SYMTYPE, linkname="busybox")
        for name, target in links:
            add(name, type=tarfile.SYMTYPE, linkname=target)
        for name, content in texts:
            add(name, content.encode(), mode=mode)
        for name in files:
            add(name, Path(name).read_bytes(), mode=os.stat(name).st_mode & 0o777)
    layer = buffer.getvalue()
    image = {
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sha256(layer).hexdigest()]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "tests/suite.py"}],
    }
    parts = {"manifest.json": json.dumps([{"Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"]}]).encode(),
             "config.json": json.dumps(image).encode(), "layer.tar": layer}
    with tarfile.open(path, "w") as tar:
        for name, data in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def python_image(path, names, **more):
    """An image of the host's Python."""
    files, version = python_files()
    links = [("usr/bin/python3", version), ("usr/bin/python", version)]
    return pack(path, names, files, links=links, **more)


def push(name):
    """Pushes an image to the registry that its name names."""
    repository, _, tag = name.rpartition(":")
    code, told = request("POST", f"/images/{repository}/push?tag={tag}", headers={"X-Registry-Auth": "e30="}.items())
    assert code == 200 and b'"error"' not in told, told


def cargo_environment(cache):
    """What Cargo is told: all suites of crates share what is compiled for them."""
    # Those of the program that runs the suite are about its own crate.
    mine = {name: value for name, value in os.environ.items() if not name.startswith("CARGO_PKG_")}
    return {**mine, "CARGO_TARGET_DIR": str(cache.parent / "rust"), "CARGO_TERM_COLOR": "never"}


def cargo_project(cache, here):
    """A copy of a project beside a suite, where its client's sources can be put; its directory."""
    project = cache / "project"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(here, project, ignore=shutil.ignore_patterns("run.py", "expected.txt"))
    return project


def crate(project, name):
    """The sources of a crate that a project's Cargo.lock names, from crates.io."""
    told = subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", PLATFORM],
                                   cwd=project)
    found = [one for one in json.loads(told)["packages"] if one["name"] == name]
    assert len(found) == 1, found
    return Path(found[0]["manifest_path"]).parent
