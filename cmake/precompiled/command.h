#pragma once
// Parsed once a build for src/cli. Its files still include what they use: this is for speed alone.
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
