#!/usr/bin/env python3
"""Holds every file to the arrows between rooms: the DEPS in src/<room>/CMakeLists.txt.

    tools/check_layers.py [repository]     prints "path:line: what; what to do", exits 1 on any

A room is a folder of src/. Its test files (*_test.cc, *_bench.cc, test_*.h) may also use its
TEST_DEPS. An executable's arrows are the hadal_<room> that it links. tests/, fuzz/ and bench/ may
reach whatever they link and what that depends on, internal/ included.
"""
import re
import sys
from pathlib import Path

import report

# Libraries: the first match of an include decides where it may stand. A library that is not here
# is an error, so a new one enters with the room that owns it.
LIBRARIES = [
    (r"boost/json", ["src/json/"]),
    (r"boost/(asio|beast)", ["src/http/"]),
    (r"toml\+\+/", ["src/config/"]),
    (r"histedit\.h", ["src/apps/line_editor.cc"]),
    (r"openssl/", ["src/http/", "src/format/digest.cc", "src/vault/"]),
    (r"(cuda|cublas|cooperative_groups)", ["src/kernels/cuda/", "src/shard/"]),
    (r"(nccl|gloo/)", ["src/shard/"]),
    (r"(sqlite3\.h|pqxx/|libpq)", ["src/store/"]),
    (r"(pkcs11|p11-kit)", ["src/vault/"]),
    (r"(torch|ATen|c10)/", ["src/forge/"]),
    (r"tl/expected", ["src/base/result.h"]),
    (r"(gtest|gmock)/", ["_test.cc", "/test_", "tests/"]),
    (r"benchmark/", ["_bench.cc", "bench/"]),
    (r"fuzzer/", ["fuzz/"]),
]
SYSTEM = re.compile(r"[a-z_]+$|[a-z0-9_]+\.h$|(sys|net|netinet|arpa|linux)/")
INTRINSICS = re.compile(r"(\w*intrin|arm_\w+|cpuid)\.h$|[a-z_]+$")  # and the standard library
ISA_FOLDER = re.compile(r"src/kernels/cpu/(?!ref/)\w+/")
BOUNDARY = re.compile(r"src/\w+/\w+\.h$")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:<([^>\n]+)>|"([^"\n]+)")', re.M)
COMMAND = re.compile(r"\b(hadal_room|hadal_fuzz|target_link_libraries)\(\s*\S+([^)]*)\)")


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def is_test(path):
    return path.name.endswith(("_test.cc", "_bench.cc")) or path.name.startswith("test_")


def sources(paths):
    return sorted(p for p in paths if p.suffix in (".cc", ".h", ".cu", ".cuh"))


def includes(path):
    """(line, header of a library or None, header of ours or None) of every #include."""
    text = path.read_text(encoding="utf-8")
    return [(line_of(text, m.start(1 if m[1] else 2)), m[1], m[2]) for m in INCLUDE.finditer(text)]


class Arrows:
    """One CMakeLists.txt: {room: line} of what its files, and what its tests, may include."""

    def __init__(self, root, cmake):
        self.path = cmake.relative_to(root).as_posix()
        self.deps, self.test_deps = {}, {}
        text = re.sub(r"#.*", "", cmake.read_text(encoding="utf-8"))
        lists = {"DEPS": self.deps, "ROOMS": self.deps, "COMPILED": self.deps,
                 "TEST_DEPS": self.test_deps}
        for command in COMMAND.finditer(text):
            arrows = {}
            for word in re.compile(r"[^\s()]+").finditer(text, command.start(2), command.end(2)):
                name, line = word[0], line_of(text, word.start())
                if command[1] == "target_link_libraries":
                    if name.startswith("hadal_"):
                        self.deps[name.removeprefix("hadal_")] = line
                elif name.isupper():
                    arrows = lists.get(name, {})
                else:
                    arrows[name] = line


def reachable(rooms, names):
    """The rooms of `names` and everything that they depend on."""
    seen, queue = set(), list(names)
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue += rooms[name].deps if name in rooms else []
    return seen


def library_error(where, header):
    for pattern, places in LIBRARIES:
        if re.match(pattern, header):
            if not any(place in where for place in places):
                return f"<{header}> belongs to {' or '.join(places)}; use a header of ours there"
            if BOUNDARY.match(where) and where not in places and "/test_" not in where:
                return f"<{header}> in a boundary header; move it into a .cc or internal/"
            return None
    if not SYSTEM.match(header):
        return f"<{header}> is of an unknown library; name the room that owns it in LIBRARIES"
    return None


def room_error(rooms, room, path, header):
    """Why the file `path` of `room` may not include "header"."""
    target, *rest = header.split("/")
    if target == room:
        return None
    if target not in rooms or not rest:
        return f'"{header}" names no room; write "room/file.h"'
    deps = rooms[room].deps | (rooms[room].test_deps if is_test(path) else {})
    if target not in deps:
        kind = "TEST_DEPS" if is_test(path) else "DEPS"
        return f"{target} is not in the {kind} of {room}; do without it or add it there"
    if len(rest) > 1:
        return f'"{header}" is private to {target}; use its boundary headers, src/{target}/*.h'
    return None


def check_room(root, rooms, room):
    used = {False: set(), True: set()}  # by is_test
    for path in sources((root / "src" / room).rglob("*")):
        where = path.relative_to(root).as_posix()
        for line, library, header in includes(path):
            if library:
                error = library_error(where, library)
                in_isa = INTRINSICS.match(library)
            else:
                error = room_error(rooms, room, path, header)
                in_isa = header.startswith("kernels/")
                used[is_test(path)].add(header.split("/")[0])
            if not error and ISA_FOLDER.match(where) and not in_isa:
                error = f"{library or header} in an ISA folder; use intrinsics and kernels/ only"
            if error:
                yield where, line, error
    for kind, deps in (("DEPS", rooms[room].deps), ("TEST_DEPS", rooms[room].test_deps)):
        for dep, line in deps.items():
            if dep not in rooms:
                yield rooms[room].path, line, f"{kind} names {dep}, which is no room; remove it"
            elif dep not in used[kind == "TEST_DEPS"]:
                yield rooms[room].path, line, f"{kind} names {dep}, unused by includes; remove it"
            elif kind == "DEPS" and room in reachable(rooms, [dep]):
                yield rooms[room].path, line, f"cycle: {dep} needs {room} too; turn an arrow around"


def check_outside(root, rooms, cmake):
    """A folder of tests/, fuzz/ or bench/: what it includes, it links."""
    arrows = Arrows(root, cmake)
    linked = reachable(rooms, arrows.deps)
    for path in sources(cmake.parent.iterdir()):
        where = path.relative_to(root).as_posix()
        for line, library, header in includes(path):
            target = (header or "").split("/")[0]
            error = library_error(where, library) if library else None
            if target in rooms and target not in linked:
                error = f"{target} is not linked here; add hadal_{target} to {arrows.path}"
            if error:
                yield where, line, error


def check(root):
    """[(path, line, error)] of the repository at `root`."""
    errors = []
    cmakes = sorted(root.glob("src/*/CMakeLists.txt"))
    rooms = {cmake.parent.name: Arrows(root, cmake) for cmake in cmakes}
    for room in rooms:
        errors += check_room(root, rooms, room)
    for pattern in ("tests/*/CMakeLists.txt", "fuzz/CMakeLists.txt", "bench/CMakeLists.txt"):
        for cmake in sorted(root.glob(pattern)):
            errors += check_outside(root, rooms, cmake)
    return errors


if __name__ == "__main__":
    sys.exit(report.main(check))
