// What the uplink sends when: lanes, window, parcels that wait.
#include "expect.h"
#include "lambda/uplink.h"
#include "varint.h"

namespace lambda {
namespace {

using State = UplinkParcel::State;

constexpr uint32_t kIdleMs = 60'000;
constexpr uint32_t kPublishAgainMs = 20;  // after the transport took no more
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
    if (rescan_ms_ == 0) {
      // The safety net: whatever was passed over comes up again.
      boots_stale_ = true;
      rescan_ms_ = options_.answer_timeout_ms_max;
      rewind_if(exhausted_);
    }
    if (boots_stale_) refresh_boots();
    check_timeouts();
    say_hellos();
    send_due();
    say_hellos();  // of boots the lanes came upon
  }
  const auto wake_at_ms = static_cast<int64_t>(static_cast<uint64_t>(now_ms) + wake_ms());
  return wake_at_ms < now_ms ? INT64_MAX : wake_at_ms;
}

// How long there is nothing to do.
uint32_t UplinkMachine::wake_ms() {
  if (!connected_) return kIdleMs;
  int32_t due = blocked_ ? kPublishAgainMs : kIdleMs;
  const auto in = [&](auto ms) {
    if (static_cast<int32_t>(ms) < due) due = static_cast<int32_t>(ms);
  };
  in(rescan_ms_);
  for (const Boot& slot : boots_) {
    if (slot.state == Boot::State::kToAsk || slot.state == Boot::State::kAsked) in(slot.left_ms);
  }
  for (const UplinkParcel& parcel : table_) {
    const bool in_flight = parcel.state == State::kInFlight;
    // One whose time has come already waits for room in the window, not for time.
    if (!in_flight && (parcel.state != State::kWaiting || parcel.ms >= 0)) continue;
    if (const Boot* const slot = ready_boot(parcel); slot != nullptr) {
      in((in_flight ? static_cast<int32_t>(slot->wait_ms) : 0) - parcel.ms);
    }
  }
  if (used_ == table_.size() && forget_ms_ > 0) in(forget_ms_);
  return due > 0 ? static_cast<uint32_t>(due) : 1;
}

void UplinkMachine::rewind(Lane lane) {
  cursor_[index_of(lane)].seq = 0;
  passed_over_[index_of(lane)] = false;
}

void UplinkMachine::rewind_if(const bool (&lanes)[kUplinkLanes]) {
  for (size_t i = 0; i < kUplinkLanes; ++i) {
    if (lanes[i]) rewind(static_cast<Lane>(i));
  }
}

bool UplinkMachine::publish(std::span<const uint8_t> message) {
  blocked_ = !port_.publish_up(port_.context, message);
  return !blocked_;
}

// ---- The table

UplinkParcel* UplinkMachine::next_of(UplinkParcel* after, uint64_t boot) const {
  if (used_ == 0) return nullptr;
  UplinkParcel* const end = table_.data() + table_.size();
  for (UplinkParcel* parcel = after == nullptr ? table_.data() : after + 1; parcel != end; ++parcel) {
    if (parcel->state != State::kFree && parcel->key.boot == boot) return parcel;
  }
  return nullptr;
}

UplinkParcel* UplinkMachine::find_parcel(ParcelKey key) {
  UplinkParcel* parcel = nullptr;
  do {
    parcel = next_of(parcel, key.boot);
  } while (parcel != nullptr && parcel->key.seq != key.seq);
  return parcel;
}

// Its boot, if that may be sent.
LAMBDA_ONE_COPY UplinkMachine::Boot* UplinkMachine::ready_boot(const UplinkParcel& parcel) {
  Boot* slot = find_boot(parcel.key.boot);
  return slot != nullptr && slot->state == Boot::State::kReady ? slot : nullptr;
}

// A free place. When all are taken, half of them wait after NACKs: now and then the one that would wait longest is
// forgotten, so that a handful of parcels no gateway will take cannot stop all others. The rescan finds it again.
UplinkParcel* UplinkMachine::new_parcel() {
  UplinkParcel* last = nullptr;
  for (UplinkParcel& parcel : table_) {
    if (parcel.state == State::kFree) return &parcel;
    if (parcel.state == State::kWaiting && (last == nullptr || parcel.ms < last->ms)) last = &parcel;
  }
  if (last == nullptr || forget_ms_ > 0) return nullptr;
  forget_ms_ = options_.answer_timeout_ms;
  ++counters_.retries_forgotten;
  free_parcel(last);
  return last;
}

void UplinkMachine::set_state(UplinkParcel* parcel, State state) {
  count(*parcel, -1);
  parcel->state = state;
  count(*parcel, 1);
}

// What the parcel takes in the state it has, added `by` times: what is taken off again wraps.
void UplinkMachine::count(const UplinkParcel& parcel, int by) {
  if (parcel.state == State::kFree) return;
  used_ += static_cast<size_t>(by);
  if (!in_window(parcel.state)) return;
  const size_t lane = index_of(parcel.lane);
  parcels_[lane] += static_cast<uint32_t>(by);
  bytes_[lane] += static_cast<uint32_t>(by) * parcel.weight;
}

// ---- Sending

