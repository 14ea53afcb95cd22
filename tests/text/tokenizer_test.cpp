#include "text/tokenizer.h"

#include <fstream>
#include <sstream>

#include <sentencepiece_processor.h>
#include <nlohmann/json.hpp>

#include "text/bpe.h"
#include "text/helpers.h"
#include "text/sentencepiece_model.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

std::string slurp(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// SentencePiece itself, with the same vocabulary.
class Oracle {
 public:
  explicit Oracle(const Tokenizer& tokenizer) {
    tokenizer.save_model(folder_ / "tokenizer.model");
    const auto status = processor_.Load((folder_ / "tokenizer.model").string());
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  std::vector<int32_t> encode(const std::string& text) const {
    std::vector<int> ids;
    EXPECT_TRUE(processor_.Encode(text, &ids).ok());
    return {ids.begin(), ids.end()};
  }
  const sentencepiece::SentencePieceProcessor& processor() const { return processor_; }

 private:
  ScratchFolder folder_;
  sentencepiece::SentencePieceProcessor processor_;
};

void append_utf8(std::string& text, uint32_t c) {
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xc0 | c >> 6);
    text += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    text += static_cast<char>(0xe0 | c >> 12);
    text += static_cast<char>(0x80 | (c >> 6 & 63));
    text += static_cast<char>(0x80 | (c & 63));
  } else {
    text += static_cast<char>(0xf0 | c >> 18);
    text += static_cast<char>(0x80 | (c >> 12 & 63));
    text += static_cast<char>(0x80 | (c >> 6 & 63));
    text += static_cast<char>(0x80 | (c & 63));
  }
}

/// Valid UTF-8 of the kinds that tokenizers stumble over, mixed with words of the training text.
std::string random_text(Rng& rng, bool with_u2581) {
  static const uint32_t odd[] = {0,      '\t',    '\n',    '\r',     0x1b,   0x7f,   0x85,   0xa0,   0xad,
                                 0x300,  0x301,   0x200b,  0x200d,   0x2028, 0x2585, 0x3000, 0xfeff, 0xfffd,
                                 0xffff, 0x1f468, 0x1f600, 0x10ffff, 0xe9,   0xef,   0x4e2d, 0x6587, 0x20ac,
                                 0x2014, 0x1f1e9, 0x0644,  0x0939,   0x2580, 0x2582};
  static const char* const chunks[] = {" ",        "  ",          "     ",        "the",  " measuring",
                                       "measured", "fathoms",     "<s>",          "</s>", "<unk>",
                                       "<0x41>",   "1847",        "aaaaaaaaaaaa", ". ",   "\n\n",
                                       " \n ",     "caf\xc3\xa9", "e\xcc\x81"};
  std::string text;
  for (uint64_t n = rng.below(30); n > 0; --n) {
    switch (rng.below(with_u2581 ? 6 : 5)) {
      case 0:
        append_utf8(text, odd[rng.below(std::size(odd))]);
        break;
      case 1:
        text += static_cast<char>(rng.below(128));
        break;
      case 2: {
        const auto c = static_cast<uint32_t>(rng.below(0x110000));
        if ((c < 0xd800 || c > 0xdfff) && c != 0x2581) append_utf8(text, c);
        break;
      }
      case 3:
      case 4:
        text += chunks[rng.below(std::size(chunks))];
        break;
      default:
        text += kSpaceSymbol;
    }
  }
  return text;
}

TEST(Tokenizer, HasLlamasLayout) {
  const Tokenizer& tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer.vocab_size(), 600u);
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_id(), 2);
  EXPECT_FALSE(tokenizer.add_bos());
  EXPECT_EQ(tokenizer.bytes_of(1), "");
  EXPECT_EQ(tokenizer.bytes_of(3 + 'A'), "A");
  const Oracle oracle(tokenizer);
  EXPECT_EQ(oracle.processor().GetPieceSize(), 600);
  EXPECT_EQ(oracle.processor().unk_id(), 0);
  EXPECT_EQ(oracle.processor().bos_id(), 1);
  EXPECT_EQ(oracle.processor().eos_id(), 2);
  EXPECT_TRUE(oracle.processor().IsByte(3));
}

