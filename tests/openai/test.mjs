// What users of the official OpenAI client see. HADAL_KIND=fake knows the exact answers; hadal is a
// real model, of which only the form is known.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const url = process.env.HADAL_URL;
const fake = process.env.HADAL_KIND === "fake";
const client = new OpenAI(
  { baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, timeout: 120_000 });
const chat = request => client.chat.completions.create(request);
const { data: models } = await client.models.list();
const model = models[0].id;
const hello = [{ role: "user", content: "hello there" }];
const short = { model, messages: hello, max_tokens: 16, temperature: 0 };

async function metric(name) {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split("\n").find(l => l.startsWith(name + " "));
  return line ? Number(line.split(" ")[1]) : 0;
}
async function until(condition) {
  for (let i = 0; i < 500; ++i) {
    if (await condition()) return;
    await new Promise(r => setTimeout(r, 20));
  }
  assert.fail("did not happen in 10 s");
}

test("models are listed and found", async () => {
  assert.ok(models.length >= 1);
  assert.equal((await client.models.retrieve(model)).id, model);
  await assert.rejects(client.models.retrieve("no-such-model"),
    e => e instanceof OpenAI.NotFoundError && e.code === "not_found");
});

test("a chat is answered", async () => {
  const answer = await chat(short);
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.choices[0].message.role, "assistant");
  assert.ok(["stop", "length"].includes(answer.choices[0].finish_reason));
  const u = answer.usage;
  assert.equal(u.total_tokens, u.prompt_tokens + u.completion_tokens);
  assert.equal(u.prompt_cache_hit_tokens + u.prompt_cache_miss_tokens, u.prompt_tokens);
  assert.ok(answer._request_id);
  if (fake) assert.equal(answer.choices[0].message.content, "Echo: hello there");
});

