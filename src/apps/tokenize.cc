// `hadal tokenize`: what a model sees of a text.

#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "apps/command.h"
#include "apps/open_model.h"
#include "base/utf8.h"
#include "json/json.h"
#include "tokenizer/tokenizer.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr size_t kTextBytesMax = size_t{1} << 30;

constexpr config::Positional kPositionals[] = {
    {.name = "MODEL", .help = "the checkpoint; \"demo\" is the built-in model"},
    {.name = "TEXT", .help = "the text; standard input when absent or \"-\"", .required = false}};
constexpr Flag kFlags[] = {
    {.name = "special",
     .kind = Kind::boolean,
     .help = "read special tokens such as <｜User｜> out of the text"},
    {.name = "bos", .kind = Kind::boolean, .help = "put the model's first token in front"},
    {.name = "ids", .kind = Kind::boolean, .help = "print only the ids, separated by commas"},
    {.name = "count", .kind = Kind::boolean, .help = "print only how many tokens there are"},
};
constexpr config::Spec kSpec{"tokenize", "Splits a text into the tokens of a model.", kPositionals,
                             kFlags,
                             "Each line shows an id and the bytes it stands for, as a JSON string; "
                             "bytes that are only a\npart of a character appear as <XX>."};

Result<std::string> read_stdin() {
  std::string text;
  char block[1 << 16];
  while (const size_t n = std::fread(block, 1, sizeof(block), stdin)) {
    if (text.size() + n > kTextBytesMax) return too_large("standard input is larger than 1 GiB");
    text.append(block, n);
  }
  return text;
}

// The bytes of one token for people: a JSON string where they are text.
std::string shown(std::string_view bytes) {
  if (is_utf8(bytes)) {
    std::string out;
    json::append_quoted(out, bytes);
    return out;
  }
  std::string out = "\"";
  while (!bytes.empty()) {
    const Utf8Char c = decode_utf8(bytes);
    if (c.valid) {
      std::string quoted;
      json::append_quoted(quoted, bytes.substr(0, c.bytes));
      out += std::string_view(quoted).substr(1, quoted.size() - 2);
      bytes.remove_prefix(c.bytes);
    } else {
      char hex[8];
      std::snprintf(hex, sizeof(hex), "<%02X>", static_cast<unsigned char>(bytes[0]));
      out += hex;
      bytes.remove_prefix(1);
    }
  }
  return out + "\"";
}

Result<int> run(const config::Flags& flags) {
  TRY(const auto checkpoint, open_checkpoint(flags.positional(0)));
  TRY(const auto source, checkpoint->tokenizer_source());
  auto opened = tokenizer::Tokenizer::open(source);
  if (!opened) return std::move(opened).error().in(checkpoint->name());
  const tokenizer::Tokenizer& tok = **opened;

  std::string text = flags.positional(1);
  if (flags.positionals().size() < 2 || text == "-") {
    TRY(text, read_stdin());
  }
  std::vector<int32_t> ids;
  if (flags.boolean("bos")) {
    const auto bos = tok.bos_id();
    if (!bos) return invalid_argument("this model has no first token").about("bos");
    ids.push_back(*bos);
  }
  if (flags.boolean("special")) {
    tok.encode_with_specials(text, ids);
  } else {
    tok.encode(text, ids);
  }
  std::string out;
  if (flags.boolean("count")) {
    out = std::to_string(ids.size());
  } else if (flags.boolean("ids")) {
    for (const int32_t id : ids) {
      if (!out.empty()) out += ',';
      out += std::to_string(id);
    }
  } else {
    for (const int32_t id : ids) {
      if (!out.empty()) out += '\n';
      out += std::to_string(id) + '\t' + shown(tok.token_bytes(id));
    }
  }
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace

extern const Command kTokenizeCommand;
const Command kTokenizeCommand{kSpec, run};

}  // namespace hadal::apps
