#include "grammar/internal/number_range.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

namespace hadal::grammar::internal {
namespace {

constexpr size_t kDigitsMax = 16;  // before and after the point

/// A number without its sign: digits before the point, without leading zeros, and after it, without
/// trailing ones. Zero has no digit at all.
struct Magnitude {
  std::string whole;
  std::string fraction;

  bool is_zero() const { return whole.empty() && fraction.empty(); }
  bool is_less(const Magnitude& other) const {
    if (whole.size() != other.whole.size()) return whole.size() < other.whole.size();
    if (whole != other.whole) return whole < other.whole;
    return fraction < other.fraction;
  }
};

/// An end of a range of magnitudes.
struct End {
  Magnitude at;
  bool exclusive = false;
};

struct Decimal {
  bool negative = false;
  Magnitude magnitude;
};

Result<Decimal> decimal_of(const json::Value& value) {
  std::string text;
  if (value.is_int()) {
    text = std::to_string(value.as_int());
  } else {
    // The shortest digits that are this number, without an exponent.
    char buffer[400];
    const auto end =
        std::to_chars(buffer, buffer + sizeof buffer, value.as_double(), std::chars_format::fixed);
    text.assign(buffer, end.ptr);
  }
  Decimal out;
  out.negative = text.starts_with('-');
  if (out.negative) text.erase(0, 1);
  const size_t point = std::min(text.find('.'), text.size());
  out.magnitude.whole = text.substr(0, point);
  std::string& whole = out.magnitude.whole;
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
  out.magnitude.fraction = text.substr(std::min(point + 1, text.size()));
  while (out.magnitude.fraction.ends_with('0')) out.magnitude.fraction.pop_back();
  if (out.magnitude.whole.size() > kDigitsMax || out.magnitude.fraction.size() > kDigitsMax) {
    return invalid_argument("a bound has at most " + std::to_string(kDigitsMax) +
                            " digits before and after the point");
  }
  if (out.magnitude.is_zero()) out.negative = false;
  return out;
}

// Moves an end of a range of integers to the integer inside of it.
void round_up(End& low) {
  if (low.at.fraction.empty() && !low.exclusive) return;
  low.exclusive = false;
  low.at.fraction.clear();
  size_t i = low.at.whole.size();
  while (i > 0 && low.at.whole[i - 1] == '9') low.at.whole[--i] = '0';
  if (i > 0) {
    ++low.at.whole[i - 1];
  } else {
    low.at.whole.insert(0, "1");
  }
}

void round_down(End& high) {
  const bool lower = high.at.fraction.empty() && high.exclusive;
  high.exclusive = false;
  high.at.fraction.clear();
  if (!lower) return;
  if (high.at.whole.empty()) {
    high.exclusive = true;  // nothing is below zero
    return;
  }
  size_t i = high.at.whole.size();
  while (high.at.whole[i - 1] == '0') high.at.whole[--i] = '9';
  --high.at.whole[i - 1];
  if (high.at.whole[0] == '0') high.at.whole.erase(0, 1);
}

/// Writes magnitudes digit by digit. While all digits so far are those of an end, the next one may
/// not go beyond it.
class Writer {
 public:
  Writer(Grammar& grammar, End low, std::optional<End> high, bool integers)
      : g_(grammar), low_(std::move(low)), high_(std::move(high)), integers_(integers) {}

  Expr write() {
    std::vector<Expr> parts;
    const size_t shortest = low_.at.whole.size();
    const size_t longest = high_ ? high_->at.whole.size() : kDigitsMax;
    for (size_t n = shortest; n <= longest; ++n) {
      length_ = n;
      const bool at_low = n == shortest;
      const bool at_high = high_ && n == longest;
      if (n == 0) {
        const Expr zero = g_.literal("0");
        parts.push_back(g_.sequence({zero, after_whole(at_low, at_high)}));
      } else {
        parts.push_back(whole(0, at_low, at_high));
      }
    }
    return g_.choice(std::move(parts));
  }

 private:
  static char digit(const std::string& digits, size_t at) {
    return at < digits.size() ? digits[at] : '0';
  }
  Expr any_digits(uint32_t min, uint32_t max) {
    return g_.repeat(g_.characters({{'0', '9'}}), min, max);
  }
  Expr one_of(char first, char last) {
    return g_.characters({{static_cast<uint32_t>(first), static_cast<uint32_t>(last)}});
  }