test("a stream says the same as the whole answer", async () => {
  const whole = await chat(short);
  const stream = await chat(
    { ...short, stream: true, stream_options: { include_usage: true } });
  let content = "", reasoning = "", reason = null, usage = null, role = null;
  for await (const chunk of stream) {
    assert.equal(usage, null, "usage comes last");
    usage = chunk.usage;
    const choice = chunk.choices[0];
    if (!choice) continue;
    role ??= choice.delta.role;
    content += choice.delta.content ?? "";
    reasoning += choice.delta.reasoning_content ?? "";
    reason = choice.finish_reason ?? reason;
  }
  assert.equal(role, "assistant");
  assert.equal(content, whole.choices[0].message.content ?? "");
  assert.equal(reasoning, whole.choices[0].message.reasoning_content ?? "");
  assert.equal(reason, whole.choices[0].finish_reason);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test("without include_usage no chunk has usage", async () => {
  const stream = await chat({ ...short, stream: true });
  for await (const chunk of stream) assert.equal(chunk.usage, undefined);
});

test("the client's own stream helper works", async () => {
  const final = await client.chat.completions.stream(short).finalChatCompletion();
  assert.equal(typeof final.choices[0].message.content, "string");
});

test("content may come in parts", async () => {
  const content = ["hello ", "there"].map(text => ({ type: "text", text }));
  const parts = await chat({ ...short, messages: [{ role: "user", content }] });
  const whole = await chat(short);
  assert.deepEqual(parts.choices[0].message.content, whole.choices[0].message.content);
});

test("text is completed, whole and streamed", async () => {
  const request = { model, prompt: "The sea is", max_tokens: 12, temperature: 0 };
  const whole = await client.completions.create(request);
  assert.equal(whole.object, "text_completion");
  let text = "";
  for await (const chunk of await client.completions.create({ ...request, stream: true })) {
    text += chunk.choices[0]?.text ?? "";
  }
  assert.equal(text, whole.choices[0].text);
});

test("max_tokens ends the answer", { skip: fake }, async () => {
  const answer = await client.completions.create(
    { model, prompt: "The sea is", max_tokens: 3, ignore_eos: true });
  assert.equal(answer.choices[0].finish_reason, "length");
  assert.equal(answer.usage.completion_tokens, 3);
});

test("the same seed gives the same text", { skip: fake }, async () => {
  const request = { ...short, temperature: 1, seed: 7 };
  const [a, b] = [await chat(request), await chat(request)];
  assert.deepEqual(a.choices[0].message, b.choices[0].message);
});

test("n answers share a prompt and have seeds of their own", async () => {
  const request = { ...short, n: 3, temperature: 1, seed: 7 };
  const one = await chat({ ...request, n: 1 });
  const answer = await chat(request);
  const contents = answer.choices.map(c => c.message.content);
  assert.deepEqual(answer.choices.map(c => c.index), [0, 1, 2]);
  assert.equal(answer.usage.prompt_tokens, one.usage.prompt_tokens);
  assert.equal(contents[0], one.choices[0].message.content);
  if (!fake) assert.ok(new Set(contents).size > 1, "seeds differ");
  const streamed = ["", "", ""], reasons = [];
  for await (const chunk of await chat({ ...request, stream: true })) {
    const { index, delta, finish_reason } = chunk.choices[0];
    streamed[index] += delta.content ?? "";
    if (finish_reason) reasons[index] = finish_reason;
  }
  assert.deepEqual(streamed, contents);
  assert.deepEqual(reasons, answer.choices.map(c => c.finish_reason));
});

test("several prompts are completed at once", async () => {
  const create = more => client.completions.create(
    { model, max_tokens: 6, temperature: 0, ...more });
  const prompts = ["The sea is", "Once upon a time"];
  const both = await create({ prompt: prompts, n: 2 });
  assert.deepEqual(both.choices.map(c => c.index), [0, 1, 2, 3]);
  for (const i of [0, 1]) {
    const alone = await create({ prompt: prompts[i] });
    for (const j of [0, 1]) assert.equal(both.choices[2 * i + j].text, alone.choices[0].text);
  }
  const best = await create({ prompt: prompts[0], best_of: 3, temperature: 1 });
  assert.equal(best.choices.length, 1);
  await assert.rejects(create({ prompt: "a", n: 3, best_of: 2 }), e => e.param === "best_of");
});

test("logprobs come one per token", { skip: fake }, async () => {
  const answer = await client.completions.create(
    { model, prompt: "The sea is", max_tokens: 4, logprobs: 2, temperature: 0, ignore_eos: true });
  assert.equal(answer.choices[0].logprobs.tokens.length, answer.usage.completion_tokens);
  for (const p of answer.choices[0].logprobs.token_logprobs) assert.ok(p <= 0);
});

test("text is split into tokens and put together again", async () => {
  const split = body => client.post("/tokenize", { body: { model, ...body } });
  const join = tokens => client.post("/detokenize", { body: { model, tokens } });
  const text = "The sea is deep, \u6df1\u6d77.";
  const { tokens, count } = await split({ content: text });
  assert.equal(tokens.length, count);
  assert.equal((await join(tokens)).content, text);
  const pieces = await split({ content: "The sea", with_pieces: true });
  assert.equal(pieces.tokens.map(t => t.piece).join(""), "The sea");
  const strings = await split({ prompt: "The sea", return_token_strs: true });
  assert.equal(strings.token_strs.length, strings.count);
  const asked = await split({ messages: hello });
  if (!fake) assert.equal(asked.count, (await chat(short)).usage.prompt_tokens);
  await assert.rejects(split({}), e => e.status === 400 && e.param === "content");
});

test("texts become embeddings of length 1", async () => {
  const create = more => client.embeddings.create({ model, ...more });
  const input = ["a whale in the sea", "b", "a whale in the sea"];
  const both = await create({ input });  // the client asks for base64 and decodes it
  assert.deepEqual(both.data.map(d => d.index), [0, 1, 2]);
  const length = v => Math.hypot(...v);
  for (const { embedding } of both.data) assert.ok(Math.abs(length(embedding) - 1) < 1e-4);
  assert.deepEqual(both.data[0].embedding, both.data[2].embedding);
  assert.notDeepEqual(both.data[0].embedding, both.data[1].embedding);
  assert.equal(both.usage.total_tokens, both.usage.prompt_tokens);
  const floats = await create({ input: input[0], encoding_format: "float" });
  const all = floats.data[0].embedding;
  all.forEach((v, i) => assert.ok(Math.abs(v - both.data[0].embedding[i]) < 0.02));
  const cut = (await create({ input: input[0], dimensions: 2 })).data[0].embedding;
  assert.equal(cut.length, 2);
  assert.ok(Math.abs(cut[0] - all[0] / length(all.slice(0, 2))) < 0.02);
  const param = name => e => e.status === 400 && e.param === name;
  await assert.rejects(create({ input: "a", dimensions: 1 << 20 }), param("dimensions"));
  await assert.rejects(create({ input: [] }), param("input"));
  if (fake) return;
  const { tokens } = await client.post("/tokenize", { body: { prompt: input[0] } });
  const ids = await create({ input: tokens, encoding_format: "float", pooling: "last" });
  const text = await create({ input: input[0], encoding_format: "float", pooling: "last" });
  assert.equal(ids.usage.prompt_tokens, tokens.length);
  ids.data[0].embedding.forEach((v, i) =>
    assert.ok(Math.abs(v - text.data[0].embedding[i]) < 0.02));
});

test("prompts are scored, as evaluation harnesses do", { skip: fake }, async () => {
  const tokens = (await client.post("/tokenize", { body: { content: "The sea is deep." } })).tokens;
  const request = { model, prompt: [tokens, tokens.slice(0, 2)], echo: true, logprobs: 1,
    temperature: 0 };
  const scored = await client.completions.create({ ...request, max_tokens: 0 });
  const { token_logprobs, top_logprobs, text_offset, tokens: strings } = scored.choices[0].logprobs;
  assert.equal(scored.choices[0].text, "The sea is deep.");
  assert.equal(strings.join(""), "The sea is deep.");
  assert.deepEqual(text_offset.map((at, i) => scored.choices[0].text.slice(at, text_offset[i + 1])),
    strings);
  assert.equal(token_logprobs.length, tokens.length);
  assert.equal(token_logprobs[0], null);
  assert.equal(top_logprobs[0], null);
  for (let i = 1; i < tokens.length; ++i) {
    assert.ok(token_logprobs[i] <= Math.max(...Object.values(top_logprobs[i])));
  }
  assert.equal(scored.choices[1].logprobs.tokens.length, 2);
  assert.equal(scored.usage.completion_tokens, 0);
  const more = await client.completions.create(
    { ...request, prompt: tokens, max_tokens: 1, ignore_eos: true, stream: true });
  let count = 0;
  for await (const chunk of more) count += chunk.choices[0].logprobs?.tokens.length ?? 0;
  assert.equal(count, tokens.length + 1);
  await assert.rejects(client.completions.create({ model, prompt: "a", max_tokens: 0 }),
    e => e.status === 400 && e.param === "max_tokens");
});

test("several requests at once are all answered", async () => {
  const answers = await Promise.all(Array.from({ length: 6 }, () => chat(short)));
  const contents = answers.map(a => a.choices[0].message.content);
  assert.deepEqual(contents, Array(6).fill(contents[0]));
});

test("tool calls and reasoning keep their places", { skip: !fake }, async () => {
  const weather = { name: "get_weather", parameters: { type: "object" } };
  const tools = [{ type: "function", function: weather }];
  const ask = content => ({ model, messages: [{ role: "user", content }], tools });
  const answer = await chat(ask("tool"));
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  assert.equal(answer.choices[0].message.tool_calls[0].function.name, "get_weather");
  const streamed = await client.chat.completions.stream(ask("tool")).finalChatCompletion();
  assert.equal(streamed.choices[0].message.tool_calls.length, 2);
  assert.equal(streamed.choices[0].message.tool_calls[1].function.name, "get_time");
  const thought = await chat(ask("think"));
  assert.equal(thought.choices[0].message.reasoning_content, "Let me see.");
  assert.equal(thought.usage.completion_tokens_details.reasoning_tokens, 1);
});

test("settings of DeepSeek and vLLM reach the model", { skip: !fake }, async () => {
  const settings = async (more, last = {}) => {
    const message = { role: "user", content: "settings", ...last };
    const answer = await chat({ model, messages: [{ role: "user", content: "hi" }, message],
      ...more });
    return JSON.parse(answer.choices[0].message.content);
  };
  assert.equal((await settings({})).thinking, "automatic");
  assert.equal((await settings({ thinking: { type: "enabled" } })).thinking, "on");
  assert.equal((await settings({ thinking: { type: "disabled" } })).thinking, "off");
  const kwargs = chat_template_kwargs => settings({ chat_template_kwargs });
  assert.equal((await kwargs({ thinking: true })).thinking, "on");
  assert.equal((await kwargs({ enable_thinking: false })).thinking, "off");
  for (const [asked, told] of [["minimal", "low"], ["low", "low"], ["medium", "high"],
    ["high", "high"], ["xhigh", "high"], ["max", "max"]]) {
    assert.equal((await settings({ reasoning_effort: asked })).reasoning_effort, told);
  }
  assert.equal((await settings({ reasoning_effort: "none" })).thinking, "off");
  const begun = { role: "assistant", prefix: true, reasoning_content: "So far" };
  const prefixed = await settings({}, begun);
  assert.equal(prefixed.prefix, true);
  assert.equal(prefixed.reasoning_content, "So far");
  const vllms = { continue_final_message: true, add_generation_prompt: false };
  assert.equal((await settings(vllms, { role: "assistant" })).prefix, true);
  const who = await settings({ user: "old", safety_identifier: "new", priority: -5, seed: 9 });
  assert.deepEqual([who.user, who.priority, who.seed], ["new", -5, 9]);
  assert.equal((await settings({ user_id: "u" })).user, "u");
  assert.equal((await settings({ logprobs: true, top_logprobs: 3 })).logprobs, 3);
  const fim = await client.completions.create({ model, prompt: "settings", suffix: "after" });
  assert.equal(JSON.parse(fim.choices[0].text).suffix, "after");
  const beta = new OpenAI({ baseURL: `${url}/beta`, apiKey: "none" });
  const there = await beta.completions.create({ model, prompt: "settings", suffix: "after" });
  assert.equal(JSON.parse(there.choices[0].text).suffix, "after");
  await assert.rejects(chat({ ...short, priority: 1e9 }), e => e.param === "priority");
  await assert.rejects(chat({ ...short, user: "x".repeat(513) }), e => e.param === "user");
  await assert.rejects(chat({ ...short, thinking: { type: "maybe" } }),
    e => e.param === "thinking.type");
});

test("a real model goes on where the assistant began", { skip: fake }, async () => {
  const messages = [{ role: "user", content: "Who are you?" }];
  const whole = (await chat({ ...short, messages })).choices[0].message.content;
  const content = whole.slice(0, whole.indexOf(" ", 8));
  const rest = await chat({ ...short,
    messages: [...messages, { role: "assistant", content, prefix: true }] });
  assert.ok(whole.startsWith(content + rest.choices[0].message.content.slice(0, 8)), whole);
  await assert.rejects(chat({ ...short, messages: [...messages, { role: "assistant", content }] }),
    e => e.status === 400 && e.param === "messages[1].role");
});

test("chat logprobs come one per token, with the most likely", { skip: fake }, async () => {
  const answer = await chat({ ...short, logprobs: true, top_logprobs: 2, ignore_eos: true });
  const { content } = answer.choices[0].logprobs;
  assert.equal(content.length, answer.usage.completion_tokens);
  for (const t of content) {
    assert.equal(t.top_logprobs.length, 2);
    assert.equal(t.token, t.top_logprobs[0].token, "greedy");
    assert.deepEqual(Buffer.from(t.bytes).toString(), t.token);
  }
});

const depths = {
  type: "object", additionalProperties: false, required: ["kind", "depth_m"],
  properties: { kind: { enum: ["fish", "crab"] }, depth_m: { type: "integer", minimum: 0,
    maximum: 11000 } },
};
const asSchema = schema =>
  ({ type: "json_schema", json_schema: { name: "answer", strict: true, schema } });
const toolOf = (name, parameters, strict = true) =>
  ({ type: "function", function: { name, parameters, strict } });
const sea = [{ role: "user", content: "Tell me about the sea." }];

test("an answer follows its schema", { skip: fake }, async () => {
  for (const seed of [1, 2, 3]) {
    const request = { model, messages: sea, seed, max_tokens: 60,
      response_format: asSchema(depths) };
    const { message, finish_reason } = (await chat(request)).choices[0];
    assert.equal(finish_reason, "stop");
    const value = JSON.parse(message.content);
    assert.deepEqual(Object.keys(value), ["kind", "depth_m"]);
    assert.ok(["fish", "crab"].includes(value.kind));
    assert.ok(Number.isInteger(value.depth_m) && value.depth_m >= 0 && value.depth_m <= 11000);
    const streamed = await client.chat.completions.stream(request).finalChatCompletion();
    assert.equal(streamed.choices[0].message.content, message.content);
  }
});

test("the client parses structured answers", { skip: fake }, async () => {
  const completion = await client.chat.completions.parse(
    { model, messages: sea, seed: 5, max_tokens: 60, response_format: asSchema(depths) });
  assert.ok(["fish", "crab"].includes(completion.choices[0].message.parsed.kind));
});

test("json_object begins a JSON object", { skip: fake }, async () => {
  const { message, finish_reason } = (await chat({ model, messages: sea, seed: 1, max_tokens: 40,
    response_format: { type: "json_object" } })).choices[0];
  assert.match(message.content, /^\{/);
  if (finish_reason === "stop") assert.equal(typeof JSON.parse(message.content), "object");
});

test("a grammar is followed, in chats and completions", { skip: fake }, async () => {
  const grammar = 'root ::= ("yes" | "no") ", " [0-9]{3} "!"';
  const answer = await chat({ model, messages: sea, max_tokens: 40, grammar });
  assert.match(answer.choices[0].message.content, /^(yes|no), \d{3}!$/);
  const text = await client.completions.create({ model, prompt: "Is it? ", max_tokens: 40,
    grammar });
  assert.match(text.choices[0].text, /^(yes|no), \d{3}!$/);
});

test("tool_choice forces calls, whose arguments are strict", { skip: fake }, async () => {
  const tools = [toolOf("look_up", depths), toolOf("stop", undefined)];
  const ask = tool_choice => ({ model, messages: sea, tools, tool_choice, max_tokens: 120, seed: 4,
    parallel_tool_calls: false });
  const named = { type: "function", function: { name: "look_up" } };
  for (const choice of ["required", named]) {
    const { message, finish_reason } = (await chat(ask(choice))).choices[0];
    assert.equal(finish_reason, "tool_calls");
    assert.equal(message.content ?? "", "", "no marker leaks into the text");
    const [call] = message.tool_calls;
    if (choice === named) assert.equal(call.function.name, "look_up");
    if (call.function.name === "look_up") {
      assert.ok(["fish", "crab"].includes(JSON.parse(call.function.arguments).kind));
    }
    const streamed = await client.chat.completions.stream(ask(choice)).finalChatCompletion();
    const again = streamed.choices[0].message;
    assert.equal(again.tool_calls[0].function.arguments, call.function.arguments);
    assert.equal(again.content ?? "", "");
  }
  const none = (await chat(ask("none"))).choices[0];
  assert.equal(none.message.tool_calls, undefined);
  assert.notEqual(none.finish_reason, "tool_calls");
});

test("errors say what is wrong", async () => {
  const rejects = (promise, status, code, param) => assert.rejects(promise, e => {
    assert.equal(e.status, status, e.message);
    assert.equal(e.code, code);
    assert.equal(e.param ?? null, param);
    return true;
  });
  await rejects(chat({ ...short, temperature: 9 }), 400, "invalid_argument", "temperature");
  await rejects(chat({ ...short, messages: [] }), 400, "invalid_argument", "messages");
  await rejects(chat({ ...short, n: 0 }), 400, "invalid_argument", "n");
  await rejects(chat({ ...short, n: 1000 }), 400, "invalid_argument", "n");
  const choice = { ...short, tool_choice: "required" };
  await rejects(chat(choice), 400, "invalid_argument", "tool_choice");
  if (!fake) {
    const schema = "response_format.json_schema.schema";
    for (const [response_format, param] of [
      [asSchema({ not: {} }), schema],
      [asSchema({ type: "nothing" }), schema],
      [asSchema({ $ref: "#/$defs/missing" }), schema],
      [{ type: "xml" }, "response_format.type"],
      [{ type: "json_schema", json_schema: { name: "n" } }, schema],
    ]) {
      await rejects(chat({ ...short, response_format }), 400, "invalid_argument", param);
    }
    await rejects(chat({ ...short, grammar: "nonsense" }), 400, "invalid_argument", "grammar");
    const tools = [toolOf("f", { type: "object", not: {} })];
    await rejects(chat({ ...short, tools, tool_choice: "required" }), 400, "invalid_argument",
      "tools[0].function.parameters");
  }
  const unknown = { ...short, model: "no-such-model" };
  await rejects(chat(unknown), 404, "not_found", "model");
  await rejects(chat({ ...unknown, stream: true }), 404, "not_found", "model");
});

test("what a model cannot do is the client's error", { skip: fake }, async () => {
  const unsupported = param =>
    e => e.status === 400 && e.code === "unsupported" && e.param === param;
  await assert.rejects(client.completions.create({ model, prompt: "a", suffix: "b" }),
    unsupported("suffix"));
  await assert.rejects(chat({ ...short, thinking: { type: "enabled" } }), unsupported("thinking"));
});

test("errors of HTTP have the API's form", async () => {
  const headers = { "Content-Type": "application/json" };
  const post = (path, body) => fetch(`${url}${path}`, { method: "POST", body, headers });
  for (const [response, status] of [
    [await post("/v1/chat/completions", "{nonsense"), 400],
    [await post("/v1/chat/completions", "[".repeat(1000)), 413],
    [await post("/v1/nothing", "{}"), 404],
    [await post("/v1/models", "{}"), 405],
    [await post("/v1/chat/completions", Buffer.alloc(40 << 20, 32)), 413],
  ]) {
    assert.equal(response.status, status);
    const { error } = await response.json();
    assert.equal(typeof error.message, "string");
    assert.ok("type" in error && "param" in error && "code" in error);
  }
});

test("an aborted stream is cancelled", async () => {
  const before = await metric("hadal_requests_abandoned_total");
  const messages = [{ role: "user", content: "slow tell me a long story" }];
  const stream = await chat({ model, messages, stream: true, max_tokens: 2000, ignore_eos: true,
    min_tokens: 1900 });
  let seen = 0;
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content || chunk.choices[0]?.delta.reasoning_content) ++seen;
    if (seen === 3) { stream.controller.abort(); break; }
  }
  await until(async () => await metric("hadal_requests_abandoned_total") === before + 1);
  await until(async () => await metric("hadal_requests_in_flight") === 1);  // the one that asks
  assert.ok((await chat(short)).choices.length === 1);
});

test("health, readiness and the page", async () => {
  assert.equal((await fetch(`${url}/health`)).status, 200);
  assert.equal((await fetch(`${url}/ready`)).status, 200);
  const page = await fetch(`${url}/`);
  assert.match(page.headers.get("content-type"), /text\/html/);
  assert.match(await page.text(), /<title>hadal<\/title>/);
});
