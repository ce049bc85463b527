// The questions and answers of the uplink; what is sent when stands in uplink_send.cpp.
#include "lambda/uplink.h"

#include "expect.h"
#include "lambda/codecs.h"
#include "varint.h"

namespace lambda {
namespace {

constexpr uint32_t kDayMs = 86'400'000;
constexpr uint32_t kGatewayForgottenMs = 600'000;
constexpr uint32_t kRetryMsMin = 100;
constexpr uint32_t kRetryMsMax = 600'000;
constexpr uint32_t kDeclareWaitMs = 500;  // and twice as long each time
constexpr uint8_t kDeclareTriesMax = 10;
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
    if (range.last > contiguous && range.first <= contiguous + 1) contiguous = range.last;
  }
  return contiguous;
}

LAMBDA_ONE_COPY bool is_covered(const AckView& ack, uint64_t seq) {
  if (seq <= ack.contiguous_seq) return true;
  for (size_t i = 0; i < ack.range_count; ++i) {
    if (covers(ack.ranges[i], seq)) return true;
  }
  return false;
}

uint32_t clamp(uint32_t value, uint32_t low, uint32_t high) {
  return value < low ? low : value > high ? high : value;
}

uint32_t kept_for_fresh(uint32_t window_parcels) {
  return window_parcels / 4 > 1 ? window_parcels / 4 : 1;
}

}  // namespace

UplinkOptions UplinkMachine::bounded(const UplinkOptions& options, std::span<UplinkParcel> table) {
  LAMBDA_EXPECT(table.size() >= 4);
  const size_t places = table.size() / 2 < kWindowParcelsMax ? table.size() / 2 : kWindowParcelsMax;
  UplinkOptions out = options;
  out.window_parcels_max = clamp(options.window_parcels_max, 2, static_cast<uint32_t>(places));
  out.window_bytes_max = clamp(options.window_bytes_max, 2, 1u << 30);
  out.answer_timeout_ms = clamp(options.answer_timeout_ms, 1, 1u << 30);
  out.answer_timeout_ms_max = clamp(options.answer_timeout_ms_max, out.answer_timeout_ms, 1u << 30);
  return out;
}

UplinkMachine::UplinkMachine(const UplinkOptions& options, Shelf& shelf, UplinkPort port, std::span<UplinkParcel> table)
    : shelf_(shelf),
      port_(port),
      options_(options),
      table_(table),
      share_(options_.window_parcels_max - kept_for_fresh(options_.window_parcels_max)) {}

// ---- Time

void UplinkMachine::advance(int64_t now_ms) {
  const auto passed = static_cast<int64_t>(static_cast<uint64_t>(now_ms) - static_cast<uint64_t>(last_now_ms_));
  last_now_ms_ = now_ms;
  if (passed > 0) pass(passed > kDayMs ? kDayMs : static_cast<uint32_t>(passed));
}

