#include "boards/firmware/device_clock.h"

#include <string.h>

namespace lambda::boards {
namespace {

constexpr int64_t kSaveEveryMs = 600'000;
constexpr int64_t kLatestMs = 253'402'300'800'000;  // the year 10000: nothing saved is later

// What is saved: the time twice, the second time inverted, so that an empty or half-written place is noticed.
struct Saved {
  int64_t utc_ms;
  int64_t inverted;
};

}  // namespace

DeviceClock::DeviceClock(const Board& board, int64_t built_s) : board_(board), floor_ms_(built_s * 1000) {
  Saved saved;
  uint8_t bytes[sizeof saved];
  if (!board_.load(board_.context, bytes, sizeof bytes)) return;
  memcpy(&saved, bytes, sizeof saved);
  if (saved.inverted == ~saved.utc_ms && saved.utc_ms > floor_ms_ && saved.utc_ms < kLatestMs) floor_ms_ = saved.utc_ms;
}

bool DeviceClock::utc_ms(int64_t* utc_ms) const {
  if (board_.utc_ms != nullptr && board_.utc_ms(board_.context, utc_ms) && *utc_ms >= floor_ms_) return true;
  if (!learned_) return false;
  *utc_ms = board_.mono_ms(board_.context) + offset_ms_;
  return true;
}

int64_t DeviceClock::now_s() const {
  int64_t known_ms = 0;
  return (utc_ms(&known_ms) ? known_ms : floor_ms_) / 1000;
}

bool DeviceClock::learn(int64_t utc_ms) {
  if (utc_ms < floor_ms_ || utc_ms > kLatestMs) return false;
  offset_ms_ = utc_ms - board_.mono_ms(board_.context);
  learned_ = true;
  return true;
}

void DeviceClock::save_when_due() {
  Saved saved;
  const int64_t mono = board_.mono_ms(board_.context);
  if (mono < save_due_ms_ || !utc_ms(&saved.utc_ms)) return;
  save_due_ms_ = mono + kSaveEveryMs;
  saved.inverted = ~saved.utc_ms;
  uint8_t bytes[sizeof saved];
  memcpy(bytes, &saved, sizeof saved);
  board_.save(board_.context, bytes, sizeof bytes);
}

// The era of 400 years begins on a 1 March, so that the leap day is the last of its year.
int64_t days_of(int64_t year, uint32_t month, uint32_t day) {
  const int64_t shifted = month <= 2 ? year - 1 : year;
  const int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
  const int64_t year_of_era = shifted - era * 400;
  const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

void date_of(int64_t days, int64_t* year, uint32_t* month, uint32_t* day) {
  days += 719'468;
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const int64_t day_of_era = days - era * 146'097;
  const int64_t year_of_era = (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t shifted_month = (5 * day_of_year + 2) / 153;
  *day = static_cast<uint32_t>(day_of_year - (153 * shifted_month + 2) / 5 + 1);
  *month = static_cast<uint32_t>(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
  *year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

}  // namespace lambda::boards
