#include "train/nonfinite.h"

#include <cmath>

#include <fmt/format.h>

#include "kernels/vector_ops.h"

namespace fathom {
namespace {

template <class S>
std::string place_in(const ParamSpec& spec, const S* values, const char* what) {
  const size_t at = first_non_finite(values + spec.offset, spec.size());
  if (at == spec.size()) return "";
  const auto value = static_cast<double>(values[spec.offset + at]);
  const std::string where = spec.layer >= 0 ? fmt::format("layer {}, ", spec.layer + 1) : "";
  return fmt::format("{}{} '{}' (element {} is {})", where, what, spec.name, at, value_text(value));
}

template <class S>
std::string place_in_stream(const Tap<S>& tap, size_t rows, size_t C) {
  const size_t at = first_non_finite(tap.after, rows * C);
  if (at == rows * C) return "";
  const auto value = static_cast<double>(tap.after[at]);
  std::string where = "the embedding's output";
  if (tap.point == TapPoint::kAttention)
    where = fmt::format("layer {}, output of its attention step", tap.layer + 1);
  if (tap.point == TapPoint::kMlp) where = fmt::format("layer {}, output of its MLP step", tap.layer + 1);
  return fmt::format("{} (token {}, channel {} is {})", where, at / C, at % C, value_text(value));
}

}  // namespace

std::string value_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Inf" : "-Inf";
  return fmt::format("{}", value);
}

template <class W>
std::string describe_non_finite(Transformer<W>& model, const std::vector<ParamSpec>& list,
                                const Stream<W>* values, const std::vector<ParamSpec>& trained,
                                const Stream<W>* gradients, const Batch& batch) {
  using S = Stream<W>;
  for (const ParamSpec& spec : list) {
    if (std::string place = place_in(spec, values, "parameter"); !place.empty()) return place;
  }
  std::string first;
  std::vector<double> nll(batch.rows());
  const size_t rows = batch.rows(), C = model.config().hidden_size;
  model.forward(nll.data(), batch, [&](const Tap<S>& tap) {
    if (first.empty()) first = place_in_stream(tap, rows, C);
  });
  if (!first.empty()) return first;
  for (size_t i = 0; i < nll.size(); ++i) {
    if (!std::isfinite(nll[i])) return fmt::format("the loss of token {} is {}", i, value_text(nll[i]));
  }
  // The list runs from the embedding to the head, gradients the other way.
  for (size_t i = trained.size(); i-- > 0;) {
    if (std::string place = place_in(trained[i], gradients, "gradient of"); !place.empty()) return place;
  }
  return "";
}

template std::string describe_non_finite(Transformer<float>&, const std::vector<ParamSpec>&, const float*,
                                         const std::vector<ParamSpec>&, const float*, const Batch&);
template std::string describe_non_finite(Transformer<bf16>&, const std::vector<ParamSpec>&, const float*,
                                         const std::vector<ParamSpec>&, const float*, const Batch&);

}  // namespace fathom
