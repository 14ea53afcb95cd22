// Speed of reading and tokenizing, in bytes of text per second, beside SentencePiece on the same text and
// vocabulary.
//
//     text_bench TEXT [benchmark options]      TEXT: any file or folder that `fathom data` reads

#include <benchmark/benchmark.h>
#include <sentencepiece_processor.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/threads.h"
#include "text/corpus.h"
#include "text/tokenizer_train.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

constexpr size_t kTextBytes = size_t{16} << 20;  // enough for the caches to see more than their first words

struct Bed {
  std::filesystem::path path;
  std::vector<std::string> texts;
  size_t bytes = 0;
  Tokenizer tokenizer;
};

Bed make_bed(const std::filesystem::path& path) {
  NoProgress progress;
  CorpusReader sample({path});
  Bed bed{path,
          {},
          0,
          train_tokenizer(sample, {.vocab_size = 8192, .sample_bytes = size_t{4} << 20}, progress).tokenizer};
  CorpusReader corpus({path});
  for (Document document; bed.bytes < kTextBytes && corpus.next(document);) {
    bed.bytes += document.text.size();
    bed.texts.push_back(std::move(document.text));
  }
  return bed;
}

void report(benchmark::State& state, size_t bytes) {
  state.counters["B/s"] = benchmark::Counter(
      static_cast<double>(bytes), benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void read_corpus(benchmark::State& state, const Bed& bed) {
  size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    CorpusReader corpus({bed.path});
    for (Document document; corpus.next(document);) bytes += document.text.size();
  }
  report(state, bytes);
}

void encode(benchmark::State& state, const Bed& bed) {
  for (auto _ : state) {
    for (const std::string& text : bed.texts) benchmark::DoNotOptimize(bed.tokenizer.encode(text));
  }
  report(state, bed.bytes);
}

void encode_batch(benchmark::State& state, const Bed& bed) {
  set_num_threads(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(bed.tokenizer.encode_batch(bed.texts));
  report(state, bed.bytes);
}

/// The peer; the ids of both are compared first.
void encode_sentencepiece(benchmark::State& state, const Bed& bed,
                          const sentencepiece::SentencePieceProcessor& peer) {
  for (const std::string& text : bed.texts) {
    std::vector<int> ids;
    if (!peer.Encode(text, &ids).ok() || ids != bed.tokenizer.encode(text))
      state.SkipWithError("the ids differ");
  }
  for (auto _ : state) {
    for (const std::string& text : bed.texts) {
      std::vector<int> ids;
      benchmark::DoNotOptimize(peer.Encode(text, &ids));
    }
  }
  report(state, bed.bytes);
}

int run(int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') {
    std::fputs("usage: text_bench TEXT [benchmark options]\n", stderr);
    return 2;
  }
  const Bed bed = make_bed(argv[1]);
  const auto model = std::filesystem::temp_directory_path() / "fathom-text-bench.model";
  bed.tokenizer.save_model(model);
  sentencepiece::SentencePieceProcessor peer;
  if (!peer.Load(model.string()).ok()) fail("SentencePiece cannot load " + model.string());
  std::filesystem::remove(model);
  benchmark::RegisterBenchmark("read_corpus", read_corpus, bed);
  benchmark::RegisterBenchmark("encode", encode, bed);
  benchmark::RegisterBenchmark("encode_batch", encode_batch, bed)->Arg(1)->Arg(2)->UseRealTime();
  benchmark::RegisterBenchmark("encode_sentencepiece",
                               [&](benchmark::State& state) { encode_sentencepiece(state, bed, peer); });
  argv[1] = argv[0];
  int rest = argc - 1;
  benchmark::Initialize(&rest, argv + 1);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  try {
    return fathom::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "text_bench: %s\n", e.what());
    return 1;
  }
}
