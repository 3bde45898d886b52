#include "prompt/internal/markup_parser.h"

#include <algorithm>
#include <span>
#include <utility>

#include "json/json.h"

namespace hadal::prompt {
namespace {

using engine_api::Delta;

// What a marker does where it counts.
enum class Action { begin_reasoning, end_reasoning, begin_calls, begin_call, end_call, end_calls };

struct Marker {
  std::string text;
  Action action;
};

struct Match {
  size_t at;
  const Marker* marker;
};

// The first marker in `text` at or after `from`; of those that begin together the longest.
std::optional<Match> find_first(std::string_view text, const std::vector<Marker>& markers,
                                size_t from) {
  std::optional<Match> best;
  for (const Marker& m : markers) {
    const size_t at = text.find(m.text, from);
    if (at == std::string_view::npos) continue;
    if (!best || at < best->at || (at == best->at && m.text.size() > best->marker->text.size())) {
      best = Match{at, &m};
    }
  }
  return best;
}

// The longest end of `text` that could go on to become a marker.
size_t unfinished_tail(std::string_view text, const std::vector<Marker>& markers) {
  size_t longest = 0;
  for (const Marker& m : markers) {
    for (size_t n = std::min(m.text.size() - 1, text.size()); n > longest; --n) {
      if (text.ends_with(std::string_view(m.text).substr(0, n))) longest = n;
    }
  }
  return longest;
}

class MarkupParser final : public AnswerParser {
 public:
  MarkupParser(const AnswerMarkup& grammar, bool starts_in_reasoning) : grammar_(grammar) {
    make_markers();
    state_ = starts_in_reasoning ? State::reasoning : State::lead;
    lead_ = grammar.trims_one_blank ? Lead::drop_one_blank : Lead::keep;
  }

  void feed(std::string_view text, Delta& delta) override {
    buffer_ += text;
    while (step(delta)) {
    }
  }

  void feed_special(std::string_view token, Delta& delta) override {
    if (state_ == State::calls || may_use(token)) feed(token, delta);
  }

  void finish(Delta& delta) override {
    if (state_ == State::calls) {
      // Between the last call and the end of its block nothing is missing but markup, except where
      // the answer ended inside a call that is whole all the same.
      if (grammar_.token_calls && in_call_) finish_token_call(delta);
    } else {
      drop_broken_marker();
      if (state_ == State::lead) leave_lead(true);
      emit(buffer_, delta);
    }
    buffer_.clear();
  }

  bool in_reasoning() const override { return state_ == State::reasoning; }

 private:
  enum class State {
    reasoning,
    lead,  ///< before the first visible character of the content: blanks wait here
    content,
    calls,
  };
  enum class Lead { keep, drop_line_breaks, drop_one_blank, after_calls };

  void make_markers() {
    std::vector<Marker> calls;
    if (grammar_.token_calls) {
      calls.push_back({std::string(kCallsBegin), Action::begin_calls});
      // Models forget the outer token at times.
      calls.push_back({std::string(kCallBegin), Action::begin_call});
      in_calls_ = {{std::string(kCallBegin), Action::begin_call},
                   {std::string(kCallEnd), Action::end_call},
                   {std::string(kCallsEnd), Action::end_calls}};
    }
    if (grammar_.dsml != nullptr) {
      const DsmlTags& t = *grammar_.dsml;
      calls.push_back({dsml_tag("\n\n<", t.block, ">"), Action::begin_calls});
      calls.push_back({dsml_tag("<", t.block, ">"), Action::begin_calls});
      in_calls_ = {{dsml_tag("<", t.invoke), Action::begin_call},
                   {dsml_tag("</", t.invoke, ">"), Action::end_call},
                   {dsml_tag("</", t.block, ">"), Action::end_calls}};
    }
    in_content_ = in_lead_ = in_reasoning_ = calls;
    if (!grammar_.reasoning) return;
    in_lead_.push_back({std::string(kThink), Action::begin_reasoning});
    in_reasoning_.push_back({std::string(kEndThink), Action::end_reasoning});
    if (grammar_.trims_line_breaks) {
      in_reasoning_.push_back({std::string("\n").append(kEndThink), Action::end_reasoning});
    }
  }

  const std::vector<Marker>& markers() const {
    switch (state_) {
      case State::reasoning: return in_reasoning_;
      case State::lead: return in_lead_;
      case State::content: return in_content_;
      case State::calls: break;
    }
    return in_calls_;
  }

  // Whether the token goes on, or begins, a marker that counts here.
  bool may_use(std::string_view token) const {
    return std::ranges::any_of(markers(), [&](const Marker& m) {
      for (size_t at = m.text.find(token); at != std::string::npos;
           at = m.text.find(token, at + 1)) {
        if (buffer_.ends_with(std::string_view(m.text).substr(0, at))) return true;
      }
      return false;
    });
  }

