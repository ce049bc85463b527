#include "gateway/store/record_body.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/record/record.h"
#include "lambda/codecs.h"
#include "lambda/stored_block.h"
#include "proto/store.pb.h"

namespace lambda::gateway {
namespace {

namespace pb = ::lambda::v1;

// Ordinals stay below this, so that they fit a signed column and first + count never wraps.
constexpr uint64_t kOrdinalMax = uint64_t{1} << 63;
constexpr size_t kRetiredRunsMax = 50'000;  // and gaps, of one record: at most 41 bytes each, half of 4 MiB

tl::unexpected<Error> corrupt(std::string text) {
  return fail(ErrorCode::kCorrupt, std::move(text));
}

// Walks the top-level fields of a message, to learn where a bytes field stands; protobuf's own parser does not tell.
class WireFields {
 public:
  explicit WireFields(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  struct Field {
    uint32_t number = 0;
    size_t offset = 0;  // of the payload of a length-delimited field
    size_t length = 0;
    bool delimited = false;
  };
  // Nothing at the end, and on anything malformed (protobuf's parser has refused that before).
  std::optional<Field> next() {
    uint64_t tag = 0;
    if (at_ >= bytes_.size() || !varint(&tag)) return std::nullopt;
    Field field;
    field.number = static_cast<uint32_t>(tag >> 3);
    uint64_t length = 0;
    switch (tag & 7) {
      case 0:
        if (!varint(&length)) return std::nullopt;
        return field;
      case 1:
        length = 8;
        break;
      case 5:
        length = 4;
        break;
      case 2:
        if (!varint(&length)) return std::nullopt;
        field.delimited = true;
        break;
      default:
        return std::nullopt;
    }
    if (length > bytes_.size() - at_) return std::nullopt;
    field.offset = at_;
    field.length = static_cast<size_t>(length);
    at_ += field.length;
    return field;
  }

 private:
  bool varint(uint64_t* value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && at_ < bytes_.size(); shift += 7) {
      const uint8_t byte = bytes_[at_++];
      *value |= uint64_t{byte & 0x7Fu} << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
};

std::span<const uint8_t> octets(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> raw(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

template <class Message>
bool parse(Message* message, std::span<const uint8_t> bytes) {
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

bool take_digest(const std::string& bytes, Digest* digest) {
  if (bytes.size() != digest->size()) return false;
  std::copy(bytes.begin(), bytes.end(), digest->begin());
  return true;
}

void put_u64(std::vector<std::byte>& out, uint64_t value) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

uint64_t get_u64(std::span<const std::byte> bytes, size_t offset) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value |= static_cast<uint64_t>(bytes[offset + i]) << (8 * i);
  return value;
}

Status take_declarations(const pb::Parcel& parcel, ParcelRecord* record) {
  for (const pb::Declaration& declaration : parcel.declarations()) {
    Declared declared;
    declared.ref = declaration.ref();
    declared.name = declaration.name();
    for (const pb::Label& label : declaration.labels()) declared.labels.emplace_back(label.name(), label.value());
    if (declaration.kind() < 1 || declaration.kind() > 3) return corrupt("declaration of an unknown kind");
    if (declaration.type() < 1 || declaration.type() > 5) return corrupt("declaration of an unknown value type");
    if (declaration.scale() > kScaleMax) return corrupt("declaration with a scale above 18");
    declared.kind = static_cast<Kind>(declaration.kind());
    declared.type = static_cast<ValueType>(declaration.type());
    declared.scale = static_cast<uint8_t>(declaration.scale());
    declared.unit = declaration.unit();
    record->declarations.push_back(std::move(declared));
  }
  return {};
}

// Everything but the blocks.
Status take_parcel(const pb::Parcel& parcel, ParcelRecord* record) {
  record->device = parcel.device();
  record->boot = parcel.boot();
  record->seq = parcel.seq();
  record->floor_seq = parcel.floor_seq();
  if (record->device.empty()) return corrupt("a parcel without a device");
  if (record->seq >= kOrdinalMax || record->floor_seq >= kOrdinalMax) return corrupt("a sequence number above 2^63");
  if (!parcel.previous().empty() && !take_digest(parcel.previous(), &record->previous)) {
    return corrupt("a previous digest that has not 32 bytes");
  }
  if (auto status = take_declarations(parcel, record); !status) return status;
  for (const pb::Gap& gap : parcel.gaps()) {
    if (gap.count() == 0 || gap.first_ordinal() >= kOrdinalMax || gap.count() > kOrdinalMax - gap.first_ordinal()) {
      return corrupt("a gap outside the ordinals");
    }
    record->gaps.push_back({gap.ref(), gap.first_ordinal(), gap.count(), static_cast<GapReason>(gap.reason())});
  }
  for (const pb::ClockSegment& clock : parcel.clocks()) {
    record->clocks.push_back({clock.segment(), clock.relative(), clock.offset_ms(), clock.known()});
  }
  return {};
}

Status take_blocks(std::span<const uint8_t> body, size_t parcel_offset, size_t parcel_length, ParcelRecord* record) {
  WireFields fields(body.subspan(parcel_offset, parcel_length));
  while (auto field = fields.next()) {
    if (field->number != pb::Parcel::kBlocksFieldNumber || !field->delimited) continue;
    StoredBlock block;
    block.body_offset = parcel_offset + field->offset;
    block.bytes = body.subspan(block.body_offset, field->length);
    BlockReader reader;
    if (const BlockStatus status = reader.open(block.bytes, record->boot, kAllCodings); !status.ok()) {
      return corrupt(std::string("block ") + std::to_string(record->blocks.size()) + ": " +
                     block_error_name(status.error) + " at byte " + std::to_string(status.offset));
    }
    block.info = reader.info();
    if (block.info.boot != record->boot) return corrupt("a block of another boot than its parcel's");
    block.accepted = {{block.info.first_ordinal, block.info.first_ordinal + block.info.count}};
    record->blocks.push_back(std::move(block));
  }
  return {};
}

Status take_accepted(const pb::StoredParcel& stored, ParcelRecord* record) {
  if (!stored.partial()) return {};
  for (StoredBlock& block : record->blocks) block.accepted.clear();
  for (const pb::Accepted& accepted : stored.accepted()) {
    if (accepted.block() >= record->blocks.size()) return corrupt("an accepted run of a block that is not there");
    StoredBlock& block = record->blocks[accepted.block()];
    const uint64_t first = accepted.first_ordinal();
    const uint64_t end_max = block.info.first_ordinal + block.info.count;
    if (accepted.count() == 0 || first < block.info.first_ordinal || first >= end_max ||
        accepted.count() > end_max - first || (!block.accepted.empty() && block.accepted.back().end > first)) {
      return corrupt("an accepted run outside its block");
    }
    block.accepted.push_back({first, first + accepted.count()});
  }
  return {};
}

}  // namespace

Result<ParcelRecord> parse_stored_parcel(std::span<const std::byte> body) {
  const auto bytes = octets(body);
  pb::StoredParcel stored;
  pb::Parcel parcel;
  if (!parse(&stored, bytes)) return corrupt("not a StoredParcel");
  if (!parcel.ParseFromString(stored.parcel())) return corrupt("not a Parcel inside a StoredParcel");

  // A repeated field that may stand once: the last one counts, as in protobuf's parser.
  std::optional<WireFields::Field> inner;
  WireFields fields(bytes);
  while (auto field = fields.next()) {
    if (field->number == pb::StoredParcel::kParcelFieldNumber && field->delimited) inner = field;
  }
  if (!inner) return corrupt("a StoredParcel without its parcel");

  ParcelRecord record;
  record.received_ms = stored.received_ms();
  if (!take_digest(stored.digest(), &record.digest)) return corrupt("a digest that has not 32 bytes");
  if (auto status = take_parcel(parcel, &record); !status) return tl::unexpected(status.error());
  if (auto status = take_blocks(bytes, inner->offset, inner->length, &record); !status) {
    return tl::unexpected(status.error());
  }
  if (auto status = take_accepted(stored, &record); !status) return tl::unexpected(status.error());
  return record;
}

Result<ParcelRecord> parse_skeleton(std::span<const std::byte> body) {
  pb::Skeleton skeleton;
  pb::Parcel parcel;
  if (!parse(&skeleton, octets(body))) return corrupt("not a Skeleton");
  if (!parcel.ParseFromString(skeleton.parcel())) return corrupt("not a Parcel inside a Skeleton");
  if (parcel.blocks_size() != 0) return corrupt("a Skeleton with blocks");
  ParcelRecord record;
  record.received_ms = skeleton.received_ms();
  if (!take_digest(skeleton.digest(), &record.digest)) return corrupt("a digest that has not 32 bytes");
  if (auto status = take_parcel(parcel, &record); !status) return tl::unexpected(status.error());
  return record;
}

Result<HelloRecord> parse_stored_hello(std::span<const std::byte> body) {
  pb::StoredHello stored;
  pb::Hello hello;
  if (!parse(&stored, octets(body))) return corrupt("not a StoredHello");
  if (!hello.ParseFromString(stored.hello())) return corrupt("not a Hello inside a StoredHello");
  if (hello.device().empty()) return corrupt("a hello without a device");
  HelloRecord record;
  record.device = hello.device();
  record.boot = hello.boot();
  record.previous_boot = hello.previous_boot();
  record.started_ms = hello.started_ms();
  record.received_ms = stored.received_ms();
  record.message = stored.hello();
  return record;
}

Result<RetiredRecord> parse_retired(std::span<const std::byte> body) {
  pb::Retired retired;
  if (!parse(&retired, octets(body))) return corrupt("not a Retired");
  RetiredRecord record;
  record.device = retired.device();
  if (record.device.empty()) return corrupt("a Retired without a device");
  for (const pb::Run& run : retired.runs()) {
    if (run.count() == 0 || run.first_ordinal() >= kOrdinalMax || run.count() > kOrdinalMax - run.first_ordinal()) {
      return corrupt("a retired run outside the ordinals");
    }
    record.runs.push_back({run.boot(), run.ref(), {run.first_ordinal(), run.first_ordinal() + run.count()}});
  }
  for (const pb::GapRun& gap : retired.gaps()) {
    if (gap.count() == 0 || gap.first_ordinal() >= kOrdinalMax || gap.count() > kOrdinalMax - gap.first_ordinal()) {
      return corrupt("a retired gap outside the ordinals");
    }
    record.gaps.push_back(
        {gap.boot(), {gap.ref(), gap.first_ordinal(), gap.count(), static_cast<GapReason>(gap.reason())}});
  }
  return record;
}

Result<MergedRecord> parse_merged(std::span<const std::byte> body) {
  const auto bytes = octets(body);
  pb::Merged merged;
  if (!parse(&merged, bytes)) return corrupt("not a Merged");
  MergedRecord record;
  record.device = merged.device();
  if (record.device.empty()) return corrupt("a Merged without a device");
  WireFields fields(bytes);
  while (auto field = fields.next()) {
    if (field->number != pb::Merged::kBlockFieldNumber || !field->delimited) continue;
    record.block.body_offset = field->offset;
    record.block.bytes = bytes.subspan(field->offset, field->length);
  }
  if (const BlockStatus status = read_block_info(record.block.bytes, 0, &record.block.info); !status.ok()) {
    return corrupt(std::string("merged block: ") + block_error_name(status.error) + " at byte " +
                   std::to_string(status.offset));
  }
  if (!record.block.info.has_boot) return corrupt("a merged block without its boot");
  record.block.accepted = {
      {record.block.info.first_ordinal, record.block.info.first_ordinal + record.block.info.count}};
  return record;
}

Result<std::vector<uint64_t>> parse_replaces(std::span<const std::byte> body) {
  if (body.size() < 8) return corrupt("a Replaces that is too short");
  const uint64_t count = get_u64(body, 0);
  if (body.size() % 8 != 0 || count != body.size() / 8 - 1) return corrupt("a Replaces whose count is not its length");
  std::vector<uint64_t> numbers;
  for (uint64_t i = 0; i < count; ++i) numbers.push_back(get_u64(body, 8 + 8 * i));
  return numbers;
}

Result<EndRecord> parse_end(std::span<const std::byte> body) {
  if (body.size() != 16) return corrupt("an End that has not 16 bytes");
  return EndRecord{get_u64(body, 0), get_u64(body, 8)};
}

size_t append_stored_parcel(std::vector<std::byte>& out, const StoreRequest& request, bool partial,
                            std::span<const AcceptedRun> accepted) {
  pb::StoredParcel stored;
  stored.set_received_ms(request.received_ms);
  stored.set_partial(partial);
  for (const AcceptedRun& run : accepted) {
    pb::Accepted* to = stored.add_accepted();
    to->set_block(run.block);
    to->set_first_ordinal(run.run.first);
    to->set_count(run.run.count());
  }
  stored.set_digest(request.digest.data(), request.digest.size());
  // The parcel goes last and by hand: its place must be known, and fields may stand in any order.
  std::string body = stored.SerializeAsString();
  body.push_back(static_cast<char>(pb::StoredParcel::kParcelFieldNumber << 3 | 2));
  uint64_t length = request.message.size();
  for (; length >= 0x80; length >>= 7) body.push_back(static_cast<char>(length | 0x80));
  body.push_back(static_cast<char>(length));
  const size_t place = out.size() + kRecordHeadBytes + body.size();
  body += request.message;
  append_record(out, static_cast<uint8_t>(SegmentRecord::kStoredParcel), raw(body));
  return place;
}

void append_stored_hello(std::vector<std::byte>& out, const HelloRecord& hello) {
  pb::StoredHello stored;
  stored.set_received_ms(hello.received_ms);
  stored.set_hello(hello.message);
  append_record(out, static_cast<uint8_t>(SegmentRecord::kStoredHello), raw(stored.SerializeAsString()));
}

uint64_t append_retired(std::vector<std::byte>& out, const RetiredRecord& retired) {
  uint64_t records = 0;
  size_t run_at = 0;
  size_t gap_at = 0;
  while (run_at < retired.runs.size() || gap_at < retired.gaps.size()) {
    pb::Retired message;
    message.set_device(retired.device);
    size_t room = kRetiredRunsMax;
    for (; run_at < retired.runs.size() && room > 0; ++run_at, --room) {
      const RetiredRun& from = retired.runs[run_at];
      pb::Run* run = message.add_runs();
      run->set_boot(from.boot);
      run->set_ref(from.ref);
      run->set_first_ordinal(from.run.first);
      run->set_count(from.run.count());
    }
    for (; gap_at < retired.gaps.size() && room > 0; ++gap_at, --room) {
      const RetiredGap& from = retired.gaps[gap_at];
      pb::GapRun* gap = message.add_gaps();
      gap->set_boot(from.boot);
      gap->set_ref(from.gap.ref);
      gap->set_first_ordinal(from.gap.first_ordinal);
      gap->set_count(from.gap.count);
      gap->set_reason(static_cast<pb::GapReason>(from.gap.reason));
    }
    append_record(out, static_cast<uint8_t>(SegmentRecord::kRetired), raw(message.SerializeAsString()));
    ++records;
  }
  return records;
}

Status append_skeleton(std::vector<std::byte>& out, std::span<const std::byte> stored_parcel_body,
                       std::span<const Digest> roots) {
  auto record = parse_stored_parcel(stored_parcel_body);
  if (!record) return tl::unexpected(record.error());
  if (record->blocks.size() != roots.size()) return corrupt("a parcel with another number of blocks than roots");
  pb::StoredParcel stored;
  pb::Parcel parcel;
  if (!parse(&stored, octets(stored_parcel_body)) || !parcel.ParseFromString(stored.parcel())) {
    return corrupt("not a StoredParcel");
  }
  parcel.clear_blocks();
  pb::Skeleton skeleton;
  skeleton.set_received_ms(stored.received_ms());
  skeleton.set_digest(stored.digest());
  skeleton.set_parcel(parcel.SerializeAsString());
  for (size_t i = 0; i < roots.size(); ++i) {
    const BlockInfo& info = record->blocks[i].info;
    pb::BlockStub* stub = skeleton.add_stubs();
    stub->set_ref(info.ref);
    stub->set_type(static_cast<pb::ValueType>(info.type));
    stub->set_scale(info.scale);
    stub->set_clock(info.clock);
    stub->set_first_ordinal(info.first_ordinal);
    stub->set_count(info.count);
    stub->set_root(roots[i].data(), roots[i].size());
  }
  const std::string body = skeleton.SerializeAsString();
  if (body.size() > kRecordBodyBytesMax) return fail(ErrorCode::kFull, "a skeleton larger than a record");
  append_record(out, static_cast<uint8_t>(SegmentRecord::kSkeleton), raw(body));
  return {};
}

size_t append_merged(std::vector<std::byte>& out, const std::string& device, std::span<const uint8_t> block) {
  pb::Merged merged;
  merged.set_device(device);
  merged.set_block(block.data(), block.size());
  const std::string body = merged.SerializeAsString();
  append_record(out, static_cast<uint8_t>(SegmentRecord::kMerged), raw(body));
  return out.size() - block.size();  // the block is the last field
}

void append_replaces(std::vector<std::byte>& out, std::span<const uint64_t> numbers) {
  std::vector<std::byte> body;
  put_u64(body, numbers.size());
  for (const uint64_t number : numbers) put_u64(body, number);
  append_record(out, static_cast<uint8_t>(SegmentRecord::kReplaces), body);
}

void append_end(std::vector<std::byte>& out, const EndRecord& end) {
  std::vector<std::byte> body;
  put_u64(body, end.records);
  put_u64(body, end.bytes);
  append_record(out, static_cast<uint8_t>(SegmentRecord::kEnd), body);
}

}  // namespace lambda::gateway
