#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hadal::model {
namespace {

// 0.1 * mscale * ln(factor) + 1. Source: YaRN, arXiv 2309.00071, section 3.4.
double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

Status read_scaling(const json::Value& from, RopeConfig& out) {
  TRY(out.type, from.string_or("rope_type", ""));
  if (out.type.empty()) {
    TRY(out.type, from.string_or("type", "default"));
  }
  if (out.type == "deepseek_yarn") out.type = "yarn";
  TRY(out.factor, from.double_or("factor", 1));
  TRY(out.original_context, from.double_or("original_max_position_embeddings", 0));
  TRY(out.beta_fast, from.double_or("beta_fast", 32));
  TRY(out.beta_slow, from.double_or("beta_slow", 1));
  TRY(out.mscale, from.double_or("mscale", 0));
  TRY(out.mscale_all_dim, from.double_or("mscale_all_dim", 0));
  TRY(out.attention_factor, from.double_or("attention_factor", 0));
  TRY(out.truncate, from.bool_or("truncate", true));
  TRY(out.low_freq_factor, from.double_or("low_freq_factor", 1));
  TRY(out.high_freq_factor, from.double_or("high_freq_factor", 4));
  TRY(out.theta, from.double_or("rope_theta", out.theta));
  return {};
}

Status validate(const json::Value& config, RopeConfig& rope) {
  if (rope.type != "default" && rope.type != "linear" && rope.type != "llama3" &&
      rope.type != "yarn") {
    return unsupported("config: rope type '" + rope.type +
                       "' is not known (default, linear, llama3, yarn)");
  }
  const auto positive = [](double v) { return std::isfinite(v) && v > 0; };
  if (!positive(rope.theta) || rope.theta <= 1)
    return corrupt("config: rope_theta must be above 1");
  if (rope.type == "default") return {};
  if (!positive(rope.factor)) return corrupt("config: the rope scaling factor must be above 0");
  if (rope.type == "linear") return {};
  if (rope.original_context == 0) {
    TRY(rope.original_context, config.double_or("original_max_position_embeddings", 0));
  }
  if (rope.original_context == 0) {
    TRY(rope.original_context, config.double_or("max_position_embeddings", 0));
  }
  if (!positive(rope.original_context)) {
    return corrupt("config: original_max_position_embeddings must be above 0");
  }
  if (rope.type == "llama3" &&
      !(positive(rope.low_freq_factor) && rope.high_freq_factor > rope.low_freq_factor)) {
    return corrupt("config: llama3 rope needs 0 < low_freq_factor < high_freq_factor");
  }
  if (rope.type == "yarn" && !(positive(rope.beta_slow) && positive(rope.beta_fast))) {
    return corrupt("config: yarn rope needs beta_fast and beta_slow above 0");
  }
  return {};
}

// The fraction of interpolation per pair: 0 keeps the frequency, 1 divides it by the factor.
std::vector<double> yarn_ramp(const RopeConfig& rope, int64_t dims) {
  const auto dim_of_rotations = [&](double rotations) {
    return static_cast<double>(dims) *
           std::log(rope.original_context / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(rope.theta));
  };
  double low = dim_of_rotations(rope.beta_fast);
  double high = dim_of_rotations(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dims - 1));
  if (low == high) high += 0.001;
  std::vector<double> ramp;
  for (int64_t i = 0; i < dims / 2; ++i) {
    ramp.push_back(std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0));
  }
  return ramp;
}

double llama3_scaled(const RopeConfig& rope, double freq) {
  const double wavelength = 2 * std::numbers::pi / freq;
  if (wavelength > rope.original_context / rope.low_freq_factor) return freq / rope.factor;
  if (wavelength < rope.original_context / rope.high_freq_factor) return freq;
  const double smooth = (rope.original_context / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - smooth) * freq / rope.factor + smooth * freq;
}

}  // namespace

Result<RopeConfig> read_rope_config(const json::Value& config, std::string_view section) {
  RopeConfig rope;
  TRY(rope.theta, config.double_or("rope_theta", 10000));
  const json::Value* scaling = config.find("rope_parameters");
  if (scaling != nullptr && !section.empty() && scaling->find(section) != nullptr)
    scaling = scaling->find(section);
  if (scaling == nullptr) scaling = config.find("rope_scaling");
  if (scaling != nullptr) {
    if (!scaling->is_object()) return corrupt("config: rope_scaling must be an object");
    TRY_VOID(read_scaling(*scaling, rope));
  }
  TRY_VOID(validate(config, rope));
  return rope;
}

std::vector<float> rope_inv_freq(const RopeConfig& rope, int64_t dims) {
  std::vector<float> out;
  std::vector<double> ramp;
  if (rope.type == "yarn") ramp = yarn_ramp(rope, dims);
  for (int64_t i = 0; i < dims / 2; ++i) {
    double freq = std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(dims));
    if (rope.type == "linear") freq /= rope.factor;
    if (rope.type == "llama3") freq = llama3_scaled(rope, freq);
    if (rope.type == "yarn") {
      const double r = ramp[static_cast<size_t>(i)];
      freq = freq / rope.factor * r + freq * (1 - r);
    }
    out.push_back(static_cast<float>(freq));
  }
  return out;
}

double rope_attention_factor(const RopeConfig& rope) {
  if (rope.type != "yarn") return 1;
  if (rope.attention_factor > 0) return rope.attention_factor;
  if (rope.mscale != 0 && rope.mscale_all_dim != 0) {
    return yarn_mscale(rope.factor, rope.mscale) / yarn_mscale(rope.factor, rope.mscale_all_dim);
  }
  return yarn_mscale(rope.factor, 1);
}

double rope_softmax_factor(const RopeConfig& rope) {
  if (rope.type != "yarn" || rope.mscale_all_dim == 0) return 1;
  const double m = yarn_mscale(rope.factor, rope.mscale_all_dim);
  return m * m;
}

}  // namespace hadal::model
