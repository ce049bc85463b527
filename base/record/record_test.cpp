#include "base/record/record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <regex>

#include "base/crypto/crypto.h"
#include "base/os/disk.h"
#include "base/test_support.h"

namespace lambda {
namespace {

struct Seen {
  uint8_t type;
  uint64_t offset;
  std::string body;
  friend bool operator==(const Seen&, const Seen&) = default;
};
void PrintTo(const Seen& seen, std::ostream* out) {
  *out << "type " << int{seen.type} << " at " << seen.offset << ", " << seen.body.size() << " bytes";
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class Record : public ::testing::Test {
 protected:
  // A file of these bodies; type is the index + 1. Remembers where each stands.
  std::vector<std::byte> make(const std::vector<std::string>& bodies) {
    std::vector<std::byte> file;
    append_file_header(file, {FileKind::kSegment, 7, 1'700'000'000'123, 1});
    written_.clear();
    for (size_t i = 0; i < bodies.size(); ++i) {
      written_.push_back({static_cast<uint8_t>(i + 1), file.size(), bodies[i]});
      append_record(file, static_cast<uint8_t>(i + 1), bytes_of(bodies[i]));
    }
    return file;
  }

  void write(std::span<const std::byte> bytes) {
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }

  Result<ScanResult> scan(uint64_t from = 0) {
    seen_.clear();
    return scan_records(disk_, path_, from, [&](const RecordView& record) {
      seen_.push_back({record.type, record.offset,
                       std::string(reinterpret_cast<const char*>(record.body.data()), record.body.size())});
      return true;
    });
  }

  uint64_t end_of(const Seen& record) const { return record.offset + kRecordHeadBytes + record.body.size(); }

  TestFolder folder_;
  std::string path_ = folder_ / "seg-0000000000000007.lam";
  OsLoop loop_;
  OsDisk disk_{loop_};
  std::vector<Seen> written_;
  std::vector<Seen> seen_;
};

TEST_F(Record, ReadsBackWhatWasWritten) {
  write(make({"first", "", std::string(300'000, 'x'), "last"}));
  const auto result = scan();
  ASSERT_TRUE(result);
  EXPECT_EQ(seen_, written_);
  EXPECT_EQ(result->records, 4u);
  EXPECT_EQ(result->good_end, end_of(written_.back()));
  EXPECT_FALSE(result->torn_tail);
  EXPECT_EQ(result->damage_count, 0u);
  EXPECT_EQ(result->header.number, 7u);
  EXPECT_EQ(result->header.created_ms, 1'700'000'000'123);
  EXPECT_EQ(result->header.owner, 1u);
}

TEST_F(Record, ADamagedHeaderCostsNothingWhereTheNameSaysTheSame) {
  const auto whole = make({"one", "two"});
  for (size_t at = 0; at < kFileHeaderBytes; ++at) {
    auto bytes = whole;
    bytes[at] ^= std::byte{0x40};
    write(bytes);
    EXPECT_FALSE(scan()) << at;
    size_t records = 0;
    const auto count = [&](const RecordView&) { return ++records > 0; };
    const auto result = scan_records(disk_, path_, 0, count, HeaderRule::kMayBeDamaged);
    if (at == 4) {
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, ErrorCode::kUnsupported) << "a higher version";
      continue;
    }
    ASSERT_TRUE(result) << at;
    EXPECT_EQ(records, 2u);
    EXPECT_EQ(result->damage_count, 1u);
  }
}

TEST_F(Record, StartsAtAGivenOffsetAndStopsWhenTold) {
  write(make({"one", "two", "three"}));
  ASSERT_TRUE(scan(written_[1].offset));
  ASSERT_EQ(seen_.size(), 2u);
  EXPECT_EQ(seen_[0], written_[1]);

  size_t count = 0;
  const auto stopped = scan_records(disk_, path_, 0, [&](const RecordView&) { return ++count < 2; });
  ASSERT_TRUE(stopped);
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(stopped->good_end, end_of(written_[1]));
  EXPECT_FALSE(stopped->torn_tail);
}

TEST_F(Record, AFileCutAtAnyByteKeepsEveryWholeRecordAndSaysTornTail) {
  const auto whole = make({"alpha", "beta", "", "gamma-gamma"});
  for (size_t size = 0; size <= whole.size(); ++size) {
    SCOPED_TRACE(size);
    write(std::span(whole).first(size));
    const auto result = scan();
    if (size < kFileHeaderBytes) {
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
      continue;
    }
    ASSERT_TRUE(result);
    std::vector<Seen> expected;
    uint64_t good_end = kFileHeaderBytes;
    for (const auto& record : written_) {
      if (end_of(record) > size) break;
      expected.push_back(record);
      good_end = end_of(record);
    }
    EXPECT_EQ(seen_, expected);
    EXPECT_EQ(result->good_end, good_end);
    EXPECT_EQ(result->torn_tail, size > good_end);
    EXPECT_EQ(result->damage_count, 0u);
  }
}

TEST_F(Record, AFlipOfAnyBitLosesOnlyTheRecordItIsIn) {
  const auto whole = make({"alpha", "beta-beta", "", "gamma", "delta-delta-delta"});
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    SCOPED_TRACE(bit);
    auto file = whole;
    file[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    write(file);
    const auto result = scan();
    if (bit / 8 < kFileHeaderBytes) {
      EXPECT_FALSE(result);
      continue;
    }
    ASSERT_TRUE(result);
    std::vector<Seen> expected;
    bool last = false;
    for (const auto& record : written_) {
      const bool hit = bit / 8 >= record.offset && bit / 8 < end_of(record);
      if (!hit) expected.push_back(record);
      if (hit) last = record == written_.back();
    }
    EXPECT_EQ(seen_, expected);
    // The loss is told either way.
    EXPECT_EQ(result->torn_tail, last);
    if (!last) {
      ASSERT_EQ(result->damage_count, 1u);
      EXPECT_GT(result->damage[0].bytes, 0u);
    }
  }
}

TEST_F(Record, RandomDamageLosesNoRecordThatItDoesNotTouch) {
  std::random_device device;
  for (int round = 0; round < 200; ++round) {
    const unsigned seed = device();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::vector<std::string> bodies(1 + random() % 20);
    for (auto& body : bodies) {
      body.resize(random() % (random() % 8 == 0 ? 200'000 : 200));
      // Many 'L' and 'R': places that look like a head.
      for (auto& c : body) c = "LR\0x"[random() % 4];
    }
    auto file = make(bodies);
    std::vector<bool> hit(written_.size());
    for (int i = 0; i < 3; ++i) {
      const size_t at = kFileHeaderBytes + random() % (file.size() - kFileHeaderBytes);
      const size_t length = std::min<size_t>(1 + random() % 40, file.size() - at);
      for (size_t j = at; j < at + length; ++j) file[j] ^= static_cast<std::byte>(1 + random() % 255);
      for (size_t r = 0; r < written_.size(); ++r) {
        if (at < end_of(written_[r]) && at + length > written_[r].offset) hit[r] = true;
      }
    }
    write(file);
    const auto result = scan();
    ASSERT_TRUE(result);
    // Damage that is undone by other damage may give a record back; nothing else may differ from `hit`.
    for (size_t r = 0; r < written_.size(); ++r) {
      const bool found = std::find(seen_.begin(), seen_.end(), written_[r]) != seen_.end();
      EXPECT_TRUE(found || hit[r]) << "record " << r;
    }
    for (const auto& record : seen_) {
      EXPECT_NE(std::find(written_.begin(), written_.end(), record), written_.end()) << "a record nobody wrote";
    }
  }
}

TEST_F(Record, GarbageBehindTheLastRecordIsATornTailHoweverLong) {
  auto file = make({"only"});
  const uint64_t good_end = file.size();
  file.resize(file.size() + 700'000, std::byte{'L'});
  write(file);
  const auto result = scan();
  ASSERT_TRUE(result);
  EXPECT_EQ(seen_, written_);
  EXPECT_EQ(result->good_end, good_end);
  EXPECT_TRUE(result->torn_tail);
}

TEST_F(Record, FindsTheNextHeadAcrossTheReadersPieces) {
  // The head behind the damage is moved over every alignment to the reader's 128 KiB pieces.
  for (size_t pad = (128u << 10) - 40; pad < (128u << 10) + 8; ++pad) {
    auto file = make({"before"});
    file.resize(file.size() + pad, std::byte{0x4C});
    const uint64_t at = file.size();
    append_record(file, 9, bytes_of("after"));
    write(file);
    const auto result = scan();
    ASSERT_TRUE(result);
    ASSERT_EQ(seen_.size(), 2u) << pad;
    EXPECT_EQ(seen_[1], (Seen{9, at, "after"}));
    ASSERT_EQ(result->damage.size(), 1u);
    EXPECT_EQ(result->damage[0].bytes, pad);
  }
}

TEST_F(Record, NamesAtMost64DamagesAndCountsAll) {
  auto file = make(std::vector<std::string>(100, "body"));
  for (const auto& record : written_) file[record.offset + kRecordHeadBytes] ^= std::byte{1};
  append_record(file, 1, bytes_of("good"));
  write(file);
  const auto result = scan();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->damage.size(), 64u);
  EXPECT_EQ(result->damage_count, 100u);
  EXPECT_EQ(result->damage[0].what, "body checksum");
}

TEST_F(Record, ReadsOneRecordAtItsOffset) {
  auto file = make({"small", std::string(50'000, 'y'), ""});
  write(file);
  std::vector<std::byte> body;
  for (const auto& record : written_) {
    const auto type = read_record(disk_, path_, record.offset, body);
    ASSERT_TRUE(type) << type.error().text;
    EXPECT_EQ(*type, record.type);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(body.data()), body.size()), record.body);
  }
  for (const uint64_t wrong : {written_[0].offset + 1, static_cast<uint64_t>(file.size())}) {
    const auto type = read_record(disk_, path_, wrong, body);
    ASSERT_FALSE(type);
    EXPECT_EQ(type.error().code, ErrorCode::kCorrupt);
  }
  file[written_[1].offset + 40'000] ^= std::byte{1};
  write(std::span(file).first(written_[1].offset + 45'000));
  EXPECT_EQ(read_record(disk_, path_, written_[1].offset, body).error().code, ErrorCode::kCorrupt);
  write(file);
  EXPECT_EQ(read_record(disk_, path_, written_[1].offset, body).error().code, ErrorCode::kCorrupt);
}

TEST_F(Record, RefusesOtherVersionsByNameAndForeignFilesAsCorrupt) {
  auto file = make({"x"});
  file[4] = std::byte{2};
  auto header = parse_file_header(file);
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(header.error().text.find("version 2"), std::string::npos);
  write(file);
  EXPECT_EQ(scan().error().code, ErrorCode::kUnsupported);
  EXPECT_NE(scan().error().text.find(path_), std::string::npos);
  file[0] = std::byte{'X'};
  EXPECT_EQ(parse_file_header(file).error().code, ErrorCode::kCorrupt);
}

TEST_F(Record, AMissingFileIsNotFound) {
  EXPECT_EQ(scan().error().code, ErrorCode::kNotFound);
}

TEST(RecordName, GoesBothWays) {
  EXPECT_EQ(numbered_name("seg-", 18), "seg-0000000000000012.lam");
  for (const uint64_t number : {uint64_t{0}, uint64_t{18}, ~uint64_t{0}}) {
    const auto back = parse_numbered_name("seg-", numbered_name("seg-", number));
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, number);
  }
  for (const char* wrong : {"", "seg-", "seg-12.lam", "seg-000000000000001G.lam", "seg-000000000000001A.lam",
                            "spl-0000000000000012.lam", "seg-0000000000000012.tmp", "seg-0000000000000012.lam.tmp"}) {
    EXPECT_FALSE(parse_numbered_name("seg-", wrong)) << wrong;
  }
}

// Bytes written down in a text file as pairs of hexadecimal digits; '#' begins a comment.
std::vector<std::byte> read_hex(const std::string& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in.good()) << path;
  std::string line, digits;
  while (std::getline(in, line)) {
    for (const char c : line.substr(0, line.find('#'))) {
      if (std::isxdigit(static_cast<unsigned char>(c))) digits += c;
    }
  }
  const auto bytes = unhex(digits);
  EXPECT_TRUE(bytes) << path;
  std::vector<std::byte> out(bytes->size());
  std::transform(bytes->begin(), bytes->end(), out.begin(), [](uint8_t b) { return std::byte{b}; });
  return out;
}

// The bytes of proto/record.md's example, between "## Worked example" and the end of its code lines.
std::vector<std::byte> example_of_document() {
  std::ifstream in(LAMBDA_SOURCE_DIR "/proto/record.md");
  std::string line, digits;
  bool inside = false;
  while (std::getline(in, line)) {
    if (line.rfind("## ", 0) == 0) inside = line == "## Worked example";
    static const std::regex kHexLine("^    (([0-9a-f]{2} )*[0-9a-f]{2})(  .*)?$");
    std::smatch match;
    if (inside && std::regex_match(line, match, kHexLine)) digits += match[1].str() + " ";
  }
  digits.erase(std::remove(digits.begin(), digits.end(), ' '), digits.end());
  const auto bytes = unhex(digits);
  EXPECT_TRUE(bytes);
  std::vector<std::byte> out(bytes->size());
  std::transform(bytes->begin(), bytes->end(), out.begin(), [](uint8_t b) { return std::byte{b}; });
  return out;
}

std::string hex_of(std::span<const std::byte> bytes) {
  return hex({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

TEST(RecordVectors, TheDocumentsExampleIsWhatWeWrite) {
  std::vector<std::byte> file;
  append_file_header(file, {FileKind::kJournal, 18, 1'700'000'000'000, 0});
  append_record(file, 18, bytes_of("hi"));
  EXPECT_EQ(hex_of(example_of_document()), hex_of(file));
}

TEST(RecordVectors, GoldenFilesReadAsBefore) {
  const std::string folder = LAMBDA_SOURCE_DIR "/proto/vectors/record/";
  std::vector<std::byte> two;
  append_file_header(two, {FileKind::kSegment, 255, -1, 1});
  append_record(two, 1, bytes_of("one"));
  append_record(two, 200, {});
  EXPECT_EQ(hex_of(read_hex(folder + "two-records.hex")), hex_of(two));

  TestFolder scratch;
  OsLoop loop;
  OsDisk disk(loop);
  struct Case {
    const char* name;
    uint64_t records, damage_count;
    bool torn_tail;
  };
  for (const Case& expected : {Case{"two-records.hex", 2, 0, false}, Case{"torn-tail.hex", 1, 0, true},
                               Case{"bad-body.hex", 1, 1, false}, Case{"bad-head.hex", 1, 1, false}}) {
    SCOPED_TRACE(expected.name);
    const auto bytes = read_hex(folder + expected.name);
    const std::string path = scratch / expected.name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    const auto result = scan_records(disk, path, 0, [](const RecordView&) { return true; });
    ASSERT_TRUE(result);
    EXPECT_EQ(result->records, expected.records);
    EXPECT_EQ(result->damage_count, expected.damage_count);
    EXPECT_EQ(result->torn_tail, expected.torn_tail);
  }
  EXPECT_EQ(parse_file_header(read_hex(folder + "version-2.hex")).error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace lambda
