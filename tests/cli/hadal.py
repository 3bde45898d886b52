"""What the tests of the executable share: running it, serving with it, reading safetensors."""
import array
import json
import os
import re
import struct
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request

HADAL = os.environ["HADAL"]
ROOT = os.path.normpath(os.path.join(os.path.dirname(__file__), "..", ".."))
GOLDEN = os.path.join(ROOT, "tests", "golden")
DEMO = os.path.join(ROOT, "models", "demo", "demo.gguf")


def run(*args, stdin=b"", timeout=120):
    """The finished process; its outputs are bytes."""
    return subprocess.run([HADAL, *args], input=stdin, capture_output=True, timeout=timeout,
                          check=False)


class Test(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="hadal-")
        self.addCleanup(self.dir.cleanup)

    def path(self, *names):
        return os.path.join(self.dir.name, *names)

    def ok(self, *args, **more):
        """What it printed; fails unless it exited with 0."""
        done = run(*args, **more)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout.decode()

    def refused(self, code, about, *args, **more):
        """Fails unless it exited with `code` and one message on stderr that matches `about`."""
        done = run(*args, **more)
        message = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, message)
        self.assertRegex(message, about)
        self.assertLess(len(message), 2000)
        return message


def read_tensors(path):
    """Name -> (dtype, shape, bytes) of a safetensors file."""
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(size)), f.read()
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])])
            for name, t in header.items()}


def floats(tensor):
    return array.array("f", tensor[2])


class Server:
    """`hadal serve` on a free port, as a context manager."""

    def __init__(self, *args):
        self.process = subprocess.Popen([HADAL, "serve", "--listen", "127.0.0.1:0", *args],
                                        stderr=subprocess.PIPE)
        line = self.process.stderr.readline().decode()
        self.url = re.search(r"listening .*url=(http\S+)", line)[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        self.process.stderr.close()

    def call(self, path, body=None, headers=None):
        """Status and JSON (or text) of an answer. A body may be bytes or a value."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as e:
            status, text = e.code, e.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode(errors="replace")

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s*(\d+) kB", f.read())[1]) * 1024
