// Compares hadal's token ids with Hugging Face's tokenizers.
//
// usage: node run.mjs TOKENIZER_TOOL [--seed N] [--count N] [--family NAME] [--every-code-point]
//
// The judge is the Rust library (through @anush008/tokenizers, which is tokenizers 0.22.2): every
// id must agree on every string. The JavaScript library @huggingface/tokenizers must agree on
// strings of common characters; it follows the Unicode version of the JavaScript engine elsewhere.
import {spawnSync} from 'node:child_process';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {families} from './families.mjs';
import {everyCodePoint, longStrings, Random, randomString} from './strings.mjs';

const require = createRequire(import.meta.url);
const {Tokenizer: Native} = require('@anush008/tokenizers');
const {Tokenizer: Script} = await import('@huggingface/tokenizers');

const option = (name, fallback) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : process.argv[at + 1];
};
const tool = process.argv[2];
const seed = Number(option('--seed', Math.floor(Math.random() * 2 ** 32)));
const count = Number(option('--count', 4000));
const only = option('--family', null);
const exhaustive = process.argv.includes('--every-code-point');

let failures = 0;

function hadal(file, mode, inputs) {
  const input = inputs.map((s) => JSON.stringify(s)).join('\n') + '\n';
  const run = spawnSync(tool, [file, mode], {input, maxBuffer: 2 ** 31 - 1, encoding: 'utf8'});
  if (run.status !== 0) throw new Error(`tokenizer_tool: ${run.stderr || run.error || run.signal}`);
  return run.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

function report(what, input, ours, theirs) {
  if (++failures > 10) return;
  console.log(`DIFFERENT: ${what}\n  input  ${JSON.stringify(input).slice(0, 600)}`);
  console.log(
    `  hadal  ${JSON.stringify(ours).slice(0, 300)}\n` +
      `  theirs ${JSON.stringify(theirs).slice(0, 300)}`,
  );
}

function compare(what, inputs, ours, theirs) {
  let same = 0;
  inputs.forEach((input, i) => {
    if (JSON.stringify(ours[i]) === JSON.stringify(theirs[i])) ++same;
    else report(what, input, ours[i], theirs[i]);
  });
  console.log(`${what}: ${same} of ${inputs.length} agree`);
}

async function encodeAll(native, inputs) {
  const out = [];
  for (const s of inputs)
    out.push((await native.encode(s, null, {addSpecialTokens: false})).getIds());
  return out;
}

async function checkFamily(name, directory) {
  const json = families[name]();
  const file = join(directory, `${name}.json`);
  const text = JSON.stringify(json);
  writeFileSync(file, text);
  const native = Native.fromString(text);
  const random = new Random(seed);
  const specials = json.added_tokens
    .filter((t, i) => i < 8 || i >= json.added_tokens.length - 40)
    .map((t) => t.content);

  const plain = Array.from({length: count}, () => randomString(random));
  plain.push(...longStrings, '');
  if (exhaustive) plain.push(...everyCodePoint());
  // Texts of markup in plain text are text for hadal and tokens for the reference.
  const longAdded = json.added_tokens.map((t) => t.content).filter((c) => [...c].length > 1);
  const usable = plain.filter((s) => !longAdded.some((c) => s.includes(c)));
  compare(`${name} plain`, usable, hadal(file, 'plain', usable), await encodeAll(native, usable));

  const marked = Array.from({length: count}, () => randomString(random, {specials}));
  compare(
    `${name} special`,
    marked,
    hadal(file, 'special', marked),
    await encodeAll(native, marked),
  );

  const size = native.getVocabSize(true);
  const single = new Set(
    json.added_tokens.filter((t) => [...t.content].length === 1).map((t) => t.id),
  );
  const ids = Array.from({length: count}, () =>
    Array.from({length: 1 + random.below(12)}, () => random.below(size)).filter(
      (id) => !single.has(id) && native.idToToken(id) !== null,
    ),
  );
  const decoded = [];
  for (const list of ids) decoded.push(await native.decode(list, false));
  compare(`${name} decode`, ids, hadal(file, 'decode', ids), decoded);

  // The JavaScript library's Digits and added tokens differ from the Rust library's.
  if (name === 'flags' || JSON.stringify(json.pre_tokenizer).includes('Digits')) return;
  const script = new Script(json, {});
  const common = Array.from({length: count / 4}, () => randomString(random, {common: true})).filter(
    (s) => !longAdded.some((c) => s.includes(c)),
  );
  compare(
    `${name} plain, @huggingface/tokenizers`,
    common,
    hadal(file, 'plain', common),
    common.map((s) => script.encode(s, {add_special_tokens: false}).ids),
  );
}

console.log(`seed ${seed}, ${count} strings`);
const directory = mkdtempSync(join(tmpdir(), 'hadal-tokenizer-'));
try {
  for (const name of Object.keys(families)) {
    if (only === null || only === name) await checkFamily(name, directory);
  }
} finally {
  rmSync(directory, {recursive: true, force: true});
}
if (failures > 0) {
  console.log(`${failures} differences; again with: --seed ${seed} --count ${count}`);
  process.exit(1);
}
