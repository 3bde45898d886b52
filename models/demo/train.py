#!/usr/bin/env python3
"""Trains hadal's demo model: a small chat model with the architecture of DeepSeek-V3.

    python3 train.py --train train.jsonl.gz --valid valid.jsonl.gz --out checkpoint

Data: dialogues, one JSON object a line, {"messages": [{"role", "content"}, ...]} (Schema-Guided Dialogue, CC BY-SA 4.0), and
the hand-written small talk beside this file. Result: a checkpoint in the published form (config, tokenizer, bf16
safetensors), golden.safetensors with reference logits, and report.json.
Needs one GPU with bf16, torch, tokenizers, safetensors and numpy; transformers checks the exported checkpoint.
"""
import argparse
import collections
import copy
import gzip
import itertools
import json
import math
import multiprocessing
import os
import random
import time

import numpy as np
import torch
import torch.nn.functional as F

from model import CONFIG, Model

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
MARKERS = [USER, ASSISTANT] + [f"<｜tool▁{w}｜>" for w in (
    "calls▁begin", "calls▁end", "call▁begin", "call▁end", "outputs▁begin", "outputs▁end", "output▁begin", "output▁end",
    "sep")] + ["<think>", "</think>"]
# The splits of DeepSeek-V3's tokenizer: numbers by three, CJK runs, then words, punctuation and space.
SPLITS = ["\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
          "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
          "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]
# DeepSeek-V3's prompt format as its checkpoint writes it (MIT licence), tool calls included.
CHAT_TEMPLATE = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='', is_first_sp=true) %}"
    "{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}"
    "{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}"
    "{% set ns.system_prompt = ns.system_prompt + '\n\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}"
    "{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}"
    "{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}"
    "{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}"
    "{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<｜Assistant｜><｜tool▁calls▁begin｜>"
    "<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\n' + '```json' + '\n' + "
    "tool['function']['arguments'] + '\n' + '```' + '<｜tool▁call▁end｜>'}}{%- set ns.is_first = true -%}{%- else %}"
    "{{'\n' + '<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\n' + '```json' + "
    "'\n' + tool['function']['arguments'] + '\n' + '```' + '<｜tool▁call▁end｜>'}}{{'<｜tool▁calls▁end｜>"
    "<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor %}{%- endif %}"
    "{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}"
    "{{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- set ns.is_tool = false -%}{%- else %}"
    "{{'<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endif %}"
    "{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}"
    "{{'<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>'}}"
    "{%- set ns.is_output_first = false %}{%- else %}{{'\n<｜tool▁output▁begin｜>' + message['content'] + "
    "'<｜tool▁output▁end｜>'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<｜tool▁outputs▁end｜>'}}"
    "{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}{% endif %}")
SOURCE = {}  # what epoch_rows works on: set before its processes are forked
NOT_TRAINED, USERS, ASSISTANTS = 0, 1, 2  # whose token it is, and so how much its prediction counts
LOSS_WEIGHT = [0.0, 0.3, 1.0]
GOLDEN_CHAT = [("system", "You are a helpful assistant."), ("user", "Hi, I am looking for a restaurant in San Jose."),
               ("assistant", "What kind of food would you like?"),
               ("user", "Something Italian and not too expensive, please. We are four people and would like to eat at 7 pm.")]
PROBES = [[("user", "Hello!")], [("user", "Who are you?")], [("user", "What is the capital of France?")],
          [("user", "I am looking for a place to eat in San Francisco.")],
          [("system", "You are a helpful assistant."), ("user", "Can you find me a flight from Seattle to New York?")],
          [("user", "Write me a poem about autumn.")], GOLDEN_CHAT]


# ------------------------------------------------------------------------------------------------ data

