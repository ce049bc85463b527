// A device's parcels: what goes into the next one, and the shelf the uplink takes them from.
#include <string.h>

#include <new>

#include "codes.h"
#include "device.h"
#include "expect.h"
#include "message_parts.h"
#include "varint.h"

namespace lambda {
namespace {

constexpr int64_t kSignAgainMs = 1'000;
constexpr int64_t kGapParcelMs = 10'000;  // parcels of nothing but gaps come at most so often
constexpr size_t kNearlyFullBytes = 512;  // a parcel that lacks no more than this need not wait for more

uint8_t bit(int boot) {
  return static_cast<uint8_t>(1u << boot);
}

}  // namespace

// Walks over the points that a parcel of ours names, in blocks and gaps.
class Device::Named {
 public:
  Named(const Device& device, const Slot& slot) : in_(device.message_of(slot)) {
    in_.next();  // the parcel, all that the message is
    in_ = wire::FieldReader(in_.bytes());
  }

  // Until the next call; null at the end. A block's points are a gap of what was refused.
  const GapView* next() {
    while (const uint32_t tag = in_.next()) {
      if (tag == lambda_v1_Parcel_gaps_tag) {
        new (&gap_) GapView;
        if (wire::read_fields(in_.bytes(), kGapShape, &gap_)) return &gap_;
      }
      if (tag == lambda_v1_Parcel_blocks_tag) {
        BlockInfo info;
        read_own_info(in_.bytes(), 0, &info);
        gap_ = {info.ref, info.first_ordinal, info.count, GapReason::kRefused};
        return &gap_;
      }
    }
    return nullptr;
  }

