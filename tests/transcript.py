"""Command lines whose answers are compared with those that a Docker Engine has given.

What differs at each run (ids, times, sizes) is put in one form first. Answers that are written down are blocks: `$ ` and
the command, what it printed, its errors after `! `, its code after `= ` if it is not 0. In a list of differences the
comments before a block, or before some blocks in a row, are the reason.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import suite

SECONDS_EACH = 60

# What is another one at each run. The first that matches a place wins.
FORMS = [
    (r"\b[0-9a-f]{64}\b", "ID"),
    (r"\b(?=[0-9]*[a-f])[0-9a-f]{12}\b", "ID"),
    (r"\b\d{4}-\d\d-\d\d[T ][0-9:.]+(Z|[+-]\d\d:?\d\d| [+-]\d{4} [A-Z]+)", "TIME"),
    (r"\b(Less than a|About an?|\d+) (second|minute|hour|day|week|month|year)s?\b", "SOME TIME"),
    (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC"),
    (r"(127\.0\.0\.1|0\.0\.0\.0|::):(3[2-9]|[45]\d|6[0-5])\d{3}\b", r"\1:PORT"),
    (r"\bfd[0-9a-f]{2}(:[0-9a-f]{1,4}){2}::", "fdXX::"),
    (r"\b\d+(\.\d+)?([kMGT]i?)?B\b", "SIZE"),
    (r'("SpaceReclaimed":)[1-9][0-9]*', r"\1SIZE"),
    (r"  +", "  "),
    (r" +$", ""),
    # Older clients say it if they are told so soon that nobody has waited yet.
    (r"^time=\S+ level=error msg=\"error waiting for container: context canceled\"\n", ""),
]


def plain(text, directory):
    """The text without what differs from run to run."""
    text = text.replace(str(directory), "DIR")
    for form, word in FORMS:
        text = re.sub(form, word, text, flags=re.MULTILINE)
    return text


def answers(commands, programs, directory):
    """What each command of a file came to, with programs under these names before those of the machine."""
    bin = directory / "bin"
    bin.mkdir()
    for name, program in programs.items():
        (bin / name).symlink_to(program)
    work = directory / "work"
    work.mkdir()
    environment = {"PATH": f"{bin}:{os.environ['PATH']}", "HOME": str(directory), "LC_ALL": "C.UTF-8",
                   "DOCKER_HOST": os.environ["DOCKER_HOST"], "SOCKET": os.environ["DOCKER_HOST"].removeprefix("unix://"),
                   "BUSYBOX": os.environ["SUITE_BUSYBOX"], "B": "host's"}
    found = {}
    for command in commands.read_text().splitlines():
        if not command or command.startswith("#"):
            continue
        if command in found:
            sys.exit(f"this command is there twice, tell them apart by a comment: {command}")
        try:
            ran = subprocess.run(["sh", "-c", command], cwd=work, env=environment, stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, errors="replace", timeout=SECONDS_EACH)
        except subprocess.TimeoutExpired:
            sys.exit(f"this has not ended after {SECONDS_EACH} seconds: {command}")
        lines = plain(ran.stdout, work).splitlines()
        lines += ["! " + line if line else "!" for line in plain(ran.stderr, work).splitlines()]
        lines += [f"= {ran.returncode}"] if ran.returncode else []
        found[command] = lines
    return found


def written(path):
    """Answers that are written down, each with the reason before it."""
    found, reasons, reason, lines = {}, {}, [], None
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("# "):
            reason, lines = ([*reason, line] if lines is None else [line]), None
        elif line.startswith("$ "):
            lines = found[line[2:]] = []
            reasons[line[2:]] = " ".join(reason)
        elif lines is not None:
            lines.append(line)
    # Blocks are parted by an empty line.
    for lines in found.values():
        while lines and not lines[-1]:
            lines.pop()
    return found, reasons


def blocks(found):
    return "\n".join("\n".join([f"$ {command}", *lines, ""]) for command, lines in found.items())


def compare(here, name, found):
    """Prints what is neither Docker's answer nor one that is due; whether there was nothing."""
    docker, _ = written(here / f"recorded-{name}.txt")
    due, reasons = written(here / f"differences-{name}.txt")
    wrong = [f"there is no such command: {command}" for command in due if command not in found]
    wrong += [f"no reason is given: {command}" for command, reason in reasons.items() if not reason]
    for command, lines in found.items():
        while lines and not lines[-1]:
            lines.pop()
        if command not in docker:
            wrong.append(f"nothing is recorded: {command}")
        elif command in due and lines == docker[command]:
            wrong.append(f"as in Docker now, take it out of differences-{name}.txt: {command}")
        elif lines != due.get(command, docker[command]):
            wanted = due.get(command, docker[command])
            wrong.append("\n".join([f"$ {command}", "-- it says", *lines, "-- and not", *wanted, ""]))
    for text in wrong:
        print(text)
    print(f"{here.name} {name}: {len(found) - len(due)} answers as Docker's, {len(due)} as written down, {len(wrong)} wrong")
    return not wrong


def run(here, name, programs, record):
    """Runs commands.txt; whether all is as written down. Or writes it down."""
    suite.expect_nothing()
    with tempfile.TemporaryDirectory(prefix="dhow-transcript-") as directory:
        try:
            found = answers(here / "commands.txt", programs, Path(directory))
        finally:
            suite.remove_all()
    if record:
        (here / f"recorded-{name}.txt").write_text(blocks(found))
        return True
    return compare(here, name, found)