def read_dialogues(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        return [[(m["role"], m["content"]) for m in json.loads(line)["messages"]] for line in f]


def careless(text, rng):
    """As people type: now and then without capitals or the final mark."""
    if rng.random() < 0.25:
        text = text.lower()
    return text.rstrip("?!.") or text if rng.random() < 0.25 else text


def small_talk(topics, rng, exchanges):
    turns = []
    for topic in rng.choices(topics, [t["weight"] for t in topics], k=exchanges):
        names = dict(zip("abcde", rng.choice(topic.get("fill", [[]]))))
        turns += [("user", careless(rng.choice(topic["ask"]).format(**names), rng)),
                  ("assistant", rng.choice(topic["answer"]).format(**names))]
    return turns


def train_tokenizer(texts):
    """A byte-level BPE in the form of DeepSeek-V3's: three special tokens first, the chat's markers last."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(s), "isolated", invert=False) for s in SPLITS]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)])
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=True, trim_offsets=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=True, trim_offsets=True, use_regex=True)
    trainer = trainers.BpeTrainer(vocab_size=CONFIG["vocab_size"] - len(MARKERS), special_tokens=[BOS, EOS, PAD],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(m, normalized=True, special=False) for m in MARKERS])
    assert [tokenizer.token_to_id(t) for t in (BOS, EOS, PAD)] == [0, 1, 2]
    assert tokenizer.get_vocab_size() == CONFIG["vocab_size"]
    return tokenizer


class Coder:
    """Writes conversations in the V3 prompt format; remembers the tokens of every text."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.user, self.assistant = tokenizer.token_to_id(USER), tokenizer.token_to_id(ASSISTANT)
        self.known = {}

    def learn(self, texts):
        texts = list(set(texts) - self.known.keys())
        for text, e in zip(texts, self.tokenizer.encode_batch(texts, add_special_tokens=False)):
            self.known[text] = e.ids

    def text(self, text):
        if text not in self.known:
            self.learn([text])
        return self.known[text]

    def encode(self, turns):
        """Token ids, and whose each one is. Shapes: both [tokens]."""
        ids, whose = [0], [NOT_TRAINED]
        for role, text in turns:
            new = self.text(text)
            if role == "system":
                ids, whose = ids + new, whose + [NOT_TRAINED] * len(new)
            elif role == "user":
                ids, whose = ids + [self.user] + new, whose + [USERS] * (len(new) + 1)
            else:  # the prompt ends with the assistant's marker: nobody has to predict it
                ids, whose = ids + [self.assistant] + new + [1], whose + [NOT_TRAINED] + [ASSISTANTS] * (len(new) + 1)
        return np.array(ids, dtype=np.int16), np.array(whose, dtype=np.uint8)


def epoch_rows(epoch):
    """One epoch as rows of whole conversations. Shapes: ids and whose [rows, length + 1]."""
    dialogues, talk, coder, length = SOURCE["dialogues"], SOURCE["talk"], SOURCE["coder"], SOURCE["length"]
    rng = random.Random(epoch)
    order = rng.sample(dialogues, len(dialogues))
    chats = []
    while order:
        turns = order.pop()
        while order and rng.random() < 0.08:  # long conversations: another request in the same chat
            turns = turns + order.pop()
        if rng.random() < 0.05:
            turns = small_talk(talk["topics"], rng, 1) + turns
        chats.append(turns)
    chats += [small_talk(talk["topics"], rng, rng.choice((1, 1, 2, 3))) for _ in range(len(dialogues) // 7)]
    chats = [[("system", rng.choice(talk["system"]))] + c if rng.random() < 0.4 else c for c in chats]
    rng.shuffle(chats)
    rows, free = [], 0
    for ids, whose in map(coder.encode, chats):
        ids, whose = ids[:length + 1], whose[:length + 1]
        if len(ids) > free:
            rows.append((np.full(length + 1, 2, np.int16), np.zeros(length + 1, np.uint8)))
            free = length + 1
        at = length + 1 - free
        rows[-1][0][at:at + len(ids)] = ids
        rows[-1][1][at:at + len(ids)] = whose
        free -= len(ids)
    rng.shuffle(rows)
    return tuple(np.stack(part) for part in zip(*rows))


def epochs_ahead(ahead=6):
    """The epochs without end, made ahead of time by other processes: the GPU must not wait for them."""
    with multiprocessing.get_context("fork").Pool(ahead) as pool:
        waiting = collections.deque(pool.apply_async(epoch_rows, (i,)) for i in range(ahead))
        for i in itertools.count(ahead):
            rows = waiting.popleft().get()
            waiting.append(pool.apply_async(epoch_rows, (i,)))
            yield tuple(torch.from_numpy(part) for part in rows)


# ------------------------------------------------------------------------------------------------ optimiser

class Muon:
    """Momentum with orthogonalised updates for matrices; those of one shape are updated together.

    Source: Jordan et al., Muon (2024), the quintic Newton-Schulz iteration; update size as in Liu et al. 2025
    (arXiv 2502.16982), so that one learning rate suits AdamW too.
    """

    def __init__(self, params, weight_decay):
        self.weight_decay, self.groups = weight_decay, {}
        for p in params:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.momentum = {s: torch.zeros(len(g), *s, device=g[0].device) for s, g in self.groups.items()}

    @torch.no_grad()
    def step(self, lr):
        for shape, params in self.groups.items():
            grad, m = torch.stack([p.grad for p in params]).float(), self.momentum[shape]
            m.lerp_(grad, 0.05)
            x = grad.lerp(m, 0.95).bfloat16().view(-1, *shape[-2:])
            if tall := shape[-2] > shape[-1]:
                x = x.mT
            x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
            for _ in range(5):
                a = x @ x.mT
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            x = (x.mT if tall else x).reshape(len(params), *shape).float() * (0.2 * max(shape[-2:]) ** 0.5)
            torch._foreach_mul_(params, 1 - lr * self.weight_decay)
            torch._foreach_add_(params, list(x.unbind(0)), alpha=-lr)


# ------------------------------------------------------------------------------------------------ use

@torch.no_grad()
def perplexity(model, encoded, device):
    """On whole conversations, over all tokens that count and over the assistant's alone."""
    model.eval()
    sums, batch = torch.zeros(4, dtype=torch.float64), []
    for i, example in enumerate(sorted(encoded, key=lambda e: len(e[0]))):
        batch.append(example)
        if i + 1 < len(encoded) and len(example[0]) * len(batch) < 65536:
            continue
        ids = torch.full((len(batch), len(example[0])), 2)
        whose = torch.zeros(ids.shape, dtype=torch.uint8)
        for row, (a, b) in enumerate(batch):
            ids[row, :len(a)], whose[row, :len(a)] = torch.from_numpy(a.astype(np.int64)), torch.from_numpy(b)
        batch, ids, whose = [], ids.to(device), whose.to(device)[:, 1:]
        with torch.autocast(device, torch.bfloat16):
            logits = model(ids)[0][:, :-1]
        loss = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(whose.shape)
        sums += torch.stack([loss[whose > 0].sum(), (whose > 0).sum(), loss[whose == ASSISTANTS].sum(),
                             (whose == ASSISTANTS).sum()]).double().cpu()
    model.train()
    return math.exp(sums[0] / sums[1]), math.exp(sums[2] / sums[3])


@torch.no_grad()
def answer(model, coder, turns, device, temperature=0.0, tokens_max=60):
    ids = list(coder.encode(turns)[0]) + [coder.assistant]
    start = len(ids)
    while len(ids) - start < tokens_max and (len(ids) == start or ids[-1] != 1):
        with torch.autocast(device, torch.bfloat16):
            logits = model(torch.tensor([ids], device=device).long())[0][0, -1].float()
        ids.append(int(torch.multinomial((logits / temperature).softmax(-1), 1) if temperature else logits.argmax()))
    return coder.tokenizer.decode([int(i) for i in ids[start:]])


def export(model, tokenizer, out):
    """Writes the checkpoint under the published names, bf16, in two files."""
    from safetensors.torch import save_file
    tensors = {}
    for name, value in model.state_dict().items():
        stem, _, last = name.rpartition(".")
        if last in ("w_gate", "w_up", "w_down"):
            for i, w in enumerate(value):
                tensors[f"model.{stem}.experts.{i}.{last[2:]}_proj.weight"] = w.t() if last == "w_down" else w
        elif last == "gate":
            tensors[f"model.{name}.weight"] = value
        elif last == "bias":
            tensors[f"model.{stem}.gate.e_score_correction_bias"] = value
        else:
            tensors[name if name.startswith("lm_head") else f"model.{name}"] = value
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    shards = {f: {} for f in files}
    for name in sorted(tensors):
        late = name.startswith("model.layers.") and int(name.split(".")[2]) >= CONFIG["num_hidden_layers"] // 2
        dtype = torch.float32 if name.endswith("e_score_correction_bias") else torch.bfloat16
        shards[files[late or name.startswith("lm_head")]][name] = tensors[name].detach().to(dtype).contiguous().cpu()
    for f, shard in shards.items():
        save_file(shard, f"{out}/{f}", metadata={"format": "pt"})

    def write(name, value):
        with open(f"{out}/{name}", "w", encoding="utf-8") as f:
            json.dump(value, f, indent=1, ensure_ascii=False)

    size = sum(t.numel() * t.element_size() for shard in shards.values() for t in shard.values())
    write("model.safetensors.index.json", {"metadata": {"total_size": size},
                                           "weight_map": {n: f for f, shard in shards.items() for n in sorted(shard)}})
    write("config.json", CONFIG)
    write("generation_config.json", {"_from_model_config": True, "bos_token_id": 0, "eos_token_id": 1, "do_sample": True,
                                     "temperature": 0.6, "top_p": 0.95})
    write("tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": BOS, "eos_token": EOS, "pad_token": PAD, "unk_token": None,
        "clean_up_tokenization_spaces": False, "model_max_length": CONFIG["max_position_embeddings"],
        "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT_TEMPLATE})
    tokenizer.save(f"{out}/tokenizer.json")


@torch.no_grad()
def write_golden(model, coder, out):
    """Reference logits of the exported files in float32; returns how far the training code is from them."""
    import transformers
    from safetensors.torch import save_file
    reference = transformers.AutoModelForCausalLM.from_pretrained(
        out, dtype=torch.float32, attn_implementation="eager").eval()
    tokens = [int(i) for i in coder.encode(GOLDEN_CHAT)[0]] + [coder.assistant]
    prompt = len(tokens)
    for _ in range(24):
        logits = reference(torch.tensor([tokens]), use_cache=False).logits[0]
        tokens.append(int(logits[-1].argmax()))
    logits = reference(torch.tensor([tokens]), use_cache=False).logits[0].float()
    out_cached = reference(torch.tensor([tokens[:prompt]]), use_cache=True)
    agrees = 0
    for token in tokens[prompt:]:
        agrees += int(out_cached.logits[0, -1].argmax()) == token
        out_cached = reference(torch.tensor([[token]]), past_key_values=out_cached.past_key_values, use_cache=True)
    rounded = copy.deepcopy(model).cpu().float().eval()
    for name, value in rounded.state_dict().items():
        if not name.endswith("mlp.bias"):
            value.copy_(value.bfloat16().float())
    ours = rounded(torch.tensor([tokens]))[0][0]
    save_file({"input_ids": torch.tensor(tokens, dtype=torch.int32), "logits": logits.contiguous()},
              f"{out}/golden.safetensors")
    with open(f"{out}/golden.json", "w", encoding="utf-8") as f:
        json.dump({"reference": f"transformers {transformers.__version__}, torch {torch.__version__}, float32, eager "
                   "attention, no cache", "prompt_len": prompt, "greedy": tokens[prompt:],
                   "greedy_cached_agrees": agrees}, f, indent=1)
    return float((logits - ours).abs().max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--valid", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--small-talk", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "small_talk.json"))
    parser.add_argument("--minutes", type=float, default=1.0, help="of training proper; much more overfits")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=16, help="of 2048 tokens, a step")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--dropout", type=float, default=0.2)
    args = parser.parse_args()
    torch.manual_seed(1)
    rng, device, length = random.Random(1), args.device, CONFIG["max_position_embeddings"]
    began = time.time()
    train, valid = read_dialogues(args.train), read_dialogues(args.valid)
    with open(args.small_talk, encoding="utf-8") as f:
        talk = json.load(f)
    said = [text for d in train for _, text in d]
    hand_written = [t for _ in range(3000) for _, t in small_talk(talk["topics"], rng, 1)] + talk["system"] * 20
    tokenizer = train_tokenizer(said + hand_written)
    coder = Coder(tokenizer)
    coder.learn(said + hand_written + [text for d in valid for _, text in d])
    held_out = [coder.encode(d) for d in valid]
    os.makedirs(args.out, exist_ok=True)
    print(f"{time.time() - began:.0f} s: {sum(len(coder.encode(d)[0]) for d in train)} training tokens, "
          f"{sum(len(i) for i, _ in held_out)} held out", flush=True)

    SOURCE.update(dialogues=train, talk=talk, coder=coder, length=length)
    epochs = epochs_ahead()
    first = next(epochs)  # forks before the device is touched
    model = Model(CONFIG, args.dropout).to(device)
    matrices = [p for n, p in model.named_parameters() if p.dim() > 1 and not n.endswith(("gate", "lm_head.weight",
                                                                                            "embed_tokens.weight"))]
    others = [p for p in model.parameters() if all(p is not m for m in matrices)]
    muon = Muon(matrices, weight_decay=0.1)
    adam = torch.optim.AdamW([{"params": [p for p in others if p.dim() > 1], "weight_decay": 0.1},
                              {"params": [p for p in others if p.dim() == 1], "weight_decay": 0.0}], betas=(0.9, 0.95))
    loss_weight = torch.tensor(LOSS_WEIGHT, device=device)

    def loss_of(rows, whose):
        with torch.autocast(device, torch.bfloat16):
            logits, loads = model(rows[:, :-1])
        w = loss_weight[whose[:, 1:]].flatten()
        loss = F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
        return (loss * w).sum() / w.sum(), loads

    fast = torch.compile(loss_of) if device == "cuda" else loss_of
    for attempt in (fast, loss_of):
        try:  # compiles forwards and backwards; without a compiler training is merely slower
            attempt(*(part[:args.rows].to(device).long() for part in first))[0].backward()
            fast = attempt
            break
        except Exception as e:  # pylint: disable=broad-except
            print(f"not compiled: {str(e)[:2000]}", flush=True)
    start, step, epoch, tokens, history, marks, done = time.time(), 0, 0, 0, [], [0.25, 0.5, 0.7, 0.85], 0.0
    print(f"{start - began:.0f} s: training starts", flush=True)
    for rows in itertools.chain([first], epochs):
        ids, whose = (part.to(device) for part in rows)
        for at in range(0, len(ids) - args.rows + 1, args.rows):
            done = (time.time() - start) / (60 * args.minutes)
            if done >= 1:
                break
            lr = args.lr * min(1, (step + 1) / 150) * (1 if done < 0.3 else max(0.01, (1 - done) / 0.7))
            model.zero_grad(set_to_none=True)
            loss, loads = fast(ids[at:at + args.rows].long(), whose[at:at + args.rows].long())
            loss.backward()
            muon.step(lr)
            for group in adam.param_groups:
                group["lr"] = lr
            adam.step()
            model.balance(loads.detach(), 1e-3 if done < 0.9 else 0.0)
            step, tokens = step + 1, tokens + args.rows * length
            if step % 10 == 0:
                value = loss.item()  # waits for the device, so that the clock is honest
                if step % 250 == 0:
                    print(f"step {step} epoch {epoch} loss {value:.3f} {tokens / (time.time() - start):.0f} tokens/s "
                          f"{100 * done:.0f}%", flush=True)
        epoch += 1
        if done >= 1:
            break
        if marks and done >= marks[0] and done < 0.95:
            marks = [m for m in marks if m > done]
            pause = time.time()
            history.append((epoch, *perplexity(model, held_out, device)))
            export(model, tokenizer, args.out)  # something usable, whatever comes
            print("epoch %d: held-out perplexity %.3f, of the assistant %.3f" % history[-1], flush=True)
            start += time.time() - pause

    history.append((epoch, *perplexity(model, held_out, device)))
    export(model, tokenizer, args.out)
    model.eval()
    report = {"parameters": sum(t.numel() for t in model.state_dict().values()), "steps": step, "epochs": epoch,
              "tokens": tokens, "held_out_perplexity": history[-1][1], "held_out_perplexity_assistant": history[-1][2],
              "history": history, "device": torch.cuda.get_device_name() if device == "cuda" else device,
              "samples": [{"turns": p, "greedy": answer(model, coder, p, device),
                           "temperature_0.7": answer(model, coder, p, device, 0.7)} for p in PROBES]}
    for last in (False, True):
        with open(f"{args.out}/report.json", "w", encoding="utf-8") as f:
            json.dump(report, f, indent=1, ensure_ascii=False)
        if not last:
            report["max_abs_logit_difference_to_transformers"] = write_golden(model, coder, args.out)
    print(json.dumps(report, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
