# Run by embed_text: INPUT, OUTPUT, NAME. Writes bytes as hexadecimal through the HEX reader, so that no quoting can go wrong.
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include <string_view>\nnamespace {\nconst unsigned char kBytes[] = {\n${bytes}\n};\n}\nnamespace fathom {\nextern const std::string_view ${NAME};\nconst std::string_view ${NAME}(reinterpret_cast<const char*>(kBytes), sizeof(kBytes));\n}\n")
