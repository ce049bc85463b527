#include "bench/codec/anchors.h"

#ifdef LAMBDA_ZSTD
#include <zstd.h>

#include <cstdlib>
#endif

namespace lambda::bench {

#ifdef LAMBDA_ZSTD
namespace {

// Level 3 over two columns, times and values.
class Zstd final : public Anchor {
 public:
  const char* name() const override { return "zstd-3, two columns"; }
  void encode(std::span<const Point> points, std::string* to) override {
    columns_.resize(2 * points.size());
    for (size_t i = 0; i < points.size(); ++i) {
      columns_[i] = static_cast<uint64_t>(points[i].time_ms - points[0].time_ms);
      columns_[points.size() + i] = points[i].bits;
    }
    to->resize(ZSTD_compressBound(columns_.size() * 8));
    to->resize(ZSTD_compressCCtx(encoder_, to->data(), to->size(), columns_.data(), columns_.size() * 8, 3));
  }
  void decode(const std::string& from, size_t count, std::vector<Point>* points) override {
    columns_.resize(2 * count);
    if (ZSTD_isError(ZSTD_decompressDCtx(decoder_, columns_.data(), columns_.size() * 8, from.data(), from.size()))) {
      std::abort();
    }
    points->resize(count);
    for (size_t i = 0; i < count; ++i) (*points)[i] = {static_cast<int64_t>(columns_[i]), columns_[count + i]};
  }
  ~Zstd() override {
    ZSTD_freeCCtx(encoder_);
    ZSTD_freeDCtx(decoder_);
  }

 private:
  ZSTD_CCtx* encoder_ = ZSTD_createCCtx();
  ZSTD_DCtx* decoder_ = ZSTD_createDCtx();
  std::vector<uint64_t> columns_;
};

}  // namespace

std::unique_ptr<Anchor> zstd() {
  return std::make_unique<Zstd>();
}
#else
std::unique_ptr<Anchor> zstd() {
  return nullptr;
}
#endif

}  // namespace lambda::bench
