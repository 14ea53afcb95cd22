#include "train/merge.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"
#include "core/rng.h"
#include "io/adapter.h"
#include "io/checkpoint.h"
#include "io/gguf_model.h"
#include "train/unfinished_folder.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// The type of the base's weights; dequantized ones fit no narrower type exactly.
DType stored_type_of_base(const fs::path& adapter) {
  fs::path base = adapter_base(adapter);
  while (is_adapter(base)) base = adapter_base(base);
  if (is_gguf(base)) return DType::kF32;
  const bool bf16_stored = open_tensor_store(base)->at("model.embed_tokens.weight").type == StoredType::kBf16;
  return bf16_stored ? DType::kBf16 : DType::kF32;
}

// Logits of some random sequences.
std::vector<float> logits_of(Transformer<float>& model) {
  const ModelConfig& config = model.config();
  const size_t T = std::min<size_t>(16, config.max_position_embeddings), rows = 2 * T;
  std::vector<int32_t> tokens(rows);
  Rng rng(1);
  for (int32_t& t : tokens) t = static_cast<int32_t>(rng.below(config.vocab_size));
  const Batch batch{.B = 2, .T = T, .tokens = tokens.data()};
  std::vector<float> x(rows * config.hidden_size), logits(rows * config.vocab_size);
  model.embed(x.data(), batch);
  model.run(x.data(), whole_program<float>(model.plans().size()), batch);
  model.logits(logits.data(), x.data(), rows);
  return logits;
}

std::vector<float> unmerged_logits(const fs::path& adapter) {
  const ModelConfig config = read_adapted_config(adapter);
  FrozenWeights<float> base(config);
  load_weights(base, adapter_base(adapter));
  AdaptedWeights<float> adapters(config, base);
  load_adapter(adapters.values(), adapters.list(), adapter);
  Transformer<float> model(config, adapters);
  return logits_of(model);
}

std::vector<float> logits_of_folder(const fs::path& folder) {
  ResidentWeights<float> weights(read_config(folder));
  load_weights(weights, folder);
  Transformer<float> model(weights.config(), weights);
  return logits_of(model);
}

}  // namespace

MergeResult merge_adapter(const fs::path& adapter, const fs::path& out,
                          const std::function<void(const fs::path&)>& add_files) {
  if (!is_adapter(adapter)) {
    usage_error(adapter.string() + ": is no adapter: it has no adapter_config.json",
                "give a run of `fathom finetune --lora-rank`, or an adapter's folder");
  }
  if (fs::exists(out) && !(fs::is_directory(out) && fs::is_empty(out)))
    usage_error(out.string() + ": exists already", "give a new folder with --out");
  const DType stored = stored_type_of_base(adapter);
  UnfinishedFolder folder(out.string() + ".partial-" + std::to_string(::getpid()));
  MergeResult result;
  {
    ResidentWeights<float> merged(read_config(adapter));
    load_weights(merged, adapter);
    save_model(folder.path(), merged.config(), merged.list(), merged.values(), stored);
    result.parameters = merged.count();
  }
  result.adapters = parameter_count(adapter_list(read_adapted_config(adapter)));
  add_files(folder.path());
  const std::vector<float> expected = unmerged_logits(adapter), read = logits_of_folder(folder.path());
  double largest = 0, difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    difference = std::max(difference, std::abs(static_cast<double>(read[i]) - expected[i]));
  }
  result.deviation = difference / largest;
  // A bf16 file rounds each merged weight by up to 2^-9 of itself; an error of form is far beyond either.
  const double tolerance = stored == DType::kBf16 ? 0.1 : 1e-3;
  if (!(result.deviation <= tolerance)) {
    fail(fmt::format(
             "{}: the merged model's logits differ by {:.2e} of the largest from those of base and adapter",
             out.string(), result.deviation),
         "nothing was written");
  }
  if (fs::exists(out)) fs::remove(out);  // an empty folder
  folder.finish(out);
  return result;
}

}  // namespace fathom
