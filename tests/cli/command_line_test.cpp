// The command line as such: what is mistyped, empty or out of range, where results go, and what a signal or
// an output that is closed leaves behind.

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/process.h"
#include "core/file.h"
#include "support/temp_folder.h"
#include "text/tokenizer.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

const std::string kConfig = (fs::path(FATHOM_SOURCE_DIR) / "configs" / "demo.json").string();

class CommandLine : public ::testing::Test {
 protected:
  int exit_code(const std::vector<std::string>& arguments, const fs::path& output = {}) {
    const int status = wait_for(start(arguments, at("errors"), output));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  /// One line on stderr that holds `part`, and the exit code of bad usage.
  void expect_usage(const std::vector<std::string>& arguments, const std::string& part) {
    EXPECT_EQ(exit_code(arguments), 2);
    const std::string said = errors();
    EXPECT_NE(said.find(part), std::string::npos) << said;
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  }
  fs::path at(const std::string& name) const { return folder_ / name; }
  std::string errors() const { return read_text_file(at("errors")); }

 private:
  test::TempFolder folder_;
};

TEST_F(CommandLine, NamesACommandThatDoesNotExist) {
  expect_usage({"trian"}, "unknown command 'fathom trian'; did you mean 'train'?");
  expect_usage({"help"}, "unknown command 'fathom help'");
  expect_usage({"bench", "gem"}, "unknown command 'fathom bench gem'; did you mean 'gemm'?");
  expect_usage({}, "see fathom --help");
  expect_usage({"inspect"}, "see fathom inspect --help");
  expect_usage({"bench"}, "see fathom bench --help");
}

// Examples are inherited from the command above where a command has none.
TEST_F(CommandLine, HelpEndsWithAnExampleOfTheCommand) {
  for (const std::string command : {"data",        "tokenizer",       "tokenizer train",
                                    "train",       "finetune",        "merge",
                                    "compare",     "inspect",         "verify",
                                    "generate",    "probe",           "prune",
                                    "eval",        "export",          "dump",
                                    "selftest",    "bench",           "bench peak",
                                    "bench gemm",  "bench attention", "bench elementwise",
                                    "bench train", "bench forward",   "logits"}) {
    std::istringstream words(command + " --help");
    EXPECT_EQ(exit_code({std::istream_iterator<std::string>(words), {}}, at("out")), 0) << command;
    const std::string help = read_text_file(at("out"));
    EXPECT_NE(help.find("\nExample:\n  fathom " + command), std::string::npos) << help;
  }
  EXPECT_EQ(exit_code({"--version"}, at("out")), 0);
  EXPECT_NE(read_text_file(at("out")).find('.'), std::string::npos);
}

TEST_F(CommandLine, RefusesValuesThatNobodyMeans) {
  expect_usage({"train", "--norm", "", "--model", kConfig}, "--norm: the value is empty");
  expect_usage({"inspect", kConfig, "--json", ""}, "--json: the value is empty");
  expect_usage({"data", "--seed", "-1"}, "--seed: -1 is below 0");
  expect_usage({"eval", "--limit", "-1"}, "--limit: -1 is below 0");
  expect_usage({"probe", "--tokens", "-5"}, "--tokens: -5 is below 0");
  expect_usage({"data", "--valid-fraction", "nan"}, "--valid-fraction: nan is no number");
  expect_usage({"train", "--steps", "0"}, "--steps is 0");
  expect_usage({"train", "--layerscale-init", "0.0"}, "--layerscale-init is 0");
  expect_usage({"finetune", "--epochs", "0"}, "--epochs is 0");
  expect_usage({"bench", "forward", "--batch", "576460752303423488"}, "--batch");
}

TEST_F(CommandLine, TakesWholeNumbersWithAUnit) {
  EXPECT_EQ(
      exit_code({"tokenizer", "train", "--input", "/nowhere", "--vocab", "4k", "--out", at("t").string()}),
      1);
  EXPECT_NE(errors().find("/nowhere"), std::string::npos) << errors();
  EXPECT_EQ(
      exit_code({"tokenizer", "train", "--input", "/nowhere", "--vocab", "4x", "--out", at("t").string()}),
      2);
  EXPECT_FALSE(fs::exists(at("t")));
}

// As in the settings of a run; sizes in bytes have units of their own, powers of 1024.
TEST_F(CommandLine, TakesTheSameNumbersInEveryCommand) {
  for (const std::string command : {"probe", "prune", "eval", "dump"}) {
    for (const std::string tokens : {"2.2M", "1.5k", "3B", "2G", "7"}) {
      exit_code({command, "--tokens", tokens});
      EXPECT_EQ(errors().find("--tokens"), std::string::npos) << errors();
    }
    expect_usage({command, "--tokens", "1.5"}, "--tokens = 1.5");
    expect_usage({command, "--tokens", "1.2345k"}, "--tokens = 1.2345k");
  }
  expect_usage({"bench", "gemm", "--rows", "1.5T"}, "Value 1500000000000 not in range");
}

TEST_F(CommandLine, TakesListsWithSpaces) {
  expect_usage({"bench", "gemm", "--shapes", "130m, 7x"}, "7x not in");
}

TEST_F(CommandLine, FindsOutBeforeTheWorkThatAResultCannotBeKept) {
  EXPECT_EQ(exit_code({"inspect", kConfig, "--json", at("none/r.json").string()}, at("out")), 1);
  EXPECT_NE(errors().find("there is no folder"), std::string::npos) << errors();
  EXPECT_EQ(read_text_file(at("out")), "");
  EXPECT_EQ(exit_code({"inspect", kConfig, "--json", at("").string()}), 1);
  EXPECT_NE(errors().find("is a folder"), std::string::npos) << errors();
  EXPECT_EQ(exit_code({"inspect", kConfig, "--json", "-"}), 1);
  EXPECT_NE(errors().find("is no name for a file"), std::string::npos) << errors();
}

TEST_F(CommandLine, WritesThroughLinksDevicesAndPipes) {
  fs::create_symlink(at("real.json"), at("link.json"));
  write_text_file(at("real.json"), "old");
  EXPECT_EQ(exit_code({"inspect", kConfig, "--json", at("link.json").string()}), 0);
  EXPECT_TRUE(fs::is_symlink(at("link.json")));
  EXPECT_EQ(read_text_file(at("real.json")).front(), '{');
  ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0644), 0);
  const pid_t child = start({"inspect", kConfig, "--json", at("pipe").string()}, at("errors"));
  std::FILE* reader = std::fopen(at("pipe").c_str(), "r");
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(std::fgetc(reader), '{');
  while (std::fgetc(reader) != EOF) {
  }
  std::fclose(reader);
  EXPECT_EQ(wait_for(child), 0);
  EXPECT_TRUE(fs::is_fifo(at("pipe")));
  EXPECT_EQ(exit_code({"inspect", kConfig, "--json", "/dev/null"}), 0);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

