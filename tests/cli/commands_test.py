"""Each command does its work, and says what is wrong with a command line."""
import json
import os
import pty
import select
import signal
import subprocess
import time
import unittest

from hadal import GOLDEN, HADAL, Test, floats, read_tensors


class CommandLine(Test):
    def test_help(self):
        self.assertIn("serve", self.ok("--help"))
        for command in ("run", "serve", "pull", "inspect", "convert", "synth", "tokenize",
                        "logits", "bench"):
            self.assertIn(f"hadal {command}", self.ok(command, "--help"))
        self.assertRegex(self.ok("--version"), r"^hadal \d")

    def test_mistakes(self):
        self.refused(64, "did you mean `hadal serve`", "srve")
        self.refused(64, "no flag --bogus", "bench", "--bogus")
        self.refused(64, "--threads", "bench", "--threads", "many")
        self.refused(66, "no-such-file", "inspect", "no-such-file.gguf")
        self.refused(64, "not an address", "serve", "--listen", "nowhere")


    def test_standard_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            for args in (("--help",), ("inspect", "demo"), ("run", "-p", "Hi")):
                done = subprocess.run([HADAL, *args], stdout=full, stderr=subprocess.PIPE,
                                      timeout=60, check=False)
                self.assertEqual(done.returncode, 71, done.stderr)


class Run(Test):
    def test_asks_once(self):
        answer = self.ok("run", "-p", "Who are you?", "--temperature", "0")
        self.assertIn("demo model", answer)
        self.assertEqual(self.ok("run", "--temperature", "0", stdin=b"Who are you?"), answer)

    def test_same_seed_same_text(self):
        def ask(seed):
            return self.ok("run", "-p", "Find me a hotel", "--temperature", "1.5", "--seed", seed)
        self.assertEqual(ask("1"), ask("1"))
        self.assertGreater(len({ask(str(seed)) for seed in range(5)}), 1)

    def test_refuses_nothing_to_say(self):
        self.refused(64, "the prompt is empty", "run", "-p", "")
        self.refused(64, "no prompt format is called", "run", "-p", "x", "--prompt-format", "latin")

    def test_conversation_in_a_terminal(self):
        master, slave = pty.openpty()
        process = subprocess.Popen([HADAL, "run", "--temperature", "0"], stdin=slave, stdout=slave,
                                   stderr=slave)
        os.close(slave)
        seen = b""

        def until(text):
            nonlocal seen
            deadline = time.monotonic() + 30
            while text not in seen and time.monotonic() < deadline:
                seen += os.read(master, 4096)
            self.assertIn(text, seen)
            seen = seen[seen.index(text) + len(text):]

        until(b">>> ")
        os.write(master, b"Who are you?\n")
        until(b"demo model")
        until(b">>> ")
        os.write(master, b"/help\n")
        until(b"/system")
        until(b">>> ")
        os.write(master, b"Who are you?\n")
        until(b"demo")
        os.write(master, b"\x04")  # while the answer is written, or at the prompt
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    os.read(master, 4096)
                except OSError:  # EIO: the other side is closed
                    break
        self.assertEqual(process.wait(5), 0)
        os.close(master)


