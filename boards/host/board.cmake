# The firmware as a process: TCP is the operating system's, all else is what a board runs. For debuggers and sanitizers.
set(board_sockets ON)
set(board_flash ON)
set(board_sources host/main.cpp host/altcp_stream.cpp host/sockets.cpp host/flash_file.cpp)
set(board_definitions LAMBDA_SERIES_BYTES=262144)
