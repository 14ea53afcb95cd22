#pragma once
// A sink of progress that keeps what it hears.

#include <string>
#include <vector>

#include "core/progress.h"

namespace fathom::test {

class HeardProgress final : public Progress {
 public:
  struct Work {
    std::string label, unit;
    uint64_t total = 0, done = 0;
    size_t updates = 0, ends = 0;
  };
  void begin(const std::string& label, uint64_t total, const std::string& unit) override {
    works.push_back({label, unit, total});
  }
  void update(uint64_t done, const std::string&) override {
    works.back().done = done;
    ++works.back().updates;
  }
  void end(const std::string&) override { ++works.back().ends; }

  /// "load 100 parameters, compare 8 layers"; work that did not end once, when all was done, is marked.
  std::string text() const {
    std::string all;
    for (const Work& w : works) {
      all += (all.empty() ? "" : ", ") + w.label + " " + std::to_string(w.total) + " " + w.unit;
      if (w.done != w.total || w.ends != 1 || w.updates < 2) all += " NOT DONE";
    }
    return all;
  }

  std::vector<Work> works;
};

}  // namespace fathom::test
