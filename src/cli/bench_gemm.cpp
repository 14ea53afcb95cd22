// fathom bench gemm: the products of a training step, checked and then timed, as fractions of the peak
// measured in the same run.

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "cli/bench.h"
#include "cli/stop_signals.h"
#include "core/buffer.h"
#include "core/error.h"
#include "core/rng.h"
#include "core/threads.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"

namespace fathom::cli {
namespace {

using nlohmann::json;

struct Settings {
  std::vector<std::string> shapes{"deep-10m", "130m", "350m", "1b"};
  std::string dtype = "bf16";
  size_t rows = 2048;
};

// Hidden and FFN size of the models whose products are measured (configs/).
const std::map<std::string, std::pair<size_t, size_t>>& models() {
  static const std::map<std::string, std::pair<size_t, size_t>> all{
      {"deep-10m", {192, 512}}, {"130m", {768, 2048}}, {"350m", {1024, 2736}}, {"1b", {2048, 5461}}};
  return all;
}

// A linear layer y (rows, out) = x (rows, in) W (out, in)^T.
struct Linear {
  std::string name;
  size_t in, out;
};

std::vector<Linear> layers_of(const std::string& model) {
  const auto [hidden, ffn] = models().at(model);
  return {{model + " qkv", hidden, 3 * hidden},
          {model + " o", hidden, hidden},
          {model + " gate_up", hidden, 2 * ffn},
          {model + " down", ffn, hidden}};
}

// A dense matrix of random numbers in fp32 or bf16.
class Matrix {
 public:
  Matrix(size_t rows, size_t cols, DType dtype, uint64_t seed)
      : cols_(cols), dtype_(dtype), bytes_(rows * cols * dtype_size(dtype)) {
    parallel_ranges(rows, 64, [&](size_t begin, size_t end) {
      Rng rng(seed, begin);
      for (size_t i = begin * cols; i < end * cols; ++i) {
        const auto v = static_cast<float>(2.0 * rng.uniform() - 1.0);
        if (dtype_ == DType::kF32)
          floats()[i] = v;
        else
          halves()[i] = bf16(v);
      }
    });
  }
  double at(size_t row, size_t col) const {
    const size_t i = row * cols_ + col;
    return dtype_ == DType::kF32 ? static_cast<double>(reinterpret_cast<const float*>(bytes_.data())[i])
                                 : static_cast<double>(reinterpret_cast<const bf16*>(bytes_.data())[i]);
  }
  MatrixIn in(bool transposed, const uint32_t* packed = nullptr) const {
    return {bytes_.data(), dtype_, cols_, transposed, packed};
  }
  MatrixOut out() { return {bytes_.data(), dtype_, cols_}; }

 private:
  float* floats() { return reinterpret_cast<float*>(bytes_.data()); }
  bf16* halves() { return reinterpret_cast<bf16*>(bytes_.data()); }

