#include "text/tokenizer_train.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <queue>
#include <thread>

#include <fmt/format.h>
#include <sentencepiece_trainer.h>

#include "core/rng.h"
#include "core/threads.h"
#include "text/sentencepiece_model.h"
#include "text/text_error.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

constexpr size_t kMaxLineBytes = size_t{16}
                                 << 10;  // longer lines are cut; a merge over the cut is all that is lost

/// A sample of lines, each kept with the same chance whatever the corpus' size, in bounded memory and one
/// pass: every line draws a number from (seed, its position), and those with the smallest numbers stay.
class LineSample {
 public:
  LineSample(size_t max_bytes, uint64_t seed) : max_bytes_(max_bytes), seed_(seed) {}

  void add(std::string_view line) {
    const uint64_t index = seen_++;
    const uint64_t draw = Rng(seed_, index).next();
    if (bytes_ + line.size() > max_bytes_ && !kept_.empty() && draw > kept_.top().draw) return;
    kept_.push({draw, index, std::string(line)});
    bytes_ += line.size();
    for (; bytes_ > max_bytes_ && kept_.size() > 1; kept_.pop()) bytes_ -= kept_.top().text.size();
  }

  size_t bytes() const { return bytes_; }
  /// The lines in the order of the corpus; empties the sample.
  std::vector<std::string> take() {
    std::vector<Line> lines;
    for (; !kept_.empty(); kept_.pop()) lines.push_back(kept_.top());
    std::sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) { return a.index < b.index; });
    std::vector<std::string> texts;
    for (Line& line : lines) texts.push_back(std::move(line.text));
    return texts;
  }

 private:
  struct Line {
    uint64_t draw, index;
    std::string text;
    bool operator<(const Line& o) const { return draw != o.draw ? draw < o.draw : index < o.index; }
  };
  size_t max_bytes_, bytes_ = 0;
  uint64_t seed_, seen_ = 0;
  std::priority_queue<Line> kept_;  // the largest number on top
};

/// Length of the separator that `text` starts with, or 0: line feeds, and the characters that SentencePiece's
/// trainer reserves for itself (tab, NUL, U+2581, U+2585).
size_t separator_length(std::string_view text) {
  if (text[0] == '\n' || text[0] == '\r' || text[0] == '\t' || text[0] == '\0') return 1;
  return text.starts_with(kSpaceSymbol) || text.starts_with("\xe2\x96\x85") ? 3 : 0;
}

void add_lines(std::string_view text, LineSample& sample) {
  while (!text.empty()) {
    size_t end = 0;
    while (end < text.size() && separator_length(text.substr(end)) == 0) ++end;
    for (std::string_view line = text.substr(0, end); !line.empty();) {
      const size_t length = utf8_floor(line, kMaxLineBytes);
      sample.add(line.substr(0, length));
      line.remove_prefix(length);
    }
    text.remove_prefix(end == text.size() ? end : end + separator_length(text.substr(end)));
  }
}

class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::vector<std::string>& lines) : lines_(lines) {}
  bool done() const override { return at_ == lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& lines_;
  size_t at_ = 0;
};

/// Shows that something is going on while a call that can't report runs: one update a second from another
/// thread.
class Ticker {
 public:
  Ticker(Progress& progress, uint64_t done)
      : thread_([this, &progress, done](const std::stop_token& stop) {
          std::unique_lock lock(mutex_);
          while (!stop.stop_requested()) {
            changed_.wait_for(lock, stop, std::chrono::seconds(1), [] { return false; });
            progress.update(done);
          }
        }) {}

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::jthread thread_;  // last: joined before the others go
};

