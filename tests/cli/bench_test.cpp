#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/bench.h"
#include "cli/call.h"
#include "cli/process.h"
#include "core/file.h"
#include "core/json.h"
#include "io/checkpoint.h"
#include "kernels/isa.h"
#include "kernels/peak.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom::cli {
namespace {

/// Runs `fathom <arguments>` in this process and returns what it wrote to --json.
nlohmann::json result_of(std::string arguments) {
  const auto path =
      std::filesystem::temp_directory_path() / ("fathom-bench-test-" + std::to_string(getpid()) + ".json");
  EXPECT_FALSE(call_line(arguments + " --json " + path.string()).empty());
  const auto result = read_json(path);
  std::filesystem::remove(path);
  return result;
}

TEST(Bench, GemmReportsEachProductAgainstTheMeasuredPeak) {
  const auto result = result_of("bench gemm --shapes deep-10m --rows 20 --threads 1");
  EXPECT_EQ(result["isa"], isa_name(active_isa()));
  EXPECT_GT(result["peak_tflops"].get<double>(), 0.0);
  ASSERT_EQ(result["results"].size(), 12u);  // four layers, three products each
  EXPECT_FALSE(result.contains("stopped"));
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

TEST(Bench, GemmKeepsWhatWasMeasuredWhereItIsStopped) {
  const test::TempFolder folder;
  const auto json = folder / "gemm.json", errors = folder / "errors", output = folder / "output";
  int status = 0;
  // How soon the first product is through hangs on the machine; all 48 take far longer.
  for (useconds_t wait = 250000; wait <= 16000000 && !std::filesystem::exists(json); wait *= 2) {
    const pid_t child =
        start({"bench", "gemm", "--rows", "64", "--threads", "1", "--json", json.string()}, errors, output);
    ::usleep(wait);
    ::kill(child, SIGINT);
    status = wait_for(child);
  }
  ASSERT_TRUE(std::filesystem::exists(json)) << read_text_file(errors);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1) << "the table is not complete";
  const auto result = read_json(json);
  const size_t measured = result["results"].size();
  ASSERT_GE(measured, 1u);
  ASSERT_LT(measured, 48u);
  EXPECT_EQ(result["stopped"], true);
  EXPECT_GT(result["geomean_fraction_of_peak"].get<double>(), 0.0);
  EXPECT_NE(read_text_file(errors).find("measured " + std::to_string(measured) + " of 48 products"),
            std::string::npos)
      << read_text_file(errors);
  const std::string printed = read_text_file(output);
  EXPECT_NE(printed.find("deep-10m qkv forward"), std::string::npos) << printed;
  EXPECT_NE(printed.find(std::to_string(measured) + " products: geometric mean"), std::string::npos)
      << printed;
}

TEST(Bench, LinesAndResultHoldTheFractionsOfOnePeak) {
  nlohmann::json result = bench_result(1e12);  // seen first, and passed later
  result["results"].push_back(rate_of("first", {.median_s = 1, .least_s = 0.5, .largest_s = 1}, 1e12, 1));
  result["results"].push_back(rate_of("second", {.median_s = 1, .least_s = 1, .largest_s = 1}, 3e12, 1));
  ::testing::internal::CaptureStdout();
  report_rates(result, 4e12, "title", [](const nlohmann::json& r) { return r["name"].get<std::string>(); });
  const std::string printed = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(result["peak_tflops"], 4.0);
  EXPECT_EQ(result["results"][0]["fraction_of_peak"], 0.25);
  EXPECT_EQ(result["results"][0]["best_fraction_of_peak"], 0.5);
  EXPECT_EQ(result["results"][1]["fraction_of_peak"], 0.75);
  for (const char* part : {"peak 4000.0 GFLOP/s", "  25% of peak  best   50%", "  75% of peak  best   75%"})
    EXPECT_NE(printed.find(part), std::string::npos) << part << " in:\n" << printed;
}

#ifndef __SANITIZE_ADDRESS__  // which keeps memory of its own beside ours
// In a process of its own, whose peak is that of this step.
nlohmann::json train_memory(const std::string& arguments) {
  const auto path =
      std::filesystem::temp_directory_path() / ("fathom-memory-test-" + std::to_string(getpid()) + ".json");
  const std::string command = std::string(FATHOM_BINARY) + " bench train --steps 1 --seq 128 --model " +
                              FATHOM_SOURCE_DIR + "/configs/llama-9m.json " + arguments + " --json " +
                              path.string() + " > " + path.string() + ".out";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  const auto result = read_json(path);
  std::filesystem::remove(path);
  std::filesystem::remove(path.string() + ".out");
  return result["results"][0];
}

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

// Readers of --json find the same keys in the entries of every benchmark.
TEST(Bench, EntriesHaveTheKeysOfAllBenchmarksWhereTheySayNothingOfThem) {
  EXPECT_EQ(bench_row("memory copy"), parse_json(R"({"name": "memory copy", "tflops": null,
      "fraction_of_peak": null, "tokens_per_second": null})"));
}

TEST(Bench, AttentionChecksAndReportsBothPassesAtEachSize) {
  for (const char* dtype : {"bf16", "fp32"}) {
    const auto result = result_of(
        std::string(
            "bench attention --head-sizes 8,16 --seq 5,70 --heads 4 --kv-heads 2 --rows 140 --dtype ") +
        dtype);
    ASSERT_EQ(result["results"].size(), 8u);
    EXPECT_EQ(result["results"][0]["name"], "attention forward HS 8 T 5");
    EXPECT_EQ(result["results"][7]["name"], "attention backward HS 16 T 70");
    for (const auto& r : result["results"]) {
      const double tflops = r["tflops"], fraction = r["fraction_of_peak"], peak = result["peak_tflops"];
      EXPECT_GT(tflops, 0.0);
      EXPECT_NEAR(fraction, tflops / peak, 1e-9);
      EXPECT_GT(r["tokens_per_second"].get<double>(), 0.0);
    }
    // 2 and 5 products of B NH HS T^2 FLOP: half of the square.
    const auto& backward = result["results"][7];
    EXPECT_NEAR(backward["tflops"].get<double>() * backward["seconds"].get<double>() * 1e12,
                5.0 * 2 * 4 * 16 * 70 * 70, 1.0);
  }
}

TEST(Bench, AttentionRefusesHeadsThatDoNotFit) {
  EXPECT_ERROR(call_line("bench attention --heads 6 --kv-heads 4"), ErrorCode::kUsage, "--heads 6",
               "--kv-heads 4");
  EXPECT_ERROR(call_line("bench attention --head-sizes 12"), ErrorCode::kUsage, "--head-sizes 12",
               "multiple of 8");
}

TEST(Bench, ElementwiseHoldsEachKernelToTrafficOfItsMix) {
  const auto result = result_of("bench elementwise --rows 3 --hidden 40 --ffn 24 --vocab 50 --samples 1");
  std::set<std::string> names;
  for (const auto& r : result["results"]) {
    names.insert(r["name"]);
    EXPECT_NE(r["mix"], "");
    for (const char* key : {"tflops", "tokens_per_second"})
      EXPECT_TRUE(r.contains(key) && r[key].is_null()) << r["name"] << " " << key;
    for (const char* key : {"gbytes_per_second", "fraction_of_peak", "peak_gbytes_per_second"})
      EXPECT_GT(r[key].get<double>(), 0.0) << r["name"] << " " << key;
  }
  for (const char* name : {"RMSNorm forward, to bf16", "SwiGLU backward", "RoPE", "AdamW with bf16 copy",
                           "embedding backward, random ids", "fp32 to bf16"})
    EXPECT_EQ(names.count(name), 1u) << name;
}

// Sums of a breakdown's column.
double sum_of(const nlohmann::json& breakdown, const char* key) {
  double sum = 0;
  for (const auto& row : breakdown) sum += row[key].get<double>();
  return sum;
}

TEST(Bench, BreakdownAccountsForAllTimeAndAllProducts) {
  const test::TempFolder folder;
  const ModelConfig config = test::tiny_config(NormType::kLns);
  write_text_file(folder.path() / "config.json", config_to_json(config, DType::kF32).dump());
  const std::string model = " --model " + (folder.path() / "config.json").string();
  const auto result =
      result_of("bench train" + model + " --batch 1 --seq 8 --grad-accum 2 --steps 1 --breakdown");
  const auto& train = result["breakdown"];
  EXPECT_NEAR(sum_of(train, "share"), 1.0, 1e-9);
  std::set<std::string> kinds;
  for (const auto& row : train) {
    kinds.insert(row["kind"]);
    EXPECT_GE(row["seconds"].get<double>(), 0.0) << row["kind"];
  }
  for (const char* layer : {"qkv", "o", "gate_up", "down", "head"}) {
    for (const char* product : {" forward", " dgrad", " wgrad"})
      EXPECT_EQ(kinds.count(std::string(layer) + product), 1u) << layer << product;
  }
  for (const char* kind : {"attention forward", "attention backward", "norm forward", "norm backward", "rope",
                           "swiglu forward", "swiglu backward", "cross-entropy", "embedding forward",
                           "embedding backward", "optimizer", "gradient norm", "other"})
    EXPECT_EQ(kinds.count(kind), 1u) << kind;
  EXPECT_GT(sum_of(train, "bytes"), 0.0);

  const auto forward = result_of("bench forward" + model + " --batch 1 --seq 8 --steps 1 --breakdown");
  // The forward's products, one by one, are what is counted a token (but for the norms' weights, which count
  // as products there and not here).
  const double counted = train_flops_per_token(config, 8) / 3 * 8;
  EXPECT_NEAR(sum_of(forward["breakdown"], "flop"), counted, 0.05 * counted);
}

TEST(Bench, RefusesAnUnknownShapeAndNoSubcommand) {
  EXPECT_ERROR(call_line("bench gemm --shapes 13b"), ErrorCode::kUsage, "--shapes: 13b not in");
  EXPECT_ERROR(call_line("bench"), ErrorCode::kUsage, "see fathom bench --help");
}

}  // namespace
}  // namespace fathom::cli
