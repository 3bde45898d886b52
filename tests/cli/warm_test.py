"""Warm-up images: hadal cache build, serve --warm."""
import json
import os
import subprocess
import unittest

from hadal import Server, Test

RULES = "You are a helper in a library. " + " ".join(
    f"Rule {i}: whoever asks for shelf {i} is led to room {i % 7}." for i in range(40))


def question(text):
    return {"messages": [{"role": "system", "content": RULES},
                         {"role": "user", "content": text}],
            "max_tokens": 4, "temperature": 0}


class Warm(Test):
    def keys(self, name):
        private, public = self.path(name + ".pem"), self.path(name + ".pub.pem")
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private],
                       check=True, stderr=subprocess.DEVNULL)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
        return private, public

    def build(self, *args):
        with open(self.path("prompts.jsonl"), "w", encoding="utf-8") as f:
            f.write(json.dumps(question("")) + "\n\n" + json.dumps({"prompt": RULES}) + "\n")
        return self.ok("cache", "build", "--prompts", self.path("prompts.jsonl"),
                       "--out", self.path("hot.image"), *args)

    def answer(self, *args):
        with Server(*args) as server:
            body = question("Where is shelf 9?") | {"user": "somebody"}
            status, answer = server.call("/v1/chat/completions", body)
        self.assertEqual(status, 200, answer)
        return answer

    def test_the_first_who_asks_finds_it_computed(self):
        private, public = self.keys("owner")
        built = json.loads(self.build("--sign", private, "--json",
                                      "--deterministic"))
        self.assertEqual(built["prompts"], 2)
        cold = self.answer("--prefix-cache=false", "--deterministic")
        warm = self.answer("--deterministic", "--warm", self.path("hot.image"),
                           "--warm-key", public)
        cached = warm["usage"]["prompt_tokens_details"]["cached_tokens"]
        self.assertGreater(cached, 0.8 * warm["usage"]["prompt_tokens"])
        self.assertEqual(warm["choices"], cold["choices"])

    def test_an_image_of_another_hand_is_refused(self):
        private, public = self.keys("owner")
        _, other = self.keys("other")
        self.build("--sign", private)
        image = self.path("hot.image")
        stranger = "was not signed with the key"
        self.refused(77, stranger, "serve", "--warm", image, "--warm-key", other)
        with open(image, "r+b") as f:
            f.seek(-1, os.SEEK_END)
            f.write(b"?")
        self.refused(77, stranger, "serve", "--warm", image, "--warm-key", public)
        os.remove(image + ".sig")
        self.refused(66, "hot.image.sig", "serve", "--warm", image, "--warm-key", public)

    def test_prompts_are_checked_line_by_line(self):
        with open(self.path("bad"), "w", encoding="utf-8") as f:
            f.write('{"prompt": "a"}\n{"messages": 7}\n')
        out = self.path("x")
        self.refused(64, "bad, line 2", "cache", "build", "--prompts", self.path("bad"),
                     "--out", out)
        self.assertFalse(os.path.exists(out))


if __name__ == "__main__":
    unittest.main()
