#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>

#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/bench.h"
#include "core/file.h"
#include "kernels/isa.h"
#include "kernels/peak.h"

namespace fathom::cli {
namespace {

/// Runs `fathom <arguments>` in this process and returns what it wrote to --json.
nlohmann::json result_of(std::string arguments) {
  const auto path =
      std::filesystem::temp_directory_path() / ("fathom-bench-test-" + std::to_string(getpid()) + ".json");
  CLI::App app;
  add_bench(app);
  ::testing::internal::CaptureStdout();
  app.parse(arguments + " --json " + path.string());
  EXPECT_FALSE(::testing::internal::GetCapturedStdout().empty());
  const auto result = nlohmann::json::parse(read_text_file(path));
  std::filesystem::remove(path);
  return result;
}

TEST(Bench, GemmReportsEachProductAgainstTheMeasuredPeak) {
  const auto result = result_of("bench gemm --shapes deep-10m --rows 20 --threads 1");
  EXPECT_EQ(result["isa"], isa_name(active_isa()));
  EXPECT_GT(result["peak_tflops"].get<double>(), 0.0);
  ASSERT_EQ(result["results"].size(), 12u);  // four layers, three products each
  EXPECT_EQ(result["results"][0]["name"], "deep-10m qkv forward");
  double product = 1.0, least = 1e9;
  for (const auto& r : result["results"]) {
    const double tflops = r["tflops"], fraction = r["fraction_of_peak"], peak = result["peak_tflops"];
    EXPECT_GT(tflops, 0.0);
    EXPECT_NEAR(fraction, tflops / peak, 1e-9);
    EXPECT_GT(r["tokens_per_second"].get<double>(), 0.0);
    product *= fraction;
    least = std::min(least, fraction);
  }
  EXPECT_NEAR(result["geomean_fraction_of_peak"].get<double>(), std::pow(product, 1.0 / 12.0), 1e-9);
  EXPECT_EQ(result["least_fraction_of_peak"].get<double>(), least);
}

TEST(Bench, PeakOfMoreSumsPerStepTakesLonger) {
  // The spinning loop must not be optimized away: ten times the steps, at least three times the time.
  const auto seconds = [](size_t steps) {
    return time_calls([&] { spin_products(DType::kF32, steps); }, 9, 0.001).least_s;
  };
  EXPECT_GT(seconds(1000000), 3 * seconds(100000));
}

TEST(Bench, RefusesAnUnknownShapeAndNoSubcommand) {
  CLI::App app;
  add_bench(app);
  EXPECT_THROW(app.parse("bench gemm --shapes 13b"), CLI::ParseError);
  EXPECT_THROW(app.parse("bench"), CLI::ParseError);
}

}  // namespace
}  // namespace fathom::cli
