#include "text/corpus.h"

#include "text/helpers.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> read_all(const std::vector<fs::path>& inputs, CorpusReader::Options options = {}) {
  CorpusReader corpus(inputs, options);
  std::vector<std::string> texts;
  for (Document document; corpus.next(document);) {
    EXPECT_EQ(document.index, texts.size());
    texts.push_back(document.text);
  }
  EXPECT_EQ(corpus.bytes_done(), corpus.bytes_total());
  return texts;
}

TEST(Corpus, ReadsEveryKindOfFile) {
  const ScratchFolder folder;
  const std::string lines =
      "{\"text\": \"one\\n\\u00e9\", \"source\": \"x\"}\r\n\n{\"n\": 1, \"text\": \"two\"}";
  const std::vector<std::string> documents = {"one\n\xc3\xa9", "two"};
  const std::string text = " plain\n text \n";
  EXPECT_EQ(read_all({folder.write("a.jsonl", lines)}), documents);
  EXPECT_EQ(read_all({folder.write("a.jsonl.gz", gzip(lines))}), documents);
  EXPECT_EQ(read_all({folder.write("a.jsonl.zst", zstd(lines))}), documents);
  EXPECT_EQ(read_all({folder.write("a.json.gz", gzip(lines))}), documents);
  EXPECT_EQ(read_all({folder.write("a.txt", text)}), std::vector<std::string>{text});
  EXPECT_EQ(read_all({folder.write("a.txt.gz", gzip(text))}), std::vector<std::string>{text});
  EXPECT_EQ(read_all({folder.write("a.txt.zst", zstd(text))}), std::vector<std::string>{text});
  EXPECT_EQ(read_all({folder.write("named.md", text)}), std::vector<std::string>{text});
}

TEST(Corpus, ReadsFilesLargerThanItsBuffer) {
  const ScratchFolder folder;
  std::string lines, expected;
  for (int i = 0; i < 30; ++i) {
    const std::string text =
        sample_text(2000, static_cast<uint64_t>(i)).substr(0, 100000 + 1000 * static_cast<size_t>(i));
    std::string escaped;
    for (const char c : text) escaped += c == '\n' ? std::string("\\n") : std::string(1, c);
    lines += "{\"text\": \"" + escaped + "\"}\n";
    expected += text;
  }
  for (const auto& path : {folder.write("a.jsonl", lines), folder.write("b.jsonl.zst", zstd(lines)),
                           folder.write("c.jsonl.gz", gzip(lines))}) {
    std::string all;
    for (const std::string& text : read_all({path})) all += text;
    EXPECT_TRUE(all == expected) << path;
  }
}

TEST(Corpus, ReadsAFrameWhoseLastBlockOverflowsTheBuffer) {
  // Blocks of 1000, 128 Ki and 128 Ki bytes into a buffer of 256 KiB: the last one is decoded, but 1000 bytes
  // of it wait, when the file is at its end.
  const ScratchFolder folder;
  const std::string text = sample_text(6000).substr(0, 1000 + 2 * (128 << 10));
  ASSERT_EQ(text.size(), 263144u);
  EXPECT_TRUE(read_all({folder.write("a.txt.zst", zstd(text, 0, false))}) == std::vector<std::string>{text});
}

TEST(Corpus, ReadsSeveralFramesAndMembers) {
  const ScratchFolder folder;
  EXPECT_EQ(read_all({folder.write("a.txt.gz", gzip("one ") + gzip("two"))}),
            std::vector<std::string>{"one two"});
  EXPECT_EQ(read_all({folder.write("a.txt.zst", zstd("one ") + zstd("two"))}),
            std::vector<std::string>{"one two"});
}

TEST(Corpus, ReadsWindowsOf27BitsAndRefusesLarger) {
  const ScratchFolder folder;
  EXPECT_EQ(read_all({folder.write("a.txt.zst", zstd("text", 27))}), std::vector<std::string>{"text"});
  const auto large = folder.write("b.txt.zst", zstd("text", 28));
  EXPECT_TRUE(contains(error_of([&] { read_all({large}); }), "--long=27"));
}

TEST(Corpus, WalksFoldersInOrderAndLeavesOtherFiles) {
  const ScratchFolder folder;
  folder.write("b/2.txt", "second");
  folder.write("b/10.txt", "first");
  folder.write("a.jsonl", "{\"text\": \"zeroth\"}\n");
  folder.write("picture.png", "\x89PNG");
  folder.write("package.json", "{}");
  EXPECT_EQ(read_all({folder.path()}), (std::vector<std::string>{"zeroth", "first", "second"}));
}

TEST(Corpus, NamesALinkToNowhere) {
  const ScratchFolder folder;
  fs::create_symlink(folder / "gone.txt", folder / "link.txt");
  EXPECT_TRUE(contains(error_of([&] { read_all({folder.path()}); }), "link.txt: cannot open"));
}

TEST(Corpus, DropsByteOrderMarksAndEmptyDocuments) {
  const ScratchFolder folder;
  folder.write("a.txt",
               "\xef\xbb\xbf"
               "text");
  folder.write("b.jsonl", "\xef\xbb\xbf{\"text\": \"\"}\n{\"text\": \"more\"}\n   \n");
  folder.write("c.txt", "");
  EXPECT_EQ(read_all({folder.path()}), (std::vector<std::string>{"text", "more"}));
}

