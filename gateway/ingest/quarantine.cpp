#include "gateway/ingest/quarantine.h"

#include <vector>

#include "base/crypto/crypto.h"

namespace lambda::gateway {

Quarantine::Quarantine(Env& env, QuarantineOptions options) : env_(env), options_(std::move(options)) {
  auto entries = env_.disk.list(options_.directory);
  if (!entries) return;
  folder_made_ = true;
  for (const auto& entry : *entries) {
    const size_t dot = entry.name.find('.');
    if (dot == std::string::npos) continue;
    names_.insert(entry.name);
    bytes_ += entry.bytes;
    Use& use = devices_[entry.name.substr(0, dot)];
    use.bytes += entry.bytes;
    ++use.files;
  }
}

Quarantine::~Quarantine() {
  *alive_ = false;
}

void Quarantine::keep(std::string_view device, std::string_view reason, std::span<const std::byte> content) {
  const Digest digest = sha256({reinterpret_cast<const uint8_t*>(content.data()), content.size()});
  const std::string name =
      std::string(device) + "." + std::string(reason) + "." + hex(std::span(digest).first(8)) + ".bin";
  if (names_.find(name) != names_.end()) {
    ++counters_.repeats;
    return;
  }
  auto found = devices_.find(device);
  const Use before = found == devices_.end() ? Use{} : found->second;
  if (names_.size() >= options_.files_max || bytes_ + content.size() > options_.bytes_max ||
      before.files >= options_.device_files_max || before.bytes + content.size() > options_.device_bytes_max) {
    ++counters_.over_bound;
    return;
  }
  // Counted before it is written: a flood must not pass the bound while the disk is slow.
  names_.insert(name);
  bytes_ += content.size();
  Use& use = devices_[std::string(device)];
  use.bytes += content.size();
  ++use.files;
  ++counters_.kept;
  write(name, content);
}

void Quarantine::write(const std::string& name, std::span<const std::byte> content) {
  if (!folder_made_) {
    if (!env_.disk.make_dirs(options_.directory)) {
      ++counters_.write_errors;
      return;
    }
    folder_made_ = true;
  }
  auto file = env_.disk.open_append(options_.directory + "/" + name);
  if (!file) {
    ++counters_.write_errors;
    return;
  }
  auto copy = std::make_shared<std::vector<std::byte>>(content.begin(), content.end());
  env_.disk.append(*file, *copy, [this, copy, alive = alive_](const Status& status) {
    if (*alive && !status) ++counters_.write_errors;
  });
  env_.disk.close(*file);
}

}  // namespace lambda::gateway
