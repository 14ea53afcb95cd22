// inspect, generate, logits, prune, verify and bench, called as main() calls them, on a tiny checkpoint.

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/call.h"
#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "io/checkpoint.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"
#include "text/helpers.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ModelCommands : public testing::Test {
 protected:
  void SetUp() override {
    const Tokenizer tokenizer = small_tokenizer();
    ModelConfig config = test::tiny_config(NormType::kLns);
    config.vocab_size = tokenizer.vocab_size();
    ResidentWeights<float> weights(config);
    test::randomize(weights, 5);
    fs::create_directories(folder_ / "model");
    save_model(folder_ / "model", config, weights.list(), weights.values(), DType::kF32);
    tokenizer.save(folder_ / "model");
    write_text_file(folder_ / "ids.json", "[[1,5,7,9,300],[2,4]]");
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  json read(const std::string& name) const { return read_json(folder_ / name); }

  test::TempFolder folder_;
};

TEST_F(ModelCommands, InspectMeasuresTheConstants) {
  call({"inspect", at("model"), "--json", at("i.json")});
  const json result = read("i.json");
  EXPECT_EQ(result["norm"], "lns");
  EXPECT_EQ(result["layers"], 4);
  EXPECT_NEAR(result["constants"][6]["in_scale_measured"].get<double>(), 0.5, 1e-3);  // layer 4, attention
  EXPECT_LT(result["largest_deviation"].get<double>(), 1e-3);
  call({"inspect", at("model/config.json"), "--json", at("c.json")});
  EXPECT_EQ(read("c.json")["parameters"], result["parameters"]);
  EXPECT_ERROR(call({"inspect", at("model/model.safetensors")}), ErrorCode::kFailed, "weights alone",
               "give the folder", at("model").c_str());
  EXPECT_ERROR(call({"inspect", at("ids.json")}), ErrorCode::kFailed, "is no config.json", ".gguf file");
}

TEST_F(ModelCommands, GenerateAnswersAMessageThroughTheChatTemplate) {
  const auto prompt_of = [&](std::vector<std::string> more) {
    std::vector<std::string> all = {"generate",     at("model"), "--chat", "the river",
                                    "--max-tokens", "3",         "--json", at("g.json")};
    all.insert(all.end(), more.begin(), more.end());
    call(all);
    return small_tokenizer().decode(read("g.json")["prompt_ids"].get<std::vector<int32_t>>());
  };
  EXPECT_EQ(prompt_of({}),
            "<|im_start|>user\nthe river<|im_end|>\n<|im_start|>assistant\n");  // ChatML: the model has none
  write_text_file(folder_ / "model" / "chat_template.jinja",
                  "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}{% if "
                  "add_generation_prompt %}[answer]{% endif %}");
  EXPECT_EQ(prompt_of({"--system", "be terse"}), "[system] be terse [user] the river [answer]");
  EXPECT_ERROR(call({"generate", at("model")}), ErrorCode::kUsage, "--prompt or --chat");
  EXPECT_ERROR(call({"generate", at("model"), "--prompt", "a", "--chat", "b"}), ErrorCode::kUsage,
               "--prompt excludes --chat");
  EXPECT_ERROR(call({"generate", at("model"), "--prompt", "a", "--system", "b"}), ErrorCode::kUsage,
               "--system requires --chat");
  write_text_file(folder_ / "model" / "chat_template.jinja", "{{ raise_exception('no') }}");
  EXPECT_ERROR(prompt_of({}), ErrorCode::kFailed, "chat_template.jinja:1", "refuses the conversation: no");
}

