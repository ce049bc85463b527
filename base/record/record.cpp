#include "base/record/record.h"

#include <algorithm>
#include <cstring>

#include "lambda/block.h"

namespace lambda {
namespace {

constexpr uint8_t kVersion = 1;
constexpr char kMagic[4] = {'L', 'R', 'E', 'C'};
constexpr uint8_t kMark[2] = {0x4C, 0x52};  // u16le 0x524C
constexpr size_t kWindowBytes = 128u << 10;
constexpr size_t kDamageNamedMax = 64;

void put(std::byte* at, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}

uint64_t get(const std::byte* at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= static_cast<uint64_t>(at[i]) << (8 * i);
  return value;
}

uint32_t checksum(std::span<const std::byte> bytes) {
  return crc32c({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

struct Head {
  uint8_t type = 0;
  uint32_t length = 0;
  uint32_t body_crc = 0;
};

// `at` has kRecordHeadBytes.
bool parse_head(const std::byte* at, Head* head) {
  if (static_cast<uint8_t>(at[0]) != kMark[0] || static_cast<uint8_t>(at[1]) != kMark[1]) return false;
  if (static_cast<uint8_t>(at[3]) != 0) return false;
  if (get(at + 8, 4) != checksum({at, 8})) return false;
  head->type = static_cast<uint8_t>(at[2]);
  head->length = static_cast<uint32_t>(get(at + 4, 4));
  head->body_crc = static_cast<uint32_t>(get(at + 12, 4));
  return head->length <= kRecordBodyBytesMax;
}

// A piece of the file in memory that moves forward.
class Window {
 public:
  Window(Disk& disk, const std::string& path, uint64_t file_bytes)
      : disk_(disk), path_(path), file_bytes_(file_bytes), buffer_(kWindowBytes) {}

  // Bytes [offset, offset + count) of the file, which must lie within it; valid until the next call.
  Result<std::span<const std::byte>> at(uint64_t offset, size_t count) {
    if (offset >= start_ && offset + count <= start_ + filled_) {
      return std::span<const std::byte>(buffer_.data() + (offset - start_), count);
    }
    if (count > buffer_.size()) buffer_.resize(count);
    start_ = offset;
    filled_ = 0;
    const size_t want = static_cast<size_t>(std::min<uint64_t>(buffer_.size(), file_bytes_ - offset));
    while (filled_ < want) {
      auto got = disk_.read(path_, start_ + filled_, std::span(buffer_).subspan(filled_, want - filled_));
      if (!got) return tl::unexpected(got.error());
      if (*got == 0) break;
      filled_ += *got;
    }
    if (filled_ < count) return fail(ErrorCode::kIo, path_ + ": became shorter while it was read");
    return std::span<const std::byte>(buffer_.data(), count);
  }

 private:
  Disk& disk_;
  const std::string& path_;
  uint64_t file_bytes_;
  std::vector<std::byte> buffer_;
  uint64_t start_ = 0;
  size_t filled_ = 0;
};

class Scan {
 public:
  Scan(Disk& disk, const std::string& path, uint64_t file_bytes, const std::function<bool(const RecordView&)>& visit)
      : window_(disk, path, file_bytes), end_(file_bytes), visit_(visit) {}

  Status run(uint64_t position, ScanResult* result) {
    result_ = result;
    while (position < end_) {
      auto next = one(position);
      if (!next) return tl::unexpected(next.error());
      if (stopped_) return {};
      if (*next == position) break;  // nothing good behind here
      position = *next;
    }
    result_->torn_tail = result_->good_end < end_;
    return {};
  }

 private:
  // Reads the record at `position`, or names what stands there instead. Returns where to go on; `position` itself when
  // nothing readable follows.
  Result<uint64_t> one(uint64_t position) {
    if (end_ - position < kRecordHeadBytes) return position;
    auto bytes = window_.at(position, kRecordHeadBytes);
    if (!bytes) return tl::unexpected(bytes.error());
    Head head;
    if (!parse_head(bytes->data(), &head)) return resync(position);

    const uint64_t after = position + kRecordHeadBytes + head.length;
    if (after > end_) return position;  // cut short
    bytes = window_.at(position, kRecordHeadBytes + head.length);
    if (!bytes) return tl::unexpected(bytes.error());
    const auto body = bytes->subspan(kRecordHeadBytes);
    if (checksum(body) != head.body_crc) {
      damaged(position, after - position, "body checksum");
      return after;
    }
    result_->records++;
    result_->good_end = after;
    stopped_ = !visit_(RecordView{head.type, position, body});
    return after;
  }

  // The first good head behind `position`, byte by byte.
  Result<uint64_t> resync(uint64_t position) {
    uint64_t at = position + 1;
    while (at + kRecordHeadBytes <= end_) {
      const size_t count = static_cast<size_t>(std::min<uint64_t>(kWindowBytes, end_ - at));
      auto bytes = window_.at(at, count);
      if (!bytes) return tl::unexpected(bytes.error());
      const size_t starts = count - kRecordHeadBytes + 1;  // places in this piece where a whole head can stand
      size_t i = 0;
      while (i < starts) {
        const void* hit = std::memchr(bytes->data() + i, kMark[0], starts - i);
        if (hit == nullptr) break;
        i = static_cast<size_t>(static_cast<const std::byte*>(hit) - bytes->data());
        Head head;
        if (parse_head(bytes->data() + i, &head)) {
          damaged(position, at + i - position, "no record head");
          return at + i;
        }
        ++i;
      }
      at += starts;
    }
    return position;
  }

  void damaged(uint64_t offset, uint64_t bytes, const char* what) {
    result_->damage_count++;
    if (result_->damage.size() < kDamageNamedMax) result_->damage.push_back({offset, bytes, what});
  }

  Window window_;
  uint64_t end_;
  const std::function<bool(const RecordView&)>& visit_;
  ScanResult* result_ = nullptr;
  bool stopped_ = false;
};

}  // namespace

void append_file_header(std::vector<std::byte>& out, const FileHeader& header) {
  std::byte bytes[kFileHeaderBytes] = {};
  std::memcpy(bytes, kMagic, 4);
  put(bytes + 4, kVersion, 1);
  put(bytes + 5, static_cast<uint8_t>(header.kind), 1);
  put(bytes + 8, header.number, 8);
  put(bytes + 16, static_cast<uint64_t>(header.created_ms), 8);
  put(bytes + 24, header.owner, 4);
  put(bytes + 28, checksum({bytes, 28}), 4);
  out.insert(out.end(), bytes, bytes + kFileHeaderBytes);
}

Result<FileHeader> parse_file_header(std::span<const std::byte> bytes) {
  if (bytes.size() < kFileHeaderBytes) {
    return fail(ErrorCode::kCorrupt, "file header: " + std::to_string(bytes.size()) + " bytes, 32 are needed");
  }
  if (std::memcmp(bytes.data(), kMagic, 4) != 0) return fail(ErrorCode::kCorrupt, "file header: no LREC at byte 0");
  const auto version = static_cast<uint8_t>(bytes[4]);
  // Asked before the checksum: a higher version may have moved it, and its file must be left alone.
  if (version > kVersion) {
    return fail(ErrorCode::kUnsupported,
                "file header: record format version " + std::to_string(version) + "; this program reads version 1");
  }
  if (version < kVersion || get(bytes.data() + 28, 4) != checksum(bytes.first(28))) {
    return fail(ErrorCode::kCorrupt, "file header: checksum at byte 28");
  }
  if (get(bytes.data() + 6, 2) != 0) return fail(ErrorCode::kCorrupt, "file header: bytes 6 and 7 are not zero");
  FileHeader header;
  const auto kind = static_cast<uint8_t>(bytes[5]);
  if (kind != 'S' && kind != 'P' && kind != 'J' && kind != 'O') {
    return fail(ErrorCode::kUnsupported, "file header: kind " + std::to_string(kind) + " at byte 5");
  }
  header.kind = static_cast<FileKind>(kind);
  header.number = get(bytes.data() + 8, 8);
  header.created_ms = static_cast<int64_t>(get(bytes.data() + 16, 8));
  header.owner = static_cast<uint32_t>(get(bytes.data() + 24, 4));
  return header;
}

void append_record(std::vector<std::byte>& out, uint8_t type, std::span<const std::byte> body) {
  LAMBDA_ASSERT(body.size() <= kRecordBodyBytesMax);
  std::byte head[kRecordHeadBytes] = {};
  put(head, kMark[0], 1);
  put(head + 1, kMark[1], 1);
  put(head + 2, type, 1);
  put(head + 4, body.size(), 4);
  put(head + 8, checksum({head, 8}), 4);
  put(head + 12, checksum(body), 4);
  out.insert(out.end(), head, head + kRecordHeadBytes);
  out.insert(out.end(), body.begin(), body.end());
}

Result<ScanResult> scan_records(Disk& disk, const std::string& path, uint64_t from,
                                const std::function<bool(const RecordView&)>& visit, HeaderRule rule) {
  auto file_bytes = disk.size(path);
  if (!file_bytes) return tl::unexpected(file_bytes.error());

  std::byte header_bytes[kFileHeaderBytes];
  auto got = disk.read(path, 0, header_bytes);
  if (!got) return tl::unexpected(got.error());
  auto header = parse_file_header({header_bytes, *got});
  ScanResult result;
  if (header) {
    result.header = *header;
  } else if (rule == HeaderRule::kMustBeGood || header.error().code != ErrorCode::kCorrupt) {
    return fail(header.error().code, path + ": " + header.error().text);
  } else if (from < kFileHeaderBytes && *got == kFileHeaderBytes) {
    result.damage_count = 1;
    result.damage.push_back({0, kFileHeaderBytes, header.error().text});
  }
  result.good_end = std::max<uint64_t>(from, kFileHeaderBytes);
  Scan scan(disk, path, *file_bytes, visit);
  if (auto status = scan.run(result.good_end, &result); !status) return tl::unexpected(status.error());
  return result;
}

Result<uint8_t> read_record(Disk& disk, const std::string& path, uint64_t offset, std::vector<std::byte>& body) {
  const auto bad = [&](const char* what) {
    return fail(ErrorCode::kCorrupt, path + ": " + what + " at byte " + std::to_string(offset));
  };
  // Most records are small: head and body in one read.
  constexpr size_t kGuessBytes = 8192;
  body.resize(kGuessBytes);
  auto got = disk.read(path, offset, body);
  if (!got) return tl::unexpected(got.error());
  Head head;
  if (*got < kRecordHeadBytes || !parse_head(body.data(), &head)) return bad("no record head");

  size_t have = std::min<size_t>(*got - kRecordHeadBytes, head.length);
  body.erase(body.begin(), body.begin() + kRecordHeadBytes);
  body.resize(head.length);
  while (have < head.length) {
    got = disk.read(path, offset + kRecordHeadBytes + have, std::span(body).subspan(have));
    if (!got) return tl::unexpected(got.error());
    if (*got == 0) return bad("a record that is cut short");
    have += *got;
  }
  if (checksum(body) != head.body_crc) return bad("body checksum of the record");
  return head.type;
}

std::string numbered_name(std::string_view prefix, uint64_t number, std::string_view suffix) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(number));
  return std::string(prefix) + digits + std::string(suffix);
}

Result<uint64_t> parse_numbered_name(std::string_view prefix, std::string_view name, std::string_view suffix) {
  const auto wrong = [&] {
    return fail(ErrorCode::kInvalid, std::string(name) + ": not of the form " + std::string(prefix) +
                                         "<16 hex digits>" + std::string(suffix));
  };
  if (name.size() != prefix.size() + 16 + suffix.size()) return wrong();
  if (name.substr(0, prefix.size()) != prefix || name.substr(prefix.size() + 16) != suffix) return wrong();
  uint64_t number = 0;
  for (const char c : name.substr(prefix.size(), 16)) {
    uint64_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<uint64_t>(c - 'a' + 10);
    } else {
      return wrong();
    }
    number = number << 4 | digit;
  }
  return number;
}

}  // namespace lambda
