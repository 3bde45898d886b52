"""Every rule of check_layers.py and tidy.py fires on a small tree that breaks it, and only then.

    cd tools && python3 -m unittest
"""
import tempfile
import unittest
from pathlib import Path

import check_layers
import tidy

ROOM = "hadal_room(a SOURCES a.cc DEPS base TEST_DEPS json)\n"
GOOD = {
    "src/base/CMakeLists.txt": "# The lowest.\nhadal_room(base SOURCES base.cc)\n",
    "src/base/README.md": "# base\n",
    "src/base/base.h": "#pragma once\n",
    "src/base/result.h": "#pragma once\n\n#include <tl/expected.hpp>\n",
    "src/json/CMakeLists.txt": "hadal_room(json\n  SOURCES json.cc\n  DEPS base)\n",
    "src/json/README.md": "# json\n",
    "src/json/json.cc": '#include <sys/mman.h>\n\n#include <boost/json/src.hpp>\n'
                        '#include "base/base.h"\n#include "json/internal/parser.h"\n',
    "src/json/json.h": "#pragma once\n",
    "src/json/internal/parser.h": "#pragma once\n",
    "src/a/CMakeLists.txt": ROOM,
    "src/a/README.md": "# a\n",
    "src/a/a.cc": '#include <vector>\n\n#include "base/base.h"\n',
    "src/a/a_test.cc": '#include <gtest/gtest.h>\n\n#include "json/json.h"\n'
                       "\nTEST(ATest, Adds) { EXPECT_EQ(1 + 1, 2); }\n",
    "tests/sim/CMakeLists.txt": "target_link_libraries(sim_test PRIVATE hadal_json)\n",
    "tests/sim/sim_test.cc": '#include "base/base.h"\n#include "json/internal/parser.h"\n',
    "fuzz/CMakeLists.txt": "hadal_fuzz(json SOURCES json_fuzz.cc ROOMS json)\n",
    "fuzz/json_fuzz.cc": '#include <fuzzer/FuzzedDataProvider.h>\n\n#include "json/json.h"\n',
}


class TreeTest(unittest.TestCase):
    """check(changes) is what a tool says of the good tree with these files put into it."""
    tool = None

    def check(self, changes):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (GOOD | changes).items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return [f"{where}:{line}: {error}" for where, line, error in
                    self.tool.check(Path(folder))]

    def refuses(self, name, text, *starts, **more):
        """The file `name` with this text gives one error a start, "path:line: what"."""
        errors = self.check({name: text} | more)
        self.assertEqual(len(errors), len(starts), errors)
        for error, start in zip(errors, starts):
            self.assertTrue(error.startswith(start), f"{error}\ndoes not start with\n{start}")
            self.assertRegex(error, "[;,] ", "it must say what to do")

    def accepts(self, name, text):
        self.assertEqual(self.check({name: text}), [])


