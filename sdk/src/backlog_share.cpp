#include "lambda/backlog_share.h"

namespace lambda {
namespace {

constexpr uint32_t kStartParcels = 4;
constexpr int64_t kPeriodMs = 600'000;
constexpr uint32_t kUnknown = UINT32_MAX;

uint32_t least(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

}  // namespace

BacklogShare::BacklogShare(uint32_t parcels_max)
    : parcels_max_(parcels_max < 1 ? 1 : least(parcels_max, kBacklogParcelsMax)) {
  begin(0);
}

void BacklogShare::begin(int64_t now_ms) {
  parcels_ = least(kStartParcels, parcels_max_);
  quick_ = 0;
  least_ms_[0] = least_ms_[1] = kUnknown;
  period_ms_ = shrunk_ms_ = now_ms;
  starting_ = true;
}

uint32_t BacklogShare::path_ms() const {
  return least(least(least_ms_[0], least_ms_[1]), kBacklogPathMsMax);
}

void BacklogShare::note(uint32_t took_ms, int64_t now_ms) {
  if (now_ms - period_ms_ >= kPeriodMs) {
    period_ms_ = now_ms;
    least_ms_[1] = least_ms_[0];
    least_ms_[0] = kUnknown;
  }
  least_ms_[0] = least(least_ms_[0], took_ms);
}

void BacklogShare::shrink_to(uint32_t parcels, int64_t now_ms) {
  starting_ = false;
  quick_ = 0;
  shrunk_ms_ = now_ms;
  if (parcels >= parcels_) parcels = parcels_ - 1;
  if (parcels < 1) parcels = 1;
  if (parcels < parcels_) ++shrunk_;
  parcels_ = parcels;
}

void BacklogShare::answered(int64_t sent_ms, int64_t now_ms, bool used) {
  if (sent_ms > now_ms) return;
  const int64_t passed = now_ms - sent_ms;
  const uint32_t took_ms = passed < INT32_MAX ? static_cast<uint32_t>(passed) : INT32_MAX;
  note(took_ms, now_ms);
  if (sent_ms < shrunk_ms_) return;
  const uint32_t path = path_ms();
  const uint32_t in_line_ms = took_ms > path ? took_ms - path : 0;
  if (in_line_ms > kBacklogDelayMs) {
    // As many as would just wait so long; not below half at once, for one slow sync of a disk says little.
    const uint32_t fitting = parcels_ * kBacklogDelayMs / in_line_ms;
    shrink_to(fitting > parcels_ / 2 ? fitting : parcels_ / 2, now_ms);
    return;
  }
  // Between half of it and all of it the share stays: else it would swing.
  if (!used || parcels_ == parcels_max_ || in_line_ms > kBacklogDelayMs / 2) return;
  if (!starting_ && ++quick_ < parcels_) return;
  quick_ = 0;
  ++parcels_;
}

void BacklogShare::refused(int64_t sent_ms, int64_t now_ms) {
  if (sent_ms < shrunk_ms_) return;
  shrink_to(parcels_ / 2, now_ms);
}

}  // namespace lambda
