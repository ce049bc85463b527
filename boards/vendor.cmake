# lwIP, mbedTLS and nanopb from their sources in third_party (./dev setup fetches them, with their checksums), configured
# by boards/firmware/{lwipopts,mbedtls_config}.h. Nothing of theirs is changed.
set(vendor_root ${PROJECT_SOURCE_DIR}/third_party)
set(lwip ${vendor_root}/lwip-2.1.3)
set(mbedtls ${vendor_root}/mbedtls-2.28.3)
set(nanopb ${vendor_root}/nanopb-0.4.7)

# lambda_vendor_missing(VARIABLE): what cannot be built for want of sources; empty when all is there.
function(lambda_vendor_missing variable)
  set(missing)
  foreach(file ${lwip}/src/core/init.c ${mbedtls}/library/ssl_tls.c ${nanopb}/pb_encode.c)
    if(NOT EXISTS ${file})
      list(APPEND missing ${file})
    endif()
  endforeach()
  set(${variable} "${missing}" PARENT_SCOPE)
endfunction()

# lambda_vendor(SOCKETS ON|OFF): targets device_mbedtls and device_lwip. With SOCKETS lwIP's TCP gives its place to
# somebody else's connections (boards/host/altcp_stream.h), and its MQTT and TLS parts stay.
function(lambda_vendor)
  cmake_parse_arguments(ARG "" "SOCKETS" "" ${ARGN})
  set(settings ${PROJECT_SOURCE_DIR}/boards/firmware)

  file(GLOB mbedtls_sources ${mbedtls}/library/*.c)
  add_library(device_mbedtls STATIC EXCLUDE_FROM_ALL ${mbedtls_sources})
  target_include_directories(device_mbedtls SYSTEM PUBLIC ${mbedtls}/include ${settings})
  target_compile_definitions(device_mbedtls PUBLIC MBEDTLS_CONFIG_FILE="mbedtls_config.h")
  # What nobody calls is left out by the linker; among it is what wants a C library.
  target_compile_options(device_mbedtls PRIVATE -w -ffunction-sections -fdata-sections)
  target_link_options(device_mbedtls INTERFACE -Wl,--gc-sections)

  file(GLOB lwip_sources ${lwip}/src/core/*.c ${lwip}/src/core/ipv4/*.c)
  list(APPEND lwip_sources ${lwip}/src/netif/ethernet.c ${lwip}/src/apps/mqtt/mqtt.c
    ${lwip}/src/apps/altcp_tls/altcp_tls_mbedtls.c ${lwip}/src/apps/altcp_tls/altcp_tls_mbedtls_mem.c)
  set_source_files_properties(${lwip}/src/apps/altcp_tls/altcp_tls_mbedtls.c PROPERTIES COMPILE_DEFINITIONS LAMBDA_LWIP_TLS)
  # boards/firmware/mqtt_packets.h
  set_source_files_properties(${lwip}/src/apps/mqtt/mqtt.c PROPERTIES COMPILE_DEFINITIONS altcp_recv=lambda_mqtt_recv)
  if(ARG_SOCKETS)
    list(REMOVE_ITEM lwip_sources ${lwip}/src/core/altcp_tcp.c)
  endif()
  add_library(device_lwip STATIC EXCLUDE_FROM_ALL ${lwip_sources})
  target_include_directories(device_lwip SYSTEM PUBLIC ${lwip}/src/include ${settings})
  target_link_libraries(device_lwip PUBLIC device_mbedtls)
  target_compile_options(device_lwip PRIVATE -w)
endfunction()
