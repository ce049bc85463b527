#include "cli/block_archive.h"

#include <algorithm>
#include <array>

namespace lambda::cli {
namespace {

constexpr std::array<uint8_t, 5> kMagic = {'L', 'A', 'M', 'B', 1};  // the last is the version
constexpr uint8_t kDoublesFlag = 1;
constexpr size_t kChecksumBytes = 4;

void put_varint(std::vector<uint8_t>& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<uint8_t>(value | 0x80));
  out.push_back(static_cast<uint8_t>(value));
}

}  // namespace

ArchiveWriter::ArchiveWriter(F32Text f32_text) : bytes_(kMagic.begin(), kMagic.end()) {
  bytes_.push_back(f32_text == F32Text::kDouble ? kDoublesFlag : 0);
}

void ArchiveWriter::add(std::span<const uint8_t> block, size_t points) {
  put_varint(bytes_, block.size());
  bytes_.insert(bytes_.end(), block.begin(), block.end());
  ++blocks_;
  points_ += points;
}

std::vector<uint8_t> ArchiveWriter::finish() {
  bytes_.push_back(0);
  put_varint(bytes_, blocks_);
  put_varint(bytes_, points_);
  const uint32_t crc = crc32c(bytes_);
  for (size_t i = 0; i < kChecksumBytes; ++i) bytes_.push_back(static_cast<uint8_t>(crc >> (8 * i)));
  return std::move(bytes_);
}

ArchiveReader::ArchiveReader(const std::string& file, std::span<const uint8_t> bytes) : file_(file), bytes_(bytes) {
  bare_ = !bytes.empty() && bytes[0] >> 4 == 0xB;
}

Error ArchiveReader::damaged(const std::string& what) const {
  return {ErrorCode::kInvalid,
          file_ + ": " + what + ", noticed at byte " + std::to_string(at_) + " of " + std::to_string(bytes_.size())};
}

bool ArchiveReader::varint(uint64_t* value) {
  *value = 0;
  for (unsigned shift = 0; at_ < bytes_.size() && shift < 63; shift += 7) {
    const uint8_t byte = bytes_[at_++];
    *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

Status ArchiveReader::begin() {
  constexpr size_t kVersion = kMagic.size() - 1;
  if (bytes_.size() < kMagic.size() + 1 || !std::equal(kMagic.begin(), kMagic.end() - 1, bytes_.begin())) {
    return tl::unexpected(damaged("neither a block nor a file of blocks"));
  }
  at_ = kVersion;
  if (bytes_[at_] != kMagic[kVersion]) {
    return tl::unexpected(damaged("a file of blocks of version " + std::to_string(bytes_[at_]) + ", not 1"));
  }
  const uint8_t flags = bytes_[++at_];
  if ((flags & ~kDoublesFlag) != 0) return tl::unexpected(damaged("flags that this program does not know"));
  f32_text_ = (flags & kDoublesFlag) != 0 ? F32Text::kDouble : F32Text::kFloat;
  ++at_;
  begun_ = true;
  return {};
}

Result<bool> ArchiveReader::end() {
  uint64_t blocks = 0;
  uint64_t points = 0;
  if (!varint(&blocks) || !varint(&points) || bytes_.size() - at_ < kChecksumBytes) {
    return tl::unexpected(damaged("the file is cut short"));
  }
  uint32_t crc = 0;
  for (size_t i = kChecksumBytes; i-- > 0;) crc = crc << 8 | bytes_[at_ + i];
  if (crc != crc32c(bytes_.first(at_))) return tl::unexpected(damaged("the file's checksum is wrong"));
  if (blocks != blocks_ || points != points_) {
    return tl::unexpected(damaged("the file counts " + std::to_string(points) + " points in " + std::to_string(blocks) +
                                  " blocks, but holds " + std::to_string(points_) + " in " + std::to_string(blocks_)));
  }
  at_ += kChecksumBytes;
  if (at_ != bytes_.size()) return tl::unexpected(damaged("something stands behind the file's end"));
  done_ = true;
  return false;
}

Result<bool> ArchiveReader::next(ArchivedBlock* block) {
  if (done_) return false;
  size_t length = bytes_.size();
  if (!bare_) {
    if (!begun_) {
      if (Status begun = begin(); !begun) return tl::unexpected(begun.error());
    }
    uint64_t wide = 0;
    if (!varint(&wide)) return tl::unexpected(damaged("the file is cut short"));
    if (wide == 0) return end();
    if (wide > bytes_.size() - at_) return tl::unexpected(damaged("a block is longer than what is left of the file"));
    length = static_cast<size_t>(wide);
  }
  block->bytes = bytes_.subspan(at_, length);
  block->points.resize(kBlockPointsMax);
  const BlockStatus status = read_block(block->bytes, 0, &block->info, block->points, kLongSpanMsMax);
  if (!status.ok()) {
    at_ += std::min(status.offset, length);
    return tl::unexpected(damaged(std::string("not a good block: ") + block_error_name(status.error)));
  }
  block->points.resize(block->info.count);
  if (!bare_ && block->info.first_ordinal != points_) {
    return tl::unexpected(damaged("a block begins with point " + std::to_string(block->info.first_ordinal) + ", not " +
                                  std::to_string(points_)));
  }
  at_ += length;
  ++blocks_;
  points_ += block->info.count;
  done_ = bare_;
  return true;
}

}  // namespace lambda::cli
