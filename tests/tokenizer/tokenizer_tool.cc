// Answers the reference test line by line, so that it need not start a process for every string.
//
// usage: tokenizer_tool TOKENIZER_JSON plain|special|decode
//   plain, special: a JSON string in, a JSON array of ids out
//   decode:         a JSON array of ids in, a JSON string out
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "format/mapped_file.h"
#include "json/json.h"
#include "tokenizer/tokenizer.h"

namespace hadal {
namespace {

Result<std::string> answer(const tokenizer::Tokenizer& tok, std::string_view mode,
                           const std::string& line) {
  TRY(const json::Value in, json::parse(line, {.bytes_max = 256u << 20}));
  if (mode == "decode") {
    if (!in.is_array()) return invalid_argument("not an array: " + line.substr(0, 80));
    std::vector<int32_t> ids;
    for (const json::Value& id : in.as_array()) ids.push_back(static_cast<int32_t>(id.as_int()));
    return json::dump(tok.decode(ids, false));
  }
  if (!in.is_string()) return invalid_argument("not a string: " + line.substr(0, 80));
  std::string out = "[";
  for (const int32_t id :
       mode == "plain" ? tok.encode(in.as_string()) : tok.encode_with_specials(in.as_string())) {
    if (out.size() > 1) out += ',';
    out += std::to_string(id);
  }
  return out + "]";
}

Status run(const char* path, std::string_view mode) {
  format::TokenizerSource source;
  TRY(source.tokenizer_json, format::read_text_file(path, 128u << 20));
  TRY(const auto tok, tokenizer::Tokenizer::open(source));
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    TRY(const std::string out, answer(*tok, mode, line));
    std::cout << out << '\n';
  }
  return {};
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: tokenizer_tool TOKENIZER_JSON plain|special|decode\n";
    return 64;
  }
  if (const auto done = hadal::run(argv[1], argv[2]); !done) {
    std::cerr << done.error().to_string() << '\n';
    return 1;
  }
  return 0;
}