// Commands that keep how far they have come beside their result do so where that is a file; of what is no
// file there is no beside.
TEST_F(CommandLine, KeepsPartialWorkBesideFilesAlone) {
  const auto beside = [](const fs::path& json) {
    return path_beside_result(Common{.json_path = json.string()}, ".partial");
  };
  EXPECT_EQ(beside({}), fs::path());
  EXPECT_EQ(beside("/dev/null"), fs::path());
  ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0644), 0);
  EXPECT_EQ(beside(at("pipe")), fs::path());
  EXPECT_EQ(beside(at("new.json")), at("new.json.partial"));
  write_text_file(at("real.json"), "old");
  fs::create_symlink(at("real.json"), at("link.json"));
  EXPECT_EQ(beside(at("link.json")), fs::canonical(at("real.json")).string() + ".partial");
  const std::string data = FATHOM_TEST_DATA "/eval/data", model = data + "/bpe-lns";
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"eval", model, "--tasks", "piqa", "--data", data},
        {"probe", model, "--level", "quick", "--text", data + "/text.txt", "--seq", "16"}}) {
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), {"--json", "/dev/fd/1"});
    const int status = wait_for(start(arguments, at("errors"), at("output")));
    EXPECT_EQ(WEXITSTATUS(status), 0) << read_text_file(at("errors"));
    EXPECT_EQ(read_text_file(at("output")).front(), '{');
  }
}

