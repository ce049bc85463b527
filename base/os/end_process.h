// How a program ends that has threads of libraries.
#pragma once

namespace lambda {

// Ends the process; to be called when all that the program made is gone. What was printed is written out. Exit handlers
// do not run: they free what libraries share among threads, and threads that nobody can join (Paho's, in OpenSSL) may
// still use it.
[[noreturn]] void end_process(int status);

}  // namespace lambda
