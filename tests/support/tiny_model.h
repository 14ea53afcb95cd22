#pragma once
// The tiny models of model/tiny_model.h under the tests' namespace, and the schemes to try them under.

#include "model/tiny_model.h"

namespace fathom::test {

using fathom::randomize;
using fathom::tiny_config;
using fathom::TinyBatch;
using fathom::TinyModel;

inline const std::vector<NormType>& all_norms() {
  static const std::vector<NormType> types{NormType::kPre,      NormType::kLns,        NormType::kPost,
                                           NormType::kDeepNorm, NormType::kMix,        NormType::kSandwich,
                                           NormType::kPeri,     NormType::kLayerScale, NormType::kReordered};
  return types;
}

}  // namespace fathom::test