// As `tokenizer(prompt)` of transformers and `llama-cli -p` do.
TEST_F(ModelCommands, GenerateReadsSpecialTokensInAPrompt) {
  json config = read("model/tokenizer_config.json");
  config["add_bos_token"] = true;
  write_text_file(folder_ / "model/tokenizer_config.json", config.dump());
  const Tokenizer tokenizer = Tokenizer::load(at("model"));
  ASSERT_TRUE(tokenizer.add_bos());
  const auto ids_of = [&](const std::string& prompt, const std::vector<std::string>& more = {}) {
    std::vector<std::string> line{"generate",     at("model"), "--prompt", prompt,
                                  "--max-tokens", "1",         "--json",   at("g.json")};
    line.insert(line.end(), more.begin(), more.end());
    call(line);
    return read("g.json")["prompt_ids"].get<std::vector<int32_t>>();
  };
  const auto behind_bos = [&](std::vector<int32_t> ids) {
    ids.insert(ids.begin(), tokenizer.bos_id());
    return ids;
  };
  EXPECT_EQ(ids_of("ab"), behind_bos(tokenizer.encode("ab")));
  const std::string prompt = "<s>a</s>";
  EXPECT_EQ(ids_of(prompt), tokenizer.encode(prompt, SpecialTokens::kParse));  // no second BOS
  EXPECT_EQ(ids_of(prompt).front(), tokenizer.bos_id());
  EXPECT_EQ(ids_of(prompt).back(), tokenizer.eos_id());
  EXPECT_EQ(ids_of("</s>").size(), 2u);
  EXPECT_EQ(ids_of(prompt, {"--no-special"}), behind_bos(tokenizer.encode(prompt)));
  EXPECT_ERROR(call({"generate", at("model"), "--chat", "a", "--no-special"}), ErrorCode::kUsage,
               "--no-special requires --prompt");
}

TEST_F(ModelCommands, GenerateIsAFunctionOfItsSeed) {
  const auto text = [&](const std::string& seed, const std::string& dtype) {
    call({"generate", at("model"), "--prompt", "a b", "--max-tokens", "12", "--seed", seed, "--dtype", dtype,
          "--json", at("g.json")});
    return read("g.json")["output_ids"];
  };
  EXPECT_EQ(text("1", "fp32"), text("1", "fp32"));
  EXPECT_EQ(text("1", "bf16"), text("1", "bf16"));
  EXPECT_NE(text("1", "fp32"), text("2", "fp32"));
  EXPECT_ERROR(call({"generate", at("model"), "--prompt", "a", "--top-p", "0"}), ErrorCode::kUsage,
               "--top-p");
  EXPECT_ERROR(call({"generate", at("model"), "--prompt", "a", "--dtype", "fp16"}), ErrorCode::kUsage,
               "fp16");
  EXPECT_ERROR(call({"generate", at("none"), "--prompt", "a"}), ErrorCode::kFailed, "no such file or folder");
}

TEST_F(ModelCommands, LogitsHaveARowAnId) {
  call({"logits", at("model"), "--token-ids", at("ids.json"), "--out", at("l.json")});
  const json result = read("l.json");
  EXPECT_EQ(result["logits"].size(), 2u);
  EXPECT_EQ(result["logits"][0].size(), 5u);
  EXPECT_EQ(result["logits"][0][0].size(), result["vocab_size"].get<size_t>());
}

