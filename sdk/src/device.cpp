// A device's memory, series and time; its parcels are in device_parcels.cpp.
#include "device.h"

#include <stddef.h>
#include <string.h>

#include <new>
#include <type_traits>

#include "expect.h"
#include "varint.h"

namespace lambda {
namespace {

constexpr int32_t kClockStepMs = 2'000;  // a wall clock that differs by more has stepped: a new clock segment
constexpr int32_t kSlewDivisor = 100;    // else it is followed by at most a hundredth of the time that passed
constexpr uint32_t kPollMsMax = 60'000;
constexpr size_t kDeclarationBytesMax = 512;

size_t round_up(size_t bytes) {
  return (bytes + 7) & ~size_t{7};
}

LAMBDA_ONE_COPY bool is_id(const char* text) {
  if (text == nullptr) return false;
  size_t size = 0;
  for (; text[size] != '\0'; ++size) {
    const char c = text[size];
    if (size == 64 || !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return size > 0;
}

// As strcmp() has it, which is 440 bytes for nothing but speed.
bool is_before(const char* a, const char* b) {
  for (; *a == *b && *a != '\0'; ++a, ++b) {
  }
  return static_cast<unsigned char>(*a) < static_cast<unsigned char>(*b);
}

// A number of the configuration: where it lies, in words, what 0 stands for, and its bounds, the greatest a power of 2.
struct Bounds {
  uint8_t word, most_bits;
  uint16_t least;
  uint32_t standard;
};
#define LAMBDA_WORD(member) (offsetof(lam_config, member) / sizeof(uint32_t))
constexpr Bounds kBounds[] = {
    {LAMBDA_WORD(series_max), 12, 1, 0},
    {LAMBDA_WORD(parcels_max), 5, 2, 4},
    {LAMBDA_WORD(parcel_bytes_max), 16, 2048, 2048},
    {LAMBDA_WORD(block_bytes_max), 14, 256, 512},
    {LAMBDA_WORD(page_bytes), 12, 128, 128},
    {LAMBDA_WORD(seal_age_ms), 31, 1, 60'000},
    {LAMBDA_WORD(parcel_age_ms), 31, 1, 2'000},
    {LAMBDA_WORD(retention_ms), 31, 1, 600'000},
    {LAMBDA_WORD(answer_timeout_ms), 30, 1, 5'000},
};
constexpr uint32_t kSealAgeMsMax = 600'000;
constexpr uint32_t kCodecsMax = kFurtherCodecs ? 8 : 0;

// Puts defaults in; false: the configuration is not valid.
bool complete(lam_config* config) {
  for (const Bounds& bounds : kBounds) {
    uint32_t& value = reinterpret_cast<uint32_t*>(config)[bounds.word];
    if (value == 0) value = bounds.standard;
    if (value < bounds.least || (value - 1) >> bounds.most_bits != 0) return false;
  }
  if (config->seal_age_ms > kSealAgeMsMax || config->codec_count > kCodecsMax) return false;
  if (config->software == nullptr) config->software = "";
  for (uint32_t i = 0; kFurtherCodecs && i < config->codec_count; ++i) {
    if (config->codecs == nullptr || config->codecs[i] == nullptr) return false;
  }
  return is_id(config->site) && is_id(config->device) && strlen(config->software) <= 64 &&
         config->block_bytes_max <= config->parcel_bytes_max / 2 && config->page_bytes % 8 == 0;
}

// The first of those that lie in cleared memory, as each is empty when all its bytes are zero: constructors would go
// through them one by one.
template <class Item>
Item* empty(uint8_t* at) {
  static_assert(std::is_trivially_copyable_v<Item> && std::is_trivially_destructible_v<Item>);
  return std::launder(reinterpret_cast<Item*>(at));
}

SeriesStoreOptions store_options(const lam_config& config) {
  return {.series_max = config.series_max,
          .page_bytes = config.page_bytes,
          .block_bytes_max = config.block_bytes_max,
          .retention_ms = config.retention_ms,
          .seal_age_ms = config.seal_age_ms,
          .codings = {config.codecs, config.codec_count},
          .reorder = config.reorder,
          .thinning = config.pressure != nullptr ? config.pressure->thinning : nullptr};
}

UplinkOptions uplink_options(const lam_config& config) {
  UplinkOptions options;
  options.window_parcels_max = config.parcels_max;
  options.window_bytes_max = config.parcels_max * config.parcel_bytes_max * 2;
  options.answer_timeout_ms = config.answer_timeout_ms;
  if (options.answer_timeout_ms_max < config.answer_timeout_ms) {
    options.answer_timeout_ms_max = config.answer_timeout_ms;
  }
  return options;
}

}  // namespace

// The configuration, and where things lie in the memory, each at a multiple of 8: the Device first, then the tables,
// which begin cleared, the store's arena last.
struct Device::Layout {
  explicit Layout(const lam_config& given) : config(given), valid(complete(&config)), store(store_options(config)) {
    if (!valid) return;
    const auto place = [&](size_t* offset, size_t bytes) {
      *offset = arena;
      arena += round_up(bytes);
    };
    table_places = 2 * size_t{config.parcels_max};  // at least four
    scratch_bytes = config.block_bytes_max > kHelloBytesMax ? config.block_bytes_max : kHelloBytesMax;
    place(&series, config.series_max * sizeof(Series));
    place(&slots, config.parcels_max * sizeof(Slot));
    place(&table, table_places * sizeof(UplinkParcel));
    place(&parcels, size_t{config.parcels_max} * config.parcel_bytes_max);
    place(&scratch, scratch_bytes);
    const size_t pages = 2 * size_t{config.series_max} + 2;
    bytes_min = arena + round_up(SeriesStore::arena_bytes(store, pages));
  }
  lam_config config;  // with its defaults
  bool valid;
  SeriesStoreOptions store;
  size_t series, slots, table, table_places, parcels, scratch, scratch_bytes;
  size_t arena = (sizeof(Device) + 7) / 8 * 8;
  size_t bytes_min = 0;  // 0: the configuration is not valid
};

size_t Device::memory_min(const lam_config& config) {
  return Layout(config).bytes_min;
}

lam_status Device::make(void* memory, size_t size, const lam_config& config, const lam_port& port, Device** device) {
  const Layout layout(config);
  if (layout.bytes_min == 0) return LAM_E_INVALID;
  if (size < layout.bytes_min) return LAM_E_MEMORY;
  auto* const bytes = static_cast<uint8_t*>(memory);
  memset(bytes + layout.series, 0, layout.parcels - layout.series);
  *device = new (memory) Device(layout, {bytes, size}, port);
  return LAM_OK;
}

// Three large functions stay apart, this, build() and the uplink's tick(): with -flto all would become one that calls
// them, with more than the registers hold.
LAMBDA_ONE_COPY Device::Device(const Layout& layout, std::span<uint8_t> memory, const lam_port& port)
    : series_(empty<Series>(&memory[layout.series])),
      slots_(empty<Slot>(&memory[layout.slots])),
      parcels_(&memory[layout.parcels]),
      scratch_(&memory[layout.scratch]),
      scratch_bytes_(layout.scratch_bytes),
      config_(layout.config),
      port_(port),
      hash_{port.sha256_start, port.sha256_update, port.sha256_finish},
      store_(layout.store, memory.subspan(layout.arena), hash_, draw(this)),
      uplink_(uplink_options(config_), *this, {this, publish_up, draw},
              {empty<UplinkParcel>(&memory[layout.table]), layout.table_places}) {
  clock_read_ms_ = mono_ms();
  int64_t utc_ms = 0;
  clock_relative_ = port_.utc_ms == nullptr || !port_.utc_ms(port_.context, &utc_ms);
  clock_offset_ms_ = utc_ms - clock_read_ms_;
  start_boot(0, store_.boot());
}

// Never 0, which means "none" in boots and nonces.
uint64_t Device::draw(void* context) {
  const Device& device = *static_cast<Device*>(context);
  const uint64_t drawn = device.port_.random(device.port_.context);
  return drawn != 0 ? drawn : 1;
}

bool Device::publish_up(void* context, std::span<const uint8_t> message) {
  Device& device = *static_cast<Device*>(context);
  if (device.port_.publish(device.port_.context, LAM_UP, message.data(), message.size())) return true;
  ++device.publish_failures_;
  return false;
}

bool Device::sign(void* context, const uint8_t digest[kDigestBytes], uint8_t signature[kSignatureBytes]) {
  Device& device = *static_cast<Device*>(context);
  if (device.port_.sign(device.port_.context, digest, signature)) return true;
  ++device.sign_failures_;
  return false;
}

// ---- Series

const lam_series_spec* Device::spec(lam_series ref) const {
  return ref - 1 < store_.series_count() ? series_[ref - 1].spec : nullptr;
}

lam_status Device::declare(const lam_series_spec* spec, lam_series* series) {
  const bool known_type = store_.has_codec_for(static_cast<ValueType>(spec->type));
  const bool known_kind = spec->kind == LAM_GAUGE || spec->kind == LAM_COUNTER || spec->kind == LAM_STATE;
  if (spec->name == nullptr || spec->name[0] == '\0' || !known_type || !known_kind || spec->scale > kScaleMax ||
      (spec->scale != 0 && spec->type != LAM_DEC) || spec->label_count > LAM_LABELS_MAX ||
      (spec->label_count > 0 && spec->labels == nullptr)) {
    return LAM_E_INVALID;
  }
  size_t bytes = strlen(spec->name) + (spec->unit != nullptr ? strlen(spec->unit) : 0) + 32;
  for (size_t i = 0; i < spec->label_count; ++i) {
    const lam_label& label = spec->labels[i];
    if (label.name == nullptr || label.value == nullptr) return LAM_E_INVALID;
    if (i > 0 && !is_before(spec->labels[i - 1].name, label.name)) return LAM_E_INVALID;
    bytes += strlen(label.name) + strlen(label.value) + 12;
  }
  if (bytes > kDeclarationBytesMax) return LAM_E_INVALID;
  uint32_t ref = 0;
  if (!store_.add({static_cast<ValueType>(spec->type), spec->scale, 1, spec->kind == LAM_GAUGE}, &ref))
    return LAM_E_FULL;
  series_[ref - 1].spec = spec;
  if constexpr (kFurtherCodecs) choose_codec(ref);
  *series = ref;
  return LAM_OK;
}

lam_status Device::append(lam_series ref, lam_type type, uint64_t bits) {
  const lam_series_spec* known = spec(ref);
  if (known == nullptr) return LAM_E_INVALID;
  if (known->type != type) return LAM_E_TYPE;
  return keep(ref, {now_ms(), bits});
}

lam_status Device::append_at(lam_series ref, int64_t time_ms, uint64_t bits) {
  return spec(ref) != nullptr ? keep(ref, {time_ms, bits}) : LAM_E_INVALID;
}

lam_status Device::keep(lam_series ref, Point point) {
  if (store_.append(ref, point).result == StoreResult::kOk) return LAM_OK;
  ++points_rejected_;
  return LAM_E_MEMORY;
}

// ---- Time

int64_t Device::now_ms() {
  follow_clock();
  return mono_ms() + clock_offset_ms_;
}

// Within a segment time never goes back: the wall clock is followed by a hundredth of what passed, and what is further
// off than that could make good is a step.
void Device::follow_clock() {
  int64_t utc_ms = 0;
  if (port_.utc_ms == nullptr || !port_.utc_ms(port_.context, &utc_ms)) return;
  const int64_t mono = mono_ms();
  const int64_t offset_ms = utc_ms - mono;
  const int64_t ahead = offset_ms - clock_offset_ms_;
  const bool steps = static_cast<uint64_t>(ahead) + kClockStepMs > 2 * kClockStepMs;
  if (clock_relative_ || steps) {
    // The past of a segment without a clock gets its offset now, and what follows needs none.
    if (clock_relative_) note_past(utc_ms);
    begin_clock(offset_ms, mono);
    return;
  }
  const int64_t passed = mono - clock_read_ms_;
  if (passed < kSlewDivisor) return;  // too little to make anything of it
  clock_read_ms_ = mono;
  // After so long all of what is no step is made good.
  const int32_t most =
      passed < kClockStepMs * kSlewDivisor ? static_cast<int32_t>(passed) / kSlewDivisor : kClockStepMs;
  const auto small = static_cast<int32_t>(ahead);
  clock_offset_ms_ += small > most ? most : small < -most ? -most : small;
}

// A segment of the wall clock.
void Device::begin_clock(int64_t offset_ms, int64_t mono) {
  ++clock_segment_;
  store_.set_clock(clock_segment_);
  clock_relative_ = false;
  clock_offset_ms_ = offset_ms;
  clock_read_ms_ = mono;
  note_clock(false, 0, true);
}

// What lies behind in a segment without a clock, placed by one that says it is `utc_ms` now.
void Device::note_past(int64_t utc_ms) {
  // A gateway may say any time.
  const auto relative_ms = static_cast<uint64_t>(mono_ms() + clock_offset_ms_);
  note_clock(true, static_cast<int64_t>(static_cast<uint64_t>(utc_ms) - relative_ms), true);
}

// Keeps the present segment's record for the next parcel, in place of what was known of it. When there is no place,
// first what was sent goes, then segments that need no offset, in each case those without an offset before the others:
// a clock that steps again and again costs no relative one its place.
void Device::note_clock(bool relative, int64_t offset_ms, bool known) {
  Clock* place = nullptr;
  int best = -1;
  for (Clock& clock : clocks_) {
    const bool same = clock.used && clock.boot == present_ && clock.view.segment == clock_segment_;
    const bool plain = !clock.view.relative;
    const int fit = same ? 5 : !clock.used ? 4 : !clock.to_send ? (plain ? 3 : 2) : plain ? 1 : 0;
    if (fit <= best) continue;
    best = fit;
    place = &clock;
  }
  place->view = {clock_segment_, relative, offset_ms, known};
  place->boot = present_;
  place->used = place->to_send = true;
}

// Only a boot's first segment may be relative: a device that learned the time does not forget it.
bool Device::clock(uint64_t boot, uint32_t segment, ClockView* out) const {
  *out = {segment, false, 0, true};
  if (segment != 0) return true;
  for (const Clock& clock : clocks_) {
    if (!clock.used || clock.view.segment != 0 || boots_[clock.boot].id != boot) continue;
    *out = clock.view;
    return true;
  }
  const int place = find_boot(boot);
  return place >= 0 && boots_[place].started_ms != 0;
}

// A gateway's clock is good enough to place what a device without one has measured; its own steps do not concern us.
void Device::gateway_time(int64_t utc_ms) {
  if (port_.gateway_ms != nullptr) port_.gateway_ms(port_.context, utc_ms);
  if (!clock_relative_) return;
  for (const Clock& clock : clocks_) {
    const bool here = clock.used && clock.boot == present_ && clock.view.segment == clock_segment_;
    if (here && clock.view.known) return;
  }
  note_past(utc_ms);
}

// ---- Work

void Device::incoming(lam_topic topic, std::span<const uint8_t> message) {
  const int64_t mono = mono_ms();
  if (topic == LAM_INTEREST) uplink_.interest(message, mono);
  if (topic != LAM_DOWN || (questions_ != nullptr && questions_->incoming(message, mono))) return;
  uplink_.down(message, mono);
}

uint32_t Device::poll() {
  follow_clock();
  const int64_t mono = mono_ms();
  int64_t due = store_.tick(mono);
  take_gaps();
  int64_t build_at = build_due(mono);
  while (build_at <= mono && build()) build_at = build_due(mono);
  if (build_at > mono && build_at < due) due = build_at;
  const int64_t uplink_due = uplink_.tick(mono);
  if (uplink_due < due) due = uplink_due;
  const int64_t questions_due = questions_ != nullptr ? questions_->tick(mono) : due;
  if (questions_due < due) due = questions_due;
  const int64_t wait = due - mono;
  return wait < 1 ? 1 : wait > int64_t{kPollMsMax} ? kPollMsMax : static_cast<uint32_t>(wait);
}

void Device::counters(lam_counters* out) const {
  const SeriesStoreCounters& store = store_.counters();
  const UplinkCounters& uplink = uplink_.counters();
  *out = lam_counters{};
  out->points_made = store.points;
  out->points_settled = points_settled_;
  out->points_refused = points_refused_;
  out->points_dropped = store.points_dropped;
  out->points_rejected = points_rejected_;
  out->points_thinned = store.points_thinned;
  for (size_t i = 0; i < config_.parcels_max; ++i) {
    if (slots_[i].state == Slot::State::kHeld) out->points_waiting += slots_[i].points;
  }
  SealedBlock block;
  for (bool more = store_.first(BlockState::kLoose, &block); more;
       more = store_.next(BlockState::kLoose, block.id, &block)) {
    out->points_waiting += block.info.count;
  }
  BlockInfo open;
  for (uint32_t ref = 1; ref <= store_.series_count(); ++ref) {
    if (store_.open_info(ref, &open)) out->points_waiting += open.count;
  }
  out->parcels_made = parcels_made_;
  out->parcels_sent = uplink.parcels_sent;
  out->parcels_resent = uplink.parcels_resent;
  out->hellos_sent = uplink.hellos_sent;
  out->acks = uplink.acks;
  out->nacks = uplink.nacks_retry + uplink.nacks_permanent + uplink.nacks_declare + uplink.nacks_new_boot;
  out->timeouts = uplink.timeouts;
  out->answers_malformed = uplink.answers_malformed;
  out->answers_foreign = uplink.answers_foreign;
  out->sign_failures = sign_failures_;
  out->publish_failures = publish_failures_;
}

}  // namespace lambda
