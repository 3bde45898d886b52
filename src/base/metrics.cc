#include "base/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/check.h"

namespace hadal {
namespace {

std::string number(double v) {
  if (std::isinf(v)) return v > 0 ? "+Inf" : "-Inf";
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", v);
  double shorter = 0;
  char brief[40];
  std::snprintf(brief, sizeof brief, "%.12g", v);
  if (std::sscanf(brief, "%lf", &shorter) == 1 && shorter == v) return brief;
  return text;
}

std::string label_text(const MetricLabels& labels, std::string_view le = {}) {
  if (labels.empty() && le.empty()) return "";
  std::string out = "{";
  const auto append = [&](std::string_view key, std::string_view value) {
    if (out.size() > 1) out += ',';
    out.append(key).append("=\"");
    for (const char c : value) {
      if (c == '\n') {
        out += "\\n";
        continue;
      }
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  };
  for (const auto& [key, value] : labels) append(key, value);
  if (!le.empty()) append("le", le);
  return out + "}";
}

void append_line(std::string& out, std::string_view name, const std::string& labels,
                 const std::string& v) {
  out.append(name).append(labels).append(" ").append(v).append("\n");
}

}  // namespace

struct MetricsRegistry::Family {
  struct Series {
    MetricLabels labels;
    Counter counter;
    Gauge gauge;
    std::unique_ptr<Histogram> histogram;
  };
  std::string name;
  std::string help;
  std::string type;
  std::vector<std::unique_ptr<Series>> series;

  Series& get(MetricLabels labels) {
    for (auto& s : series) {
      if (s->labels == labels) return *s;
    }
    series.push_back(std::make_unique<Series>());
    series.back()->labels = std::move(labels);
    return *series.back();
  }
};

Histogram::Histogram(std::vector<double> upper_bounds)
    : bounds_(std::move(upper_bounds)),
      buckets_(std::make_unique<std::atomic<uint64_t>[]>(bounds_.size() + 1)) {
  CHECK(std::is_sorted(bounds_.begin(), bounds_.end()));
}

void Histogram::observe(double v) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), v) - bounds_.begin();
  buckets_[static_cast<size_t>(at)].fetch_add(1, std::memory_order_relaxed);
  sum_.add(v);
}

MetricsRegistry::MetricsRegistry() = default;
MetricsRegistry::~MetricsRegistry() = default;

MetricsRegistry::Family& MetricsRegistry::family(std::string_view name, std::string_view help,
                                                 std::string_view type) {
  for (auto& f : families_) {
    if (f->name != name) continue;
    CHECK(f->type == type, "one metric name with two types");
    return *f;
  }
  families_.push_back(std::make_unique<Family>());
  Family& f = *families_.back();
  f.name = name;
  f.help = help;
  f.type = type;
  return f;
}

Counter& MetricsRegistry::counter(std::string_view name, std::string_view help,
                                  MetricLabels labels) {
  std::lock_guard lock(mutex_);
  return family(name, help, "counter").get(std::move(labels)).counter;
}

Gauge& MetricsRegistry::gauge(std::string_view name, std::string_view help, MetricLabels labels) {
  std::lock_guard lock(mutex_);
  return family(name, help, "gauge").get(std::move(labels)).gauge;
}

Histogram& MetricsRegistry::histogram(std::string_view name, std::string_view help,
                                      std::vector<double> upper_bounds, MetricLabels labels) {
  std::lock_guard lock(mutex_);
  auto& series = family(name, help, "histogram").get(std::move(labels));
  if (!series.histogram) series.histogram = std::make_unique<Histogram>(std::move(upper_bounds));
  return *series.histogram;
}

std::string MetricsRegistry::prometheus_text() const {
  std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& f : families_) {
    out.append("# HELP ").append(f->name).append(" ").append(f->help).append("\n");
    out.append("# TYPE ").append(f->name).append(" ").append(f->type).append("\n");
    for (const auto& s : f->series) {
      if (f->type == "counter") {
        append_line(out, f->name, label_text(s->labels), std::to_string(s->counter.value()));
      } else if (f->type == "gauge") {
        append_line(out, f->name, label_text(s->labels), number(s->gauge.value()));
      } else {
        const Histogram& h = *s->histogram;
        uint64_t total = 0;
        for (size_t i = 0; i <= h.bounds().size(); ++i) {
          total += h.bucket(i);
          const std::string le = i < h.bounds().size() ? number(h.bounds()[i]) : "+Inf";
          append_line(out, f->name + "_bucket", label_text(s->labels, le), std::to_string(total));
        }
        append_line(out, f->name + "_sum", label_text(s->labels), number(h.sum()));
        append_line(out, f->name + "_count", label_text(s->labels), std::to_string(total));
      }
    }
  }
  return out;
}

}  // namespace hadal
