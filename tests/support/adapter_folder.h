#pragma once
// A folder with a LoRA adapter as PEFT saves one: it names its base, and knows nothing of the base's values.

#include <filesystem>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/rng.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"

namespace fathom::test {

/// Rank 2 beside q and v of `base`; `more` goes into adapter_config.json, over what stands there.
inline void write_adapter(const std::filesystem::path& folder, const std::filesystem::path& base,
                          const nlohmann::json& more = nlohmann::json::object()) {
  ModelConfig config = read_config(base);
  config.lora = {.rank = 2, .alpha = 4, .targets = parse_lora_targets("q,v")};
  const std::vector<ParamSpec> list = adapter_list(config);
  std::vector<float> values(parameter_count(list));
  Rng rng(17);
  for (float& value : values) value = 0.1f * static_cast<float>(rng.normal());
  std::vector<TensorToWrite> tensors;
  for (const ParamSpec& spec : list)
    tensors.push_back({spec.name, spec.shape, values.data() + spec.offset, DType::kF32, DType::kF32});
  std::filesystem::create_directories(folder);
  write_safetensors(folder / "adapter_model.safetensors", tensors, {{"format", "pt"}});
  nlohmann::json json{
      {"peft_type", "LORA"}, {"base_model_name_or_path", base.string()}, {"r", 2}, {"lora_alpha", 4},
      {"bias", "none"},      {"target_modules", {"q_proj", "v_proj"}}};
  json.update(more);
  write_text_file(folder / "adapter_config.json", json.dump());
}

}  // namespace fathom::test
