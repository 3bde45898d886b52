#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/client.h"

namespace hadal::hub {

/// Which hub's API an endpoint speaks.
enum class Mirror { hf, modelscope };

/// A hub, and who we are there.
struct HubAddress {
  Mirror mirror = Mirror::hf;
  std::string endpoint;  ///< "https://huggingface.co"; empty: the mirror's own
  std::string token;     ///< sent to the endpoint only, never to where it redirects
};

/// "https://huggingface.co" or "https://www.modelscope.cn".
std::string_view default_endpoint(Mirror mirror);

/// One file of a repository.
struct HubFile {
  std::string path;              ///< relative, checked: it stays inside the target directory
  std::optional<uint64_t> size;  ///< absent: the hub did not say
  std::string sha256;            ///< lower-case hexadecimal; empty: the hub did not say
};

struct Listing {
  std::string revision;  ///< to download from: the commit where the hub tells it
  std::vector<HubFile> files;
};

/// A model on a hub.
struct RepoName {
  std::string repo;      ///< "deepseek-ai/DeepSeek-V3"
  std::string revision;  ///< branch, tag or commit; empty: the hub's main branch

  /// From "REPO" or "REPO@REVISION". Errors: invalid_argument.
  static Result<RepoName> parse(std::string_view text);
};

/// The files of a repository. Errors: not_found, permission_denied (gated, or the token),
/// corrupt (an answer that is no listing, or paths that leave the repository), unavailable.
/// Source: huggingface_hub's and modelscope's public REST calls.
Result<Listing> list_files(http::Client& client, const HubAddress& address, const RepoName& name,
                           const std::atomic<bool>* cancel = nullptr);

/// Where a file is downloaded from.
std::string file_url(const HubAddress& address, const std::string& repo,
                     const std::string& revision, const std::string& path);

/// The fields that carry the token, for URLs of the endpoint's own origin; none for others.
http::Headers auth_headers(const HubAddress& address, const std::string& url);

/// Refuses paths that could leave the directory they are put into, or hide something. Errors:
/// corrupt.
Status check_path(std::string_view path);

/// What an HTTP status that is not a success means to whoever pulls. `where` names the thing.
Error status_error(int status, std::string_view where);

}  // namespace hadal::hub
