#pragma once
// Internals of dequantize.h: GGML's blocks as bytes with a scale and a minimum a group, which one vector loop
// turns into numbers.

#include <cstddef>
#include <cstdint>

#include "io/stored_type.h"

namespace fathom {

/// The 16 levels of IQ4_NL and IQ4_XS (kvalues_iq4nl of ggml-common.h).
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

/// Throws: the callers of dequantize.h pass weights alone.
[[noreturn]] void refuse_type(StoredType type);

}  // namespace fathom
