#include "agent/memory/memory.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/crypto/crypto.h"

namespace lambda::agent {
namespace {

constexpr uint32_t kPageBytes = 128;

SeriesStoreOptions store_options(const MemoryOptions& options) {
  SeriesStoreOptions out;
  out.series_max = options.series_max;
  out.gaps_max = 4096;
  out.page_bytes = kPageBytes;
  out.block_bytes_max = options.block_bytes_max;
  out.retention_ms = options.retention_ms;
  out.seal_age_ms = 600'000;  // rounds seal; this is only the block's own bound
  return out;
}

size_t pages_for(const MemoryOptions& options) {
  const size_t fixed = SeriesStore::arena_bytes(store_options(options), 0);
  const size_t least = options.series_max * size_t{2} + 16;
  const size_t room = options.bytes_max > fixed ? (options.bytes_max - fixed) / (kPageBytes + sizeof(uint32_t)) : 0;
  return std::max(least, room);
}

class Cursor final : public query::SeriesCursor {
 public:
  Cursor(const SeriesStore& store, const Series& series, SeriesRef ref, int64_t from_ms, int64_t to_ms)
      : store_(store), type_(series.type), scale_(series.scale), ref_(ref), from_ms_(from_ms), to_ms_(to_ms) {}

  Result<std::vector<query::Sample>> read(uint64_t samples_max) override {
    struct Context {
      std::vector<query::Sample> samples;
      const Cursor* cursor;
      uint64_t max;
      bool over = false;
      bool sorted = true;
    } context{{}, this, samples_max};
    const auto visit = [](void* to, uint64_t, uint64_t, Point point) {
      auto& in = *static_cast<Context*>(to);
      if (in.samples.size() >= in.max) {
        in.over = true;
        return;
      }
      in.sorted = in.sorted && (in.samples.empty() || in.samples.back().time_ms < point.time_ms);
      in.samples.push_back({point.time_ms, point_value(in.cursor->type_, in.cursor->scale_, point.bits)});
    };
    if (!store_.read(ref_, from_ms_, to_ms_, visit, &context)) {
      return fail(ErrorCode::kCorrupt, "a block in memory does not read back");
    }
    if (context.over) return fail(ErrorCode::kFull, "more than " + std::to_string(samples_max) + " samples");
    if (!context.sorted) {
      // A clock went back. Of points of one time the last one, of the later ordinal, wins.
      auto& all = context.samples;
      std::stable_sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.time_ms < b.time_ms; });
      std::vector<query::Sample> one;
      for (const auto& sample : all) {
        if (!one.empty() && one.back().time_ms == sample.time_ms) one.pop_back();
        one.push_back(sample);
      }
      all = std::move(one);
    }
    return std::move(context.samples);
  }

 private:
  const SeriesStore& store_;
  const ValueType type_;
  const uint8_t scale_;
  const SeriesRef ref_;
  const int64_t from_ms_, to_ms_;
};

}  // namespace

double point_value(ValueType type, uint8_t scale, uint64_t bits) {
  if (type == ValueType::kF64) return std::bit_cast<double>(bits);
  const auto number = static_cast<double>(static_cast<int64_t>(bits));
  if (type != ValueType::kDec) return number;
  static constexpr double kPowers[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                       1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
  return number / kPowers[std::min<uint8_t>(scale, 18)];
}

// Not initialised: the system gives pages of it as they are first written.
struct Memory::Room {
  explicit Room(size_t bytes) : words(new uint64_t[bytes / 8 + 1]), size(bytes) {}
  std::unique_ptr<uint64_t[]> words;
  size_t size;
};

Memory::Memory(MemoryOptions options, uint64_t boot) : options_(std::move(options)) {
  const SeriesStoreOptions store = store_options(options_);
  room_ = std::make_unique<Room>(SeriesStore::arena_bytes(store, pages_for(options_)));
  store_ = std::make_unique<SeriesStore>(std::span(reinterpret_cast<uint8_t*>(room_->words.get()), room_->size), store,
                                         host_hash(), boot);
}

Memory::~Memory() = default;

void Memory::add_series(const SeriesTable& table, SeriesRef ref) {
  const Series& series = table.at(ref);
  uint32_t given = 0;
  const bool added = store_->add({series.type, series.scale, 1}, &given);
  LAMBDA_ASSERT(added && given == ref);
}

bool Memory::append(SeriesRef ref, uint64_t ordinal, Point point, uint32_t clock) {
  if (clock != clock_) store_->set_clock(clock_ = clock);
  const Appended appended = store_->append(ref, point);
  if (appended.result == StoreResult::kOk) {
    LAMBDA_ASSERT(appended.ordinal == ordinal);
    return true;
  }
  points_refused_++;
  const bool resumed = store_->resume(ref, ordinal + 1);
  LAMBDA_ASSERT(resumed);
  return false;
}

bool Memory::begin_boot(uint64_t boot) {
  if (!store_->new_boot(boot)) return false;
  clock_ = 0;
  return true;
}

Result<query::Selection> Memory::select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                        uint64_t series_max) {
  query::Selection selection;
  if (table_ == nullptr) return selection;
  std::string_view name;
  for (const auto& matcher : matchers) {
    if (matcher.label == "__name__" && matcher.op == query::MatchOp::kEqual) name = matcher.value;
  }
  std::vector<LabelView> views;
  for (SeriesRef ref = 1; ref < table_->size(); ++ref) {
    if (!table_->known(ref)) continue;
    const DeclarationView declaration = table_->declaration(ref, views);
    if (!name.empty() && declaration.name != name) continue;
    query::Labels labels;
    labels.reserve(views.size() + 3);
    labels.emplace_back("__name__", declaration.name);
    labels.emplace_back("instance", options_.device);
    if (!options_.site.empty()) labels.emplace_back("site", options_.site);
    for (const auto& [label, value] : views) labels.emplace_back(label, value);
    std::sort(labels.begin(), labels.end());
    if (!query::matches(labels, matchers)) continue;
    if (selection.series.size() >= series_max) {
      return fail(ErrorCode::kFull, "more than " + std::to_string(series_max) + " series");
    }
    selection.series.push_back(
        {std::move(labels), std::make_unique<Cursor>(*store_, table_->at(ref), ref, from_ms, to_ms)});
  }
  std::sort(selection.series.begin(), selection.series.end(),
            [](const auto& a, const auto& b) { return a.labels < b.labels; });
  return selection;
}

void MemoryFeed::go() {
  do {
    more_ = last_.page == UINT32_MAX ? store_.first(BlockState::kLoose, &block_)
                                     : store_.next(BlockState::kLoose, last_, &block_);
    if (more_) last_ = block_.id;
  } while (more_ && block_.info.boot != boot_);
}

bool MemoryFeed::peek(BlockHead* head) {
  if (!more_) return false;
  head->info = block_.info;
  head->bytes = block_.bytes;
  std::copy(std::begin(block_.root), std::end(block_.root), std::begin(head->root));
  head->id = block_.id;
  head->data = nullptr;
  return true;
}

void MemoryFeed::take() {
  go();
}

}  // namespace lambda::agent
