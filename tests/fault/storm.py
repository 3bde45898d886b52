#!/usr/bin/env python3
"""A storm of hostile requests around neighbours who must not notice; see README.md."""
import argparse
import collections
import http.client
import json
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from urllib.parse import urlparse

import hostile
from hostile import CHAT, TEXT, VECTORS

FLAGS = ("--listen", "127.0.0.1:0", "--deterministic", "--sequences-max", "6", "--queue-max", "10",
         "--queue-wait-ms-max", "60000", "--step-tokens-max", "64", "--context-tokens-max", "1024",
         "--kv-cache-bytes-max", "1600000",  # a context and a bit: some must step back
         "--threads", "2")
NEIGHBOURS = 0.35  # share of the requests
PATIENCE_S = 700  # longer than the server gives a request
OVERLOADED = (429, 503)


def neighbours():
    """What they ask, each with a path. Nothing here depends on the hostile ones."""
    def ask(text, **more):
        return CHAT, {"messages": [{"role": "user", "content": text}], **more}
    exact = {"logprobs": True, "top_logprobs": 3, "ignore_eos": True}
    long = "What lives below six thousand metres? " * 12
    return [
        ask("Who are you?", temperature=0, max_tokens=24, **exact),
        ask("Who are you?", temperature=1, max_tokens=24, stream=True, **exact),
        ask(long, temperature=0.8, seed=5, max_tokens=16, **exact),
        ask(long + "And deeper?", temperature=0.8, max_tokens=8, n=3, **exact),
        (TEXT, {"prompt": "The sea is", "temperature": 0, "max_tokens": 40, "logprobs": 2}),
        (TEXT, {"prompt": [[310, 320, 330] * 30, [340] * 9], "max_tokens": 10, "best_of": 2}),
        (TEXT, {"prompt": long, "echo": True, "logprobs": 1, "max_tokens": 0}),
        (VECTORS, {"input": ["The sea", long], "encoding_format": "base64"}),
        (VECTORS, {"input": long, "pooling": "last"}),
    ]


class Server:
    def __init__(self, hadal, extra):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([hadal, "serve", *FLAGS, *extra], stderr=self.log)
        begin = time.monotonic()
        while not (found := re.search(r"listening .*url=(http\S+)", self.text())):
            if self.process.poll() is not None or time.monotonic() - begin > PATIENCE_S:
                sys.exit("the server did not start:\n" + self.text())
            time.sleep(0.05)
        url = urlparse(found[1])
        self.address = (url.hostname, url.port)

    def text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def connect(self):
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def call(self, data):
        """Status and body of an answer."""
        with self.connect() as peer:
            peer.sendall(data)
            return read_answer(peer)

    def metric(self, name):
        _, text = self.call(hostile.http("/metrics", b"", "GET"))
        return float(re.search(rf"^{name} (\S+)$", text.decode(), re.M)[1])


def read_answer(peer):
    answer = http.client.HTTPResponse(peer)
    answer.begin()
    return answer.status, answer.read()


def essence(text):
    """An answer without what differs each time: ids, times, what the cache spared."""
    def strip(value):
        if isinstance(value, list):
            return [strip(v) for v in value]
        if not isinstance(value, dict):
            return value
        return {k: strip(v) for k, v in value.items() if k not in (
            "id", "created", "prompt_tokens_details", "prompt_cache_hit_tokens",
            "prompt_cache_miss_tokens")}
    if not text.startswith(b"data: "):
        return strip(json.loads(text))
    events = [line[6:] for line in text.decode().split("\n") if line.startswith("data: ")]
    return [e if e == "[DONE]" else strip(json.loads(e)) for e in events]


