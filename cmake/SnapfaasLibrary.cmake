# snapfaas_library(NAME [DEPS lib...] [TEST_DEPS lib...])
# One static library snapfaas_NAME from the folder's *.cc, and one GoogleTest binary NAME_test from its *_test.cc
# (the unit ring: no KVM, no root).
function(snapfaas_library name)
  cmake_parse_arguments(ARG "" "" "DEPS;TEST_DEPS" ${ARGN})
  file(GLOB_RECURSE all CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")

  if(sources)
    add_library(snapfaas_${name} STATIC ${sources})
    target_link_libraries(snapfaas_${name} PUBLIC ${ARG_DEPS} Threads::Threads)
    set(linked snapfaas_${name})
  else()
    add_library(snapfaas_${name} INTERFACE)
    target_link_libraries(snapfaas_${name} INTERFACE ${ARG_DEPS} Threads::Threads)
    set(linked snapfaas_${name})
  endif()

  if(tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE ${linked} ${ARG_TEST_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
    # One process for all of them: to start one with sanitizers takes as long as most tests do. ./dev counts each test.
    add_test(NAME unit.${name} COMMAND ${name}_test --gtest_output=xml:${CMAKE_BINARY_DIR}/results/unit.${name}.xml)
    set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 600)
  endif()
endfunction()
