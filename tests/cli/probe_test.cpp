// fathom probe, called as main() calls it, on tiny checkpoints.

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/call.h"
#include "cli/probe_results.h"
#include "core/file.h"
#include "core/json.h"
#include "io/checkpoint.h"
#include "io/streamed_weights.h"
#include "probe/diagnosis.h"
#include "probe/diagnosis_forecast.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ProbeCommand : public testing::Test {
 protected:
  void SetUp() override {
    test::TinyModel<float> m(test::tiny_config(NormType::kLns));
    std::filesystem::create_directories(folder_ / "model");
    save_model(folder_ / "model", m.model.config(), m.weights.list(), m.weights.values(), DType::kF32);
    json ids = json::array();
    Rng rng(4);
    for (int s = 0; s < 12; ++s) {
      json sequence = json::array();
      for (int i = 0; i < 21; ++i) sequence.push_back(rng.below(37));
      ids.push_back(sequence);
    }
    write_text_file(folder_ / "ids.json", ids.dump());
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  json probe(std::vector<std::string> more) {
    std::vector<std::string> arguments{"probe",        at("model"), "--token-ids",
                                       at("ids.json"), "--json",    at("p.json")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    output_ = call(arguments);
    json result = read_json(folder_ / "p.json");
    EXPECT_FALSE(std::filesystem::exists(folder_ / "p.json.state"));
    return result;
  }
  // Without what differs from run to run, or tells how the result was made.
  static json numbers(json result) {
    for (const char* key : {"seconds", "forecast", "peak_memory_bytes", "layers_read"}) result.erase(key);
    return result;
  }

  test::TempFolder folder_;
  std::string output_;
};

TEST_F(ProbeCommand, SaysBeforeAndAfterWhatItTakes) {
  const json result = probe({"--level", "quick"});
  EXPECT_GT(result["peak_memory_bytes"].get<uint64_t>(), 1u << 20);
  EXPECT_GT(result["forecast"]["seconds"].get<double>(), 0.0);
  EXPECT_GT(result["forecast"]["memory_bytes"].get<uint64_t>(), 0u);
  EXPECT_NE(output_.find("forecast: "), std::string::npos) << output_;
  EXPECT_NE(output_.find("peak memory"), std::string::npos) << output_;
  EXPECT_EQ(result["layers_read"], 4);
  EXPECT_FALSE(result["per_layer"][0].contains("usefulness"));
  EXPECT_EQ(result["seq"], 20) << "of the sequences, not of a window that was never cut";
  EXPECT_EQ(result["checkpoint"], at("model"));
}

// A full diagnosis has removed each layer: nobody need do it again.
TEST_F(ProbeCommand, WritesTheSweepThatPruneWouldMake) {
  const json result = probe({"--metrics", "effective_depth", "--write-sweep", at("s.json")});
  const json written = read_json(folder_ / "s.json");
  call({"prune", at("model"), "--sweep", "--token-ids", at("ids.json"), "--json", at("own.json")});
  json own = read_json(folder_ / "own.json");
  ASSERT_EQ(written["removed"].size(), own["removed"].size());
  for (size_t l = 0; l < 4; ++l) {
    for (const auto& [key, value] : own["removed"][l].items()) {
      if (value.is_number())
        EXPECT_NEAR(written["removed"][l][key].get<double>(), value.get<double>(), 1e-6) << l << key;
      else
        EXPECT_EQ(written["removed"][l][key], value);
    }
  }
  EXPECT_NEAR(written["effective_depth"].get<double>(), own["effective_depth"].get<double>(), 1e-6);
  for (const char* key :
       {"tokens", "sequences", "what", "block", "layer_runs", "model", "checkpoint", "dtype"})
    EXPECT_EQ(written[key], own[key]) << key;
  for (const auto& [key, value] : own.items()) EXPECT_TRUE(written.contains(key)) << key;
  EXPECT_ERROR(call({"probe", at("model"), "--token-ids", at("ids.json"), "--level", "quick", "--write-sweep",
                     at("s.json")}),
               ErrorCode::kUsage, "--write-sweep", "effective_depth");
}

TEST_F(ProbeCommand, RefusesFlagsThatWouldDoNothing) {
  const auto refused = [&](const std::string& metrics, const std::string& flag, const char* part) {
    std::vector<std::string> arguments{"probe", at("model"), "--token-ids", at("ids.json"), flag};
    if (flag == "--level") arguments.emplace_back("quick");
    if (flag != "--level" && flag != "--exact-identity") arguments.emplace_back("8");
    arguments.insert(arguments.end(), {"--metrics", metrics});
    EXPECT_ERROR(call(arguments), ErrorCode::kUsage, (flag + " goes with").c_str(), part);
  };
  refused("rms", "--probes", "identity_deviation");
  refused("rms", "--exact-identity", "identity_deviation");
  refused("rms", "--permutation-tokens", "permutation_score");
  refused("rms", "--lens-tokens", "lens_loss");
  refused("rms", "--level", "no --metrics");
  EXPECT_ERROR(
      call({"probe", at("model"), "--token-ids", at("ids.json"), "--level", "quick", "--probes", "2"}),
      ErrorCode::kUsage, "--probes goes with identity_deviation");
  probe({"--metrics", "lens_kl", "--lens-tokens", "8"});
}

TEST_F(ProbeCommand, WithLittleMemoryGivesTheSameNumbersFromWeightsReadAsNeeded) {
  const json whole = probe({"--level", "quick"});
  // The least that it takes, found by halves.
  uint64_t too_little = 1 << 10, enough = uint64_t{1} << 34;
  json tight;
  while (enough - too_little > 1) {
    const uint64_t bytes = too_little + (enough - too_little) / 2;
    try {
      tight = probe({"--level", "quick", "--memory", std::to_string(bytes)});
      enough = bytes;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage) << e.what();
      too_little = bytes;
    }
  }
  // One sequence a pass, and every layer read for each.
  EXPECT_EQ(tight["layers_read"], 48);
  EXPECT_EQ(numbers(tight), numbers(whole));
  EXPECT_ERROR(probe({"--memory", "1KiB"}), ErrorCode::kUsage, "--memory 1.00 KiB is too little", "--spill");
}

