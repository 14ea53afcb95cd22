#include "report/table.h"

#include <stdexcept>

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(Table, AlignsTextLeftAndNumbersRight) {
  Table table({{"run", Align::kLeft}, {"loss"}, {"note", Align::kLeft}});
  table.add_row({"pre", "3.41", "a"});
  table.add_row({"long-name", "12.5", "b"});
  EXPECT_EQ(table.text(),
            "run        loss  note\n"
            "---------  ----  ----\n"
            "pre        3.41  a\n"
            "long-name  12.5  b\n");
}

TEST(Table, ShowsAnEmptyCellAsADashAndAnEmptyTableAsItsHead) {
  Table table({{"a"}, {"bb"}});
  EXPECT_EQ(table.text(), "a  bb\n-  --\n");
  table.add_row({"", "1"});
  EXPECT_EQ(table.rows(), 1u);
  EXPECT_EQ(table.text(), "a  bb\n-  --\n-   1\n");
}

TEST(Table, RefusesARowOfAnotherLength) {
  Table table({{"a"}, {"b"}});
  EXPECT_THROW(table.add_row({"1"}), std::invalid_argument);
}

}  // namespace
}  // namespace fathom
