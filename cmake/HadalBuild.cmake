# How rooms are built. One folder under src/ is one room is one target hadal::<room>; its
# CMakeLists.txt calls hadal_room() once. DEPS are the only rooms it may include
# (tools/check_layers.py holds it to that).

find_program(HADAL_CCACHE ccache)
if(HADAL_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${HADAL_CCACHE})
endif()

add_library(hadal_flags INTERFACE)
target_include_directories(hadal_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(hadal_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-missing-field-initializers
  $<$<BOOL:${HADAL_WERROR}>:-Werror>
  # Kernel results may not depend on which compiler fuses multiply and add; intrinsics say it where
  # it is wanted.
  -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC reports members that designated initializers leave at their defaults, and false positives
  # inside <variant> and std::string (GCC bug 105329).
  target_compile_options(hadal_flags INTERFACE -Wno-maybe-uninitialized -Wno-restrict)
endif()
if(HADAL_SANITIZE)
  target_compile_options(hadal_flags INTERFACE -fsanitize=${HADAL_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(hadal_flags INTERFACE -fsanitize=${HADAL_SANITIZE})
endif()
if(HADAL_FUZZ)
  # Coverage for every room; the fuzzer's main comes with the targets in fuzz/.
  target_compile_options(hadal_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(hadal_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# hadal_room(<room> SOURCES ... [DEPS rooms...] [LIBS libraries seen by dependants...]
#            [PRIVATE_LIBS libraries...] [TESTS files...] [TEST_DEPS rooms...] [BENCHES files...])
function(hadal_room room)
  cmake_parse_arguments(R "" "" "SOURCES;DEPS;LIBS;PRIVATE_LIBS;TESTS;TEST_DEPS;BENCHES" ${ARGN})
  list(TRANSFORM R_DEPS PREPEND hadal_ OUTPUT_VARIABLE deps)
  if(R_SOURCES)
    add_library(hadal_${room} STATIC ${R_SOURCES})
    target_link_libraries(hadal_${room} PUBLIC hadal_flags ${deps} ${R_LIBS}
      PRIVATE ${R_PRIVATE_LIBS})
  else()
    add_library(hadal_${room} INTERFACE)
    target_link_libraries(hadal_${room} INTERFACE hadal_flags ${deps} ${R_LIBS})
  endif()
  if(room STREQUAL "base")
    target_link_libraries(hadal_base PUBLIC tl::expected)
  endif()
  add_library(hadal::${room} ALIAS hadal_${room})
  list(TRANSFORM R_TEST_DEPS PREPEND hadal_ OUTPUT_VARIABLE test_deps)
  if(HADAL_TESTS AND R_TESTS)
    add_executable(${room}_test ${R_TESTS})
    target_link_libraries(${room}_test PRIVATE hadal_${room} ${test_deps} ${R_PRIVATE_LIBS}
      GTest::gmock GTest::gtest_main)
    target_compile_definitions(${room}_test PRIVATE HADAL_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    add_test(NAME ${room} COMMAND ${room}_test)
    set_tests_properties(${room} PROPERTIES TIMEOUT 300 LABELS unit)
  endif()
  if(HADAL_BENCHES AND R_BENCHES)
    add_executable(${room}_bench ${R_BENCHES})
    target_link_libraries(${room}_bench PRIVATE hadal_${room} benchmark::benchmark_main)
  endif()
endfunction()

# Adds every room; CMake resolves the order of targets by itself.
function(hadal_add_rooms)
  file(GLOB rooms CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/*/CMakeLists.txt)
  foreach(file ${rooms})
    get_filename_component(dir ${file} DIRECTORY)
    get_filename_component(room ${dir} NAME)
    add_subdirectory(${dir} ${CMAKE_BINARY_DIR}/src/${room})
  endforeach()
endfunction()
