// A build for another architecture: the x86 tables are absent.

#include "kernels/cpu/table.h"

namespace hadal::kernels::cpu {

const Table* avx2_table() { return nullptr; }
const Table* avx512_table() { return nullptr; }

}  // namespace hadal::kernels::cpu
