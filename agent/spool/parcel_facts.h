// What a parcel holds, read from its bytes: which ordinals, gaps and declarations. The same code looks at a parcel when
// it is spooled, when the spool is read again, and when a parcel is given up. Copies nothing but small things.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "agent/spool/gap_set.h"
#include "agent/spool/series_table.h"
#include "base/crypto/crypto.h"
#include "base/result.h"

namespace lambda::agent {

struct ParcelFacts {
  uint64_t boot = 0;
  uint64_t seq = 0;
  int64_t created_ms = 0;
  uint64_t points = 0;
  std::vector<Run> runs;                                 // of its blocks
  std::vector<Gap> gaps;                                 // that it names
  std::vector<std::span<const std::byte>> declarations;  // views into the parcel

  // Puts its declarations into the boot's table and marks them as declared. kInvalid: one disagrees.
  Status declare_into(SeriesTable& table) const;
};

// `parcel` is a Parcel message without the Up around it. kCorrupt names what is wrong.
Result<ParcelFacts> parse_parcel(std::span<const std::byte> parcel);

// Visits the bytes of each block in a parcel, in order.
void for_each_block(std::span<const std::byte> parcel, const std::function<void(std::span<const std::byte>)>& visit);

struct SpooledView {
  std::span<const std::byte> parcel;
  Digest digest{};
  uint64_t points = 0;
  uint64_t boot = 0;
  uint64_t seq = 0;
};
// The body of a SpooledParcel record, without a look at its blocks.
Result<SpooledView> parse_spooled(std::span<const std::byte> body);
void append_spooled(std::vector<std::byte>& out, std::span<const std::byte> parcel, const Digest& digest,
                    uint64_t points);

// The Up message around a parcel, and the parcel inside an Up message.
void append_up(std::vector<uint8_t>& out, std::span<const std::byte> parcel);
Result<std::span<const std::byte>> parcel_in_up(std::span<const uint8_t> up);

}  // namespace lambda::agent