class Checkpoints(Test):
    def test_synth_inspect_convert_logits(self):
        model = self.path("m.gguf")
        self.ok("synth", "--like", "deepseek-coder-1.3b", "--layers", "1", "--vocab", "300",
                "--dtype", "bf16", "--out", model)
        report = json.loads(self.ok("inspect", model, "--json"))
        self.assertEqual((report["problems"], report["architecture"]), ([], "llama"))
        self.ok("convert", model, "--to", "safetensors", "--out", self.path("hf"))
        self.ok("convert", self.path("hf"), "--to", "gguf", "--dtype", "bf16", "--out",
                self.path("back.gguf"))
        rows = [self.logits(m, "5,6,7") for m in (model, self.path("hf"), self.path("back.gguf"))]
        self.assertEqual(len(rows[0]), 3 * 300)
        self.assertLess(max(abs(a - b) for a, b in zip(rows[0], rows[1])), 1e-4)
        self.assertEqual(rows[0], rows[2])

    def logits(self, model, ids):
        out = self.path("logits.safetensors")
        self.ok("logits", "--model", model, "--ids", ids, "--out", out)
        tensor = read_tensors(out)["logits"]
        self.assertEqual(tensor[0], "F32")
        return floats(tensor)

    def test_logits_are_the_golden_ones(self):
        folder = os.path.join(GOLDEN, "deepseek_v4_official")
        golden = read_tensors(os.path.join(folder, "golden.safetensors"))
        with open(self.path("ids"), "w", encoding="ascii") as f:
            ids = golden["input_ids"]
            f.write(" ".join(str(int.from_bytes(ids[2][i:i + 4], "little"))
                             for i in range(0, len(ids[2]), 4)))
        out = self.path("out.safetensors")
        self.ok("logits", "--model", folder, "--ids-file", self.path("ids"), "--out", out)
        got = read_tensors(out)["logits"]
        self.assertEqual(got[1], golden["logits"][1])
        worst = max(abs(a - b) for a, b in zip(floats(got), floats(golden["logits"])))
        self.assertLessEqual(worst, 2e-3)

    def test_a_safetensors_file_has_its_companions(self):
        out = self.path("somewhere", "tiny.safetensors")
        self.ok("synth", "--like", "deepseek-coder-1.3b", "--layers", "1", "--vocab", "300",
                "--out", out)
        self.assertIn("tokenizer     ok", self.ok("inspect", out))
        self.refused(73, "another checkpoint", "synth", "--like", "deepseek-coder-1.3b",
                     "--layers", "1", "--vocab", "300", "--out",
                     self.path("somewhere", "other.safetensors"))

    def test_interrupted_synth_leaves_nothing(self):
        process = subprocess.Popen([HADAL, "synth", "--like", "deepseek-r1-distill-qwen-7b",
                                    "--out", self.path("big.gguf")], stderr=subprocess.DEVNULL)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 130)
        self.assertEqual(os.listdir(self.dir.name), [])

    def test_a_disk_that_is_too_small(self):
        self.refused(71, "are needed", "synth", "--like", "deepseek-v4-pro", "--out",
                     self.path("x.gguf"))
        self.assertEqual(os.listdir(self.dir.name), [])

    def test_mistakes(self):
        self.refused(66, "known are", "synth", "--like", "gpt-2", "--out", self.path("x.gguf"))
        self.refused(64, "--out", "synth", "--like", "deepseek-v3")
        self.refused(64, "is a .safetensors file", "convert", "demo", "--to", "gguf", "--out",
                     self.path("x.safetensors"))
        self.refused(64, "token id 2", "logits", "--ids", "1,x", "--out", self.path("l"))
        self.refused(64, "vocabulary", "logits", "--ids", "1,99999", "--out", self.path("l"))


class Measure(Test):
    def test_bench(self):
        report = json.loads(self.ok("bench", "--json", "--repeat", "1", "--decode-tokens", "4"))
        for key in ("prefill_tok_per_s", "decode_tok_per_s", "decode_read_gb_per_s",
                    "read_bandwidth_percent"):
            self.assertGreater(report[key], 0)

    def test_tokenize(self):
        ids = self.ok("tokenize", "demo", "Hello there", "--ids").strip().split(",")
        self.assertEqual(self.ok("tokenize", "demo", "Hello there", "--count").strip(),
                         str(len(ids)))
        # What a user writes is never a special token.
        self.assertNotEqual(self.ok("tokenize", "demo", "<｜User｜>", "--count").strip(), "1")
        self.assertEqual(
            self.ok("tokenize", "demo", "<｜User｜>", "--count", "--special").strip(), "1")


if __name__ == "__main__":
    unittest.main()
