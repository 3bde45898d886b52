#include "grammar/grammar.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace hadal::grammar {
namespace {

constexpr size_t kDepthMax = 256;

}  // namespace

Expr Grammar::add(Node node) {
  for (const Expr part : node.parts) {
    CHECK(static_cast<size_t>(part) < nodes_.size(), "a part of another grammar");
    // Deeper ones are refused by check_size.
    node.depth = std::max<uint16_t>(node.depth, std::min<uint16_t>(at(part).depth, 60000) + 1);
  }
  depth_ = std::max<size_t>(depth_, node.depth);
  nodes_.push_back(std::move(node));
  return Expr{static_cast<uint32_t>(nodes_.size() - 1)};
}

Expr Grammar::literal(std::string_view bytes) {
  bytes_ += bytes.size();
  literals_.emplace_back(bytes);
  return add({.kind = Kind::literal, .index = static_cast<uint32_t>(literals_.size() - 1)});
}

Expr Grammar::characters(CharSet set) {
  bytes_ += set.ranges().size();
  sets_.push_back(std::move(set));
  return add({.kind = Kind::characters, .index = static_cast<uint32_t>(sets_.size() - 1)});
}

Expr Grammar::text_without(std::vector<std::string> words) {
  for (const std::string& w : words) {
    CHECK(!w.empty());
    bytes_ += w.size();
  }
  words_.push_back(std::move(words));
  return add({.kind = Kind::text, .index = static_cast<uint32_t>(words_.size() - 1)});
}

Expr Grammar::token(std::string_view text) {
  CHECK(!text.empty());
  bytes_ += text.size();
  literals_.emplace_back(text);
  return add({.kind = Kind::token, .index = static_cast<uint32_t>(literals_.size() - 1)});
}

Expr Grammar::rule(RuleId id) {
  CHECK(static_cast<size_t>(id) < rules_.size());
  return add({.kind = Kind::rule, .index = static_cast<uint32_t>(id)});
}

Expr Grammar::sequence(std::vector<Expr> parts) {
  if (parts.size() == 1) return parts[0];
  return add({.kind = Kind::sequence, .parts = std::move(parts)});
}

Expr Grammar::choice(std::vector<Expr> parts) {
  if (parts.size() == 1) return parts[0];
  return add({.kind = Kind::choice, .parts = std::move(parts)});
}

Expr Grammar::repeat(Expr part, uint32_t min, uint32_t max) {
  CHECK(min <= max);
  return add({.kind = Kind::repeat, .min = min, .max = max, .parts = {part}});
}

RuleId Grammar::add_rule(std::string name) {
  rules_.push_back({.name = std::move(name)});
  return RuleId{static_cast<uint32_t>(rules_.size() - 1)};
}

RuleId Grammar::add_rule(std::string name, Expr body) {
  const RuleId rule = add_rule(std::move(name));
  define(rule, body);
  return rule;
}

void Grammar::define(RuleId rule, Expr body) {
  Rule& r = rules_[static_cast<size_t>(rule)];
  CHECK(!r.defined, "a rule is defined once");
  r.body = body;
  r.defined = true;
}

Status Grammar::check_size(const Limits& limits) const {
  if (nodes_.size() > limits.exprs_max || rules_.size() > limits.exprs_max ||
      bytes_ > limits.edges_max) {
    return too_large("the grammar has more than " + std::to_string(limits.exprs_max) +
                     " parts or " + std::to_string(limits.edges_max) + " characters")
        .with_hint("use fewer rules, alternatives or enum values");
  }
  if (depth_ > kDepthMax) {
    return too_large("the grammar's expressions lie more than " + std::to_string(kDepthMax) +
                     " deep in each other");
  }
  return {};
}

}  // namespace hadal::grammar
