#pragma once

namespace hadal::kernels {

/// The best rate at which `threads` threads (0: all) read memory here, over a gibibyte in large
/// pages: plain sequential reads and reads with software prefetch, the better of several runs.
/// Takes about a second. Units: 1e9 bytes per second.
double measure_read_gb_per_s(int threads);

}  // namespace hadal::kernels
