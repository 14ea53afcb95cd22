// fathom selftest: the proof kit on this machine.

#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/selftest_checks.h"
#include "core/error.h"
#include "kernels/isa.h"

namespace fathom::cli {
namespace {

void run(const Common& common) {
  const auto start = std::chrono::steady_clock::now();
  nlohmann::json rows = nlohmann::json::array();
  size_t failed = 0;
  for (const SelfCheck& check : self_checks()) {
    CheckResult result;
    try {
      result = check.run();
    } catch (const Error& e) {
      result = {false, e.what()};
    }
    if (!result.passed) ++failed;
    fmt::print("{}  {:<58} {}\n", result.passed ? "PASS" : "FAIL", check.name, result.detail);
    rows.push_back({{"name", check.name}, {"passed", result.passed}, {"detail", result.detail}});
  }
  const double elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::string isas;
  for (const Isa isa : available_isas()) isas += " " + std::string(isa_name(isa));
  fmt::print("{} checks, {} failed, in {:.1f} s; instruction sets:{}\n", rows.size(), failed, elapsed_s,
             isas);
  write_result(common, {{"checks", rows}, {"failed", failed}, {"seconds", elapsed_s}});
  if (failed > 0)
    fail(std::to_string(failed) + " of " + std::to_string(rows.size()) + " checks failed",
         "do not trust this build");
}

}  // namespace

void add_selftest(Command app) {
  auto common = std::make_shared<Common>();
  Command c = add_command(app, "selftest", "Prove on this machine that the math is right, in under a minute",
                          "fathom selftest", common);
  c.runs([common] {
    apply(*common);
    run(*common);
  });
}

}  // namespace fathom::cli
