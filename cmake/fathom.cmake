# Flags that every target gets, and the two functions by which targets are made.

add_library(fathom_flags INTERFACE)
target_compile_options(fathom_flags INTERFACE -Wall -Wextra -Wpedantic -Werror -fno-math-errno -ffp-contract=off)
if(FATHOM_SANITIZE)
  target_compile_options(fathom_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(fathom_flags INTERFACE -fsanitize=address,undefined)
endif()
if(FATHOM_FUZZ)
  # clang warns of other things than g++, which the builds that people use are held to.
  target_compile_options(fathom_flags INTERFACE -Wno-error -Wno-unknown-warning-option -fsanitize=fuzzer-no-link,address,undefined
                                                -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(fathom_flags INTERFACE -fsanitize=address,undefined)
endif()
if(FATHOM_COVERAGE)
  target_compile_options(fathom_flags INTERFACE --coverage -O1)
  target_link_options(fathom_flags INTERFACE --coverage)
endif()

# fathom_runs_once(<target> [<headers>]): code in which no time is spent, such as commands and tests, is compiled at -O1,
# and with cmake/precompiled/<headers>.h parsed once: together they save g++ a fifth to two fifths of its time on these
# (CLI11, nlohmann-json, GoogleTest; single files). Libraries are not: they gained a tenth, and g++ 12 rejects valid code of theirs (std::visit)
# and warns falsely (-Warray-bounds) where headers are precompiled.
option(FATHOM_PRECOMPILE "Precompile the headers of commands and of tests." ON)
if(FATHOM_PRECOMPILE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
  # Without these ccache passes over files with precompiled headers (its manual, "Precompiled headers").
  add_compile_options(-fpch-preprocess)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()
function(fathom_runs_once target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  set(headers ${ARGN})
  if(NOT headers OR NOT FATHOM_PRECOMPILE OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  # One target a set owns the result: g++ takes it only under the flags that it was made with.
  set(owner fathom_precompiled_${headers})
  if(NOT TARGET ${owner})
    add_library(${owner} OBJECT ${PROJECT_SOURCE_DIR}/cmake/precompiled/empty.cpp)
    target_link_libraries(${owner} PRIVATE fathom_flags Threads::Threads fmt::fmt nlohmann_json::nlohmann_json)
    if(headers STREQUAL "test")
      target_link_libraries(${owner} PRIVATE GTest::gtest)
    endif()
    target_compile_options(${owner} PRIVATE $<$<CONFIG:Release>:-O1>)
    target_precompile_headers(${owner} PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled/${headers}.h)
  endif()
  target_precompile_headers(${target} REUSE_FROM ${owner})
endfunction()

# fathom_library(<folder> [LINK <libraries>...]): one static library for one folder of src/, of all its .cpp files.
# What is linked here is what the folder may include; a wrong include does not link.
function(fathom_library name)
  cmake_parse_arguments(ARG "" "" "LINK;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(pattern ${ARG_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX ${pattern})
  endforeach()
  if(NOT sources)
    add_library(fathom_${name} INTERFACE)
    target_link_libraries(fathom_${name} INTERFACE fathom_flags ${ARG_LINK})
    return()
  endif()
  add_library(fathom_${name} STATIC ${sources})
  target_include_directories(fathom_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(fathom_${name} PUBLIC ${ARG_LINK} PRIVATE fathom_flags)
endfunction()

# fathom_test(<folder> [LINK <libraries>...] [SHARDS <n>]): one GoogleTest binary for one folder of tests/. ctest runs it as
# one test, or as n of about as many cases each, so that a long one does not leave the other cores idle.
function(fathom_test name)
  cmake_parse_arguments(ARG "" "SHARDS" "LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${name}/*.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_test ${sources})
  target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name}_test PRIVATE ${ARG_LINK} fathom_flags GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name}_test PRIVATE FATHOM_TEST_DATA="${PROJECT_SOURCE_DIR}/tests"
                             FATHOM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  fathom_runs_once(${name}_test test)
  add_test(NAME ${name} COMMAND ${name}_test)
  set_tests_properties(${name} PROPERTIES TIMEOUT 1800)
endfunction()
