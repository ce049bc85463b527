// The questions and answers of the uplink; what is sent when stands in uplink_send.cpp.
#include "lambda/uplink.h"

#include "expect.h"
#include "lambda/codecs.h"

namespace lambda {
namespace {

constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kGatewayForgottenMs = 600'000;
constexpr uint32_t kRetryMsMin = 100;
constexpr uint32_t kRetryMsMax = 600'000;
constexpr uint32_t kDeclareWaitMs = 500;
constexpr size_t kBootsScanMax = 65'536;  // a shelf that lists more has lost its mind

// FNV-1a: names are the site's own, nobody gains by making two collide.
uint32_t hash_of(std::string_view text) {
  uint32_t hash = 0x811c9dc5;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x01000193;
  return hash;
}

bool covers(const SeqRange& range, uint64_t seq) {
  return range.first <= seq && seq <= range.last;
}

// Ranges that touch the contiguous part lengthen it, so that a range left over never begins below 2.
uint64_t contiguous_of(const AckView& ack) {
  uint64_t contiguous = ack.contiguous_seq;
  for (size_t i = 0; i < ack.range_count; ++i) {
    const SeqRange& range = ack.ranges[i];
    if (range.last > contiguous && (range.first <= 1 || range.first - 1 <= contiguous)) contiguous = range.last;
  }
  return contiguous;
}

bool is_covered(const AckView& ack, uint64_t contiguous, uint64_t seq) {
  if (seq <= contiguous) return true;
  for (size_t i = 0; i < ack.range_count; ++i) {
    if (covers(ack.ranges[i], seq)) return true;
  }
  return false;
}

uint32_t clamp(uint32_t value, uint32_t low, uint32_t high) {
  return value < low ? low : value > high ? high : value;
}

UplinkOptions bounded(const UplinkOptions& options, size_t table_places) {
  const size_t places = table_places / 2 < kWindowParcelsMax ? table_places / 2 : kWindowParcelsMax;
  UplinkOptions out = options;
  out.window_parcels_max = clamp(options.window_parcels_max, 2, static_cast<uint32_t>(places));
  out.window_bytes_max = clamp(options.window_bytes_max, 2, 1u << 30);
  out.answer_timeout_ms = clamp(options.answer_timeout_ms, 1, 1u << 30);
  out.answer_timeout_ms_max = clamp(options.answer_timeout_ms_max, out.answer_timeout_ms, 1u << 30);
  return out;
}

uint32_t kept_for_fresh(uint32_t window_parcels) {
  return window_parcels / 4 > 1 ? window_parcels / 4 : 1;
}

}  // namespace

UplinkMachine::UplinkMachine(Shelf& shelf, UplinkPort port, const UplinkOptions& options, std::span<UplinkParcel> table)
    : shelf_(shelf),
      port_(port),
      options_(bounded(options, table.size())),
      table_(table),
      share_(options_.window_parcels_max - kept_for_fresh(options_.window_parcels_max)) {
  LAMBDA_EXPECT(table.size() >= 4);
}

// ---- Time

void UplinkMachine::advance(int64_t now_ms) {
  if (started_ && now_ms > last_now_ms_) {
    const uint64_t passed = static_cast<uint64_t>(now_ms) - static_cast<uint64_t>(last_now_ms_);
    clock_ms_ += passed > static_cast<uint64_t>(kDayMs) ? kDayMs : static_cast<int64_t>(passed);
  }
  started_ = true;
  last_now_ms_ = now_ms;
}

// The first wait is the timeout itself; later ones are spread over all of the doubled one, so that devices that lost
// the same gateway do not ask in step.
uint32_t UplinkMachine::wait_for(uint8_t tries) {
  const uint32_t least = options_.answer_timeout_ms;
  uint32_t most = least;
  for (; tries > 0 && most < options_.answer_timeout_ms_max; --tries) most *= 2;  // both are at most 2^30
  if (most > options_.answer_timeout_ms_max) most = options_.answer_timeout_ms_max;
  return least + random_to(most - least);
}

// 0 to `most`, in 32 bits: a device divides 64 by a routine that is longer than this file's largest function.
uint32_t UplinkMachine::random_to(uint32_t most) {
  return most == 0 ? 0 : static_cast<uint32_t>(port_.random(port_.context)) % (most + 1);
}

// ---- The connection

void UplinkMachine::connected(int64_t now_ms) {
  if (connected_) disconnected(now_ms);
  advance(now_ms);
  connected_ = true;
  answered_ = false;
  boots_stale_ = true;
  for (size_t i = 0; i < kUplinkLanes; ++i) rewind(static_cast<Lane>(i));
  share_.begin(clock_ms_);
  rescan_ms_ = clock_ms_ + options_.answer_timeout_ms_max;
}

// What was in flight may have arrived or not: the answer to the next hello tells. What waits after a NACK goes on
// waiting, so that a link that flaps does not undo a gateway's plea for time.
void UplinkMachine::disconnected(int64_t now_ms) {
  advance(now_ms);
  connected_ = false;
  answered_ = false;
  for (UplinkParcel& parcel : table_) {
    if (parcel.state == UplinkParcel::State::kInFlight || parcel.state == UplinkParcel::State::kResend) {
      free_parcel(&parcel);
    }
  }
  for (Boot& slot : boots_) slot = Boot();
}

void UplinkMachine::down(std::span<const uint8_t> message, int64_t now_ms) {
  advance(now_ms);
  DownMessage down;
  if (decode_down(message, &down) != MessageError::kNone) {
    ++counters_.answers_malformed;
    return;
  }
  if (down.body == DownMessage::Body::kAck) {
    take_ack(down.ack);
  } else {
    take_nack(down.nack);
  }
}

void UplinkMachine::interest(std::span<const uint8_t> message, int64_t now_ms) {
  advance(now_ms);
  InterestView interest;
  const MessageError error = decode_interest(message, &interest);
  if (error == MessageError::kEmpty) return;
  if (error != MessageError::kNone) {
    ++counters_.answers_malformed;
    return;
  }
  if (hear(interest.gateway, interest.incarnation)) ask_again_all(nullptr);
}

// ---- Boots and questions

UplinkMachine::Boot* UplinkMachine::find_boot(uint64_t boot) {
  for (Boot& slot : boots_) {
    if (slot.state != Boot::State::kFree && slot.boot == boot) return &slot;
  }
  return nullptr;
}

bool UplinkMachine::has_parcels(uint64_t boot) const {
  return next_of(boot, nullptr) != nullptr;
}

bool UplinkMachine::on_shelf(uint64_t boot) {
  uint64_t listed = 0;
  for (size_t i = 0; i < kBootsScanMax && shelf_.boot(i, &listed); ++i) {
    if (listed == boot) return true;
  }
  return false;
}

// A place for a boot that has none. What is fresh may take the place of an old boot of which nothing is under way.
UplinkMachine::Boot* UplinkMachine::claim_boot(uint64_t boot, bool fresh) {
  Boot* place = nullptr;
  for (Boot& slot : boots_) {
    if (slot.state == Boot::State::kFree) {
      place = &slot;
      break;
    }
    if (fresh && place == nullptr && !slot.fresh && !has_parcels(slot.boot)) place = &slot;
  }
  if (place == nullptr || place->state != Boot::State::kFree) boots_waiting_ = true;
  if (place == nullptr) return nullptr;
  *place = Boot();
  place->boot = boot;
  place->fresh = fresh;
  place->wait_ms = options_.answer_timeout_ms;
  ask(place, 0);
  return place;
}

void UplinkMachine::release_boot(Boot* slot) {
  while (UplinkParcel* const parcel = next_of(slot->boot, nullptr)) free_parcel(parcel);
  *slot = Boot();
}

// Brings the places in line with the boots on the shelf: those that are gone give theirs up.
void UplinkMachine::refresh_boots() {
  boots_stale_ = false;
  boots_waiting_ = false;
  peek(Lane::kFresh);  // boots of what is fresh get their places first
  bool seen[kUplinkBootsMax] = {};
  uint64_t wanted[kUplinkBootsMax];
  size_t wanted_count = 0;
  bool first_wanted = false;
  uint64_t boot = 0;
  for (size_t i = 0; i < kBootsScanMax && shelf_.boot(i, &boot); ++i) {
    const Boot* slot = find_boot(boot);
    if (slot != nullptr) {
      seen[slot - boots_] = true;
    } else if (wanted_count < kUplinkBootsMax) {
      first_wanted = first_wanted || i == 0;
      wanted[wanted_count++] = boot;
    } else {
      boots_waiting_ = true;
    }
  }
  for (Boot& slot : boots_) {
    if (slot.state != Boot::State::kFree && !seen[&slot - boots_]) release_boot(&slot);
  }
  for (size_t i = 0; i < wanted_count; ++i) {
    if (find_boot(wanted[i]) == nullptr) claim_boot(wanted[i], i == 0 && first_wanted);
  }
}

// Opens a question. Until it is answered nothing of the boot is sent, so that the answer speaks of everything that was.
void UplinkMachine::ask(Boot* slot, int64_t delay_ms) {
  slot->state = Boot::State::kToAsk;
  slot->at_ms = clock_ms_ + delay_ms;
  do {
    slot->nonce = port_.random(port_.context);
  } while (slot->nonce == 0);
}

void UplinkMachine::say_hellos() {
  for (Boot& slot : boots_) {
    if (blocked_) return;
    if (slot.state == Boot::State::kAsked && clock_ms_ >= slot.at_ms) {
      // The same question once more: a late answer to the first asking is as good, nothing was sent in between.
      ++counters_.timeouts;
      slot.state = Boot::State::kToAsk;
      slot.at_ms = clock_ms_;
    }
    if (slot.state != Boot::State::kToAsk || clock_ms_ < slot.at_ms) continue;
    const std::span<const uint8_t> hello = shelf_.hello(slot.boot, slot.nonce);
    if (hello.empty()) {
      release_boot(&slot);
      continue;
    }
    if (!publish(hello)) return;
    ++counters_.hellos_sent;
    slot.state = Boot::State::kAsked;
    slot.at_ms = clock_ms_ + wait_for(slot.tries);
    if (slot.tries < 255) ++slot.tries;
  }
}

void UplinkMachine::check_timeouts() {
  if (in_flight_parcels() == 0) return;
  for (const UplinkParcel& parcel : table_) {
    if (parcel.state != UplinkParcel::State::kInFlight) continue;
    Boot* slot = find_boot(parcel.key.boot);
    if (slot == nullptr || slot->state != Boot::State::kReady || clock_ms_ < parcel.at_ms + slot->wait_ms) continue;
    ++counters_.timeouts;
    if (kUplinkLanes > 1 && parcel.lane == Lane::kBacklog) share_.refused(parcel.at_ms, clock_ms_);
    ask(slot, 0);
  }
}

UplinkMachine::Gateway* UplinkMachine::find_gateway(std::string_view name) {
  const uint32_t name_hash = hash_of(name);
  for (Gateway& known : gateways_) {
    if (known.incarnation != 0 && known.name_hash == name_hash) return &known;
  }
  return nullptr;
}

// True when this start of this gateway was not known. The one before is remembered too: late messages of it are no
// news.
bool UplinkMachine::hear(std::string_view gateway, uint64_t incarnation) {
  if (incarnation == 0) return false;
  if (Gateway* const known = find_gateway(gateway); known != nullptr) {
    known->heard_ms = clock_ms_;
    if (known->incarnation == incarnation || known->incarnation_before == incarnation) return false;
    known->incarnation_before = known->incarnation;
    known->incarnation = incarnation;
    return true;
  }
  for (Gateway& place : gateways_) {
    if (place.incarnation != 0 && clock_ms_ - place.heard_ms < kGatewayForgottenMs) continue;
    place = Gateway{incarnation, 0, clock_ms_, hash_of(gateway), 0};
    return true;
  }
  return false;
}

// A gateway has begun anew: every boot asks, spread over a while, for all devices of a site hear of it at once. A first
// question that is on its way may have reached it, and is soon asked again if not.
void UplinkMachine::ask_again_all(const Boot* except) {
  for (Boot& slot : boots_) {
    if (&slot == except || slot.state == Boot::State::kFree) continue;
    if (slot.state == Boot::State::kAsked && slot.tries <= 1) continue;
    const int64_t spread = random_to(options_.answer_timeout_ms / 4);
    slot.tries = 0;
    if (slot.state == Boot::State::kReady) {
      ask(&slot, spread);
    } else if (slot.state == Boot::State::kAsked || slot.at_ms > clock_ms_ + spread) {
      slot.state = Boot::State::kToAsk;
      slot.at_ms = clock_ms_ + spread;
    }
  }
}

// ---- Answers

void UplinkMachine::take_ack(const AckView& ack) {
  Boot* slot = find_boot(ack.boot);
  const bool to_this_question = slot != nullptr && ack.nonce != 0 && ack.nonce == slot->nonce;
  if (hear(ack.gateway, ack.incarnation)) ask_again_all(to_this_question ? slot : nullptr);
  if (slot == nullptr && !on_shelf(ack.boot)) {
    ++counters_.answers_foreign;
    return;
  }
  ++counters_.acks;
  answered_ = connected_;
  if (ack.gateway_ms != 0) shelf_.gateway_time(ack.gateway_ms);
  if constexpr (kFurtherCodecs) tell_codecs(ack);
  if (ack.policy >= options_.policy && settle(ack, slot)) {
    boots_stale_ = boots_stale_ || boots_waiting_;
    if (slot != nullptr) {
      slot->tries = 0;
      slot->wait_ms = options_.answer_timeout_ms;
      // The gateway is there: an open question need not sit out a wait that grew while it was not.
      const int64_t soon = clock_ms_ + slot->wait_ms;
      if (slot->state == Boot::State::kAsked && slot->at_ms > soon) slot->at_ms = soon;
    }
  }
  if (to_this_question && slot->state == Boot::State::kAsked) end_question(ack, slot);
}

// An older gateway beside newer ones holds all to what it takes, as long as it answers.
void UplinkMachine::tell_codecs(const AckView& ack) {
  uint32_t common = ack.codecs | kCodecsOfEverybody;
  if (Gateway* const known = find_gateway(ack.gateway); known != nullptr) known->codecs = common;
  for (const Gateway& known : gateways_) {
    const bool lately = known.incarnation != 0 && clock_ms_ - known.heard_ms < kGatewayForgottenMs;
    if (known.codecs != 0 && lately) common &= known.codecs;
  }
  shelf_.gateways_take(common);
}

// Frees what the ack covers. True when something was.
bool UplinkMachine::settle(const AckView& ack, Boot* slot) {
  const uint64_t contiguous = contiguous_of(ack);
  const bool further = contiguous > (slot != nullptr ? slot->settled_seq : 0);
  if (further) {
    if (slot != nullptr) slot->settled_seq = contiguous;
    shelf_.settled_through(ack.boot, contiguous);
  }
  bool any = further;
  const bool share_used = kUplinkLanes > 1 && parcels_[kUplinkLanes - 1] >= share_.parcels();
  UplinkParcel* parcel = nullptr;
  while ((parcel = next_of(ack.boot, parcel)) != nullptr) {
    if (!is_covered(ack, contiguous, parcel->key.seq)) continue;
    if (!further || parcel->key.seq > contiguous) shelf_.settled(parcel->key);
    if (kUplinkLanes > 1 && parcel->state == UplinkParcel::State::kInFlight && !parcel->again) {
      share_.answered(parcel->at_ms, clock_ms_, share_used);
    }
    free_parcel(parcel);
    any = true;
  }
  // A parcel's ack speaks of what is under way; a hello's of everything, also of what an earlier connection sent.
  if (ack.nonce != 0) {
    for (size_t i = 0; i < ack.range_count; ++i) {
      if (ack.ranges[i].last > contiguous) settle_range_on_shelf(ack.boot, ack.ranges[i]);
    }
  }
  return any;
}

void UplinkMachine::settle_range_on_shelf(uint64_t boot, const SeqRange& range) {
  if (range.first < 2) return;  // contiguous_of() took it
  for (size_t i = 0; i < kUplinkLanes; ++i) {
    const auto lane = static_cast<Lane>(i);
    ParcelKey after{boot, range.first - 1};
    ParcelKey key;
    size_t bytes = 0;
    while (shelf_.next(lane, after, &key, &bytes) && key.boot == boot && key.seq > after.seq && key.seq <= range.last) {
      shelf_.settled(key);
      after = key;
    }
  }
}

// The answer speaks of everything sent before the question. What it does not cover did not arrive and goes again; what
// it covers by a weaker policy did arrive and is waited for.
void UplinkMachine::end_question(const AckView& ack, Boot* slot) {
  slot->state = Boot::State::kReady;
  const uint64_t contiguous = contiguous_of(ack);
  bool outstanding = false;
  UplinkParcel* parcel = nullptr;
  while ((parcel = next_of(slot->boot, parcel)) != nullptr) {
    if (parcel->state != UplinkParcel::State::kInFlight) continue;
    outstanding = true;
    if (is_covered(ack, contiguous, parcel->key.seq)) {
      parcel->at_ms = clock_ms_;
      parcel->again = true;
    } else {
      set_state(parcel, UplinkParcel::State::kResend);
    }
  }
  if (!outstanding) slot->tries = 0;
  slot->wait_ms = wait_for(slot->tries);
  rewind_if(passed_over_);
}

void UplinkMachine::take_nack(const NackView& nack) {
  if (hear(nack.gateway, nack.incarnation)) ask_again_all(nullptr);
  Boot* slot = find_boot(nack.boot);
  UplinkParcel* parcel = find_parcel({nack.boot, nack.seq});
  const bool about_hello = nack.seq == 0 && slot != nullptr && slot->state == Boot::State::kAsked;
  if (parcel == nullptr && !about_hello) {
    ++counters_.answers_foreign;
    return;
  }
  answered_ = connected_;
  // By verdict: other, retry after, permanent, new boot, declare.
  static constexpr EventCount UplinkCounters::*kCounters[] = {
      &UplinkCounters::nacks_retry, &UplinkCounters::nacks_retry, &UplinkCounters::nacks_permanent,
      &UplinkCounters::nacks_new_boot, &UplinkCounters::nacks_declare};
  ++(counters_.*kCounters[static_cast<size_t>(nack.verdict)]);
  if (nack.verdict == NackView::Verdict::kNewBoot && clock_ms_ >= new_boot_ms_ &&
      (slot == nullptr || !slot->told_new_boot)) {
    // Once for a boot, and not often at all: every parcel in flight may be answered so.
    if (slot != nullptr) slot->told_new_boot = true;
    new_boot_ms_ = clock_ms_ + options_.answer_timeout_ms_max;
    boots_stale_ = true;
    shelf_.new_boot();
  }
  if (parcel == nullptr) {
    take_hello_nack(nack, slot);
    return;
  }
  if (nack.verdict == NackView::Verdict::kPermanent) {
    const ParcelKey key = parcel->key;
    free_parcel(parcel);
    shelf_.refused(key, nack.code);
    return;
  }
  if (parcel->state == UplinkParcel::State::kWaiting) return;  // the same NACK once more
  uint32_t delay_ms = options_.answer_timeout_ms;
  if (nack.verdict == NackView::Verdict::kRetryAfter) delay_ms = clamp(nack.delay_ms, kRetryMsMin, kRetryMsMax);
  if (nack.verdict == NackView::Verdict::kNewBoot) delay_ms = options_.answer_timeout_ms_max;
  if (nack.verdict == NackView::Verdict::kDeclare) {
    delay_ms = clamp(kDeclareWaitMs << (parcel->tries < 10 ? parcel->tries : 10), 0, options_.answer_timeout_ms_max);
    if (parcel->tries < 255) ++parcel->tries;
  }
  if (kUplinkLanes > 1 && nack.verdict == NackView::Verdict::kRetryAfter && parcel->lane == Lane::kBacklog &&
      parcel->state == UplinkParcel::State::kInFlight) {
    share_.refused(parcel->at_ms, clock_ms_);
  }
  const uint64_t boot = parcel->key.boot;
  hold(parcel, delay_ms);
  if (nack.verdict == NackView::Verdict::kDeclare && nack.ref_count > 0) {
    shelf_.declare(boot, std::span(nack.refs, nack.ref_count));
  }
}

// A hello that was refused is asked again, late: without its answer nothing of the boot can go.
void UplinkMachine::take_hello_nack(const NackView& nack, Boot* slot) {
  slot->state = Boot::State::kToAsk;
  slot->at_ms =
      clock_ms_ + (nack.verdict == NackView::Verdict::kRetryAfter ? clamp(nack.delay_ms, kRetryMsMin, kRetryMsMax)
                                                                  : options_.answer_timeout_ms_max);
}

// Keeps the parcel for `delay_ms` and up to half as long again.
void UplinkMachine::hold(UplinkParcel* parcel, uint32_t delay_ms) {
  set_state(parcel, UplinkParcel::State::kWaiting);
  parcel->at_ms = clock_ms_ + delay_ms + random_to(delay_ms / 2);
}

}  // namespace lambda
