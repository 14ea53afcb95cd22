#pragma once
// EXPECT_ERROR(statement, code, "part", ...): the statement throws fathom::Error of that code, its message is
// one line and holds every part.

#include <initializer_list>
#include <string>

#include <gtest/gtest.h>

#include "core/error.h"

namespace fathom::test {

template <class Fn>
void expect_error(const Fn& fn, ErrorCode code, std::initializer_list<const char*> parts) {
  try {
    fn();
    ADD_FAILURE() << "no error was thrown";
  } catch (const Error& e) {
    const std::string message = e.what();
    EXPECT_EQ(e.code(), code) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const char* part : parts)
      EXPECT_NE(message.find(part), std::string::npos) << "no '" << part << "' in: " << message;
  }
}

}  // namespace fathom::test

#define EXPECT_ERROR(statement, code, ...) \
  ::fathom::test::expect_error([&] { statement; }, code, {__VA_ARGS__})
