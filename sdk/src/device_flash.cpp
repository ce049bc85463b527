// Saving, noting, and the turn of the flash in the loop. Restoring is in device_restore.cpp.
#include "device_flash.h"

#include <string.h>

#include <new>

#include "planted.h"
#include "snapshot_format.h"

namespace lambda {
namespace {

constexpr uint32_t kSaveEveryS = 3'600;
constexpr int64_t kSaveAgainMs = 60'000;  // after one that failed
constexpr uint32_t kEraseAgainMs = 20;    // between two pages, so that others get their turn
constexpr uint32_t kPollMsMax = 60'000;

[[gnu::noinline]] size_t put_varint(uint8_t* out, uint64_t value) {
  size_t size = 0;
  for (; value >= 0x80; value >>= 7) out[size++] = static_cast<uint8_t>(value | 0x80);
  out[size++] = static_cast<uint8_t>(value);
  return size;
}
[[gnu::noinline]] size_t put_u64(uint8_t* out, uint64_t value) {
  for (size_t i = 0; i < 8; ++i, value >>= 8) out[i] = static_cast<uint8_t>(value);
  return 8;
}

}  // namespace

// Writes a body to the next bank, or, without one, counts how long it would be.
class SnapshotWriter {
 public:
  explicit SnapshotWriter(FlashBanks* banks) : banks_(banks) {}
  void bytes(const uint8_t* from, size_t size);
  void u8(uint8_t value);
  void u64(uint64_t value);
  void varint(uint64_t value);
  void tag(SnapshotTag value) { u8(static_cast<uint8_t>(value)); }
  bool ok() const { return ok_; }
  size_t size() const { return bytes_; }

