#pragma once
// How long work reports on itself. The library calls; src/cli draws (a bar on a terminal, plain lines
// otherwise).

#include <cstdint>
#include <string>

namespace fathom {

class Progress {
 public:
  virtual ~Progress() = default;
  /// `label` names the work, `total` its amount in `unit` (0: unknown).
  virtual void begin(const std::string& label, uint64_t total, const std::string& unit) = 0;
  /// `done` of `total`; `note` is a short extra, such as "loss 3.21  val ppl 45.2". May be called often: the
  /// sink decides how often it draws.
  virtual void update(uint64_t done, const std::string& note = {}) = 0;
  virtual void end(const std::string& note = {}) = 0;
};

/// A sink that shows nothing, for tests and library users.
class NoProgress final : public Progress {
 public:
  void begin(const std::string&, uint64_t, const std::string&) override {}
  void update(uint64_t, const std::string&) override {}
  void end(const std::string&) override {}
};

/// Work of a known amount that tells a sink, where there is one, how far it is; it ends when all is done.
class CountedWork {
 public:
  /// `progress` may be null. See Progress::begin.
  CountedWork(Progress* progress, const std::string& label, uint64_t total, const std::string& unit)
      : progress_(progress), total_(total) {
    if (progress_ != nullptr) progress_->begin(label, total, unit);
  }
  void add(uint64_t amount) {
    done_ += amount;
    if (progress_ == nullptr) return;
    progress_->update(done_);
    if (done_ >= total_) progress_->end();
  }

 private:
  Progress* progress_;
  uint64_t total_, done_ = 0;
};

}  // namespace fathom