/// The least vocabulary for `lines`: special and byte tokens, and the frequent characters that cover the
/// wanted share.
size_t smallest_vocabulary(const std::vector<std::string>& lines, double coverage) {
  std::map<std::string, uint64_t> counts;
  uint64_t total = 0;
  for (std::string_view rest : lines) {
    for (size_t length; !rest.empty(); rest.remove_prefix(length)) {
      length = utf8_char_length(rest);
      ++counts[std::string(rest.substr(0, length))];
      ++total;
    }
  }
  std::vector<uint64_t> sorted;
  for (const auto& [character, count] : counts) sorted.push_back(count);
  std::sort(sorted.rbegin(), sorted.rend());
  size_t n = 0;
  for (uint64_t covered = 0;
       n < sorted.size() && static_cast<double>(covered) < coverage * static_cast<double>(total); ++n) {
    covered += sorted[n];
  }
  return kFirstPieceId + n;
}

/// SentencePiece says "<source line> Vocabulary size too high (32000). Please set it to a value <= 594."
[[noreturn]] void fail_training(size_t vocab_size, const std::string& message) {
  const size_t most = message.find("<= ");
  if (message.find("too high") != std::string::npos && most != std::string::npos) {
    fail(fmt::format("a vocabulary of {} is more than this text can fill", vocab_size),
         "give more text, or a --vocab of at most " +
             message.substr(most + 3, message.find('.', most) - most - 3));
  }
  fail(fmt::format("cannot learn a vocabulary of {}: {}", vocab_size, message),
       "give more text or a smaller --vocab");
}

std::vector<std::string> learn_pieces(const std::vector<std::string>& lines,
                                      const TokenizerTrainOptions& options) {
  Lines iterator(lines);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      {{"model_type", "bpe"},
       {"vocab_size", std::to_string(options.vocab_size)},
       {"byte_fallback", "true"},
       {"character_coverage", fmt::format("{}", options.character_coverage)},
       {"split_digits", "true"},
       {"allow_whitespace_only_pieces", "true"},
       {"normalization_rule_name", "identity"},
       {"add_dummy_prefix", "false"},
       {"remove_extra_whitespaces", "false"},
       {"max_sentence_length", std::to_string(kMaxLineBytes)},
       {"num_threads", std::to_string(std::min<size_t>(num_threads(), 64))},
       {"unk_id", "0"},
       {"bos_id", "1"},
       {"eos_id", "2"},
       {"pad_id", "-1"},
       {"minloglevel", "2"}},
      &iterator, &model);
  if (!status.ok()) fail_training(options.vocab_size, std::string(status.message()));
  auto pieces = own_pieces(parse_sentencepiece_model(model, "the trained model"), "the trained model");
  if (!pieces) fail("the trained model has not the layout that was asked for");
  return std::move(*pieces);
}

}  // namespace

TokenizerTrainResult train_tokenizer(CorpusReader& corpus, const TokenizerTrainOptions& options,
                                     Progress& progress) {
  LineSample sample(options.sample_bytes, options.seed);
  uint64_t documents = 0, bytes = 0;
  progress.begin("reading", corpus.bytes_total(), "bytes");
  for (Document document; corpus.next(document); progress.update(corpus.bytes_done())) {
    add_lines(document.text, sample);
    ++documents;
    bytes += document.text.size();
  }
  progress.end();
  const uint64_t sample_bytes = sample.bytes();
  const std::vector<std::string> lines = sample.take();
  if (lines.empty()) fail("the text holds nothing to learn from: only line ends and tabs", "give other text");
  const size_t least = smallest_vocabulary(lines, options.character_coverage);
  if (options.vocab_size < least) {
    fail("a vocabulary of " + std::to_string(options.vocab_size) +
             " is too small: bytes and characters alone take " + std::to_string(least),
         "give a larger --vocab");
  }
  progress.begin(fmt::format("learning {} pieces from", options.vocab_size), 0, "lines");
  std::vector<std::string> pieces;
  {
    const Ticker ticker(progress, lines.size());
    pieces = learn_pieces(lines, options);
  }
  progress.end();
  return {Tokenizer(std::move(pieces)), documents, bytes, lines.size(), sample_bytes};
}

}  // namespace fathom
