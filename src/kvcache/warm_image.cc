#include "kvcache/warm_image.h"

#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/units.h"
#include "format/output_file.h"
#include "format/safetensors.h"
#include "format/safetensors_writer.h"

namespace hadal::kvcache {
namespace {

using format::SafetensorsFile;

constexpr std::string_view kVersion = "1";

int64_t page_bytes(const kernels::KvView& v) {
  return v.page_rows * v.width / dtype_info(v.dtype).block_elems * dtype_info(v.dtype).block_bytes;
}

std::string stream_name(size_t id) { return "stream." + std::to_string(id); }

std::string dtype_of(const KvCache& kv) {
  std::string text;
  for (const kernels::KvView& v : kv.views()) text.append(dtype_name(v.dtype)).append(" ");
  return text;
}

Error corrupt_image(std::string_view why) {
  return make_error(ErrorCode::corrupt, "the warm-up image is damaged: " + std::string(why));
}

Result<std::string_view> metadata(const SafetensorsFile& file, std::string_view key) {
  for (const auto& [name, value] : file.metadata) {
    if (name == key) return std::string_view(value);
  }
  return corrupt_image("its metadata has no '" + std::string(key) + "'");
}

Result<std::span<const std::byte>> bytes_of(const SafetensorsFile& file, std::string_view name,
                                            DType dtype, int64_t rows, int64_t cols) {
  for (const auto& t : file.tensors) {
    if (t.name != name) continue;
    if (t.view.dtype != dtype || t.view.shape.rows() != rows || t.view.shape.cols() != cols) break;
    return std::span(t.view.data, static_cast<size_t>(t.view.bytes()));
  }
  return corrupt_image("'" + std::string(name) + "' is missing or has another shape");
}

Status check_origin(const SafetensorsFile& file, const KvCache& kv, std::string_view model) {
  TRY(const auto version, metadata(file, "hadal_warm_image"));
  TRY(const auto origin, metadata(file, "model"));
  TRY(const auto dtype, metadata(file, "kv_dtype"));
  if (version != kVersion) {
    return unsupported("warm-up images of version " + std::string(version) + " are not known");
  }
  if (origin != model) {
    return make_error(ErrorCode::conflict, "the warm-up image was computed by another model")
        .with_hint("make it again with `hadal cache build`");
  }
  if (dtype != dtype_of(kv)) {
    return make_error(ErrorCode::conflict, "the warm-up image has a KV cache of " +
                                               std::string(dtype) + "and the server one of " +
                                               dtype_of(kv))
        .with_hint("give both the same --kv-dtype");
  }
  return {};
}

// Tokens and parents, checked.
struct Tree {
  int64_t pages = 0;
  std::vector<int32_t> tokens;   ///< [pages, P]
  std::vector<int32_t> parents;  ///< each before its children; -1: none
};

Result<Tree> read_tree(const SafetensorsFile& file, int64_t page_tokens) {
  Tree tree;
  for (const auto& t : file.tensors) {
    if (t.name == "parents") tree.pages = t.view.shape.rows() * t.view.shape.cols();
  }
  const auto copy = [](std::vector<int32_t>& to, std::span<const std::byte> from) {
    to.resize(from.size() / sizeof(int32_t));
    std::memcpy(to.data(), from.data(), to.size() * sizeof(int32_t));
  };
  TRY(const auto tokens, bytes_of(file, "tokens", DType::i32, tree.pages, page_tokens));
  TRY(const auto parents, bytes_of(file, "parents", DType::i32, 1, tree.pages));
  copy(tree.tokens, tokens);
  copy(tree.parents, parents);
  for (int64_t i = 0; i < tree.pages; ++i) {
    const int32_t parent = tree.parents[static_cast<size_t>(i)];
    if (parent < -1 || parent >= i) return corrupt_image("a page comes before its beginning");
  }
  return tree;
}

// The whole prefix that ends with page i: its tokens and pages.
struct Path {
  std::vector<int32_t> tokens;
  std::vector<int32_t> pages;
};

Path path_of(const Tree& tree, const std::vector<int32_t>& pages, int64_t i, int64_t page_tokens) {
  std::vector<int64_t> nodes;
  for (int64_t at = i; at >= 0; at = tree.parents[static_cast<size_t>(at)]) nodes.push_back(at);
  Path path;
  for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) {
    const auto first = tree.tokens.begin() + *it * page_tokens;
    path.tokens.insert(path.tokens.end(), first, first + page_tokens);
    path.pages.push_back(pages[static_cast<size_t>(*it)]);
  }
  return path;
}

}  // namespace

