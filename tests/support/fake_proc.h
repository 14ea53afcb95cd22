#pragma once
// A made-up /proc and the file systems that it names.

#include <filesystem>
#include <string>

#include "core/file.h"
#include "support/temp_folder.h"

namespace fathom::test {

class FakeProc {
 public:
  std::filesystem::path proc() const { return folder_ / "proc"; }
  std::filesystem::path at(const std::string& name) const { return folder_ / name; }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(at(name).parent_path());
    write_text_file(at(name), text);
  }

  /// Lines of /proc/self/cgroup.
  void set_groups(const std::string& lines) const { write("proc/self/cgroup", lines); }
  /// A mount of `root` at `point`, a name in this folder; `options` as the file system calls its own.
  void add_mount(const std::string& root, const std::string& point, const std::string& type,
                 const std::string& options) {
    mounts_ += "31 23 0:28 " + root + " " + at(point).string() + " rw,relatime shared:9 - " + type + " " +
               type + " " + options + "\n";
    std::filesystem::create_directories(at(point));
    write("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\nhalf a line\n" + mounts_);
  }

 private:
  TempFolder folder_;
  std::string mounts_;
};

}  // namespace fathom::test
