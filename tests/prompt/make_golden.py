#!/usr/bin/env python3
"""Writes golden/<format>.jsonl: random conversations and the prompts that the models' own encoders
make of them.

  make_golden.py REFERENCES golden

REFERENCES is a folder with the encoders that DeepSeek publishes beside its weights: v32.py
(encoding_dsv32.py of DeepSeek-V3.2), v4_preview.py and v4.py (encoding_dsv4.py of DeepSeek-V4-Pro
and of DeepSeek-V4-Flash-0731), v41.py (encoding_dsv41.py of DeepSeek-V4.1-Flash), and the chat
templates of tokenizer_config.json as <format>.jinja. They are not kept here. Where those disagree
with themselves (see src/prompt/v3.cc) the conversations stay out of it.
"""
import importlib.util
import json
import os
import random
import sys

WORDS = ["hello", " wörld", "你好", "\n", "<think>", "</think>x", "<｜User｜>",
         "{{ x }}", "a\\b", '"q"', "🙂", "  ", "<｜DSML｜invoke", "### Response:", "User:", "0",
         "\t", "'s", "<tool_result>", "%s", "{0}"]
EOS = "<｜end▁of▁sentence｜>"


def text(rng, least=0):
    return "".join(rng.choice(WORDS) for _ in range(rng.randint(least, 6)))


def spoken(rng):
    """An assistant's words: the templates disagree on old answers that hold their reasoning."""
    return text(rng).replace("</think>", "")


def value(rng, depth=0):
    kind = rng.randrange(7 if depth < 2 else 5)
    if kind == 0:
        return text(rng)
    if kind == 1:
        return rng.randint(-10**6, 10**15)
    if kind == 2:
        return rng.choice([0.5, -1.25, 3.0, 0.1, 123456.789])
    if kind in (3, 4):
        return rng.choice([True, False, None])
    if kind == 5:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {text(rng, 1): value(rng, depth + 1) for _ in range(rng.randint(0, 3))}


def tool(rng, i):
    return {"type": "function", "function": {
        "name": f"tool_{i}", "description": "d" + text(rng, 1),
        "parameters": {"type": "object", "properties": {
            f"p{j}": {"type": "string", "description": text(rng)}
            for j in range(rng.randint(0, 3))}}}}


def calls(rng, turn):
    return [{"id": f"c{turn}_{i}", "type": "function", "function": {
        "name": f"tool_{rng.randrange(3)}",
        "arguments": json.dumps({f"p{j}": value(rng) for j in range(rng.randint(0, 3))},
                                ensure_ascii=False)}}
            for i in range(rng.randint(1, 3))]


def conversation(rng, traits):
    """A chat in the form of the OpenAI API, with the traits that a format has."""
    messages = []
    if rng.random() < 0.6:
        messages.append({"role": "system", "content": text(rng)})
    for turn in range(rng.randint(1, 4)):
        for _ in range(2 if traits.get("users") and rng.random() < 0.2 else 1):
            messages.append({"role": "user", "content": text(rng)})
        if traits.get("mid_system") and rng.random() < 0.2:
            messages.append({"role": "system", "content": text(rng)})
        while traits.get("tools") and rng.random() < 0.4:
            made = calls(rng, turn)
            messages.append({"role": "assistant", "content": spoken(rng), "tool_calls": made})
            if traits.get("reasoning"):
                messages[-1]["reasoning_content"] = text(rng)
            answers = [{"role": "tool", "content": text(rng), "tool_call_id": c["id"]}
                       for c in made]
            if traits.get("shuffle"):
                rng.shuffle(answers)
            messages += answers
        messages.append({"role": "assistant", "content": spoken(rng)})
        if traits.get("reasoning"):
            messages[-1]["reasoning_content"] = text(rng, 1)
    cut = rng.random()
    while messages[-1]["role"] != "user" and (cut < 0.6 or messages[-1]["role"] != "tool"):
        messages.pop()
        if not any(m["role"] == "tool" for m in messages):
            cut = 0
    chat = {"messages": messages, "thinking": rng.choice(traits.get("thinking", ["automatic"]))}
    if traits.get("tools") and traits.get("tool_list") and rng.random() < 0.5:
        chat["tools"] = [tool(rng, i) for i in range(rng.randint(1, 3))]
    if traits.get("efforts"):
        chat["reasoning_effort"] = rng.choice(traits["efforts"])
    if traits.get("schema") and rng.random() < 0.3:
        schema = {"type": "object", "title": text(rng)}
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    return chat


def template(path, force_think=False):
    import jinja2.sandbox
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    compiled = env.from_string(open(path, encoding="utf-8").read())

    def render(chat):
        out = compiled.render(messages=chat["messages"], add_generation_prompt=True,
                              bos_token="<｜begin▁of▁sentence｜>", eos_token=EOS,
                              thinking=chat["thinking"] == "on")
        return out + "<think>\n" if force_think and chat["messages"][-1]["role"] == "user" else out
    return render


def encoder(path, default_thinking):
    spec = importlib.util.spec_from_file_location("encoding", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def render(chat):
        messages = json.loads(json.dumps(chat["messages"]))
        schema = chat.get("response_format", {}).get("json_schema", {}).get("schema")
        # As servers do: tools and format ride on the first system message.
        if (chat.get("tools") or schema) and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": ""})
        if chat.get("tools"):
            messages[0]["tools"] = chat["tools"]
        if schema:
            messages[0]["response_format"] = schema
        thinking = {"on": True, "off": False, "automatic": default_thinking}[chat["thinking"]]
        extra = {"reasoning_effort": chat.get("reasoning_effort") or None} if "v4" in path else {}
        mode = "thinking" if thinking else "chat"
        return module.encode_messages(messages, thinking_mode=mode, **extra)
    return render


def main():
    references, out = sys.argv[1:]
    at = lambda name: os.path.join(references, name)
    ways = ["automatic", "on", "off"]
    dsml = {"tools": True, "tool_list": True, "reasoning": True, "thinking": ways, "schema": True}
    formats = {
        "deepseek-llm": (template(at("deepseek-llm.jinja")), {"users": True}),
        "deepseek-coder": (template(at("deepseek-coder.jinja")), {"users": True}),
        "deepseek-v3": (template(at("deepseek-v3.jinja")), {"tools": True}),
        "deepseek-r1": (template(at("deepseek-r1.jinja"), force_think=True), {"tools": True}),
        "deepseek-v3.1": (template(at("deepseek-v3.1.jinja")),
                          {"tools": True, "users": True, "thinking": ways}),
        "deepseek-v3.2": (encoder(at("v32.py"), False), {**dsml, "users": True}),
        "deepseek-v4-preview": (encoder(at("v4_preview.py"), True),
                                {**dsml, "users": True, "shuffle": True,
                                 "efforts": ["", "high", "max"]}),
        "deepseek-v4": (encoder(at("v4.py"), True),
                        {**dsml, "users": True, "shuffle": True,
                         "efforts": ["", "low", "high", "max"]}),
        "deepseek-v4.1": (encoder(at("v41.py"), True),
                          {**dsml, "users": True, "shuffle": True, "mid_system": True,
                           "efforts": ["", "low", "high", "xhigh", "max"]}),
    }
    count = int(os.environ.get("COUNT", "25"))
    for name, (render, traits) in formats.items():
        rng = random.Random(name)
        with open(os.path.join(out, name + ".jsonl"), "w", encoding="utf-8") as f:
            for _ in range(count):
                chat = conversation(rng, traits)
                line = {"chat": chat, "prompt": render(chat)}
                f.write(json.dumps(line, ensure_ascii=False) + "\n")


main()
