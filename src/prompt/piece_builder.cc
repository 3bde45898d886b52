#include "prompt/internal/piece_builder.h"

#include <algorithm>

namespace hadal::prompt {
namespace {

constexpr std::string_view kOpen = "<｜";
constexpr std::string_view kClose = "｜>";

// How many bytes of a special token `text` begins with; 0 when with none.
size_t special_prefix(std::string_view text) {
  for (const std::string_view token : {kThink, kEndThink, kDsml, kEot}) {
    if (text.starts_with(token)) return token.size();
  }
  // "<｜DSML｜" begins a tag, not a token of this shape.
  if (!text.starts_with(kOpen) || text.substr(1).starts_with(kDsml)) return 0;
  const size_t end = text.find(kClose, kOpen.size());
  return end == std::string_view::npos ? 0 : end + kClose.size();
}

}  // namespace

void PieceBuilder::text(std::string_view text) {
  if (text.empty()) return;
  if (!pieces_.empty() && !pieces_.back().special) {
    pieces_.back().text += text;
  } else {
    pieces_.push_back({false, std::string(text)});
  }
}

void PieceBuilder::markup(std::string_view trusted) {
  size_t begin = 0;
  for (size_t i = 0; i < trusted.size();) {
    const size_t length = special_prefix(trusted.substr(i));
    if (length == 0) {
      ++i;
      continue;
    }
    text(trusted.substr(begin, i - begin));
    special(trusted.substr(i, length));
    begin = i += length;
  }
  text(trusted.substr(begin));
}

}  // namespace hadal::prompt
