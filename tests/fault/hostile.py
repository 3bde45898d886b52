"""Requests that mean harm or come to grief. Each is what a client sends, and when it hangs up."""
import dataclasses
import json

CHAT, TEXT, VECTORS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
FOREVER = {"max_tokens": 2000, "ignore_eos": True}


@dataclasses.dataclass
class Attempt:
    name: str
    data: bytes              # the whole request
    send: int = None         # hangs up after so many bytes of it; None: all
    read: int = None         # hangs up after so many bytes of the answer; None: all
    pause_s: float = 0.0     # before it hangs up
    reset: bool = False      # hangs up with a reset instead of an orderly end


def http(path, body, method="POST", fields=""):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def words(rng, count):
    return " ".join(rng.choice(("sea", "deep", "whale", "salt", "the", "of", "7", "ö", "鯨"))
                    for _ in range(count))


def chat(rng, **more):
    return {"messages": [{"role": "user", "content": words(rng, rng.randint(1, 60))}],
            "max_tokens": rng.randint(1, 12), **more}


def breaks_off(rng):
    """A long answer, which the client does not wait for."""
    stream = rng.random() < 0.7
    body = chat(rng, stream=stream, **FOREVER)
    if rng.random() < 0.3:
        body["n"] = rng.randint(2, 6)
    patience = rng.choice((3000, 100_000)) if stream else 0
    return Attempt("breaks_off", http(CHAT, body), read=rng.randint(0, patience),
                   pause_s=rng.random() * 0.2, reset=rng.random() < 0.5)


def half_sent(rng):
    data = http(rng.choice((CHAT, TEXT, VECTORS)), chat(rng))
    return Attempt("half_sent", data, send=rng.randrange(len(data)), read=0,
                   pause_s=rng.random() * 0.05, reset=rng.random() < 0.5)


def late(rng):
    body = chat(rng, timeout_ms=rng.randint(1, 60), stream=rng.random() < 0.5, **FOREVER)
    return Attempt("late", http(CHAT, body))


ABSURD = [
    {"n": 10**18}, {"n": 0}, {"n": 128, "max_tokens": 1}, {"n": -1}, {"best_of": 3, "n": 4},
    {"max_tokens": 10**30}, {"max_tokens": -1}, {"max_tokens": "many"}, {"max_tokens": 1e308},
    {"temperature": 1e308}, {"temperature": -1}, {"temperature": 1e-320}, {"temperature": None},
    {"top_p": 0}, {"top_p": 1e-300}, {"top_k": -9}, {"top_k": 2**31 - 1}, {"min_p": 1},
    {"logit_bias": {str(i): 100 for i in range(5000)}}, {"logit_bias": {"-1": 5}},
    {"logit_bias": {"300": -100, "301": 100}}, {"logit_bias": {"99999999999999999999": 1}},
    {"logprobs": True, "top_logprobs": 10**6}, {"logprobs": True, "top_logprobs": 20},
    {"frequency_penalty": 2, "presence_penalty": -2, "repetition_penalty": 1e-9},
    {"stop": ["x"] * 17}, {"stop": "e"}, {"stop": ["", "a"]}, {"stop": "\u0000"},
    {"seed": 2**63 - 1}, {"seed": -2**63}, {"seed": 2**70}, {"priority": 10**9}, {"priority": -5},
    {"user": "u" * 600}, {"user": "\U0001f433" * 9}, {"cache_salt": "s"}, {"timeout_ms": 0},
    {"stream": "yes"}, {"stream_options": {"include_usage": True}}, {"tools": [{}] * 200},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": [[]]}}}]},
    {"tool_choice": "required"}, {"response_format": {"type": "json_schema"}},
    {"reasoning_effort": "max"}, {"thinking": {"type": "enabled"}}, {"messages": []},
    {"messages": [{"role": "assistant", "content": "So", "prefix": True}]}, {"model": "gpt-9"},
    {"chat_template_kwargs": {"thinking": 7}}, {"continue_final_message": True},
]