TEST_F(ModelCommands, PruneSweepsPricesAndWrites) {
  call({"prune", at("model"), "--sweep", "--token-ids", at("ids.json"), "--json", at("s.json")});
  const json sweep = read("s.json");
  ASSERT_EQ(sweep["removed"].size(), 4u);
  call({"prune", at("model"), "--drop", "2", "--token-ids", at("ids.json"), "--out", at("pruned"), "--json",
        at("d.json")});
  const json drop = read("d.json");
  EXPECT_NEAR(drop["removed"][0]["loss"].get<double>(), sweep["removed"][1]["loss"].get<double>(), 1e-6);
  EXPECT_EQ(drop["layer_index"], json({1, 3, 4}));
  // The pruned model, read back, computes the loss that was named.
  call({"prune", at("pruned"), "--sweep", "--token-ids", at("ids.json"), "--json", at("p.json")});
  EXPECT_NEAR(read("p.json")["loss"].get<double>(), drop["removed"][0]["loss"].get<double>(), 1e-6);
  EXPECT_EQ(read_config(at("pruned")).norm.layer_index, (std::vector<size_t>{1, 3, 4}));
  EXPECT_TRUE(fs::exists(folder_ / "pruned/tokenizer.json"));

  EXPECT_ERROR(call({"prune", at("model"), "--drop", "2", "--out", at("pruned")}), ErrorCode::kFailed,
               "exists already");
  EXPECT_ERROR(call({"prune", at("model"), "--drop", "5", "--out", at("x")}), ErrorCode::kUsage, "5");
  EXPECT_ERROR(call({"prune", at("model"), "--drop", "2-", "--out", at("x")}), ErrorCode::kUsage, "2-");
  EXPECT_ERROR(call({"prune", at("model"), "--drop", "2"}), ErrorCode::kUsage, "--out");
  for (const std::string flag : {"--dtype", "--seq", "--tokens", "--batch", "--memory"})
    EXPECT_ERROR(call({"prune", at("model"), "--drop", "2", "--out", at("x"), flag, "8"}), ErrorCode::kUsage,
                 (flag + " goes with --text").c_str());
  EXPECT_ERROR(call({"prune", at("model")}), ErrorCode::kUsage, "--sweep");
  EXPECT_ERROR(call({"prune", at("model"), "--sweep"}), ErrorCode::kUsage, "--text");
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

TEST_F(ModelCommands, VerifyNamesTheFirstDifferenceOfTwoCheckpoints) {
  fs::copy(folder_ / "model", folder_ / "other");
  call({"verify", at("model"), at("other"), "--token-ids", at("ids.json")});
  const ModelConfig config = read_config(at("model"));
  ResidentWeights<float> weights(config);
  load_weights(weights, at("model"));
  for (const ParamSpec& spec : weights.list()) {
    if (spec.name == "model.layers.2.mlp.up_proj.weight") weights.values(spec)[3] *= 2;
  }
  save_model(folder_ / "other", config, weights.list(), weights.values(), DType::kF32);
  EXPECT_ERROR(call({"verify", at("model"), at("other"), "--token-ids", at("ids.json")}), ErrorCode::kFailed,
               "layer 3", "model.layers.2.mlp.up_proj.weight");
  EXPECT_ERROR(call({"verify", at("model")}), ErrorCode::kFailed, "expected.json");
}

TEST_F(ModelCommands, NamesTheSequenceThatIsLongerThanTheContext) {
  const size_t context = read_config(at("model")).max_position_embeddings;
  const auto ids = [&](size_t n) {
    write_text_file(folder_ / "long.json", json({{1, 2}, std::vector<int>(n, 3)}).dump());
    return at("long.json");
  };
  for (const std::string command : {"probe", "prune"}) {
    std::vector<std::string> line{command, at("model"), "--token-ids", ids(context + 2)};
    if (command == "prune") line.emplace_back("--sweep");
    EXPECT_ERROR(call(line), ErrorCode::kFailed, "long.json: sequence 2", "cut it into shorter ones");
  }
  call({"prune", at("model"), "--sweep", "--token-ids", ids(context + 1)});
}

TEST_F(ModelCommands, VerifyRefusesWhatAGoldenDirectoryHasOfItsOwn) {
  const std::string golden = FATHOM_SOURCE_DIR "/tests/golden/data/pre";
  call({"verify", golden});
  for (const char* flag : {"--tolerance", "--batch", "--tokens", "--seq", "--token-ids"})
    EXPECT_ERROR(call({"verify", golden, flag, "1"}), ErrorCode::kUsage, flag, "for two models");
}

TEST_F(ModelCommands, BenchReportsARateAndAFraction) {
  for (const std::string what : {"train", "forward"}) {
    call({"bench", what, "--model", at("model/config.json"), "--batch", "2", "--seq", "8", "--steps", "2",
          "--json", at("b.json")});
    const json result = read("b.json");
    EXPECT_GT(result["results"][0]["tokens_per_second"].get<double>(), 0.0);
    EXPECT_GT(result["peak_tflops"].get<double>(), 0.0);
    EXPECT_ERROR(call({"bench", what, "--model", at("model/config.json"), "--batch", "0"}), ErrorCode::kUsage,
                 "--batch");
  }
}

}  // namespace
}  // namespace fathom::cli
