#include "tests/sim/sim_disk.h"

#include <algorithm>
#include <cstring>

namespace lambda::sim {
namespace {

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

tl::unexpected<Error> missing(const std::string& path) {
  return fail(ErrorCode::kNotFound, path + ": no such file");
}
tl::unexpected<Error> dead() {
  return fail(ErrorCode::kIo, "the program has died");
}

}  // namespace

uint64_t SimMedia::used_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [path, file] : files) bytes += file->data.size();
  return bytes;
}

void SimMedia::power_cut() {
  // Each folder comes up as it was last synced, or as it was: a journalling file system keeps the order of changes, but
  // says nothing about how many of them are on the disk. Others keep no order: any of the changes may be there.
  const bool ordered = random_.chance(0.6);
  std::map<std::string, bool> keeps_changes;
  std::map<std::string, std::shared_ptr<File>> after;
  const auto choose = [&](const auto& names, bool changed) {
    for (const auto& [path, file] : names) {
      const auto [choice, first] = keeps_changes.try_emplace(ordered ? folder_of(path) : path, false);
      if (first) choice->second = random_.chance(0.5);
      if (choice->second == changed) after[path] = file;
    }
  };
  choose(files, true);
  choose(synced_names, false);
  files = after;
  synced_names = after;

  std::set<File*> done;
  for (auto& [path, file] : files) {
    if (!done.insert(file.get()).second) continue;
    if (file->before && random_.chance(0.5)) {
      file->data = *file->before;
    } else if (file->data.size() > file->synced) {
      const size_t unsynced = file->data.size() - file->synced;
      const uint64_t fate = random_.below(10);
      const size_t kept = fate < 4 ? 0 : random_.below(unsynced + 1);
      file->data.resize(file->synced + kept);
      if (fate >= 8 && kept > 0) {  // the length got there, the content did not
        const size_t zeros = 1 + random_.below(kept);
        std::fill(file->data.end() - static_cast<std::ptrdiff_t>(zeros), file->data.end(), '\0');
      }
    }
    file->before.reset();
    file->synced = file->data.size();
    file->lying = false;
  }
}

void SimDisk::die() {
  if (dead_) return;
  // Calls under way: the first few happen, the next in part.
  size_t happen = media_.random().below(calls_.size() + 1);
  for (auto& call : calls_) {
    if (happen == 0) {
      const auto open = open_.find(call.file);
      if (call.kind == Kind::kAppend && open != open_.end() && open->second.broken && media_.random().chance(0.5)) {
        const size_t part = media_.random().below(call.bytes.size() + 1);
        (void)append_now(open->second, call.bytes.substr(0, part));
      }
      break;
    }
    --happen;
    (void)perform(call);
  }
  // Pages that a failed sync gave up are gone with the last one who had the file open: it reads as zeros there.
  for (auto& [path, file] : media_.files) {
    if (!file->lying || file->data.size() <= file->synced) continue;
    std::fill(file->data.begin() + static_cast<std::ptrdiff_t>(file->synced), file->data.end(), '\0');
    file->lying = false;
  }
  dead_ = true;
  *alive_ = false;
  calls_.clear();
  open_.clear();
}

void SimDisk::ask(Call call) {
  if (dead_) return;
  SimRandom& random = media_.random();
  const bool slow = call.kind == Kind::kSync || call.kind == Kind::kSyncDir;
  int64_t cost = random.between(10, slow ? media_.faults.sync_us_max : media_.faults.append_us_max);
  if (slow && random.chance(0.01)) cost += 400'000;  // the kind of stall that real disks have
  busy_until_us_ = std::max(busy_until_us_, scheduler_.now_us()) + cost;
  calls_.push_back(std::move(call));
  scheduler_.at(busy_until_us_, [this, alive = alive_] {
    if (!*alive) return;
    Call ready = std::move(calls_.front());
    calls_.pop_front();
    const auto file = open_.find(ready.file);
    media_.count_call(file == open_.end() ? ready.dir : file->second.path);
    const Status status = perform(ready);
    scheduler_.note("disk", static_cast<uint64_t>(ready.kind) << 32 | ready.bytes.size());
    if (ready.done) loop_.post([done = std::move(ready.done), status] { done(status); });
  });
}

Status SimDisk::perform(const Call& call) {
  if (call.kind == Kind::kSyncDir) {
    if (media_.folders.count(call.dir) == 0) return missing(call.dir);
    std::erase_if(media_.synced_names, [&](const auto& entry) { return folder_of(entry.first) == call.dir; });
    for (const auto& [path, file] : media_.files) {
      if (folder_of(path) == call.dir) media_.synced_names[path] = file;
    }
    return {};
  }
  const auto found = open_.find(call.file);
  if (found == open_.end()) return fail(ErrorCode::kInvalid, "no such open file");
  if (call.kind == Kind::kClose) {
    open_.erase(found);
    return {};
  }
  Open& open = found->second;
  if (!open.broken) return open.broken;
  open.broken = call.kind == Kind::kAppend ? append_now(open, call.bytes) : sync_now(open);
  return open.broken;
}

Status SimDisk::append_now(Open& open, const std::string& bytes) {
  SimRandom& random = media_.random();
  const uint64_t used = media_.used_bytes();
  const uint64_t room = used < media_.faults.capacity_bytes ? media_.faults.capacity_bytes - used : 0;
  if (bytes.size() > room) {
    open.file->data.append(bytes, 0, room);
    return fail(ErrorCode::kFull, open.path + ": no space left");
  }
  if (random.chance(media_.faults.append_fails)) {
    // A part of it, or all: an error says nothing about what was written.
    const size_t written = random.chance(0.3) ? bytes.size() : random.below(bytes.size() + 1);
    open.file->data.append(bytes, 0, written);
    return fail(ErrorCode::kIo, open.path + ": input/output error");
  }
  open.file->data += bytes;
  return {};
}

