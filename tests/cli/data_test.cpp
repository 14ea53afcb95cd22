// fathom tokenizer train and fathom data, called as main() calls them: results, JSON, and one line for each
// bad input.

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/call.h"
#include "core/error.h"
#include "core/json.h"
#include "text/helpers.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

/// Exit code and message, as main() gives them.
std::pair<int, std::string> failure_of(const std::vector<std::string>& arguments) {
  try {
    call(arguments);
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
    return {e.code() == ErrorCode::kUsage ? 2 : 1, e.what()};
  }
  return {0, ""};
}

void expect_failure(const std::vector<std::string>& arguments, int code, const std::string& part) {
  const auto [got, message] = failure_of(arguments);
  EXPECT_EQ(got, code) << message;
  EXPECT_TRUE(contains(message, part));
}

class DataCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    text_ = folder_.write("text.txt", sample_text());
    small_tokenizer().save_model(folder_ / "t.model");
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  nlohmann::json json(const std::string& name) const { return read_json(folder_ / name); }

  ScratchFolder folder_;
  fs::path text_;
};

TEST_F(DataCommand, TrainsATokenizerAndMakesDataWithIt) {
  call({"tokenizer", "train", "--input", text_, "--vocab", "500", "--out", at("tokenizer"), "--json",
        at("t.json")});
  EXPECT_EQ(json("t.json").at("vocab_size"), 500);
  std::string lines;
  for (uint64_t i = 0; i < 100; ++i) lines += nlohmann::json{{"text", sample_text(2, i)}}.dump() + "\n";
  call({"data", "--input", folder_.write("a.jsonl", lines), text_, "--tokenizer", at("tokenizer"), "--out",
        at("data"), "--valid-fraction", "0.2", "--json", at("d.json"), "--threads", "2"});
  const nlohmann::json result = json("d.json");
  EXPECT_EQ(result.at("tokenizer_fingerprint"), json("t.json").at("tokenizer_fingerprint"));
  EXPECT_EQ(result.at("train").at("documents").get<int>() + result.at("valid").at("documents").get<int>(),
            101);
  EXPECT_GT(result.at("valid").at("tokens").get<int>(), 0);
  EXPECT_TRUE(fs::exists(folder_ / "data/data.json"));
}

TEST_F(DataCommand, WritesASingleModelFile) {
  call({"tokenizer", "train", "--input", text_, "--vocab", "400", "--out", at("new/my.model")});
  EXPECT_EQ(Tokenizer::load(folder_ / "new/my.model").vocab_size(), 400u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "new"), fs::directory_iterator()), 1);
}

TEST_F(DataCommand, RefusesAnOutputThatIsTaken) {
  const std::vector<std::string> data = {"data",        "--input", text_,     "--tokenizer",
                                         at("t.model"), "--out",   at("data")};
  call(data);
  expect_failure(data, 1, "holds another dataset already");
  expect_failure({"tokenizer", "train", "--input", text_, "--vocab", "400", "--out", at("t.model")}, 1,
                 "a tokenizer stands here");
  expect_failure({"tokenizer", "train", "--input", text_, "--vocab", "400", "--out", at("data")}, 1,
                 "a tokenizer stands here");
}

TEST_F(DataCommand, NamesBadInput) {
  const auto with = [&](const std::string& input, const std::string& tokenizer) {
    return std::vector<std::string>{"data", "--input", input, "--tokenizer", tokenizer, "--out", at("out")};
  };
  expect_failure(with(at("none.txt"), at("t.model")), 1, "none.txt: no such file or folder");
  expect_failure(with(text_, at("none")), 1, "no such tokenizer");
  expect_failure(with(text_, text_), 1, "not a SentencePiece model");
  expect_failure(with(folder_.write("bad.txt", "a\xff"), at("t.model")), 1,
                 "bad.txt: at byte 1: invalid UTF-8");
  expect_failure(with(folder_.write("empty.jsonl", ""), at("t.model")), 1, "holds no text");
  expect_failure(with(folder_.write("cut.txt.gz", gzip("abc").substr(0, 9)), at("t.model")), 1, "cut short");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(DataCommand, NamesBadUsage) {
  expect_failure({"data", "--tokenizer", at("t.model"), "--out", at("out")}, 2, "--input is required");
  expect_failure(
      {"data", "--input", text_, "--tokenizer", at("t.model"), "--out", at("o"), "--valid-fraction", "2"}, 2,
      "--valid-fraction");
  expect_failure({"tokenizer", "train", "--input", text_, "--vocab", "12", "--out", at("x")}, 2, "--vocab");
  expect_failure({"tokenizer", "train", "--input", text_, "--vocab", "260", "--out", at("x")}, 1,
                 "too small");
  expect_failure({"tokenizer"}, 2, "subcommand");
}

}  // namespace
}  // namespace fathom::cli