def absurd(rng):
    body = chat(rng)
    for more in rng.sample(ABSURD, rng.choice((1, 1, 2))):
        body.update(more)
    return Attempt("absurd", http(CHAT, body))


def absurd_text(rng):
    prompt = rng.choice((
        "", [], [[]], [""], ["a"] * 3000, ["a", [5]], [5, 10**9], [-1], [2**40], [[1, "x"]], {},
        words(rng, 40), [words(rng, 5)] * 4, [rng.randrange(4000) for _ in range(50)]))
    more = rng.choice(({}, {"echo": True, "logprobs": 2, "max_tokens": 0}, {"suffix": "end"},
                       {"logprobs": 21}, {"best_of": 4}, {"n": 3}, {"echo": 1}))
    return Attempt("absurd_text", http(TEXT, {"prompt": prompt, "max_tokens": 2, **more}))


def absurd_vectors(rng):
    value = rng.choice((
        "", [], [[]], ["a"] * 40, ["a"] * 3000, [5, 6, 7], [[5], [10**7]], 7, [words(rng, 300)]))
    more = rng.choice(({}, {"dimensions": 10**9}, {"dimensions": 2}, {"encoding_format": "base64"},
                       {"pooling": "last"}, {"pooling": "sum"}))
    return Attempt("absurd_vectors", http(VECTORS, {"input": value, **more}),
                   read=rng.choice((None, None, 0)))


def huge(rng):
    path, body = rng.choice((
        (CHAT, chat(rng, messages=[{"role": "user", "content": "word " * 50_000}])),
        (CHAT, chat(rng, messages=[{"role": "user", "content": "x"}] * 17_000)),
        (TEXT, {"prompt": list(range(300, 4000)), "max_tokens": 1}),
        (TEXT, {"prompt": words(rng, 700), "echo": True, "logprobs": 1, "max_tokens": 0}),
        (TEXT, {"prompt": [[300 + i % 900] for i in range(60)], "max_tokens": 1}),
        ("/tokenize", {"prompt": "\U0001f433 sea " * 20_000}),
        ("/detokenize", {"tokens": [300] * 100_000})))
    return Attempt("huge", http(path, body), read=rng.choice((None, None, 0, 5000)))


def no_json(rng):
    text = rng.choice((
        b"", b"{", b"null", b"[]", b"\x00" * 99, b"\xff\xfe", b"[" * 9000 + b"]" * 9000,
        b'{"messages":' * 9000, b'{"prompt":"\xc3"}', b'{"prompt":"\\ud800 \\udc00\\ud800"}',
        b'{"prompt":"\xed\xa0\x80"}', b'{"prompt":1e999}', b'{"a":1,"a":2,"prompt":"x"}',
        b'{"prompt":"' + b"\\u0000" * 500 + b'"}', b"9" * 100_000))
    return Attempt("no_json", http(rng.choice((CHAT, TEXT, VECTORS, "/tokenize")), text))


def mutated(rng):
    body = bytearray(json.dumps(chat(rng, temperature=0.5, stop=["a"])).encode())
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(body))
        how = rng.random()
        if how < 0.5:
            body[at] = rng.randrange(256)
        elif how < 0.8:
            del body[at]
        else:
            body[at:at] = body[at // 2:at // 2 + 20]
    return Attempt("mutated", http(CHAT, bytes(body)))


def no_http(rng):
    data = rng.choice((
        b"\x16\x03\x01\x02\x00" + rng.randbytes(60), rng.randbytes(300), b"A" * 70_000,
        b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", http("/", b"", "GET"),
        http("/v1/models", b"", "GET") * 3, http("/no/such", b"x"), http(CHAT, b"", "DELETE"),
        http(CHAT, b"{}", fields="Host: evil.example\r\n")))
    return Attempt("no_http", data, pause_s=0.02 * rng.random(), read=100)


KINDS = [breaks_off, breaks_off, breaks_off, half_sent, late, late, absurd, absurd, absurd,
         absurd_text, absurd_vectors, huge, no_json, mutated, no_http]


def attempt(rng):
    return rng.choice(KINDS)(rng)
