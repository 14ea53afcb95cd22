#include "cli/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fathom::cli {

pid_t start(const std::vector<std::string>& arguments, const std::filesystem::path& errors,
            const std::filesystem::path& output) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const auto redirect = [](const std::filesystem::path& path, int to) {
    ::dup2(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), to);
  };
  redirect(errors, STDERR_FILENO);
  output.empty() ? (void)::dup2(STDERR_FILENO, STDOUT_FILENO) : redirect(output, STDOUT_FILENO);
  std::vector<char*> argv = {const_cast<char*>("fathom")};
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::execv(FATHOM_BINARY, argv.data());
  ::_exit(127);
}

int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

bool ended(pid_t child) {
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT);
  return info.si_pid == child;
}

}  // namespace fathom::cli
