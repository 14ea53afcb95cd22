#pragma once
// The post-processor of a tokenizer.json, and what else says which tokens stand around a text.

#include "text/json_fields.h"
#include "text/subword_model.h"
#include "text/text_encoder.h"
#include "text/tokenizer_config.h"

namespace fathom {

/// Sets bos_id, eos_id, add_bos and add_eos of `parts`, as `transformers` would: from the post-processor's
/// template, or, for the classes that rule over it, from the config. Where neither names an EOS, a token of a
/// well-known name is it. Errors: Error (without a path) naming what is not supported: more than one token on
/// a side, another type.
void set_surroundings(TokenizerParts& parts, const Json& post_processor, const TokenizerConfig& config,
                      const TokenList& tokens);

}  // namespace fathom
