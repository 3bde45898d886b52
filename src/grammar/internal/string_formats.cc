#include "grammar/internal/string_formats.h"

#include <string>
#include <utility>
#include <vector>

namespace hadal::grammar::internal {
namespace {

// Source: RFC 3339 with its appendix A, 9562 (UUID), 5321 and 1123 (mail, hosts), 2673 and 4291
// (addresses), 3986 (URI). February 29 is left out: which years have one no short pattern says.
std::vector<std::pair<std::string, std::string>> make_formats() {
  const std::string date =
      "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
      "|02-(0[1-9]|1[0-9]|2[0-8]))";
  const std::string clock = "([01][0-9]|2[0-3]):[0-5][0-9]";
  const std::string time = clock + ":[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]" + clock + ")";

  const std::string seconds = "[0-9]{1,6}S";
  const std::string minutes = "[0-9]{1,6}M(" + seconds + ")?";
  const std::string hours = "[0-9]{1,6}H(" + minutes + ")?";
  const std::string days = "[0-9]{1,6}D";
  const std::string months = "[0-9]{1,6}M(" + days + ")?";
  const std::string years = "[0-9]{1,6}Y(" + months + ")?";
  const std::string any_time = "T(" + hours + "|" + minutes + "|" + seconds + ")";
  const std::string any_date = "(" + years + "|" + months + "|" + days + ")";

  const std::string hex = "[0-9a-fA-F]";
  const std::string byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  const std::string label = "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?";
  const std::string host = label + "(\\." + label + "){0,4}";
  const std::string atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,24}";
  const std::string path = "([A-Za-z0-9._~!$&'()*+,;=:@-]|%" + hex + "{2})";
  const std::string after_path = "(" + path + "|[/?])*";
  return {
      {"date", date},
      {"time", time},
      {"date-time", date + "T" + time},
      {"duration", "P([0-9]{1,6}W|" + any_date + "(" + any_time + ")?|" + any_time + ")"},
      {"uuid", hex + "{8}-(" + hex + "{4}-){3}" + hex + "{12}"},
      {"email", atom + "(\\." + atom + ")?@" + host},
      {"hostname", host},
      {"ipv4", byte + "(\\." + byte + "){3}"},
      {"ipv6", "(" + hex + "{1,4}:){7}" + hex + "{1,4}"},
      {"uri", "[A-Za-z][A-Za-z0-9+.-]{0,15}://" + host + "(:[0-9]{1,4})?(/" + path + "*)*(\\?" +
                  after_path + ")?(#" + after_path + ")?"},
  };
}

}  // namespace

std::string_view format_pattern(std::string_view format) {
  static const auto formats = [] {
    auto out = make_formats();
    for (auto& [name, pattern] : out) pattern = "^" + pattern + "$";
    return out;
  }();
  for (const auto& [name, pattern] : formats) {
    if (name == format) return pattern;
  }
  return {};
}

}  // namespace hadal::grammar::internal
