// Segments, spools and journals as files of records: any bytes are read to their end, every record that comes out has
// its check, and reading one by its offset agrees with reading all.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/record/record.h"

namespace {

// One file in memory.
class OneFile final : public lambda::Disk {
  using Status = lambda::Status;
  static auto none() { return lambda::fail(lambda::ErrorCode::kNotFound, "one file only"); }

 public:
  explicit OneFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  lambda::Result<lambda::FileId> open_append(const std::string&) override { return none(); }
  void close(lambda::FileId) override {}
  void append(lambda::FileId, std::span<const std::byte>, Done) override {}
  void sync(lambda::FileId, Done) override {}
  void sync_dir(const std::string&, Done) override {}
  lambda::Result<size_t> read(const std::string&, uint64_t offset, std::span<std::byte> into) override {
    if (offset >= bytes_.size()) return size_t{0};
    const size_t count = std::min<size_t>(into.size(), bytes_.size() - offset);
    std::memcpy(into.data(), bytes_.data() + offset, count);
    return count;
  }
  lambda::Result<uint64_t> size(const std::string&) override { return bytes_.size(); }
  lambda::Result<std::vector<lambda::DirEntry>> list(const std::string&) override { return none(); }
  Status make_dirs(const std::string&) override { return none(); }
  Status remove(const std::string&) override { return none(); }
  Status rename(const std::string&, const std::string&) override { return none(); }
  Status truncate(const std::string&, uint64_t) override { return none(); }
  Status replace(const std::string&, std::span<const std::byte>) override { return none(); }
  lambda::Result<uint64_t> free_bytes(const std::string&) override { return none(); }

 private:
  std::span<const std::byte> bytes_;
};

void check(bool good) {
  if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  OneFile disk(bytes);
  uint64_t records = 0, end = lambda::kFileHeaderBytes;
  const auto result = lambda::scan_records(disk, "f", 0, [&](const lambda::RecordView& record) {
    check(record.offset >= end);
    end = record.offset + lambda::kRecordHeadBytes + record.body.size();
    check(end <= size);
    check(record.body.empty() ||
          std::memcmp(record.body.data(), bytes.data() + record.offset + lambda::kRecordHeadBytes,
                      record.body.size()) == 0);
    std::vector<std::byte> body;
    const auto type = lambda::read_record(disk, "f", record.offset, body);
    check(type && *type == record.type && std::equal(body.begin(), body.end(), record.body.begin(), record.body.end()));
    ++records;
    return true;
  });
  if (!result) return 0;
  check(result->records == records && result->good_end == end);
  check(result->torn_tail == (end < size));
  // What is written behind the last good record is found again.
  std::vector<std::byte> repaired(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(end));
  lambda::append_record(repaired, 77, bytes.first(std::min<size_t>(size, 16)));
  OneFile again(repaired);
  const auto second = lambda::scan_records(again, "f", 0, [](const lambda::RecordView&) { return true; });
  check(second && second->records == records + 1 && !second->torn_tail);
  return 0;
}
