"""A session with testcontainers for Python. Prints `ok STEP` or `not ok STEP` for each."""

import os
import traceback

from testcontainers.core.container import DockerContainer, Reaper
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import wait_for_logs

IMAGE = "busybox:latest"
SERVE = ["httpd", "-f", "-v", "-p", "80", "-h", "/etc"]


def a_container_ends_with_its_block():
    with DockerContainer(IMAGE).with_command("sh -c 'echo ready; sleep 1000'") as made:
        wait_for_logs(made, "ready", timeout=20)
        wrapped = made.get_wrapped_container()
        code, output = made.exec(["echo", "inside"])
        assert (code, output) == (0, b"inside\n")
        assert made.get_logs() == (b"ready\n", b"")
    assert wrapped.id not in [one.id for one in DockerClient().client.containers.list(all=True)]


def a_port_is_reached_as_it_is_told():
    import urllib.request
    with DockerContainer(IMAGE).with_command(SERVE).with_exposed_ports(80) as made:
        address = f"http://{made.get_container_host_ip()}:{made.get_exposed_port(80)}/group"
        for _ in range(1000):
            try:
                assert b"root" in urllib.request.urlopen(address, timeout=5).read()
                return
            except OSError as error:
                last = error
        raise last


def environment_volumes_and_kwargs():
    made = DockerContainer(IMAGE, mem_limit="64m", hostname="box").with_env("A", "b").with_command("sleep 1000")
    with made.with_volume_mapping("/etc", "/host", "ro"):
        assert made.exec(["sh", "-c", "echo $A $(hostname)"]).output == b"b box\n"
        assert made.exec(["touch", "/host/x"]).exit_code == 1


def containers_on_a_network_find_each_other():
    with Network() as network:
        server = DockerContainer(IMAGE).with_command(SERVE).with_network(network).with_network_aliases("server")
        with server, DockerContainer(IMAGE).with_command("sleep 1000").with_network(network) as client:
            script = "until wget -q -O - http://server/group; do :; done"
            assert b"root" in client.exec(["sh", "-c", script]).output


def the_reaper_removes_what_is_left():
    left = DockerContainer(IMAGE).with_command("sleep 1000").start()
    wrapped = left.get_wrapped_container()
    assert Reaper._instance is not None, "there is no reaper"
    events = DockerClient().client.api.events(decode=True, filters={"container": wrapped.id, "event": "destroy"})
    Reaper._socket.close()
    Reaper._socket = None
    assert next(events)["Action"] == "destroy"


for step in (a_container_ends_with_its_block, a_port_is_reached_as_it_is_told, environment_volumes_and_kwargs,
             containers_on_a_network_find_each_other, the_reaper_removes_what_is_left):
    try:
        step()
        print(f"ok python::{step.__name__}")
    except Exception:
        print(f"not ok python::{step.__name__}")
        print(traceback.format_exc())
