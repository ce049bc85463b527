# Linux on ARM with Debian's cross compilers and a sysroot of Debian packages (./dev setup --arm makes it). LINUX_ARM says
# which: aarch64 (64 bits) or armhf (32 bits with an FPU: ARMv7).
set(CMAKE_SYSTEM_NAME Linux)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LINUX_ARM)

set(linux_arm_triple_aarch64 aarch64-linux-gnu)
set(linux_arm_triple_armhf arm-linux-gnueabihf)
set(linux_arm_processor_aarch64 aarch64)
set(linux_arm_processor_armhf armv7l)
set(linux_arm_emulator_aarch64 qemu-aarch64-static)
set(linux_arm_emulator_armhf qemu-arm-static)
if(NOT DEFINED linux_arm_triple_${LINUX_ARM})
  message(FATAL_ERROR "LINUX_ARM is \"${LINUX_ARM}\": it must be aarch64 or armhf")
endif()
set(linux_arm_triple ${linux_arm_triple_${LINUX_ARM}})
set(CMAKE_SYSTEM_PROCESSOR ${linux_arm_processor_${LINUX_ARM}})

get_filename_component(CMAKE_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../third_party/sysroot-${LINUX_ARM} ABSOLUTE)
if(NOT EXISTS ${CMAKE_SYSROOT}/.whole)
  message(FATAL_ERROR "there is no sysroot at ${CMAKE_SYSROOT}: ./dev setup --arm makes it")
endif()
set(CMAKE_LIBRARY_ARCHITECTURE ${linux_arm_triple})
set(CMAKE_C_COMPILER ${linux_arm_triple}-gcc)
set(CMAKE_CXX_COMPILER ${linux_arm_triple}-g++)
# GCC's note that ARM's calling convention changed in GCC 7 says nothing about code that one compiler builds as a whole.
set(CMAKE_CXX_FLAGS_INIT "-Wno-psabi")
# Tests run here, in an emulator.
set(CMAKE_CROSSCOMPILING_EMULATOR "${linux_arm_emulator_${LINUX_ARM}};-L;${CMAKE_SYSROOT}")

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# pkg-config must not see this machine's libraries.
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${CMAKE_SYSROOT}/usr/lib/${linux_arm_triple}/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig)