// So much later less is to be waited for, and parcels are older: up to 24 days, which is old enough for anything.
void UplinkMachine::pass(uint32_t ms) {
  const auto take = [ms](uint32_t* left) { *left -= *left < ms ? *left : ms; };
  take(&rescan_ms_);
  take(&forget_ms_);
  take(&new_boot_ms_);
  for (Boot& slot : boots_) take(&slot.left_ms);
  for (Gateway& known : gateways_) take(&known.forgotten_ms);
  for (UplinkParcel& parcel : table_) {
    if (parcel.ms < INT32_MAX - static_cast<int32_t>(kDayMs)) parcel.ms += static_cast<int32_t>(ms);
  }
  if constexpr (kUplinkLanes > 1) clock_ms_ += ms;
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

LAMBDA_ONE_COPY void UplinkMachine::connected(int64_t now_ms) {
  disconnected(now_ms);  // from what was there, if anything was
  connected_ = true;
  boots_stale_ = true;
  for (size_t i = 0; i < kUplinkLanes; ++i) rewind(static_cast<Lane>(i));
  share_.begin(clock_ms_);
  rescan_ms_ = options_.answer_timeout_ms_max;
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

LAMBDA_ONE_COPY void UplinkMachine::down(std::span<const uint8_t> message, int64_t now_ms) {
  advance(now_ms);
  DownMessage down;
  if (decode_down(message, &down) != MessageError::kNone) {
    ++counters_.answers_malformed;
    return;
  }
  const bool is_ack = down.body == DownMessage::Body::kAck;
  Boot unplaced;  // for one that has no place
  Boot* slot = find_boot(is_ack ? down.ack.boot : down.nack.boot);
  if (slot == nullptr) slot = &unplaced;
  if (is_ack) {
    down.ack.contiguous_seq = contiguous_of(down.ack);
    take_ack(down.ack, slot);
  } else {
    take_nack(down.nack, slot);
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
  hear(interest.gateway, interest.incarnation, nullptr);
}

// ---- Boots and questions

UplinkMachine::Boot* UplinkMachine::find_boot(uint64_t boot) {
  for (Boot& slot : boots_) {
    if (slot.state != Boot::State::kFree && slot.boot == boot) return &slot;
  }
  return nullptr;
}

bool UplinkMachine::on_shelf(uint64_t boot) {
  uint64_t listed = 0;
  for (size_t i = 0; i < kBootsScanMax && shelf_.boot(i, &listed); ++i) {
    if (listed == boot) return true;
  }
  return false;
}

// A place for a boot that has none. What is fresh may take the place of an old boot of which nothing is under way.
UplinkMachine::Boot* UplinkMachine::claim_boot(bool fresh, uint64_t boot) {
  Boot* place = nullptr;
  for (Boot& slot : boots_) {
    if (slot.state == Boot::State::kFree) {
      place = &slot;
      break;
    }
    if (fresh && place == nullptr && !slot.fresh && next_of(nullptr, slot.boot) == nullptr) place = &slot;
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
  while (UplinkParcel* const parcel = next_of(nullptr, slot->boot)) free_parcel(parcel);
  *slot = Boot();
}

// Brings the places in line with the boots on the shelf: those that are gone give theirs up.
void UplinkMachine::refresh_boots() {
  boots_stale_ = false;
  boots_waiting_ = false;
  Candidate fresh;
  (void)peek(Lane::kFresh, &fresh);  // boots of what is fresh get their places first
  for (Boot& slot : boots_) {
    if (slot.state != Boot::State::kFree && !on_shelf(slot.boot)) release_boot(&slot);
  }
  uint64_t boot = 0;
  for (size_t i = 0; i < kBootsScanMax && shelf_.boot(i, &boot); ++i) {
    if (find_boot(boot) == nullptr) claim_boot(i == 0, boot);
  }
}

// Opens a question. Until it is answered nothing of the boot is sent, so that the answer speaks of everything that was.
void UplinkMachine::ask(Boot* slot, uint32_t delay_ms) {
  slot->state = Boot::State::kToAsk;
  slot->left_ms = delay_ms;
  do {
    slot->nonce = port_.random(port_.context);
  } while (slot->nonce == 0);
}

void UplinkMachine::say_hellos() {
  for (Boot& slot : boots_) {
    if (blocked_) return;
    if (slot.left_ms > 0) continue;
    if (slot.state == Boot::State::kAsked) {
      // The same question once more: a late answer to the first asking is as good, nothing was sent in between.
      ++counters_.timeouts;
      slot.state = Boot::State::kToAsk;
    }
    if (slot.state != Boot::State::kToAsk) continue;
    const std::span<const uint8_t> hello = shelf_.hello(slot.boot, slot.nonce);
    if (hello.empty()) {
      release_boot(&slot);
      continue;
    }
    if (!publish(hello)) return;
    ++counters_.hellos_sent;
    slot.state = Boot::State::kAsked;
    slot.left_ms = wait_for(slot.tries);
    if (slot.tries < 255) ++slot.tries;
  }
}

void UplinkMachine::check_timeouts() {
  if (in_flight_parcels() == 0) return;
  for (const UplinkParcel& parcel : table_) {
    if (parcel.state != UplinkParcel::State::kInFlight) continue;
    Boot* slot = ready_boot(parcel);
    if (slot == nullptr || parcel.ms < static_cast<int32_t>(slot->wait_ms)) continue;
    ++counters_.timeouts;
    if (kUplinkLanes > 1 && parcel.lane == Lane::kBacklog) share_.refused(clock_ms_ - parcel.ms, clock_ms_);
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

// When this start of this gateway was not known, all but `except` ask again. The one before is remembered too: late
// messages of it are no news.
void UplinkMachine::hear(std::string_view gateway, uint64_t incarnation, const Boot* except) {
  if (incarnation == 0) return;
  const uint32_t name_hash = hash_of(gateway);
  Gateway* place = nullptr;  // its own, else the first that is free or forgotten
  for (Gateway& known : gateways_) {
    if (known.name_hash == name_hash) {
      place = &known;
      break;
    }
    if (place == nullptr && known.forgotten_ms == 0) place = &known;
  }
  if (place == nullptr) return;
  if (place->name_hash != name_hash) *place = Gateway{.name_hash = name_hash};
  place->forgotten_ms = kGatewayForgottenMs;
  if (place->incarnation == incarnation || place->incarnation_before == incarnation) return;
  place->incarnation_before = place->incarnation;
  place->incarnation = incarnation;
  ask_again_all(except);
}

// A gateway has begun anew: every boot asks, spread over a while, for all devices of a site hear of it at once. A first
// question that is on its way may have reached it, and is soon asked again if not.
void UplinkMachine::ask_again_all(const Boot* except) {
  for (Boot& slot : boots_) {
    if (&slot == except || slot.state == Boot::State::kFree) continue;
    if (slot.state == Boot::State::kAsked && slot.tries <= 1) continue;
    const uint32_t spread = random_to(options_.answer_timeout_ms / 4);
    slot.tries = 0;
    if (slot.state == Boot::State::kReady) {
      ask(&slot, spread);
    } else if (slot.state == Boot::State::kAsked || slot.left_ms > spread) {
      slot.state = Boot::State::kToAsk;
      slot.left_ms = spread;
    }
  }
}

// ---- Answers

void UplinkMachine::take_ack(const AckView& ack, Boot* slot) {
  Boot* const asker = ack.nonce == slot->nonce ? slot : nullptr;  // of its last question; 0 where nothing was asked
  hear(ack.gateway, ack.incarnation, asker);
  if (slot->state == Boot::State::kFree && !on_shelf(ack.boot)) {
    ++counters_.answers_foreign;
    return;
  }
  ++counters_.acks;
  answered_ = connected_;
  if (ack.gateway_ms != 0) shelf_.gateway_time(ack.gateway_ms);
  if constexpr (kFurtherCodecs) tell_codecs(ack);
  if (ack.policy >= options_.policy && settle(ack, slot)) {
    if (boots_waiting_) boots_stale_ = true;
    slot->tries = 0;
    slot->wait_ms = options_.answer_timeout_ms;
    // The gateway is there: an open question need not sit out a wait that grew while it was not.
    if (slot->state == Boot::State::kAsked && slot->left_ms > slot->wait_ms) slot->left_ms = slot->wait_ms;
  }
  if (asker != nullptr && asker->state == Boot::State::kAsked) end_question(ack, asker);
}

// An older gateway beside newer ones holds all to what it takes, as long as it answers.
void UplinkMachine::tell_codecs(const AckView& ack) {
  uint32_t common = ack.codecs | kCodecsOfEverybody;
  if (Gateway* const known = find_gateway(ack.gateway); known != nullptr) known->codecs = common;
  for (const Gateway& known : gateways_) {
    if (known.codecs != 0 && known.forgotten_ms > 0) common &= known.codecs;
  }
  shelf_.gateways_take(common);
}

// Frees what the ack covers. True when something was.
bool UplinkMachine::settle(const AckView& ack, Boot* slot) {
  const uint64_t contiguous = ack.contiguous_seq;
  const bool further = contiguous > slot->settled_seq;
  if (further) {
    slot->settled_seq = contiguous;
    shelf_.settled_through(ack.boot, contiguous);
  }
  bool any = further;
  const bool share_used = kUplinkLanes > 1 && parcels_[kUplinkLanes - 1] >= share_.parcels();
  UplinkParcel* parcel = nullptr;
  while ((parcel = next_of(parcel, ack.boot)) != nullptr) {
    if (!is_covered(ack, parcel->key.seq)) continue;
    if (!further || parcel->key.seq > contiguous) shelf_.settled(parcel->key);
    if (kUplinkLanes > 1 && parcel->state == UplinkParcel::State::kInFlight && !parcel->again) {
      share_.answered(clock_ms_ - parcel->ms, clock_ms_, share_used);
    }
    free_parcel(parcel);
    any = true;
  }
  // A parcel's ack speaks of what is under way; a hello's of everything, also of what an earlier connection sent.
  if (ack.nonce != 0) {
    for (size_t i = 0; i < ack.range_count; ++i) shelf_.settled_between(ack.boot, ack.ranges[i]);
  }
  return any;
}

// The answer speaks of everything sent before the question. What it does not cover did not arrive and goes again; what
// it covers by a weaker policy did arrive and is waited for.
void UplinkMachine::end_question(const AckView& ack, Boot* slot) {
  slot->state = Boot::State::kReady;
  bool outstanding = false;
  UplinkParcel* parcel = nullptr;
  while ((parcel = next_of(parcel, slot->boot)) != nullptr) {
    if (parcel->state != UplinkParcel::State::kInFlight) continue;
    outstanding = true;
    if (is_covered(ack, parcel->key.seq)) {
      parcel->ms = 0;
      parcel->again = true;
    } else {
      set_state(parcel, UplinkParcel::State::kResend);
    }
  }
  if (!outstanding) slot->tries = 0;
  slot->wait_ms = wait_for(slot->tries);
  rewind_if(passed_over_);
}

void UplinkMachine::take_nack(const NackView& nack, Boot* slot) {
  using Verdict = NackView::Verdict;
  hear(nack.gateway, nack.incarnation, nullptr);
  UplinkParcel* parcel = find_parcel({nack.boot, nack.seq});
  const bool about_hello = nack.seq == 0 && slot->state == Boot::State::kAsked;
  if (parcel == nullptr && !about_hello) {
    ++counters_.answers_foreign;
    return;
  }
  answered_ = connected_;
  // A hello that was refused is asked again late, but again: without its answer nothing of the boot can go.
  uint32_t delay_ms = parcel == nullptr ? options_.answer_timeout_ms_max : options_.answer_timeout_ms;
  if (nack.verdict == Verdict::kPermanent) {
    ++counters_.nacks_permanent;
    if (parcel != nullptr) {
      shelf_.refused(parcel->key, nack.code);
      free_parcel(parcel);
      return;
    }
  } else if (nack.verdict == Verdict::kNewBoot) {
    ++counters_.nacks_new_boot;
    delay_ms = options_.answer_timeout_ms_max;
    // Once for a boot, and not often at all: every parcel in flight may be answered so.
    if (new_boot_ms_ == 0 && !slot->told_new_boot) {
      slot->told_new_boot = true;
      new_boot_ms_ = delay_ms;
      boots_stale_ = true;
      shelf_.new_boot();
    }
  } else if (nack.verdict == Verdict::kDeclare) {
    ++counters_.nacks_declare;
  } else {
    ++counters_.nacks_retry;
    if (nack.verdict == Verdict::kRetryAfter) delay_ms = clamp(nack.delay_ms, kRetryMsMin, kRetryMsMax);
  }
  if (parcel == nullptr) {
    slot->state = Boot::State::kToAsk;
    slot->left_ms = delay_ms;
    return;
  }
  if (parcel->state == UplinkParcel::State::kWaiting) return;  // the same NACK once more
  if (kUplinkLanes > 1 && nack.verdict == Verdict::kRetryAfter && parcel->lane == Lane::kBacklog &&
      parcel->state == UplinkParcel::State::kInFlight) {
    share_.refused(clock_ms_ - parcel->ms, clock_ms_);
  }
  if (nack.verdict == Verdict::kDeclare) {
    delay_ms = clamp(kDeclareWaitMs << parcel->tries, 0, options_.answer_timeout_ms_max);
    if (parcel->tries < kDeclareTriesMax) ++parcel->tries;
    if (nack.ref_count > 0) shelf_.declare(nack.boot, std::span(nack.refs, nack.ref_count));
  }
  hold(parcel, delay_ms);
}

// Keeps the parcel for `delay_ms` and up to half as long again.
void UplinkMachine::hold(UplinkParcel* parcel, uint32_t delay_ms) {
  set_state(parcel, UplinkParcel::State::kWaiting);
  parcel->ms = -static_cast<int32_t>(delay_ms + random_to(delay_ms / 2));
}

}  // namespace lambda
