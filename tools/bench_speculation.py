#!/usr/bin/env python3
"""Measures what speculative decoding brings on this machine.

    tools/bench_speculation.py HADAL [MODEL] [--runs N] [--tokens N] [--threads N] [--kinds KIND...]

Starts two servers of the same model, one with --speculate off and one with auto, and asks both the
same in turns. For each kind of text it prints tokens per second (medians, the prompt's time
included), the median of the ratios, and how many guesses came true.

    repeats  a greedy answer after a prompt that repeats itself
    copies   a text in the prompt, which the answer quotes where the model is able to
    random   at temperature 1.5 after random words: nothing to guess from; what speculation costs
    one, two, four, eight
             that many tokens, equally likely, whatever the model says: every guess comes true,
             every second, ... It tells what speculation is worth to a model of this size at that
             acceptance, be it trained or not.
"""
import argparse
import json
import os
import random
import re
import statistics
import subprocess
import time
import urllib.request

TEXT = ("The guest house has a room for two people and for three nights. It is cheap, it is in the "
        "east of the town, and it has free parking. The restaurant next to it serves Italian food "
        "in the moderate price range. ")


def words(count, seed):
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))
                    for _ in range(count))


def kinds(run):
    some = {n: {"prompt": f"{run}", "temperature": 1,
                "logit_bias": {str(100 + i): 100 for i in range(n)}} for n in (1, 2, 4, 8)}
    return {
        "repeats": {"prompt": TEXT * 4 + f"{run}. " + TEXT[:40], "temperature": 0},
        "copies": {"prompt": f"Text {run}: {TEXT}\nThe same text again: " + TEXT[:20],
                   "temperature": 0.6},
        "random": {"prompt": words(60, run), "temperature": 1.5},
        "one": some[1], "two": some[2], "four": some[4], "eight": some[8],
    }


class Server:
    def __init__(self, hadal, model, speculate, threads):
        command = [hadal, "serve", *model, "--listen", "127.0.0.1:0", "--speculate", speculate,
                   "--threads", str(threads), "--context-tokens-max", "4096",
                   "--sequences-max", "1"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.url = re.search(r"url=(\S+)", self.process.stderr.readline())[1]

    def fetch(self, path, body=None):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.url + path, data=data)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.read().decode()

    def rate(self, body):
        begin = time.monotonic()
        answer = json.loads(self.fetch("/v1/completions", body))
        return answer["usage"]["completion_tokens"] / (time.monotonic() - begin)

    def counts(self):
        text = self.fetch("/metrics")
        return [float(re.search(rf"^hadal_engine_{n}_tokens_total (\S+)", text, re.M)[1])
                for n in ("drafted", "accepted")]


def measure(servers, kind, runs, tokens):
    ratios, rates, before = [], [], servers[1].counts()
    for run in range(runs):
        body = {**kinds(run)[kind], "max_tokens": tokens, "ignore_eos": True, "seed": run}
        order = servers if run % 2 == 0 else servers[::-1]
        rate = {s: s.rate(body) for s in order}
        rates.append([rate[s] for s in servers])
        ratios.append(rate[servers[1]] / rate[servers[0]])
    drafted, accepted = (a - b for a, b in zip(servers[1].counts(), before))
    off, on = (statistics.median(r[i] for r in rates) for i in (0, 1))
    print(f"{kind:8} off {off:8.1f} tok/s  auto {on:8.1f} tok/s  ratio "
          f"{statistics.median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})  "
          f"guessed {drafted:.0f}, came true {accepted:.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hadal")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--kinds", nargs="*", default=list(kinds(0)), choices=list(kinds(0)))
    args = parser.parse_args()
    model = [args.model] if args.model else []
    servers = [Server(args.hadal, model, s, args.threads) for s in ("off", "auto")]
    try:
        for server in servers:  # weights are packed at first use
            server.rate({"prompt": "Hello", "max_tokens": 16, "ignore_eos": True})
        for kind in args.kinds:
            measure(servers, kind, args.runs, args.tokens)
    finally:
        for server in servers:
            server.process.terminate()


if __name__ == "__main__":
    main()
