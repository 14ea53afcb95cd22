#include "cli/model_loading.h"

#include "core/error.h"

namespace fathom::cli {

DType parse_dtype(const std::string& name) {
  if (name == "fp32") return DType::kF32;
  if (name == "bf16") return DType::kBf16;
  usage_error("unknown --dtype '" + name + "'", "known: fp32, bf16");
}

}  // namespace fathom::cli