 private:
  wire::FieldReader in_;
  GapView gap_;
};

// ---- Boots

int Device::find_boot(uint64_t id) const {
  for (size_t i = 0; i < SeriesStore::kBootsMax; ++i) {
    if (boots_[i].order != 0 && boots_[i].id == id) return static_cast<int>(i);
  }
  return -1;
}

bool Device::in_use(int boot) const {
  if (boots_[boot].order == 0) return false;
  if (boot == present_) return true;
  if (held(boot) || next_slot(nullptr, Slot::State::kRefused, boot) != nullptr) return true;
  for (size_t i = 0; i < gap_count_; ++i) {
    if (gaps_[i].boot == boot) return true;
  }
  SealedBlock block;
  return store_.gap_count() > 0 || next_loose(boot, &block);
}

// The store and the table of boots have as many places; a device that was told to begin anew so often, and got rid of
// nothing, goes on with the boot it has and is told again.
void Device::begin_boot() {
  int place = 0;
  while (place < kNoBoot && in_use(place)) ++place;
  if (place == kNoBoot) return;
  const uint64_t id = draw(this);
  if (find_boot(id) >= 0 || !store_.new_boot(id)) return;
  forget_declared(place);
  for (Clock& clock : clocks_) {
    if (clock.boot == place) clock.used = clock.to_send = false;
  }
  start_boot(place, id);
}

// The place is free; what follows belongs to this boot.
void Device::start_boot(int place, uint64_t id) {
  const uint64_t previous = present().id;
  present_ = static_cast<uint8_t>(place);
  Boot& boot = boots_[place];
  boot = Boot();
  boot.id = id;
  boot.previous = previous;
  boot.order = ++boots_begun_;
  boot.next_seq = 1;
  clock_segment_ = 0;
  const int64_t mono = mono_ms();
  if (clock_relative_) {
    clock_offset_ms_ = -mono;
    note_clock(true, 0, false);
  } else {
    boot.started_ms = mono + clock_offset_ms_;
  }
}

void Device::forget_declared(int boot) {
  for (Series& series : all_series()) {
    series.declared &= static_cast<uint8_t>(~bit(boot));
    series.wanted &= static_cast<uint8_t>(~bit(boot));
  }
}

Device::Waiting Device::waiting_of(int boot) const {
  Waiting waiting{boots_[boot].next_seq, 0, 0};
  const Slot* slot = nullptr;
  while ((slot = next_slot(slot, Slot::State::kHeld, boot)) != nullptr) {
    if (slot->seq < waiting.floor_seq) waiting.floor_seq = slot->seq;
    waiting.parcels += 1;
    waiting.bytes += slot->bytes;
  }
  return waiting;
}

LAMBDA_ONE_COPY uint8_t* Device::space_of(const Slot& slot) const {
  return parcels_ + static_cast<size_t>(&slot - slots_) * config_.parcel_bytes_max;
}

// The next slot behind `after`, or the first; null: no more.
Device::Slot* Device::next_slot(const Slot* after, Slot::State state, int boot) const {
  for (Slot* slot = after == nullptr ? slots_ : slots_ + (after - slots_) + 1; slot != slots_ + config_.parcels_max;
       ++slot) {
    if (slot->state == state && (boot == kAnyBoot || slot->boot == boot)) return slot;
  }
  return nullptr;
}

// ---- What goes into the next parcel

bool Device::is_taken(const SealedBlock& block) const {
  const uint32_t codec = kFurtherCodecs ? codec_bit(block.info.codec) : 0;
  const uint32_t needed = codec | (block.thinned != 0 ? kTakesThinned : 0);
  return (codecs_ & needed) == needed;
}

bool Device::next_loose(int boot, SealedBlock* block) const {
  while (block->id == BlockId() ? store_.first(BlockState::kLoose, block)
                                : store_.next(BlockState::kLoose, block->id, block)) {
    if (boot == kAnyBoot || block->info.boot == boots_[boot].id) return true;
  }
  return false;
}

// A block that some gateway would not take waits for one that does, as it would for a gateway that is away: the others
// need not wait behind it.
bool Device::next_ready(int boot, SealedBlock* block) const {
  while (next_loose(boot, block)) {
    if (is_taken(*block)) return true;
  }
  return false;
}

// A boot whose declarations a gateway asked for; -1: none.
int Device::wanted_boot() const {
  for (const Series& series : all_series()) {
    if (series.wanted != 0) return __builtin_ctz(series.wanted);
  }
  return -1;
}

// What is loose and may go, or so much of it as fills a parcel.
size_t Device::loose_bytes() const {
  size_t bytes = 0;
  SealedBlock block;
  while (bytes + kNearlyFullBytes < config_.parcel_bytes_max && next_ready(kAnyBoot, &block)) bytes += block.bytes;
  return bytes;
}

// When a parcel should be built, monotonic; INT64_MAX: something else must happen before.
int64_t Device::build_due(int64_t mono) {
  if (mono < build_again_ms_) return build_again_ms_;
  const size_t loose = loose_bytes();
  if (loose == 0) flushing_ = false;
  if (!loose_waits_) loose_since_ms_ = mono;
  loose_waits_ = loose != 0;
  if (loose + kNearlyFullBytes >= config_.parcel_bytes_max || flushing_ || wanted_boot() >= 0) return mono;
  int64_t due = loose_waits_ ? loose_since_ms_ + config_.parcel_age_ms : INT64_MAX;
  const bool any_gap = gap_count_ > 0 || next_slot(nullptr, Slot::State::kRefused) != nullptr;
  if (any_gap && gap_parcel_ms_ < due) due = gap_parcel_ms_;
  return due;
}

// Declarations that were asked for come first, then the boot of the oldest loose block, then gaps.
bool Device::choose_boot(Choice* choice) const {
  int boot = wanted_boot();
  choice->declares_only = boot >= 0;
  SealedBlock block;
  if (boot < 0 && next_ready(kAnyBoot, &block)) boot = find_boot(block.info.boot);
  if (boot < 0 && gap_count_ > 0) boot = gaps_[0].boot;
  const Slot* const refused = next_slot(nullptr, Slot::State::kRefused);
  if (boot < 0 && refused != nullptr) boot = refused->boot;
  if (boot < 0) return false;
  choice->boot = boot;
  if (!choice->declares_only) choice->names_of = choice->boot;
  return true;
}

DeclarationView Device::declaration_of(lam_series ref, LabelView labels[LAM_LABELS_MAX]) const {
  const lam_series_spec& spec = *series_[ref - 1].spec;
  for (size_t i = 0; i < spec.label_count; ++i) {
    new (&labels[i]) LabelView{spec.labels[i].name, spec.labels[i].value};
  }
  return {ref,
          spec.name,
          {labels, spec.label_count},
          static_cast<Kind>(spec.kind),
          static_cast<ValueType>(spec.type),
          spec.scale,
          spec.unit != nullptr ? spec.unit : ""};
}

bool Device::plan_declaration(ParcelPlan* plan, lam_series ref) const {
  LabelView labels[LAM_LABELS_MAX];
  return plan->add(declaration_of(ref, labels));
}

void Device::choose_wanted(ParcelPlan* plan, int boot) {
  for (uint32_t ref = 1; ref <= store_.series_count(); ++ref) {
    Series& series = series_[ref - 1];
    if ((series.wanted & bit(boot)) == 0) continue;
    if (!plan_declaration(plan, ref)) return;
    series.in_plan = true;
  }
}

// The oldest blocks of the boot that fit, each series declared with its first, each thinned block with its gap.
void Device::choose_blocks(ParcelPlan* plan, Choice* choice) {
  SealedBlock block;
  while (next_ready(choice->boot, &block)) {
    Series& series = series_[block.info.ref - 1];
    if ((series.declared & bit(choice->boot)) == 0 && !series.in_plan) {
      if (!plan_declaration(plan, block.info.ref)) return;
      series.in_plan = true;  // also if its block is the next parcel's
    }
    const bool fits = config_.pressure != nullptr ? config_.pressure->plan(block, plan) : plan->add_block(block.bytes);
    if (!fits) return;
    ++choice->blocks;
  }
}

void Device::choose(ParcelPlan* plan, Choice* choice) {
  for (Series& series : all_series()) series.in_plan = false;
  for (const Clock& clock : clocks_) {
    if (clock.goes_with(choice->boot)) LAMBDA_EXPECT(plan->add(clock.view));
  }
  for (size_t i = 0; i < gap_count_; ++i) {
    if (gaps_[i].boot == choice->names_of) LAMBDA_EXPECT(plan->add(gaps_[i]));
  }
  Slot* slot = nullptr;
  while ((slot = next_slot(slot, Slot::State::kRefused, choice->names_of)) != nullptr) {
    // All that it held or nothing, so that the slot is free afterwards.
    ParcelPlan with = *plan;
    Named named(*this, *slot);
    const GapView* gap = nullptr;
    while ((gap = named.next()) != nullptr && with.add(*gap)) {
    }
    slot->in_plan = gap == nullptr;
    if (!slot->in_plan) continue;
    *plan = with;
    choice->names_refused = true;
  }
  if (choice->declares_only) {
    choose_wanted(plan, choice->boot);
  } else {
    choose_blocks(plan, choice);
  }
}

// One slot is kept for declarations, without which what is in the others may never be taken; and for naming what was
// refused when all others hold just that.
Device::Slot* Device::free_slot(const Choice& choice) const {
  Slot* const free = next_slot(nullptr, Slot::State::kFree);
  if (free == nullptr || choice.declares_only || next_slot(free, Slot::State::kFree) != nullptr) return free;
  return choice.names_refused && next_slot(nullptr, Slot::State::kHeld) == nullptr ? free : nullptr;
}

// Builds one parcel into a free slot. False: none was built.
LAMBDA_ONE_COPY bool Device::build() {
  Choice choice;
  if (!choose_boot(&choice)) return false;
  Boot& boot = boots_[choice.boot];
  const int64_t mono = mono_ms();
  const ParcelHead head{config_.site,
                        config_.device,
                        boot.id,
                        boot.next_seq,
                        mono + clock_offset_ms_,
                        waiting_of(choice.boot).floor_seq,
                        boot.has_digest ? boot.digest : nullptr};
  ParcelPlan plan(head, config_.parcel_bytes_max);
  choose(&plan, &choice);
  if (plan.blocks() + plan.gaps() == 0 && !choice.declares_only) return false;
  Slot* slot = free_slot(choice);
  if (slot == nullptr) return false;
  const std::span<const uint8_t> message =
      write(head, plan, choice, {space_of(*slot), config_.parcel_bytes_max}, boot.digest);
  if (message.empty()) {
    build_again_ms_ = mono + kSignAgainMs;
    return false;
  }
  slot->points = commit(choice);
  slot->state = Slot::State::kHeld;
  slot->boot = static_cast<uint8_t>(choice.boot);
  slot->bytes = static_cast<uint32_t>(message.size());
  slot->seq = boot.next_seq++;
  boot.has_digest = true;
  loose_waits_ = false;
  if (plan.gaps() > 0) gap_parcel_ms_ = mono + kGapParcelMs;
  ++parcels_made_;
  return true;
}

std::span<const uint8_t> Device::write(const ParcelHead& head, const ParcelPlan& plan, const Choice& choice,
                                       std::span<uint8_t> space, uint8_t digest[kDigestBytes]) {
  ParcelBuilder parcel(hash_, head, plan, space);
  LabelView labels[LAM_LABELS_MAX];
  for (uint32_t ref = 1; ref <= store_.series_count(); ++ref) {
    if (series_[ref - 1].in_plan) parcel.declaration(declaration_of(ref, labels));
  }
  SealedBlock block;
  for (uint32_t i = 0; i < choice.blocks; ++i) {
    LAMBDA_EXPECT(next_ready(choice.boot, &block));
    const size_t size = store_.copy(block.id, {scratch_, scratch_bytes_});
    LAMBDA_EXPECT(size == block.bytes);
    parcel.block(block.info, block.root, {scratch_, size});
  }
  if (config_.pressure != nullptr)
    config_.pressure->tell(*this, static_cast<uint8_t>(choice.boot), choice.blocks, &parcel);
  for (size_t i = 0; i < gap_count_; ++i) {
    if (gaps_[i].boot == choice.names_of) parcel.gap(gaps_[i]);
  }
  const Slot* slot = nullptr;
  while ((slot = next_slot(slot, Slot::State::kRefused, choice.names_of)) != nullptr) {
    if (!slot->in_plan) continue;
    Named named(*this, *slot);
    while (const GapView* const gap = named.next()) parcel.gap(*gap);
  }
  for (const Clock& clock : clocks_) {
    if (clock.goes_with(choice.boot)) parcel.clock(clock.view);
  }
  return parcel.finish({this, sign}, digest);
}

// The parcel stands: what is in it is taken off the lists. Returns its points.
uint32_t Device::commit(const Choice& choice) {
  for (Series& series : all_series()) {
    if (!series.in_plan) continue;
    series.declared |= bit(choice.boot);
    series.wanted &= static_cast<uint8_t>(~bit(choice.boot));
  }
  uint32_t points = 0;
  for (uint32_t i = 0; i < choice.blocks; ++i) {
    SealedBlock block;
    LAMBDA_EXPECT(next_ready(choice.boot, &block));
    points += block.info.count;
    store_.safe(block.id);
  }
  size_t kept = 0;
  for (size_t i = 0; i < gap_count_; ++i) {
    if (gaps_[i].boot != choice.names_of) gaps_[kept++] = gaps_[i];
  }
  gap_count_ = kept;
  Slot* slot = nullptr;
  while ((slot = next_slot(slot, Slot::State::kRefused, choice.names_of)) != nullptr) {
    if (slot->in_plan) *slot = Slot();
  }
  for (Clock& clock : clocks_) {
    if (clock.boot == choice.boot) clock.to_send = false;
  }
  return points;
}

void Device::take_gaps() {
  StoreGap gap;
  while (gap_count_ < kPendingGapsMax && store_.take_gap(&gap)) keep_gap(gap);
}

// There is a place for it, and its boot is known.
void Device::keep_gap(const StoreGap& gap) {
  const int place = find_boot(gap.boot);
  LAMBDA_EXPECT(place >= 0);
  gaps_[gap_count_++] = {{gap.ref, gap.first_ordinal, gap.count, GapReason::kMemory}, static_cast<uint8_t>(place)};
}

// ---- The shelf

// The next behind `after` that is held and has a seq in the range; null: no more.
Device::Slot* Device::next_held(const Slot* after, uint64_t boot, const SeqRange& range) const {
  const int place = find_boot(boot);
  if (place < 0) return nullptr;
  Slot* slot = next_slot(after, Slot::State::kHeld, place);
  while (slot != nullptr && (slot->seq < range.first || slot->seq > range.last)) {
    slot = next_slot(slot, Slot::State::kHeld, place);
  }
  return slot;
}

Device::Slot* Device::find_slot(ParcelKey key) const {
  return next_held(nullptr, key.boot, {key.seq, key.seq});
}

// Everything here was made since the start, so the backlog lane is empty.
bool Device::next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) {
  if (kUplinkLanes > 1 && lane == Lane::kBacklog) return false;
  const int after_boot = after.seq != 0 ? find_boot(after.boot) : -1;
  const uint32_t after_order = after_boot >= 0 ? boots_[after_boot].order : 0;
  const Slot* best = nullptr;
  uint32_t best_order = 0;
  const auto before = [](uint32_t order, uint64_t seq, uint32_t other_order, uint64_t other_seq) {
    return order < other_order || (order == other_order && seq < other_seq);
  };
  const Slot* slot = nullptr;
  while ((slot = next_slot(slot, Slot::State::kHeld)) != nullptr) {
    const uint32_t order = boots_[slot->boot].order;
    if (!before(after_order, after.seq, order, slot->seq)) continue;
    if (best != nullptr && !before(order, slot->seq, best_order, best->seq)) continue;
    best = slot;
    best_order = order;
  }
  if (best == nullptr) return false;
  *key = {boots_[best->boot].id, best->seq};
  *bytes = best->bytes;
  return true;
}

