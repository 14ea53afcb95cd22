// Speed of dequantizing, in bytes of output per second, one benchmark a stored type and output type.
//
//     io_bench [benchmark options]

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "core/rng.h"
#include "core/threads.h"
#include "io/dequantize.h"

namespace fathom {
namespace {

// A projection of a 7B model: as stored and as fp32 beyond every cache.
constexpr size_t kRows = 4096, kColumns = 4096;

template <class To>
void run(benchmark::State& state, StoredType type) {
  set_num_threads(1);
  const StoredTypeInfo& info = stored_type_info(type);
  std::vector<std::byte> bytes(kRows * kColumns / info.block_elements * info.block_bytes);
  Rng rng(1);
  // Bytes below 64: no NaN and no denormal in any type.
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next() & 63);
  TensorView tensor;
  tensor.type = type;
  tensor.shape = {kRows, kColumns};
  tensor.data = bytes.data();
  tensor.size_bytes = bytes.size();
  const StoredWeight weight{.tensor = &tensor, .scales = nullptr, .block = {}};
  std::vector<To> fast(kColumns), plain(kColumns), out(kRows * kColumns);
  dequantize_rows(fast.data(), weight, 7, 1);
  dequantize_rows_ref(plain.data(), weight, 7, 1);
  for (size_t i = 0; i < kColumns; ++i) {
    if (static_cast<float>(fast[i]) != static_cast<float>(plain[i]))
      return state.SkipWithError("wrong result");
  }
  for (auto _ : state) {
    dequantize(out.data(), weight);
    benchmark::ClobberMemory();
  }
  state.counters["output B/s"] =
      benchmark::Counter(static_cast<double>(out.size() * sizeof(To)),
                         benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void register_all() {
  for (int t = 0; t < static_cast<int>(StoredType::kI64); ++t) {
    const auto type = static_cast<StoredType>(t);
    if (type == StoredType::kF64) continue;  // by the reference: no model stores it
    const std::string name(stored_type_name(type));
    benchmark::RegisterBenchmark((name + "/fp32").c_str(), run<float>, type)->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark((name + "/bf16").c_str(), run<bf16>, type)->Unit(benchmark::kMillisecond);
  }
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  fathom::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
