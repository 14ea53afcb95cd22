#include "cli/stop_signals.h"

#include <csignal>
#include <cstring>
#include <string>
#include <thread>

#include <pthread.h>

#include "core/log.h"
#include "core/unfinished.h"

namespace fathom::cli {
namespace {

std::atomic<bool> g_ends_by_itself{false}, g_stop{false};

void end_by(int signal) {
  remove_unfinished();
  log_info(std::string("fathom: ended by ") + ::strsignal(signal) + "; what was not finished is removed");
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  ::sigaction(signal, &usual, nullptr);
  sigset_t only;
  ::sigemptyset(&only);
  ::sigaddset(&only, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  ::raise(signal);
}

}  // namespace

void watch_signals() {
  sigset_t watched;
  ::sigemptyset(&watched);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now {};
    if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) ::sigaddset(&watched, signal);
  }
  ::pthread_sigmask(SIG_BLOCK, &watched, nullptr);  // in all threads: those to come inherit it
  std::thread([watched] {
    for (;;) {
      int signal = 0;
      if (::sigwait(&watched, &signal) != 0) continue;
      if (!g_ends_by_itself || g_stop.exchange(true)) end_by(signal);
    }
  }).detach();
}

StopSignals::StopSignals() { g_ends_by_itself = true; }

StopSignals::~StopSignals() { g_ends_by_itself = false; }

const std::atomic<bool>& StopSignals::asked() { return g_stop; }

}  // namespace fathom::cli