TEST(Tokenizer, LearnsWordsAndKeepsDigitsApart) {
  const Tokenizer& tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer.encode(" fathoms").size(), 1u);
  EXPECT_EQ(tokenizer.encode("1847").size(), 4u);
  EXPECT_EQ(tokenizer.encode("\n"), std::vector<int32_t>{3 + '\n'});
  EXPECT_TRUE(tokenizer.encode("").empty());
}

TEST(Tokenizer, DecodesWhatItEncodes) {
  const Tokenizer& tokenizer = small_tokenizer();
  Rng rng(7);
  for (int i = 0; i < 20000; ++i) {
    const std::string text = random_text(rng, true);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << i;
  }
  for (int byte = 0; byte < 256; ++byte) {  // not even UTF-8
    const std::string text = "a" + std::string(1, static_cast<char>(byte)) + " b";
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (uint64_t n = rng.below(40); n > 0; --n) text += static_cast<char>(rng.next());
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
}

TEST(Tokenizer, GivesSentencePiecesIdsForRandomText) {
  const Tokenizer& tokenizer = small_tokenizer();
  const Oracle oracle(tokenizer);
  Rng rng(8);
  for (int i = 0; i < 20000; ++i) {
    const std::string text = random_text(rng, false);
    ASSERT_EQ(tokenizer.encode(text), oracle.encode(text)) << i << ": " << text;
  }
}

TEST(Tokenizer, GivesSentencePiecesIdsForLongUnbrokenText) {
  const Tokenizer& tokenizer = small_tokenizer();
  const Oracle oracle(tokenizer);
  Rng rng(9);
  const char* const letters = "aeinrstmd\xc3\xa9 ";
  for (const size_t length : {39u, 40u, 41u, 42u, 43u, 100u, 1000u, 20000u}) {
    for (const uint64_t kinds : {1u, 2u, 4u, 9u, 11u}) {
      std::string text;
      for (size_t i = 0; i < length; ++i) text += letters[rng.below(kinds)];
      if (find_invalid_utf8(text) != std::string::npos) text = std::string(length, ' ');
      ASSERT_EQ(tokenizer.encode(text), oracle.encode(text)) << length << " of " << kinds;
      ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
    }
  }
}

TEST(Tokenizer, BreaksTiesAsSentencePieceDoes) {
  // Runs of one character: which "aa" of "aaa" is merged is a tie, and the leftmost wins.
  const Tokenizer tokenizer(
      {"aa", "aab", "aaaa", "\xe2\x96\x81\xe2\x96\x81", "ba", "a", "b", "\xe2\x96\x81"});
  EXPECT_EQ(tokenizer.encode("aaa"), (std::vector<int32_t>{259, 264}));
  const Oracle oracle(tokenizer);
  Rng rng(12);
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (uint64_t n = rng.below(i % 2 == 0 ? 20 : 90); n > 0; --n) text += "aaaaab "[rng.below(7)];
    ASSERT_EQ(tokenizer.encode(text), oracle.encode(text)) << text;
  }
}

TEST(Tokenizer, GivesSentencePiecesIdsForRealText) {
  const auto shared = shared_folder();
  if (shared.empty()) GTEST_SKIP() << "no ../shared/data/corpus and FATHOM_SHARED is not set";
  CorpusReader sample({shared / "data" / "corpus" / "valid.jsonl.zst"});
  NoProgress progress;
  const Tokenizer tokenizer =
      train_tokenizer(sample, {.vocab_size = 4096, .sample_bytes = 1 << 20}, progress).tokenizer;
  const Oracle oracle(tokenizer);
  CorpusReader corpus({shared / "data" / "corpus" / "valid.jsonl.zst"});
  size_t documents = 0;
  for (Document document; corpus.next(document) && documents < 100; ++documents) {
    ASSERT_EQ(tokenizer.encode(document.text), oracle.encode(document.text)) << document.index;
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(document.text)), document.text) << document.index;
  }
  EXPECT_EQ(documents, 100u);
}

TEST(Tokenizer, KeepsTheSpaceSymbolThatSentencePieceLoses) {
  const Tokenizer& tokenizer = small_tokenizer();
  const std::string text =
      "a\xe2\x96\x81"
      "b";
  const std::vector<int32_t> ids = tokenizer.encode(text);
  EXPECT_EQ(tokenizer.decode(ids), text);
  EXPECT_EQ(ids[1], 3 + 0xe2);
  const Oracle oracle(tokenizer);  // and SentencePiece decodes our ids to the same text
  std::string decoded;
  ASSERT_TRUE(oracle.processor().Decode(std::vector<int>(ids.begin(), ids.end()), &decoded).ok());
  EXPECT_EQ(decoded, text);
}

