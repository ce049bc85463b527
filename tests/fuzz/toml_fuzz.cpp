// Configuration files: any text is a Status, and what a good one set keeps within the table's bounds.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/config/config.h"

namespace {

// Secrets may name files; here there are none.
class NoDisk final : public lambda::Disk {
  using Status = lambda::Status;
  static auto none() { return lambda::fail(lambda::ErrorCode::kNotFound, "no disk"); }

 public:
  lambda::Result<lambda::FileId> open_append(const std::string&) override { return none(); }
  void close(lambda::FileId) override {}
  void append(lambda::FileId, std::span<const std::byte>, Done) override {}
  void sync(lambda::FileId, Done) override {}
  void sync_dir(const std::string&, Done) override {}
  lambda::Result<size_t> read(const std::string&, uint64_t, std::span<std::byte>) override { return none(); }
  lambda::Result<uint64_t> size(const std::string&) override { return none(); }
  lambda::Result<std::vector<lambda::DirEntry>> list(const std::string&) override { return none(); }
  Status make_dirs(const std::string&) override { return none(); }
  Status remove(const std::string&) override { return none(); }
  Status rename(const std::string&, const std::string&) override { return none(); }
  Status truncate(const std::string&, uint64_t) override { return none(); }
  Status replace(const std::string&, std::span<const std::byte>) override { return none(); }
  lambda::Result<uint64_t> free_bytes(const std::string&) override { return none(); }
};

struct Row {
  std::string path;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string site, token;
  std::vector<std::string> urls;
  std::vector<Row> rows;
  int64_t age_ms = 5;
  double share = 0.5;
  bool live = true;
  lambda::ConfigTable table("fuzz");
  table.text("site", site, "Site.", lambda::identifier()).required();
  table.secret("http.token", token, "Token.");
  table.text_list("uplink.gateways", urls, 4, "Urls.", lambda::mqtt_url());
  table.integer("uplink.age_ms", age_ms, 1, 100, "Age.");
  table.number("share", share, 0, 1, "Share.");
  table.flag("live", live, "Live.");
  table.tables<Row>("place", rows, 3, "Places.", [](lambda::ConfigTable& row, Row& place) {
    row.text("path", place.path, "Path.", lambda::not_empty()).required();
  });
  NoDisk disk;
  const auto status = table.parse({reinterpret_cast<const char*>(data), size}, "f.toml", disk,
                                  [](const std::string&) -> std::optional<std::string> { return "x"; });
  if (!status) {
    if (status.error().text.rfind("f.toml", 0) != 0) std::abort();
    return 0;
  }
  if (site.empty() || site.size() > 64 || urls.size() > 4 || rows.size() > 3) std::abort();
  if (age_ms < 1 || age_ms > 100 || !(share >= 0 && share <= 1)) std::abort();
  for (const auto& row : rows) {
    if (row.path.empty()) std::abort();
  }
  return 0;
}
