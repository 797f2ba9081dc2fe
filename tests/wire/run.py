#!/usr/bin/env python3
"""Asks the engine at $DOCKER_HOST with curl, and compares with what a Docker Engine says. usage: run.py CACHE [--record]"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import transcript

sys.exit(0 if transcript.run(HERE, "curl", {name: HERE / name for name in ["api", "head-of"]}, "--record" in sys.argv[2:]) else 1)
