#include "io/export.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/temporary_path.h"
#include "io/checkpoint.h"
#include "io/families.h"
#include "io/gguf_config.h"
#include "io/gguf_model.h"
#include "io/io_error.h"
#include "io/modeling_fathom.h"
#include "io/norm_fold.h"
#include "io/quantize.h"
#include "io/rope_factors.h"
#include "io/rope_permutation.h"
#include "io/safetensors.h"
#include "model/logit_deviation.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// The numbers of general.file_type (llama_ftype in llama.h of ggml-org/llama.cpp).
uint32_t gguf_file_type(StoredType type) {
  return type == StoredType::kF32 ? 0 : type == StoredType::kF16 ? 1 : type == StoredType::kQ8_0 ? 7 : 32;
}

// What becomes of each parameter on its way into the file.
class Exporter {
 public:
  Exporter(const ParameterReader& reader, const ExportOptions& options)
      : reader_(reader),
        options_(options),
        gguf_(options.format == ExportFormat::kGguf),
        type_(options.type.value_or(export_type(reader, options.format))),
        config_(reader.config()) {
    if (options.fold) {
      fold_.emplace(reader);
      config_ = fold_->config();
    }
    list_ = parameter_list(config_);
    if (!gguf_ && type_ == StoredType::kQ8_0)
      usage_error("--type q8_0 is a type of GGUF", "give --format gguf, or f32, f16 or bf16");
    if (gguf_) architecture_ = gguf_architecture_of(config_);
  }

  void write(const fs::path& path) {
    CountedWork written(options_.progress, "write", parameter_count(list_), "parameters");
    written_ = &written;
    gguf_ ? write_gguf_file(path) : write_folder(path);
    written_ = nullptr;
  }
  /// Errors: Error where what was read back computes something else.
  void compare(const fs::path& written, ExportResult& result) const;

  const ModelConfig& config() const { return config_; }
  const std::vector<ParamSpec>& list() const { return list_; }
  const std::string& architecture() const { return architecture_; }
  StoredType type() const { return type_; }

  StoredType stored(const ParamSpec& spec) const {
    // GGUF: norms and biases are F32, as llama.cpp's converter has them. Hugging Face: what the fold changed
    // stays F32, so that it is rounded once.
    if (!spec.is_matrix() && (gguf_ || (fold_ && fold_->changes(spec.role)))) return StoredType::kF32;
    const bool whole = spec.shape.back() % stored_type_info(type_).block_elements == 0;
    return whole ? type_ : StoredType::kF16;
  }

 private:
  // Values of the source's parameter, folded, as the file holds them but for rounding and order.
  void make(float* values, const ParamSpec& source) const {
    reader_.read(values, source);
    if (fold_) fold_->apply(values, source);
    shift(values, source, -1);
    if (stored(source) == StoredType::kF16) require_half(values, source);
    written_->add(source.size());
  }
  static void require_half(const float* values, const ParamSpec& spec) {
    constexpr float kMost = 65520.0f;  // from here on an F16 is infinite
    const auto* bad =
        std::find_if(values, values + spec.size(), [](float v) { return !(std::abs(v) < kMost); });
    if (bad == values + spec.size()) return;
    fail("'" + spec.name + "' holds " + std::to_string(*bad) + ", and F16 holds 65504 at the most",
         "give --type bf16 or f32");
  }
  // Hugging Face's files hold Gemma's gains less one; GGUF's the gains.
  void shift(float* values, const ParamSpec& spec, float sign) const {
    if (gguf_ || !is_norm_weight(spec.role) || config_.norm_weight_offset == 0) return;
    for (size_t i = 0; i < spec.size(); ++i)
      values[i] += sign * static_cast<float>(config_.norm_weight_offset);
  }
  const ParamSpec& source_of(const ParamSpec& spec) const {
    const ParamSpec* source = reader_.find(spec.name);
    if (source == nullptr) fail("internal: the source has no parameter '" + spec.name + "'");
    return *source;
  }
  void write_folder(const fs::path& folder) const;
  void write_gguf_file(const fs::path& path) const;

  const ParameterReader& reader_;
  const ExportOptions& options_;
  bool gguf_;
  StoredType type_;
  ModelConfig config_;
  std::optional<NormFold> fold_;
  std::vector<ParamSpec> list_;
  std::string architecture_;
  CountedWork* written_ = nullptr;  // while write() runs
};

void Exporter::write_folder(const fs::path& folder) const {
  nlohmann::json json = config_to_json(config_, DType::kF32);
  json["torch_dtype"] = type_ == StoredType::kF16    ? "float16"
                        : type_ == StoredType::kBf16 ? "bfloat16"
                                                     : "float32";
  if (fold_) json.erase("norm_scheme");
  fs::create_directories(folder);
  std::vector<TensorToMake> tensors;
  for (const ParamSpec& spec : list_)
    tensors.push_back(
        {spec.name, spec.shape, stored(spec), [this, &spec](float* out) { make(out, source_of(spec)); }});
  write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
  if (json["model_type"] == "fathom") write_text_file(folder / "modeling_fathom.py", kModelingFathom);
  for (const auto& [name, bytes] : options_.files) write_text_file(folder / name, bytes);
  write_text_file(folder / "config.json", json.dump(2) + "\n");
}

