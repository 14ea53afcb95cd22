#include "text/dataset.h"

#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/json.h"
#include "core/threads.h"
#include "text/helpers.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

/// 400 short documents, each another one.
fs::path write_corpus(const ScratchFolder& folder, const std::string& name = "text.jsonl",
                      uint64_t seed = 1) {
  std::string lines;
  for (uint64_t i = 0; i < 400; ++i) {
    std::string text = "Document " + std::to_string(i) + ": " + sample_text(1 + i % 5, seed * 1000 + i);
    lines += nlohmann::json{{"text", text}}.dump() + "\n";
  }
  return folder.write(name, lines);
}

DataInfo build(BuildDataOptions options) {
  NoProgress progress;
  return build_data(options, small_tokenizer(), progress);
}

/// The documents of a stream, decoded; each ends with EOS.
std::vector<std::string> documents_of(const TokenStream& stream) {
  std::vector<int32_t> ids(stream.size());
  stream.read(0, ids.size(), ids.data());
  std::vector<std::string> texts;
  for (auto begin = ids.begin(); begin != ids.end();) {
    const auto end = std::find(begin, ids.end(), small_tokenizer().eos_id());
    if (end == ids.end()) break;
    texts.push_back(small_tokenizer().decode({begin, end}));
    begin = end + 1;
  }
  return texts;
}

std::vector<std::string> corpus_texts(const fs::path& path) {
  CorpusReader corpus({path});
  std::vector<std::string> texts;
  for (Document document; corpus.next(document);) texts.push_back(document.text);
  return texts;
}

