#include "kernels/isa.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"

namespace fathom {
namespace {

constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx};

bool available(Isa isa) {
  const auto& have = available_isas();
  return std::find(have.begin(), have.end(), isa) != have.end();
}

TEST(Isa, ScalarIsAlwaysThereAndTheListRises) {
  const auto& have = available_isas();
  ASSERT_FALSE(have.empty());
  EXPECT_EQ(have.front(), Isa::kScalar);
  EXPECT_TRUE(std::is_sorted(have.begin(), have.end()));
}

TEST(Isa, SetsWhatTheMachineHasAndRefusesTheRest) {
  const Isa before = active_isa();
  for (Isa isa : kAll) {
    if (available(isa)) {
      set_active_isa(isa);
      EXPECT_EQ(active_isa(), isa);
      continue;
    }
    try {
      set_active_isa(isa);
      ADD_FAILURE() << isa_name(isa) << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      EXPECT_NE(std::string(e.what()).find(isa_name(isa)), std::string::npos) << e.what();
    }
  }
  set_active_isa(before);
}

TEST(Isa, TheFastestIsTheHighestButForSlowProductsOfPairs) {
  const std::vector<Isa> all(std::begin(kAll), std::end(kAll));
  for (size_t n = 1; n <= all.size(); ++n) {
    const std::vector<Isa> have(all.begin(), all.begin() + static_cast<long>(n));
    EXPECT_EQ(fastest_isa(have, false), have.back());
    EXPECT_EQ(fastest_isa(have, true), have.back() == Isa::kAvx512Bf16 ? Isa::kAvx512 : have.back());
  }
  if (!available(Isa::kAvx512Bf16)) {
    EXPECT_FALSE(slow_bf16_pairs());
  }
}

TEST(Isa, ParsesTheNamesOfTheEnvironmentVariable) {
  for (Isa isa : available_isas()) EXPECT_EQ(parse_isa(std::string(isa_name(isa))), isa);
}

TEST(Isa, RefusesAnUnknownOrMissingName) {
  for (const char* name : {"avx1024", "AVX2", " avx2", "none"}) {
    try {
      parse_isa(name);
      ADD_FAILURE() << name << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      EXPECT_NE(std::string(e.what()).find(std::string("FATHOM_ISA=") + name), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("scalar"), std::string::npos) << "does not say what there is";
    }
  }
  for (Isa isa : kAll) {
    if (available(isa)) continue;
    EXPECT_THROW(parse_isa(std::string(isa_name(isa))), Error);
  }
}

}  // namespace
}  // namespace fathom
