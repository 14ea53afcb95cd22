#include "io/safetensors_index.h"

#include <nlohmann/json.hpp>

#include "io/io_error.h"
#include "io/json_text.h"
#include "io/safetensors.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// Indices of today's largest models have a few megabytes.
constexpr size_t kMaxIndex = size_t{256} << 20;

// A name in the index' own folder, and nothing else: an index is data from elsewhere.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos && name.find('\0') == std::string::npos;
}

}  // namespace

SafetensorsIndex::SafetensorsIndex(const fs::path& index) : TensorStore(index) {
  const nlohmann::json object = parse_json_object(read_text_file(index, kMaxIndex), index);
  const auto map = object.find("weight_map");
  if (map == object.end() || !map->is_object() || map->empty()) {
    fail_file(index, "needs a \"weight_map\" that names the file of each tensor");
  }
  std::map<std::string, std::vector<std::string>> tensors_of;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) fail_tensor(index, tensor, "its file must be a string");
    const auto name = file.get<std::string>();
    if (!is_plain_name(name)) {
      fail_tensor(index, tensor, "is said to stand in '" + name + "'", {},
                  "an index may name files of its own folder only");
    }
    tensors_of[name].push_back(tensor);
  }
  for (const auto& [name, tensors] : tensors_of) {
    const SafetensorsFile file(index.parent_path() / name);
    for (const std::string& tensor : tensors) {
      if (file.find(tensor) == nullptr) {
        fail_tensor(file.path(), tensor, "is missing, though " + index.filename().string() + " names it", {},
                    "incomplete download?");
      }
    }
    for (const auto& [tensor, view] : file.tensors()) add(view);
  }
}

}  // namespace fathom
