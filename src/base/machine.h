#pragma once

#include <cstdint>

namespace hadal {

/// Memory that this process may use at most: the machine's, or the least that a control group above
/// it allows. Units: bytes. Source: Linux, cgroup v2 (memory.max) and v1 (memory.limit_in_bytes).
uint64_t memory_limit_bytes();
/// Memory that this process could still get without pushing others out, within that limit.
uint64_t memory_available_bytes();

}  // namespace hadal