TEST(Dataset, HoldsEveryDocumentOnceAndSplitsByDocument) {
  const ScratchFolder folder;
  const auto input = write_corpus(folder);
  const DataInfo info = build({.inputs = {input}, .out = folder / "data", .valid_fraction = 0.1, .seed = 5});
  const TokenData data(folder / "data");
  data.verify();
  EXPECT_EQ(info.train.documents + info.valid.documents, 400u);
  EXPECT_GT(info.valid.documents, 15u);
  EXPECT_LT(info.valid.documents, 80u);
  EXPECT_EQ(data.info().train.tokens, data.train().size());
  EXPECT_EQ(data.info().valid.tokens, data.valid().size());
  EXPECT_EQ(data.info().vocab_size, 600u);
  EXPECT_EQ(data.info().tokenizer_fingerprint, small_tokenizer().fingerprint());
  EXPECT_EQ(data.info().inputs, std::vector<std::string>{input.string()});
  EXPECT_EQ(Tokenizer::load(folder / "data").fingerprint(), small_tokenizer().fingerprint());
  std::vector<std::string> all = documents_of(data.train());
  for (const std::string& text : documents_of(data.valid())) all.push_back(text);
  std::vector<std::string> expected = corpus_texts(input);
  std::sort(all.begin(), all.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_TRUE(all == expected);
}

TEST(Dataset, IsTheSameWhateverTheThreadsAndAnotherBySeed) {
  const ScratchFolder folder;
  const auto input = write_corpus(folder);
  set_num_threads(1);
  const DataInfo one = build({.inputs = {input}, .out = folder / "one", .valid_fraction = 0.1});
  set_num_threads(3);
  const DataInfo three = build({.inputs = {input}, .out = folder / "three", .valid_fraction = 0.1});
  set_num_threads(0);
  build({.inputs = {input}, .out = folder / "seed", .valid_fraction = 0.1, .seed = 9});
  EXPECT_EQ(one.valid.tokens, three.valid.tokens);
  EXPECT_EQ(documents_of(TokenData(folder / "one").train()),
            documents_of(TokenData(folder / "three").train()));
  EXPECT_NE(documents_of(TokenData(folder / "one").valid()),
            documents_of(TokenData(folder / "seed").valid()));
}

TEST(Dataset, ReadsOverTheEndsOfShards) {
  const ScratchFolder folder;
  const auto input = write_corpus(folder);
  const DataInfo one = build({.inputs = {input}, .out = folder / "one"});
  const DataInfo many = build({.inputs = {input}, .out = folder / "many", .tokens_per_shard = 500});
  EXPECT_EQ(one.train.files.size(), 1u);
  EXPECT_GT(many.train.files.size(), 10u);
  const TokenData a(folder / "one"), b(folder / "many");
  b.verify();
  ASSERT_EQ(a.train().size(), b.train().size());
  EXPECT_EQ(documents_of(a.train()), documents_of(b.train()));
  std::vector<int32_t> x(1700), y(1700);
  for (uint64_t begin = 0; begin + 1700 <= a.train().size(); begin += 123) {
    a.train().read(begin, 1700, x.data());
    b.train().read(begin, 1700, y.data());
    ASSERT_EQ(x, y) << begin;
  }
}

TEST(Dataset, TakesASeparateValidationInput) {
  const ScratchFolder folder;
  const auto train = write_corpus(folder, "train.jsonl", 1), valid = write_corpus(folder, "valid.jsonl", 2);
  build({.inputs = {train}, .valid_inputs = {valid}, .out = folder / "data"});
  const TokenData data(folder / "data");
  EXPECT_EQ(documents_of(data.train()), corpus_texts(train));
  EXPECT_EQ(documents_of(data.valid()), corpus_texts(valid));
  EXPECT_EQ(data.info().valid_fraction, 0.0);
}

TEST(Dataset, RefusesAFolderThatHoldsSomething) {
  const ScratchFolder folder;
  const auto input = write_corpus(folder);
  const BuildDataOptions options = {.inputs = {input}, .out = folder / "data"};
  build(options);
  EXPECT_TRUE(contains(error_of([&] { build(options); }), "data: holds another dataset already"));
  folder.write("used/thesis.tex", "years of work");
  EXPECT_TRUE(
      contains(error_of([&] { build({.inputs = {input}, .out = folder / "used"}); }), "is not empty"));
  EXPECT_TRUE(contains(error_of([&] { build({.inputs = {input}, .out = input}); }), "exists already"));
  fs::create_directories(folder / "empty");
  build({.inputs = {input}, .out = folder / "empty/"});
  TokenData(folder / "empty").verify();
}

TEST(Dataset, LeavesNothingThatLooksCompleteWhenItFails) {
  const ScratchFolder folder;
  const auto good = write_corpus(folder), bad = folder.write("z.txt", "\xff");
  const BuildDataOptions options = {.inputs = {good, bad}, .out = folder / "data", .tokens_per_shard = 500};
  EXPECT_TRUE(contains(error_of([&] { build(options); }), "invalid UTF-8"));
  EXPECT_FALSE(fs::exists(folder / "data"));
  EXPECT_FALSE(fs::exists(folder / "data.partial"));
  folder.write("z.txt", "fine");
  folder.write("data.partial/train-00099.fathom-tokens.tmp-1", "left by a killed run");
  folder.write("data.partial/added_tokens.json", "of its tokenizer");
  folder.write("data.partial/chat_template.jinja", "of its tokenizer");
  EXPECT_TRUE(contains(error_of([&] { TokenData(folder / "data.partial"); }), "no data.json"));
  build(options);
  TokenData(folder / "data").verify();
  EXPECT_FALSE(fs::exists(folder / "data.partial"));
  folder.write("other.partial/letter.txt", "not ours");
  EXPECT_TRUE(
      contains(error_of([&] { build({.inputs = {good}, .out = folder / "other"}); }), "stands in the way"));
  EXPECT_TRUE(fs::exists(folder / "other.partial/letter.txt"));
  folder.write("third.partial", "a file, not ours");
  EXPECT_TRUE(
      contains(error_of([&] { build({.inputs = {good}, .out = folder / "third"}); }), "stands in the way"));
  EXPECT_TRUE(fs::exists(folder / "third.partial"));
}

TEST(Dataset, NamesWhatDoesNotBelongTogether) {
  const ScratchFolder folder;
  build({.inputs = {write_corpus(folder)}, .out = folder / "data"});
  const auto error = [&] { return error_of([&] { TokenData(folder / "data"); }); };
  const std::string json = read_text_file(folder / "data" / "data.json");
  auto changed = parse_json(json);
  changed["train"]["tokens"] = 7;
  folder.write("data/data.json", changed.dump());
  EXPECT_TRUE(contains(error(), "data.json says 7"));
  changed = parse_json(json);
  changed["vocab_size"] = 601;
  folder.write("data/data.json", changed.dump());
  EXPECT_TRUE(contains(error(), "made with another tokenizer"));
  changed["version"] = 2;
  folder.write("data/data.json", changed.dump());
  EXPECT_TRUE(contains(error(), "another version"));
  folder.write("data/data.json", json.substr(0, json.size() / 2));
  EXPECT_TRUE(contains(error(), "data.json: is damaged"));
  folder.write("data/data.json", json);
  fs::remove(folder / "data" / "train-00000.fathom-tokens");
  EXPECT_TRUE(contains(error(), "train-00000.fathom-tokens"));
  EXPECT_TRUE(contains(error_of([&] { TokenData(folder / "none"); }), "no such data folder"));
}

TEST(Dataset, VerifyNamesTheDamagedShard) {
  const ScratchFolder folder;
  build({.inputs = {write_corpus(folder)}, .out = folder / "data", .tokens_per_shard = 500});
  const auto path = folder / "data" / "train-00003.fathom-tokens";
  std::string bytes = read_text_file(path);
  bytes[200] = static_cast<char>(bytes[200] ^ 4);
  folder.write("data/train-00003.fathom-tokens", bytes);
  const TokenData data(folder / "data");  // opening looks at headers only
  EXPECT_TRUE(contains(error_of([&] { data.verify(); }), "train-00003.fathom-tokens"));
}

}  // namespace
}  // namespace fathom