class Storm:
    def __init__(self, server, options):
        self.server = server
        self.options = options
        self.asked = [hostile.http(path, body) for path, body in neighbours()]
        self.alone = [self.ask(data) for data in self.asked]
        self.seen = collections.Counter()
        self.wrong = []
        self.lock = threading.Lock()
        self.left = options.requests

    def ask(self, data):
        """A neighbour's answer; it comes again when the queue is full."""
        while True:
            status, text = self.server.call(data)
            if status == 200:
                return essence(text)
            if status not in OVERLOADED:
                raise AssertionError(f"a neighbour got {status}: {text[:300]}")
            time.sleep(0.05)

    def count(self, what):
        with self.lock:
            self.seen[what] += 1

    def complain(self, what):
        with self.lock:
            self.wrong.append(what)

    def be_neighbour(self, rng):
        i = rng.randrange(len(self.asked))
        got = self.ask(self.asked[i])
        self.count("neighbour")
        if got != self.alone[i]:
            self.complain(f"neighbour {i}'s answer changed:\n{got}\ninstead of\n{self.alone[i]}")

    def be_hostile(self, rng):
        a = hostile.attempt(rng)
        with self.server.connect() as peer:
            try:
                peer.sendall(a.data[:a.send])
                if a.read is None:
                    status, text = read_answer(peer)
                    self.count(f"{a.name} {status}")
                    self.check_refusal(a, status, text)
                else:
                    self.count(f"{a.name}")
                    got = 0
                    while got < a.read and (piece := peer.recv(a.read - got)):
                        got += len(piece)
                    time.sleep(a.pause_s)
                if a.reset:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except (ConnectionError, http.client.HTTPException):
                self.count(f"{a.name} cut")
            except TimeoutError:
                self.complain(f"{a.name} {a.data[:600]!r} got no answer in {PATIENCE_S} s")

    def check_refusal(self, a, status, text):
        if status == 200:
            return
        try:
            message = json.loads(text)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = ""
        if not message or status in (500, 501):
            self.complain(f"{a.name} {a.data[:600]!r} got {status}: {text[:300]!r}")

    def client(self, number):
        rng = random.Random(f"{self.options.seed} {number}")
        while True:
            with self.lock:
                self.left -= 1
                if self.left < 0 or self.wrong:
                    return
            try:
                (self.be_neighbour if rng.random() < NEIGHBOURS else self.be_hostile)(rng)
            except Exception as e:  # whatever it is, the storm must end and tell it
                self.complain(f"{type(e).__name__}: {e}")

    def run(self):
        threads = [threading.Thread(target=self.client, args=(i,), daemon=True)
                   for i in range(self.options.clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def check_calm(self):
        """Nothing is left of it."""
        metric = self.server.metric
        begin = time.monotonic()
        # The one request in flight is that for the metrics.
        while (metric("hadal_engine_running") or metric("hadal_engine_queue_depth")
               or metric("hadal_requests_in_flight") > 1):
            if time.monotonic() - begin > 60:
                return self.complain("something still runs or waits after a minute")
            time.sleep(0.1)
        pages = [metric("hadal_engine_kv_pages" + s) for s in ("", "_free", "_cached")]
        print("KV pages: %d, free %d, cached %d; stepped back %d times" %
              (*pages, metric("hadal_engine_preemptions_total")))
        if pages[0] != pages[1] + pages[2]:
            self.complain("KV pages were lost")
        for i, data in enumerate(self.asked):
            if self.ask(data) != self.alone[i]:
                self.complain(f"neighbour {i}'s answer has changed for good")


def stop(server):
    """What was wrong with how the server ended."""
    if server.process.poll() is None:
        server.process.terminate()
    code = server.process.wait(PATIENCE_S)
    text = server.text()
    wrong = [] if code == 0 else [f"the server ended with {code}"]
    found = re.search(r"^.*(Sanitizer|runtime error|CHECK failed).*$", text, re.M)
    if found:
        wrong.append(text[max(0, found.start() - 200):found.start() + 6000])
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hadal")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    options, extra = parser.parse_known_args()
    server = Server(options.hadal, extra)
    begin = time.monotonic()
    try:
        storm = Storm(server, options)
        storm.run()
        for name, count in sorted(storm.seen.items()):
            print(f"{count:7} {name}")
        if server.process.poll() is None and not storm.wrong:
            storm.check_calm()
    finally:
        ended = stop(server)
    wrong = storm.wrong[:3] + ended
    for what in wrong:
        print("WRONG:", what)
    print(f"{sum(storm.seen.values())} requests in {time.monotonic() - begin:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
