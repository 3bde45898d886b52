#pragma once

// Attention by tiles of rows with a running softmax: scores never exist for more than a tile. The
// rows of a query are cut into fixed chunks; a chunk is summed by itself and chunks are merged in
// order. So a query's numbers depend neither on which queries share its block nor on how many
// threads there are, and a lone long query can still use all of them.
// Source: Milakov and Gimelshein, arXiv 1805.02867 (online softmax); Dao et al., arXiv 2205.14135.

#include <cstdint>
#include <vector>

#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "kernels/cpu/table.h"

namespace hadal::kernels::cpu {

/// Blocks of queries that attend to the same rows. The functions are borrowed: they live as long as
/// the call.
struct FlashJob {
  /// Keys and values of some rows: k [count][dim] dense, v [count] rows ldv apart.
  struct Rows {
    const float* k;
    const float* v;
    int64_t ldv;
  };
  /// A query: its numbers, already scaled; how many rows it sees from row 0 on; the logit of its
  /// sink, or -infinity.
  struct Query {
    int64_t rows;
    float sink;
  };

  int64_t blocks = 0;
  int64_t dim = 0;
  int64_t v_dim = 0;
  int64_t queries_max = 0;  ///< of a block
  int64_t rows_max = 0;     ///< of any query

  /// Fills q [n][dim] and queries [n] of a block; returns n.
  FunctionRef<int64_t(int64_t block, float* q, Query* queries)> load_queries;
  /// Rows [begin, begin + count) of a block, in k [count][dim] and v [count][v_dim] or elsewhere.
  FunctionRef<Rows(int64_t block, int64_t begin, int64_t count, float* k, float* v)> load_rows;
  /// Where query i's answer goes: v_dim numbers.
  FunctionRef<float*(int64_t block, int64_t i)> out;
};

/// Runs FlashJobs. Threading: one caller; the pool inside. Its memory only grows.
class Flash {
 public:
  static constexpr int64_t kTileRows = 64;
  static constexpr int64_t kChunkRows = 512;

  Flash(ThreadPool& pool, const Table& table);

  void run(const FlashJob& job);
  /// One block on the calling thread.
  void block(const FlashJob& job, int64_t b, int thread);

 private:
  /// Running softmax of n queries: the largest logit, the sum, and the weighted values [n][v_dim].
  struct State {
    float* largest;
    float* sum;
    float* values;
  };
  struct Memory {
    std::vector<float> floats;
    std::vector<FlashJob::Query> queries;
  };
  struct Work {
    float* q;
    float* k;
    float* v;
    float* scores;
    State total;
    State part;
    FlashJob::Query* queries;
  };
  Work work(const FlashJob& job, int thread);
  void chunk(const FlashJob& job, int64_t b, int64_t n, int64_t begin, const Work& w) const;
  void tile(const FlashJob& job, const FlashJob::Rows& rows, int64_t n, int64_t begin,
            int64_t count, const Work& w) const;
  void merge(const State& total, const State& part, int64_t n, int64_t v_dim) const;
  static void start(const State& s, int64_t n, int64_t v_dim, const FlashJob::Query* sinks);
  void finish(const FlashJob& job, int64_t b, int64_t n, const State& total) const;

  ThreadPool& pool_;
  const Table& t_;
  std::vector<Memory> memory_;  ///< one per thread
  std::vector<float> parts_;    ///< states of chunks that several threads sum
};

}  // namespace hadal::kernels::cpu
