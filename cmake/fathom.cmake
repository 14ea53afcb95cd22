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

# fathom_test(<folder> [LINK <libraries>...]): one GoogleTest binary for one folder of tests/.
function(fathom_test name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${name}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_test ${sources})
  target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name}_test PRIVATE ${ARG_LINK} fathom_flags GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name}_test PRIVATE FATHOM_TEST_DATA="${PROJECT_SOURCE_DIR}/tests"
                             FATHOM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name}_test)
  set_tests_properties(${name} PROPERTIES TIMEOUT 1800)
endfunction()
