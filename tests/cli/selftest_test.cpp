#include "cli/selftest_checks.h"

#include <cmath>

#include <gtest/gtest.h>

namespace fathom::cli {
namespace {

class SelfChecks : public testing::TestWithParam<SelfCheck> {};

TEST_P(SelfChecks, Passes) {
  const CheckResult result = GetParam().run();
  EXPECT_TRUE(result.passed) << GetParam().name << ": " << result.detail;
}

// A check that forgets a NaN can't fail.
TEST(SelfTest, ANanIsTheWorstErrorWhateverComesAfter) {
  Worst worst;
  worst.see(1, "one");
  worst.see(NAN, "nan");
  worst.see(2, "two");
  EXPECT_TRUE(std::isnan(worst.value));
  EXPECT_EQ(worst.where, "nan");
  EXPECT_FALSE(below(worst.value, 10, "of all").passed);
  Worst finite;
  finite.see(2, "two");
  finite.see(1, "one");
  EXPECT_EQ(finite.where, "two");
  EXPECT_TRUE(below(finite.value, 2, "of all").passed);
}

std::string test_name(const testing::TestParamInfo<SelfCheck>& info) {
  std::string name;
  for (const char c : info.param.name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      name += c;
    else if (!name.empty() && name.back() != '_')
      name += '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Checks, SelfChecks, testing::ValuesIn(self_checks()), test_name);

}  // namespace
}  // namespace fathom::cli