TEST_F(CommandLine, SaysWhenItsOutputIsLost) {
  EXPECT_EQ(exit_code({"inspect", kConfig}, "/dev/full"), 1);
  EXPECT_NE(errors().find("cannot write to the standard output"), std::string::npos) << errors();
  // A message that nobody can read changes nothing.
  EXPECT_EQ(WEXITSTATUS(wait_for(start({"inspect", "/nowhere"}, "/dev/full"))), 1);
}

// The hint names no flag: which take less differs from command to command.
TEST_F(CommandLine, SaysThatMemoryRanOut) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers take more address space than the limit leaves";
#endif
  const std::string command = "ulimit -v 1500000; exec " FATHOM_BINARY
                              " bench elementwise --rows 1048576 --hidden 16384 --samples 1 --threads 1 "
                              "> /dev/null 2> " +
                              at("errors").string();
  const int status = std::system(command.c_str());
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1);
  EXPECT_EQ(errors(), "fathom: out of memory; give it less to do at a time (see --help), or more memory\n");
}

TEST_F(CommandLine, ASignalLeavesNothingUnfinished) {
  // Data under construction, which wait for a pipe that nobody writes to.
  write_text_file(at("first.txt"), "a text");
  ASSERT_EQ(::mkfifo(at("second.txt").c_str(), 0644), 0);
  fs::create_directories(at("tokenizer"));
  Tokenizer(std::vector<std::string>{}).save(at("tokenizer"));
  const pid_t child = start({"data", "--input", at("first.txt").string(), at("second.txt").string(),
                             "--tokenizer", at("tokenizer").string(), "--out", at("data").string()},
                            at("errors"));
  while (!fs::exists(at("data.partial")) && !ended(child)) ::usleep(2000);
  ASSERT_FALSE(ended(child)) << errors();
  ::kill(child, SIGTERM);
  const int status = wait_for(child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  EXPECT_FALSE(fs::exists(at("data.partial")));
  EXPECT_NE(errors().find("what was not finished is removed"), std::string::npos) << errors();
}

// As under nohup: the terminal goes away, and the work goes on.
TEST_F(CommandLine, ASignalThatWasIgnoredAtTheStartStaysIgnored) {
  ASSERT_EQ(::mkfifo(at("text.txt").c_str(), 0644), 0);
  fs::create_directories(at("tokenizer"));
  Tokenizer(std::vector<std::string>{}).save(at("tokenizer"));
  const auto waiting = [&](bool ignored) {
    const auto before = ::signal(SIGHUP, ignored ? SIG_IGN : SIG_DFL);
    const pid_t child = start({"data", "--input", at("text.txt").string(), "--tokenizer",
                               at("tokenizer").string(), "--out", at("data").string()},
                              at("errors"));
    ::signal(SIGHUP, before);
    while (!fs::exists(at("data.partial")) && !ended(child)) ::usleep(2000);
    EXPECT_FALSE(ended(child)) << errors();
    return child;
  };
  const pid_t listens = waiting(false);
  ::kill(listens, SIGHUP);
  int status = wait_for(listens);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
  const pid_t ignores = waiting(true);
  ::kill(ignores, SIGHUP);
  std::ofstream(at("text.txt")) << "a text";  // what it waits for
  status = wait_for(ignores);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << errors();
  EXPECT_TRUE(fs::exists(at("data")));
}

}  // namespace
}  // namespace fathom::cli
