#pragma once
// Commands that take long end cleanly when they are asked to.

#include <array>
#include <atomic>
#include <csignal>

namespace fathom::cli {

/// Catches SIGINT and SIGTERM while it lives. The first signal asks the work to come to an end and save; the
/// next one, either, ends the process at once.
class StopSignals {
 public:
  StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals();
  /// True once a signal has come.
  static const std::atomic<bool>& asked();

 private:
  std::array<struct sigaction, 2> before_{};
};

}  // namespace fathom::cli
