// Thinning blocks where they lie. An image whose owner does not choose it does not link this.
#include "lambda/thinning.h"

#include <new>

#include "codes.h"
#include "expect.h"
#include "lambda/series_store.h"

namespace lambda {

class Thinner {
 public:
  explicit Thinner(SeriesStore* store) : store_(*store) {}
  bool make_room();
  void keep_whole();

 private:
  using BlockMeta = SeriesStore::BlockMeta;
  static constexpr uint32_t kNone = SeriesStore::kNone;

  bool may_thin(uint32_t page) const;
  uint32_t partner_of(uint32_t page) const;
  bool thin(uint32_t page, uint32_t partner);
  bool add_block(uint32_t page, BlockWriter* out);
  void put(uint32_t page, std::span<const uint8_t> bytes);

  SeriesStore& store_;
  Point six_[kThinFrom];  // a group may begin in one block and end in the next
  uint32_t held_ = 0;     // points of it
  uint32_t groups_ = 0;   // still to come
};

bool Thinner::make_room() {
  const auto loose = static_cast<size_t>(BlockState::kLoose);
  for (uint32_t page = store_.lists_[loose].first; page != kNone; page = store_.meta(page).of_state.next) {
    if (!may_thin(page)) continue;
    const uint32_t partner = partner_of(page);
    if (partner != kNone && thin(page, partner)) return true;
    // The newest of a series waits for its partner, unless it is long.
    const bool waits = store_.meta(page).of_series.next == kNone && store_.chain_pages(page) < 3;
    if (waits) continue;
    if (thin(page, kNone)) return true;
    store_.meta(page).kept = SeriesStore::kKeptWhole;  // nothing is gained by it, now or later
  }
  return false;
}

void Thinner::keep_whole() {
  store_.seal_all();
  const auto loose = static_cast<size_t>(BlockState::kLoose);
  for (uint32_t page = store_.lists_[loose].first; page != kNone; page = store_.meta(page).of_state.next) {
    BlockMeta& meta = store_.meta(page);
    if (meta.kept == SeriesStore::kKeptFresh) meta.kept = SeriesStore::kKeptWhole;
  }
}

bool Thinner::may_thin(uint32_t page) const {
  const BlockMeta& meta = store_.meta(page);
  return meta.state == BlockState::kLoose && meta.kept == SeriesStore::kKeptFresh &&
         store_.series_[meta.ref - 1].thins != 0 && store_.series_[meta.ref - 1].value_type() != ValueType::kState;
}

// The block whose points follow on this one's and may share a block with them.
uint32_t Thinner::partner_of(uint32_t page) const {
  const uint32_t next = store_.meta(page).of_series.next;
  if (next == kNone || !may_thin(next)) return kNone;
  SealedBlock one, other;
  store_.describe(page, &one);
  store_.describe(next, &other);
  const BlockInfo& a = one.info;
  const BlockInfo& b = other.info;
  const bool fits = a.boot == b.boot && a.clock == b.clock && a.codec == b.codec && a.tick_ms == b.tick_ms &&
                    a.first_ordinal + a.count == b.first_ordinal;
  return fits ? next : kNone;
}

// Makes one block of `page`, and of `partner` if there is one, in the partner's place. False, with nothing done: it
// would not take fewer pages, or is no block.
bool Thinner::thin(uint32_t page, uint32_t partner) {
  SealedBlock block;
  store_.describe(page, &block);
  uint32_t count = block.info.count;
  size_t pages = store_.chain_pages(page);
  if (partner != kNone) {
    SealedBlock other;
    store_.describe(partner, &other);
    count += other.info.count;
    pages += store_.chain_pages(partner);
  }
  groups_ = count / kThinFrom;
  held_ = 0;
  const uint32_t gone = groups_ * (kThinFrom - kThinTo);
  const SeriesStoreOptions& options = store_.options_;
  BlockOptions shape;
  shape.first_ordinal = block.info.first_ordinal + gone;
  if (gone == 0 || shape.first_ordinal > SeriesStore::kThinnedOrdinalsEnd) return false;
  shape.ref = block.info.ref;
  shape.clock = block.info.clock;
  shape.type = block.info.type;
  shape.scale = block.info.scale;
  shape.tick_ms = block.info.tick_ms;
  shape.coding = find_coding(options.codings, block.info.codec);
  BlockWriter out(
      {store_.scratch_ + SeriesStore::round_up(options.block_bytes_max), SeriesStore::thinning_bytes(options)}, shape);
  if (!add_block(page, &out) || (partner != kNone && !add_block(partner, &out))) return false;
  LAMBDA_EXPECT(held_ == 0 && groups_ == 0 && out.count() == count - gone);
  const std::span<const uint8_t> bytes = out.seal();
  const size_t used = sizeof(BlockMeta) + bytes.size();
  if (bytes.size() > options.block_bytes_max || used > (pages - 1) * options.page_bytes) return false;

  const uint32_t place = partner != kNone ? partner : page;
  if (partner != kNone) store_.free_block(page);
  put(place, bytes);
  store_.meta(place).kept = (SeriesStore::kKeptThinned + count % kThinFrom) & 7;
  store_.counters_.points_dropped += gone;
  store_.counters_.points_thinned += gone;
  return true;
}

// False: they do not fit (ten minutes, or the space).
bool Thinner::add_block(uint32_t page, BlockWriter* out) {
  const BlockMeta& meta = store_.meta(page);
  store_.copy_chain(page, meta.start, SeriesStore::Way::kOut, store_.scratch_, meta.bytes);
  BlockReader reader;
  LAMBDA_EXPECT(reader.open({store_.scratch_, meta.bytes}, 0, store_.options_.codings).ok());
  Point point;
  while (reader.next(&point)) {
    if (groups_ == 0) {
      if (out->append(point) != AppendResult::kOk) return false;
      continue;
    }
    six_[held_++] = point;
    if (held_ < kThinFrom) continue;
    thin_points(reader.info().type, six_);
    for (uint32_t i = 0; i < kThinTo; ++i) {
      if (out->append(six_[i]) != AppendResult::kOk) return false;
    }
    held_ = 0;
    --groups_;
  }
  LAMBDA_EXPECT(reader.status().ok());
  return true;
}

// Other bytes in the place of a sealed block, which keeps its name and its places in all lists. There are pages enough.
void Thinner::put(uint32_t page, std::span<const uint8_t> bytes) {
  store_.give_pages_back(store_.link(page));
  store_.links_[page] = kNone;
  uint32_t tail = page;
  for (size_t done = 0, at = sizeof(BlockMeta);; at = 0) {
    const size_t room = store_.options_.page_bytes - at;
    const size_t piece = bytes.size() - done < room ? bytes.size() - done : room;
    __builtin_memcpy(store_.page_at(tail) + at, bytes.data() + done, piece);
    done += piece;
    if (done == bytes.size()) break;
    LAMBDA_EXPECT(store_.pages_free_ > 0);
    const uint32_t next = store_.take_page(nullptr);
    store_.links_[tail] = next;
    tail = next;
  }
  store_.links_[page] |= SeriesStore::kSealedHead;
  BlockMeta& meta = store_.meta(page);
  meta.bytes = static_cast<uint16_t>(bytes.size());
  meta.start = sizeof(BlockMeta);
  store_.set_root(bytes.data(), bytes.size(), &meta);
}

const Thinning kThinGauges = {[](SeriesStore* store) { return Thinner(store).make_room(); },
                              [](SeriesStore* store) { Thinner(store).keep_whole(); }};

}  // namespace lambda