 private:
  FlashBanks* banks_;
  size_t bytes_ = 0;
  bool ok_ = true;
};

// Not inline, small as they are: called from dozens of places, they would double what saving takes of a device's flash.
[[gnu::noinline]] void SnapshotWriter::bytes(const uint8_t* from, size_t size) {
  bytes_ += size;
  if (banks_ != nullptr && ok_) ok_ = banks_->put(from, size);
}
[[gnu::noinline]] void SnapshotWriter::u8(uint8_t value) {
  bytes(&value, 1);
}
[[gnu::noinline]] void SnapshotWriter::u64(uint64_t value) {
  uint8_t raw[8];
  bytes(raw, put_u64(raw, value));
}
[[gnu::noinline]] void SnapshotWriter::varint(uint64_t value) {
  uint8_t raw[10];
  bytes(raw, put_varint(raw, value));
}

// ---- Memory

size_t DeviceFlash::memory(const lam_config& config) {
  const size_t lost_max = 2 * size_t{config.series_max} + 32;
  return sizeof(DeviceFlash) + config.series_max * sizeof(uint64_t) + lost_max * sizeof(StoreGap);
}

DeviceFlash* DeviceFlash::make(void* memory, Device& device, const lam_flash_port& port,
                               const lam_flash_config& config) {
  static_assert(sizeof(DeviceFlash) % 8 == 0);
  uint8_t* const at = static_cast<uint8_t*>(memory) + sizeof(DeviceFlash);
  auto* const marked = new (at) uint64_t[device.config_.series_max]();
  auto* const lost = reinterpret_cast<StoreGap*>(marked + device.config_.series_max);
  return new (memory) DeviceFlash(device, port, config, marked, lost);
}

DeviceFlash::DeviceFlash(Device& device, const lam_flash_port& port, const lam_flash_config& config, uint64_t* marked,
                         StoreGap* lost)
    : device_(device),
      port_(port),
      config_{config.banks, config.save_every_s != 0 ? config.save_every_s : kSaveEveryS},
      banks_(port_, config.banks),
      marked_(marked),
      lost_(lost),
      lost_max_(2 * device.config_.series_max + 32) {}

// ---- What a snapshot says

void DeviceFlash::identity(uint8_t out[kIdentityBytes]) const {
  static constexpr char kDomain[] = "lambda/snapshot/1";
  HashState state;
  uint8_t digest[kDigestBytes];
  const lam_config& config = device_.config_;
  device_.hash_.start(&state);
  for (const char* text : {static_cast<const char*>(kDomain), config.site, config.device}) {
    device_.hash_.update(&state, reinterpret_cast<const uint8_t*>(text), strlen(text) + 1);
  }
  device_.hash_.finish(&state, digest);
  memcpy(out, digest, kIdentityBytes);
}

void DeviceFlash::fingerprint(const lam_series_spec& spec, uint8_t out[kFingerprintBytes]) const {
  HashState state;
  uint8_t digest[kDigestBytes];
  const auto text = [&](const char* it) {
    device_.hash_.update(&state, reinterpret_cast<const uint8_t*>(it), strlen(it) + 1);
  };
  device_.hash_.start(&state);
  text("lambda/series/1");
  text(spec.name);
  for (size_t i = 0; i < spec.label_count; ++i) {
    text(spec.labels[i].name);
    text(spec.labels[i].value);
  }
  text("");
  text(spec.unit != nullptr ? spec.unit : "");
  const uint8_t shape[3] = {static_cast<uint8_t>(spec.kind), static_cast<uint8_t>(spec.type), spec.scale};
  device_.hash_.update(&state, shape, sizeof shape);
  device_.hash_.finish(&state, digest);
  memcpy(out, digest, kFingerprintBytes);
}

// Places of the device's boots, the oldest first; the present one is the last.
size_t DeviceFlash::list_boots(uint8_t places[SeriesStore::kBootsMax]) const {
  size_t count = 0;
  for (uint8_t place = 0; place < SeriesStore::kBootsMax; ++place) {
    if (device_.boots_[place].order == 0) continue;
    size_t at = count++;
    for (; at > 0 && device_.boots_[places[at - 1]].order > device_.boots_[place].order; --at)
      places[at] = places[at - 1];
    places[at] = place;
  }
  return count;
}

// Where a boot stands in a snapshot; kBootsMax: the device has no word of it any more.
uint8_t DeviceFlash::index_of(uint64_t boot) const {
  uint8_t places[SeriesStore::kBootsMax];
  const size_t count = list_boots(places);
  for (uint8_t i = 0; i < count; ++i) {
    if (device_.boots_[places[i]].id == boot) return i;
  }
  return SeriesStore::kBootsMax;
}

void DeviceFlash::write_body(SnapshotWriter* out, uint32_t safe_left_out) {
  uint8_t raw[kIdentityBytes];
  identity(raw);
  out->bytes(raw, sizeof raw);
  write_boots(out);
  write_series(out);
  write_clocks(out);
  write_gaps(out);
  write_parcels(out);
  write_blocks(out, safe_left_out);
  out->tag(SnapshotTag::kEnd);
}

void DeviceFlash::write_boots(SnapshotWriter* out) const {
  uint8_t places[SeriesStore::kBootsMax];
  const size_t count = list_boots(places);
  for (size_t i = 0; i < count; ++i) {
    const Device::Boot& boot = device_.boots_[places[i]];
    bool needed = device_.in_use(places[i]);
    for (uint32_t k = 0; k < lost_count_; ++k) needed = needed || lost_[k].boot == boot.id;
    out->tag(SnapshotTag::kBoot);
    out->u64(boot.id);
    out->u64(boot.previous);
    out->u64(static_cast<uint64_t>(boot.started_ms));
    out->varint(boot.next_seq);
    out->u8((boot.has_digest ? snapshot_flag::kHasDigest : 0) | (needed ? snapshot_flag::kNeeded : 0));
    if (boot.has_digest) out->bytes(boot.digest, kDigestBytes);
  }
}

void DeviceFlash::write_clocks(SnapshotWriter* out) const {
  for (const Device::Clock& clock : device_.clocks_) {
    if (!clock.used) continue;
    out->tag(SnapshotTag::kClock);
    out->u8(index_of(device_.boots_[clock.boot].id));
    out->varint(clock.view.segment);
    out->u8((clock.view.relative ? snapshot_flag::kRelative : 0) | (clock.view.known ? snapshot_flag::kKnown : 0) |
            (clock.to_send ? snapshot_flag::kToSend : 0));
    out->u64(static_cast<uint64_t>(clock.view.offset_ms));
  }
}

void DeviceFlash::write_gap(SnapshotWriter* out, const StoreGap& gap) const {
  const uint8_t index = index_of(gap.boot);
  if (index == SeriesStore::kBootsMax) return;
  out->tag(SnapshotTag::kGap);
  out->u8(index);
  out->varint(gap.ref);
  out->varint(gap.first_ordinal);
  out->varint(gap.count);
}

void DeviceFlash::write_gaps(SnapshotWriter* out) const {
  StoreGap of_store;
  for (uint32_t i = 0; device_.store_.gap(i, &of_store); ++i) write_gap(out, of_store);
  for (size_t i = 0; i < device_.gap_count_; ++i) {
    const Device::PendingGap& gap = device_.gaps_[i];
    write_gap(out, {device_.boots_[gap.boot].id, gap.ref, gap.first_ordinal, gap.count});
  }
  for (uint32_t i = 0; i < lost_count_; ++i) write_gap(out, lost_[i]);
}

void DeviceFlash::write_parcels(SnapshotWriter* out) const {
  for (size_t i = 0; i < device_.config_.parcels_max; ++i) {
    const Device::Slot& slot = device_.slots_[i];
    if (slot.state == Device::Slot::State::kFree) continue;
    out->tag(SnapshotTag::kParcel);
    out->u8(index_of(device_.boots_[slot.boot].id));
    out->u8(slot.state == Device::Slot::State::kHeld ? kParcelHeld : kParcelRefused);
    out->varint(slot.seq);
    out->varint(slot.points);
    out->varint(slot.bytes);
    out->bytes(device_.message_of(slot).data(), slot.bytes);
  }
}

void DeviceFlash::write_series(SnapshotWriter* out) const {
  uint8_t places[SeriesStore::kBootsMax];
  const size_t boots = list_boots(places);
  for (uint32_t ref = 1; ref <= device_.store_.series_count(); ++ref) {
    const Device::Series& series = device_.series_[ref - 1];
    uint8_t raw[kFingerprintBytes];
    fingerprint(*series.spec, raw);
    uint8_t declared = 0;
    for (size_t i = 0; i < boots; ++i) declared |= static_cast<uint8_t>((series.declared >> places[i] & 1) << i);
    out->tag(SnapshotTag::kSeries);
    out->bytes(raw, sizeof raw);
    out->varint(device_.store_.next_ordinal(ref));
    out->u8(declared);
    uint64_t last_ordinal;
    Point last;
    const bool has_last = device_.store_.last(ref, &last_ordinal, &last);
    out->u8(has_last ? snapshot_flag::kHasLast : 0);
    if (!has_last) continue;
    out->varint(last_ordinal);
    out->u64(static_cast<uint64_t>(last.time_ms));
    out->u64(last.bits);
  }
}

// The settled ones first, which are older; then those that wait; open ones as if they were sealed now.
void DeviceFlash::write_blocks(SnapshotWriter* out, uint32_t safe_left_out) {
  const SeriesStore& store = device_.store_;
  const std::span<uint8_t> space{device_.scratch_, device_.scratch_bytes_};
  SealedBlock block;
  for (const BlockState state : {BlockState::kSafe, BlockState::kLoose}) {
    for (bool more = store.first(state, &block); more; more = store.next(state, block.id, &block)) {
      if (state == BlockState::kSafe && safe_left_out > 0) {
        --safe_left_out;
        continue;
      }
      const size_t size = store.copy(block.id, space);
      write_block(out, block.info.boot, state, store.sealed_ms(block.id), space.first(size),
                  state == BlockState::kLoose ? block.thinned : 0);
    }
  }
  for (uint32_t ref = 1; ref <= store.series_count(); ++ref) {
    const size_t size = store.copy_open(ref, space);
    if (size > 0) write_block(out, store.boot(), BlockState::kLoose, saved_ms_, space.first(size));
  }
}

// Settled blocks of boots that the device has no word of any more stay out.
void DeviceFlash::write_block(SnapshotWriter* out, uint64_t boot, BlockState state, int64_t sealed_ms,
                              std::span<const uint8_t> bytes, uint32_t thinned) {
  const uint8_t index = index_of(boot);
  if (index == SeriesStore::kBootsMax) return;
  const int64_t age_ms = saved_ms_ - sealed_ms;
  out->tag(thinned != 0 ? SnapshotTag::kThinned : SnapshotTag::kBlock);
  if (thinned != 0) out->varint(thinned);
  out->u8(index);
  out->u8(state == BlockState::kSafe ? kBlockSettled : kBlockUnsent);
  out->varint(age_ms > 0 ? static_cast<uint64_t>(age_ms) : 0);
  out->varint(bytes.size());
  out->bytes(bytes.data(), bytes.size());
}

// ---- Saving

// How many of the oldest settled blocks must stay out; UINT32_MAX: without all of them it is still too long.
uint32_t DeviceFlash::blocks_to_leave_out(uint32_t bytes_max) {
  SnapshotWriter all(nullptr);
  write_body(&all, 0);
  uint32_t left_out = 0;
  size_t bytes = all.size();
  SealedBlock block;
  const SeriesStore& store = device_.store_;
  for (bool more = store.first(BlockState::kSafe, &block); more && bytes > bytes_max;
       more = store.next(BlockState::kSafe, block.id, &block)) {
    SnapshotWriter one(nullptr);
    const size_t size = store.copy(block.id, {device_.scratch_, device_.scratch_bytes_});
    write_block(&one, block.info.boot, BlockState::kSafe, store.sealed_ms(block.id), {device_.scratch_, size});
    bytes -= one.size();
    ++left_out;
  }
  return bytes > bytes_max ? UINT32_MAX : left_out;
}

lam_status DeviceFlash::save() {
  const int64_t mono = device_.mono_ms();
  saved_ms_ = mono;
  save_due_ms_ = mono + kSaveAgainMs;
  save_now_ = false;
  // What flash has of a block must be what a gateway gets of it, whichever comes first.
  if (device_.config_.pressure != nullptr) device_.config_.pressure->thinning->keep_whole(&device_.store_);
  const uint32_t left_out = blocks_to_leave_out(banks_.body_bytes_max());
  if (left_out == UINT32_MAX) {
    ++counters_.saves_too_large;
    return LAM_E_MEMORY;
  }
  while (banks_.begin()) {
    SnapshotWriter out(&banks_);
    write_body(&out, left_out);
    if (!out.ok() || !banks_.commit(starts_)) {
      ++counters_.saves_failed;
      continue;
    }
    ++counters_.saves;
    counters_.blocks_left_out += left_out;
    for (uint32_t ref = 1; ref <= device_.store_.series_count(); ++ref) {
      marked_[ref - 1] = device_.store_.next_ordinal(ref);
    }
    noted_boot_ = device_.boot();
    save_due_ms_ = config_.save_every_s == UINT32_MAX ? INT64_MAX : mono + int64_t{config_.save_every_s} * 1000;
    return LAM_OK;
  }
  ++counters_.saves_failed;
  return LAM_E_NO_DATA;
}

// ---- Noting

bool DeviceFlash::note(const uint8_t* bytes, size_t size) {
  if (banks_.note({bytes, size})) {
    ++counters_.notes;
    return true;
  }
  // Full, or worn: a snapshot says as much and more.
  if (save() == LAM_OK) return true;
  ++counters_.notes_failed;
  return false;
}

// What the next parcels may say of the present boot that flash does not have yet: how far ordinals reach, and clocks.
void DeviceFlash::note_what_goes() {
  uint8_t raw[kNoteBytesMax];
  raw[0] = static_cast<uint8_t>(NoteTag::kMade);
  const size_t head = 1 + put_u64(raw + 1, device_.boot());
  size_t size = head + 1;
  uint8_t clocks = 0;
  for (const Device::Clock& clock : device_.clocks_) {
    if (!clock.goes_with(device_.present_)) continue;
    ++clocks;
    size += put_varint(raw + size, clock.view.segment);
    raw[size++] = (clock.view.relative ? snapshot_flag::kRelative : 0) | (clock.view.known ? snapshot_flag::kKnown : 0);
    size += put_u64(raw + size, static_cast<uint64_t>(clock.view.offset_ms));
  }
  raw[head] = clocks;
  bool any = clocks > 0;
  for (uint32_t ref = 1; ref <= device_.store_.series_count(); ++ref) {
    BlockInfo open;
    const uint64_t end = device_.store_.open_info(ref, &open) ? open.first_ordinal : device_.store_.next_ordinal(ref);
    if (end <= marked_[ref - 1]) continue;
    if (size + 15 > sizeof raw) {
      note(raw, size);
      raw[head] = 0;
      size = head + 1;
    }
    size += put_varint(raw + size, ref);
    size += put_varint(raw + size, end);
    marked_[ref - 1] = end;
    any = true;
  }
  if (any) note(raw, size);
}

// Hands gaps to the device as it has room for them.
void DeviceFlash::name_lost() {
  while (lost_count_ > 0 && device_.gap_count_ < Device::kPendingGapsMax) {
    const StoreGap& gap = lost_[--lost_count_];
    if (device_.find_boot(gap.boot) < 0) {
      ++counters_.gaps_forgotten;
      continue;
    }
    device_.keep_gap(gap);
  }
}

// ---- The turn in the loop: Device::poll() with the flash's work between.

uint32_t DeviceFlash::poll() {
  device_.follow_clock();
  const int64_t mono = device_.mono_ms();
  int64_t due = device_.store_.tick(mono);
  name_lost();
  device_.take_gaps();
  if (save_now_ || mono >= save_due_ms_ || noted_boot_ != device_.boot()) {
    if (noted_boot_ != device_.boot()) memset(marked_, 0, device_.config_.series_max * sizeof marked_[0]);
    noted_boot_ = device_.boot();
    save();
  } else if (banks_.erase_one()) {
    due = mono + kEraseAgainMs;
  }
  if (save_due_ms_ < due) due = save_due_ms_;
  int64_t build_at = device_.build_due(mono);
  while (build_at <= mono) {
    if (!planted("flash_notes_nothing")) note_what_goes();
    if (!device_.build()) break;
    build_at = device_.build_due(mono);
  }
  if (build_at > mono && build_at < due) due = build_at;
  const int64_t uplink_due = device_.uplink_.tick(mono);
  if (uplink_due < due) due = uplink_due;
  const int64_t wait = due - mono;
  return wait < 1 ? 1 : wait > int64_t{kPollMsMax} ? kPollMsMax : static_cast<uint32_t>(wait);
}

void DeviceFlash::counters(lam_flash_counters* out) const {
  *out = counters_;
  out->erases = banks_.counters().erases;
  out->bytes_written = banks_.counters().bytes_written;
  out->banks_worn = banks_.counters().banks_worn;
}

}  // namespace lambda
