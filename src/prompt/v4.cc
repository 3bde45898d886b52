#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "prompt/internal/conversation.h"
#include "prompt/internal/formats.h"
#include "prompt/internal/markup_parser.h"

namespace hadal::prompt {
namespace {

constexpr std::string_view kSystem = "<｜System｜>";
constexpr std::string_view kImage = "<｜deepseek_image｜>";

constexpr std::string_view kEffortAbsolute =
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to "
    "resolve the root cause, rigorously stress-testing your logic against all potential paths, "
    "edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every intermediate step, "
    "considered alternative, and rejected hypothesis to ensure absolutely no assumption is left "
    "unchecked.\n\n";
constexpr std::string_view kEffortBeyond =
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: "
    "exhaustively decompose the problem into its most fundamental components, trace every causal "
    "chain to its root, and resolve the underlying cause rather than any surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from multiple "
    "angles and are certain that no assumption remains unchecked and no error remains "
    "undiscovered.\n\n";

// {block}, {invoke} and {parameter} stand for the words of the tags.
constexpr std::string_view kTools =
    "## Tools\n"
    "\n"
    "You have access to a set of tools to help answer the user's question. You can invoke "
    "tools by writing a \"<｜DSML｜{block}>\" block like the following:\n"
    "\n"
    "<｜DSML｜{block}>\n"
    "<｜DSML｜{invoke} name=\"$TOOL_NAME\">\n"
    "<｜DSML｜{parameter} name=\"$PARAMETER_NAME\" "
    "string=\"true|false\">$PARAMETER_VALUE</｜DSML｜{parameter}>\n"
    "...\n"
    "</｜DSML｜{invoke}>\n"
    "<｜DSML｜{invoke} name=\"$TOOL_NAME2\">\n"
    "...\n"
    "</｜DSML｜{invoke}>\n"
    "</｜DSML｜{block}>\n"
    "\n"
    "String parameters should be specified as is and set `string=\"true\"`. For all other "
    "types (numbers, booleans, arrays, objects), pass the value in JSON format and set "
    "`string=\"false\"`.\n"
    "\n"
    "If thinking_mode is enabled (triggered by <think>), you MUST output your complete "
    "reasoning inside <think>...</think> BEFORE any tool calls or final response.\n"
    "\n"
    "Otherwise, output directly after </think> with tool calls or final response.\n"
    "\n"
    "### Available Tool Schemas\n"
    "\n";
constexpr std::string_view kToolsEnd =
    "\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool "
    "calls.\n";

enum class Release { preview, v4, v41 };

std::string fill(std::string_view text, const DsmlTags& tags) {
  std::string out(text);
  for (const auto& [slot, word] : {std::pair{std::string_view("{block}"), tags.block},
                                   std::pair{std::string_view("{invoke}"), tags.invoke},
                                   std::pair{std::string_view("{parameter}"), tags.parameter}}) {
    for (size_t at; (at = out.find(slot)) != std::string::npos;) {
      out.replace(at, slot.size(), word);
    }
  }
  return out;
}

// What a reasoning prompt of V4 begins with. The preview knew "max" only.
Result<std::string> effort_text(Release release, const std::string& effort) {
  if (release != Release::v41) {
    if (effort.empty()) return std::string();
    TRY(const std::string_view level, canonical_effort(effort));
    if (level == "max") {
      return std::string(release == Release::preview ? kEffortAbsolute : kEffortBeyond);
    }
    return std::string(level == "high" && release == Release::v4 ? kEffortAbsolute : "");
  }
  int budget = 0;
  const char* end = effort.data() + effort.size();
  const auto number = std::from_chars(effort.data(), end, budget);
  if (effort == "xhigh") {
    budget = 75;
  } else if (number.ec != std::errc() || number.ptr != end) {
    TRY(const std::string_view level, canonical_effort(effort.empty() ? "high" : effort));
    budget = level == "low" ? 25 : level == "high" ? 50 : 100;
  }
  if (budget < 1 || budget > 100) {
    return invalid_argument("reasoning_effort: this is low, high, xhigh, max or 1 to 100, not '" +
                            effort + "'")
        .about("reasoning_effort");
  }
  return "Reasoning Effort: " + std::to_string(budget) +
         " (range 1-100, the higher the value, the more thorough the reasoning)\n\n";
}

// A run of messages that is one turn to the model: user and tool messages join.
struct Turn {
  Role role;
  size_t first;
  size_t count;
};

/// DeepSeek-V4 and V4.1: tool results belong to the user's turn, the effort of reasoning is asked
/// for in words, and V4.1 marks system messages with a token and lets them come at any time.
/// Reasoning of turns before the last user's is left out, unless the conversation has tools.
/// Source: encoding_dsv4.py of DeepSeek-V4-Pro (preview), of DeepSeek-V4-Flash-0731, and
/// encoding_dsv41.py of DeepSeek-V4.1-Flash.
class V4Format final : public PromptFormat {
 public:
  V4Format(std::string_view name, Release release)
      : name_(name), release_(release), tags_(release == Release::v41 ? kDsmlV41 : kDsmlV4) {}

