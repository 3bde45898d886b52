"""Damaged and strange checkpoints: a message, an exit code, no crash."""
import json
import os
import random
import shutil
import struct
import unittest

from hadal import DEMO, GOLDEN, Test, run

# What a bad file may give: usage, data, no input, unsupported.
REFUSALS = (64, 65, 66, 69)


class DamagedFiles(Test):
    def damaged(self, name, data):
        """Nothing may crash on it; an exit of 0 is fine where the damage is in a weight."""
        path = self.path(name)
        with open(path, "wb") as f:
            f.write(data)
        for args in (("inspect", path), ("run", path, "-p", "hi", "--max-tokens", "1")):
            done = run(*args)
            self.assertIn(done.returncode, (0, *REFUSALS), done.stderr[-500:])
        return done

    def test_gguf_cut_anywhere(self):
        with open(DEMO, "rb") as f:
            whole = f.read()
        for size in (0, 3, 4, 8, 23, 24, 100, 5000, 200_000, len(whole) // 2, len(whole) - 1):
            done = self.damaged("cut.gguf", whole[:size])
            self.assertEqual(done.returncode, 65, f"{size}: {done.stderr}")

    def test_gguf_with_wrong_bytes(self):
        with open(DEMO, "rb") as f:
            whole = bytearray(f.read())
        rng = random.Random(1)
        for _ in range(40):
            bad = bytearray(whole)
            for _ in range(rng.randint(1, 8)):
                bad[rng.randrange(4, 250_000)] = rng.randrange(256)
            self.damaged("bad.gguf", bytes(bad))

    def test_safetensors_cut_and_wrong(self):
        folder = self.path("m")
        shutil.copytree(os.path.join(GOLDEN, "llama"), folder)
        weights = os.path.join(folder, "model.safetensors")
        with open(weights, "rb") as f:
            whole = f.read()
        rng = random.Random(2)
        variants = [whole[:size] for size in (0, 7, 8, 50, len(whole) - 1)]
        variants += [struct.pack("<Q", 1 << 60) + whole[8:], whole + b"tail"]
        for _ in range(30):
            bad = bytearray(whole)
            bad[rng.randrange(2000)] ^= 1 << rng.randrange(8)
            variants.append(bytes(bad))
        for i, data in enumerate(variants):
            with open(weights, "wb") as f:
                f.write(data)
            done = run("logits", "--model", folder, "--ids", "1,2", "--out", self.path("o"))
            self.assertIn(done.returncode, (0, *REFUSALS), done.stderr)
            if i < 7:
                self.assertEqual(done.returncode, 65, done.stderr)

    def test_configuration_at_fault(self):
        with open(os.path.join(GOLDEN, "deepseek_v3", "config.json"), encoding="utf-8") as f:
            good = json.load(f)
        cases = [
            ({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}, 69, "not known"),
            ({"hidden_size": -1}, 65, "hidden_size"),
            ({"hidden_size": 1 << 62}, 65, "hidden_size"),
            ({"num_hidden_layers": 1e300}, 65, "num_hidden_layers"),
            ({"num_hidden_layers": 9}, 65, r"model\.layers\.4"),
            ({"vocab_size": 385}, 65, "embed_tokens"),
            ({"topk_group": 0}, 65, "topk_group"),
            ({"rope_scaling": {"type": "yarn", "factor": 0}}, 65, "rope|factor"),
        ]
        for change, code, about in cases:
            folder = self.path("m")
            shutil.copytree(os.path.join(GOLDEN, "deepseek_v3"), folder)
            with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
                json.dump({**good, **change}, f)
            self.refused(code, about, "logits", "--model", folder, "--ids", "1", "--out",
                         self.path("o"))
            shutil.rmtree(folder)

    def test_configuration_that_is_no_json(self):
        folder = self.path("m")
        shutil.copytree(os.path.join(GOLDEN, "llama"), folder)
        for text in (b"", b"{", b"[" * 100_000, b'{"a": 1e999}', b'{"a": "\xff"}', b"null"):
            with open(os.path.join(folder, "config.json"), "wb") as f:
                f.write(text)
            done = run("inspect", folder)
            self.assertIn(done.returncode, (65, 69), (text[:20], done.stderr))

    def test_missing_shard(self):
        folder = self.path("m")
        shutil.copytree(os.path.join(GOLDEN, "llama"), folder)
        index = {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
        with open(os.path.join(folder, "model.safetensors.index.json"), "w",
                  encoding="utf-8") as f:
            json.dump(index, f)
        self.refused(66, "model-00002-of-00002", "inspect", folder)

    def test_several_gguf_files(self):
        for name in ("a.gguf", "b.gguf"):
            with open(self.path(name), "wb"):
                pass
        shutil.copy(os.path.join(GOLDEN, "llama", "config.json"), self.dir.name)
        self.refused(64, "holds 2 .gguf files", "inspect", self.dir.name)


if __name__ == "__main__":
    unittest.main()