// A result that can't be written costs nothing, and the memory of the second try is another.
TEST_F(ProbeCommand, GoesOnWithOtherMemoryWhereItsResultCouldNotBeWritten) {
  fs::create_directories(folder_ / "run/checkpoints");
  fs::copy(folder_ / "model", folder_ / "run/checkpoints/step-1");
  fs::create_directories(folder_ / "run/probe.json");  // in the way of the run's own copy
  std::vector<std::string> arguments{"probe",   at("run"),    "--token-ids",  at("ids.json"),
                                     "--json",  at("r.json"), "--resume-dir", at("state"),
                                     "--level", "quick",      "--memory"};
  const auto with_memory = [&](const std::string& memory) {
    std::vector<std::string> all = arguments;
    all.push_back(memory);
    return all;
  };
  EXPECT_THROW(call(with_memory("8GiB")), Error);
  EXPECT_TRUE(fs::exists(folder_ / "state/probe.state"));
  // Enough for one sequence at a time, not for all: those are the cuts that it was begun with.
  const ModelConfig config = read_config(folder_ / "model");
  DiagnosisOptions quick;
  quick.metrics = parse_metrics(quick_metrics());
  const size_t least =
      StreamedWeights<float>::least_bytes(config) + diagnosis_memory<float>(quick, config, 20).bytes(20);
  EXPECT_ERROR(call(with_memory(std::to_string(least + 100))), ErrorCode::kUsage, "too little to go on from",
               "probe.state", "delete that file to begin anew");
  fs::remove(folder_ / "run/probe.json");
  call(with_memory("4GiB"));
  json result = read_json(folder_ / "r.json");
  EXPECT_TRUE(result.value("resumed", false));
  EXPECT_FALSE(fs::exists(folder_ / "state/probe.state"));
  result.erase("resumed");
  json whole = probe({"--level", "quick"});
  for (const char* key : {"model", "checkpoint"}) whole[key] = result[key];
  EXPECT_EQ(numbers(result), numbers(whole));
}

