#include "text/shards.h"

#include <fstream>
#include <sstream>

#include "text/helpers.h"

namespace fathom {
namespace {

std::string slurp(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::filesystem::path write_shard(const ScratchFolder& folder, const std::string& name, uint32_t vocab,
                                  const std::vector<std::vector<int32_t>>& documents) {
  ShardWriter writer(folder / name, vocab, 2, 0xfeedface);
  for (const auto& ids : documents) writer.add_document(ids);
  writer.finish();
  return folder / name;
}

TEST(Shard, ReadsWhatWasWrittenAtBothWidths) {
  const ScratchFolder folder;
  for (const uint32_t vocab : {4096u, 65536u, 65537u, 200000u}) {
    const auto top = static_cast<int32_t>(vocab - 1);
    const Shard shard(write_shard(folder, "a", vocab, {{5, 6, top}, {}, {7}}));
    EXPECT_EQ(shard.info().token_width, vocab <= 65536 ? 2u : 4u);
    EXPECT_EQ(shard.info().vocab_size, vocab);
    EXPECT_EQ(shard.info().eos_id, 2);
    EXPECT_EQ(shard.info().documents, 3u);
    EXPECT_EQ(shard.info().tokens, 7u);
    EXPECT_EQ(shard.info().tokenizer_fingerprint, 0xfeedfaceu);
    std::vector<int32_t> ids(7);
    shard.read(0, 7, ids.data());
    EXPECT_EQ(ids, (std::vector<int32_t>{5, 6, top, 2, 2, 7, 2}));
    shard.read(2, 2, ids.data());
    EXPECT_EQ(ids[0], top);
    EXPECT_EQ(ids[1], 2);
    shard.verify();
  }
}

TEST(Shard, VerifyReadsAllBlocksOfALargeShard) {
  const ScratchFolder folder;
  std::vector<int32_t> ids(300000, 9);
  const auto path = write_shard(folder, "a", 10, {ids, ids});
  Shard(path).verify();
  std::string bytes = slurp(path);
  bytes[128 + 2 * 599999] ^= 1;
  folder.write("a", bytes);
  EXPECT_TRUE(contains(error_of([&] { Shard(path).verify(); }), "checksum is wrong"));
}

TEST(Shard, AppearsOnlyWhenFinished) {
  const ScratchFolder folder;
  {
    ShardWriter writer(folder / "a", 10, 2, 0);
    writer.add_document(std::vector<int32_t>{1, 2, 3});
    EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Shard, NamesAFullDisk) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const ScratchFolder folder;
  std::filesystem::create_symlink("/dev/full",
                                  folder / ("a.tmp-" + std::to_string(getpid())));  // where it is written
  EXPECT_TRUE(contains(error_of([&] { ShardWriter(folder / "a", 10, 2, 0); }), "the disk is full"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Shard, NamesEachCut) {
  const ScratchFolder folder;
  const std::string bytes = slurp(write_shard(folder, "a", 4096, {{5, 6, 7}}));
  ASSERT_EQ(bytes.size(), 128u + 8u);
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto path = folder.write("cut", bytes.substr(0, length));
    const std::string message = error_of([&] { Shard{path}; });
    EXPECT_TRUE(contains(message, path.string()));
    EXPECT_TRUE(contains(message, length < 128 ? "not a token shard" : "its header says 4 tokens")) << length;
  }
  const auto longer = folder.write("long", bytes + "xx");
  EXPECT_TRUE(contains(error_of([&] { Shard{longer}; }), "10 bytes of tokens"));
  EXPECT_TRUE(contains(error_of([&] { Shard{folder / "none"}; }), "No such file"));
}

TEST(Shard, NoticesEveryFlippedBit) {
  const ScratchFolder folder;
  const std::string bytes = slurp(write_shard(folder, "a", 4096, {{5, 6, 7}}));
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const auto path = folder.write("damaged", damaged);
    if (bit / 8 < 128) {
      EXPECT_FALSE(error_of([&] { Shard{path}; }).empty()) << bit;
    } else {
      EXPECT_TRUE(contains(error_of([&] { Shard(path).verify(); }), "checksum is wrong")) << bit;
    }
  }
}

TEST(Shard, NamesVersionAndMagic) {
  const ScratchFolder folder;
  std::string bytes = slurp(write_shard(folder, "a", 4096, {{5}}));
  bytes[8] = 2;
  EXPECT_TRUE(contains(error_of([&] { Shard{folder.write("v", bytes)}; }), "version 2"));
  bytes[0] = 'X';
  EXPECT_TRUE(contains(error_of([&] { Shard{folder.write("m", bytes)}; }), "not a token shard"));
}

TEST(Shard, NamesAnIdOutsideTheVocabularyOnReadAndVerify) {
  const ScratchFolder folder;
  for (const uint32_t vocab :
       {100u, 70000u}) {  // the writer trusts its caller, so that such a shard can be made
    const auto bad = static_cast<int32_t>(vocab);
    const Shard shard(write_shard(folder, "a", vocab, {{5, bad, 6}}));
    const std::string where = "at byte " + std::to_string(128 + shard.info().token_width);
    std::vector<int32_t> ids(4);
    for (const std::string& message :
         {error_of([&] { shard.read(0, 4, ids.data()); }), error_of([&] { shard.verify(); })}) {
      EXPECT_TRUE(contains(message, where));
      EXPECT_TRUE(contains(message, "token id " + std::to_string(vocab) + " is outside the vocabulary"));
    }
    shard.read(2, 2, ids.data());  // the others are fine
  }
}

}  // namespace
}  // namespace fathom
