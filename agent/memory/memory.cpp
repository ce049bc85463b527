#include "agent/memory/memory.h"

#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include "base/crypto/crypto.h"
#include "query/block_samples.h"
#include "query/matcher.h"

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

// A series' blocks as they were when they were selected.
class Cursor final : public query::SeriesCursor {
 public:
  Cursor(int64_t from_ms, int64_t to_ms, std::shared_ptr<std::atomic<uint64_t>> held)
      : part_{.from_ms = from_ms, .to_ms = to_ms}, held_(std::move(held)) {}
  ~Cursor() override { held_->fetch_sub(bytes(), std::memory_order_relaxed); }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  void put(std::span<const uint8_t> block, const BlockInfo& info) {
    blocks_.push_back({info.boot, static_cast<uint32_t>(block.size())});
    bytes_.insert(bytes_.end(), block.begin(), block.end());
    points_ += info.count;
  }
  // Once, when all blocks are in.
  void hold() {
    bytes_.shrink_to_fit();
    held_->fetch_add(bytes(), std::memory_order_relaxed);
  }
  bool empty() const { return blocks_.empty(); }
  uint64_t bytes() const { return sizeof *this + bytes_.capacity() + blocks_.capacity() * sizeof(Piece); }

  Result<std::vector<query::Sample>> read(uint64_t samples_max) override {
    std::vector<query::Sample> samples;
    samples.reserve(points_);
    size_t at = 0;
    for (const Piece& piece : blocks_) {
      BlockInfo info;
      const auto status =
          query::append_samples(std::span(bytes_).subspan(at, piece.bytes), piece.boot, part_, &info, samples);
      at += piece.bytes;
      if (!status.ok() && !damaged_) {
        damaged_ = true;
        warning_ = std::string("a block in memory does not read back (") + block_error_name(status.error) +
                   "): its points are left out";
      }
    }
    query::keep_last_of_each_time(samples);
    if (samples.size() > samples_max) {
      return fail(ErrorCode::kFull, "a series has more than " + std::to_string(samples_max) + " samples in this range");
    }
    return samples;
  }

  std::vector<std::string> warnings() const override {
    return damaged_ ? std::vector<std::string>{warning_} : std::vector<std::string>();
  }

 private:
  struct Piece {
    uint64_t boot;
    uint32_t bytes;
  };
  const query::BlockPart part_;
  const std::shared_ptr<std::atomic<uint64_t>> held_;
  std::vector<Piece> blocks_;  // in the order of sealing: of points of one time the last one counts
  std::vector<uint8_t> bytes_;
  size_t points_ = 0;
  bool damaged_ = false;
  std::string warning_;
};

}  // namespace

double point_value(ValueType type, uint8_t scale, uint64_t bits) {
  return query::point_number(type, scale, bits);
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
  scratch_.resize(options_.block_bytes_max);
}

Memory::~Memory() = default;

void Memory::add_series(const SeriesTable& table, SeriesRef ref) {
  const Series& series = table.at(ref);
  const SeriesShape shape{series.type, series.scale, 1};
  uint32_t given = ref;
  const bool added = ref <= store_->series_count() ? store_->replace(ref, shape) : store_->add(shape, &given);
  LAMBDA_ASSERT(added && given == ref);
  if (last_s_.size() <= ref) last_s_.resize(ref + 1, 0);
  last_s_[ref] = now_s_;
}

void Memory::tick(int64_t mono_ms) {
  now_s_ = static_cast<uint32_t>(mono_ms / 1000);
  store_->tick(mono_ms);
}

bool Memory::has_ended(SeriesRef ref) const {
  if (ref >= last_s_.size() || int64_t{now_s_ - last_s_[ref]} * 1000 <= options_.retention_ms) return false;
  BlockInfo open;
  SealedBlock block;
  return !store_->open_info(ref, &open) && !store_->first_of(ref, &block);
}

