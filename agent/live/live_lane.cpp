#include "agent/live/live_lane.h"

#include <algorithm>
#include <utility>

#include "query/labels.h"
#include "query/parser.h"

namespace lambda::agent {
namespace {

constexpr uint32_t kScanSeries = 256;         // asked about in one tick: the loop has other work, too
constexpr int64_t kDeclareAgainMs = 60'000;   // a declaration may be lost on the way
constexpr size_t kPointsOfAMessageMax = 512;  // about 60 bytes each at worst

}  // namespace

// What is being written: the builder, and how many points are in it.
class LiveLane::Message {
 public:
  Message(std::span<uint8_t> space, uint64_t boot, uint64_t version) : builder(space, boot, version) {
    empty_bytes_ = builder.bytes().size();
  }
  bool empty() const { return builder.bytes().size() == empty_bytes_; }
  LiveBuilder builder;
  uint64_t points = 0;

 private:
  size_t empty_bytes_;
};

LiveLane::LiveLane(Env& env, LiveOptions options, std::string device, std::string site, LivePorts ports)
    : env_(env),
      options_(options),
      device_(std::move(device)),
      site_(std::move(site)),
      ports_(std::move(ports)),
      budget_bytes_(static_cast<double>(options.bytes_per_s)),
      budget_at_us_(env.clock.mono_us()),
      space_(options.message_bytes_max),
      block_(block_bytes_max(kBlockPointsMax)) {
  interests_.reserve(kInterestsMax);
}

LiveLane::~LiveLane() {
  env_.loop.cancel(timer_);
}

void LiveLane::begin_boot(uint64_t boot, std::shared_ptr<const SeriesTable> table) {
  drop_waiting();
  boot_ = boot;
  table_ = std::move(table);
  watches_.clear();
  if (listening()) begin_anew();
}

void LiveLane::connected() {
  connected_ = true;
  // Whoever listens at the other end may know nothing of what was sent before.
  begin_anew();
}

void LiveLane::disconnected() {
  connected_ = false;
  drop_waiting();
}

// Every wanted series begins with its declaration and its open block.
void LiveLane::begin_anew() {
  open_.clear();
  for (Watch& watch : watches_) watch.begun = watch.declared = false;
  declared_ms_ = now_ms();
  scan_next_ = 1;
  wake(0);
}

void LiveLane::drop_waiting() {
  counters_.points_dropped += points_.size();
  counters_.blocks_dropped += open_.size();
  points_.clear();
  open_.clear();
}

// Nobody listens: rows are missed from now on.
void LiveLane::stop_sending() {
  drop_waiting();
  for (Watch& watch : watches_) watch.begun = false;
}

size_t LiveLane::interests() const {
  return static_cast<size_t>(std::count_if(interests_.begin(), interests_.end(),
                                           [&](const Interest& interest) { return interest.until_ms > now_ms(); }));
}

// ---- What is wanted

void LiveLane::interest(std::span<const uint8_t> message) {
  if (!options_.enabled) return;
  InterestView view;
  if (decode_interest(message, &view) != MessageError::kNone) return;
  ++counters_.interests;
  Interest* interest = place_for(view.gateway);
  const bool same_start = interest->heard && interest->incarnation == view.incarnation;
  if (same_start && view.interest_version < interest->version) return;  // overtaken on the way
  const bool same = same_start && view.interest_version == interest->version;
  interest->heard = true;
  interest->incarnation = view.incarnation;
  interest->version = newest_version_ = view.interest_version;
  const int64_t lease_s = std::min<int64_t>(view.lease_s, options_.lease_s_max);
  const bool ran = interest->until_ms > now_ms();
  interest->until_ms = lease_s == 0 ? 0 : now_ms() + lease_s * 1000;
  lease_end_ms_ = 0;
  for (const Interest& each : interests_) {
    if (each.until_ms > now_ms()) lease_end_ms_ = std::max(lease_end_ms_, each.until_ms);
  }
  if (!same) {
    take_selectors(message, *interest);
    const auto bit = static_cast<uint8_t>(1u << (interest - interests_.data()));
    for (Watch& watch : watches_) {
      watch.asked &= static_cast<uint8_t>(~bit);
      watch.matches &= static_cast<uint8_t>(~bit);
    }
    counters_.interests_left_out += view.selectors_left_out;
  }
  // Another start of the gateway, or one that was away, knows nothing of the series.
  if (!same_start || !ran || now_ms() - declared_ms_ >= kDeclareAgainMs) {
    declared_ms_ = now_ms();
    for (Watch& watch : watches_) {
      watch.declared = false;
      if (!same_start || !ran) watch.begun = false;
    }
  }
  if (!listening()) {
    stop_sending();
  } else if (!same || !ran) {
    scan_next_ = 1;
    wake(0);
  }
}

LiveLane::Interest* LiveLane::place_for(std::string_view gateway) {
  auto found = std::find_if(interests_.begin(), interests_.end(),
                            [&](const Interest& interest) { return interest.gateway == gateway; });
  if (found != interests_.end()) return &*found;
  if (interests_.size() < kInterestsMax) {
    interests_.emplace_back();
    found = interests_.end() - 1;
  } else {
    found = std::min_element(interests_.begin(), interests_.end(),
                             [](const Interest& a, const Interest& b) { return a.until_ms < b.until_ms; });
    *found = Interest();
  }
  found->gateway = gateway;
  return &*found;
}

void LiveLane::take_selectors(std::span<const uint8_t> message, Interest& interest) {
  InterestView view;
  interest.texts.clear();
  interest.selectors.clear();
  (void)decode_interest(
      message, &view,
      [](void* context, std::string_view text) { static_cast<Interest*>(context)->texts.emplace_back(text); },
      &interest);
  for (const std::string& text : interest.texts) {
    const auto matchers = query::parse_selector(text);
    const Error* why = matchers ? nullptr : &matchers.error();
    if (matchers) {
      if (auto set = query::MatcherSet::compile(*matchers)) {
        interest.selectors.push_back(std::move(*set));
        continue;
      }
    }
    ++counters_.selectors_refused;
    env_.log.debug("selector_refused",
                   {{"gateway", interest.gateway}, {"why", why != nullptr ? why->text : "its pattern is none"}});
  }
}

// The interests whose lease runs, a bit each.
uint8_t LiveLane::running() {
  if (!listening()) return 0;
  const int64_t now = now_ms();
  if (now >= lease_end_ms_) {
    lease_end_ms_ = 0;
    stop_sending();
    return 0;
  }
  unsigned bits = 0;
  for (size_t i = 0; i < interests_.size(); ++i) {
    if (interests_[i].until_ms > now) bits |= 1u << i;
  }
  return static_cast<uint8_t>(bits);
}

LiveLane::Watch& LiveLane::watch(SeriesRef ref) {
  if (ref >= watches_.size()) watches_.resize(std::max<size_t>(ref + 1, table_->size()));
  return watches_[ref];
}

bool LiveLane::wanted(SeriesRef ref, uint8_t running) {
  if (!table_->known(ref)) return false;
  Watch& known = watch(ref);
  const auto unknown = static_cast<uint8_t>(running & ~known.asked);
  if (unknown != 0) look(ref, known, unknown);
  return (known.matches & running) != 0;
}

void LiveLane::look(SeriesRef ref, Watch& known, uint8_t unknown) {
  known.asked |= unknown;
  const DeclarationView declaration = table_->declaration(ref, labels_);
  query::Labels labels;
  labels.reserve(labels_.size() + 3);
  labels.emplace_back(query::kMetricName, declaration.name);
  labels.emplace_back("instance", device_);
  labels.emplace_back("site", site_);
  for (const auto& [name, value] : labels_) labels.emplace_back(name, value);
  std::sort(labels.begin(), labels.end());
  for (size_t i = 0; i < interests_.size(); ++i) {
    if ((unknown >> i & 1u) == 0) continue;
    const auto& selectors = interests_[i].selectors;
    const bool any =
        std::any_of(selectors.begin(), selectors.end(), [&](const auto& selector) { return selector.matches(labels); });
    if (any) known.matches |= static_cast<uint8_t>(1u << i);
  }
}

// ---- What is made

void LiveLane::row(const Row& row) {
  if (!connected_ || table_ == nullptr) return;
  const uint8_t bits = running();
  if (bits == 0) return;
  for (const RowPoint& made : row.points) {
    if (!wanted(made.ref, bits)) {
      watch(made.ref).begun = false;
      continue;
    }
    Watch& known = watch(made.ref);
    if (!known.begun) {
      begin(made.ref, known);  // the point is in its open block
      continue;
    }
    if (points_.size() >= options_.points_waiting_max) {
      points_.pop_front();
      ++counters_.points_dropped;
    }
    points_.push_back({made.ref, row.clock, table_->at(made.ref).next_ordinal - 1, {row.time_ms, made.bits}});
  }
  if (!points_.empty() || !open_.empty()) wake(options_.batch_ms);
}

void LiveLane::begin(SeriesRef ref, Watch& known) {
  known.begun = true;
  open_.push_back(ref);
}

// ---- Sending

void LiveLane::wake(int64_t delay_ms) {
  if (timer_ != 0) return;
  timer_ = env_.loop.after(delay_ms, [this] {
    timer_ = 0;
    tick();
  });
}

void LiveLane::tick() {
  if (!connected_ || table_ == nullptr) return;
  const uint8_t bits = running();
  if (bits == 0) return;
  if (scan_next_ != 0) {
    const uint32_t end = std::min<uint32_t>(table_->size(), scan_next_ + kScanSeries);
    for (; scan_next_ < end; ++scan_next_) {
      if (!wanted(scan_next_, bits)) continue;
      if (Watch& known = watch(scan_next_); !known.begun) begin(scan_next_, known);
    }
    if (scan_next_ >= table_->size()) scan_next_ = 0;
  }
  while (!points_.empty() || !open_.empty()) {
    if (!may_send() || !send_message()) {
      ++counters_.waits;
      return wake(options_.batch_ms);
    }
  }
  if (scan_next_ != 0) wake(1);
}

// Whether the block lane leaves room, and this lane's own rate.
bool LiveLane::may_send() {
  const int64_t now = env_.clock.mono_us();
  const auto rate = static_cast<double>(options_.bytes_per_s);
  budget_bytes_ = std::min(rate, budget_bytes_ + static_cast<double>(now - budget_at_us_) * rate / 1e6);
  budget_at_us_ = now;
  return budget_bytes_ > 0 && ports_.outgoing_bytes() <= options_.outgoing_bytes_max;
}

// One message of what waits. False: it could not be sent, and what was in it is dropped, as if it were lost on the way.
bool LiveLane::send_message() {
  Message message(space_, boot_, newest_version_);
  if (add_open_blocks(message)) (void)add_points(message);
  if (message.empty()) return true;
  const auto bytes = message.builder.bytes();
  budget_bytes_ -= static_cast<double>(bytes.size());
  if (auto sent = ports_.publish(bytes); !sent) {
    counters_.points_dropped += message.points;
    for (Watch& watch : watches_) watch.declared = false;  // some of them were in it
    return false;
  }
  ++counters_.messages;
  counters_.bytes += bytes.size();
  counters_.points += message.points;
  return true;
}

// False: the message is full, or as good as full.
bool LiveLane::declare(Message& message, SeriesRef ref) {
  Watch& known = watch(ref);
  if (known.declared) return true;
  if (!message.builder.add(table_->declaration(ref, labels_))) return false;
  known.declared = true;
  ++counters_.declarations;
  return true;
}

bool LiveLane::add_open_blocks(Message& message) {
  while (!open_.empty()) {
    const SeriesRef ref = open_.front();
    const size_t size = ports_.open_block(ref, block_);
    BlockReader reader;
    if (size > 0 && reader.open(std::span(block_).first(size), boot_).ok()) {
      const bool first = message.empty();
      if (!declare(message, ref) || !message.builder.add_block(std::span(block_).first(size))) {
        if (!first) return false;
        ++counters_.blocks_dropped;  // larger than a message: what follows is sent point by point
      } else {
        message.points += reader.info().count;
        Watch& known = watch(ref);
        known.sent_first = reader.info().first_ordinal;
        known.sent_end = known.sent_first + reader.info().count;
      }
    }
    open_.pop_front();
  }
  return true;
}

// Points of a series that follow each other become a block. What does not fit any more waits on, in its order.
bool LiveLane::add_points(Message& message) {
  const size_t count = std::min(points_.size(), kPointsOfAMessageMax);
  std::vector<Waiting> batch(points_.begin(), points_.begin() + static_cast<std::ptrdiff_t>(count));
  points_.erase(points_.begin(), points_.begin() + static_cast<std::ptrdiff_t>(count));
  std::erase_if(batch, [&](const Waiting& one) {
    const Watch& known = watch(one.ref);
    return one.ordinal >= known.sent_first && one.ordinal < known.sent_end;
  });
  std::stable_sort(batch.begin(), batch.end(), [](const Waiting& a, const Waiting& b) { return a.ref < b.ref; });
  size_t at = 0;
  while (at < batch.size()) {
    const Waiting& first = batch[at];
    const Series& series = table_->at(first.ref);
    BlockOptions options;
    options.boot = boot_;
    options.ref = first.ref;
    options.clock = first.clock;
    options.type = series.type;
    options.scale = series.scale;
    options.first_ordinal = first.ordinal;
    BlockWriter writer(block_, options);
    size_t end = at;
    while (end < batch.size() && batch[end].ref == first.ref && batch[end].clock == first.clock &&
           batch[end].ordinal == first.ordinal + (end - at) && writer.append(batch[end].point) == AppendResult::kOk) {
      ++end;
    }
    LAMBDA_ASSERT(end > at);
    const bool alone = message.empty();
    if (declare(message, first.ref) && message.builder.add_block(writer.seal())) {
      message.points += end - at;
    } else if (alone && message.empty()) {
      counters_.points_dropped += end - at;  // its declaration alone is larger than a message
    } else {
      break;
    }
    at = end;
  }
  points_.insert(points_.begin(), batch.begin() + static_cast<std::ptrdiff_t>(at), batch.end());
  return at == batch.size();
}

}  // namespace lambda::agent
