#include <algorithm>
#include <vector>

#include "core/error.h"
#include "fuzz/fuzz_file.h"
#include "text/shards.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const fathom::Shard shard(fathom::fuzz::as_file(data, size, "x.fathom-tokens"));
    std::vector<int32_t> ids(std::min<uint64_t>(shard.info().tokens, 1024));
    shard.read(shard.info().tokens - ids.size(), ids.size(), ids.data());
    shard.verify();
  } catch (const fathom::Error&) {
  }
  return 0;
}
