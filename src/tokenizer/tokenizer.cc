#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <utility>

#include "base/utf8.h"
#include "tokenizer/internal/spec.h"
#include "tokenizer/internal/unicode.h"

namespace hadal::tokenizer {
namespace {

/// The words of one text that were encoded already, by where their ids lie in the output. Direct
/// mapped: a new word takes the place of an old one. Short texts do without.
class WordCache {
 public:
  explicit WordCache(size_t text_bytes) : entries_(text_bytes < kTextMin ? 0 : kEntries) {}

  /// The entry for `word`, or nullptr where it is not worth keeping.
  struct Entry {
    std::string_view word;
    size_t begin = 0, count = 0;
  };
  Entry* slot(std::string_view word) {
    if (entries_.empty() || word.size() < 3 || word.size() > kWordMax) return nullptr;
    return &entries_[std::hash<std::string_view>{}(word) & (kEntries - 1)];
  }

 private:
  static constexpr size_t kTextMin = 2048, kEntries = 4096, kWordMax = 64;
  std::vector<Entry> entries_;
};

}  // namespace

struct Tokenizer::Impl {
  Spec spec;
  PreTokenizer pre_tokenizer;
  // Which added tokens count, before and after normalization.
  struct Finders {
    AddedTokenFinder raw, normalized;
  };
  Finders all;
  Finders plain;  ///< those that are only characters, not markup
  std::unordered_map<std::string, int32_t> added_by_text;
  std::vector<bool> special;
  std::vector<bool> markup;

  void encode(std::string_view text, const Finders& finders, std::vector<int32_t>& out) const;
  void encode_normalized(std::string_view text, const Finders& finders,
                         std::vector<int32_t>& out) const;
  void encode_words(std::string_view text, std::vector<int32_t>& out) const;
};

namespace {

/// Single characters that were added without being special: the first DeepSeek tokenizers have a
/// dozen accented letters this way, which text does contain. Everything longer is markup and never
/// comes from plain text, whatever its "special" flag says.
bool is_plain(const AddedToken& token) {
  return !token.special && !token.text.empty() &&
         decode_utf8(token.text).bytes == token.text.size();
}

AddedTokenFinder finder(const std::vector<AddedToken>& tokens, bool nfc, bool normalized,
                        bool plain_only) {
  std::vector<AddedToken> chosen;
  for (const AddedToken& token : tokens) {
    if (token.normalized != normalized || (plain_only && !is_plain(token))) continue;
    chosen.push_back(token);
    if (normalized && nfc) chosen.back().text = to_nfc(token.text);
  }
  return AddedTokenFinder(std::move(chosen));
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<const Tokenizer>> Tokenizer::open(const format::TokenizerSource& source) {
  auto impl = std::make_unique<Impl>();
  if (!source.tokenizer_json.empty()) {
    TRY(impl->spec, read_tokenizer_json(source));
  } else {
    TRY(impl->spec, read_tokenizer_gguf(source));
  }
  const Spec& spec = impl->spec;
  impl->pre_tokenizer = PreTokenizer(std::move(impl->spec.rules));
  impl->all = {finder(spec.added, spec.nfc, false, false),
               finder(spec.added, spec.nfc, true, false)};
  impl->plain = {finder(spec.added, spec.nfc, false, true),
                 finder(spec.added, spec.nfc, true, true)};
  impl->special.resize(spec.tokens.size());
  impl->markup.resize(spec.tokens.size());
  for (const AddedToken& token : spec.added) {
    impl->added_by_text.emplace(token.text, token.id);
    if (token.special) impl->special[static_cast<size_t>(token.id)] = true;
    if (!is_plain(token)) impl->markup[static_cast<size_t>(token.id)] = true;
  }
  return std::unique_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

void Tokenizer::Impl::encode(std::string_view text, const Finders& finders,
                             std::vector<int32_t>& out) const {
  if (finders.raw.empty()) return encode_normalized(text, finders, out);
  finders.raw.split(text, [&](std::string_view part, const AddedToken* token) {
    if (token) {
      out.push_back(token->id);
    } else {
      encode_normalized(part, finders, out);
    }
  });
}

void Tokenizer::Impl::encode_normalized(std::string_view text, const Finders& finders,
                                        std::vector<int32_t>& out) const {
  std::string normal;
  if (spec.nfc && !is_nfc_quick(text)) {
    normal = to_nfc(text);
    text = normal;
  }
  if (finders.normalized.empty()) return encode_words(text, out);
  finders.normalized.split(text, [&](std::string_view part, const AddedToken* token) {
    if (token) {
      out.push_back(token->id);
    } else {
      encode_words(part, out);
    }
  });
}

void Tokenizer::Impl::encode_words(std::string_view text, std::vector<int32_t>& out) const {
  WordCache cache(text.size());
  pre_tokenizer.split(text, [&](std::string_view word) {
    WordCache::Entry* known = cache.slot(word);
    const size_t begin = out.size();
    if (known && known->word == word) {
      out.resize(begin + known->count);
      std::copy_n(out.begin() + static_cast<std::ptrdiff_t>(known->begin), known->count,
                  out.begin() + static_cast<std::ptrdiff_t>(begin));
      return;
    }
    spec.bpe.encode_word(spec.tokens, word, out);
    if (known) *known = {word, begin, out.size() - begin};
  });
}

void Tokenizer::encode(std::string_view text, std::vector<int32_t>& out) const {
  impl_->encode(text, impl_->plain, out);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> out;
  encode(text, out);
  return out;
}

void Tokenizer::encode_prompt(std::span<const Piece> pieces, std::vector<int32_t>& out) const {
  std::string text;
  for (const Piece& piece : pieces) {
    if (piece.special) {
      const auto it = impl_->added_by_text.find(std::string(piece.text));
      if (it != impl_->added_by_text.end()) {
        encode(text, out);
        text.clear();
        out.push_back(it->second);
        continue;
      }
    }
    text += piece.text;
  }
  encode(text, out);
}

std::vector<int32_t> Tokenizer::encode_prompt(std::span<const Piece> pieces) const {
  std::vector<int32_t> out;
  encode_prompt(pieces, out);
  return out;
}

void Tokenizer::encode_with_specials(std::string_view text, std::vector<int32_t>& out) const {
  impl_->encode(text, impl_->all, out);
}

std::vector<int32_t> Tokenizer::encode_with_specials(std::string_view text) const {
  std::vector<int32_t> out;
  encode_with_specials(text, out);
  return out;
}

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
  const auto it = impl_->added_by_text.find(std::string(token));
  if (it != impl_->added_by_text.end()) return it->second;
  const int32_t id = impl_->spec.tokens.find(token);
  return id == kNoToken ? std::nullopt : std::optional<int32_t>(id);
}

std::string_view Tokenizer::token_bytes(int32_t id) const { return impl_->spec.tokens.bytes(id); }

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < impl_->special.size() &&
         impl_->special[static_cast<size_t>(id)];
}

bool Tokenizer::is_markup(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < impl_->markup.size() &&
         impl_->markup[static_cast<size_t>(id)];
}

size_t Tokenizer::vocab_size() const { return impl_->spec.tokens.size(); }
std::optional<int32_t> Tokenizer::bos_id() const { return impl_->spec.bos_id; }
std::optional<int32_t> Tokenizer::eos_id() const { return impl_->spec.eos_id; }
bool Tokenizer::add_bos() const { return impl_->spec.add_bos; }

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!skip_special || !is_special(id)) bytes += token_bytes(id);
  }
  return is_utf8(bytes) ? bytes : to_valid_utf8(bytes);
}

}  // namespace hadal::tokenizer
