# How a folder of this project becomes targets: one library, its tests, its headers checked to compile alone.

include(GoogleTest)

add_library(lambda_build_options INTERFACE)
target_include_directories(lambda_build_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/sdk/include)
if(CMAKE_SIZEOF_VOID_P EQUAL 4 AND NOT LAMBDA_BOARD)
  # Files past 2 GiB and times past 2038. Debian's libraries for 32-bit ARM were built with times of 32 bits: no call of
  # ours may hand a time_t, timespec, timeval or stat to any but the C library, which has both.
  add_compile_definitions(_FILE_OFFSET_BITS=64 _TIME_BITS=64)
endif()
if(CMAKE_SYSTEM_PROCESSOR STREQUAL aarch64)
  # Products and sums are rounded one by one, as on other machines: a question has one answer, and a series one block.
  add_compile_options(-ffp-contract=off)
endif()
# On 32-bit ARM every cut of an aligned arena would be warned of, since there alignment is strict; on a board frames would
# cost flash.
set(host_warnings -Wcast-align)
set(host_options -fno-omit-frame-pointer)
if(LAMBDA_BOARD OR CMAKE_SYSTEM_PROCESSOR STREQUAL armv7l)
  set(host_warnings)
endif()
if(LAMBDA_BOARD)
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

# lambda_started_as(VARIABLE target): the path by which a test starts a program. In a cross build that is not the program
# but a script beside it, emulated/TARGET, which runs it in the emulator under its own process id.
function(lambda_started_as variable target)
  if(NOT CMAKE_CROSSCOMPILING_EMULATOR)
    set(${variable} $<TARGET_FILE:${target}> PARENT_SCOPE)
    return()
  endif()
  set(script ${CMAKE_BINARY_DIR}/emulated/${target})
  list(JOIN CMAKE_CROSSCOMPILING_EMULATOR "' '" emulator)
  file(WRITE ${script} "#!/bin/sh\nexec '${emulator}' '${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${target}' \"$@\"\n")
  file(CHMOD ${script} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  set(${variable} ${script} PARENT_SCOPE)
endfunction()

# lambda_library(NAME name SOURCES ... HEADERS ... LIBRARIES ...)   target lambda_<name>, alias lambda::<name>
function(lambda_library)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;HEADERS;LIBRARIES" ${ARGN})
  add_library(lambda_${ARG_NAME} STATIC ${ARG_SOURCES})
  add_library(lambda::${ARG_NAME} ALIAS lambda_${ARG_NAME})
  target_sources(lambda_${ARG_NAME} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${ARG_HEADERS})
  set_property(TARGET lambda_${ARG_NAME} PROPERTY VERIFY_INTERFACE_HEADER_SETS ON)
  target_link_libraries(lambda_${ARG_NAME} PUBLIC lambda_build_options ${ARG_LIBRARIES})
endfunction()

# lambda_time_limit(VARIABLE seconds): a test's limit, ten times as long for what is emulated.
function(lambda_time_limit variable seconds)
  if(CMAKE_CROSSCOMPILING_EMULATOR)
    math(EXPR seconds "${seconds} * 10")
  endif()
  set(${variable} ${seconds} PARENT_SCOPE)
endfunction()

# lambda_test(NAME name SOURCES ... LIBRARIES ... [LABELS ...] [TIMEOUT seconds] [PREFIX text]
#             [NOT_EMULATED test ...])
#   one binary of GoogleTests. PREFIX: before the name of each, where two binaries have the same tests. NOT_EMULATED:
#   what asks for more of the system than an emulator of programs has; in a cross build ctest names these as disabled
function(lambda_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT;PREFIX" "SOURCES;LIBRARIES;LABELS;NOT_EMULATED" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  lambda_time_limit(ARG_TIMEOUT ${ARG_TIMEOUT})
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LIBRARIES} lambda_build_options GTest::gtest_main)
  # A sanitized or emulated program may take seconds to list its tests on a busy machine.
  gtest_discover_tests(${ARG_NAME} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 120 TEST_PREFIX "${ARG_PREFIX}"
    PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
  if(CMAKE_CROSSCOMPILING_EMULATOR AND ARG_NOT_EMULATED)
    list(JOIN ARG_NOT_EMULATED " " tests)
    set(file ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}_not_emulated.cmake)
    file(WRITE ${file} "set_tests_properties(${tests} PROPERTIES DISABLED TRUE)\n")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${file})  # after the one that finds them
  endif()
endfunction()
