# Installs the SDK from BUILD to a fresh folder under OUT and builds and runs the stranger's project against it.
# cmake -DBUILD=... -DSOURCE=.../stranger -DOUT=... -DGENERATOR=... -DC=... -DCXX=... -DSANITIZE=... -P install_and_build.cmake
file(REMOVE_RECURSE ${OUT})
function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "failed: ${ARGN}")
  endif()
endfunction()
set(flags)
if(SANITIZE)
  set(flags -DCMAKE_C_FLAGS=-fsanitize=${SANITIZE} -DCMAKE_CXX_FLAGS=-fsanitize=${SANITIZE})
endif()
run(${CMAKE_COMMAND} --install ${BUILD} --component sdk --prefix ${OUT}/prefix)
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${OUT}/build -G ${GENERATOR} -DCMAKE_PREFIX_PATH=${OUT}/prefix
  -DCMAKE_C_COMPILER=${C} -DCMAKE_CXX_COMPILER=${CXX} ${flags})
run(${CMAKE_COMMAND} --build ${OUT}/build)
run(${OUT}/build/stranger_c)
run(${OUT}/build/stranger_cpp)
