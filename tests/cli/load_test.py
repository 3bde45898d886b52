"""bench/load against a real server: what it counts is what the server counted."""
import json
import os
import re
import subprocess
import unittest
import urllib.request

from hadal import HADAL, ROOT, Test

LOAD = os.path.join(ROOT, "bench", "load")


class Load(Test):
    def serve(self, *args):
        server = subprocess.Popen(
            [HADAL, "serve", "--listen", "127.0.0.1:0", *args],
            stderr=subprocess.PIPE, text=True)
        self.addCleanup(server.stderr.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        return re.search(r"url=(\S+)", server.stderr.readline())[1], server

    def load(self, url, *args):
        r = subprocess.run([LOAD, url, "--json", "-", "--answer-tokens", "4,16",
                            "--prompt-words", "8,40", *args],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120)
        return json.loads(r.stdout)

    def metric(self, url, name):
        with urllib.request.urlopen(url + "/metrics", timeout=30) as r:
            text = r.read().decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])

    def test_counts_what_the_server_counted(self):
        url, _ = self.serve()
        r = self.load(url, "--clients", "4", "--seconds", "2", "--ignore-eos")
        self.assertGreater(r["answered"], 4)
        self.assertEqual((r["refused"], r["failed"], r["errors"]), (0, 0, []))
        written = self.metric(url, "hadal_engine_completion_tokens_total")
        self.assertAlmostEqual(r["tokens_per_s"] * r["seconds"] / written, 1, delta=0.15)
        self.assertTrue(0 < r["first_token_ms"]["p50"] <= r["first_token_ms"]["p99"])
        # A client that is late reads several tokens at once: nothing lies between them.
        between = r["between_tokens_ms"]
        self.assertTrue(0 <= between["p50"] <= between["p99"] and between["p99"] > 0, between)

    def test_overload_is_refused_and_passes(self):
        url, _ = self.serve("--sequences-max", "1", "--queue-max", "1")
        r = self.load(url, "--clients", "2", "--seconds", "3", "--overload", "6")
        self.assertEqual(r["failed"] + r["overload"]["failed"] + r["after"]["failed"], 0)
        self.assertGreater(r["overload"]["refused"], 0)
        self.assertGreater(r["overload"]["answered"], 0)
        self.assertGreater(r["after"]["answered"], 0)
        self.assertIsNotNone(r["kept_in_overload"])

    def test_no_server(self):
        r = subprocess.run([LOAD, "http://127.0.0.1:9", "--clients", "1", "--seconds", "1"],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, text=True)
        self.assertEqual(r.returncode, 1)
        self.assertIn("error: ConnectionRefusedError", r.stdout)
