// `lambda spool check` and `lambda spool dump`: what an agent's spool directory holds (proto/spool.md), by the format
// of its files alone. Changes nothing, so it may run beside the agent; a file that goes meanwhile is skipped.
#pragma once

#include <string>

#include "base/env/disk.h"
#include "cli/output.h"

namespace lambda::cli {

struct SpoolOptions {
  std::string directory;
  bool unsettled = false;  // dump: only parcels that no gateway has acknowledged
};

// Reads every record of every spool and journal file. kExitFailed when one is damaged; a torn end of the newest file is
// no damage.
int spool_check(Output& output, const SpoolOptions& options, Disk& disk);
// One line a parcel, as CSV or JSON lines: file, offset, boot, seq, created_ms, blocks, points, gaps, bytes, settled.
int spool_dump(Output& output, const SpoolOptions& options, Disk& disk);

}  // namespace lambda::cli
