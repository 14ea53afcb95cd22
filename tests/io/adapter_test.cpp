// Adapters that other programs wrote.

#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/adapter.h"
#include "support/adapter_folder.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

using nlohmann::json;

const std::filesystem::path kBase = std::filesystem::path(FATHOM_TEST_DATA) / "eval/data/bpe-lns";

// PEFT subtracts what PiSSA and its like begin with from the base; the file alone does not say how much.
TEST(Adapter, RefusesWhatChangesTheBase) {
  const test::TempFolder folder;
  for (const json& plain :
       {json(true), json(false), json(), json("gaussian"), json("orthogonal"), json("eva")}) {
    test::write_adapter(folder / "a", kBase, {{"init_lora_weights", plain}});
    EXPECT_EQ(read_adapted_config(folder / "a").lora.rank, 2u) << plain;
  }
  for (const char* changing :
       {"pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga", "a later one"}) {
    test::write_adapter(folder / "a", kBase, {{"init_lora_weights", changing}});
    EXPECT_ERROR(read_adapted_config(folder / "a"), ErrorCode::kFailed, "adapter_config.json", changing,
                 "path_initial_model_for_weight_conversion");
  }
}

}  // namespace
}  // namespace fathom
