#pragma once
// A folder of small run directories for one test.

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"

namespace fathom {

class RunFolderTest : public testing::Test {
 protected:
  RunFolderTest() {
    std::string name = (std::filesystem::temp_directory_path() / "fathom-runs-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~RunFolderTest() override { std::filesystem::remove_all(folder_); }

  void write(const std::filesystem::path& file, const std::string& text) const {
    std::filesystem::create_directories((folder_ / file).parent_path());
    write_text_file(folder_ / file, text);
  }

  /// A run with two steps, both evaluated on `nll`.size() sequences of ten tokens each.
  std::filesystem::path make_run(const std::string& name, const std::string& norm,
                                 const std::vector<double>& nll,
                                 const std::string& more_settings = "seed = 1\nparameters = 1000\n") const {
    write(name + "/run.toml", "norm = \"" + norm + "\"\n" + more_settings);
    write(name + "/config.json", R"({"num_hidden_layers": 2, "hidden_size": 8, "architectures": ["X"]})");
    write(name + "/metrics.jsonl",
          R"({"step":1,"tokens":100,"loss":4.0,"lr":0.1,"grad_norm":1,"tokens_per_second":50,"mfu":0.2})"
          "\n"
          R"({"step":2,"tokens":200,"loss":3.0,"tokens_per_second":70,"val_loss":3.5,"val_ppl":33.1,)"
          R"("layer_variance":[0.5,2.0],"layer_grad_norm":[1,0.25]})"
          "\n");
    for (const int step : {1, 2}) {
      nlohmann::json evaluation{{"step", step},
                                {"tokens", 100 * step},
                                {"val_loss", 3.5},
                                {"val_ppl", 33.1},
                                {"val_loss_stderr", 0.1},
                                {"seq", 10},
                                {"sequences", nll.size()},
                                {"data_fingerprint", "aa"},
                                {"nll", nll},
                                {"count", std::vector<int>(nll.size(), 10)}};
      write(name + "/evals/step-" + std::to_string(step) + ".json", evaluation.dump());
    }
    return folder_ / name;
  }

  std::filesystem::path folder_;
};

/// The message of the Error that `action` throws, "" where it throws none.
template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

}  // namespace fathom
