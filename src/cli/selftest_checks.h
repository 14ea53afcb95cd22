#pragma once
// The proof kit: each check builds a tiny model, needs no files, and shows that Fathom is free of a bug that
// other tools were found to have, on this machine and on each instruction set that it has.

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace fathom::cli {

/// What a check found. `detail` holds the numbers, passed or not.
struct CheckResult {
  bool passed;
  std::string detail;
};

struct SelfCheck {
  std::string name;
  std::function<CheckResult()> run;
};

/// All checks, in the order in which they are shown.
std::vector<SelfCheck> self_checks();

/// Parts of self_checks(): planted models; checkpoints, exports and resumed runs; evaluation.
std::vector<SelfCheck> planted_checks();
std::vector<SelfCheck> file_checks();
std::vector<SelfCheck> evaluation_checks();

/// The largest of some errors, and where it was. NaN is the largest there is, and stays: a maximum of doubles
/// would forget it.
struct Worst {
  double value = 0;
  std::string where;
  void see(double error, const std::string& place = {}) {
    if (std::isnan(value) || error <= value) return;
    value = error;
    where = place;
  }
};

/// Passed where `value` is at most `limit`; NaN fails.
inline CheckResult below(double value, double limit, const std::string& what) {
  return {value <= limit, fmt::format("{}: {:.1e} (limit {:.0e})", what, value, limit)};
}

}  // namespace fathom::cli