  std::string_view name() const override { return name_; }

  Result<Rendered> render(const Chat& chat) const override {
    const bool v41 = release_ == Release::v41;
    TRY_VOID(check_conversation(chat, {.system_is_a_turn = v41}));
    if (v41) TRY_VOID(refuse_image_token(chat));
    const bool thinking = chat.thinking != Thinking::off;
    Rendered rendered;
    rendered.offers_tools = !chat.tools.empty();
    rendered.stop_specials = {std::string(kEos), std::string(kUser)};
    PieceBuilder out;
    out.special(kBos);
    TRY_VOID(append_head(out, chat, thinking));
    const std::vector<Turn> turns = split(chat);
    size_t last_input = 0;
    for (size_t t = 0; t < turns.size(); ++t) {
      if (turns[t].role != Role::assistant) last_input = t;
    }
    bool open = false;
    for (size_t t = 0; t < turns.size(); ++t) {
      const bool reasons = thinking && (!chat.tools.empty() || t >= last_input);
      if (turns[t].role == Role::assistant) {
        if (t == 0 || turns[t - 1].role == Role::assistant) append_header(out, false);
        TRY(open, append_answer(out, chat, turns[t], open));
        continue;
      }
      append_input(out, chat, turns[t]);
      if (t + 1 < turns.size() && turns[t + 1].role != Role::assistant) continue;
      append_header(out, reasons);
      open = reasons;
    }
    rendered.starts_in_reasoning = open;
    rendered.pieces = out.take();
    return rendered;
  }

  Result<Rendered> render_fim(std::string_view prefix, std::string_view suffix) const override {
    return fim_prompt(prefix, suffix);
  }

  AnswerMarkup markup(const Rendered& rendered) const override {
    return {.dsml = rendered.offers_tools ? &tags_ : nullptr};
  }

 private:
  // A picture's place cannot be typed in: V4.1's reference refuses the text of its token.
  static Status refuse_image_token(const Chat& chat) {
    for (size_t i = 0; i < chat.messages.size(); ++i) {
      for (const std::string_view field : {"content", "reasoning_content"}) {
        const Message& m = chat.messages[i];
        const std::string& text = field == "content" ? m.content : m.reasoning_content;
        if (text.find(kImage) == std::string::npos) continue;
        return invalid_argument(place(i, field) + ": the text contains " + std::string(kImage) +
                                ", which only stands for an image")
            .about(place(i, field));
      }
    }
    return {};
  }