TEST_F(ProbeCommand, AsksBeforeTheWorkWhetherItsResultCanBeWritten) {
  EXPECT_ERROR(probe({"--html", at("none/p.html")}), ErrorCode::kFailed, "none/p.html", "there is no folder");
  EXPECT_ERROR(probe({"--html", at("model")}), ErrorCode::kFailed, "is a folder");
  EXPECT_ERROR(call({"probe", at("model"), "--token-ids", at("ids.json"), "--json", at("none/p.json")}),
               ErrorCode::kFailed, "none");
}

TEST_F(ProbeCommand, ARunKeepsItsFullerDiagnosisOfACheckpoint) {
  fs::create_directories(fs::path(at("run")) / "checkpoints");
  const fs::path kept = fs::path(at("run")) / "probe.json";
  const auto keep = [&](const json& result) {
    keep_probe(at("run"), result, "", {});
    return read_json(kept);
  };
  const json full = {{"checkpoint", "step-1"}, {"layers", {{{"variance", 1}, {"cosine", 2}}}}};
  const json part = {{"checkpoint", "step-1"}, {"layers", {{{"variance", 3}}}}};
  EXPECT_EQ(keep(part), part);
  EXPECT_EQ(keep(full), full);
  EXPECT_EQ(keep(part), full);
  json later = part;
  later["checkpoint"] = "step-2";
  EXPECT_EQ(keep(later), later);
  write_text_file(kept, "half a {");
  EXPECT_EQ(keep(part), part);
}

TEST_F(ProbeCommand, OfAModelWithoutAFiniteLossSaysSo) {
  test::TinyModel<float> m(test::tiny_config(NormType::kLns));
  for (const ParamSpec& spec : m.weights.list()) {
    if (spec.layer == 1 && spec.role == ParamRole::kDown)
      std::fill_n(m.weights.values(spec), spec.size(), 3e38F);
  }
  save_model(folder_ / "model", m.model.config(), m.weights.list(), m.weights.values(), DType::kF32);
  const json result = probe({"--level", "quick"});
  EXPECT_TRUE(result["loss"].is_null());
  EXPECT_TRUE(result["loss_stderr"].is_null());
  EXPECT_NE(output_.find("loss not finite, perplexity not finite"), std::string::npos) << output_;
}

TEST_F(ProbeCommand, GivesTheIdentityDeviationExactlyWhereThatIsSmall) {
  const json estimate = probe({"--metrics", "identity_deviation", "--probes", "200"});
  const json exact = probe({"--metrics", "identity_deviation", "--exact-identity"});
  EXPECT_TRUE(exact["identity_deviation_exact"].get<bool>());
  for (size_t l = 0; l < 4; ++l) {
    const json &a = exact["per_layer"][l], &b = estimate["per_layer"][l];
    EXPECT_NEAR(a["identity_deviation"].get<double>(), b["identity_deviation"].get<double>(),
                0.05 * a["identity_deviation"].get<double>());
  }
}

TEST_F(ProbeCommand, SpillsAndKeepsItsStateWhereItIsTold) {
  std::filesystem::create_directories(folder_ / "spill");
  const json whole = probe({}), spilled = probe({"--spill", at("spill"), "--resume-dir", at("resume/here")});
  EXPECT_EQ(numbers(spilled), numbers(whole));
  EXPECT_GT(spilled["forecast"]["spilled_bytes"].get<uint64_t>(), 0u);
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "spill"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "resume/here"));
  EXPECT_TRUE(whole["per_layer"][0].contains("usefulness_stderr"));
  EXPECT_TRUE(whole.contains("permutation_score_stderr"));
}

}  // namespace
}  // namespace fathom::cli
