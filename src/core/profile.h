#pragma once
// Where the time of a pass goes, kind of operation by kind. Call sites name what they do (ProfileScope);
// kernels say how much work it is (profile_work). Both go to the Profile that this thread has on, if any:
// without one, each costs a test of a thread-local pointer.
//
// Goals: wall time as the caller of parallel regions sees it; no cost when off; kinds named at the call site,
// so that one kernel can serve several. Non-goals: what goes on inside a parallel region (use perf), and
// other threads: what they run is not recorded.

#include <chrono>
#include <cstddef>
#include <string_view>
#include <vector>

namespace fathom {

/// What was recorded under one name. `bytes` counts every operand once: what has to cross the memory bus
/// where no cache keeps anything from one operation to the next.
struct ProfileEntry {
  std::string_view name;
  double seconds = 0;  ///< Without the scopes nested in it.
  double flop = 0, bytes = 0;
  size_t calls = 0;
};

/// Records what this thread does between construction and destruction. Profiles don't nest.
class Profile {
 public:
  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  /// Forgets what was recorded so far. Not inside a scope.
  void clear() { entries_.clear(); }
  /// Adds work to the innermost open scope. Outside of any it is dropped.
  void add_work(double flop, double bytes);
  /// In the order of first use.
  const std::vector<ProfileEntry>& entries() const { return entries_; }

 private:
  friend class ProfileScope;

  std::vector<ProfileEntry> entries_;
  class ProfileScope* innermost_ = nullptr;
};

namespace profile_detail {
inline thread_local Profile* current = nullptr;
}

/// Adds the time of its life, and the given work, to `name`, which must outlive the profile: a string
/// literal.
class ProfileScope {
 public:
  explicit ProfileScope(std::string_view name, double flop = 0, double bytes = 0)
      : profile_(profile_detail::current) {
    if (profile_ == nullptr) return;
    begin(name);
    profile_->add_work(flop, bytes);
  }
  ~ProfileScope() {
    if (profile_ != nullptr) end();
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  friend class Profile;
  using Clock = std::chrono::steady_clock;
  void begin(std::string_view name);
  void end();

  Profile* profile_;
  ProfileScope* outer_ = nullptr;
  size_t entry_ = 0;
  Clock::time_point start_;
  double nested_s_ = 0;
};

/// Adds work to the innermost scope of this thread's profile, where there is one.
inline void profile_work(double flop, double bytes) {
  if (profile_detail::current != nullptr) profile_detail::current->add_work(flop, bytes);
}

}  // namespace fathom
