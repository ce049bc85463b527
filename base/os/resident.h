// Gives memory back that only the start needed, for programs that then run for months within a few megabytes.
#pragma once

#include <cstdint>

namespace lambda {

// Unmaps the pages of program and library code from this process, and heap that is free. What is needed again is mapped
// again at its next use, one page at a time, from the page cache (a minor fault); without this a dynamic loader and the
// kernel's read-around leave megabytes mapped that never run again. Only mappings that are executable, private and
// without a changed page are touched, so nothing is lost by it. Returns the bytes that were resident in them; 0 where
// the kernel does not tell. Any thread; costs a few milliseconds.
uint64_t return_startup_memory();

}  // namespace lambda
