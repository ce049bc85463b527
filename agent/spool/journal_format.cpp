#include "agent/spool/journal_format.h"

#include <algorithm>
#include <bit>
#include <string>

#include "base/record/record.h"
#include "proto/lambda.pb.h"
#include "proto/store.pb.h"

namespace lambda::agent {
namespace {

constexpr uint64_t kOrdinalMax = uint64_t{1} << 63;
constexpr uint64_t kRefMax = 1u << 20;
constexpr size_t kRequestNoteBytes = 24;

void put_varint(std::vector<std::byte>& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<std::byte>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<std::byte>(value));
}

void put_zigzag(std::vector<std::byte>& out, uint64_t value) {
  put_varint(out, value << 1 ^ (static_cast<int64_t>(value) < 0 ? ~uint64_t{0} : 0));
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool byte(uint8_t* out) {
    if (bytes_.empty()) return false;
    *out = static_cast<uint8_t>(bytes_[0]);
    bytes_ = bytes_.subspan(1);
    return true;
  }
  bool varint(uint64_t* out) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      uint8_t next = 0;
      if (!byte(&next)) return false;
      if (shift == 63 && next > 1) return false;
      if (shift > 0 && next == 0) return false;  // not the shortest form
      value |= static_cast<uint64_t>(next & 0x7F) << shift;
      if (next < 0x80) {
        *out = value;
        return true;
      }
    }
    return false;
  }
  bool zigzag(uint64_t* out) {
    uint64_t value = 0;
    if (!varint(&value)) return false;
    *out = value >> 1 ^ (0 - (value & 1));
    return true;
  }
  bool empty() const { return bytes_.empty(); }
  size_t left() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
};

bool is_float(ValueType type) {
  return type == ValueType::kF64;
}

void put_xor(std::vector<std::byte>& out, uint64_t x) {
  const unsigned zeros = x == 0 ? 0 : static_cast<unsigned>(std::countr_zero(x)) / 8;
  x >>= zeros * 8;
  const unsigned length = (static_cast<unsigned>(std::bit_width(x)) + 7) / 8;
  out.push_back(static_cast<std::byte>(length | zeros << 4));
  for (unsigned i = 0; i < length; ++i) out.push_back(static_cast<std::byte>(x >> (8 * i)));
}

bool take_xor(Reader& in, uint64_t* out) {
  uint8_t head = 0;
  if (!in.byte(&head)) return false;
  const unsigned length = head & 15, zeros = head >> 4;
  if (length + zeros > 8) return false;
  uint64_t x = 0;
  for (unsigned i = 0; i < length; ++i) {
    uint8_t next = 0;
    if (!in.byte(&next)) return false;
    x |= uint64_t{next} << (8 * i);
  }
  *out = zeros == 8 ? 0 : x << (8 * zeros);
  return true;
}

Status corrupt(std::string what) {
  return fail(ErrorCode::kCorrupt, "journal: " + std::move(what));
}

template <class Message>
void put_message(std::vector<std::byte>& out, uint8_t type, const Message& message) {
  std::string bytes;
  message.SerializeToString(&bytes);
  append_record(out, type, std::as_bytes(std::span(bytes)));
}

}  // namespace

void JournalEncoder::open(const JournalHead& head, const SeriesTable& table, std::span<const uint64_t> back,
                          std::vector<std::byte>& out) {
  {
    v1::BootState open;
    open.set_boot(head.boot);
    open.set_previous_boot(head.previous_boot);
    open.set_started_ms(head.started_ms);
    open.add_clocks()->set_segment(head.clock);
    for (SeriesRef ref = 0; ref < table.size(); ++ref) {
      const uint64_t next = table.at(ref).next_ordinal - (ref < back.size() ? back[ref] : 0);
      if (next == 0) continue;
      auto* covered = open.add_covered();
      covered->set_ref(ref);
      covered->set_next_ordinal(next);
    }
    put_message(out, kRecordJournalOpen, open);
  }
  for (SeriesRef ref = 0; ref < table.size(); ++ref) {
    if (table.known(ref)) declaration(table, ref, out);
  }
}

void JournalEncoder::declaration(const SeriesTable& table, SeriesRef ref, std::vector<std::byte>& out) {
  v1::Declaration declaration;
  table.write(ref, declaration);
  put_message(out, kRecordDeclaration, declaration);
}

void JournalEncoder::clock(uint32_t segment, std::vector<std::byte>& out) {
  v1::ClockSegment clock;
  clock.set_segment(segment);
  put_message(out, kRecordClockSegment, clock);
}

void JournalEncoder::requests(std::span<const RequestNote> notes, std::vector<std::byte>& out) {
  std::vector<std::byte> body;
  body.reserve(notes.size() * kRequestNoteBytes);
  for (const RequestNote& note : notes) {
    for (const uint8_t byte : note.id) body.push_back(static_cast<std::byte>(byte));
    for (const uint32_t count : {note.accepted, note.refused}) {
      for (int i = 0; i < 4; ++i) body.push_back(static_cast<std::byte>(count >> (8 * i)));
    }
  }
  append_record(out, kRecordRequests, body);
}

