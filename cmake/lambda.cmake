# How a folder of this project becomes targets: one library, its tests, its headers checked to compile alone.

include(GoogleTest)

add_library(lambda_build_options INTERFACE)
target_include_directories(lambda_build_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/sdk/include)
# On a board frames would cost flash, and every cut of an aligned arena would be warned of: there alignment is strict.
set(host_warnings -Wcast-align)
set(host_options -fno-omit-frame-pointer)
if(LAMBDA_BOARD)
  set(host_warnings)
  set(host_options)
endif()
target_compile_options(lambda_build_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Werror;-Wshadow;-Wnon-virtual-dtor;${host_warnings};-Woverloaded-virtual>
  $<$<COMPILE_LANGUAGE:C>:-Wall;-Wextra;-Werror;-Wshadow>
  ${host_options})
if(LAMBDA_SANITIZE)
  add_compile_options(-fsanitize=${LAMBDA_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LAMBDA_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # Instrumented library templates (std::regex) look uninitialised to GCC 12; the plain builds keep the warning.
    add_compile_options(-Wno-maybe-uninitialized)
  endif()
endif()

if(LAMBDA_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# lambda_library(NAME name SOURCES ... HEADERS ... LIBRARIES ...)   target lambda_<name>, alias lambda::<name>
function(lambda_library)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;HEADERS;LIBRARIES" ${ARGN})
  add_library(lambda_${ARG_NAME} STATIC ${ARG_SOURCES})
  add_library(lambda::${ARG_NAME} ALIAS lambda_${ARG_NAME})
  target_sources(lambda_${ARG_NAME} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${ARG_HEADERS})
  set_property(TARGET lambda_${ARG_NAME} PROPERTY VERIFY_INTERFACE_HEADER_SETS ON)
  target_link_libraries(lambda_${ARG_NAME} PUBLIC lambda_build_options ${ARG_LIBRARIES})
endfunction()

# lambda_test(NAME name SOURCES ... LIBRARIES ... [LABELS ...] [TIMEOUT seconds])   one binary of GoogleTests
function(lambda_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LIBRARIES} lambda_build_options GTest::gtest_main)
  gtest_discover_tests(${ARG_NAME} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()
