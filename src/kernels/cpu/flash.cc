#include "kernels/cpu/flash.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/units.h"

namespace hadal::kernels::cpu {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

// exp(from - to) for running maxima, where nothing yet (-infinity) counts for nothing.
float shrink(float from, float to) { return from == kNone ? 0.0f : std::exp(from - to); }

}  // namespace

Flash::Flash(ThreadPool& pool, const Table& table)
    : pool_(pool), t_(table), memory_(static_cast<size_t>(pool.threads())) {}

Flash::Work Flash::work(const FlashJob& job, int thread) {
  Memory& m = memory_[static_cast<size_t>(thread)];
  const int64_t n = job.queries_max;
  const int64_t sizes[] = {n * job.dim,   kTileRows * job.dim, kTileRows * job.v_dim,
                           n * kTileRows, n * (job.v_dim + 2), n * (job.v_dim + 2)};
  size_t total = 0;
  for (const int64_t s : sizes) total += static_cast<size_t>(round_up(s, 16));
  if (m.floats.size() < total) m.floats.resize(total);
  if (m.queries.size() < static_cast<size_t>(n)) m.queries.resize(static_cast<size_t>(n));
  float* at[6];
  float* next = m.floats.data();
  for (int i = 0; i < 6; ++i) {
    at[i] = next;
    next += round_up(sizes[i], 16);
  }
  return {at[0],
          at[1],
          at[2],
          at[3],
          {at[4], at[4] + n, at[4] + 2 * n},
          {at[5], at[5] + n, at[5] + 2 * n},
          m.queries.data()};
}

void Flash::start(const State& s, int64_t n, int64_t v_dim, const FlashJob::Query* sinks) {
  for (int64_t i = 0; i < n; ++i) {
    s.largest[i] = sinks != nullptr ? sinks[i].sink : kNone;
    s.sum[i] = s.largest[i] == kNone ? 0.0f : 1.0f;
  }
  std::fill_n(s.values, n * v_dim, 0.0f);
}

void Flash::tile(const FlashJob& job, const FlashJob::Rows& rows, int64_t n, int64_t begin,
                 int64_t count, const Work& w) const {
  t_.gemm(w.scores, kTileRows, w.q, job.dim, n, rows.k, count, job.dim);
  for (int64_t i = 0; i < n; ++i) {
    float* s = w.scores + i * kTileRows;
    const int64_t seen = std::clamp<int64_t>(w.queries[i].rows - begin, 0, count);
    std::fill(s + seen, s + count, 0.0f);
    if (seen == 0) continue;
    const float largest = std::max(w.part.largest[i], t_.max(s, seen));
    const float factor = shrink(w.part.largest[i], largest);
    w.part.largest[i] = largest;
    w.part.sum[i] = w.part.sum[i] * factor + t_.exp_sum(s, largest, seen);
    float* values = w.part.values + i * job.v_dim;
    if (factor != 1) t_.scale(values, values, factor, nullptr, job.v_dim);
  }
  t_.gemm_add(w.part.values, job.v_dim, w.scores, kTileRows, n, rows.v, rows.ldv, job.v_dim, count);
}

void Flash::chunk(const FlashJob& job, int64_t b, int64_t n, int64_t begin, const Work& w) const {
  start(w.part, n, job.v_dim, nullptr);
  int64_t end = 0;
  for (int64_t i = 0; i < n; ++i) end = std::max(end, w.queries[i].rows);
  end = std::min(end, begin + kChunkRows);
  for (int64_t r = begin; r < end; r += kTileRows) {
    const int64_t count = std::min(kTileRows, end - r);
    tile(job, job.load_rows(b, r, count, w.k, w.v), n, r, count, w);
  }
}

void Flash::merge(const State& total, const State& part, int64_t n, int64_t v_dim) const {
  for (int64_t i = 0; i < n; ++i) {
    if (part.largest[i] == kNone) continue;
    const float largest = std::max(total.largest[i], part.largest[i]);
    const float old = shrink(total.largest[i], largest);
    const float add = shrink(part.largest[i], largest);
    float* values = total.values + i * v_dim;
    t_.scale(values, values, old, nullptr, v_dim);
    t_.axpy(values, add, part.values + i * v_dim, v_dim);
    total.sum[i] = total.sum[i] * old + part.sum[i] * add;
    total.largest[i] = largest;
  }
}

void Flash::finish(const FlashJob& job, int64_t b, int64_t n, const State& total) const {
  for (int64_t i = 0; i < n; ++i) {
    // No rows and no sink gives zeros.
    const float sum = total.sum[i] > 0 ? 1 / total.sum[i] : 0.0f;
    t_.scale(job.out(b, i), total.values + i * job.v_dim, sum, nullptr, job.v_dim);
  }
}

void Flash::block(const FlashJob& job, int64_t b, int thread) {
  const Work w = work(job, thread);
  const int64_t n = job.load_queries(b, w.q, w.queries);
  int64_t rows = 0;
  for (int64_t i = 0; i < n; ++i) rows = std::max(rows, w.queries[i].rows);
  start(w.total, n, job.v_dim, w.queries);
  for (int64_t begin = 0; begin < rows; begin += kChunkRows) {
    chunk(job, b, n, begin, w);
    merge(w.total, w.part, n, job.v_dim);
  }
  finish(job, b, n, w.total);
}

void Flash::run(const FlashJob& job) {
  const int64_t chunks = ceil_div(job.rows_max, kChunkRows);
  if (chunks <= 1 || job.blocks >= 4 * pool_.threads()) {
    // Later blocks see more rows: they go first, so that the threads end together.
    pool_.run(job.blocks, 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) block(job, job.blocks - 1 - i, thread);
    });
    return;
  }
  // Few blocks: every chunk by itself, then the merges in the order that block() has.
  const int64_t state = job.queries_max * (job.v_dim + 2);
  if (parts_.size() < static_cast<size_t>(job.blocks * chunks * state))
    parts_.resize(static_cast<size_t>(job.blocks * chunks * state));
  const auto part = [&](int64_t b, int64_t c) {
    float* at = parts_.data() + (b * chunks + c) * state;
    return State{at, at + job.queries_max, at + 2 * job.queries_max};
  };
  pool_.run(job.blocks * chunks, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      Work w = work(job, thread);
      w.part = part(i / chunks, i % chunks);
      const int64_t n = job.load_queries(i / chunks, w.q, w.queries);
      chunk(job, i / chunks, n, i % chunks * kChunkRows, w);
    }
  });
  pool_.run(job.blocks, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t b = begin; b < end; ++b) {
      const Work w = work(job, thread);
      const int64_t n = job.load_queries(b, w.q, w.queries);
      start(w.total, n, job.v_dim, w.queries);
      for (int64_t c = 0; c < chunks; ++c) merge(w.total, part(b, c), n, job.v_dim);
      finish(job, b, n, w.total);
    }
  });
}

}  // namespace hadal::kernels::cpu
