"""A `tracelake serve` of a script's own: on ports that are free, in a folder that is given."""

import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on. All are held at once, so that none is given twice."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Server:
    """Runs within `with`, at whose end it is told to stop and must do so in order."""

    def __init__(self, binary: str, folder: str):
        grpc, http, api = free_ports(3)
        self.grpc = f"http://127.0.0.1:{grpc}"
        self.http = f"http://127.0.0.1:{http}"
        self.api = f"http://127.0.0.1:{api}"
        self.command = [
            binary, "serve", "--data-dir", folder, "--otlp-grpc-addr", f"127.0.0.1:{grpc}",
            "--otlp-http-addr", f"127.0.0.1:{http}", "--api-addr", f"127.0.0.1:{api}",
        ]  # fmt: skip

    def __enter__(self) -> "Server":
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        try:
            self.wait_until_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with {self.process.returncode}")
            try:
                get(f"{self.api}/readyz")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        raise SystemExit("the server was not ready within 60 s")

    def __exit__(self, kind, _value, _traceback) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        # What went wrong before matters more.
        if kind is None and code != 0:
            raise SystemExit(f"the server ended with {code} on SIGTERM")
