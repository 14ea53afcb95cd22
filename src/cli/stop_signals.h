#pragma once
// What SIGINT (Ctrl-C), SIGTERM and SIGHUP (a terminal that goes away) do: a thread of their own waits for
// them, so that what they bring about is ordinary code.

#include <atomic>

namespace fathom::cli {

/// To be called first of all, while there is one thread: from then on a signal removes files and folders that
/// are not finished, says so, and ends the process as the signal would have. A signal that is ignored when
/// the program starts (as nohup does) stays ignored.
void watch_signals();

/// While it lives, the first signal asks the work to come to an end and save; the next one ends the process.
class StopSignals {
 public:
  StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals();
  /// True once a signal has come.
  static const std::atomic<bool>& asked();
};

}  // namespace fathom::cli
