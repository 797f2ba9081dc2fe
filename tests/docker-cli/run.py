#!/usr/bin/env python3
"""Runs commands.txt with the docker CLI at $DOCKER_HOST, and compares what it says with what it says to Docker.

usage: run.py CACHE [--record]

CACHE keeps the newest client for the next run. With --record, what is at $DOCKER_HOST is a Docker Engine, and its
answers are written down. Ends with 1 if an answer is neither Docker's nor the one in differences.txt.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite
import transcript

# Debian's own, of the release that this machine has, and the newest that there is.
OLD = Path("/usr/bin/docker")
NEW = [
    ("sid", "docker-cli", "28.5.2+dfsg4-5", "8ea2428acdda666f41263f5a0d3a85681a696491361574eb7bd721a1194939b9"),
    ("forky", "docker-cli", "28.5.2+dfsg4-5", "8ea2428acdda666f41263f5a0d3a85681a696491361574eb7bd721a1194939b9"),
    ("trixie", "docker-cli", "26.1.5+dfsg1-9+deb13u1+b1", "596647bc4ffaaaf2e2321116b8a10f6a6086ada797c17a7117798cb391a72776"),
]


def main():
    cache, record = Path(sys.argv[1]).resolve(), "--record" in sys.argv[2:]
    new = suite.debian(cache, NEW) / "usr/bin/docker"
    verdicts = [transcript.run(HERE, name, {"docker": client}, record) for name, client in (("28.5", new), ("20.10", OLD))]
    sys.exit(0 if all(verdicts) else 1)


main()
