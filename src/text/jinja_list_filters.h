#pragma once
// Filters over lists and dicts, for jinja_filters.cpp's table.

#include <string>
#include <utility>
#include <vector>

#include "text/jinja_runtime.h"

namespace fathom::jinja {

const std::vector<std::pair<std::string, FilterFunction>>& list_filters();

}  // namespace fathom::jinja
