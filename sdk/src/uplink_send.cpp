// What the uplink sends when: lanes, window, parcels that wait.
#include "expect.h"
#include "lambda/uplink.h"
#include "varint.h"

namespace lambda {
namespace {

using State = UplinkParcel::State;

constexpr int64_t kIdleMs = 60'000;
constexpr int64_t kPublishAgainMs = 20;  // after the transport took no more
constexpr size_t kPeekStepsMax = 4096;

size_t index_of(Lane lane) {
  return kUplinkLanes > 1 && lane == Lane::kBacklog ? 1 : 0;
}
bool in_window(State state) {
  return state == State::kInFlight || state == State::kResend;
}

}  // namespace

LAMBDA_ONE_COPY int64_t UplinkMachine::tick(int64_t now_ms) {
  advance(now_ms);
  blocked_ = false;
  if (connected_) {
    if (clock_ms_ >= rescan_ms_) {
      // The safety net: whatever was passed over comes up again.
      boots_stale_ = true;
      rescan_ms_ = clock_ms_ + options_.answer_timeout_ms_max;
      rewind_if(exhausted_);
    }
    if (boots_stale_) refresh_boots();
    check_timeouts();
    say_hellos();
    send_due();
    say_hellos();  // of boots the lanes came upon
  }
  const int64_t wait_ms = wake_ms() - clock_ms_;
  return now_ms > INT64_MAX - wait_ms ? INT64_MAX : now_ms + wait_ms;
}

int64_t UplinkMachine::wake_ms() const {
  int64_t due = clock_ms_ + kIdleMs;
  if (!connected_) return due;
  const auto at = [&](int64_t ms) {
    if (ms < due) due = ms;
  };
  at(rescan_ms_);
  if (blocked_) at(clock_ms_ + kPublishAgainMs);
  for (const Boot& slot : boots_) {
    if (slot.state == Boot::State::kToAsk || slot.state == Boot::State::kAsked) at(slot.at_ms);
    if (slot.state != Boot::State::kReady) continue;
    const UplinkParcel* parcel = nullptr;
    while ((parcel = next_of(slot.boot, parcel)) != nullptr) {
      if (parcel->state == State::kInFlight) at(parcel->at_ms + slot.wait_ms);
      // One whose time has come already waits for room in the window, not for time.
      if (parcel->state == State::kWaiting && parcel->at_ms > clock_ms_) at(parcel->at_ms);
    }
  }
  if (used_ == table_.size() && forget_ms_ > clock_ms_) at(forget_ms_);
  return due > clock_ms_ ? due : clock_ms_ + 1;
}

void UplinkMachine::rewind(Lane lane) {
  cursor_[index_of(lane)] = ParcelKey();
  passed_over_[index_of(lane)] = false;
}

void UplinkMachine::rewind_if(const bool (&lanes)[kUplinkLanes]) {
  for (size_t i = 0; i < kUplinkLanes; ++i) {
    if (lanes[i]) rewind(static_cast<Lane>(i));
  }
}

bool UplinkMachine::publish(std::span<const uint8_t> message) {
  if (blocked_ || !port_.publish_up(port_.context, message)) blocked_ = true;
  return !blocked_;
}

// ---- The table

UplinkParcel* UplinkMachine::next_of(uint64_t boot, const UplinkParcel* after) const {
  if (used_ == 0) return nullptr;
  for (size_t i = after == nullptr ? 0 : static_cast<size_t>(after - table_.data()) + 1; i < table_.size(); ++i) {
    UplinkParcel& parcel = table_[i];
    if (parcel.state != State::kFree && parcel.key.boot == boot) return &parcel;
  }
  return nullptr;
}

UplinkParcel* UplinkMachine::find_parcel(ParcelKey key) {
  UplinkParcel* parcel = next_of(key.boot, nullptr);
  while (parcel != nullptr && parcel->key.seq != key.seq) parcel = next_of(key.boot, parcel);
  return parcel;
}

// Whether its boot may be sent.
bool UplinkMachine::ready(const UplinkParcel& parcel) {
  const Boot* slot = find_boot(parcel.key.boot);
  return slot != nullptr && slot->state == Boot::State::kReady;
}

// A free place. When all are taken, half of them wait after NACKs: now and then the one that would wait longest is
// forgotten, so that a handful of parcels no gateway will take cannot stop all others. The rescan finds it again.
UplinkParcel* UplinkMachine::new_parcel() {
  UplinkParcel* last = nullptr;
  for (UplinkParcel& parcel : table_) {
    if (parcel.state == State::kFree) return &parcel;
    if (parcel.state == State::kWaiting && (last == nullptr || parcel.at_ms > last->at_ms)) last = &parcel;
  }
  if (last == nullptr || clock_ms_ < forget_ms_) return nullptr;
  forget_ms_ = clock_ms_ + options_.answer_timeout_ms;
  ++counters_.retries_forgotten;
  free_parcel(last);
  return last;
}

void UplinkMachine::set_state(UplinkParcel* parcel, State state) {
  const size_t lane = index_of(parcel->lane);
  if (in_window(parcel->state)) {
    parcels_[lane] -= 1;
    bytes_[lane] -= parcel->weight;
  }
  if (in_window(state)) {
    parcels_[lane] += 1;
    bytes_[lane] += parcel->weight;
  }
  if (parcel->state == State::kFree && state != State::kFree) ++used_;
  if (parcel->state != State::kFree && state == State::kFree) --used_;
  parcel->state = state;
  if (state == State::kFree) *parcel = UplinkParcel();
}

// ---- Sending

UplinkMachine::Sent UplinkMachine::transmit(UplinkParcel* parcel) {
  const std::span<const uint8_t> message = shelf_.read(parcel->key);
  if (message.empty()) {
    free_parcel(parcel);
    return Sent::kGone;
  }
  if (!publish(message)) return Sent::kBlocked;
  parcel->again = parcel->state != State::kFree;
  set_state(parcel, State::kInFlight);
  parcel->at_ms = clock_ms_;
  return Sent::kYes;
}

void UplinkMachine::send_due() {
  if (used_ > 0) {
    for (UplinkParcel& parcel : table_) {
      if (parcel.state != State::kResend || !ready(parcel)) continue;
      const Sent sent = transmit(&parcel);
      if (sent == Sent::kBlocked) return;
      if (sent == Sent::kYes) ++counters_.parcels_resent;
    }
    for (size_t i = 0; i < kUplinkLanes; ++i) send_held(static_cast<Lane>(i));
  }
  send_new();
}

// Those whose wait after a NACK is over, the longest overdue first.
void UplinkMachine::send_held(Lane lane) {
  while (!blocked_) {
    UplinkParcel* first = nullptr;
    for (UplinkParcel& parcel : table_) {
      if (parcel.state != State::kWaiting || index_of(parcel.lane) != index_of(lane) || parcel.at_ms > clock_ms_ ||
          !ready(parcel)) {
        continue;
      }
      if (first == nullptr || parcel.at_ms < first->at_ms) first = &parcel;
    }
    if (first == nullptr || !room(lane, first->weight, Candidate())) return;
    if (transmit(first) == Sent::kYes) ++counters_.parcels_resent;
  }
}

void UplinkMachine::send_new() {
  while (!blocked_) {
    const Candidate fresh = peek(Lane::kFresh);
    const Candidate backlog = kUplinkLanes > 1 ? peek(Lane::kBacklog) : Candidate();
    Lane lane = Lane::kFresh;
    if (!fresh.found || !room(Lane::kFresh, fresh.weight, backlog)) {
      // While something fresh waits for room, the backlog does not take what the next acks free.
      const bool its_turn = !fresh.found || parcels_[kUplinkLanes - 1] == 0;
      if (kUplinkLanes == 1 || !backlog.found || !its_turn || !room(Lane::kBacklog, backlog.weight, backlog)) return;
      lane = Lane::kBacklog;
    }
    const Candidate& next = lane == Lane::kFresh ? fresh : backlog;
    UplinkParcel* parcel = new_parcel();
    if (parcel == nullptr) return;
    parcel->key = next.key;
    parcel->weight = next.weight;
    parcel->lane = lane;
    parcel->tries = 0;
    switch (transmit(parcel)) {
      case Sent::kBlocked:
        *parcel = UplinkParcel();
        return;
      case Sent::kYes:
        ++counters_.parcels_sent;
        break;
      case Sent::kGone:
        break;
    }
    cursor_[index_of(lane)] = next.key;
  }
}

// The lane's next parcel that is not in hand and whose boot may be sent. Boots that may not yet are passed over (their
// answer rewinds the lanes) and get their place among the asked ones if there is one.
UplinkMachine::Candidate UplinkMachine::peek(Lane lane) {
  ParcelKey* cursor = &cursor_[index_of(lane)];
  exhausted_[index_of(lane)] = false;
  for (size_t step = 0; step < kPeekStepsMax; ++step) {
    ParcelKey key;
    size_t bytes = 0;
    if (!shelf_.next(lane, *cursor, &key, &bytes) || key.seq == 0 || key == *cursor) {
      exhausted_[index_of(lane)] = true;
      return {};
    }
    Boot* slot = find_boot(key.boot);
    if (slot == nullptr) slot = claim_boot(key.boot, lane == Lane::kFresh);
    if (slot != nullptr && lane == Lane::kFresh) slot->fresh = true;
    if (slot == nullptr || slot->state != Boot::State::kReady) {
      *cursor = ParcelKey{key.boot, UINT64_MAX};
      passed_over_[index_of(lane)] = true;
      continue;
    }
    if (find_parcel(key) == nullptr) {
      const uint32_t half = options_.window_bytes_max / 2;
      return {true, key, bytes > half ? half : static_cast<uint32_t>(bytes)};
    }
    *cursor = key;
  }
  return {};
}

// Whether a parcel of this weight may go now. `backlog` is the backlog's next one: as long as nothing of the backlog is
// in flight, its place is kept free.
bool UplinkMachine::room(Lane lane, uint32_t weight, const Candidate& backlog) const {
  const size_t parcels_max = options_.window_parcels_max;
  const size_t bytes_max = options_.window_bytes_max;
  size_t parcels = in_flight_parcels() + 1;
  size_t bytes = in_flight_bytes() + weight;
  if constexpr (kUplinkLanes == 1) return parcels <= parcels_max && bytes <= bytes_max;
  const size_t behind = parcels_[kUplinkLanes - 1];
  if (lane == Lane::kFresh && backlog.found && behind == 0) {
    parcels += 1;
    bytes += backlog.weight;
  }
  if (parcels > parcels_max || bytes > bytes_max) return false;
  if (lane == Lane::kFresh || behind == 0) return true;
  return behind < share_.parcels() && bytes_[kUplinkLanes - 1] + weight <= bytes_max - bytes_max / 4;
}

}  // namespace lambda
