// Writes a file once more, after a sync of it failed. Such a failure is told once: the pages count as clean then and
// may never reach the disk, so a second sync of the same file proves nothing. What the file still reads as is written
// into another one, which is synced and takes the name.
//
// A crash at any point leaves the old file or the new one under the name, and perhaps `path` + kWriteAgainSuffix, which
// holds nothing that is not elsewhere: whoever lists the folder removes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/env/env.h"

namespace lambda {

inline constexpr std::string_view kWriteAgainSuffix = ".again";

// The first `bytes` of `path`, 256 KB at a time; what stands behind them is not kept. `done` runs from the loop.
// Success: they are durable, under the name, as they read. Error: the file is as it was; it may be tried again. No
// bytes at all are an error: a file worth writing again holds something, and a length that was not found out must not
// empty it. It goes on to its end when the caller is gone meanwhile; `env` must outlive it.
void write_again(Env& env, const std::string& path, uint64_t bytes, Disk::Done done);

}  // namespace lambda
