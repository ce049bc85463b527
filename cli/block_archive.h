// A file of blocks of one series, one behind the other (proto/block.md, "Files"): what `lambda block pack` writes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/points_csv.h"
#include "lambda/stored_block.h"

namespace lambda::cli {

inline constexpr uint64_t kArchiveBytesMax = uint64_t{1} << 30;

struct ArchivedBlock {
  std::span<const uint8_t> bytes;
  BlockInfo info;
  std::vector<Point> points;
};

class ArchiveWriter {
 public:
  explicit ArchiveWriter(F32Text f32_text);
  void add(std::span<const uint8_t> block, size_t points);
  // The file's bytes. The object is then done with.
  std::vector<uint8_t> finish();

 private:
  std::vector<uint8_t> bytes_;
  uint64_t blocks_ = 0;
  uint64_t points_ = 0;
};

// Walks the blocks of a file that may hold anything. A file that is one bare block is taken as well.
class ArchiveReader {
 public:
  // `file`, the name for errors, and `bytes` must outlive the reader.
  ArchiveReader(const std::string& file, std::span<const uint8_t> bytes);
  // The next block, decoded and checked; false at the end, where the file's own counts and checksum are checked.
  Result<bool> next(ArchivedBlock* block);
  // Known once there was a block.
  F32Text f32_text() const { return f32_text_; }

 private:
  Error damaged(const std::string& what) const;
  Status begin();
  Result<bool> end();
  bool varint(uint64_t* value);

  const std::string& file_;
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
  F32Text f32_text_ = F32Text::kFloat;
  bool bare_ = false;
  bool begun_ = false;
  bool done_ = false;
  uint64_t blocks_ = 0;
  uint64_t points_ = 0;
};

}  // namespace lambda::cli