  // One advance; false when the buffer must grow first.
  bool step(Delta& delta) {
    const auto match = find_first(buffer_, markers(), searched_);
    if (state_ == State::lead && content_begins(match)) {
      leave_lead(false);
      return true;
    }
    if (match) {
      // Blanks in front of a marker that leads the answer are nobody's.
      if (state_ == State::reasoning || state_ == State::content) {
        emit(std::string_view(buffer_).substr(0, match->at), delta);
      }
      apply(*match, delta);
      return true;
    }
    const size_t tail = unfinished_tail(buffer_, markers());
    if (state_ == State::calls) {
      searched_ = buffer_.size() - tail;
    } else if (state_ != State::lead) {
      emit(std::string_view(buffer_).substr(0, buffer_.size() - tail), delta);
      buffer_.erase(0, buffer_.size() - tail);
    }
    return false;
  }

  // Content begins once something visible is there, and that is no marker.
  bool content_begins(const std::optional<Match>& match) const {
    const size_t visible = buffer_.find_first_not_of(" \t\r\n");
    if (visible == std::string::npos) return false;
    if (match) return match->at > visible;
    return buffer_.size() - unfinished_tail(buffer_, markers()) > visible;
  }

  void leave_lead(bool ended) {
    switch (lead_) {
      case Lead::keep: break;
      case Lead::drop_line_breaks:
        buffer_.erase(0, std::min(buffer_.find_first_not_of('\n'), buffer_.size()));
        break;
      case Lead::drop_one_blank:
        if (buffer_.starts_with(' ')) buffer_.erase(0, 1);
        break;
      case Lead::after_calls:
        if (ended && buffer_.find_first_not_of(" \t\r\n") == std::string::npos) buffer_.clear();
        break;
    }
    state_ = State::content;
  }

  void apply(const Match& match, Delta& delta) {
    const size_t end = match.at + match.marker->text.size();
    switch (match.marker->action) {
      case Action::begin_reasoning: state_ = State::reasoning; break;
      case Action::end_reasoning:
        state_ = State::lead;
        lead_ = grammar_.trims_line_breaks ? Lead::drop_line_breaks : Lead::keep;
        break;
      case Action::begin_calls: state_ = State::calls; break;
      case Action::begin_call:
        close_call(match.at, delta);
        state_ = State::calls;
        in_call_ = true;
        break;
      case Action::end_call: close_call(match.at, delta); break;
      case Action::end_calls:
        close_call(match.at, delta);
        state_ = State::lead;
        lead_ = Lead::after_calls;
        break;
    }
    buffer_.erase(0, end);
    searched_ = 0;
  }

  // What ends a call: its own end, or what can only come after it.
  void close_call(size_t at, Delta& delta) {
    if (std::exchange(in_call_, false)) take_call(std::string_view(buffer_).substr(0, at), delta);
  }

  void take_call(std::string_view body, Delta& delta) {
    auto call =
        grammar_.token_calls ? parse_token_call(body) : parse_dsml_call(body, *grammar_.dsml);
    if (!call) return;
    call->id = "call_" + std::to_string(calls_++);
    delta.tool_calls.push_back(*std::move(call));
  }

  // An answer may stop right after whole arguments: V3 leaves out the tokens after them at times.
  void finish_token_call(Delta& delta) {
    const auto call = parse_token_call(buffer_);
    if (call && json::parse(call->arguments)) take_call(buffer_, delta);
  }

  // Of a marker that never became whole nothing shows, unless it may have been meant as text.
  void drop_broken_marker() {
    const size_t begin = buffer_.size() - unfinished_tail(buffer_, markers());
    if (buffer_.find("<｜", begin) != std::string::npos) buffer_.erase(begin);
  }

  void emit(std::string_view text, Delta& delta) {
    (state_ == State::reasoning ? delta.reasoning : delta.content) += text;
  }

  const AnswerMarkup grammar_;
  std::vector<Marker> in_reasoning_;
  std::vector<Marker> in_lead_;
  std::vector<Marker> in_content_;
  std::vector<Marker> in_calls_;
  State state_;
  Lead lead_;
  std::string buffer_;    ///< text that is not given out yet
  size_t searched_ = 0;   ///< in it, no marker begins before this
  bool in_call_ = false;  ///< state calls: between the begin and end of one call
  size_t calls_ = 0;
};

}  // namespace

std::unique_ptr<AnswerParser> make_markup_parser(const AnswerMarkup& grammar,
                                                 bool starts_in_reasoning) {
  return std::make_unique<MarkupParser>(grammar, starts_in_reasoning);
}

}  // namespace hadal::prompt