  size_t cols_;
  DType dtype_;
  Buffer<std::byte> bytes_;
};

// One of the three products of a linear layer: c (M, N) = op(a) op(b).
struct Product {
  std::string name;
  size_t M, N, K;
  bool a_transposed, b_transposed, accumulates;
};

std::vector<Product> products_of(const Linear& layer, size_t rows) {
  return {{layer.name + " forward", rows, layer.out, layer.in, false, true, false},
          {layer.name + " dgrad", rows, layer.in, layer.out, false, false, false},
          {layer.name + " wgrad", layer.out, layer.in, rows, true, false, true}};
}

// Compares elements of c at random places with sums in double. Float sums err by about eps K / 3 here (see
// tests/kernels/gemm_test.cpp); a bf16 result by a unit in its last place more.
void check(const Product& p, const Matrix& a, const Matrix& b, const Matrix& c, DType c_type) {
  constexpr int kSamples = 64;
  Rng rng(1);
  for (int s = 0; s < kSamples; ++s) {
    const size_t i = rng.below(p.M), j = rng.below(p.N);
    double expected = 0;
    for (size_t k = 0; k < p.K; ++k)
      expected += (p.a_transposed ? a.at(k, i) : a.at(i, k)) * (p.b_transposed ? b.at(j, k) : b.at(k, j));
    const double tolerance = 0x1p-23 * static_cast<double>(p.K + 8) +
                             (c_type == DType::kBf16 ? 0x1p-7 * std::fabs(expected) : 0.0);
    if (!(std::fabs(c.at(i, j) - expected) <= tolerance)) {
      fail(fmt::format("{}: element {},{} is {} instead of {}", p.name, i, j, c.at(i, j), expected),
           "the kernels are wrong on this machine; run fathom selftest and report it");
    }
  }
}

json measure(const Product& p, DType dtype, double& peak, size_t rows) {
  const Matrix a(p.a_transposed ? p.K : p.M, p.a_transposed ? p.M : p.K, dtype, 1);
  const Matrix b(p.b_transposed ? p.N : p.K, p.b_transposed ? p.K : p.N, dtype, 2);
  const DType c_type = p.accumulates ? DType::kF32 : dtype;
  Matrix c(p.M, p.N, c_type, 3);
  // Weights are packed once a step (ResidentWeights::keep_packed), which is not timed.
  Buffer<uint32_t> packed;
  if (!p.accumulates && reads_packed_matrices(dtype)) {
    packed = Buffer<uint32_t>(packed_units(p.K, p.N));
    pack_matrix(packed.data(), p.K, p.N, b.in(p.b_transposed));
  }
  const auto multiply = [&](Addend addend) {
    gemm(p.M, p.N, p.K, a.in(p.a_transposed), b.in(p.b_transposed, packed.data()), c.out(), dtype, addend);
  };
  multiply({});
  check(p, a, b, c, c_type);
  peak = std::max(peak, peak_flops(dtype, num_threads(), 5));
  const double before = loaded_flops(dtype, num_threads());
  const Timing t = time_calls([&] { multiply(p.accumulates ? Addend{c.out().data, p.N, 1.0} : Addend{}); });
  const double operations =
      2.0 * static_cast<double>(p.M) * static_cast<double>(p.N) * static_cast<double>(p.K);
  json result = rate_of(p.name, t, operations, static_cast<double>(rows));
  // What the machine had to give while this was measured.
  const double loaded = 0.5 * (before + loaded_flops(dtype, num_threads()));
  result.update({{"M", p.M},
                 {"N", p.N},
                 {"K", p.K},
                 {"loaded_tflops", loaded / 1e12},
                 {"fraction_of_loaded", operations / t.median_s / loaded}});
  return result;
}

// Stopped by a signal, it finishes the product at hand and leaves out the others.
void measure_all(const std::vector<Product>& products, DType dtype, double& peak, size_t rows,
                 json& results) {
  const StopSignals signals;
  const std::unique_ptr<Progress> progress = make_progress();
  progress->begin("bench gemm", products.size(), "products");
  for (const Product& p : products) {
    if (StopSignals::asked()) break;
    results.push_back(measure(p, dtype, peak, rows));
    progress->update(results.size(), p.name);
  }
  progress->end();
}

double geometric_mean(const json& results, const char* key) {
  double logs = 0;
  for (const json& r : results) logs += std::log(r[key].get<double>());
  return std::exp(logs / static_cast<double>(results.size()));
}

// The geometric mean and the least of the fractions of the peak; the mean of those of products from L1.
void summarize(json& result) {
  const json& results = result["results"];
  double least = INFINITY;
  for (const json& r : results) least = std::min(least, r["fraction_of_peak"].get<double>());
  const double mean = geometric_mean(results, "fraction_of_peak");
  const double loaded = geometric_mean(results, "fraction_of_loaded");
  result["geomean_fraction_of_peak"] = mean;
  result["least_fraction_of_peak"] = least;
  result["geomean_fraction_of_loaded"] = loaded;
  fmt::print("{} products: geometric mean {:.0f}% of peak, least {:.0f}%;\n", results.size(), 100 * mean,
             100 * least);
  fmt::print("{:.0f}% of what products with operands from L1 reached beside each\n", 100 * loaded);
}

void run(const Common& common, const Settings& settings) {
  apply(common);
  const DType dtype = settings.dtype == "fp32" ? DType::kF32 : DType::kBf16;
  double peak = peak_flops(dtype, num_threads());
  json result = bench_result(peak);
  result["dtype"] = settings.dtype;
  std::vector<Product> products;
  for (const std::string& model : settings.shapes) {
    for (const Linear& layer : layers_of(model)) {
      for (const Product& p : products_of(layer, settings.rows)) products.push_back(p);
    }
  }
  measure_all(products, dtype, peak, settings.rows, result["results"]);
  const size_t measured = result["results"].size();
  if (measured == 0) fail("stopped by a signal before the first product was measured");
  if (measured < products.size()) result["stopped"] = true;
  report_rates(result, peak, settings.dtype + " on " + std::string(isa_name(active_isa())),
               [](const json& r) {
                 return fmt::format("{:<26} {:>6} x {:<6} x {:<6}", r["name"].get<std::string>(),
                                    r["M"].get<size_t>(), r["N"].get<size_t>(), r["K"].get<size_t>());
               });
  summarize(result);
  write_result(common, result);
  // Not done, hence not 0: a script must not take the mean of some products for that of all.
  if (measured < products.size())
    fail(fmt::format("stopped by a signal; measured {} of {} products", measured, products.size()));
}

}  // namespace

void add_bench_gemm(Command bench) {
  auto common = std::make_shared<Common>();
  auto settings = std::make_shared<Settings>();
  Command command =
      add_command(bench, "gemm", "The matrix products of training: forward, dgrad and wgrad of each layer",
                  "fathom bench gemm --shapes deep-10m,130m --dtype bf16", common);
  std::vector<std::string> names;
  for (const auto& [name, sizes] : models()) names.push_back(name);
  command.option("--shapes", settings->shapes, "Models whose layers to measure")
      .comma_list()
      .one_of(names)
      .shows_default();
  command.option("--dtype", settings->dtype, "Precision of the products")
      .one_of({"bf16", "fp32"})
      .shows_default();
  command.option("--rows", settings->rows, "Rows of x: batch times sequence length")
      .range(1, 1 << 20)
      .shows_default();
  command.runs([common, settings] { run(*common, *settings); });
}

}  // namespace fathom::cli
