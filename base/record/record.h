// The framing shared by segments, spools and journals. Bytes and rules: proto/record.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/env/disk.h"
#include "base/result.h"

namespace lambda {

inline constexpr size_t kFileHeaderBytes = 32;
inline constexpr size_t kRecordHeadBytes = 16;
inline constexpr uint32_t kRecordBodyBytesMax = 4u << 20;

enum class FileKind : uint8_t { kSegment = 'S', kSpool = 'P', kJournal = 'J', kOutbox = 'O' };

struct FileHeader {
  FileKind kind = FileKind::kSegment;
  uint64_t number = 0;
  int64_t created_ms = 0;
  uint32_t owner = 0;
};

void append_file_header(std::vector<std::byte>& out, const FileHeader& header);
// kCorrupt: not one of ours; kUnsupported: a higher version, named in the text.
Result<FileHeader> parse_file_header(std::span<const std::byte> bytes);
void append_record(std::vector<std::byte>& out, uint8_t type, std::span<const std::byte> body);

struct RecordView {
  uint8_t type = 0;
  uint64_t offset = 0;              // of the record's head in the file
  std::span<const std::byte> body;  // valid inside the callback only
};

// What reading a file found besides its good records.
struct RecordDamage {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::string what;  // "body checksum", "no record head"
};

struct ScanResult {
  FileHeader header;
  uint64_t records = 0;
  uint64_t good_end = 0;             // end of the last good record (kFileHeaderBytes if there is none)
  bool torn_tail = false;            // bytes behind good_end hold no further good record
  std::vector<RecordDamage> damage;  // at most 64; `damage_count` counts all
  uint64_t damage_count = 0;
};

// What to do about a file header that is not one. kMayBeDamaged is for owners whose file names say all that it says:
// it is damage like any other (at offset 0), and `ScanResult::header` is empty. A higher version stays an error.
enum class HeaderRule { kMustBeGood, kMayBeDamaged };

// Reads every record from `from` (0: the start) and calls `visit` for each good one; false from `visit` stops.
// Uses one buffer of about a record's size. Errors: the file cannot be read, or its header is not one.
Result<ScanResult> scan_records(Disk& disk, const std::string& path, uint64_t from,
                                const std::function<bool(const RecordView&)>& visit,
                                HeaderRule rule = HeaderRule::kMustBeGood);

// One record at a known offset; kCorrupt if a check fails. `body` is overwritten.
Result<uint8_t> read_record(Disk& disk, const std::string& path, uint64_t offset, std::vector<std::byte>& body);

// "seg-", 18, ".lam" -> "seg-0000000000000012.lam"; and back (kInvalid if it is none).
std::string numbered_name(std::string_view prefix, uint64_t number, std::string_view suffix = ".lam");
Result<uint64_t> parse_numbered_name(std::string_view prefix, std::string_view name, std::string_view suffix = ".lam");

}  // namespace lambda
