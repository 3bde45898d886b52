#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace hadal {
namespace {

std::atomic<LogLevel> g_level{LogLevel::info};
std::atomic<LogFormat> g_format{LogFormat::logfmt};

constexpr const char* kLevelNames[] = {"debug", "info", "warn", "error", "off"};

std::string timestamp() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char day[32];
  std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
  char text[48];
  std::snprintf(text, sizeof text, "%s.%03ldZ", day, now.tv_nsec / 1000000);
  return text;
}

// Quotes `text` so that one event stays one line whatever it holds. Bytes above 0x7f pass through.
void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20 || u == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", u);
      out += escaped;
    } else {
      out += c;
    }
  }
  out += '"';
}

bool plain(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (u <= 0x20 || u == 0x7f || c == '"' || c == '=' || c == '\\') return false;
  }
  return true;
}

std::string logfmt_line(LogLevel level, std::string_view event,
                        std::initializer_list<LogField> fields) {
  std::string out = timestamp();
  out.append(" ").append(kLevelNames[static_cast<int>(level)]).append(" ").append(event);
  for (const LogField& f : fields) {
    out.append(" ").append(f.key).append("=");
    if (!f.quoted || plain(f.value)) {
      out += f.value;
    } else {
      append_quoted(out, f.value);
    }
  }
  return out += '\n';
}

std::string ecs_line(LogLevel level, std::string_view event,
                     std::initializer_list<LogField> fields) {
  std::string out = "{\"@timestamp\":\"" + timestamp() + "\",\"log.level\":\"";
  out.append(kLevelNames[static_cast<int>(level)]).append("\",\"event.action\":");
  append_quoted(out, event);
  out += ",\"ecs.version\":\"8.11.0\",\"service.name\":\"hadal\"";
  for (const LogField& f : fields) {
    out += ",\"hadal.";
    out.append(f.key).append("\":");
    if (f.quoted) {
      append_quoted(out, f.value);
    } else {
      out += f.value;
    }
  }
  return out += "}\n";
}

}  // namespace

std::string LogField::number(double v) {
  if (!std::isfinite(v)) return "null";
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", v);
  return text;
}

void set_log(LogLevel min_level, LogFormat format) {
  g_level = min_level;
  g_format = format;
}

LogLevel log_level() { return g_level.load(std::memory_order_relaxed); }

void log_line(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  const std::string line = g_format.load(std::memory_order_relaxed) == LogFormat::ecs
                               ? ecs_line(level, event, fields)
                               : logfmt_line(level, event, fields);
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace hadal
