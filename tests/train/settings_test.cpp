#include "train/settings.h"

#include <cmath>

#include <gtest/gtest.h>

#include "core/file.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "train/recipe.h"

namespace fathom {
namespace {

constexpr ErrorCode kUsage = ErrorCode::kUsage;

TrainSettings with(const char* name, const char* text) {
  TrainSettings s;
  assign(s, name, text, "test");
  return s;
}

TEST(Settings, ReadWholeNumbersWithSuffixes) {
  EXPECT_EQ(with("tokens", "2.2B").tokens, 2'200'000'000u);
  EXPECT_EQ(with("tokens", "20M").tokens, 20'000'000u);
  EXPECT_EQ(with("steps", "20k").steps, 20'000u);
  EXPECT_EQ(with("steps", "1e3").steps, 1000u);
  EXPECT_EQ(with("steps", "1.5k").steps, 1500u);
  EXPECT_ERROR(with("steps", "1.2345k"), kUsage, "not a whole number");
  EXPECT_EQ(with("steps", "12").steps, 12u);
  EXPECT_EQ(with("seed", "900000000000000007").seed, 900000000000000007u);
}

TEST(Settings, ReadTextSwitchesAndReals) {
  EXPECT_EQ(with("norm", "lns").norm, "lns");
  EXPECT_TRUE(with("recompute", "true").recompute);
  EXPECT_EQ(with("lr", "1e-3").lr, 1e-3);
  EXPECT_EQ(with("lr", "2").lr, 2.0);
}

TEST(Settings, RefuseWhatDoesNotFit) {
  EXPECT_ERROR(with("batch", "0"), kUsage, "test", "batch is 0", "between 1");
  EXPECT_ERROR(with("batch", "many"), kUsage, "batch is 'many'", "not a number");
  EXPECT_ERROR(with("batch", "1.5"), kUsage, "not a whole number");
  EXPECT_ERROR(with("batch", "-3"), kUsage, "between 1");
  EXPECT_ERROR(with("batch", "5x"), kUsage, "not a number");
  EXPECT_ERROR(with("lr", "nan"), kUsage, "not a number");
  EXPECT_ERROR(with("lr", ""), kUsage, "not a number");
  EXPECT_ERROR(with("lr", "1M"), kUsage, "not a number");
  EXPECT_ERROR(with("beta1", "1"), kUsage, "beta1 is 1");
  EXPECT_ERROR(with("recompute", "yes"), kUsage, "must be true or false");
  EXPECT_ERROR(with("min_lr_ratoi", "1"), kUsage, "unknown setting", "did you mean 'min_lr_ratio'?");
  EXPECT_ERROR(with("xyzzy", "1"), kUsage, "unknown setting 'xyzzy'", "--help");
}

TEST(Settings, StepsAndTokensReplaceEachOther) {
  TrainSettings s = with("tokens", "1000");
  assign(s, "steps", "5", "test");
  EXPECT_EQ(s.tokens, 0u);
  assign(s, "tokens", "64", "test");
  EXPECT_EQ(s.steps, 0u);
}

TEST(Settings, ResolveFillsInWhatIsOpen) {
  TrainSettings s;
  s.tokens = 1001;
  s.batch = 2;
  s.grad_accum = 5;
  s.seq = 10;
  s.seed = 7;
  resolve_settings(s, 12345);
  EXPECT_EQ(s.steps, 11u) << "tokens round up to whole steps";
  EXPECT_EQ(s.warmup, 1u);
  EXPECT_EQ(s.data_seed, 7u);
  EXPECT_EQ(s.eval_every, 1u);
  EXPECT_EQ(s.probe_every, s.eval_every);
  EXPECT_EQ(s.save_every, 1u);

  TrainSettings dear;
  dear.steps = 100;
  dear.batch = 2;
  dear.seq = 100;
  resolve_settings(dear, 12345, 0, 1000);
  EXPECT_EQ(dear.eval_every, 10u) << "1000 tokens evaluated cost as much as a sixth of 10 steps of 200";

  TrainSettings one_pass;
  one_pass.batch = 2;
  one_pass.seq = 100;
  resolve_settings(one_pass, 12345);
  EXPECT_EQ(one_pass.steps, 61u) << "one pass over the data, whole steps only";
  EXPECT_EQ(one_pass.save_every, 6u);
}

TEST(Settings, AreCheckedAloneAndTogether) {
  const auto resolve = [](auto change) {
    TrainSettings s;
    s.steps = 10;
    change(s);
    check_settings(s);
    resolve_settings(s, 1000);
  };
  EXPECT_NO_THROW(resolve([](auto&) {}));
  EXPECT_ERROR(resolve([](auto& s) { s.batch = 0; }), kUsage, "batch is 0");
  EXPECT_ERROR(resolve([](auto& s) { s.lr = std::nan(""); }), kUsage, "lr is nan");
  EXPECT_ERROR(resolve([](auto& s) { s.batch = s.grad_accum = s.seq = 1 << 24; }), kUsage,
               "a step of 16777216 x 16777216 x 16777216 tokens is too large");
  EXPECT_ERROR(resolve([](auto& s) { s.warmup = 11; }), kUsage, "--warmup 11", "10 steps");
  EXPECT_ERROR(resolve([](auto& s) { s.schedule = "cosin"; }), kUsage, "did you mean 'cosine'?");
  EXPECT_ERROR(resolve([](auto& s) { s.dtype = "fp16"; }), kUsage, "unknown --dtype 'fp16'", "bf16, fp32");
  EXPECT_ERROR(resolve([](auto& s) { s.save_dtype = "int8"; }), kUsage, "unknown --save-dtype");
  EXPECT_ERROR(resolve([](auto& s) { s.optimizer_state = "fp8"; }), kUsage, "unknown --optimizer-state 'fp8'",
               "bf16, fp32");
  EXPECT_ERROR(resolve([](auto& s) { s.init = "xavier"; }), kUsage, "unknown init 'xavier'");
}

class Recipe : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& text) const {
    write_text_file(folder_ / "r.toml", text);
    return folder_ / "r.toml";
  }
  test::TempFolder folder_;
};

TEST_F(Recipe, IsReadAndOverriddenByFlags) {
  const auto path = write("lr = 2e-3\nsteps = 100\nseq = 64 # tokens\nnorm = \"lns\"\nrecompute = true\n");
  const TrainSettings s = gather_settings({{"lr", "0.5"}, {"tokens", "64K"}}, path, false);
  EXPECT_EQ(s.lr, 0.5);
  EXPECT_EQ(s.tokens, 64000u);
  EXPECT_EQ(s.steps, 0u) << "--tokens overrides the recipe's steps";
  EXPECT_EQ(s.seq, 64u);
  EXPECT_EQ(s.norm, "lns");
  EXPECT_TRUE(s.recompute);
}

TEST_F(Recipe, NamesFileAndLineOfAFault) {
  TrainSettings s;
  EXPECT_ERROR(read_recipe(s, write("lr = 1\nbatsh = 3\n")), kUsage, "r.toml:2", "did you mean 'batch'?");
  EXPECT_ERROR(read_recipe(s, write("lr = 1\nbatch = \n")), kUsage, "r.toml:2", "is not TOML");
  EXPECT_ERROR(read_recipe(s, write("lr = [1, 2]\n")), kUsage, "r.toml:1", "must be a single value");
  EXPECT_ERROR(read_recipe(s, write("batch = -1\n")), kUsage, "r.toml:1", "batch is -1");
  EXPECT_ERROR(read_recipe(s, write("steps = 5\ntokens = 7\n")), kUsage,
               "more than one of steps, tokens and epochs");
  EXPECT_ERROR(read_recipe(s, folder_ / "none.toml"), ErrorCode::kFailed, "none.toml");
  EXPECT_ERROR(gather_settings({{"steps", "1"}, {"tokens", "2"}}, "", false), kUsage, "exclude each other");
}

TEST_F(Recipe, RunTomlReadsBackTheSame) {
  TrainSettings s = with("norm", "mix");
  s.model = "a \"quoted\"\\name\n";
  s.mix_post_layers = 3;
  s.lr = 0.1;
  s.steps = 77;
  s.adam_eps = 1e-8;
  s.seed = 999999999999999999u;
  s.mask_documents = true;
  const RunFacts facts{.data_fingerprint = "0123456789abcdef",
                       .parameters = 11411328,
                       .started = "2025-01-01T00:00:00Z",
                       .fathom_version = "9.9",
                       .cpu = "a 'CPU'",
                       .isa = "avx2",
                       .threads = 3};
  const std::string text = format_run_toml(s, facts);
  EXPECT_NE(text.find("lr = 0.1\n"), std::string::npos) << text;
  const auto path = write(text);
  TrainSettings back;
  read_recipe(back, path);
  for (const Setting& row : settings_table()) EXPECT_EQ(text_of(back, row), text_of(s, row)) << row.name;
  const RunFacts facts_back = read_facts(path);
  EXPECT_EQ(facts_back.data_fingerprint, facts.data_fingerprint);
  EXPECT_EQ(facts_back.parameters, facts.parameters);
  EXPECT_EQ(facts_back.cpu, facts.cpu);
  EXPECT_EQ(facts_back.threads, 3u);
}

TEST_F(Recipe, AResumedRunStartsFromItsOwnSettings) {
  write_text_file(folder_ / "run.toml", "lr = 0.25\nsteps = 40\nbatch = 3\nout = \"/elsewhere\"\n");
  const TrainSettings s = gather_settings({{"out", folder_.path().string()}, {"keep", "9"}}, "", true);
  EXPECT_TRUE(s.resume);
  EXPECT_EQ(s.lr, 0.25);
  EXPECT_EQ(s.batch, 3u);
  EXPECT_EQ(s.keep, 9u);
  EXPECT_EQ(s.out, folder_.path().string()) << "the folder may have moved";
}

}  // namespace
}  // namespace fathom