TEST(Corpus, NamesFileLineAndByteOfInvalidUtf8) {
  const ScratchFolder folder;
  const auto text = folder.write("a.txt", "good \xff bad");
  EXPECT_TRUE(
      contains(error_of([&] { read_all({text}); }), text.string() + ": at byte 5: invalid UTF-8 (0xff)"));
  const auto lines = folder.write("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\xc3(\"}\n");
  EXPECT_TRUE(contains(error_of([&] { read_all({lines}); }),
                       lines.string() + ":2: at byte 24: invalid UTF-8 (0xc3)"));
  const auto packed = folder.write("b.jsonl.zst", zstd("\n\n{\"text\": \"\xe2\x82\"}"));
  EXPECT_TRUE(
      contains(error_of([&] { read_all({packed}); }), packed.string() + ":3: at byte 12: invalid UTF-8"));
}

TEST(Corpus, NamesTheLineThatIsNoDocument) {
  const ScratchFolder folder;
  const auto error = [&](const std::string& line) {
    const auto path = folder.write("a.jsonl", "{\"text\": \"a\"}\n" + line + "\n");
    const std::string message = error_of([&] { read_all({path}); });
    EXPECT_TRUE(contains(message, path.string() + ":2: "));
    EXPECT_LT(message.size(), 400u);
    return message;
  };
  EXPECT_TRUE(contains(error("{\"body\": \"b\"}"), "no field \"text\""));
  EXPECT_TRUE(contains(error("[1, 2]"), "no field \"text\""));
  EXPECT_TRUE(contains(error("{\"text\": 7}"), "not a string"));
  EXPECT_TRUE(contains(error("{\"text\": \"unfinished"), "not valid JSON"));
  EXPECT_TRUE(contains(error("{\"text\": \"" + std::string(10000, 'x')), "not valid JSON"));
  EXPECT_TRUE(contains(error("{\"text\": \"lone surrogate \\ud800\"}"), "not valid JSON"));
  EXPECT_TRUE(contains(error(std::string(200000, '[')), "not valid JSON"));
}

TEST(Corpus, RefusesCompressedFilesThatAreCutShortOrDamaged) {
  const ScratchFolder folder;
  const std::string text = sample_text(3000);
  for (const auto& [suffix, whole] : {std::pair{".gz", gzip(text)}, std::pair{".zst", zstd(text)}}) {
    for (const size_t length : {size_t{0}, size_t{3}, whole.size() / 2, whole.size() - 1}) {
      const auto path = folder.write(std::string("cut.txt") + suffix, whole.substr(0, length));
      EXPECT_TRUE(contains(error_of([&] { read_all({path}); }), "cut short")) << suffix << " " << length;
    }
    std::string damaged = whole;
    damaged[whole.size() / 2] = static_cast<char>(damaged[whole.size() / 2] ^ 0x10);
    const auto path = folder.write(std::string("damaged.txt") + suffix, damaged);
    EXPECT_TRUE(contains(error_of([&] { read_all({path}); }), path.string())) << suffix;
    const auto other = folder.write(std::string("other.txt") + suffix, "no such format at all");
    EXPECT_TRUE(contains(error_of([&] { read_all({other}); }), "not valid")) << suffix;
  }
}

TEST(Corpus, BoundsTheSizeOfADocument) {
  const ScratchFolder folder;
  const auto text = folder.write("a.txt", std::string(2000, 'a'));
  EXPECT_TRUE(
      contains(error_of([&] { read_all({text}, {.max_document_bytes = 1999}); }), "more than 1999 bytes"));
  EXPECT_EQ(read_all({text}, {.max_document_bytes = 2000}).size(), 1u);
  const auto lines =
      folder.write("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"" + std::string(2000, 'a') + "\"}\n");
  EXPECT_TRUE(
      contains(error_of([&] { read_all({lines}, {.max_document_bytes = 2000}); }), lines.string() + ":2: "));
}

TEST(Corpus, NamesMissingEmptyAndUnreadableInput) {
  const ScratchFolder folder;
  EXPECT_TRUE(
      contains(error_of([&] { read_all({folder / "none.txt"}); }), "none.txt: no such file or folder"));
  folder.write("pictures/a.png", "x");
  EXPECT_TRUE(contains(error_of([&] { read_all({folder / "pictures"}); }), "holds no .txt or .jsonl"));
  const auto empty = folder.write("empty.txt", "");
  EXPECT_TRUE(contains(error_of([&] { read_all({empty}); }), "empty.txt: holds no text"));
  const auto blank = folder.write("blank.jsonl", "\n\n");
  EXPECT_TRUE(contains(error_of([&] { read_all({empty, blank}); }), "hold no text"));
  EXPECT_TRUE(contains(error_of([&] { read_all({}); }), "no input"));
  if (geteuid() == 0) return;  // root reads everything
  const auto locked = folder.write("locked.txt", "secret");
  fs::permissions(locked, fs::perms::none);
  EXPECT_TRUE(contains(error_of([&] { read_all({locked}); }), "Permission denied"));
}

}  // namespace
}  // namespace fathom
