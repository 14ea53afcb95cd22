#include <algorithm>
#include <cmath>
#include <cstdlib>
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

// In a process of its own, whose peak is that of this step.
nlohmann::json train_memory(const std::string& arguments) {
  const auto path =
      std::filesystem::temp_directory_path() / ("fathom-memory-test-" + std::to_string(getpid()) + ".json");
  const std::string command = std::string(FATHOM_BINARY) + " bench train --steps 1 --seq 128 --model " +
                              FATHOM_SOURCE_DIR + "/configs/llama-9m.json " + arguments + " --json " +
                              path.string() + " > " + path.string() + ".out";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  const auto result = nlohmann::json::parse(read_text_file(path));
  std::filesystem::remove(path);
  std::filesystem::remove(path.string() + ".out");
  return result["results"][0];
}

#ifndef __SANITIZE_ADDRESS__  // which keeps memory of its own beside ours
TEST(Bench, TrainTakesTheMemoryThatWasPlanned) {
  for (const char* arguments : {"--batch 4 --grad-accum 1", "--batch 4 --grad-accum 1 --dtype fp32",
                                "--batch 2 --grad-accum 2 --recompute --optimizer-state bf16"}) {
    const nlohmann::json result = train_memory(arguments);
    const double planned = result["planned_bytes"], peak = result["peak_bytes"];
    EXPECT_GT(peak, 1e8) << arguments;
    EXPECT_NEAR(peak / planned, 1.0, 0.05) << arguments << ": " << peak << " for " << planned;
  }
}
#endif

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