std::span<const uint8_t> Device::read(ParcelKey key) {
  const Slot* slot = find_slot(key);
  return slot != nullptr ? message_of(*slot) : std::span<const uint8_t>();
}

bool Device::boot(size_t index, uint64_t* boot) {
  *boot = present().id;
  if (index == 0) return true;
  for (int place = 0; place < kNoBoot; ++place) {
    if (place == present_ || !held(place) || --index > 0) continue;
    *boot = boots_[place].id;
    return true;
  }
  return false;
}

std::span<const uint8_t> Device::hello(uint64_t id, uint64_t nonce) {
  const int place = find_boot(id);
  if (place < 0) return {};
  Boot& boot = boots_[place];
  const Waiting waiting = waiting_of(place);
  HelloView hello{.site = config_.site,
                  .device = config_.device,
                  .boot = id,
                  .previous_boot = boot.previous,
                  .started_ms = boot.started_ms,
                  .signature = boot.signature,
                  .nonce = nonce,
                  .next_seq = boot.next_seq,
                  .floor_seq = waiting.floor_seq,
                  .backlog_parcels = waiting.parcels,
                  .backlog_bytes = waiting.bytes,
                  .software = config_.software};
  if (!boot.has_signature) {
    uint8_t digest[kDigestBytes];
    hello_digest(hash_, hello, digest);
    if (!sign(this, digest, boot.signature)) return {};
    boot.has_signature = true;
  }
  if (!clock_relative_) hello.sent_ms = mono_ms() + clock_offset_ms_;  // signing took its time
  return {scratch_, encode_hello(hello, {scratch_, scratch_bytes_})};
}

