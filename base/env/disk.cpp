#include "base/env/disk.h"

#include <algorithm>

namespace lambda {

Result<std::string> Disk::read_all(const std::string& path, uint64_t bytes_max) {
  auto bytes = size(path);
  if (!bytes) return tl::unexpected(bytes.error());
  std::string content;
  bytes_max = std::min<uint64_t>(bytes_max, content.max_size());  // that is less than 2 GiB where memory has 32 bits
  if (*bytes > bytes_max) {
    return fail(ErrorCode::kFull,
                path + ": " + std::to_string(*bytes) + " bytes, at most " + std::to_string(bytes_max) + " are read");
  }
  content.resize(static_cast<size_t>(*bytes));
  size_t filled = 0;
  while (filled < content.size()) {
    auto into = std::as_writable_bytes(std::span(content.data() + filled, content.size() - filled));
    auto got = read(path, filled, into);
    if (!got) return tl::unexpected(got.error());
    if (*got == 0) break;  // it shrank meanwhile
    filled += *got;
  }
  content.resize(filled);
  return content;
}

Result<std::shared_ptr<void>> Disk::lock(const std::string&) {
  return std::shared_ptr<void>(std::make_shared<int>(0));
}

}  // namespace lambda
