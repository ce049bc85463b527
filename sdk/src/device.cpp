// A device's memory, series and time; its parcels are in device_parcels.cpp.
#include "device.h"

#include <string.h>

#include <new>

#include "expect.h"

namespace lambda {
namespace {

constexpr int64_t kClockStepMs = 2'000;  // a wall clock that differs by more has stepped: a new clock segment
constexpr int64_t kSlewDivisor = 100;    // else it is followed by at most a hundredth of the time that passed
constexpr uint32_t kPollMsMax = 60'000;
constexpr size_t kDeclarationBytesMax = 512;

size_t round_up(size_t bytes) {
  return (bytes + 7) & ~size_t{7};
}

bool is_id(const char* text) {
  if (text == nullptr) return false;
  size_t size = 0;
  for (; text[size] != '\0'; ++size) {
    const char c = text[size];
    if (size == 64 || !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return size > 0;
}

void set_default(uint32_t* value, uint32_t standard) {
  if (*value == 0) *value = standard;
}

lam_config with_defaults(lam_config config) {
  if (config.software == nullptr) config.software = "";
  set_default(&config.parcels_max, 4);
  set_default(&config.parcel_bytes_max, 2048);
  set_default(&config.block_bytes_max, 512);
  set_default(&config.page_bytes, 128);
  set_default(&config.seal_age_ms, 60'000);
  set_default(&config.parcel_age_ms, 2'000);
  set_default(&config.retention_ms, 600'000);
  set_default(&config.answer_timeout_ms, 5'000);
  return config;
}

bool is_valid(const lam_config& config) {
  return is_id(config.site) && is_id(config.device) && strlen(config.software) <= 64 && config.series_max >= 1 &&
         config.series_max <= 4096 && config.parcels_max >= 2 && config.parcels_max <= 32 &&
         config.parcel_bytes_max >= 2048 && config.parcel_bytes_max <= 65'536 && config.block_bytes_max >= 256 &&
         config.block_bytes_max <= config.parcel_bytes_max / 2 && config.block_bytes_max <= 16'384 &&
         config.page_bytes >= 128 && config.page_bytes <= 4096 && config.page_bytes % 8 == 0 &&
         config.seal_age_ms <= 600'000;
}

SeriesStoreOptions store_options(const lam_config& config) {
  SeriesStoreOptions options;
  options.series_max = config.series_max;
  options.page_bytes = config.page_bytes;
  options.block_bytes_max = config.block_bytes_max;
  options.retention_ms = config.retention_ms;
  options.seal_age_ms = config.seal_age_ms;
  return options;
}

UplinkOptions uplink_options(const lam_config& config) {
  UplinkOptions options;
  options.window_parcels_max = config.parcels_max;
  options.window_bytes_max = config.parcels_max * config.parcel_bytes_max * 2;
  options.answer_timeout_ms = config.answer_timeout_ms;
  return options;
}

}  // namespace

// Where things lie in the memory, each at a multiple of 8: the Device first, the store's arena last.
struct Device::Layout {
  explicit Layout(const lam_config& config) {
    size_t at = round_up(sizeof(Device));
    const auto place = [&](size_t* offset, size_t bytes) {
      *offset = at;
      at += round_up(bytes);
    };
    table_places = 2 * size_t{config.parcels_max} < 4 ? 4 : 2 * size_t{config.parcels_max};
    scratch_bytes = config.block_bytes_max > kHelloBytesMax ? config.block_bytes_max : kHelloBytesMax;
    place(&series, config.series_max * sizeof(Series));
    place(&slots, config.parcels_max * sizeof(Slot));
    place(&table, table_places * sizeof(UplinkParcel));
    place(&parcels, size_t{config.parcels_max} * config.parcel_bytes_max);
    place(&scratch, scratch_bytes);
    arena = at;
  }
  size_t series, slots, table, table_places, parcels, scratch, scratch_bytes, arena;
  size_t arena_bytes = 0;
};

size_t Device::memory_min(const lam_config& given) {
  const lam_config config = with_defaults(given);
  if (!is_valid(config)) return 0;
  const size_t pages = 2 * size_t{config.series_max} + 2;
  return Layout(config).arena + round_up(SeriesStore::arena_bytes(store_options(config), pages));
}

Device* Device::make(void* memory, size_t size, const lam_config& given, const lam_port& port) {
  const lam_config config = with_defaults(given);
  Layout layout(config);
  layout.arena_bytes = size - layout.arena;
  return new (memory) Device(layout, static_cast<uint8_t*>(memory), config, port);
}

Device::Device(const Layout& layout, uint8_t* memory, const lam_config& config, const lam_port& port)
    : config_(config),
      port_(port),
      hash_{port.sha256_start, port.sha256_update, port.sha256_finish},
      series_(new (memory + layout.series) Series[config.series_max]()),
      slots_(new (memory + layout.slots) Slot[config.parcels_max]()),
      parcels_(memory + layout.parcels),
      scratch_(memory + layout.scratch),
      scratch_bytes_(layout.scratch_bytes),
      store_({memory + layout.arena, layout.arena_bytes}, store_options(config), hash_, draw(this)),
      uplink_(*this, {this, publish_up, [](void* context) { return draw(context); }}, uplink_options(config),
              {new (memory + layout.table) UplinkParcel[layout.table_places](), layout.table_places}) {
  Boot& first = boots_[0];
  first.id = store_.boot();
  first.order = boots_begun_ = 1;
  int64_t utc_ms = 0;
  const int64_t mono = mono_ms();
  clock_read_ms_ = mono;
  if (port_.utc_ms != nullptr && port_.utc_ms(port_.context, &utc_ms)) {
    first.started_ms = utc_ms;
    clock_offset_ms_ = utc_ms - mono;
  } else {
    clock_relative_ = true;
    clock_offset_ms_ = -mono;
    note_clock({0, true, 0, false});
  }
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
  const bool known_type =
      spec->type == LAM_F64 || spec->type == LAM_I64 || spec->type == LAM_DEC || spec->type == LAM_STATE64;
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
    if (i > 0 && strcmp(spec->labels[i - 1].name, label.name) >= 0) return LAM_E_INVALID;
    bytes += strlen(label.name) + strlen(label.value) + 12;
  }
  if (bytes > kDeclarationBytesMax) return LAM_E_INVALID;
  uint32_t ref = 0;
  if (!store_.add({static_cast<ValueType>(spec->type), spec->scale, 1}, &ref)) return LAM_E_FULL;
  series_[ref - 1].spec = spec;
  *series = ref;
  return LAM_OK;
}

lam_status Device::append(lam_series ref, lam_type type, uint64_t bits) {
  const lam_series_spec* known = spec(ref);
  if (known == nullptr) return LAM_E_INVALID;
  if (known->type != type) return LAM_E_TYPE;
  return append_at(ref, now_ms(), bits);
}

lam_status Device::append_at(lam_series ref, int64_t time_ms, uint64_t bits) {
  if (spec(ref) == nullptr) return LAM_E_INVALID;
  const Appended appended = store_.append(ref, {time_ms, bits});
  if (appended.result != StoreResult::kOk) {
    ++points_rejected_;
    return LAM_E_MEMORY;
  }
  Series& series = series_[ref - 1];
  series.last = {time_ms, bits};
  series.last_ordinal = appended.ordinal;
  series.has_last = true;
  return LAM_OK;
}

bool Device::last(lam_series ref, uint64_t* ordinal, Point* point) const {
  if (spec(ref) == nullptr || !series_[ref - 1].has_last) return false;
  *ordinal = series_[ref - 1].last_ordinal;
  *point = series_[ref - 1].last;
  return true;
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
  if (clock_relative_) {
    // The past of this segment gets its offset now, and what follows needs none.
    note_clock({clock_segment_, true, utc_ms - (mono + clock_offset_ms_), true});
    begin_clock(false, utc_ms - mono);
    return;
  }
  const int64_t ahead = utc_ms - (mono + clock_offset_ms_);
  if (ahead > kClockStepMs || ahead < -kClockStepMs) {
    begin_clock(false, utc_ms - mono);
    return;
  }
  const int64_t most = (mono - clock_read_ms_) / kSlewDivisor;
  if (most <= 0) return;  // too little has passed to make anything of it
  clock_read_ms_ = mono;
  clock_offset_ms_ += ahead > most ? most : ahead < -most ? -most : ahead;
}

void Device::begin_clock(bool relative, int64_t offset_ms) {
  ++clock_segment_;
  store_.set_clock(clock_segment_);
  clock_relative_ = relative;
  clock_offset_ms_ = offset_ms;
  clock_read_ms_ = mono_ms();
  note_clock({clock_segment_, relative, 0, !relative});
}

// Keeps the record for the next parcel, in place of what was known of the segment. When there is no place, first what
// was sent goes, then segments that need no offset: a clock that steps again and again costs no relative one its place.
void Device::note_clock(const ClockView& view) {
  Clock* place = nullptr;
  int best = -1;
  for (Clock& clock : clocks_) {
    const bool same = clock.used && clock.boot == present_ && clock.view.segment == view.segment;
    const int fit = same ? 4 : !clock.used ? 3 : !clock.to_send ? 2 : !clock.view.relative ? 1 : 0;
    if (fit <= best) continue;
    best = fit;
    place = &clock;
  }
  *place = {view, present_, true, true};
}

// A gateway's clock is good enough to place what a device without one has measured; its own steps do not concern us.
void Device::gateway_time(int64_t utc_ms) {
  if (port_.gateway_ms != nullptr) port_.gateway_ms(port_.context, utc_ms);
  if (!clock_relative_) return;
  for (const Clock& clock : clocks_) {
    const bool here = clock.used && clock.boot == present_ && clock.view.segment == clock_segment_;
    if (here && clock.view.known) return;
  }
  note_clock({clock_segment_, true, utc_ms - (mono_ms() + clock_offset_ms_), true});
}

// ---- Work

void Device::incoming(lam_topic topic, std::span<const uint8_t> message) {
  if (topic == LAM_DOWN) uplink_.down(message, mono_ms());
  if (topic == LAM_INTEREST) uplink_.interest(message, mono_ms());
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