Status SimDisk::sync_now(Open& open) {
  SimMedia::File& file = *open.file;
  if (media_.random().chance(media_.faults.sync_fails)) {
    // As Linux has it: told once, then the pages are clean and the next sync, of whoever opens the file again, is a
    // success about nothing.
    file.lying = true;
    return fail(ErrorCode::kIo, open.path + ": sync failed");
  }
  if (!file.lying) {
    file.synced = file.data.size();
    file.before.reset();
  }
  return {};
}

Result<FileId> SimDisk::open_append(const std::string& path) {
  if (dead_) return dead();
  if (media_.folders.count(folder_of(path)) == 0) return missing(path);
  auto& file = media_.files[path];
  if (!file) file = std::make_shared<SimMedia::File>();
  open_.emplace(++last_, Open{path, file, {}});
  return last_;
}

void SimDisk::close(FileId file) {
  ask({Kind::kClose, file, {}, {}, {}});
}

void SimDisk::append(FileId file, std::span<const std::byte> bytes, Done done) {
  ask({Kind::kAppend,
       file,
       std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
       {},
       std::move(done)});
}

void SimDisk::sync(FileId file, Done done) {
  ask({Kind::kSync, file, {}, {}, std::move(done)});
}

void SimDisk::sync_dir(const std::string& dir, Done done) {
  ask({Kind::kSyncDir, 0, {}, dir, std::move(done)});
}

Result<SimMedia::File*> SimDisk::find(const std::string& path) {
  if (dead_) return dead();
  const auto found = media_.files.find(path);
  if (found == media_.files.end()) return missing(path);
  return found->second.get();
}

Result<size_t> SimDisk::read(const std::string& path, uint64_t offset, std::span<std::byte> into) {
  const auto file = find(path);
  if (!file) return tl::unexpected(file.error());
  const std::string& data = (*file)->data;
  if (offset >= data.size()) return size_t{0};
  const size_t count = std::min<size_t>(into.size(), data.size() - offset);
  std::memcpy(into.data(), data.data() + offset, count);
  return count;
}

Result<uint64_t> SimDisk::size(const std::string& path) {
  const auto file = find(path);
  if (!file) return tl::unexpected(file.error());
  return (*file)->data.size();
}

Result<std::vector<DirEntry>> SimDisk::list(const std::string& dir) {
  if (dead_) return dead();
  if (media_.folders.count(dir) == 0) return missing(dir);
  std::vector<DirEntry> entries;
  for (const auto& [path, file] : media_.files) {
    if (folder_of(path) == dir) entries.push_back({path.substr(dir.size() + 1), file->data.size(), 0});
  }
  return entries;
}

Status SimDisk::make_dirs(const std::string& dir) {
  if (dead_) return dead();
  for (size_t slash = dir.find('/', 1);; slash = dir.find('/', slash + 1)) {
    media_.folders.insert(dir.substr(0, slash));  // made and synced: see OsDisk
    if (slash == std::string::npos) return {};
  }
}

Status SimDisk::remove(const std::string& path) {
  media_.count_call(path);
  const auto file = find(path);
  if (!file) return tl::unexpected(file.error());
  media_.files.erase(path);
  return {};
}

Status SimDisk::rename(const std::string& from, const std::string& to) {
  media_.count_call(from);
  const auto file = find(from);
  if (!file) return tl::unexpected(file.error());
  media_.files[to] = media_.files[from];
  media_.files.erase(from);
  return {};
}

Status SimDisk::truncate(const std::string& path, uint64_t bytes) {
  media_.count_call(path);
  const auto found = find(path);
  if (!found) return tl::unexpected(found.error());
  SimMedia::File& file = **found;
  if (bytes >= file.data.size()) {
    if (file.data.size() <= file.synced) file.lying = false;
    return {};
  }
  if (bytes < file.synced) {
    if (!file.before) file.before = file.data.substr(0, file.synced);
    file.synced = bytes;
  } else if (!file.before && !file.lying) {
    file.before = file.data;  // it may have reached the disk all the same, and the cut not
  }
  file.data.resize(bytes);
  if (file.data.size() <= file.synced) file.lying = false;
  return {};
}

Status SimDisk::replace(const std::string& path, std::span<const std::byte> bytes) {
  if (dead_) return dead();
  if (media_.folders.count(folder_of(path)) == 0) return missing(path);
  if (media_.used_bytes() + bytes.size() > media_.faults.capacity_bytes) {
    return fail(ErrorCode::kFull, path + ": no space left");
  }
  if (media_.random().chance(media_.faults.sync_fails)) return fail(ErrorCode::kIo, path + ": sync failed");
  auto file = std::make_shared<SimMedia::File>();
  file->data.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  file->synced = file->data.size();
  media_.files[path] = file;
  media_.synced_names[path] = file;
  return {};
}

Result<uint64_t> SimDisk::free_bytes(const std::string&) {
  if (dead_) return dead();
  const uint64_t used = media_.used_bytes();
  return used < media_.faults.capacity_bytes ? media_.faults.capacity_bytes - used : 0;
}

}  // namespace lambda::sim
