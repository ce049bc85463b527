// Finding blocks and reading points. See series_store.cpp for how they come into memory.
#include "codes.h"
#include "lambda/series_store.h"

namespace lambda {

SealedBlock::SealedBlock() = default;  // once, not wherever one is

bool SeriesStore::last(uint32_t ref, uint64_t* ordinal, Point* point) const {
  const Series* found = series(ref);
  if (found == nullptr || found->ordinal == 0) return false;
  *ordinal = found->ordinal - 1;
  *point = found->last;
  return true;
}

BlockInfo SeriesStore::info_of(const Series& series) const {
  const OpenBlock& open = opened(series);
  return {.boot = boots_[boot_],
          .first_ordinal = series.next_ordinal() - open.count,
          .t_min = open.t_min(),
          .t_max = open.t_max(),
          .ref = ref_of(series),
          .clock = clock_,
          .count = open.count,
          .tick_ms = series.tick_ms,
          .codec = static_cast<Codec>(open.codec),
          .type = series.value_type(),
          .scale = static_cast<uint8_t>(series.scale),
          .unordered = open.unordered != 0};
}

const SeriesStore::BlockMeta* SeriesStore::sealed(uint32_t page, uint32_t serial) const {
  // A page that is no sealed block's first may hold anything where the meta would be.
  if (page - 1 >= page_count_ || (links_[page] & kSealedHead) == 0) return nullptr;
  const BlockMeta& found = meta(page);
  return found.serial == serial ? &found : nullptr;
}

// Between `bytes` and what lies in a chain from its byte `start` on. Returns the last page that had a part in it.
uint32_t SeriesStore::copy_chain(uint32_t page, size_t start, Way way, uint8_t* bytes, size_t size) const {
  for (; start >= options_.page_bytes; start -= options_.page_bytes) page = link(page);
  for (;;) {
    uint8_t* const here = page_at(page) + start;
    const size_t left = options_.page_bytes - start;
    const size_t piece = size < left ? size : left;
    __builtin_memcpy(way == Way::kIn ? here : bytes, way == Way::kIn ? bytes : here, piece);
    bytes += piece;
    size -= piece;
    if (size == 0) return page;
    start = 0;
    page = link(page);
  }
}

void SeriesStore::describe(uint32_t page, SealedBlock* block) const {
  const BlockMeta& found = meta(page);
  const uint8_t* const first = page_at(page);
  read_own_info({first + found.start, first + options_.page_bytes}, boots_[found.boot], &block->info);
  block->id = {page, found.serial};
  block->state = found.state;
  block->parcel = found.parcel;
  block->bytes = found.bytes;
  block->thinned = found.kept == kKeptFresh || found.kept == kKeptWhole
                       ? 0
                       : block->info.count - (found.kept - uint32_t{kKeptThinned});
  __builtin_memcpy(block->root, found.root, kDigestBytes);
}

bool SeriesStore::first(BlockState state, SealedBlock* block) const {
  const uint32_t page = lists_[static_cast<size_t>(state)].first;
  if (page == kNone) return false;
  describe(page, block);
  return true;
}

bool SeriesStore::next(BlockState state, BlockId after, SealedBlock* block) const {
  const BlockMeta* found = sealed(after);
  if (found == nullptr || found->state != state || found->of_state.next == kNone) return false;
  describe(found->of_state.next, block);
  return true;
}

bool SeriesStore::first_of(uint32_t ref, SealedBlock* block) const {
  const Series* found = series(ref);
  if (found == nullptr || found->sealed.first == kNone) return false;
  describe(found->sealed.first, block);
  return true;
}

bool SeriesStore::next_of(BlockId after, SealedBlock* block) const {
  const BlockMeta* found = sealed(after);
  if (found == nullptr || found->of_series.next == kNone) return false;
  describe(found->of_series.next, block);
  return true;
}

bool SeriesStore::find(BlockId id, SealedBlock* block) const {
  if (sealed(id) == nullptr) return false;
  describe(id.page, block);
  return true;
}

size_t SeriesStore::copy(BlockId id, std::span<uint8_t> out) const {
  const BlockMeta* found = sealed(id);
  if (found == nullptr || out.size() < found->bytes) return 0;
  copy_chain(id.page, found->start, Way::kOut, out.data(), found->bytes);
  return found->bytes;
}

size_t SeriesStore::copy_open(uint32_t ref, std::span<uint8_t> out) const {
  const Series* found = series(ref);
  size_t head_bytes;
  if (found == nullptr || found->page == kNone) return 0;
  if (options_.reorder != nullptr) options_.reorder->keep(this, ref);
  return write_open(*found, out.data(), out.size(), &head_bytes);
}

// The whole block of a series that has an open one; 0: it does not fit.
size_t SeriesStore::write_open(const Series& series, uint8_t* out, size_t out_bytes, size_t* head_bytes) const {
  uint8_t head[kBlockHeaderBytesMax];
  const OpenBlock& open = opened(series);
  *head_bytes = write_head<false>(info_of(series), open.first, head);
  const size_t codes =
      open.bytes - open.head_room + (has_partial_byte(static_cast<Codec>(open.codec), open.code) ? 1u : 0u);
  const size_t body = *head_bytes + codes;
  if (out_bytes < body + kChecksumBytes) return 0;
  __builtin_memcpy(out, head, *head_bytes);
  copy_chain(series.page, sizeof(BlockMeta) + open.head_room, Way::kOut, out + *head_bytes, codes);
  write_checksum(crc32c({out, body}), out + body);
  return body + kChecksumBytes;
}

bool SeriesStore::open_info(uint32_t ref, BlockInfo* info) const {
  const Series* found = series(ref);
  if (found == nullptr || found->page == kNone) return false;
  *info = info_of(*found);
  return true;
}

bool SeriesStore::visit(const uint8_t* bytes, size_t size, uint64_t boot, int64_t from_ms, int64_t to_ms,
                        Visitor visitor, void* context) const {
  BlockReader reader;
  reader.open_own({bytes, size}, boot, codings());
  uint64_t ordinal = reader.info().first_ordinal;
  for (Point point; reader.next(&point); ++ordinal) {
    if (point.time_ms >= from_ms && point.time_ms <= to_ms) visitor(context, boot, ordinal, point);
  }
  return reader.status().ok();
}

bool SeriesStore::read_block(BlockId id, int64_t from_ms, int64_t to_ms, Visitor visitor, void* context) const {
  const BlockMeta* found = sealed(id);
  if (found == nullptr) return false;
  copy_chain(id.page, found->start, Way::kOut, scratch_, found->bytes);
  // Only what lay in memory for a while may have been overwritten there.
  if (!has_its_checksum({scratch_, found->bytes})) return false;
  return visit(scratch_, found->bytes, boots_[found->boot], from_ms, to_ms, visitor, context);
}

bool SeriesStore::read_open(uint32_t ref, int64_t from_ms, int64_t to_ms, Visitor visitor, void* context) const {
  const size_t bytes = copy_open(ref, {scratch_, options_.block_bytes_max});
  return bytes > 0 && visit(scratch_, bytes, boots_[boot_], from_ms, to_ms, visitor, context);
}

bool SeriesStore::read(uint32_t ref, int64_t from_ms, int64_t to_ms, Visitor visitor, void* context) const {
  const Series* found = series(ref);
  if (found == nullptr) return false;
  SealedBlock block;
  for (uint32_t page = found->sealed.first; page != kNone; page = meta(page).of_series.next) {
    describe(page, &block);
    if (block.info.t_max < from_ms || block.info.t_min > to_ms) continue;
    if (!read_block(block.id, from_ms, to_ms, visitor, context)) return false;
  }
  if (found->page == kNone || opened(*found).t_max() < from_ms || opened(*found).t_min() > to_ms) return true;
  return read_open(ref, from_ms, to_ms, visitor, context);
}

}  // namespace lambda
