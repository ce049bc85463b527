// `lambda block pack` and `lambda block unpack`: a series from CSV into a file of blocks, and back.
#pragma once

#include <string>
#include <string_view>

#include "base/env/disk.h"
#include "cli/output.h"

namespace lambda::cli {

struct PackOptions {
  std::string in;
  std::string out;
  std::string type = "auto";  // f64, f32, i64, dec:K, state, or auto: the one of these that is smallest
  bool seal = false;          // pack: else a streaming codec, as a device would write
};

// Writes `out` anew, as a whole or not at all. A value that the type does not hold bit for bit is an error that names
// file and line. Text that no 64-bit float is, 9007199254740993 or 1e400, is rounded to one where the type is a float:
// by its name, or in auto because some value is neither an integer nor a decimal. How many were is in the answer
// (`rounded`).
int block_pack(Output& output, const PackOptions& options, Disk& disk);

// The points of a file of blocks, or of one bare block, as CSV: timestamp_ms,value. Every block is checked, and nothing
// is printed unless the whole file is good.
int block_unpack(Output& output, const std::string& file, Disk& disk);

// Points, bytes, bits a point and, by name, how many blocks are written in which encoding. Of the type as well, when
// all blocks have one.
int archive_stat(Output& output, const std::string& file, Disk& disk);

// Whether a file's first bytes are those of a file of many blocks.
bool is_archive(std::string_view bytes);

}  // namespace lambda::cli
