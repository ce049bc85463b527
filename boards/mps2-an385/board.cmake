# MPS2 an385: cortex-m3. The rest is in boards/mps2.
set(board_sockets OFF)
set(board_qemu_machine mps2-an385)
set(board_flash ON)
set(board_sources mps2/startup.c mps2/main.cpp mps2/lan9118.cpp mps2/flash.cpp)
set(board_definitions LAMBDA_BOARD_AN385 LAMBDA_BOARD_KEEPS LAMBDA_SERIES_BYTES=196608)
set(board_linker_script mps2/linker.ld)
set(board_link_options -Wl,--defsym=FLASH_BASE=0x00000000 -Wl,--defsym=RAM_BASE=0x20000000)
