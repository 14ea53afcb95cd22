#pragma once
// Documents out of files and folders, one at a time.
//
// What is read: .txt (a file is one document), .jsonl (a line is one document, its field "text"), and either
// compressed as .gz or .zst; .json.gz and .json.zst hold JSON lines too, as C4's files do. A folder is
// searched recursively, in the order of its paths, for files of these names; a file that is named directly
// and ends in something else is read as plain text.
//
// Memory: one document and a 256 KiB buffer. A document, and a line of JSON, may have up to
// Options::max_document_bytes. A byte order mark at the start of a file is dropped; nothing else is changed.
// Empty documents are skipped.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace fathom {

struct Document {
  std::string text;    ///< Valid UTF-8, not empty.
  uint64_t index = 0;  ///< Position among the documents of the corpus.
};

class CorpusReader {
 public:
  struct Options {
    size_t max_document_bytes = size_t{1} << 30;
  };

  /// Lists the files. Errors: Error where a path is missing or a folder can't be read or holds nothing to
  /// read.
  explicit CorpusReader(const std::vector<std::filesystem::path>& inputs);
  CorpusReader(const std::vector<std::filesystem::path>& inputs, Options options);
  ~CorpusReader();

  /// The next document, or false at the end. Errors: Error (file, line, byte of the decompressed file) for
  /// invalid UTF-8, invalid JSON, a line without "text", a document over the limit, a damaged or unreadable
  /// file; and, at the end, for a corpus without any text.
  bool next(Document& document);

  /// Bytes of the files (as they lie on the disk) read so far, and in all; for a progress bar.
  uint64_t bytes_done() const;
  uint64_t bytes_total() const;
  const std::vector<std::filesystem::path>& files() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom
