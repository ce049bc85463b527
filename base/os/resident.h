// Gives memory back that only the start needed, for programs that then run for months within a few megabytes.
#pragma once

#include <cstdint>

namespace lambda {

// Unmaps the pages of program and library code and of their read-only data (symbol tables above all) from this process,
// and heap that is free. What is needed again is mapped again at its next use from the page cache (a minor fault);
// without this a dynamic loader and the kernel's read-around leave megabytes mapped that are never used again. Only
// mappings of segments that never were writable are touched, and of these only those without a changed page, in memory
// or swapped out, so nothing is lost by it. Returns the bytes that were resident in them; 0 where the kernel does not
// tell. Any thread; costs a few milliseconds.
uint64_t return_startup_memory();

}  // namespace lambda