class LayersTest(TreeTest):
    tool = check_layers

    def test_good_tree(self):
        self.assertEqual(self.check({}), [])

    def test_room_outside_deps(self):
        self.refuses("src/a/b.cc", '\n#include "json/json.h"\n',
                     "src/a/b.cc:2: json is not in the DEPS of a")
        self.refuses("src/json/json_test.cc", '#include "a/a.h"\n',
                     "src/json/json_test.cc:1: a is not in the TEST_DEPS of json")
        self.accepts("src/a/internal/test_bed.h", '#include "json/json.h"\n')

    def test_private_header(self):
        self.refuses("src/a/a_test.cc",
                     '#include "json/json.h"\n#include "json/internal/parser.h"\n',
                     'src/a/a_test.cc:2: "json/internal/parser.h" is private to json')

    def test_include_without_room(self):
        self.refuses("src/a/b.cc", '#include "a.h"\n', 'src/a/b.cc:1: "a.h" names no room')

    def test_deps(self):
        self.refuses("src/a/CMakeLists.txt", ROOM.replace("DEPS base", "DEPS base\n json", 1),
                     "src/a/CMakeLists.txt:2: DEPS names json, unused")
        self.refuses("src/a/a_test.cc", "\n",
                     "src/a/CMakeLists.txt:1: TEST_DEPS names json, unused")
        self.refuses("src/a/CMakeLists.txt", ROOM.replace("DEPS base", "DEPS base sea", 1),
                     "src/a/CMakeLists.txt:1: DEPS names sea, which is no room")

    def test_cycle(self):
        self.refuses("src/base/CMakeLists.txt", "hadal_room(base DEPS json)\n",
                     "src/base/CMakeLists.txt:1: cycle: json needs base too",
                     "src/json/CMakeLists.txt:3: cycle: base needs json too",
                     **{"src/base/base.cc": '#include "json/json.h"\n'})

    def test_executable(self):
        self.refuses("src/apps/CMakeLists.txt",
                     "target_link_libraries(hadal PRIVATE hadal_base\n  hadal_json)\n",
                     "src/apps/CMakeLists.txt:2: DEPS names json, unused",
                     **{"src/apps/main.cc": '#include "base/base.h"\n'})

    def test_libraries(self):
        for header, owner in {"boost/asio/post.hpp": "http", "boost/json.hpp": "json",
                              "toml++/toml.h": "config", "openssl/evp.h": "http",
                              "cuda_runtime.h": "kernels/cuda", "nccl.h": "shard",
                              "sqlite3.h": "store", "torch/torch.h": "forge"}.items():
            self.refuses("src/a/b.cc", f"#include <{header}>\n",
                         f"src/a/b.cc:1: <{header}> belongs to src/{owner}/")
        self.refuses("src/a/b.cc", "#include <fmt/core.h>\n",
                     "src/a/b.cc:1: <fmt/core.h> is of an unknown library")
        self.refuses("src/json/value.h", "#include <boost/json/value.hpp>\n",
                     "src/json/value.h:1: <boost/json/value.hpp> in a boundary header")
        self.refuses("fuzz/json_fuzz.cc", "#include <boost/json.hpp>\n",
                     "fuzz/json_fuzz.cc:1: <boost/json.hpp> belongs to")

    def test_isa_folder(self):
        isa = "src/kernels/cpu/avx2/table.cc"
        kernels = {"src/kernels/CMakeLists.txt": "hadal_room(kernels DEPS base)\n",
                   "src/kernels/cpu/ref/ref.cc": '#include "base/base.h"\n'}
        self.refuses(isa, '#include <immintrin.h>\n#include <cmath>\n#include "kernels/ops.h"\n',
                     **kernels)
        self.refuses(isa, '#include "base/base.h"\n#include <unistd.h>\n',
                     f"{isa}:1: base/base.h in an ISA folder",
                     f"{isa}:2: unistd.h in an ISA folder",
                     **kernels)

    def test_tests_link_what_they_include(self):
        self.refuses("tests/sim/sim_test.cc", '#include "a/a.h"\n',
                     "tests/sim/sim_test.cc:1: a is not linked here")
        self.refuses("fuzz/CMakeLists.txt", "hadal_fuzz(json SOURCES json_fuzz.cc ROOMS base)\n",
                     "fuzz/json_fuzz.cc:3: json is not linked here")


