// Any text opens as a tokenizer.json or gives an error; an opened tokenizer encodes any bytes,
// gives no special token to plain text, and its detokenizer agrees with decode.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/tokenizer.h"

// The input is a tokenizer.json, and after a zero byte the text to encode.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = std::min(input.find('\0'), input.size());
  format::TokenizerSource source;
  source.tokenizer_json = input.substr(0, cut);
  if (source.tokenizer_json.empty()) return 0;
  const auto opened = tokenizer::Tokenizer::open(source);
  if (!opened) {
    CHECK(!opened.error().message.empty());
    return 0;
  }
  const tokenizer::Tokenizer& tok = **opened;
  const std::string_view text = input.substr(std::min(cut + 1, input.size()));
  for (const std::string_view sample : {text, input}) {
    const auto ids = tok.encode(sample);
    for (const int32_t id : ids) CHECK(!tok.is_special(id));
    for (const auto& list : {ids, tok.encode_with_specials(sample)}) {
      tokenizer::Detokenizer detokenizer(tok, false);
      std::string streamed;
      for (const int32_t id : list) {
        CHECK(id >= 0 && static_cast<size_t>(id) < tok.vocab_size());
        streamed += detokenizer.push(id);
        CHECK(is_utf8(streamed));
      }
      streamed += detokenizer.flush();
      CHECK(streamed == tok.decode(list, false));
    }
  }
  return 0;
}
