#include "cli/selftest_checks.h"

#include <gtest/gtest.h>

namespace fathom::cli {
namespace {

class SelfTest : public testing::TestWithParam<SelfCheck> {};

TEST_P(SelfTest, Passes) {
  const CheckResult result = GetParam().run();
  EXPECT_TRUE(result.passed) << GetParam().name << ": " << result.detail;
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

INSTANTIATE_TEST_SUITE_P(Checks, SelfTest, testing::ValuesIn(self_checks()), test_name);

}  // namespace
}  // namespace fathom::cli
