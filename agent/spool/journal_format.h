// The bodies of a journal's records. Bytes: proto/spool.md, "Journal". Pure: no disk, no clock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "agent/spool/series_table.h"
#include "base/result.h"

namespace lambda::agent {

inline constexpr uint8_t kRecordJournalOpen = 16;
inline constexpr uint8_t kRecordDeclaration = 17;
inline constexpr uint8_t kRecordRow = 18;
inline constexpr uint8_t kRecordClockSegment = 19;
inline constexpr uint8_t kRecordMark = 20;
inline constexpr uint8_t kRecordRows = 21;
inline constexpr uint8_t kRecordRequests = 22;

// Of one append: even if each is a row of its own they fit into one record.
inline constexpr size_t kRowsPointsMax = 64 * 1024;

struct RowPoint {
  uint32_t ref = 0;
  uint64_t bits = 0;
};

// The points of one moment, refs ascending, each once.
struct Row {
  int64_t time_ms = 0;
  uint32_t clock = 0;  // segment of the boot
  std::vector<RowPoint> points;
};

struct Clock64 {
  uint32_t segment = 0;
  bool relative = false;
  int64_t offset_ms = 0;
  bool known = false;
};

// Who a journal file belongs to.
struct JournalHead {
  uint64_t boot = 0;
  uint64_t previous_boot = 0;
  int64_t started_ms = 0;
  uint32_t clock = 0;
};

// A request that handed points in, all of which are made: when it comes again it is answered as it was.
using RequestId = std::array<uint8_t, 16>;
struct RequestNote {
  RequestId id{};
  uint32_t accepted = 0, refused = 0;  // its points
};
// kCorrupt: it is none.
Result<std::vector<RequestNote>> parse_requests(std::span<const std::byte> body);

struct JournalFile {
  uint64_t number = 0;
  uint64_t bytes = 0;
  JournalHead head;
};

// Where a file has come to: it makes readers independent of what stands before it.
struct JournalMark {
  uint64_t boot = 0;
  uint64_t rows = 0;  // before it in this file
  uint32_t clock = 0;
  std::vector<std::pair<uint32_t, uint64_t>> ordinals;  // by ref: of the next point, those that are not 0
};
// kCorrupt: it is none.
Result<JournalMark> parse_mark(std::span<const std::byte> body);

// Writes the records of one file; forget it with the file. `table` gives types and ordinals.
class JournalEncoder {
 public:
  // JournalOpen, and the declarations of all series of `table`. `back` says how many of a series' made points will be
  // written again in this file, by ref; empty: none.
  static void open(const JournalHead& head, const SeriesTable& table, std::span<const uint64_t> back,
                   std::vector<std::byte>& out);
  static void declaration(const SeriesTable& table, SeriesRef ref, std::vector<std::byte>& out);
  static void clock(uint32_t segment, std::vector<std::byte>& out);
  // `back` as for open().
  static void mark(const JournalHead& head, uint64_t rows, const SeriesTable& table, std::span<const uint64_t> back,
                   std::vector<std::byte>& out);
  static void requests(std::span<const RequestNote> notes, std::vector<std::byte>& out);
  // One row as a Row, several as one Rows; all of one clock segment.
  void rows(std::span<const Row> rows, const SeriesTable& table, std::vector<std::byte>& out);

 private:
  void put_points(const Row& row, const SeriesTable& table);

  std::vector<uint64_t> before_;
  std::vector<std::byte> body_;
};

// Reads the records of one file in order. Treats them as hostile.
//
// It is lost from the first record that is missing or wrong: rows are counted then and not placed, until a Mark says
// where the file is. Before the first row that mends all; behind it the values stay unknown, as each is written as a
// difference, and the reader only knows how far the series have come.
class JournalDecoder {
 public:
  using Visit = std::function<void(uint32_t ref, uint64_t ordinal, int64_t time_ms, uint64_t bits, uint32_t clock)>;

  // Declarations go into `table`, which must outlive this.
  explicit JournalDecoder(SeriesTable& table) : table_(table) {}
  // kCorrupt: the record disagrees with the format or those before it; it is lost from there on.
  Status apply(uint8_t type, std::span<const std::byte> body, const Visit& visit);
  const JournalHead& head() const { return head_; }
  bool opened() const { return opened_; }
  // A record before the next one cannot be read.
  void lose() { lost_ = true; }
  bool lost() const { return lost_; }
  // The ordinal of the next point of `ref` in this file; while it is lost, at least that.
  uint64_t next_ordinal(SeriesRef ref) const { return ref < ordinals_.size() ? ordinals_[ref] : 0; }
  uint32_t refs() const { return static_cast<uint32_t>(ordinals_.size()); }

 private:
  Status open(std::span<const std::byte> body);
  Status take(uint8_t type, std::span<const std::byte> body, const Visit& visit);
  Status mark(std::span<const std::byte> body);
  Status parse_rows(std::span<const std::byte> body, bool many);
  Status rows(std::span<const std::byte> body, bool many, const Visit& visit);

  SeriesTable& table_;
  JournalHead head_;
  bool opened_ = false;
  bool lost_ = false;
  uint64_t rows_ = 0;
  std::vector<uint64_t> before_;
  std::vector<uint64_t> ordinals_;
  // Of the record that is being read.
  struct RowEnd {
    uint64_t time = 0;
    size_t points = 0;  // of it and the rows before it
  };
  std::vector<RowEnd> row_ends_;
  std::vector<RowPoint> points_;  // with the change of each value
};

// Only what JournalOpen itself says: the boot, and the ordinals at which its series go on.
struct JournalStart {
  JournalHead head;
  std::vector<std::pair<uint32_t, uint64_t>> ordinals;
  bool ordinals_known = true;  // false: only the boot is
};
Result<JournalStart> parse_journal_open(std::span<const std::byte> body);

}  // namespace lambda::agent
