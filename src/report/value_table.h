#pragma once
// All numbers of a diagnosis in one table.

#include <nlohmann/json.hpp>

#include "report/probe_record.h"

namespace fathom {

/// Every value of every layer of one model with its standard error, folded up: a block of page.h. Null where
/// there is none.
nlohmann::json value_table(const ProbeRecord& probe);

}  // namespace fathom
