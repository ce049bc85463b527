// What a device takes back from flash when it starts. A snapshot is read twice: all of it must be good and fit before
// any of it is taken.
#include <string.h>

#include "device_flash.h"
#include "planted.h"
#include "snapshot_format.h"

namespace lambda {
namespace {

constexpr uint32_t kSeqsOfAStart = 32;      // an earlier boot's numbers go on at starts << 32
constexpr uint32_t kNotesRoomWanted = 512;  // bytes; with less a snapshot is made at once
// What lies behind these was not written by a device. Parcels' numbers may be high, driven up by starts and gateways,
// but must not come round to 0 in this start.
constexpr uint64_t kOrdinalsEnd = uint64_t{1} << 63;
constexpr uint64_t kSeqsEnd = UINT64_MAX << 31;
constexpr uint64_t kAgeMsMax = uint64_t{1} << 40;  // 34 years: what is said to be older is taken for that old

uint8_t bit(int place) {
  return static_cast<uint8_t>(1u << place);
}

}  // namespace

void DeviceFlash::start(lam_flash_report* report) {
  *report = lam_flash_report{};
  device_.store_.tick(device_.mono_ms());
  switch (banks_.look(&report->banks_torn)) {
    case FlashBanks::Look::kNone:
      report->found = LAM_FLASH_EMPTY;
      break;
    case FlashBanks::Look::kDamaged:
      report->found = LAM_FLASH_DAMAGED;
      break;
    case FlashBanks::Look::kOtherVersion:
      report->found = LAM_FLASH_OTHER_VERSION;
      break;
    case FlashBanks::Look::kUnreadable:
      report->found = LAM_FLASH_WORN;
      break;
    case FlashBanks::Look::kFound:
      report->found = take(report);
      break;
  }
  // What is there may be newer than what was seen: a snapshot of now would be taken for an older one.
  if (banks_.unreadable()) banks_.give_up_all();
  report->generation = banks_.head().generation;
  starts_ = banks_.head().starts + starts_noted_ + 1;
  report->points_given_up = points_given_up_;
  if (report->found != LAM_FLASH_RESTORED) {
    banks_.refuse();
    save_now_ = true;
    return;
  }
  // Nothing of this may be sent before flash says that this start has been.
  const Device::Boot& present = device_.present();
  uint8_t raw[25];
  raw[0] = static_cast<uint8_t>(NoteTag::kBegan);
  size_t size = 1;
  for (const uint64_t word : {present.id, present.previous, static_cast<uint64_t>(present.started_ms)}) {
    for (int shift = 0; shift < 64; shift += 8) raw[size++] = static_cast<uint8_t>(word >> shift);
  }
  memset(marked_, 0, device_.config_.series_max * sizeof marked_[0]);
  if (!planted("flash_starts_unnoted") && !note(raw, size)) {
    forget_unsent();
    report->found = LAM_FLASH_WORN;
  }
  noted_boot_ = present.id;
  if (save_due_ms_ == INT64_MAX && config_.save_every_s != UINT32_MAX) {
    save_due_ms_ = device_.mono_ms() + int64_t{config_.save_every_s} * 1000;
  }
  save_now_ = save_now_ || banks_.bytes_for_notes() < kNotesRoomWanted;
  describe(report);
}

lam_flash_found DeviceFlash::take(lam_flash_report* report) {
  Reading look(banks_.body());
  read(&look);
  if (look.found != LAM_FLASH_RESTORED) return look.found;
  boots_in_snapshot_ = look.boots;
  last_boot_ = candidates_[candidate_count_ - 1].id;
  read_notes();
  if (banks_.unreadable()) return LAM_FLASH_WORN;
  starts_ = banks_.head().starts + starts_noted_ + 1;
  place_boots(report);
  Reading taking(banks_.body());
  taking.taking = true;
  read(&taking);
  if (taking.found != LAM_FLASH_RESTORED) {  // the flash would not give it a second time
    forget_unsent();
    return taking.found;
  }
  taking_notes_ = true;
  read_notes();
  if (banks_.unreadable()) {
    forget_unsent();
    return LAM_FLASH_WORN;
  }
  for (uint32_t i = 0; i < lost_count_; ++i) report->points_named += lost_[i].count;
  device_.present().previous = last_boot_;
  return LAM_FLASH_RESTORED;
}

// ---- The body

void DeviceFlash::read(Reading* reading) {
  uint8_t ours[kIdentityBytes], theirs[kIdentityBytes];
  identity(ours);
  if (reading->in.bytes(theirs, sizeof theirs) && memcmp(ours, theirs, sizeof ours) != 0) {
    reading->found = LAM_FLASH_OTHER_DEVICE;
    return;
  }
  while (reading->in.ok() && reading->found == LAM_FLASH_RESTORED) {
    switch (static_cast<SnapshotTag>(reading->in.u8())) {
      case SnapshotTag::kEnd:
        if (!reading->in.ok() || reading->in.left() != 0 || reading->boots == 0) reading->found = LAM_FLASH_DAMAGED;
        return;
      case SnapshotTag::kBoot:
        read_boot(reading);
        break;
      case SnapshotTag::kSeries:
        read_series(reading);
        break;
      case SnapshotTag::kClock:
        read_clock(reading);
        break;
      case SnapshotTag::kGap:
        read_gap(reading);
        break;
      case SnapshotTag::kParcel:
        read_parcel(reading);
        break;
      case SnapshotTag::kBlock:
        read_block(reading, 0);
        break;
      case SnapshotTag::kThinned:
        read_block(reading, static_cast<uint32_t>(reading->in.varint()));
        break;
      default:
        reading->found = LAM_FLASH_DAMAGED;
    }
  }
  if (!reading->in.ok()) reading->found = LAM_FLASH_DAMAGED;
}

// Boots come before whatever names them.
const DeviceFlash::Candidate* DeviceFlash::candidate(uint8_t index, Reading* reading) const {
  if (index < reading->boots) return &candidates_[index];
  reading->found = LAM_FLASH_DAMAGED;
  return nullptr;
}

DeviceFlash::Candidate* DeviceFlash::find_candidate(uint64_t id) {
  for (size_t i = 0; i < candidate_count_; ++i) {
    if (candidates_[i].id == id) return &candidates_[i];
  }
  return nullptr;
}

void DeviceFlash::read_boot(Reading* reading) {
  Candidate read;
  read.id = reading->in.u64();
  read.previous = reading->in.u64();
  read.started_ms = static_cast<int64_t>(reading->in.u64());
  read.next_seq = reading->in.varint();
  const uint8_t flags = reading->in.u8();
  read.needed = (flags & snapshot_flag::kNeeded) != 0;
  read.has_digest = (flags & snapshot_flag::kHasDigest) != 0;
  if (read.has_digest) reading->in.bytes(read.digest, kDigestBytes);
  const bool twice = !reading->taking && find_candidate(read.id) != nullptr;
  if (reading->boots == SeriesStore::kBootsMax || read.id == 0 || read.id == device_.boot() || twice ||
      read.next_seq >= kSeqsEnd) {
    reading->found = LAM_FLASH_DAMAGED;
    return;
  }
  if (!reading->taking) candidates_[candidate_count_++] = read;
  ++reading->boots;
}

void DeviceFlash::read_series(Reading* reading) {
  uint8_t ours[kFingerprintBytes], theirs[kFingerprintBytes];
  reading->in.bytes(theirs, sizeof theirs);
  const uint64_t next_ordinal = reading->in.varint();
  const uint8_t declared = reading->in.u8();
  const bool has_last = (reading->in.u8() & snapshot_flag::kHasLast) != 0;
  const uint64_t last_ordinal = has_last ? reading->in.varint() : 0;
  const auto last_ms = static_cast<int64_t>(has_last ? reading->in.u64() : 0);
  const uint64_t last_bits = has_last ? reading->in.u64() : 0;
  if (reading->series == device_.store_.series_count()) {
    reading->found = LAM_FLASH_OTHER_SERIES;
    return;
  }
  Device::Series& series = device_.series_[reading->series];
  fingerprint(*series.spec, ours);
  if (memcmp(ours, theirs, sizeof ours) != 0) {
    reading->found = LAM_FLASH_OTHER_SERIES;
    return;
  }
  marked_[reading->series++] = next_ordinal;  // of the snapshot's last boot, until the notes are read
  if (!reading->taking) return;
  if (has_last) device_.store_.restore_last(reading->series, last_ordinal, {last_ms, last_bits});
  for (uint32_t i = 0; i < boots_in_snapshot_; ++i) {
    if ((declared >> i & 1) != 0 && candidates_[i].place >= 0) series.declared |= bit(candidates_[i].place);
  }
}

// One that was said already is not said again: a later one may have been said since, and the last one counts.
void DeviceFlash::take_clock(const Candidate& of, const ClockView& view, bool to_send) {
  if (of.place < 0) return;
  const auto place = static_cast<uint8_t>(of.place);
  Device::Clock* best = nullptr;
  int best_fit = 0;
  for (Device::Clock& clock : device_.clocks_) {
    const bool same = clock.used && clock.boot == place && clock.view.segment == view.segment;
    const bool present = clock.used && clock.boot == device_.present_;
    const int fit = same ? 4 : !clock.used ? 3 : present ? 0 : !clock.to_send ? 2 : !clock.view.relative ? 1 : 0;
    if (fit <= best_fit) continue;
    best_fit = fit;
    best = &clock;
  }
  if (best != nullptr) *best = {view, place, true, to_send};
}

void DeviceFlash::read_clock(Reading* reading) {
  const Candidate* of = candidate(reading->in.u8(), reading);
  ClockView view;
  view.segment = static_cast<uint32_t>(reading->in.varint());
  const uint8_t flags = reading->in.u8();
  view.offset_ms = static_cast<int64_t>(reading->in.u64());
  view.relative = (flags & snapshot_flag::kRelative) != 0;
  view.known = (flags & snapshot_flag::kKnown) != 0;
  if (of != nullptr && reading->taking) take_clock(*of, view, (flags & snapshot_flag::kToSend) != 0);
}

void DeviceFlash::read_gap(Reading* reading) {
  const Candidate* of = candidate(reading->in.u8(), reading);
  const uint64_t ref = reading->in.varint();
  const uint64_t first = reading->in.varint();
  const uint64_t count = reading->in.varint();
  const bool is_gap = first < kOrdinalsEnd && count <= kOrdinalsEnd - first;
  if (!is_gap || ref == 0 || ref > device_.store_.series_count()) reading->found = LAM_FLASH_DAMAGED;
  if (of != nullptr && reading->taking && of->place >= 0) lose(of->id, static_cast<uint32_t>(ref), first, count);
}

void DeviceFlash::read_parcel(Reading* reading) {
  const Candidate* of = candidate(reading->in.u8(), reading);
  const bool held = reading->in.u8() == kParcelHeld;
  const uint64_t seq = reading->in.varint();
  const uint64_t points = reading->in.varint();
  const uint64_t bytes = reading->in.varint();
  if (bytes > device_.config_.parcel_bytes_max || reading->slots == device_.config_.parcels_max) {
    reading->found = LAM_FLASH_OTHER_LIMITS;
    return;
  }
  // One without a number, or without bytes, would be begun with again and again when it is its turn to be sent.
  if (seq == 0 || seq >= kSeqsEnd || bytes == 0 || points > UINT32_MAX) {
    reading->found = LAM_FLASH_DAMAGED;
    return;
  }
  Device::Slot& slot = device_.slots_[reading->slots++];
  if (of == nullptr || !reading->taking || of->place < 0) {
    reading->in.skip(bytes);
    if (reading->taking && held) points_given_up_ += points;
    return;
  }
  reading->in.bytes(device_.space_of(slot), bytes);
  slot.state = held ? Device::Slot::State::kHeld : Device::Slot::State::kRefused;
  slot.boot = static_cast<uint8_t>(of->place);
  slot.bytes = static_cast<uint32_t>(bytes);
  slot.points = static_cast<uint32_t>(points);
  slot.seq = seq;
  if (held) device_.store_.count_restored(points);
}

void DeviceFlash::read_block(Reading* reading, uint32_t thinned) {
  const Candidate* of = candidate(reading->in.u8(), reading);
  const bool settled = reading->in.u8() == kBlockSettled;
  uint64_t age_ms = reading->in.varint();
  if (age_ms > kAgeMsMax) age_ms = kAgeMsMax;
  const uint64_t bytes = reading->in.varint();
  if (bytes > device_.config_.block_bytes_max) {
    reading->found = LAM_FLASH_OTHER_LIMITS;
    return;
  }
  const std::span<const uint8_t> block{device_.scratch_, static_cast<size_t>(bytes)};
  if (!reading->in.bytes(device_.scratch_, bytes) || of == nullptr) return;
  BlockReader reader;
  SeriesShape shape;
  const bool known = reader.open(block, of->id, device_.codings()).ok() && !reader.info().has_boot &&
                     thinned <= reader.info().first_ordinal && device_.store_.shape(reader.info().ref, &shape) &&
                     shape.type == reader.info().type && shape.scale == reader.info().scale;
  if (!known) {
    reading->found = LAM_FLASH_DAMAGED;
    return;
  }
  if (!reading->taking) {
    Point points[16];
    while (reader.next(points) > 0) {
    }
    if (!reader.status().ok()) reading->found = LAM_FLASH_DAMAGED;
    return;
  }
  const BlockInfo& info = reader.info();
  if (of->place < 0) {
    if (!settled) points_given_up_ += info.count;
    return;
  }
  const StoreResult taken = device_.store_.restore(block, of->id, settled ? BlockState::kSafe : BlockState::kLoose,
                                                   static_cast<int64_t>(age_ms), thinned);
  if (taken != StoreResult::kOk && !settled)
    lose(of->id, info.ref, info.first_ordinal - thinned, uint64_t{info.count} + thinned);
}

// ---- Notes

void DeviceFlash::read_notes() {
  uint32_t at = 0, address = 0, bytes = 0;
  while (banks_.next_note(&at, &address, &bytes)) {
    BankReader in(port_, address, bytes);
    const auto tag = static_cast<NoteTag>(in.u8());
    if (tag == NoteTag::kMade) read_made(&in);
    if (tag != NoteTag::kBegan || taking_notes_) continue;
    Candidate began;
    began.id = in.u64();
    began.previous = in.u64();
    began.started_ms = static_cast<int64_t>(in.u64());
    began.noted = true;
    if (!in.ok() || began.id == 0) continue;
    ++starts_noted_;
    last_boot_ = began.id;
    if (began.id == device_.boot() || find_candidate(began.id) != nullptr) continue;
    // A boot that said nothing leaves nothing behind.
    if (candidate_count_ > boots_in_snapshot_ && !candidates_[candidate_count_ - 1].needed) --candidate_count_;
    if (candidate_count_ < kCandidatesMax) candidates_[candidate_count_++] = began;
  }
}

void DeviceFlash::read_made(BankReader* in) {
  const uint64_t id = in->u64();
  Candidate* const of = find_candidate(id);
  if (of == nullptr) return;
  of->needed = true;
  if (!taking_notes_) return;
  for (uint8_t clocks = in->u8(); clocks > 0 && in->ok(); --clocks) {
    ClockView view;
    view.segment = static_cast<uint32_t>(in->varint());
    const uint8_t flags = in->u8();
    view.offset_ms = static_cast<int64_t>(in->u64());
    view.relative = (flags & snapshot_flag::kRelative) != 0;
    view.known = (flags & snapshot_flag::kKnown) != 0;
    if (in->ok() && !of->noted) take_clock(*of, view, true);
  }
  while (in->left() > 0) {
    const uint64_t ref = in->varint();
    const uint64_t end = in->varint();
    if (!in->ok() || ref == 0 || ref > device_.store_.series_count() || end > kOrdinalsEnd || of->place < 0) continue;
    const uint64_t first = of->noted ? 0 : marked_[ref - 1];
    if (end > first) lose(id, static_cast<uint32_t>(ref), first, end - first);
  }
}

// ---- Taking

// One place is the new boot's. Those that have something to say come first, the newest first.
void DeviceFlash::place_boots(lam_flash_report* report) {
  size_t left = SeriesStore::kBootsMax - 1;
  for (const bool needed : {true, false}) {
    for (size_t i = candidate_count_; i-- > 0;) {
      Candidate& one = candidates_[i];
      if (one.needed != needed || (one.noted && !needed)) continue;
      if (left == 0) {
        report->boots_given_up += needed ? 1 : 0;
        continue;
      }
      --left;
      one.place = 0;
    }
  }
  int place = 0;
  for (size_t i = 0; i < candidate_count_; ++i) {
    Candidate& one = candidates_[i];
    if (one.place < 0) continue;
    if (place == device_.present_) ++place;
    one.place = place++;
    Device::Boot& boot = device_.boots_[one.place];
    boot.id = one.id;
    boot.previous = one.previous;
    boot.started_ms = one.started_ms;
    boot.next_seq = planted("flash_numbers_go_on") ? 0 : uint64_t{starts_} << kSeqsOfAStart;
    if (one.next_seq > boot.next_seq) boot.next_seq = one.next_seq;
    boot.has_digest = one.has_digest;
    memcpy(boot.digest, one.digest, kDigestBytes);
    boot.order = device_.boots_begun_++;
    save_now_ = save_now_ || one.noted;  // so that notes never tell of many boots
  }
  device_.present().order = device_.boots_begun_;
}

// Points of one boot and series that are gone; what follows on what is known already makes it longer.
void DeviceFlash::lose(uint64_t boot, uint32_t ref, uint64_t first, uint64_t count) {
  for (uint32_t i = 0; i < lost_count_; ++i) {
    StoreGap& known = lost_[i];
    const uint64_t end = known.first_ordinal + known.count;
    if (known.boot != boot || known.ref != ref || first < known.first_ordinal || first > end) continue;
    if (first + count > end) known.count = first + count - known.first_ordinal;
    return;
  }
  if (lost_count_ == lost_max_) {
    ++counters_.gaps_forgotten;
    return;
  }
  lost_[lost_count_++] = {boot, ref, first, count};
}

// What came back may be read but not sent.
void DeviceFlash::forget_unsent() {
  SealedBlock block;
  uint64_t points = 0;
  while (device_.store_.first(BlockState::kLoose, &block)) {
    points += block.info.count;
    device_.store_.safe(block.id);
  }
  for (size_t i = 0; i < device_.config_.parcels_max; ++i) {
    if (device_.slots_[i].state == Device::Slot::State::kHeld) points += device_.slots_[i].points;
    device_.slots_[i] = Device::Slot();
  }
  points_given_up_ += points;
  device_.store_.count_restored(0 - points);
  for (Device::Clock& clock : device_.clocks_) {
    if (clock.boot != device_.present_) clock = Device::Clock();
  }
  lost_count_ = 0;
}

void DeviceFlash::describe(lam_flash_report* report) {
  SealedBlock block;
  for (const BlockState state : {BlockState::kSafe, BlockState::kLoose}) {
    for (bool more = device_.store_.first(state, &block); more; more = device_.store_.next(state, block.id, &block)) {
      report->points_readable += block.info.count;
    }
  }
  lam_counters counted;
  device_.counters(&counted);
  report->points_waiting = counted.points_waiting;
  report->points_given_up = points_given_up_;
}

}  // namespace lambda
