#include "report/probe_record.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/json_fields.h"
#include "report/metric_definitions.h"

namespace fathom {
namespace {

using nlohmann::json;

bool is_known(const std::string& key) {
  return std::any_of(metric_definitions().begin(), metric_definitions().end(),
                     [&](const MetricDefinition& d) { return d.defines(key); });
}

/// Adds the values of one layer (0: the embedding). What is no number is passed over where its key is not one
/// of ours: another version may say more about a layer than we know.
void read_layer(const json& object, size_t layer, const JsonFields& fields, ProbeRecord& probe) {
  constexpr std::string_view kError = "_stderr";
  for (const auto& [key, value] : object.items()) {
    if (key == "layer" || key == "original_layer") continue;
    const bool is_error = key.ends_with(kError);
    const std::string name = is_error ? key.substr(0, key.size() - kError.size()) : key;
    if (!value.is_number() && !value.is_null() && !is_known(name)) continue;
    DepthValues& values = probe.metrics[name];
    values.value.resize(probe.layers + 1, kMissing);
    values.error.resize(probe.layers + 1, kMissing);
    (is_error ? values.error : values.value)[layer] = fields.number(key);
  }
}

void read_layers(const JsonFields& fields, const std::filesystem::path& origin, ProbeRecord& probe) {
  const json& layers = fields.list("per_layer");
  if (layers.empty()) fields.refuse("'per_layer' is empty");
  probe.layers = layers.size();
  for (size_t l = 1; l <= layers.size(); ++l) {
    const JsonFields layer(layers[l - 1], origin);
    if (layer.whole("layer") != l) layer.refuse(fmt::format("'per_layer' has no layer {} in its place", l));
    read_layer(layers[l - 1], l, layer, probe);
    if (layers[l - 1].contains("original_layer")) {
      probe.original_layers.resize(layers.size(), 0);
      probe.original_layers[l - 1] = layer.whole("original_layer");
    }
  }
  // A pruned model names only the layers that have moved.
  for (size_t l = 1; l <= probe.original_layers.size(); ++l) {
    if (probe.original_layers[l - 1] == 0) probe.original_layers[l - 1] = l;
  }
}

/// `row_length(i)` is the length that row i must have.
template <class Length>
LayerMatrix read_matrix(const JsonFields& fields, const json& object, const char* key, size_t layers,
                        Length row_length) {
  LayerMatrix out;
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return out;
  for (const json& row : fields.list(key)) {
    if (!row.is_array()) fields.refuse(fmt::format("'{}' is not a list of rows", key));
    std::vector<double>& values = out.emplace_back();
    for (const json& value : row) {
      if (!value.is_number() && !value.is_null())
        fields.refuse(fmt::format("'{}' has a value that is not a number", key));
      values.push_back(value.is_null() ? kMissing : value.get<double>());
    }
    if (values.size() != row_length(out.size() - 1)) {
      fields.refuse(fmt::format("row {} of '{}' has {} values, not {}", out.size(), key, values.size(),
                                row_length(out.size() - 1)));
    }
  }
  if (out.size() != layers)
    fields.refuse(fmt::format("'{}' has {} rows for {} layers", key, out.size(), layers));
  return out;
}

std::optional<GrowthRecord> read_growth(const json& object, const std::filesystem::path& origin) {
  const auto it = object.find("variance_growth");
  if (it == object.end() || it->is_null()) return {};
  const JsonFields growth(*it, origin);
  GrowthRecord out{.law = growth.text("law"),
                   .slope = growth.number("slope"),
                   .exponent = growth.number("exponent"),
                   .rate = growth.number("rate")};
  if (const auto jump = it->find("dominated_by_jump"); jump != it->end()) {
    if (!jump->is_boolean()) growth.refuse("'dominated_by_jump' is neither true nor false");
    out.dominated_by_jump = jump->get<bool>();
  }
  if (it->contains("aicc")) {
    const JsonFields aicc((*it)["aicc"], origin);
    out.aicc_linear = aicc.number("linear");
    out.aicc_power = aicc.number("power");
    out.aicc_exponential = aicc.number("exponential");
  }
  return out;
}

uint64_t whole_or_zero(const JsonFields& fields, const json& object, const char* key) {
  return object.contains(key) && !object[key].is_null() ? fields.whole(key) : 0;
}

}  // namespace

size_t DepthValues::missing() const {
  return static_cast<size_t>(
      std::count_if(value.begin() + 1, value.end(), [](double v) { return !std::isfinite(v); }));
}

const DepthValues* ProbeRecord::find(const std::string& key) const {
  const auto it = metrics.find(key);
  return it == metrics.end() || it->second.missing() == layers ? nullptr : &it->second;
}

ProbeRecord read_probe(const json& object, const std::filesystem::path& origin) {
  const JsonFields fields(object, origin);
  ProbeRecord probe;
  probe.path = origin;
  probe.model = fields.text("model");
  probe.dtype = fields.text("dtype");
  probe.checkpoint = fields.text("checkpoint");
  probe.tokens = whole_or_zero(fields, object, "tokens");
  probe.sequences = whole_or_zero(fields, object, "sequences");
  probe.seq = whole_or_zero(fields, object, "seq");
  probe.loss = fields.number("loss");
  probe.loss_stderr = fields.number("loss_stderr");
  probe.perplexity = fields.number("perplexity");
  read_layers(fields, origin, probe);
  if (const auto it = object.find("embedding"); it != object.end() && !it->is_null())
    read_layer(*it, 0, JsonFields(*it, origin), probe);
  const size_t L = probe.layers;
  const auto shrinking = [&](size_t row) { return row < L ? L - row : 0; };
  const auto square = [&](size_t) { return L; };
  probe.angular_all = read_matrix(fields, object, "angular_matrix_all", L, shrinking);
  probe.angular_last = read_matrix(fields, object, "angular_matrix_last", L, shrinking);
  probe.causal = read_matrix(fields, object, "causal_score", L, square);
  probe.permutation = read_matrix(fields, object, "permutation_score", L, square);
  probe.permutation_tokens = whole_or_zero(fields, object, "permutation_tokens");
  probe.growth = read_growth(object, origin);
  probe.usefulness_share = fields.number("usefulness_share");
  probe.usefulness_reason = fields.text("usefulness_reason");
  probe.grad_norm_reason = fields.text("grad_norm_reason");
  if (object.contains("summary")) {
    for (const json& sentence : fields.list("summary")) {
      if (!sentence.is_string()) fields.refuse("'summary' has an entry that is not a text");
      probe.summary.push_back(sentence.get<std::string>());
    }
  }
  return probe;
}

}  // namespace fathom
