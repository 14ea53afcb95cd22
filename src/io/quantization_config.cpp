// config.json's "quantization_config": how Hugging Face says that weights are stored otherwise than plainly.

#include <nlohmann/json.hpp>

#include "io/checkpoint.h"
#include "io/io_error.h"
#include "io/json_text.h"

namespace fathom {

BlockShape block_shape_from_json(const nlohmann::json& config, const std::string& origin) {
  const auto it = config.find("quantization_config");
  if (it == config.end() || it->is_null()) return {};
  if (!it->is_object()) fail_file(origin, "'quantization_config' must be an object");
  const auto method = it->find("quant_method");
  if (method == it->end() || !method->is_string() || *method != "fp8") {
    fail_file(origin,
              "'quantization_config.quant_method' is " +
                  (method == it->end() ? std::string("missing") : method->dump()),
              "read are plain weights, \"fp8\" with block scales, and GGUF");
  }
  const auto size = it->find("weight_block_size");
  if (size == it->end() || size->is_null()) return {};
  const auto is_side = [](const nlohmann::json& side) {
    return side.is_number_integer() && side > 0 && side <= 65536;
  };
  if (!size->is_array() || size->size() != 2 || !is_side((*size)[0]) || !is_side((*size)[1])) {
    fail_file(origin, "'quantization_config.weight_block_size' must be two whole numbers from 1 to 65536");
  }
  return {.rows = (*size)[0].get<size_t>(), .columns = (*size)[1].get<size_t>()};
}

BlockShape read_block_shape(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  if (!std::filesystem::exists(path)) return {};
  return block_shape_from_json(parse_json_object(read_text_file(path, kMaxConfigBytes), path), path.string());
}

}  // namespace fathom
