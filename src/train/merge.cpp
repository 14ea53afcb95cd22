#include "train/merge.h"

#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/temporary_path.h"
#include "io/adapter.h"
#include "io/checkpoint.h"
#include "io/gguf_model.h"
#include "model/logit_deviation.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// bf16 where the base is stored in it, else fp32: dequantized weights fit no narrower type exactly, and
// nothing here writes f16.
DType stored_type_of_base(const fs::path& adapter) {
  fs::path base = adapter_base(adapter);
  while (is_adapter(base)) base = adapter_base(base);
  if (is_gguf(base)) return DType::kF32;
  const bool bf16_stored = open_tensor_store(base)->at("model.embed_tokens.weight").type == StoredType::kBf16;
  return bf16_stored ? DType::kBf16 : DType::kF32;
}

std::vector<float> unmerged_logits(const fs::path& adapter, Progress* progress) {
  const ModelConfig config = read_adapted_config(adapter);
  FrozenWeights<float> base(config);
  load_weights(base, adapter_base(adapter), progress);
  AdaptedWeights<float> adapters(config, base);
  load_adapter(adapters.values(), adapters.list(), adapter);
  Transformer<float> model(config, adapters);
  return trial_logits(model);
}

std::vector<float> logits_of_folder(const fs::path& folder, Progress* progress) {
  ResidentWeights<float> weights(read_config(folder));
  load_weights(weights, folder, progress);
  Transformer<float> model(weights.config(), weights);
  return trial_logits(model);
}

// The values as a file of type `stored` gives them back: norms lie there without their family's offset.
void round_as_stored(ResidentWeights<float>& weights, DType stored) {
  if (stored != DType::kBf16) return;
  for (const ParamSpec& spec : weights.list()) {
    const auto offset =
        static_cast<float>(is_norm_weight(spec.role) ? weights.config().norm_weight_offset : 0.0);
    float* values = weights.values(spec);
    for (size_t i = 0; i < spec.size(); ++i)
      values[i] = static_cast<float>(bf16(values[i] - offset)) + offset;
  }
}

// The fold is held to base and adapter in fp32, and the file to the fold, rounded in memory: neither check
// has to allow for the rounding that both together show.
void check(const char* what, double deviation, const fs::path& out) {
  constexpr double kTolerance = 1e-3;
  if (deviation <= kTolerance) return;
  fail(fmt::format("{}: the logits of {} differ by {:.2e} of the largest", out.string(), what, deviation),
       "nothing was written");
}

}  // namespace

MergeResult merge_adapter(const fs::path& adapter, const fs::path& out,
                          const std::function<void(const fs::path&)>& add_files, Progress* progress) {
  if (!is_adapter(adapter)) {
    usage_error(adapter.string() + ": is no adapter: it has no adapter_config.json",
                "give a run of `fathom finetune --lora-rank`, or an adapter's folder");
  }
  require_free(out);
  const DType stored = stored_type_of_base(adapter);
  TemporaryPath folder(out);
  fs::create_directories(folder.path());
  MergeResult result;
  std::vector<float> folded, rounded;
  {
    ResidentWeights<float> merged(read_config(adapter));
    load_weights(merged, adapter, progress);
    save_model(folder.path(), merged.config(), merged.list(), merged.values(), stored, progress);
    result.parameters = merged.count();
    Transformer<float> model(merged.config(), merged);
    folded = trial_logits(model);
    round_as_stored(merged, stored);
    rounded = trial_logits(model);
  }
  result.adapters = parameter_count(adapter_list(read_adapted_config(adapter)));
  add_files(folder.path());
  const std::vector<float> expected = unmerged_logits(adapter, progress),
                           read = logits_of_folder(folder.path(), progress);
  check("the merged weights and of base and adapter", logit_deviation(folded, expected), out);
  check("the model, read back, and of the merged weights", logit_deviation(read, rounded), out);
  result.deviation = logit_deviation(read, expected);
  folder.commit();
  return result;
}

}  // namespace fathom
