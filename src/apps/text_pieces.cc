#include "apps/text_pieces.h"

#include <algorithm>

#include "format/mapped_file.h"
#include "tokenizer/tokenizer.h"

namespace hadal::apps {
namespace {
constexpr size_t kTextBytesMax = size_t{1} << 30;
}

Result<std::vector<std::vector<int32_t>>> text_pieces(const format::Checkpoint& checkpoint,
                                                      const std::string& path, int64_t piece_tokens,
                                                      int64_t tokens_max) {
  TRY(const std::string text, format::read_text_file(path, kTextBytesMax));
  TRY(const auto source, checkpoint.tokenizer_source());
  auto opened = tokenizer::Tokenizer::open(source);
  if (!opened) return std::move(opened).error().in(checkpoint.name());
  const tokenizer::Tokenizer& tok = **opened;
  std::vector<int32_t> ids;
  tok.encode_with_specials(text, ids);
  if (tokens_max > 0) ids.resize(std::min(ids.size(), static_cast<size_t>(tokens_max)));
  if (ids.size() < 2) return invalid_argument(path + " has fewer than two tokens");

  const auto bos = tok.add_bos() ? tok.bos_id() : std::nullopt;
  const auto of_text = static_cast<size_t>(piece_tokens) - (bos ? 1 : 0);
  std::vector<std::vector<int32_t>> pieces;
  for (size_t at = 0; at < ids.size(); at += of_text) {
    std::vector<int32_t>& piece = pieces.emplace_back();
    if (bos) piece.push_back(*bos);
    const auto end = std::min(ids.size(), at + of_text);
    piece.insert(piece.end(), ids.begin() + static_cast<ptrdiff_t>(at),
                 ids.begin() + static_cast<ptrdiff_t>(end));
  }
  return pieces;
}

}  // namespace hadal::apps
