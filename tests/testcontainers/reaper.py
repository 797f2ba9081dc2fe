"""What stands in for testcontainers' reaper: removes what has the labels that it was told, when who told it has gone."""

import http.client
import json
import os
import socket
import socketserver
import threading
from urllib.parse import parse_qsl, quote

WAIT = float(os.environ.get("RYUK_RECONNECTION_TIMEOUT", "10s").removesuffix("s"))
filters, clients, changed = set(), 0, threading.Condition()


class Engine(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")


def ask(method, path):
    engine = Engine("engine")
    engine.request(method, path)
    return engine.getresponse().read()


class Client(socketserver.StreamRequestHandler):
    def handle(self):
        global clients
        with changed:
            clients += 1
        try:
            for line in self.rfile:
                with changed:
                    filters.add(line.decode().strip())
                self.wfile.write(b"ACK\n")
        except ConnectionError:
            # A client that goes without reading its answer has gone as well.
            pass
        with changed:
            clients -= 1
            changed.notify()


def remove(line):
    labels = [value for key, value in parse_qsl(line) if key == "label"]
    chosen = quote(json.dumps({"label": labels}))
    for one in json.loads(ask("GET", f"/containers/json?all=1&filters={chosen}")):
        ask("DELETE", f"/containers/{one['Id']}?force=1&v=1")
    for one in json.loads(ask("GET", f"/networks?filters={chosen}")):
        ask("DELETE", f"/networks/{one['Id']}")
    for one in json.loads(ask("GET", f"/volumes?filters={chosen}"))["Volumes"]:
        ask("DELETE", f"/volumes/{one['Name']}?force=1")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


with Server(("", 8080), Client) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("Started!", flush=True)
    with changed:
        changed.wait_for(lambda: filters and not clients)
        while changed.wait_for(lambda: clients, timeout=WAIT):
            changed.wait_for(lambda: not clients)
    for line in filters:
        remove(line)