TEST(Tokenizer, EncodesABatchAsItEncodesEach) {
  const Tokenizer& tokenizer = small_tokenizer();
  std::vector<std::string> texts;
  Rng rng(10);
  for (int i = 0; i < 500; ++i)
    texts.push_back(random_text(rng, true) + sample_text(3, static_cast<uint64_t>(i)));
  const auto batch = tokenizer.encode_batch(texts);
  ASSERT_EQ(batch.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) ASSERT_EQ(batch[i], tokenizer.encode(texts[i]));
}

TEST(Tokenizer, IsTheSameFromEachOfItsFiles) {
  const ScratchFolder folder;
  const Tokenizer& tokenizer = small_tokenizer();
  tokenizer.save(folder.path());
  for (const auto& path : {folder.path(), folder / "tokenizer.model", folder / "tokenizer.json"}) {
    const Tokenizer read = Tokenizer::load(path);
    EXPECT_EQ(read.fingerprint(), tokenizer.fingerprint()) << path;
    EXPECT_EQ(read.encode(" fathoms of sounding"), tokenizer.encode(" fathoms of sounding")) << path;
  }
  const ScratchFolder second;
  Tokenizer::load(folder / "tokenizer.json").save(second.path());
  for (const char* name :
       {"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}) {
    EXPECT_EQ(slurp(folder / name), slurp(second / name)) << name;
  }
  std::filesystem::remove(folder / "tokenizer.model");
  EXPECT_EQ(Tokenizer::load(folder.path()).fingerprint(), tokenizer.fingerprint());
  EXPECT_NE(Tokenizer({"a"}).fingerprint(), Tokenizer({"b"}).fingerprint());
  EXPECT_NE(Tokenizer({"ab", "c"}).fingerprint(), Tokenizer({"a", "bc"}).fingerprint());
}

// A run, data and a checkpoint each hold the tokenizer that was saved into them: what goes with it must too.
TEST(Tokenizer, SavesWhatStoodBesideIt) {
  const ScratchFolder folder, second;
  small_tokenizer().save(folder.path());
  for (const char* name : {"vocab.json", "merges.txt", "chat_template.json", "generation_config.json"})
    folder.write(name, name);
  Tokenizer::load(folder.path()).save(second.path());
  for (const char* name : {"vocab.json", "merges.txt", "chat_template.json", "generation_config.json"})
    EXPECT_EQ(slurp(second / name), name);
}

TEST(Tokenizer, TakesAddBosFromTheConfig) {
  const ScratchFolder folder;
  Tokenizer(std::vector<std::string>{"a", "b"}, true).save(folder.path());
  EXPECT_TRUE(Tokenizer::load(folder.path()).add_bos());
  std::filesystem::remove(folder / "tokenizer_config.json");
  EXPECT_FALSE(Tokenizer::load(folder.path()).add_bos());
  folder.write("tokenizer_config.json", "{\"add_bos_token\": \"yes\"}");
  EXPECT_TRUE(contains(error_of([&] { Tokenizer::load(folder.path()); }), "tokenizer_config.json"));
}

TEST(Tokenizer, RefusesIdsOutsideTheVocabulary) {
  const Tokenizer& tokenizer = small_tokenizer();
  for (const int32_t id : {-1, 600, 1 << 30}) {
    EXPECT_TRUE(contains(error_of([&] {
                           tokenizer.decode(std::vector<int32_t>{5, id});
                         }),
                         "outside the vocabulary of 600"));
  }
}

TEST(Tokenizer, RefusesDamagedFiles) {
  const ScratchFolder folder;
  const auto error = [&](const std::string& name, const std::string& bytes) {
    const auto path = folder.write(name, bytes);
    const std::string message = error_of([&] { Tokenizer::load(path); });
    EXPECT_TRUE(contains(message, path.string()));
    return message;
  };
  EXPECT_TRUE(contains(error("a.model", ""), "holds no pieces"));
  EXPECT_TRUE(contains(error("a.model", "this is no model"), "not a SentencePiece model"));
  EXPECT_TRUE(contains(error("a.json", "{}"), "has no \"model\""));
  EXPECT_TRUE(contains(error("a.json", "{"), "not a tokenizer.json"));
  EXPECT_TRUE(contains(error_of([&] { Tokenizer::load(folder / "none"); }), "no such tokenizer"));
  EXPECT_TRUE(contains(error_of([&] { Tokenizer::load(folder.path()); }), "neither tokenizer.model nor"));
}

TEST(Tokenizer, SurvivesEveryCutAndFlippedByteOfAModel) {
  const ScratchFolder folder;
  const std::string model = format_sentencepiece_model({"a", "b", "ab"});
  ASSERT_EQ(own_pieces(parse_sentencepiece_model(model, "m"), "m"),
            (std::vector<std::string>{"a", "b", "ab"}));
  for (size_t length = 0; length < model.size(); ++length) {
    try {
      if (!own_pieces(parse_sentencepiece_model(model.substr(0, length), "m"), "m")) continue;
    } catch (const Error&) {
      continue;
    }
    // The last fields restate what is the default of a reader that sees their spec; a model without pieces
    // never passes.
    EXPECT_GT(length, model.size() - 20);
  }
  Rng rng(11);
  for (int i = 0; i < 5000; ++i) {
    std::string damaged = model;
    damaged[rng.below(damaged.size())] ^= static_cast<char>(1 << rng.below(8));
    try {
      parse_sentencepiece_model(damaged, "m");
    } catch (const Error&) {
    }
  }
}

TEST(TokenizerTraining, IsDeterministicAndBounded) {
  const ScratchFolder folder;
  const auto text = folder.write("a.txt", sample_text(20000, 3));
  const auto train = [&](TokenizerTrainOptions options) {
    CorpusReader corpus({text});
    NoProgress progress;
    return train_tokenizer(corpus, options, progress);
  };
  const auto first = train({.vocab_size = 400, .sample_bytes = 100000});
  const auto second = train({.vocab_size = 400, .sample_bytes = 100000});
  EXPECT_EQ(first.tokenizer.fingerprint(), second.tokenizer.fingerprint());
  EXPECT_LE(first.sample_bytes, 100000u);
  EXPECT_GT(first.sample_bytes, 95000u);
  EXPECT_EQ(first.bytes, std::filesystem::file_size(text));
  EXPECT_EQ(first.documents, 1u);
  const auto other = train({.vocab_size = 400, .sample_bytes = 100000, .seed = 1});
  EXPECT_NE(first.sample_bytes, other.sample_bytes);
}

TEST(TokenizerTraining, NamesAVocabularyThatDoesNotFit) {
  const ScratchFolder folder;
  const auto text = folder.write("a.txt", sample_text(100));
  const auto error = [&](size_t vocab) {
    CorpusReader corpus({text});
    NoProgress progress;
    return error_of([&] { train_tokenizer(corpus, {.vocab_size = vocab}, progress); });
  };
  EXPECT_TRUE(contains(error(270), "too small"));
  EXPECT_TRUE(contains(
      error(32000),
      "a vocabulary of 32000 is more than this text can fill; give more text, or a --vocab of at most "));
}

TEST(TokenizerTraining, NamesTextWithNothingToLearn) {
  const ScratchFolder folder;
  CorpusReader corpus({folder.write("a.txt", "\n\t\r\n\n")});
  NoProgress progress;
  EXPECT_TRUE(contains(error_of([&] { train_tokenizer(corpus, {.vocab_size = 300}, progress); }),
                       "nothing to learn from"));
}

TEST(TokenizerTraining, LeavesSentencePiecesReservedCharactersToTheBytes) {
  const ScratchFolder folder;
  const std::string odd =
      std::string("tab\there NUL") + '\0' + " block \xe2\x96\x85 low \xe2\x96\x81 line\r\n";
  std::string text = sample_text(2000);
  for (int i = 0; i < 200; ++i) text += odd;
  CorpusReader corpus({folder.write("a.txt", text)});
  NoProgress progress;
  const Tokenizer tokenizer = train_tokenizer(corpus, {.vocab_size = 400}, progress).tokenizer;
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  for (int32_t id = kFirstPieceId; id < 400; ++id) {
    EXPECT_EQ(tokenizer.bytes_of(id).find_first_of(std::string_view("\t\r\n\0\xe2", 5)),
              std::string_view::npos)
        << id;
  }
}

}  // namespace
}  // namespace fathom
