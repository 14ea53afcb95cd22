#pragma once
// A model's parameters where they stand in its files: the one place that knows how a checkpoint's tensors
// become the values that a model computes with, whether all are loaded at once or one layer at a time.

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/dequantize.h"
#include "model/parameters.h"

namespace fathom {

class StoredAdapter;

/// Opens a Hugging Face folder, a .gguf file or an adapter's folder (which is folded into its base as that is
/// read) and finds every parameter of `list` in it. Nothing is read but headers. Errors: Error where a tensor
/// is missing, is of another shape or of a type that is not read, or is left over, so that a bad checkpoint
/// fails before any work is done.
class StoredParameters {
 public:
  ~StoredParameters();
  StoredParameters(const std::filesystem::path& model, const ModelConfig& config,
                   const std::vector<ParamSpec>& list);

  /// The parameter's values into `out` (spec.size()), as the model computes with them: dequantized, rows of q
  /// and k in Hugging Face's order, norms' gains with the offset that the family's files leave out. To:
  /// double, float, bf16. The file's pages are given back on the way. Errors: Error where a value is not
  /// finite.
  template <class To>
  void read(To* out, const ParamSpec& spec) const;
  /// Rows [begin, begin + count) of a matrix whose rows stand in order (embedding, head), unchecked.
  template <class To>
  void read_rows(To* out, const ParamSpec& spec, size_t begin, size_t count) const;

  /// As the file has it; F32 where an adapter is folded in: no narrower type holds the sums.
  StoredType stored_type(const ParamSpec& spec) const {
    return base_ ? StoredType::kF32 : weight(spec).tensor->type;
  }

  /// Tells the system that the parameter will be read soon; that rows of it will not be read again soon.
  void prefetch(const ParamSpec& spec) const;
  void drop(const ParamSpec& spec) const;

  /// What the files are, for a fingerprint: names, sizes, times of change.
  std::string identity() const;

 private:
  const StoredWeight& weight(const ParamSpec& spec) const;
  template <class To>
  void read_adapted(To* out, const ParamSpec& spec) const;
  bool is_permuted(const ParamSpec& spec) const;
  template <class To>
  void read_and_drop(To* out, const ParamSpec& spec) const;
  template <class To>
  void require_finite(const To* values, const ParamSpec& spec) const;

  // Of an adapter's folder: what stands beside what; the other members are empty.
  std::unique_ptr<StoredParameters> base_;
  std::unique_ptr<StoredAdapter> adapter_;

  bool gguf_ = false, permuted_ = false;
  size_t head_dim_ = 0;
  double norm_offset_ = 0;
  std::unique_ptr<TensorStore> store_;
  std::map<std::string, StoredWeight> weights_;  // by the parameter's Hugging Face name
};

/// What the numbers of a model depend on, for a fingerprint of partial work: identity() of its weights and
/// the text of its config.json; of an adapter its own config and all that its base is. Errors: those of
/// StoredParameters.
std::string model_identity(const std::filesystem::path& model, const ModelConfig& config);

}  // namespace fathom
