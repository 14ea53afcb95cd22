#include "io/stored_parameters.h"

#include <algorithm>
#include <set>

#include "core/file.h"
#include "io/adapter.h"
#include "io/checkpoint.h"
#include "io/gguf.h"
#include "io/gguf_model.h"
#include "io/io_error.h"
#include "io/rope_permutation.h"
#include "kernels/vector_ops.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// Tensors that some exporters write and that no Llama needs.
bool may_be_left_over(const std::string& name, const ModelConfig& config) {
  return name.ends_with("rotary_emb.inv_freq") || (name == "lm_head.weight" && config.tie_word_embeddings);
}

template <class T>
size_t first_bad(const T* values, size_t n) {
  return first_non_finite(values, n);
}
template <>
size_t first_bad(const bf16* values, size_t n) {
  constexpr uint16_t kExponent = 0x7f80;
  for (size_t i = 0; i < n; ++i) {
    if ((values[i].bits & kExponent) == kExponent) return i;
  }
  return n;
}

}  // namespace

StoredParameters::StoredParameters(const fs::path& model, const ModelConfig& config,
                                   const std::vector<ParamSpec>& list)
    : gguf_(is_gguf(model)), head_dim_(config.head_dim) {
  if (is_adapter(model)) {
    base_ = std::make_unique<StoredParameters>(adapter_base(model), config, list);
    adapter_ = std::make_unique<StoredAdapter>(model);
    return;
  }
  BlockShape block;
  if (gguf_) {
    auto file = std::make_unique<GgufFile>(model);
    permuted_ = gguf_permutes_qk(file->metadata().text("general.architecture"));
    store_ = std::move(file);
  } else {
    norm_offset_ = config.norm_weight_offset;
    store_ = open_tensor_store(model);
    block = read_block_shape(model);
  }
  std::set<std::string> used;
  if (gguf_) used.insert(kGgufRopeFactors);
  for (const ParamSpec& spec : list) {
    const std::string& name = gguf_ ? spec.gguf_name : spec.name;
    const StoredWeight weight = find_weight(*store_, name, block);
    const TensorView& tensor = *weight.tensor;
    if (tensor.shape != spec.shape) {
      fail_tensor(tensor.path(), name,
                  "has shape " + shape_text(tensor.shape) +
                      (gguf_ ? ", the metadata ask for " : ", config.json asks for ") +
                      shape_text(spec.shape),
                  tensor.offset);
    }
    weights_.emplace(spec.name, weight);
    used.insert(name);
    if (weight.scales != nullptr) used.insert(weight.scales->name);
  }
  for (const auto& [name, tensor] : store_->tensors()) {
    if (used.contains(name) || (!gguf_ && may_be_left_over(name, config))) continue;
    fail_tensor(tensor.path(), name,
                std::string("is not part of the model that ") +
                    (gguf_ ? "the metadata describe" : "config.json describes"),
                tensor.offset,
                gguf_ ? "is it another architecture?" : "is it another architecture or norm_scheme?");
  }
}

StoredParameters::~StoredParameters() = default;

const StoredWeight& StoredParameters::weight(const ParamSpec& spec) const {
  const auto it = weights_.find(spec.name);
  if (it == weights_.end()) fail("internal: no parameter '" + spec.name + "' was asked for at the start");
  return it->second;
}

bool StoredParameters::is_permuted(const ParamSpec& spec) const { return permuted_ && is_q_or_k(spec.role); }

template <class To>
void StoredParameters::require_finite(const To* values, const ParamSpec& spec) const {
  const size_t bad = first_bad(values, spec.size());
  if (bad == spec.size()) return;
  const TensorView& tensor = *weight(spec).tensor;
  fail_tensor(tensor.path(), tensor.name,
              "its element " + std::to_string(bad) + " of " + std::to_string(spec.size()) + " is not finite",
              tensor.offset, "is the file damaged, or did its training diverge?");
}

