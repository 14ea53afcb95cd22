#pragma once
// GPT-2's way to write bytes as printable characters, in which byte-level vocabularies are written: a
// printable Latin-1 character stands for its own byte, U+0100 and what follows for the others in their order
// (openai/gpt-2, src/encoder.py).

#include <optional>
#include <string>
#include <string_view>

namespace fathom {

/// The bytes that `token` stands for; nothing where one of its characters is not of the alphabet.
std::optional<std::string> bytes_from_alphabet(std::string_view token);

}  // namespace fathom
