// `lambda block cat` and `lambda block stat`: what is in a file that holds one block (proto/block.md).
#pragma once

#include <string>

#include "base/env/disk.h"
#include "cli/output.h"

namespace lambda::cli {

struct BlockOptions {
  std::string file;
  bool hex = false;       // the file holds hexadecimal digits, white space between them
  bool ordinals = false;  // cat: a column with each point's ordinal before the others
};

// The points as CSV: timestamp_ms,value. A malformed block is an error with its kind and byte offset, and prints no
// points at all.
int block_cat(Output& output, const BlockOptions& options, Disk& disk);
// What the header says and what the points come to; of a file of many blocks what archive_stat() says.
int block_stat(Output& output, const BlockOptions& options, Disk& disk);

}  // namespace lambda::cli
