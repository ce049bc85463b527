#include "base/env/disk.h"

namespace lambda {

Result<std::string> Disk::read_all(const std::string& path, uint64_t bytes_max) {
  auto bytes = size(path);
  if (!bytes) return tl::unexpected(bytes.error());
  if (*bytes > bytes_max) {
    return fail(ErrorCode::kFull,
                path + ": " + std::to_string(*bytes) + " bytes, at most " + std::to_string(bytes_max) + " are read");
  }
  std::string content(*bytes, '\0');
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
