#pragma once
// The files beside a model's weights that belong to its tokenizer, its chat and its generation: what goes
// with it when it is trained, cut, merged or exported. One list, so that none is lost on one of these ways.

namespace fathom {

inline constexpr const char* kTokenizerFiles[] = {"tokenizer.json",
                                                  "tokenizer.model",
                                                  "tokenizer_config.json",
                                                  "special_tokens_map.json",
                                                  "added_tokens.json",
                                                  "vocab.json",
                                                  "merges.txt",
                                                  "chat_template.jinja",
                                                  "chat_template.json",
                                                  "generation_config.json"};

}  // namespace fathom