void Device::settled(ParcelKey key) {
  settled_between(key.boot, {key.seq, key.seq});
}

void Device::settled_through(uint64_t id, uint64_t seq) {
  settled_between(id, {0, seq});
  const int place = find_boot(id);
  const uint64_t next_seq = seq + 1;
  // Not so far that the parcels made from here on came round to 0; nobody counted up to there.
  if (place >= 0 && boots_[place].next_seq < next_seq && next_seq <= INT64_MAX) boots_[place].next_seq = next_seq;
}

void Device::settled_between(uint64_t id, const SeqRange& range) {
  Slot* slot = nullptr;
  while ((slot = next_held(slot, id, range)) != nullptr) {
    points_settled_ += slot->points;
    *slot = Slot();
  }
}

// The parcel's bytes stay until a later one has named its points. What it declared, or said of clocks, was not heard:
// all of its boot is said again.
void Device::refused(ParcelKey key, RefusalCode) {
  Slot* slot = find_slot(key);
  if (slot == nullptr) return;
  points_refused_ += slot->points;
  forget_declared(slot->boot);
  for (Clock& clock : clocks_) {
    if (clock.boot == slot->boot) clock.to_send = clock.used;
  }
  if (Named(*this, *slot).next() != nullptr) {
    slot->state = Slot::State::kRefused;
  } else {
    *slot = Slot();
  }
}

