// The threads of this process that nobody can join, as libraries have them.
#pragma once

#include <cstdint>

namespace lambda {

// Waits until the calling thread is the only one left, for at most `ms_max`. False: others still run, or the kernel
// does not tell.
bool wait_for_other_threads(int64_t ms_max);

// Ends the process; to be called when all that the program made is gone. Exit handlers free what a library shares among
// threads, and a thread of that library that is just ending gives back the same (OpenSSL's do, under Paho's threads):
// so they run only when no other thread is left, which is waited for up to a second. Otherwise the process ends without
// them; what was printed is written out.
[[noreturn]] void end_process(int status);

}  // namespace lambda
