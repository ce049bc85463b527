// What is known of one stream, for who gets points ahead of their blocks.
#include <optional>

#include "gateway/store/series_name.h"
#include "gateway/store/store_impl.h"

namespace lambda::gateway {

Stream* StoreImpl::find_stream(const std::string& device, uint64_t boot, uint32_t ref) {
  if (!ready_ || !catalog_->ok()) return nullptr;
  const Device* owner = catalog_->find_device(device);
  const Boot* known = owner == nullptr ? nullptr : catalog_->find_boot(*owner, boot);
  return known == nullptr ? nullptr : catalog_->find_stream(*known, ref);
}

std::optional<Declared> StoreImpl::declared(const std::string& device, uint64_t boot, uint32_t ref) {
  const Stream* stream = find_stream(device, boot, ref);
  if (stream == nullptr || !stream->declared) return std::nullopt;
  Index& index = catalog_->index();  // drained: only now the stream's row says of which series it is
  Declared found;
  found.ref = ref;
  found.kind = stream->row.kind;
  found.type = stream->row.type;
  found.scale = stream->row.scale;
  found.unit = stream->row.unit;
  const auto series = index.series_row(stream->row.series);
  if (!series || !parse_canonical(series->canonical, &found.name, &found.labels)) return std::nullopt;
  return found;
}

RunSet StoreImpl::coverage(const std::string& device, uint64_t boot, uint32_t ref) {
  const Stream* stream = find_stream(device, boot, ref);
  return stream == nullptr ? RunSet() : stream->stored;
}

}  // namespace lambda::gateway
