#include "core/profile.h"

#include <algorithm>
#include <cassert>

namespace fathom {

Profile::Profile() {
  assert(profile_detail::current == nullptr);
  profile_detail::current = this;
}

Profile::~Profile() { profile_detail::current = nullptr; }

void Profile::add_work(double flop, double bytes) {
  if (innermost_ == nullptr) return;
  ProfileEntry& entry = entries_[innermost_->entry_];
  entry.flop += flop;
  entry.bytes += bytes;
}

void ProfileScope::begin(std::string_view name) {
  std::vector<ProfileEntry>& entries = profile_->entries_;
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const ProfileEntry& e) { return e.name == name; });
  entry_ = static_cast<size_t>(found - entries.begin());
  if (found == entries.end()) entries.push_back({.name = name});
  outer_ = profile_->innermost_;
  profile_->innermost_ = this;
  start_ = Clock::now();
}

void ProfileScope::end() {
  const double elapsed_s = std::chrono::duration<double>(Clock::now() - start_).count();
  ProfileEntry& entry = profile_->entries_[entry_];
  entry.seconds += elapsed_s - nested_s_;
  ++entry.calls;
  profile_->innermost_ = outer_;
  if (outer_ != nullptr) outer_->nested_s_ += elapsed_s;
}

}  // namespace fathom