  // Everything before the first turn.
  Status append_head(PieceBuilder& out, const Chat& chat, bool thinking) const {
    TRY(const std::string effort, effort_text(release_, chat.reasoning_effort));
    TRY(const auto schema, response_schema(chat));
    const bool v41 = release_ == Release::v41;
    const bool leads = is_system(chat.messages[0]);
    if (v41 && (thinking || leads || !chat.tools.empty() || schema)) out.special(kSystem);
    if (thinking) out.text(effort);
    if (!v41) out.text(joined_system(chat));
    if (v41 && leads) out.text(chat.messages[0].content);
    if (!chat.tools.empty()) {
      out.text("\n\n");
      out.markup(fill(kTools, tags_));
      for (const engine_api::Tool& tool : chat.tools) {
        out.text(json::dump(tool_json(tool), json::Style::spaced) + "\n");
      }
      out.text(kToolsEnd);
    }
    if (schema) append_response_format(out, *schema);
    return {};
  }

  std::vector<Turn> split(const Chat& chat) const {
    std::vector<Turn> turns;
    for (size_t i = 0; i < chat.messages.size(); ++i) {
      Role role = chat.messages[i].role;
      if (is_system(chat.messages[i])) {
        if (release_ != Release::v41 || i == 0) continue;
        role = Role::system;
      }
      if (role == Role::tool) role = Role::user;
      const bool joins = role == Role::user && !turns.empty() && turns.back().role == role &&
                         turns.back().first + turns.back().count == i;
      if (joins) {
        ++turns.back().count;
      } else {
        turns.push_back({role, i, 1});
      }
    }
    return turns;
  }

  static void append_header(PieceBuilder& out, bool reasons) {
    out.special(kAssistant);
    out.special(reasons ? kThink : kEndThink);
  }

  void append_input(PieceBuilder& out, const Chat& chat, const Turn& turn) const {
    out.special(turn.role == Role::system ? kSystem : kUser);
    const std::vector<const Message*> parts = in_call_order(chat, turn);
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i > 0) out.text("\n\n");
      const bool result = parts[i]->role == Role::tool;
      out.text(result ? "<tool_result>" + parts[i]->content + "</tool_result>" : parts[i]->content);
    }
  }

  // The turn's messages, the tool results among them in the order of the calls they answer.
  static std::vector<const Message*> in_call_order(const Chat& chat, const Turn& turn) {
    std::vector<const Message*> parts;
    for (size_t i = turn.first; i < turn.first + turn.count; ++i) {
      parts.push_back(&chat.messages[i]);
    }
    if (parts[0]->role != Role::tool) return parts;
    const auto& calls = chat.messages[turn.first - 1].tool_calls;
    const auto order = [&](const Message* m) {
      const auto call = std::ranges::find(calls, m->tool_call_id, &engine_api::ToolCall::id);
      return m->tool_call_id.empty() || call == calls.end() ? 0 : call - calls.begin();
    };
    const auto end =
        std::ranges::find_if(parts, [](const Message* m) { return m->role != Role::tool; });
    std::stable_sort(parts.begin(), end,
                     [&](const Message* a, const Message* b) { return order(a) < order(b); });
    return parts;
  }

  // An assistant's turn after a header that opened its reasoning or did not; true when the prompt
  // ends inside the reasoning.
  Result<bool> append_answer(PieceBuilder& out, const Chat& chat, const Turn& turn,
                             bool reasons) const {
    const Message& m = chat.messages[turn.first];
    if (reasons) {
      out.text(m.reasoning_content);
      if (m.prefix && m.content.empty()) return true;
      out.special(kEndThink);
    }
    out.text(m.content);
    if (!m.tool_calls.empty()) {
      const auto bad = release_ == Release::v41 ? BadArguments::refuse : BadArguments::wrap;
      TRY_VOID(append_dsml_calls(out, m, turn.first, tags_, bad));
    }
    if (!m.prefix) out.special(kEos);
    return false;
  }

  std::string_view name_;
  Release release_;
  DsmlTags tags_;
};

}  // namespace

const PromptFormat& deepseek_v4_preview() {
  static const V4Format format("deepseek-v4-preview", Release::preview);
  return format;
}

const PromptFormat& deepseek_v4() {
  static const V4Format format("deepseek-v4", Release::v4);
  return format;
}

const PromptFormat& deepseek_v41() {
  static const V4Format format("deepseek-v4.1", Release::v41);
  return format;
}

}  // namespace hadal::prompt