Status write_warm_image(const std::filesystem::path& path, const KvCache& kv,
                        const PrefixCache& prefixes, kernels::Device& device,
                        std::string_view model) {
  const auto shared = prefixes.shared();
  if (shared.empty()) {
    return invalid_argument("no prompt fills a page of " + std::to_string(kv.page_tokens()) +
                            " tokens: there is nothing to keep");
  }
  const auto n = static_cast<int64_t>(shared.size());
  format::SafetensorsWriter header;
  header.add_metadata("hadal_warm_image", kVersion);
  header.add_metadata("model", model);
  header.add_metadata("kv_dtype", dtype_of(kv));
  TRY_VOID(header.add_tensor("tokens", DType::i32, {n, kv.page_tokens()}));
  TRY_VOID(header.add_tensor("parents", DType::i32, {n}));
  const auto views = kv.views();
  for (size_t s = 0; s < views.size(); ++s) {
    CHECK(views[s].ring_rows == 0);
    TRY_VOID(header.add_tensor(stream_name(s), DType::u8, {n, page_bytes(views[s])}));
  }
  const std::string head = header.header();
  TRY(auto file, format::OutputFile::create(path, head.size() + header.data_bytes()));
  TRY_VOID(file.write(head));
  for (const auto& page : shared) TRY_VOID(file.write(std::as_bytes(page.tokens)));
  for (const auto& page : shared) {
    const auto parent = static_cast<int32_t>(page.parent);
    TRY_VOID(file.write(std::as_bytes(std::span(&parent, 1))));
  }
  std::vector<std::byte> host;
  for (const kernels::KvView& v : views) {
    host.resize(static_cast<size_t>(page_bytes(v)));
    for (const auto& page : shared) {
      device.copy_to_host(host.data(), v.data + page.page * page_bytes(v), host.size());
      TRY_VOID(file.write(host));
    }
  }
  return file.commit();
}

Result<int64_t> read_warm_image(std::span<const std::byte> image, KvCache& kv,
                                PrefixCache& prefixes, kernels::Device& device,
                                std::string_view model) {
  TRY(const auto file, format::parse_safetensors(image));
  TRY_VOID(check_origin(file, kv, model));
  TRY(const Tree tree, read_tree(file, kv.page_tokens()));
  if (2 * (prefixes.shared_pages() + tree.pages) > kv.pages()) {
    return make_error(ErrorCode::resource_exhausted,
                      "the warm-up image has " + std::to_string(tree.pages) +
                          " pages, more than half of the KV cache's " + std::to_string(kv.pages()))
        .with_hint("raise --kv-cache-bytes-max, or warm fewer prompts");
  }
  const auto views = kv.views();
  std::vector<std::span<const std::byte>> streams;
  for (size_t s = 0; s < views.size(); ++s) {
    TRY(streams.emplace_back(),
        bytes_of(file, stream_name(s), DType::u8, tree.pages, page_bytes(views[s])));
  }
  std::vector<int32_t> pages;
  for (int64_t i = 0; i < tree.pages; ++i) {
    const auto page = kv.take_page();
    CHECK(page.has_value(), "half of a fresh cache is free");
    pages.push_back(*page);
    for (size_t s = 0; s < views.size(); ++s) {
      const int64_t bytes = page_bytes(views[s]);
      device.copy_to_device(views[s].data + *page * bytes, streams[s].data() + i * bytes,
                            static_cast<size_t>(bytes));
    }
    const Path path = path_of(tree, pages, i, kv.page_tokens());
    prefixes.insert_for_all(path.tokens, path.pages);
  }
  for (const int32_t page : pages) kv.release_page(page);
  return tree.pages;
}

}  // namespace hadal::kvcache