void Device::declare(uint64_t id, std::span<const uint32_t> refs) {
  const int place = find_boot(id);
  if (place < 0) return;
  for (const uint32_t ref : refs) {
    if (ref - 1 < store_.series_count()) series_[ref - 1].wanted |= bit(place);
  }
}

void Device::new_boot() {
  begin_boot();
}

void Device::gateways_take(uint32_t codecs) {
  const bool changed = codecs != codecs_;
  codecs_ = codecs;
  if (!kFurtherCodecs || !changed) return;
  for (uint32_t ref = 1; ref <= store_.series_count(); ++ref) choose_codec(ref);
}

// By kind and type; what is not linked, or not taken, leaves the codec of everybody. (Of f32 there is but one.)
void Device::choose_codec(lam_series ref) {
  const lam_series_spec& spec = *series_[ref - 1].spec;
  const bool is_state = spec.kind == LAM_STATE || spec.type == LAM_STATE64;
  const Codec wanted = is_state ? Codec::kRuns64 : Codec::kSlope64;
  const bool helps = is_state || spec.kind == LAM_COUNTER;
  if (helps && (codecs_ & codec_bit(wanted)) != 0 && store_.write_in(ref, wanted)) return;
  store_.write_in(ref, Codec::kDelta64);
}

}  // namespace lambda
