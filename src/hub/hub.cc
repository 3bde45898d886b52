#include "hub/hub.h"

#include <algorithm>

#include "base/utf8.h"
#include "json/json.h"

namespace hadal::hub {
namespace {

constexpr size_t kListingBytesMax = 64 << 20;
constexpr size_t kFilesMax = 100'000;

bool is_name(std::string_view part) {
  const auto ok = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !part.empty() && part.size() <= 128 && part != "." && part != ".." &&
         std::all_of(part.begin(), part.end(), ok);
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string endpoint_of(const HubAddress& address) {
  std::string out =
      address.endpoint.empty() ? std::string(default_endpoint(address.mirror)) : address.endpoint;
  while (out.ends_with('/')) out.pop_back();
  return out;
}

std::string revision_of(const HubAddress& address, const std::string& revision) {
  if (!revision.empty()) return revision;
  return address.mirror == Mirror::hf ? "main" : "master";
}

Status add_file(Listing& listing, std::string path, const json::Value* size, std::string sha256) {
  TRY_VOID(check_path(path));
  if (listing.files.size() >= kFilesMax) return corrupt("the repository lists too many files");
  HubFile file{.path = std::move(path), .size = {}, .sha256 = {}};
  if (size != nullptr && size->is_int() && size->as_int() >= 0) {
    file.size = static_cast<uint64_t>(size->as_int());
  }
  std::transform(sha256.begin(), sha256.end(), sha256.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
  if (is_sha256(sha256)) file.sha256 = std::move(sha256);
  listing.files.push_back(std::move(file));
  return {};
}

/// {"sha": commit, "siblings": [{"rfilename", "size", "lfs": {"sha256", "size"}}]}
Status read_hf(const json::Value& body, Listing& listing) {
  TRY(const std::string commit, body.string_or("sha", ""));
  if (is_name(commit)) listing.revision = commit;
  const json::Value* siblings = body.find("siblings");
  if (siblings == nullptr || !siblings->is_array()) return corrupt("no list of files");
  for (const json::Value& s : siblings->as_array()) {
    TRY(std::string path, s.string_at("rfilename"));
    const json::Value* size = s.find("size");
    std::string sha256;
    if (const json::Value* lfs = s.find("lfs"); lfs != nullptr) {
      TRY(sha256, lfs->string_or("sha256", ""));
      if (lfs->find("size") != nullptr) size = lfs->find("size");
    }
    TRY_VOID(add_file(listing, std::move(path), size, std::move(sha256)));
  }
  return {};
}

/// {"Code": 200, "Data": {"Files": [{"Path", "Type": "blob" | "tree", "Size", "Sha256"}]}}
Status read_modelscope(const json::Value& body, Listing& listing) {
  const json::Value* data = body.find("Data");
  const json::Value* files = data == nullptr ? nullptr : data->find("Files");
  if (files == nullptr || !files->is_array()) return corrupt("no list of files");
  for (const json::Value& f : files->as_array()) {
    TRY(const std::string type, f.string_or("Type", "blob"));
    if (type == "tree") continue;
    TRY(std::string path, f.string_at("Path"));
    TRY(std::string sha256, f.string_or("Sha256", ""));
    TRY_VOID(add_file(listing, std::move(path), f.find("Size"), std::move(sha256)));
  }
  return {};
}

}  // namespace

std::string_view default_endpoint(Mirror mirror) {
  return mirror == Mirror::hf ? "https://huggingface.co" : "https://www.modelscope.cn";
}

Result<RepoName> RepoName::parse(std::string_view text) {
  RepoName name;
  const size_t at = text.find('@');
  name.repo = text.substr(0, at);
  if (at != std::string_view::npos) name.revision = text.substr(at + 1);
  const size_t slash = name.repo.find('/');
  const bool good = slash == std::string::npos
                        ? is_name(name.repo)
                        : is_name(std::string_view(name.repo).substr(0, slash)) &&
                              is_name(std::string_view(name.repo).substr(slash + 1));
  if (!good) {
    return invalid_argument("not a repository: '" + name.repo + "'")
        .with_hint("name it as ORGANISATION/MODEL, with @REVISION if you like");
  }
  if (at != std::string_view::npos && !check_path(name.revision)) {
    return invalid_argument("not a revision: '" + name.revision + "'");
  }
  return name;
}

Status check_path(std::string_view path) {
  const auto bad = [&](std::string_view why) {
    return corrupt("the repository lists a file path that is refused (" + std::string(why) +
                   "): '" + std::string(path.substr(0, 200)) + "'");
  };
  if (path.empty() || path.size() > 1024) return bad("its length");
  if (for_terminal(path) != path) return bad("a character");
  if (path.front() == '/' || path.back() == '/') return bad("a slash at an end");
  for (const char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\' || c == ':') {
      return bad("a character");
    }
  }
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return bad("a part");
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return {};
}

Error status_error(int status, std::string_view where) {
  const std::string what = std::string(where) + ": HTTP status " + std::to_string(status);
  switch (status) {
    case 401:
    case 403:
      return make_error(ErrorCode::permission_denied, what)
          .with_hint(
              "the model may be gated or private: accept its terms on the hub and set the "
              "token in HF_TOKEN");
    case 404: return not_found(what).with_hint("check the repository, the revision and the hub");
    case 416: return corrupt(what + ": the file changed while it was downloaded");
    case 429: return make_error(ErrorCode::rate_limited, what);
    default: return status >= 500 ? unavailable(what) : make_error(ErrorCode::corrupt, what);
  }
}

std::string file_url(const HubAddress& address, const std::string& repo,
                     const std::string& revision, const std::string& path) {
  const std::string rev = http::percent_encode(revision_of(address, revision));
  if (address.mirror == Mirror::modelscope) {
    return endpoint_of(address) + "/api/v1/models/" + repo + "/repo?Revision=" + rev +
           "&FilePath=" + http::percent_encode(path);
  }
  return endpoint_of(address) + "/" + repo + "/resolve/" + rev + "/" +
         http::percent_encode(path, "/");
}

http::Headers auth_headers(const HubAddress& address, const std::string& url) {
  if (address.token.empty()) return {};
  const auto ours = http::parse_url(endpoint_of(address));
  const auto theirs = http::parse_url(url);
  if (!ours || !theirs || ours->origin() != theirs->origin()) return {};
  return {{"Authorization", "Bearer " + address.token}};
}

Result<Listing> list_files(http::Client& client, const HubAddress& address, const RepoName& name,
                           const std::atomic<bool>* cancel) {
  Listing listing;
  listing.revision = revision_of(address, name.revision);
  const std::string rev = http::percent_encode(listing.revision);
  const bool hf = address.mirror == Mirror::hf;
  const std::string url =
      endpoint_of(address) +
      (hf ? "/api/models/" + name.repo + "/revision/" + rev + "?blobs=true"
          : "/api/v1/models/" + name.repo + "/repo/files?Revision=" + rev + "&Recursive=true");
  TRY(const http::Response answer,
      client.get({.url = url, .headers = auth_headers(address, url), .body = {}, .cancel = cancel},
                 kListingBytesMax));
  if (answer.head.status != 200) return status_error(answer.head.status, name.repo);
  const auto body = json::parse(answer.body, {.bytes_max = kListingBytesMax});
  const Status read = !body ? Status(body.error())
                            : (hf ? read_hf(*body, listing) : read_modelscope(*body, listing));
  if (!read) {
    return corrupt(url + ": not the listing of a model: " + read.error().message)
        .with_hint("check --endpoint and --mirror");
  }
  return listing;
}

}  // namespace hadal::hub
