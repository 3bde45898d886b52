#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace hadal {

enum class LogLevel { debug, info, warn, error, off };
/// logfmt for people; ECS JSON for Elasticsearch. Source: Elastic Common Schema 8.x field names.
enum class LogFormat { logfmt, ecs };

/// A key and a value of a log line. Never prompt text, completion text or a secret.
struct LogField {
  std::string_view key;
  std::string value;
  bool quoted = true;  ///< a string; false for numbers and booleans

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false"), quoted(false) {}
  template <std::integral I>
  LogField(std::string_view k, I v) : key(k), value(std::to_string(v)), quoted(false) {}
  template <std::floating_point F>
  LogField(std::string_view k, F v)
      : key(k), value(number(static_cast<double>(v))), quoted(false) {}

 private:
  static std::string number(double v);
};

/// Sets what is written; the default is info and logfmt. Threading: call before other threads log.
void set_log(LogLevel min_level, LogFormat format);
LogLevel log_level();
/// Writes one line to stderr in one write(2). Threading: any thread.
void log_line(LogLevel level, std::string_view event, std::initializer_list<LogField> fields);

}  // namespace hadal

/// LOG(info, "model_loaded", {"path", p}, {"load_ms", t});
#define LOG(level, event, ...) \
  do { \
    if (::hadal::LogLevel::level >= ::hadal::log_level()) \
      ::hadal::log_line(::hadal::LogLevel::level, event, {__VA_ARGS__}); \
  } while (false)
