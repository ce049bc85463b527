// Firmware that keeps series in memory and reads them, without messages: codec and series store alone.
#include "lambda/series_store.h"

namespace {

// Stands in for the hash of a board: what is proven here is what the SDK needs, not what it computes.
void start(lambda::HashState* state) {
  state->opaque[0] = 0;
}
void update(lambda::HashState* state, const uint8_t* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) state->opaque[0] = static_cast<uint8_t>(state->opaque[0] * 31 + bytes[i]);
}
void finish(lambda::HashState* state, uint8_t digest[lambda::kDigestBytes]) {
  for (size_t i = 0; i < lambda::kDigestBytes; ++i) digest[i] = state->opaque[0];
}

alignas(8) uint8_t memory[48 * 1024];
volatile uint64_t sum;

}  // namespace

int main() {
  const lambda::HashPort hash{start, update, finish};
  lambda::SeriesStore store(memory, {.series_max = 24, .block_bytes_max = 512, .seal_age_ms = 600'000}, hash, 1);
  uint32_t ref = 0;
  store.add({lambda::ValueType::kDec, 2, 1000}, &ref);
  for (int64_t second = 0; second < 700; ++second) {
    store.append(ref, {second * 1000, static_cast<uint64_t>(2000 + second % 7)});
    store.tick(second * 1000);
  }
  uint64_t total = 0;
  store.read(
      ref, 0, 1'000'000,
      [](void* context, uint64_t, uint64_t, lambda::Point point) { *static_cast<uint64_t*>(context) += point.bits; },
      &total);
  sum = total;
  return 0;
}