bool Memory::append(SeriesRef ref, uint64_t ordinal, Point point, uint32_t clock) {
  if (clock != clock_) store_->set_clock(clock_ = clock);
  last_s_[ref] = now_s_;
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

// Nothing in the result: the series has no block that may have points in the range.
Result<std::unique_ptr<query::SeriesCursor>> Memory::snapshot(SeriesRef ref, int64_t from_ms, int64_t to_ms,
                                                              uint64_t* taken) {
  auto cursor = std::make_unique<Cursor>(from_ms, to_ms, held_);
  const auto wanted = [&](const BlockInfo& info) { return info.t_max >= from_ms && info.t_min <= to_ms; };
  SealedBlock block;
  for (bool more = store_->first_of(ref, &block); more; more = store_->next_of(block.id, &block)) {
    if (!wanted(block.info)) continue;
    const size_t bytes = store_->copy(block.id, scratch_);
    cursor->put(std::span(scratch_).first(bytes), block.info);
  }
  BlockInfo open;
  if (store_->open_info(ref, &open) && wanted(open)) {
    const size_t bytes = store_->copy_open(ref, scratch_);
    cursor->put(std::span(scratch_).first(bytes), open);
  }
  cursor->hold();
  if (cursor->empty()) return std::unique_ptr<query::SeriesCursor>();
  *taken += cursor->bytes();
  if (*taken > options_.query_bytes_max) {
    return fail(ErrorCode::kFull, "the answer lies in more than " + std::to_string(options_.query_bytes_max) +
                                      " bytes of blocks: ask for fewer series or a shorter time");
  }
  if (query_bytes() > options_.query_bytes_max) {
    return fail(ErrorCode::kUnavailable, "other questions hold " + std::to_string(query_bytes() - *taken) +
                                             " bytes of the memory's blocks: try again later");
  }
  return std::unique_ptr<query::SeriesCursor>(std::move(cursor));
}

// Whether a block may have points of that time.
bool Memory::has_points(SeriesRef ref, int64_t from_ms, int64_t to_ms) const {
  const auto wanted = [&](const BlockInfo& info) { return info.t_max >= from_ms && info.t_min <= to_ms; };
  BlockInfo open;
  if (store_->open_info(ref, &open) && wanted(open)) return true;
  SealedBlock block;
  for (bool more = store_->first_of(ref, &block); more; more = store_->next_of(block.id, &block)) {
    if (wanted(block.info)) return true;
  }
  return false;
}

Result<query::Selection> Memory::select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                        uint64_t series_max) {
  return find_series(matchers, from_ms, to_ms, series_max, false);
}

Result<query::Selection> Memory::list(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                      uint64_t series_max) {
  return find_series(matchers, from_ms, to_ms, series_max, true);
}

Result<query::Selection> Memory::find_series(const std::vector<query::Matcher>& matchers, int64_t from_ms,
                                             int64_t to_ms, uint64_t series_max, bool labels_only) {
  const auto set = query::MatcherSet::compile(matchers);
  if (!set) return tl::unexpected(set.error());
  query::Selection selection;
  if (table_ == nullptr || !set->label_may_match("instance", options_.device)) return selection;
  std::vector<LabelView> views;
  uint64_t taken = 0;
  for (SeriesRef ref = 1; ref < table_->size(); ++ref) {
    if (!table_->known(ref)) continue;
    const DeclarationView declaration = table_->declaration(ref, views);
    // Most series are told apart before anything is copied of them.
    const auto may_match = [&](const LabelView& view) { return set->label_may_match(view.name, view.value); };
    if (!set->label_may_match("__name__", declaration.name) || !std::ranges::all_of(views, may_match)) continue;
    query::Labels labels;
    labels.reserve(views.size() + 3);
    labels.emplace_back("__name__", declaration.name);
    labels.emplace_back("instance", options_.device);
    if (!options_.site.empty()) labels.emplace_back("site", options_.site);
    for (const auto& [label, value] : views) labels.emplace_back(label, value);
    std::sort(labels.begin(), labels.end());
    if (!set->matches(labels)) continue;
    std::unique_ptr<query::SeriesCursor> cursor;
    if (!labels_only) {
      auto made = snapshot(ref, from_ms, to_ms, &taken);
      if (!made) return tl::unexpected(made.error());
      cursor = std::move(*made);
    }
    if (labels_only ? !has_points(ref, from_ms, to_ms) : cursor == nullptr) continue;
    if (selection.series.size() >= series_max) {
      return fail(ErrorCode::kFull, "more than " + std::to_string(series_max) + " series");
    }
    selection.series.push_back({std::move(labels), std::move(cursor)});
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