void Exporter::write_gguf_file(const fs::path& path) const {
  GgufPairs pairs{{"general.architecture", gguf_string(architecture_)},
                  {"general.type", gguf_string("model")},
                  {"general.name", gguf_string(options_.name)},
                  {"general.file_type", gguf_uint32(gguf_file_type(type_))},
                  {"general.quantization_version", gguf_uint32(2)}};
  for (auto& pair : gguf_config_pairs(config_, architecture_)) pairs.push_back(std::move(pair));
  pairs.insert(pairs.end(), options_.tokenizer.begin(), options_.tokenizer.end());
  std::vector<GgufTensor> tensors;
  const RopeScaling::Type rope = config_.rope_scaling.type;
  std::vector<float> factors;
  if (rope == RopeScaling::Type::kLlama3 || rope == RopeScaling::Type::kFactors) {
    factors = rope_factors(config_.head_dim, config_.rope_theta, config_.rope_scaling);
    tensors.push_back({kGgufRopeFactors, {factors.size()}, factors.data(), DType::kF32, StoredType::kF32});
  }
  const bool permuted = gguf_permutes_qk(architecture_);
  for (const ParamSpec& spec : list_) {
    const auto fill = [this, &spec, permuted](float* out) {
      if (!permuted || !is_q_or_k(spec.role)) return make(out, source_of(spec));
      Buffer<float> rows(spec.size());
      make(rows.data(), source_of(spec));
      permute_qk(out, rows.data(), spec.shape[0], spec.is_matrix() ? spec.shape[1] : 1, config_.head_dim);
    };
    tensors.push_back({spec.gguf_name, spec.shape, nullptr, DType::kF32, stored(spec), fill});
  }
  if (path.has_parent_path()) fs::create_directories(path.parent_path());
  write_gguf(path, pairs, tensors);
}

// ---- what was written, against the source ----------------------------------------------------------------

std::vector<float> logits_of(const ParameterReader& reader, const ModelConfig& config, CountedWork& compared,
                             ReadingWeights::Change change = {}) {
  ReadingWeights weights(reader, config, std::move(change));
  Transformer<float> model(config, weights);
  return trial_logits(model, whole_program<float>(config.num_hidden_layers), [&](const Tap<float>& tap) {
    if (tap.point == TapPoint::kMlp) compared.add(1);
  });
}

void Exporter::compare(const fs::path& written, ExportResult& result) const {
  const ParameterReader reader(written);
  const bool as_it_is = type_ == StoredType::kF32 && !fold_;
  const size_t runs = 2 + (as_it_is ? 0 : 1) + (fold_ ? 1 : 0);
  CountedWork compared(options_.progress, "compare", runs * config_.num_hidden_layers, "layers");
  const std::vector<float> exported = logits_of(reader, reader.config(), compared);
  const std::vector<float> source = logits_of(reader_, reader_.config(), compared);
  result.deviation_from_source = logit_deviation(exported, source, true);
  // The source's own weights, folded and rounded in memory: what the file must hold.
  const std::vector<float> same_weights =
      as_it_is ? source : logits_of(reader_, config_, compared, [this](float* values, const ParamSpec& spec) {
        if (fold_) fold_->apply(values, spec);
        shift(values, spec, -1);
        round_through(values, stored(spec), spec.size());
        shift(values, spec, 1);
      });
  result.deviation = logit_deviation(exported, same_weights, true);
  if (fold_) {  // and the fold itself, unrounded, against the scheme
    const std::vector<float> folded =
        logits_of(reader_, config_, compared,
                  [this](float* values, const ParamSpec& spec) { fold_->apply(values, spec); });
    result.deviation = std::max(result.deviation, logit_deviation(folded, source, true));
  }
  if (!(result.deviation <= kExportTolerance)) {
    fail("read back, the export computes other logits than its source: they deviate by " +
             std::to_string(result.deviation) + " of the largest",
         "nothing was written; this is an error of the program, or of the disk");
  }
}

}  // namespace

StoredType export_type(const ParameterReader& reader, ExportFormat format) {
  std::optional<StoredType> common;
  for (const ParamSpec& spec : reader.list()) {
    if (!spec.is_matrix()) continue;
    const StoredType type = reader.stored_type(spec);
    if (common && *common != type) return StoredType::kF32;
    common = type;
  }
  const bool holds =
      common && can_encode(*common) && (format == ExportFormat::kGguf || *common != StoredType::kQ8_0);
  return holds ? *common : StoredType::kF32;
}

ExportResult export_model(const fs::path& model, const fs::path& out, const ExportOptions& options) {
  require_free(out);
  const ParameterReader reader(model);
  Exporter exporter(reader, options);
  TemporaryPath temporary(out);
  exporter.write(temporary.path());
  ExportResult result;
  exporter.compare(temporary.path(), result);
  const bool gguf = options.format == ExportFormat::kGguf;
  result.model_type = gguf ? exporter.architecture() : model_type_for(exporter.config());
  result.type = exporter.type();
  result.parameters = parameter_count(exporter.list());
  result.bytes = fs::file_size(gguf ? temporary.path() : temporary.path() / "model.safetensors");
  for (const ParamSpec& spec : exporter.list()) {
    if (spec.is_matrix() && exporter.stored(spec) != exporter.type()) result.kept_wider.push_back(spec.name);
  }
  temporary.commit();
  return result;
}

}  // namespace fathom
