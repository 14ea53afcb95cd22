#pragma once
// The proof kit: each check builds a tiny model, needs no files, and shows that Fathom is free of a bug that
// other tools were found to have, on this machine and on each instruction set that it has.

#include <functional>
#include <string>
#include <vector>

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

/// Those of evaluation, which self_checks() holds too.
std::vector<SelfCheck> evaluation_checks();

}  // namespace fathom::cli