// A large matrix some rows at a time, the file's pages given back behind them: a head of a gigabyte must not
// stand in memory twice.
template <class To>
void StoredParameters::read_and_drop(To* out, const ParamSpec& spec) const {
  constexpr size_t kBytes = size_t{16} << 20;
  const StoredWeight& stored = weight(spec);
  const TensorView& tensor = *stored.tensor;
  const size_t rows = tensor.rows(), row_bytes = tensor.size_bytes / std::max<size_t>(1, rows);
  const size_t some = std::max<size_t>(1, kBytes / std::max<size_t>(1, row_bytes));
  for (size_t r = 0; r < rows; r += some) {
    const size_t n = std::min(some, rows - r);
    dequantize_rows(out + r * tensor.row_elements(), stored, r, n);
    if (rows > some) tensor.file->drop(tensor.offset + r * row_bytes, n * row_bytes);
  }
  drop(spec);
}

template <class To>
void StoredParameters::read_adapted(To* out, const ParamSpec& spec) const {
  if constexpr (std::is_same_v<To, bf16>) {
    // Rounded once, when the adapter is in.
    std::vector<float> values(spec.size());
    read_adapted(values.data(), spec);
    convert(out, values.data(), spec.size());
  } else {
    base_->read(out, spec);
    if (adapter_->adapts(spec)) adapter_->fold(out, spec);
  }
}

template <class To>
void StoredParameters::read(To* out, const ParamSpec& spec) const {
  if (base_ != nullptr) return read_adapted(out, spec);
  if (is_permuted(spec)) {
    std::vector<To> rows(spec.size());
    read_and_drop(rows.data(), spec);
    unpermute_qk(out, rows.data(), spec.shape[0], spec.is_matrix() ? spec.shape[1] : 1, head_dim_);
  } else {
    read_and_drop(out, spec);
  }
  if constexpr (!std::is_same_v<To, bf16>) {
    if (norm_offset_ != 0 && is_norm_weight(spec.role)) {
      for (size_t i = 0; i < spec.size(); ++i) out[i] += static_cast<To>(norm_offset_);
    }
  }
  require_finite(out, spec);
}

template <class To>
void StoredParameters::read_rows(To* out, const ParamSpec& spec, size_t begin, size_t count) const {
  if (base_ != nullptr)
    return base_->read_rows(out, spec, begin, count);  // embedding and head have no adapters
  dequantize_rows(out, weight(spec), begin, count);
}

void StoredParameters::prefetch(const ParamSpec& spec) const {
  if (base_ != nullptr) return base_->prefetch(spec);
  const StoredWeight& stored = weight(spec);
  stored.tensor->prefetch();
  if (stored.scales != nullptr) stored.scales->prefetch();
}

void StoredParameters::drop(const ParamSpec& spec) const {
  if (base_ != nullptr) return base_->drop(spec);
  const StoredWeight& stored = weight(spec);
  stored.tensor->drop();
  if (stored.scales != nullptr) stored.scales->drop();
}

std::string StoredParameters::identity() const {
  if (base_ != nullptr) return adapter_->fingerprint() + "\n" + base_->identity();
  std::set<std::string> files;
  for (const auto& [name, tensor] : store_->tensors()) {
    const fs::path& path = tensor.path();
    files.insert(path.filename().string() + " " + std::to_string(fs::file_size(path)) + " " +
                 std::to_string(fs::last_write_time(path).time_since_epoch().count()));
  }
  std::string text;
  for (const std::string& file : files) text += file + "\n";
  return text;
}

std::string model_identity(const fs::path& model, const ModelConfig& config) {
  std::string text = StoredParameters(model, config, parameter_list(config)).identity();
  fs::path folder = model;
  for (; is_adapter(folder); folder = adapter_base(folder))
    text += read_text_file(folder / "adapter_config.json", kMaxConfigBytes);
  if (fs::exists(folder / "config.json")) text += read_text_file(folder / "config.json", kMaxConfigBytes);
  return text;
}

#define FATHOM_INSTANTIATE(To)                                       \
  template void StoredParameters::read(To*, const ParamSpec&) const; \
  template void StoredParameters::read_rows(To*, const ParamSpec&, size_t, size_t) const;
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
