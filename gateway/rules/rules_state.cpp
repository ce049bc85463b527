#include "gateway/rules/rules_state.h"

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "lambda/block.h"

namespace lambda::gateway {
namespace {

constexpr std::string_view kMagic = "LRUL";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 4 + 4 + 8 + 8 + 4;
constexpr uint64_t kBytesMax = uint64_t{4} << 30;
constexpr size_t kPieceBytes = 1u << 20;

void append(std::string& out, uint64_t x, int bytes) {
  for (int i = 0; i < bytes; ++i, x >>= 8) out.push_back(static_cast<char>(x & 0xFF));
}

uint64_t number(std::string_view bytes, size_t at, int count) {
  uint64_t x = 0;
  for (int i = count; i-- > 0;) x = x << 8 | static_cast<uint8_t>(bytes[at + static_cast<size_t>(i)]);
  return x;
}

uint32_t checksum(std::string_view bytes) {
  return crc32c({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

// One write under way; it keeps itself alive.
struct Writing {
  Env& env;
  std::string path, temporary, bytes;
  FileId file = 0;
  size_t written = 0;
  std::function<void(Status)> done;
};
using WritingPtr = std::shared_ptr<Writing>;

void finish(const WritingPtr& one, const Status& status) {
  if (one->file != 0) one->env.disk.close(one->file);
  one->file = 0;
  Status result = status;
  if (result) result = one->env.disk.rename(one->temporary, one->path);
  if (!result) {
    (void)one->env.disk.remove(one->temporary);
    return one->done(result);
  }
  const std::string folder = one->path.substr(0, one->path.rfind('/'));
  one->env.disk.sync_dir(folder, [one](const Status& synced) { one->done(synced); });
}

void write_on(const WritingPtr& one) {
  if (one->written == one->bytes.size()) {
    one->env.disk.sync(one->file, [one](const Status& synced) { finish(one, synced); });
    return;
  }
  const size_t length = std::min(kPieceBytes, one->bytes.size() - one->written);
  const auto* begin = reinterpret_cast<const std::byte*>(one->bytes.data()) + one->written;
  one->written += length;
  one->env.disk.append(one->file, {begin, length}, [one](const Status& status) {
    if (!status) return finish(one, status);
    write_on(one);
  });
}

}  // namespace

void write_rules_state(Env& env, const std::string& path, const RulesState& state, std::function<void(Status)> done) {
  auto one = std::make_shared<Writing>(Writing{env, path, path + ".new", "", 0, 0, std::move(done)});
  one->bytes = kMagic;
  append(one->bytes, kVersion, 4);
  append(one->bytes, state.feed.size(), 8);
  append(one->bytes, state.book.size(), 8);
  append(one->bytes, checksum(one->bytes), 4);
  one->bytes += state.feed;
  one->bytes += state.book;
  (void)env.disk.remove(one->temporary);
  auto file = env.disk.open_append(one->temporary);
  if (!file) {
    env.loop.post([one, error = file.error()] { one->done(tl::unexpected(error)); });
    return;
  }
  one->file = *file;
  write_on(one);
}

Result<RulesState> read_rules_state(Disk& disk, const std::string& path) {
  auto bytes = disk.read_all(path, kBytesMax);
  if (!bytes) return tl::unexpected(bytes.error());
  const std::string_view all = *bytes;
  if (all.size() < kHeaderBytes || all.substr(0, 4) != kMagic ||
      number(all, kHeaderBytes - 4, 4) != checksum(all.substr(0, kHeaderBytes - 4))) {
    return fail(ErrorCode::kCorrupt, path + ": not the state of rules, or damaged");
  }
  if (number(all, 4, 4) != kVersion) {
    return fail(ErrorCode::kUnsupported, path + ": version " + std::to_string(number(all, 4, 4)));
  }
  const uint64_t feed = number(all, 8, 8), book = number(all, 16, 8);
  if (feed > all.size() || book > all.size() || kHeaderBytes + feed + book != all.size()) {
    return fail(ErrorCode::kCorrupt, path + ": its lengths do not fit");
  }
  return RulesState{std::string(all.substr(kHeaderBytes, feed)), std::string(all.substr(kHeaderBytes + feed, book))};
}

}  // namespace lambda::gateway
