#include "agent/spool/parcel_facts.h"

#include <algorithm>
#include <cstring>

#include "lambda/block.h"
#include "proto/lambda.pb.h"

namespace lambda::agent {
namespace {

// Protocol Buffers' wire format, as far as a walk over the fields of one message needs it.
class Fields {
 public:
  explicit Fields(std::span<const std::byte> message) : rest_(message) {}

  uint32_t number = 0;
  uint64_t value = 0;                // varint, fixed32, fixed64
  std::span<const std::byte> bytes;  // length-delimited

  // False at the end or at the first wrong byte; broken() tells which.
  bool next() {
    if (rest_.empty()) return false;
    broken_ = true;
    uint64_t tag = 0;
    if (!varint(&tag) || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) return false;
    number = static_cast<uint32_t>(tag >> 3);
    bytes = {};
    value = 0;
    switch (tag & 7) {
      case 0:
        if (!varint(&value)) return false;
        break;
      case 1:
        if (!fixed(8)) return false;
        break;
      case 2:
        if (!varint(&value) || value > rest_.size()) return false;
        bytes = rest_.first(static_cast<size_t>(value));
        rest_ = rest_.subspan(static_cast<size_t>(value));
        break;
      case 5:
        if (!fixed(4)) return false;
        break;
      default:
        return false;
    }
    broken_ = false;
    return true;
  }
  bool broken() const { return broken_; }

 private:
  bool varint(uint64_t* out) {
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 70 && !rest_.empty(); shift += 7) {
      const auto next = static_cast<uint8_t>(rest_[0]);
      rest_ = rest_.subspan(1);
      if (shift == 63 && next > 1) return false;
      result |= static_cast<uint64_t>(next & 0x7F) << shift;
      if (next < 0x80) {
        *out = result;
        return true;
      }
    }
    return false;
  }
  bool fixed(size_t size) {
    if (rest_.size() < size) return false;
    for (size_t i = 0; i < size; ++i) value |= static_cast<uint64_t>(rest_[i]) << (8 * i);
    rest_ = rest_.subspan(size);
    return true;
  }

  std::span<const std::byte> rest_;
  bool broken_ = false;
};

tl::unexpected<Error> corrupt(const char* what) {
  return fail(ErrorCode::kCorrupt, std::string("parcel: ") + what);
}

template <class Byte>
void put_varint(std::vector<Byte>& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<Byte>(value | 0x80));
  out.push_back(static_cast<Byte>(value));
}

constexpr uint64_t kOrdinalMax = uint64_t{1} << 62;
bool sound(const Run& run) {
  return run.count > 0 && run.first < kOrdinalMax && run.count < kOrdinalMax - run.first && run.ref < (1u << 20);
}

}  // namespace

Status ParcelFacts::declare_into(SeriesTable& table) const {
  for (const auto bytes : declarations) {
    v1::Declaration declaration;
    if (!declaration.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return fail(ErrorCode::kInvalid, "parcel: not a Declaration");
    }
    if (auto status = table.put(declaration); !status) return status;
    table.at(declaration.ref()).declared = true;
  }
  return {};
}

Result<ParcelFacts> parse_parcel(std::span<const std::byte> parcel) {
  ParcelFacts facts;
  Fields fields(parcel);
  while (fields.next()) {
    if (fields.number == 4) facts.boot = fields.value;
    if (fields.number == 5) facts.seq = fields.value;
    if (fields.number == 6) facts.created_ms = static_cast<int64_t>(fields.value >> 1 ^ (0 - (fields.value & 1)));
    if (fields.number == 8) facts.declarations.push_back(fields.bytes);
    if (fields.number == 9) {
      BlockReader reader;
      const BlockStatus status =
          reader.open({reinterpret_cast<const uint8_t*>(fields.bytes.data()), fields.bytes.size()}, facts.boot);
      if (!status.ok()) return corrupt(block_error_name(status.error));
      const BlockInfo& info = reader.info();
      const Run run{info.ref, info.first_ordinal, info.count};
      if (!sound(run)) return corrupt("a block's ordinals");
      facts.runs.push_back(run);
      facts.points += info.count;
    }
    if (fields.number == 10) {
      v1::Gap gap;
      if (!gap.ParseFromArray(fields.bytes.data(), static_cast<int>(fields.bytes.size()))) return corrupt("a gap");
      const Gap named{{gap.ref(), gap.first_ordinal(), gap.count()}, static_cast<GapReason>(gap.reason())};
      if (!sound(named.run)) return corrupt("a gap's ordinals");
      facts.gaps.push_back(named);
    }
  }
  if (fields.broken()) return corrupt("not a message");
  if (facts.boot == 0 || facts.seq == 0 || facts.seq >= kOrdinalMax) return corrupt("no boot or seq");
  return facts;
}

void for_each_block(std::span<const std::byte> parcel, const std::function<void(std::span<const std::byte>)>& visit) {
  Fields fields(parcel);
  while (fields.next()) {
    if (fields.number == 9) visit(fields.bytes);
  }
}

Result<SpooledView> parse_spooled(std::span<const std::byte> body) {
  SpooledView view;
  Fields fields(body);
  bool digest = false;
  while (fields.next()) {
    if (fields.number == 1) view.parcel = fields.bytes;
    if (fields.number == 2 && fields.bytes.size() == view.digest.size()) {
      std::memcpy(view.digest.data(), fields.bytes.data(), view.digest.size());
      digest = true;
    }
    if (fields.number == 3) view.points = fields.value;
  }
  if (fields.broken() || !digest) return corrupt("not a SpooledParcel");
  Fields inner(view.parcel);
  while (view.seq == 0 && inner.next()) {
    if (inner.number == 4) view.boot = inner.value;
    if (inner.number == 5) view.seq = inner.value;
  }
  if (view.boot == 0 || view.seq == 0 || view.seq >= kOrdinalMax) return corrupt("no boot or seq");
  return view;
}

void append_spooled(std::vector<std::byte>& out, std::span<const std::byte> parcel, const Digest& digest,
                    uint64_t points) {
  put_varint(out, 1 << 3 | 2);
  put_varint(out, parcel.size());
  out.insert(out.end(), parcel.begin(), parcel.end());
  put_varint(out, 2 << 3 | 2);
  put_varint(out, digest.size());
  const auto bytes = std::as_bytes(std::span(digest));
  out.insert(out.end(), bytes.begin(), bytes.end());
  put_varint(out, 3 << 3 | 0);
  put_varint(out, points);
}

void append_up(std::vector<uint8_t>& out, std::span<const std::byte> parcel) {
  put_varint(out, 2 << 3 | 2);
  put_varint(out, parcel.size());
  const auto* first = reinterpret_cast<const uint8_t*>(parcel.data());
  out.insert(out.end(), first, first + parcel.size());
}

Result<std::span<const std::byte>> parcel_in_up(std::span<const uint8_t> up) {
  Fields fields(std::as_bytes(up));
  while (fields.next()) {
    if (fields.number == 2) return fields.bytes;
  }
  return corrupt("not an Up with a parcel");
}

}  // namespace lambda::agent
