#include "cli/stop_signals.h"

namespace fathom::cli {
namespace {

std::atomic<bool> g_stop{false};
static_assert(std::atomic<bool>::is_always_lock_free);

constexpr int kStopSignals[] = {SIGINT, SIGTERM};

void request_stop(int) {
  g_stop.store(true);
  for (const int signal : kStopSignals) std::signal(signal, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
  struct sigaction action {};
  action.sa_handler = request_stop;
  action.sa_flags = SA_RESTART;  // a write that is under way is not to fail
  for (size_t i = 0; i < before_.size(); ++i) sigaction(kStopSignals[i], &action, &before_[i]);
}

StopSignals::~StopSignals() {
  for (size_t i = 0; i < before_.size(); ++i) sigaction(kStopSignals[i], &before_[i], nullptr);
}

const std::atomic<bool>& StopSignals::asked() { return g_stop; }

}  // namespace fathom::cli