// Sends it if it is still there. The transport is not blocked.
void UplinkMachine::transmit(UplinkParcel* parcel) {
  const std::span<const uint8_t> message = shelf_.read(parcel->key);
  if (message.empty()) {
    free_parcel(parcel);
    return;
  }
  if (!publish(message)) return;
  parcel->again = parcel->state != State::kFree;
  ++(parcel->again ? counters_.parcels_resent : counters_.parcels_sent);
  set_state(parcel, State::kInFlight);
  parcel->ms = 0;
}

void UplinkMachine::send_due() {
  if (blocked_) return;
  if (used_ > 0) {
    for (UplinkParcel& parcel : table_) {
      if (parcel.state != State::kResend || ready_boot(parcel) == nullptr) continue;
      transmit(&parcel);
      if (blocked_) return;
    }
    for (size_t i = 0; i < kUplinkLanes; ++i) send_held(static_cast<Lane>(i));
  }
  send_new();
}

// Those whose wait after a NACK is over, the longest overdue first.
void UplinkMachine::send_held(Lane lane) {
  while (!blocked_) {
    UplinkParcel* first = nullptr;
    int32_t overdue_ms = -1;
    for (UplinkParcel& parcel : table_) {
      if (parcel.state != State::kWaiting || index_of(parcel.lane) != index_of(lane) || parcel.ms <= overdue_ms ||
          ready_boot(parcel) == nullptr) {
        continue;
      }
      first = &parcel;
      overdue_ms = parcel.ms;
    }
    if (first == nullptr || !room(lane, first->weight, nullptr)) return;
    transmit(first);
  }
}

void UplinkMachine::send_new() {
  while (!blocked_) {
    Candidate fresh, behind;
    const bool any_fresh = peek(Lane::kFresh, &fresh);
    const bool any_behind = kUplinkLanes > 1 && peek(Lane::kBacklog, &behind);
    Lane lane = Lane::kFresh;
    if (!any_fresh || !room(Lane::kFresh, fresh.weight, any_behind ? &behind : nullptr)) {
      // While something fresh waits for room, the backlog does not take what the next acks free.
      const bool its_turn = !any_fresh || parcels_[kUplinkLanes - 1] == 0;
      if (!any_behind || !its_turn || !room(Lane::kBacklog, behind.weight, nullptr)) return;
      lane = Lane::kBacklog;
    }
    const Candidate& next = lane == Lane::kFresh ? fresh : behind;
    UplinkParcel* parcel = new_parcel();
    if (parcel == nullptr) return;
    parcel->key = next.key;
    parcel->weight = next.weight;
    parcel->lane = lane;
    parcel->tries = 0;
    transmit(parcel);
    if (blocked_) return;
    cursor_[index_of(lane)] = next.key;
  }
}

// The lane's next parcel that is not in hand and whose boot may be sent; false: none. Boots that may not yet are passed
// over (their answer rewinds the lanes) and get their place among the asked ones if there is one.
bool UplinkMachine::peek(Lane lane, Candidate* next) {
  ParcelKey& cursor = cursor_[index_of(lane)];
  exhausted_[index_of(lane)] = false;
  ParcelKey& key = next->key;
  for (size_t step = 0; step < kPeekStepsMax; ++step) {
    size_t bytes = 0;
    const bool any = shelf_.next(lane, cursor, &key, &bytes);
    // A shelf that gives the same one again would be asked for ever; a device's, the only one with one lane, does not.
    if (!any || (kUplinkLanes > 1 && key == cursor)) {
      exhausted_[index_of(lane)] = true;
      return false;
    }
    Boot* slot = find_boot(key.boot);
    if (slot == nullptr) slot = claim_boot(lane == Lane::kFresh, key.boot);
    if (slot != nullptr && lane == Lane::kFresh) slot->fresh = true;
    if (slot == nullptr || slot->state != Boot::State::kReady) {
      key.seq = UINT64_MAX;  // on to the next boot
      passed_over_[index_of(lane)] = true;
    } else if (find_parcel(key) == nullptr) {
      const uint32_t half = options_.window_bytes_max / 2;
      next->weight = bytes > half ? half : static_cast<uint32_t>(bytes);
      return true;
    }
    cursor = key;
  }
  return false;
}

// Whether a parcel of this weight may go now. `backlog` is the backlog's next one, if any: as long as nothing of the
// backlog is in flight, its place is kept free.
bool UplinkMachine::room(Lane lane, uint32_t weight, const Candidate* backlog) const {
  const size_t parcels_max = options_.window_parcels_max;
  const size_t bytes_max = options_.window_bytes_max;
  size_t parcels = in_flight_parcels() + 1;
  size_t bytes = in_flight_bytes() + weight;
  if constexpr (kUplinkLanes == 1) return parcels <= parcels_max && bytes <= bytes_max;
  const size_t behind = parcels_[kUplinkLanes - 1];
  if (lane == Lane::kFresh && backlog != nullptr && behind == 0) {
    parcels += 1;
    bytes += backlog->weight;
  }
  if (parcels > parcels_max || bytes > bytes_max) return false;
  if (lane == Lane::kFresh || behind == 0) return true;
  return behind < share_.parcels() && bytes_[kUplinkLanes - 1] + weight <= bytes_max - bytes_max / 4;
}

}  // namespace lambda
