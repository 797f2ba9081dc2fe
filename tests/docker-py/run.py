#!/usr/bin/env python3
"""Runs docker-py's own integration tests against the service at $DOCKER_HOST, and compares with expected.txt.

usage: run.py CACHE [PYTEST ARGUMENT...]

CACHE keeps the library, its tests and the images for the next run. With arguments for pytest (-k exec) only what
fails is compared. Ends with 1 if a test fails that is not expected to, or passes that is.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

TESTS = "7.0.0"
API = "1.44"
SECONDS_EACH = "60"
BUSYBOX = Path("/bin/busybox")
NAMES = ["alpine:3.10", "alpine:latest", "busybox:latest"]
DIRECTORIES = ["bin", "dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "sys", "tmp", "usr", "usr/bin", "var",
               "var/lib", "var/lib/postgresql", "var/opt"]
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\n"
                  "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:root\npostgres:x:70:\nnobody:x:65534:\n",
}

# Loads the images before each test, since some remove what they find. A part of pytest, under this name.
PLUGIN = '''
import os, warnings, docker
# Some tests empty the environment.
version, names, path = (os.environ[name] for name in ("DOCKER_TEST_API_VERSION", "SUITE_NAMES", "SUITE_IMAGES"))
client = docker.DockerClient.from_env(version=version, timeout=60)
def pytest_runtest_setup(item):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        have = {tag for image in client.api.images() for tag in image["RepoTags"] or []}
        if not set(names.split()) <= have:
            with open(path, "rb") as archive:
                list(client.api.load_image(archive))
'''


def layer():
    """What the tests find in their images: busybox, and the users that they name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        def add(name, content=b"", **fields):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for field, value in fields.items():
                setattr(entry, field, value)
            tar.addfile(entry, io.BytesIO(content))
        for name in DIRECTORIES:
            add(name, type=tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        add("bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        applets = subprocess.check_output([BUSYBOX, "--list"], text=True).split()
        for applet in set(applets) - {"busybox"}:
            add(f"bin/{applet}", type=tarfile.SYMTYPE, linkname="busybox")
        for name, content in FILES.items():
            add(name, content.encode())
    return buffer.getvalue()


def images(path):
    """A docker-archive that has the one image under all of its names."""
    from hashlib import sha256
    content = layer()
    config = {
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sha256(content).hexdigest()]},
    }
    manifest = [{"Config": "config.json", "RepoTags": NAMES, "Layers": ["layer.tar"]}]
    parts = {"manifest.json": json.dumps(manifest).encode(), "config.json": json.dumps(config).encode(),
             "layer.tar": content}
    with tarfile.open(path, "w") as tar:
        for name, data in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def prepare(cache):
    """The library in an environment of its own, and a fresh copy of the tests."""
    python = suite.python(cache, HERE / "requirements.txt")
    tests = cache / "tests"
    shutil.rmtree(tests, ignore_errors=True)
    shutil.copytree(suite.sdist(cache, "docker", TESTS) / "tests", tests / "tests")
    (tests / "suite_images.py").write_text(PLUGIN)
    images(cache / "images.tar")
    return python, tests


def main():
    cache, arguments = Path(sys.argv[1]).resolve(), sys.argv[2:]
    python, tests = prepare(cache)
    left_out, failing = suite.expected(HERE / "expected.txt")
    report = cache / "report.xml"
    report.unlink(missing_ok=True)
    choice = [f"--deselect=tests/integration/{name.replace('::', '.py::', 1)}" if "::" in name
              else f"--ignore=tests/integration/{name}" for name in left_out]
    environment = {**os.environ, "DOCKER_TEST_API_VERSION": API, "PYTHONPATH": str(tests), "PYTHONWARNINGS": "ignore",
                   "SUITE_IMAGES": str(cache / "images.tar"), "SUITE_NAMES": " ".join(NAMES)}
    with open(cache / "log.txt", "wb") as log:
        ran = subprocess.run([python, "-m", "pytest", "-p", "suite_images", "-p", "no:cacheprovider", "-q", "-rfE", "--tb=short",
                        f"--timeout={SECONDS_EACH}", "--timeout-method=signal", f"--junitxml={report}", *choice,
                        *arguments, "tests/integration"], cwd=tests, env=environment, stdout=log, stderr=log)
    # 1 is that tests failed, which the list knows; all others that they did not run to their end.
    if ran.returncode not in (0, 1) or not report.exists():
        sys.exit(f"pytest ended with {ran.returncode}:\n{(cache / 'log.txt').read_text()[-2000:]}")
    if not suite.judge("docker-py", suite.outcomes(report, "tests.integration."), failing, not arguments):
        sys.exit(f"the log is {cache / 'log.txt'}")


main()
