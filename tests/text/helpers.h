#pragma once
// What the tests of src/text share: a folder that cleans up, files of each kind, errors by their text, a
// small tokenizer.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "core/error.h"
#include "core/rng.h"
#include "text/tokenizer_train.h"

namespace fathom {

/// A folder that is there as long as the object.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "fathom-text-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() { std::filesystem::remove_all(path_); }

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

  /// Writes `bytes` to a file of this name, with the folders above it, and returns its path.
  std::filesystem::path write(const std::string& name, std::string_view bytes) const {
    const std::filesystem::path path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

 private:
  std::filesystem::path path_;
};

inline std::string gzip(std::string_view text) {
  std::string out(compressBound(text.size()) + 32, '\0');
  z_stream stream{};
  deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// One zstd frame with a short first block; `window_log` as in `zstd --long=N`, 0 for the level's own.
inline std::string zstd(std::string_view text, int window_log = 0, bool checksum = true) {
  std::string out(ZSTD_compressBound(text.size()) + 64, '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  if (window_log > 0) ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum);  // the zstd program writes one
  ZSTD_outBuffer output{out.data(), out.size(), 0};
  // In two calls, so that the frame's size is not known at its start and it declares the whole window.
  ZSTD_inBuffer input{text.data(), std::min<size_t>(text.size(), 1000), 0};
  ZSTD_compressStream2(context, &output, &input, ZSTD_e_flush);
  input.size = text.size();
  while (ZSTD_compressStream2(context, &output, &input, ZSTD_e_end) != 0) {
  }
  ZSTD_freeCCtx(context);
  out.resize(output.pos);
  return out;
}

/// The message of the fathom::Error that `action` throws; "" (and a failure) where it throws none.
template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

/// `text` contains `part`, or the message shows both.
inline ::testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "\"" << text << "\" does not contain \"" << part << "\"";
}

/// English-like text, some 60 bytes a sentence: words drawn by a skewed law, invented ones among them, with
/// numbers, accents and paragraphs.
inline std::string sample_text(size_t sentences = 5000, uint64_t seed = 1) {
  static const char* const words[] = {
      "the",         "of",           "and",        "to",       "in",        "that",     "was",
      "his",         "he",           "it",         "with",     "river",     "depth",    "sounding",
      "vessel",      "harbour",      "weather",    "captain",  "morning",   "letters",  "unremarkable",
      "caf\xc3\xa9", "na\xc3\xafve", "measure",    "measured", "measuring", "lead",     "line",
      "fathoms",     "don't",        "twenty-two", "1847",     "3.5",       "(perhaps)"};
  static const char* const syllables[] = {"ka",  "lor", "men", "ti",  "sa", "ven",
                                          "dro", "pel", "ir",  "oth", "qu", "ash"};
  Rng rng(seed);
  std::string text;
  for (size_t sentence = 0; sentence < sentences; ++sentence) {
    for (uint64_t left = 4 + rng.below(14); left > 0; --left) {
      const double u = rng.uniform();
      if (rng.below(5) == 0) {
        for (uint64_t n = 2 + rng.below(3); n > 0; --n) text += syllables[rng.below(std::size(syllables))];
      } else
        text += words[static_cast<size_t>(u * u * static_cast<double>(std::size(words)))];
      text += left > 1 ? " " : rng.below(8) == 0 ? ".\n\n" : ". ";
    }
  }
  return text;
}

/// A tokenizer with 600 ids, trained once on sample_text().
inline const Tokenizer& small_tokenizer() {
  static const Tokenizer tokenizer = [] {
    const ScratchFolder folder;
    CorpusReader corpus({folder.write("text.txt", sample_text())});
    NoProgress progress;
    return train_tokenizer(corpus, {.vocab_size = 600}, progress).tokenizer;
  }();
  return tokenizer;
}

/// The folder that FATHOM_SHARED names, else `shared` beside the checkout; "" where there is none.
inline std::filesystem::path shared_folder() {
  const char* const named = std::getenv("FATHOM_SHARED");
  const std::filesystem::path folder =
      named ? std::filesystem::path(named)
            : std::filesystem::path(FATHOM_SOURCE_DIR).parent_path() / "shared";
  return std::filesystem::is_directory(folder / "data" / "corpus") ? folder : std::filesystem::path();
}

}  // namespace fathom
