#pragma once
// What the fuzz targets share: the input as a file of a given name, in a folder of the process' own.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "core/file.h"
#include "support/temp_folder.h"

namespace fathom::fuzz {

/// Writes the input under `name` and returns its path; the folder goes with the process.
inline std::filesystem::path as_file(const uint8_t* data, size_t size, const std::string& name) {
  static const test::TempFolder folder;
  const std::filesystem::path path = folder / name;
  // Not write_text_file: its fsync would take all the time.
  FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(data, 1, size, file) != size) std::abort();
  std::fclose(file);
  return path;
}

}  // namespace fathom::fuzz