Result<std::vector<RequestNote>> parse_requests(std::span<const std::byte> body) {
  if (body.size() % kRequestNoteBytes != 0) return fail(ErrorCode::kCorrupt, "journal: not Requests");
  std::vector<RequestNote> notes(body.size() / kRequestNoteBytes);
  size_t at = 0;
  for (RequestNote& note : notes) {
    for (uint8_t& byte : note.id) byte = static_cast<uint8_t>(body[at++]);
    for (uint32_t* count : {&note.accepted, &note.refused}) {
      for (int i = 0; i < 4; ++i) *count |= static_cast<uint32_t>(body[at++]) << (8 * i);
    }
  }
  return notes;
}

void JournalEncoder::mark(const JournalHead& head, uint64_t rows, const SeriesTable& table,
                          std::span<const uint64_t> back, std::vector<std::byte>& out) {
  std::vector<std::byte> body;
  for (int i = 0; i < 8; ++i) body.push_back(static_cast<std::byte>(head.boot >> (8 * i)));
  put_varint(body, rows);
  put_varint(body, head.clock);
  // Series of one source have come equally far: a few runs of equal ordinals say all.
  const auto next_of = [&](SeriesRef ref) { return table.at(ref).next_ordinal - (ref < back.size() ? back[ref] : 0); };
  for (SeriesRef ref = 0; ref < table.size();) {
    const SeriesRef first = ref;
    const uint64_t next = next_of(first);
    while (ref < table.size() && next_of(ref) == next) ++ref;
    put_varint(body, ref - first);
    put_varint(body, next);
  }
  append_record(out, kRecordMark, body);
}

Result<JournalMark> parse_mark(std::span<const std::byte> body) {
  JournalMark mark;
  if (body.size() < 8) return fail(ErrorCode::kCorrupt, "journal: not a Mark");
  for (int i = 0; i < 8; ++i) mark.boot |= static_cast<uint64_t>(body[static_cast<size_t>(i)]) << (8 * i);
  Reader in(body.subspan(8));
  uint64_t clock = 0, ref = 0;
  if (mark.boot == 0 || !in.varint(&mark.rows) || !in.varint(&clock) || clock > UINT32_MAX) {
    return fail(ErrorCode::kCorrupt, "journal: Mark: boot, rows or clock");
  }
  mark.clock = static_cast<uint32_t>(clock);
  while (!in.empty()) {
    uint64_t count = 0, next = 0;
    if (!in.varint(&count) || !in.varint(&next) || count == 0 || count > kRefMax - ref || next >= kOrdinalMax) {
      return fail(ErrorCode::kCorrupt, "journal: Mark: ordinals");
    }
    for (const uint64_t end = ref + count; ref < end; ++ref) {
      if (next > 0) mark.ordinals.emplace_back(static_cast<uint32_t>(ref), next);
    }
  }
  return mark;
}

void JournalEncoder::put_points(const Row& row, const SeriesTable& table) {
  put_varint(body_, row.points.size());
  int64_t last = -1;
  for (const RowPoint& point : row.points) {
    LAMBDA_ASSERT(static_cast<int64_t>(point.ref) > last);
    put_varint(body_, static_cast<uint64_t>(static_cast<int64_t>(point.ref) - last - 1));
    last = point.ref;
    uint64_t& before = before_[point.ref];
    if (is_float(table.at(point.ref).type)) {
      put_xor(body_, point.bits ^ before);
    } else {
      put_zigzag(body_, point.bits - before);
    }
    before = point.bits;
  }
}

void JournalEncoder::rows(std::span<const Row> rows, const SeriesTable& table, std::vector<std::byte>& out) {
  if (before_.size() < table.size()) before_.resize(table.size());
  body_.clear();
  uint64_t before = 0;
  for (const Row& row : rows) {
    const auto time = static_cast<uint64_t>(row.time_ms);
    put_zigzag(body_, time - before);
    before = time;
    put_points(row, table);
  }
  append_record(out, rows.size() == 1 ? kRecordRow : kRecordRows, body_);
}

Result<JournalStart> parse_journal_open(std::span<const std::byte> body) {
  v1::BootState open;
  if (!open.ParseFromArray(body.data(), static_cast<int>(body.size())) || open.boot() == 0) {
    return fail(ErrorCode::kCorrupt, "journal: not a JournalOpen");
  }
  JournalStart start;
  start.head = {open.boot(), open.previous_boot(), open.started_ms(), 0};
  if (open.clocks_size() > 0) start.head.clock = open.clocks(open.clocks_size() - 1).segment();
  for (const auto& covered : open.covered()) {
    if (covered.next_ordinal() >= kOrdinalMax) return fail(ErrorCode::kCorrupt, "journal: an ordinal is too large");
    start.ordinals.emplace_back(covered.ref(), covered.next_ordinal());
  }
  return start;
}

