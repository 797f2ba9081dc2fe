# Runs a file of crun's suite: driver.py FILE. A test that takes longer than TEST_LIMIT seconds fails, and the next one runs.
import os
import runpy
import signal
import sys

sys.path.insert(0, os.path.dirname(sys.argv[1]))
import tests_utils


def late(number, frame):
    raise TimeoutError("the test takes too long")


def limited(test):
    def run():
        signal.alarm(int(os.environ["TEST_LIMIT"]))
        try:
            return test()
        finally:
            signal.alarm(0)
            # A test may leave a line without its end, and its result would be on that.
            print()

    return run


signal.signal(signal.SIGALRM, late)
run_all = tests_utils.run_all_tests
tests_utils.run_all_tests = lambda tests, names: run_all({name: limited(test) for name, test in tests.items()}, names)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