  // `next(at_low, at_high)` behind each digit that may stand here, those with the same future
  // together.
  template <class Next>
  Expr step(char low, char high, bool at_low, bool at_high, const Next& next) {
    std::vector<Expr> parts;
    for (char c = low; c <= high;) {
      const bool stays_low = at_low && c == low;
      const bool stays_high = at_high && c == high;
      char last = c;
      while (!stays_low && !stays_high && last < high && !(at_high && last + 1 == high)) ++last;
      parts.push_back(g_.sequence({one_of(c, last), next(stays_low, stays_high)}));
      c = static_cast<char>(last + 1);
    }
    return g_.choice(std::move(parts));
  }

  // The digits before the point from `at` on.
  Expr whole(size_t at, bool at_low, bool at_high) {
    if (at == length_) return after_whole(at_low, at_high);
    if (!at_low && !at_high && at > 0) {
      const auto rest = static_cast<uint32_t>(length_ - at);
      return g_.sequence({any_digits(rest, rest), after_whole(false, false)});
    }
    const char least = at == 0 ? '1' : '0';
    const char low = at_low ? digit(low_.at.whole, at) : least;
    const char high = at_high ? digit(high_->at.whole, at) : '9';
    return step(low, high, at_low, at_high, [&](bool l, bool h) { return whole(at + 1, l, h); });
  }

  Expr after_whole(bool at_low, bool at_high) {
    if (integers_) return may_end(0, at_low, at_high) ? g_.sequence({}) : g_.choice({});
    const Expr point = g_.literal(".");
    const Expr with_fraction = g_.sequence({point, fraction(0, at_low, at_high)});
    return may_end(0, at_low, at_high) ? g_.optional(with_fraction) : with_fraction;
  }

  // The digits after the point from `at` on.
  Expr fraction(size_t at, bool at_low, bool at_high) {
    if (at_low && at >= low_.at.fraction.size() && !low_.exclusive) at_low = false;
    const bool ends = at > 0 && may_end(at, at_low, at_high);
    if (at == kDigitsMax) return ends ? g_.sequence({}) : g_.choice({});
    if (!at_low && !at_high) {
      return any_digits(at > 0 ? 0 : 1, static_cast<uint32_t>(kDigitsMax - at));
    }
    const char low = at_low ? digit(low_.at.fraction, at) : '0';
    const char high = at_high ? digit(high_->at.fraction, at) : '9';
    const Expr more =
        step(low, high, at_low, at_high, [&](bool l, bool h) { return fraction(at + 1, l, h); });
    return ends ? g_.optional(more) : more;
  }

  // Whether the number may end after so many digits behind the point.
  bool may_end(size_t at, bool at_low, bool at_high) const {
    if (at_low && (at < low_.at.fraction.size() || low_.exclusive)) return false;
    return !at_high || at < high_->at.fraction.size() || !high_->exclusive;
  }

  Grammar& g_;
  End low_;
  std::optional<End> high_;
  bool integers_;
  size_t length_ = 0;
};

Expr magnitudes(Grammar& g, End low, std::optional<End> high, bool integers) {
  if (integers) {
    round_up(low);
    if (high) round_down(*high);
  }
  const bool empty = high && (high->at.is_less(low.at) ||
                              (!low.at.is_less(high->at) && (low.exclusive || high->exclusive)));
  if (empty || low.at.whole.size() > kDigitsMax) return g.choice({});
  return Writer(g, std::move(low), std::move(high), integers).write();
}

}  // namespace

Result<Expr> number_range(Grammar& grammar, const std::optional<Bound>& low,
                          const std::optional<Bound>& high, bool integers) {
  std::optional<Decimal> least;
  std::optional<Decimal> most;
  if (low) {
    TRY(least, decimal_of(low->value));
  }
  if (high) {
    TRY(most, decimal_of(high->value));
  }
  std::vector<Expr> parts;
  if (!most || !most->negative) {
    End from;
    if (least && !least->negative) from = {least->magnitude, low->exclusive};
    std::optional<End> to;
    if (most) to = End{most->magnitude, high->exclusive};
    parts.push_back(magnitudes(grammar, std::move(from), std::move(to), integers));
  }
  if (!least || least->negative) {
    // Below zero the ends change places; zero itself is written without a sign.
    End from{{}, true};
    if (most && most->negative) from = {most->magnitude, high->exclusive};
    std::optional<End> to;
    if (least) to = End{least->magnitude, low->exclusive};
    const Expr sign = grammar.literal("-");
    parts.push_back(
        grammar.sequence({sign, magnitudes(grammar, std::move(from), std::move(to), integers)}));
  }
  return grammar.choice(std::move(parts));
}

}  // namespace hadal::grammar::internal
