#pragma once
// A table for the terminal: columns padded with spaces, numbers to the right, text to the left.

#include <string>
#include <vector>

namespace fathom {

enum class Align { kLeft, kRight };

/// One column's head and the side on which its cells stand.
struct TableColumn {
  std::string head;
  Align align = Align::kRight;
};

/// Collects rows of text and lays them out. Widths are counted in bytes: cells are expected to be ASCII.
///
///   Table table({{"run", Align::kLeft}, {"loss"}});
///   table.add_row({"pre", "3.41"});
///   fmt::print("{}", table.text());
class Table {
 public:
  explicit Table(std::vector<TableColumn> columns);

  /// One cell a column; an empty cell is shown as "-". Throws std::invalid_argument where the number of cells
  /// differs from that of the columns (a mistake of the caller, not of any input).
  void add_row(std::vector<std::string> cells);

  size_t rows() const { return rows_.size(); }
  const std::vector<TableColumn>& columns() const { return columns_; }
  const std::vector<std::string>& row(size_t i) const { return rows_.at(i); }

  /// The heads, a rule, and the rows; columns two spaces apart, no trailing blanks, each line ended by a
  /// newline.
  std::string text() const;

 private:
  std::vector<TableColumn> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace fathom
