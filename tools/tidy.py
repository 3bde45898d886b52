#!/usr/bin/env python3
"""Holds every file to the sizes and habits of the house style.

    tools/tidy.py [repository]     prints "path:line: what; what to do", exits 1 on any

A rule is a function below that yields (line, what and what to do) for one File. Of C++ it knows
only brackets: enough to find functions, and no more.
"""
import os
import re
import sys
from pathlib import Path

import report

# Scripts that record how data was made run elsewhere and are not read often.
RECIPES, RECIPE_COLUMNS = ("models/demo/", "tests/golden/make_golden.py"), 128
COLUMNS, FUNCTION_LINES, BOUNDARY_LINES, README_LINES = 100, 70, 200, 60
EXPLAINED_LINES, FILE_LINES, KERNEL_OR_TEST_LINES = 500, 800, 1200
LONG_BOUNDARIES = {"src/kernels/ops.h"}  # the contract of every op
# Where exceptions stop: coroutine root, engine-loop root, adapter to a throwing library, main.
WALLS = {"src/http/internal/connection.cc", "src/engine/local_backend.cc",
         "src/engine/batch.cc", "src/config/toml_values.cc", "src/apps/main.cc"}
SKIPPED = re.compile(r"\.(?!github$|ci$)|(build|node_modules|__pycache__)$")
DATA = {"corpus", "package-lock.json"}  # names of files or folders
CPP = (".cc", ".h", ".cu", ".cuh")
CODE = CPP + (".py", ".mjs", ".ts", ".sh", ".cmake", ".txt", "/dev")
TEXT = CODE + (".md", ".yaml", ".yml", ".toml", ".html", ".css")

# What may hold stray brackets: literals, comments, preprocessor lines.
OPAQUE = re.compile(r'R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\''
                    r"|//[^\n]*|/\*.*?\*/|^[ \t]*#(?:\\\n|[^\n])*", re.S | re.M)
LEAD = re.compile(r"(\s|(public|protected|private):)*")
SCOPE = re.compile(r"\s*(template\s*<.*>\s*)?((inline|typedef|static)\s+)?"
                   r"(namespace|class|struct|union|enum|extern)\b", re.S)
VALUE = re.compile(r"(?!.*\boperator\b)[^(]*[^=!<>]=[^=]", re.S)
TEST = re.compile(r"TEST(_F|_P)?\(")
EXPECTATION = re.compile(r"\b((EXPECT|ASSERT)_\w+|FAIL|ADD_FAILURE(_AT)?|CHECK(_\w+)?)\(")


class File:
    def __init__(self, root, path):
        self.where = path.relative_to(root).as_posix()
        self.bytes = path.read_bytes()
        is_text = f"/{self.where}".endswith(TEXT) and not DATA & set(self.where.split("/"))
        self.text = self.bytes.decode("utf-8", errors="replace") if is_text else ""
        self.lines = self.text.splitlines()
        self.is_cpp = is_text and self.where.endswith(CPP)
        self.is_code = is_text and f"/{self.where}".endswith(CODE)
        self.is_table = self.is_code and "do not edit" in "".join(self.lines[:1])  # generated
        self.functions = list(functions_of(self.text)) if self.is_cpp else []


def functions_of(text):
    """(line, number of lines, head, body) of every outermost function of C++ text."""
    code = OPAQUE.sub(lambda m: '""' * (m[0][0] in "R\"'") + "\n" * m[0].count("\n"), text)
    start, blocks = 0, []  # of the statement; [(is function, start, bracket)] of open blocks
    for mark in re.finditer(r"[{};]", code):
        if mark[0] == "{":
            head = code[start:mark.start()]
            start += LEAD.match(head).end()
            is_function = "(" in head and not SCOPE.match(head) and not VALUE.match(head)
            blocks.append((is_function, start, mark.start()))
        elif mark[0] == "}" and blocks:
            is_function, start, bracket = blocks.pop()
            if is_function and not any(b[0] for b in blocks):
                yield (code.count("\n", 0, start) + 1, code.count("\n", start, mark.end()) + 1,
                       code[start:bracket], code[bracket:mark.end()])
        start = mark.end()


def columns(file):
    recipe = file.where.endswith(".py") and file.where.startswith(RECIPES)
    limit = RECIPE_COLUMNS if recipe else COLUMNS
    for n, line in enumerate(file.lines, 1):
        row = file.where.endswith(".md") and line.lstrip().startswith("|")
        link = len(line.split()) <= 2 and "://" in line
        if len(line) > limit and not (row or link or file.is_table):
            yield n, f"{len(line)} columns; wrap at {limit}"


def whitespace(file):
    for n, line in enumerate(file.lines, 1):
        if "\t" in line:
            yield n, "a tab; use spaces"
        if line != line.rstrip():
            yield n, "trailing whitespace; remove it"
    if file.text and (not file.text.endswith("\n") or file.text.endswith("\n\n")):
        yield len(file.lines), "no newline or too many at the end; end the file with one"


def file_size(file):
    size = len(file.lines)
    long = file.where.startswith("src/kernels/") or file.where.endswith("_test.cc")
    limit = KERNEL_OR_TEST_LINES if long else FILE_LINES
    if not file.is_code or file.is_table:
        return
    if size > limit:
        yield limit, f"{size} lines; split the file, the limit is {limit}"
    elif size > EXPLAINED_LINES and "Long because" not in "".join(file.lines[:15]):
        yield 1, f'{size} lines; split the file, or say "Long because ..." in its first 15 lines'


def function_size(file):
    for line, size, _, _ in file.functions:
        if size > FUNCTION_LINES:
            yield line, f"a function of {size} lines; split it, the limit is {FUNCTION_LINES}"


def headers(file):
    if file.is_cpp and file.where.endswith((".h", ".cuh")):
        if "#pragma once" not in file.lines:
            yield 1, "a header without #pragma once; add it"
        is_boundary = re.fullmatch(r"src/\w+/(?!test_)\w+\.h", file.where)
        if is_boundary and len(file.lines) > BOUNDARY_LINES and file.where not in LONG_BOUNDARIES:
            yield BOUNDARY_LINES, (f"a boundary header of {len(file.lines)} lines; the limit is "
                                   f"{BOUNDARY_LINES}, move what users need not see to internal/")


def readme_size(file):
    if re.fullmatch(r"src/\w+/README\.md", file.where) and len(file.lines) > README_LINES:
        yield README_LINES, f"{len(file.lines)} lines; a room explains itself in {README_LINES}"


def banned_words(file):
    for n, line in enumerate(file.lines if file.is_code else [], 1):
        if re.search(r"\b([T]ODO|[F]IXME)\b(?!\(#\d+\))", line):
            yield n, "unfinished work without an issue; write TODO(#12) or do it"
        if file.is_cpp and re.search(r"\busing\s+namespace\s+std\b", line):
            yield n, "using namespace std; name what you use"
        is_wall = file.where in WALLS or not file.where.startswith("src/")
        if file.is_cpp and re.search(r"\bcatch\s*\(", line) and not is_wall:
            yield n, "exceptions stop only at the WALLS of tools/tidy.py; return an Error"


def workplace(file):
    for m in re.finditer(rb"(?<![\w.})])/(work|root)/", file.bytes):
        line = file.bytes.count(b"\n", 0, m.start()) + 1
        yield line, f"{m[0].decode()} is a path of one workplace; use a relative one"


RULES = [columns, whitespace, file_size, function_size, headers, readme_size, banned_words,
         workplace]


def tests_without_expectation(files):
    """A test must expect something, itself or through a function of the test files that does."""
    tests = [file for file in files if "<gtest/" in file.text]
    helpers, expects = set(), EXPECTATION
    while True:
        found = {re.search(r"\w*\s*$", head.partition("(")[0])[0].strip() for file in tests
                 for _, _, head, body in file.functions
                 if not TEST.match(head) and expects.search(body)}
        if found <= helpers:
            break
        helpers |= found
        expects = re.compile(rf"{EXPECTATION.pattern}|\b({'|'.join(sorted(helpers))})\(")
    for file in tests:
        for line, _, head, body in file.functions:
            if TEST.match(head) and "DISABLED_" not in head and not expects.search(body):
                yield file.where, line, "a test that expects nothing; add an EXPECT_"


def check(root):
    """[(path, line, error)] of the repository at `root`."""
    files, errors = [], []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not SKIPPED.match(f))
        files += [File(root, Path(folder, name)) for name in sorted(names)]
    for file in files:
        errors += [(file.where, *error) for rule in RULES for error in rule(file)]
    errors += tests_without_expectation(files)
    for cmake in sorted(root.glob("src/*/CMakeLists.txt")):
        if not cmake.with_name("README.md").exists():
            where = cmake.with_name("README.md").relative_to(root).as_posix()
            errors.append((where, 1, "a room without README.md; say its purpose, thread, failures"))
    return errors


if __name__ == "__main__":
    sys.exit(report.main(check))