Status JournalDecoder::open(std::span<const std::byte> body) {
  if (opened_) return corrupt("a second JournalOpen");
  auto start = parse_journal_open(body);
  if (!start) return tl::unexpected(start.error());
  head_ = start->head;
  for (const auto& [ref, ordinal] : start->ordinals) {
    if (auto status = table_.reach(ref); !status) return status;
    if (ref >= ordinals_.size()) ordinals_.resize(ref + 1);
    ordinals_[ref] = ordinal;
  }
  v1::BootState state;
  state.ParseFromArray(body.data(), static_cast<int>(body.size()));
  for (const auto& declaration : state.declarations()) {
    if (auto status = table_.put(declaration); !status) return status;
  }
  opened_ = true;
  return {};
}

Status JournalDecoder::apply(uint8_t type, std::span<const std::byte> body, const Visit& visit) {
  auto status = take(type, body, visit);
  if (!status) lost_ = true;
  return status;
}

Status JournalDecoder::take(uint8_t type, std::span<const std::byte> body, const Visit& visit) {
  if (type == kRecordJournalOpen) return open(body);
  if (type == kRecordMark) return mark(body);
  if (!opened_ && !lost_) return corrupt("the first record is not a JournalOpen");
  if (type == kRecordRow || type == kRecordRows) return rows(body, type == kRecordRows, visit);
  if (type == kRecordDeclaration) {
    v1::Declaration declaration;
    if (!declaration.ParseFromArray(body.data(), static_cast<int>(body.size()))) return corrupt("not a Declaration");
    return table_.put(declaration);
  }
  if (type == kRecordClockSegment) {
    v1::ClockSegment clock;
    if (!clock.ParseFromArray(body.data(), static_cast<int>(body.size()))) return corrupt("not a ClockSegment");
    head_.clock = clock.segment();
  }
  return {};  // unknown types are skipped
}

Status JournalDecoder::mark(std::span<const std::byte> body) {
  auto mark = parse_mark(body);
  if (!mark) return tl::unexpected(mark.error());
  if (opened_ && mark->boot != head_.boot) return corrupt("a Mark of another boot");
  for (const auto& [ref, ordinal] : mark->ordinals) {
    if (auto status = table_.reach(ref); !status) return status;
    if (ref >= ordinals_.size()) ordinals_.resize(ref + 1);
    if (!lost_ && ordinals_[ref] != ordinal) return corrupt("a Mark that disagrees with the rows before it");
    ordinals_[ref] = std::max(ordinals_[ref], ordinal);
  }
  if (!lost_ || mark->rows > 0 || rows_ > 0) return {};
  head_.boot = mark->boot;
  head_.clock = mark->clock;
  opened_ = true;
  lost_ = false;
  return {};
}

// Into row_ends_ and points_.
Status JournalDecoder::parse_rows(std::span<const std::byte> body, bool many) {
  Reader in(body);
  row_ends_.clear();
  points_.clear();
  uint64_t time = 0;
  do {
    uint64_t later = 0, count = 0;
    if (!in.zigzag(&later) || !in.varint(&count) || count > in.left()) return corrupt("row: time or count");
    time += later;
    uint64_t next = 0;
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t step = 0;
      if (!in.varint(&step) || step >= table_.size() || next + step >= table_.size()) return corrupt("row: ref");
      const auto ref = static_cast<uint32_t>(next + step);
      next = uint64_t{ref} + 1;
      if (!table_.known(ref)) return corrupt("row: ref " + std::to_string(ref) + " is not declared");
      uint64_t change = 0;
      if (is_float(table_.at(ref).type) ? !take_xor(in, &change) : !in.zigzag(&change)) return corrupt("row: value");
      points_.push_back({ref, change});
    }
    row_ends_.push_back({time, points_.size()});
  } while (many && !in.empty());
  if (!in.empty()) return corrupt("row: bytes behind the last point");
  return {};
}

Status JournalDecoder::rows(std::span<const std::byte> body, bool many, const Visit& visit) {
  rows_++;
  // All or nothing: a record that is wrong somewhere counts nowhere.
  if (auto status = parse_rows(body, many); !status) return status;
  if (before_.size() < table_.size()) before_.resize(table_.size());
  if (ordinals_.size() < table_.size()) ordinals_.resize(table_.size());
  size_t at = 0;
  for (const RowEnd& row : row_ends_) {
    for (; at < row.points; ++at) {
      const RowPoint& point = points_[at];
      if (lost_) {
        ordinals_[point.ref]++;
        continue;
      }
      uint64_t& before = before_[point.ref];
      before = is_float(table_.at(point.ref).type) ? before ^ point.bits : before + point.bits;
      visit(point.ref, ordinals_[point.ref]++, static_cast<int64_t>(row.time), before, head_.clock);
    }
  }
  return {};
}

}  // namespace lambda::agent