class TidyTest(TreeTest):
    tool = tidy

    def test_good_tree(self):
        self.assertEqual(self.check({}), [])

    def test_columns(self):
        self.refuses("src/a/b.cc", "\n// " + "é" * 98 + "\n", "src/a/b.cc:2: 101 columns")
        self.refuses("docs/a.md", "word " * 20 + "w\n", "docs/a.md:1: 101 columns")
        self.accepts("src/a/b.cc", "// " + "é" * 97 + "\n")
        self.accepts("docs/a.md", "| " + "cell " * 30 + "|\n[a]: https://" + "x" * 100 + "\n")
        self.accepts("src/a/b.cc", "// Written by a tool; do not edit.\n// " + "x" * 200 + "\n")
        self.accepts("fuzz/corpus/a.txt", "x" * 200 + "\n")

    def test_whitespace(self):
        self.refuses("src/a/b.cc", "int a;\n\tint b;\n", "src/a/b.cc:2: a tab")
        self.refuses("src/a/b.cc", "int a; \n", "src/a/b.cc:1: trailing whitespace")
        self.refuses("src/a/b.cc", "int a;", "src/a/b.cc:1: no newline or too many at the end")
        self.refuses("src/a/b.cc", "int a;\n\n", "src/a/b.cc:2: no newline or too many at the end")

    def test_file_size(self):
        why = "// Long because it is a list.\n"
        self.refuses("src/a/b.cc", "\n" * 499 + "int a;\nint b;\n", "src/a/b.cc:1: 501 lines")
        self.refuses("src/a/b.cc", why + "\n" * 799 + "int a;\n", "src/a/b.cc:800: 801 lines")
        self.refuses("src/kernels/a.cc", why + "\n" * 1199 + "int a;\n",
                     "src/kernels/a.cc:1200: 1201 lines")
        self.accepts("src/a/b.cc", why + "\n" * 500 + "int a;\n")
        self.accepts("src/a/b_test.cc", why + "\n" * 1000 + "int a;\n")

    def test_function_size(self):
        long = " {\n" + "  a();\n" * 69 + "}\n"
        for head in ("int f(int a = 1)", "Result<int> A::f() const", "bool operator=(A b)",
                     "A::A(int a)\n    : a_(a)",
                     'template <class T>\nvoid f(T) /* { */ noexcept("{")',
                     "#define OPEN {\nvoid f(char a)"):
            line = 2 if head.startswith("#") else 1
            self.refuses("src/a/b.cc", head + long, f"src/a/b.cc:{line}: a function of 7")
            self.refuses("src/a/b.cc", f"namespace a {{\nstruct B {{\n{head}{long}}};\n}}\n",
                         f"src/a/b.cc:{2 + line}: a function of 7")
        for other in ("struct A : B<f()>", "enum class A", "int a[] =", "const auto a = f()"):
            self.accepts("src/a/b.cc", other + long)
        self.accepts("src/a/b.cc", "void f() {\n" + "  a();\n" * 68 + "}\n")
        odd = """void f() { g(R"({"{)", '{', "{\\"", 1'000); }\n"""
        self.refuses("src/a/b.cc", odd + "void g()" + long, "src/a/b.cc:2: a function of 71 lines")

    def test_headers(self):
        self.refuses("src/a/internal/b.h", "int a;\n", "src/a/internal/b.h:1: a header without")
        long = "#pragma once\n" + "\n" * 199 + "int a;\n"
        self.refuses("src/a/b.h", long, "src/a/b.h:200: a boundary header of 201 lines")
        self.accepts("src/a/internal/b.h", long)
        self.accepts("src/a/test_bed.h", long)
        self.accepts("src/kernels/ops.h", long)

    def test_readme(self):
        self.refuses("src/a/README.md", "\n" * 60 + "end\n", "src/a/README.md:60: 61 lines")
        self.refuses("src/sea/CMakeLists.txt", "hadal_room(sea)\n",
                     "src/sea/README.md:1: a room without README.md")

    def test_banned_words(self):
        for word in ("TO" "DO", "TO" "DO:", "FIX" "ME(soon)"):
            self.refuses("src/a/b.cc", f"// {word} now\n", "src/a/b.cc:1: unfinished work")
            self.refuses("tools/b.py", f"# {word} now\n", "tools/b.py:1: unfinished work")
        self.accepts("src/a/b.cc", "// TODO(#12): now\n")
        self.refuses("src/a/b.cc", "using namespace std;\n", "src/a/b.cc:1: using namespace std")
        self.accepts("src/a/b.cc", "using namespace std_like;\n")

    def test_walls(self):
        for what in ("...", "const std::exception& e"):
            text = "void f() {\n  try { g(); } catch (" + what + ") {}\n}\n"
            self.refuses("src/a/b.cc", text, "src/a/b.cc:2: exceptions stop only at the WALLS")
            self.accepts("src/apps/main.cc", text)
            self.accepts("tests/sim/b.cc", text)

    def test_workplace(self):
        for folder in ("/" "work/", "/" "root/"):
            self.refuses("docs/a.json", f'\n"{folder}a"\n', f"docs/a.json:2: {folder} is a path")
        self.accepts("docs/a.md", "src/work/a, ${HOME}/work/a\n")

    def test_expectations(self):
        head = "#include <gtest/gtest.h>\n\n"
        self.refuses("src/a/b_test.cc", head + "TEST(A, B) { f(); }\n",
                     "src/a/b_test.cc:3: a test that expects nothing")
        self.refuses("src/a/b_test.cc", head + "TEST_F(A, B) {\n  // EXPECT_EQ(1, 1)\n  f();\n}\n",
                     "src/a/b_test.cc:3: a test that expects nothing")
        for body in ("EXPECT_TRUE(f());", "ASSERT_EQ(f(), 1);", "if (f()) FAIL();", "CHECK(f());"):
            self.accepts("src/a/b_test.cc", head + "TEST_P(A, B) { " + body + " }\n")
        self.accepts("src/a/b_test.cc", head + "void f() { EXPECT_TRUE(g()); }\n"
                     "struct A {\n  void h() { f(); }\n};\nTEST_F(A, B) { h(); }\n")
        self.accepts("src/a/b_test.cc", head + "TEST(A, DISABLED_B) { f(); }\n")


del TreeTest  # it holds no tests of its own


if __name__ == "__main__":
    unittest.main()
