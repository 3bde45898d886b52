// Strings that are hard on a tokenizer, from a seed.

/** A small generator with 32 bits of state; the same seed gives the same strings everywhere. */
export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }
  next() {
    let t = (this.state = (this.state + 0x6d2b79f5) >>> 0);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(n) {
    return this.next() % n;
  }
  pick(list) {
    return list[this.below(list.length)];
  }
}

const blanks = [
  ' ', '  ', '   ', '\t', '\n', '\n\n', '\r\n', '\r', ' \n', '\n  ', '\v', '\f', '\u0085', '\u00a0',
  '\u1680', '\u2003', '\u2028', '\u2029', '\u202f', '\u205f', '\u3000', ' \u3000 ', '        ',
];
const plainBlanks = [
  ' ', '  ', '   ', '\t', '\n', '\n\n', '\r\n', ' \n', '\n  ', '\u00a0', '\u3000',
];
const words = [
  'the', 'The', 'HELLO', 'world', 'don', "don't", "I'm", "WE'LL", "they're", "'s", "'S", "'ve",
  "'Re", "x'd", 'naïve', 'Zürich', 'schön', 'übung', 'ø', 'Ångström', 'été', 'привет', 'Мир',
  'κόσμε', 'ΑΒΓ', 'שלום', 'مرحبا', 'नमस्ते', 'ภาษาไทย', 'tiếng', 'Việt', '안녕하세요', '你好', '世界',
  '深度求索', 'こんにちは', 'カタカナ', '漢字かな交じり', 'Ｆｕｌｌ', '１２３', 'ﬁ', 'ǅ', 'ªº', 'ß', 'İı', 'ՀԱՅ', 'հայ',
  'ქართული', 'ᲥᲐ', 'Ꭰꭰ', '𐐀𐐨', '𝔘𝔫𝔦', '𠮷', 'e\u0301', 'A\u030a', 'o\u0302\u0323',
  '\u1112\u1161\u11ab', '\u0344', '\u212b', '\u2126', 'A\u0302\u0300', 'Ầ',
];
const marks = [
  '.', ',', '!', '?', '...', '—', '–', '“', '”', '‘', '’', '。', '，', '！', '：', '；', '（', '）', '、',
  '「', '」', '<', '>', '</', '=>', '==', '&&', '||', '{}', '[0]', '();', '#', '##', '@', '$', '€',
  '¥', '£', '%', '^', '`', '```', '~', '_', '__', '*', '**', '+', '-', '/', '\\', '"', "'", '·',
  '…', '§', '°', '±', '×', '÷', '¿', '¡', '≠', '→', '∑', '√', '♥', '★',
];
const digits = [
  '0', '7', '42', '123', '1234', '1234567', '3.14', '1,000', '٣٤', '२०२४', '½', 'Ⅷ', '²', '一', '㊿',
];
const emoji = ['😀', '👍🏽', '👨‍👩‍👧‍👦', '🇩🇪', '❤️', '🏴‍☠️', '#️⃣', '\u200d', '\ufe0f', '🫠'];
const odd = [
  '\u0000', '\u0001', '\u007f', '\u0080', '\u009f', '\u00ad', '\u200b', '\u200e', '\u2060',
  '\ufeff', '\ufffd', '\uffff', '\u0378', '\ue000', '\u{10ffff}', '\u{e0001}', '\u{1fffe}',
  '\u017f', "'\u017f", '\u212a', '\u0300', '\u0345', '\u05b0', '\u0e33', '\u3099', '\u1161',
  '\u11a8', '\u{1d165}', '\u0f71\u0f72',
];
const code = [
  'def f(x):\n    return x + 1\n', 'for (int i = 0; i < n; ++i) {\n\t\ta[i] *= 2;\n\t}\n',
  '<div class="a">x</div>', 'SELECT * FROM t WHERE id=1;', '\\frac{a}{b}^{2}',
  'https://example.org/a?b=c&d=%20', '{"k": [1, 2.5, null]}', 'a_b_c', 'camelCaseWord',
  'snake_case', 'CONST_NAME', '0xFF', '1e-9',
];

function randomCharacter(random) {
  for (;;) {
    const plane = random.below(8);
    const c =
      plane < 4 ? random.below(0x3000) : plane < 7 ? random.below(0x10000) : random.below(0x110000);
    if (c < 0xd800 || c > 0xdfff) return String.fromCodePoint(c);
  }
}

/** One string. `specials`: texts of added tokens to strew in. `common`: only what every library
 *  and every version of Unicode treats alike. */
export function randomString(random, {specials = [], common = false} = {}) {
  const kinds = common
    ? [words, words, marks, digits, code, plainBlanks, plainBlanks]
    : [blanks, blanks, words, words, words, marks, marks, digits, emoji, odd, code];
  const theme = random.below(3) === 0 ? [random.pick(kinds), random.pick(kinds)] : kinds;
  let out = '';
  for (let n = 1 + random.below(random.below(8) === 0 ? 60 : 14); n > 0; --n) {
    const choice = random.below(24);
    if (specials.length > 0 && choice < 4) {
      const text = random.pick(specials);
      out += random.below(6) === 0 ? text.slice(0, 1 + random.below(text.length)) : text;
    } else if (choice < 6 && !common) {
      out += randomCharacter(random);
    } else if (choice === 6) {
      out += random.pick(random.pick(theme)).repeat(1 + random.below(12));
    } else {
      out += random.pick(random.pick(theme));
      if (random.below(3) === 0) out += ' ';
    }
  }
  return out.isWellFormed?.() === false ? out.toWellFormed() : out;
}

/** Every code point in the neighbourhoods that tell the classes apart, save digits that came
 *  with Unicode 17: the reference's Digits step follows its compiler, its other steps have
 *  Unicode 16. */
export function* everyCodePoint() {
  let out = '';
  for (let c = 1; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    const x = String.fromCodePoint(c);
    out += `a${x}b ${x}1${x}! ${x} .${x}\n${x}${x}'${x}`;
    if (c % 48 === 0 || c === 0x10ffff) {
      yield out;
      out = '';
    }
  }
}

export const longStrings = [
  ' '.repeat(100_000),
  'a'.repeat(100_000),
  ' '.repeat(50_000) + 'x',
  '\n'.repeat(20_000),
  '你'.repeat(20_000),
  '1'.repeat(20_000),
  '!'.repeat(20_000),
  "'".repeat(20_000),
  'e' + '\u0301'.repeat(5_000),
  'ab'.repeat(30_000),
  '\u3000'.repeat(10_000) + 'a',
  ' \n'.repeat(10_000),
];
