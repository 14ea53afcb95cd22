// Runs a fuzz target over the files named, or all files of the folders named, without libFuzzer: so that
// what fuzzing found stays fixed under any compiler. A crash is the failure.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "core/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(argv[i])) files.push_back(entry.path());
  }
  for (const fs::path& path : files) {
    const fathom::MappedFile file(path);
    const std::vector<std::byte> copy(file.bytes().begin(), file.bytes().end());  // so that ASan sees its end
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(copy.data()), copy.size());
  }
  std::printf("%zu inputs\n", files.size());
  return files.empty() ? 1 : 0;  // a corpus that is gone must not pass
}
