#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine_api/chat.h"
#include "grammar/grammar.h"
#include "prompt/answer_parser.h"

namespace hadal::prompt {

/// A stretch of a prompt. A special piece is the text of exactly one special token and is never
/// made from a message: whatever a message says, it cannot become a special token.
struct Piece {
  bool special = false;
  std::string text;

  bool operator==(const Piece&) const = default;
};

/// A prompt ready for the tokenizer, and how to read what follows it.
struct Rendered {
  std::vector<Piece> pieces;
  bool starts_in_reasoning = false;        ///< the prompt ends inside <think>
  bool offers_tools = false;               ///< else what looks like a call is text
  bool trims_one_blank = false;            ///< one right before the answer belongs to the format
  std::vector<std::string> stop_specials;  ///< tokens that end an answer, where the vocabulary
                                           ///< has them; the checkpoint may name more

  /// All pieces as one text: what a chat template would give. For tests and people.
  std::string text() const;
};

struct AnswerMarkup;

/// How one generation of models writes a conversation. Stateless. Threading: any thread.
class PromptFormat {
 public:
  virtual ~PromptFormat() = default;

  /// "deepseek-v3": what --prompt-format takes.
  virtual std::string_view name() const = 0;

  /// The prompt for the next answer. Errors: invalid_argument with the place ("messages[2].role")
  /// where the generation gives a conversation no meaning; unsupported for what it cannot express.
  virtual Result<Rendered> render(const engine_api::Chat& chat) const = 0;

  /// The prompt for the text between `prefix` and `suffix`. Errors: unsupported where the
  /// generation has none.
  virtual Result<Rendered> render_fim(std::string_view prefix, std::string_view suffix) const;

  /// A reader for the answer to `rendered`.
  std::unique_ptr<AnswerParser> make_parser(const Rendered& rendered) const;

  /// Writes into `grammar` which answers `rendered`, the prompt of `chat`, may have: reasoning
  /// where the prompt asks for it, then `content` (any text where there is none), tool calls in its
  /// place or behind free text, or calls alone where the chat requires them. Arguments follow a
  /// strict tool's parameters, and those of other tools as far as they can be enforced. Errors:
  /// invalid_argument with the place ("tools[0].function.parameters#/properties/a"); too_large.
  Result<grammar::Expr> write_answers(grammar::Grammar& grammar, const engine_api::Chat& chat,
                                      const Rendered& rendered,
                                      std::optional<grammar::RuleId> content) const;

 private:
  virtual AnswerMarkup markup(const Rendered& rendered) const = 0;
};

/// The format of that name, or nullptr.
const PromptFormat* find_format(std::string_view name);

/// All names, oldest generation first.
std::span<const std::string_view> format_names();

/// What a checkpoint tells about its format. The strings are borrowed; any may be empty.
struct ModelFacts {
  std::string_view architecture;                    ///< "DeepseekV3ForCausalLM"
  std::string_view model_type;                      ///< "deepseek_v3"
  std::string_view chat_template;                   ///< Jinja: looked at, never run
  std::string_view name;                            ///< of the checkpoint: "DeepSeek-R1-0528"
  std::function<bool(std::string_view)> has_token;  ///< whether the vocabulary has this token
};

/// The name of the format that fits best; empty when nothing says that this is a chat model.
std::string_view detect_format(const ModelFacts& facts);

}  // namespace hadal::prompt
