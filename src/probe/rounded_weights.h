#pragma once
// The weights of a checkpoint as another file will hold them: rounded, and read back.

#include <cstddef>
#include <vector>

#include "core/buffer.h"
#include "io/stored_parameters.h"
#include "model/weights.h"

namespace fathom {

/// How a parameter's values become those of a file: less the offset that norms' gains have in memory
/// (ModelConfig::norm_weight_offset), rounded.
struct Storage {
  StoredType type = StoredType::kF32;  ///< or kBf16
  double norm_offset = 0;

  /// Bytes of the values as the file holds them.
  std::vector<std::byte> encode(const std::vector<float>& values, const ParamSpec& spec) const;
  /// Replaces values (spec.size()) by what will be read back from these bytes.
  void round(float* values, const ParamSpec& spec) const;
};

/// A source's weights, rounded so, with one layer or the head in memory at a time. `values` and `list`
/// outlive it. Errors: those of StoredParameters::read.
class RoundedWeights final : public WeightSource<float> {
 public:
  RoundedWeights(const StoredParameters& values, const std::vector<ParamSpec>& list, const Storage& storage);

  OuterWeights<float> outer() override { return outer_; }
  const float* head() override;
  void embed(float* x, const int32_t* tokens, size_t rows, size_t C) override;
  LayerWeights<float> layer(size_t l) override;

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  void read(float* out, const ParamSpec& spec) const;

  const StoredParameters& values_;
  const std::vector<ParamSpec>& list_;
  Storage storage_;
  const ParamSpec *embedding_ = nullptr, *head_ = nullptr;
  Buffer<float> vectors_, held_;
  size_t held_layer_ = kNone;  // that held_ holds
  LayerWeights<float> views_;
  OuterWeights<float> outer_;
};

}  // namespace fathom
