#!/usr/bin/env python3
"""Measures what response formats cost an answer on this machine.

    tools/bench_formats.py HADAL [MODEL] [--runs N] [--tokens N] [--threads N] [--forms FORM...]

Starts one server and asks it in turns without a format and with each kind of one, with the same
number of tokens. Prints the time from the first token to the last per token (medians), and the
median of the ratios. The first answer with a form, which compiles it and finds its masks, is told
apart as "cold".
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import time
import urllib.request

ITEM = {"type": "object", "additionalProperties": False, "required": ["name", "depth_m", "kinds"],
        "properties": {"name": {"type": "string", "maxLength": 30},
                       "depth_m": {"type": "integer", "minimum": 0, "maximum": 11000},
                       "kinds": {"type": "array", "items": {"enum": ["fish", "crab"]},
                                 "maxItems": 3}}}
LIST = {"type": "array", "items": ITEM, "minItems": 1000}


def schema(value):
    return {"response_format": {"type": "json_schema",
                                "json_schema": {"name": "list", "schema": value}}}


FORMS = {
    "schema": schema(LIST),
    "strings": schema({"type": "array", "items": {"type": "string"}, "minItems": 1000}),
    "grammar": {"grammar": 'root ::= line{1000}\nline ::= [a-z]+ " = " [0-9]{1,6} "\\n"'},
}


def ask(url, body):
    """Seconds a token, after the first."""
    body = {"messages": [{"role": "user", "content": "Tell me about the sea."}], "stream": True,
            "stream_options": {"include_usage": True}, "temperature": 1, "ignore_eos": True, **body}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode())
    first = last = None
    tokens = 0
    with urllib.request.urlopen(request, timeout=600) as answer:
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if chunk.get("usage"):
                tokens = chunk["usage"]["completion_tokens"]
            elif chunk["choices"] and chunk["choices"][0]["finish_reason"] is None:
                last = time.monotonic()
                first = first or last
    if tokens != body["max_tokens"]:
        raise SystemExit(f"an answer had {tokens} tokens, not {body['max_tokens']}")
    return (last - first) / tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hadal")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--forms", nargs="*", default=list(FORMS), choices=list(FORMS))
    args = parser.parse_args()
    command = [args.hadal, "serve", *([args.model] if args.model else []), "--listen",
               "127.0.0.1:0", "--speculate", "off", "--threads", str(args.threads),
               "--context-tokens-max", "2048", "--sequences-max", "1"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        url = re.search(r"url=(\S+)", server.stderr.readline())[1]
        ask(url, {"max_tokens": 16})  # weights are packed at first use
        for name, form in ((name, FORMS[name]) for name in args.forms):
            cold = ask(url, {"max_tokens": args.tokens, "seed": 0, **form})
            times = []
            for seed in range(args.runs):
                pair = [{}, form] if seed % 2 == 0 else [form, {}]
                took = [ask(url, {"max_tokens": args.tokens, "seed": seed, **f}) for f in pair]
                times.append(took if seed % 2 == 0 else took[::-1])
            free, held = (statistics.median(t[i] for t in times) * 1e3 for i in (0, 1))
            ratio = statistics.median(t[1] / t[0] for t in times)
            print(f"{name:8} free {free:8.3f} ms/token  held {held:8.3f} ms/token  ratio "
                  f"{ratio:.3f}  cold {cold * 1e3:8.3f} ms/token", flush=True)
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
