// Words of proto/snapshot.md that both who writes and who reads a snapshot needs.
#pragma once

#include <stdint.h>

namespace lambda {

enum class SnapshotTag : uint8_t {
  kEnd = 0,
  kBoot = 1,
  kSeries = 2,
  kClock = 3,
  kGap = 4,
  kParcel = 5,
  kBlock = 6,
  kThinned = 7
};
enum class NoteTag : uint8_t { kBegan = 1, kMade = 2 };

namespace snapshot_flag {
inline constexpr uint8_t kHasDigest = 1;  // of a boot
inline constexpr uint8_t kNeeded = 2;
inline constexpr uint8_t kHasLast = 1;   // of a series
inline constexpr uint8_t kRelative = 1;  // of a clock
inline constexpr uint8_t kKnown = 2;
inline constexpr uint8_t kToSend = 4;
}  // namespace snapshot_flag

inline constexpr uint8_t kParcelHeld = 1;
inline constexpr uint8_t kParcelRefused = 2;
inline constexpr uint8_t kBlockUnsent = 0;
inline constexpr uint8_t kBlockSettled = 1;  // in a parcel, or settled: to be read only

}  // namespace lambda
