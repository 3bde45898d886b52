#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/internal/automaton.h"
#include "grammar/internal/chart.h"
#include "grammar/vocabulary.h"

namespace hadal::grammar::internal {

/// Which tokens a state allows, found once for each state.
///
/// What a token may be depends on the whole stack only where it goes beyond the end of the rule on
/// top. So an entry tells, for one state alone: the tokens that stay inside its rule, and the
/// places in the tree of tokens where the rule may have ended (its exits). The callers then look
/// at the rest of the tree behind these places, which are few, with entries of their own:
///
///     mask(state, all)  =  inside(state, all)  +  mask(caller's next state, exits(state, all))
///
/// A plain rule that counts is looked at once for all counts: how many rounds does a token need?
///
/// Threading: one thread at a time.
class MaskCache {
 public:
  /// Both must outlive it.
  MaskCache(const Automaton& automaton, const Vocabulary& vocabulary, size_t bytes_max);

  /// Adds the ordinary tokens that may come next to `bits` [ceil(V / 64)]. `work` counts the steps
  /// it may still take. False when that was not enough; then nothing is certain.
  bool add_allowed(const Chart& chart, std::span<uint64_t> bits, int64_t& work);
  size_t bytes() const { return bytes_; }

 private:
  static constexpr uint32_t kAll = 0;  ///< the set of the tree's root alone
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Key {
    uint32_t state;
    uint32_t nodes;  ///< a set of nodes of the tree
    uint32_t more;   ///< rounds that may still come, of a counting rule
    uint32_t least;  ///< rounds that must still come

    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& k) const;
  };
  /// Of a state of a plain rule that counts, as if any number of rounds might come.
  struct Rounds {
    struct Exit {
      uint32_t node;
      uint32_t rounds;  ///< read when it is reached
    };
    std::vector<uint8_t> needed;  ///< per token, and for what no token is
    std::vector<Exit> exits;
    uint32_t most = 0;  ///< rounds that some token needs
  };
  struct Entry {
    std::vector<uint64_t> bits;  ///< either this
    std::vector<int32_t> ids;    ///< or that, when they are few
    uint32_t exits = kNone;      ///< a set of nodes
  };
  struct Visit {
    uint32_t state;
    uint32_t origin;
    uint32_t count;
    uint32_t nodes;

    bool operator==(const Visit&) const = default;
  };

  const Entry& entry(const Visit& visit, int64_t& work);
  bool counts_plainly(uint32_t state) const;
  Entry compute(const Visit& visit, int64_t& work);
  Entry take_rounds(const Rounds& rounds, const Key& key);
  Entry packed();
  const Rounds& rounds_of(uint32_t state, uint32_t nodes, int64_t& work);
  void walk(Chart& chart, uint32_t node);
  uint32_t walk_plain(uint32_t state, uint32_t node);
  uint32_t walk_rounds(uint32_t state, uint32_t node, Rounds& out);
  bool is_plain(uint32_t state) const;
  bool leads_on(uint32_t node) const;
  void take(uint32_t node, bool at_end);
  const uint32_t* row(uint32_t state);
  uint32_t intern(std::vector<uint32_t> nodes);
  void clear();

  const Automaton& automaton_;
  const Vocabulary& vocabulary_;
  const size_t bytes_max_;
  size_t bytes_ = 0;
  std::unordered_map<Key, Entry, KeyHash> entries_;
  std::unordered_map<Key, Rounds, KeyHash> rounds_;
  std::map<std::vector<uint32_t>, uint32_t> set_ids_;
  std::vector<const std::vector<uint32_t>*> sets_;
  std::vector<std::unique_ptr<uint32_t[]>> rows_;  ///< per state: where each byte leads
  std::vector<Visit> visits_;                      ///< scratch of add_allowed
  std::vector<uint64_t> found_;                    ///< scratch of compute: tokens
  std::vector<uint32_t> exits_;                    ///< and places of exits
  const std::bitset<256>* follow_ = nullptr;       ///< of the rule that is looked at
};

}  // namespace hadal::grammar::internal
