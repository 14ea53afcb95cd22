#include "eval/few_shot.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace fathom {
namespace {

using Draw = std::vector<size_t>;

// What CPython 3.11 prints for random.Random(seed).sample(range(n), k), called several times.
TEST(PythonRandom, SamplesAsPythonDoes) {
  PythonRandom few(1234);
  EXPECT_EQ(few.sample(30, 2), (Draw{24, 14}));
  EXPECT_EQ(few.sample(30, 2), (Draw{3, 0}));
  EXPECT_EQ(few.sample(30, 2), (Draw{2, 29}));
  PythonRandom arc(1234);
  EXPECT_EQ(arc.sample(2251, 5), (Draw{1805, 478, 30, 371, 143}));
  EXPECT_EQ(arc.sample(2251, 5), (Draw{343, 403, 1452, 969, 71}));
  PythonRandom small(1234);  // drawn from a list that shrinks
  EXPECT_EQ(small.sample(20, 6), (Draw{14, 3, 0, 2, 1, 10}));
  EXPECT_EQ(small.sample(20, 6), (Draw{2, 3, 11, 7, 0, 15}));
  PythonRandom seven(7);
  EXPECT_EQ(seven.sample(100, 6), (Draw{41, 19, 50, 83, 6, 9}));
  EXPECT_EQ(seven.sample(100, 6), (Draw{68, 12, 46, 74, 7, 64}));
}

TEST(Shots, AreDrawnItemByItem) {
  EXPECT_EQ(choose_shots({.shots = 0, .pool = 9}, 2), (std::vector<Draw>{{}, {}}));
  EXPECT_EQ(choose_shots({.shots = 2, .pool = 30}, 3), (std::vector<Draw>{{24, 14}, {3, 0}, {2, 29}}));
  EXPECT_EQ(choose_shots({.shots = 2, .pool = 30, .first = true}, 2), (std::vector<Draw>{{0, 1}, {0, 1}}));
  // One more is drawn than used, so that the next item's draws are others.
  EXPECT_EQ(choose_shots({.shots = 1, .pool = 30, .spare = true}, 3), (std::vector<Draw>{{24}, {3}, {2}}));
}

TEST(Shots, AreNeverTheItemItself) {
  // Three a time of ten: [7, 1, 0], [1, 0, 9], [1, 5, 3], [0, 9, 8].
  EXPECT_EQ(choose_shots({.shots = 2, .pool = 10, .same_split = true, .spare = true}, 4),
            (std::vector<Draw>{{7, 1}, {0, 9}, {1, 5}, {0, 9}}));
}

TEST(Shots, NeedEnoughExamples) {
  EXPECT_ERROR(choose_shots({.shots = 3, .pool = 2}, 1), ErrorCode::kFailed, "2 examples to draw 3 from",
               "--num-fewshot");
}

}  // namespace
}  // namespace fathom
