"""`hadal quantize` and `hadal imatrix` as a person uses them."""
import json
import os
import signal
import subprocess
import time
import unittest

from hadal import DEMO, HADAL, ROOT, Test, run

TEXT = os.path.join(ROOT, "models", "demo", "dialogues.text")


class Quantize(Test):
    def quantize(self, *args):
        return json.loads(self.ok("quantize", *args, "--json"))

    def test_report_of_what_it_costs(self):
        out = self.path("q.gguf")
        r = self.quantize("demo", "--type", "q4_k_m", "--out", out, "--allow-requantize",
                          "--report", TEXT, "--report-tokens", "1000")
        self.assertEqual(r["file_bytes"], os.path.getsize(out))
        self.assertLess(r["file_bytes"], 0.7 * r["source_bytes"])
        self.assertTrue(4.5 < r["bits_per_weight"] < 6)
        self.assertEqual(r["tensors"], sum(t["tensors"] for t in r["types"].values()))
        self.assertGreater(r["report"]["tokens"], 900)
        self.assertTrue(0.0001 < r["report"]["kl_mean"] < 0.1, r["report"])
        self.assertGreater(r["report"]["same_top_share"], 0.85)
        self.assertIn("demo model", self.ok("run", out, "-p", "Who are you?", "--temperature", "0"))

    def test_importance_matrix(self):
        matrix, out = self.path("i.gguf"), self.path("q.gguf")
        r = json.loads(self.ok("imatrix", "demo", "--text", TEXT, "--out", matrix, "--tokens-max",
                               "1500", "--json"))
        self.assertGreater(r["entries"], 50)
        self.assertTrue(1500 <= r["tokens"] < 1520)
        self.refused(73, "is there already", "imatrix", "demo", "--text", TEXT, "--out", matrix)
        plain = self.path("p.gguf")
        for path, more in ((plain, ()), (out, ("--imatrix", matrix))):
            self.quantize("demo", "--type", "q4_0", "--allow-requantize", "--out", path, *more)
        with open(plain, "rb") as a, open(out, "rb") as b:
            self.assertNotEqual(a.read()[-100_000:], b.read()[-100_000:])
        self.refused(65, "not an importance matrix", "quantize", "demo", "--out",
                     self.path("x.gguf"), "--imatrix", DEMO)

    def test_overrides(self):
        r = self.quantize("demo", "--type", "iq4_nl", "--allow-requantize", "--out",
                          self.path("q.gguf"), "--tensor-type", r"blk\.[0-2]\.ffn_down=q6_k",
                          "--tensor-type", "ffn_=mxfp4")
        self.assertGreater(r["types"]["mxfp4"]["tensors"], 5)
        self.refused(64, "matches no matrix", "quantize", "demo", "--allow-requantize", "--out",
                     self.path("x.gguf"), "--tensor-type", "ffn_dwn=q8_0")

    def test_refusals(self):
        out = self.path("q.gguf")
        self.refused(64, "--allow-requantize", "quantize", "demo", "--type", "q4_0", "--out", out)
        self.refused(64, "does not end in .gguf", "quantize", "demo", "--out", self.path("x.bin"))
        self.refused(64, "q4_k_m", "quantize", "demo", "--type", "q3_k", "--out", out)
        self.refused(66, "nowhere", "quantize", "demo", "--type", "q8_0", "--out", out, "--report",
                     self.path("nowhere.txt"))
        self.assertEqual(os.listdir(self.dir.name), [])
        self.quantize("demo", "--type", "q8_0", "--out", out)
        before = os.stat(out).st_mtime_ns
        self.refused(73, "--force", "quantize", "demo", "--type", "q8_0", "--out", out)
        self.assertEqual(os.stat(out).st_mtime_ns, before)
        self.quantize("demo", "--type", "q8_0", "--out", out, "--force")
        self.assertEqual(os.listdir(self.dir.name), ["q.gguf"])

    def test_interrupted_it_leaves_nothing(self):
        big, out = self.path("big.gguf"), self.path("q.gguf")
        self.ok("synth", "--like", "deepseek-coder-1.3b", "--layers", "3", "--dtype", "bf16",
                "--out", big)
        process = subprocess.Popen([HADAL, "quantize", big, "--type", "q4_k", "--threads", "1",
                                    "--out", out], stderr=subprocess.DEVNULL)
        # Not before it writes, not after it is done: it takes seconds.
        for _ in range(1000):
            if len(os.listdir(self.dir.name)) > 1:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 130)
        self.assertEqual(os.listdir(self.dir.name), ["big.gguf"])

    def test_help_names_every_type(self):
        text = run("quantize", "--help").stdout.decode()
        for name in ("q8_0", "q4_0", "q4_k_m", "q5_k_m", "q6_k", "iq4_nl", "mxfp4"):
            self.assertIn(name, text)


if __name__ == "__main__":
    unittest.main()
