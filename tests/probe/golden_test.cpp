#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "support/golden_folders.h"
#include "io/checkpoint.h"
#include "probe/golden.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

template <class W>
std::vector<KeyDeviation> hold(const fs::path& folder) {
  ResidentWeights<W> weights(read_config(folder));
  load_weights(weights, folder);
  Transformer<W> model(weights.config(), weights);
  const Golden golden = read_golden(folder);
  return compare_golden(golden.expected, compute_golden(model, weights, golden), dtype_of<W>());
}

void expect_passed(const std::vector<KeyDeviation>& keys) {
  EXPECT_EQ(keys.size(), 23u);
  for (const KeyDeviation& k : keys) {
    EXPECT_TRUE(k.passed()) << k.key << " " << k.problem << " deviates by " << k.deviation << " at "
                            << k.worst << ", tolerance " << k.tolerance;
  }
}

std::string name_of(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class OwnGolden : public testing::TestWithParam<std::string> {};
TEST_P(OwnGolden, ReferencePathAgreesTo1e9) { expect_passed(hold<double>(own_goldens() / GetParam())); }
TEST_P(OwnGolden, Fp32Agrees) { expect_passed(hold<float>(own_goldens() / GetParam())); }
TEST_P(OwnGolden, Bf16Agrees) { expect_passed(hold<bf16>(own_goldens() / GetParam())); }
INSTANTIATE_TEST_SUITE_P(Golden, OwnGolden, testing::ValuesIn(golden_names(own_goldens())), name_of);

class SharedGolden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (shared_folder().empty())
      GTEST_SKIP() << "FATHOM_SHARED is unset and there is no ../shared beside the checkout";
  }
  fs::path folder() const { return shared_folder() / "golden" / GetParam(); }
};
TEST_P(SharedGolden, ReferencePathAgreesTo1e9) { expect_passed(hold<double>(folder())); }
TEST_P(SharedGolden, Fp32Agrees) { expect_passed(hold<float>(folder())); }
TEST_P(SharedGolden, Bf16Agrees) { expect_passed(hold<bf16>(folder())); }
INSTANTIATE_TEST_SUITE_P(Golden, SharedGolden,
                         testing::Values("deepnorm", "layerscale", "lns", "mix", "peri", "post", "pre",
                                         "sandwich", "scaled-init"),
                         name_of);

}  // namespace
}  // namespace fathom
