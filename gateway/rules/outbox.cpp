#include "gateway/rules/outbox.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <utility>

#include "base/record/record.h"

namespace lambda::gateway {
namespace {

using nlohmann::json;

constexpr uint8_t kEvent = 1, kFinished = 2;
constexpr std::string_view kPrefix = "outbox-";
constexpr uint64_t kFilesWanted = 8;  // the bound is kept by whole files

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string text_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

int64_t integer_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

}  // namespace

Outbox::Outbox(Env& env, std::string directory, uint64_t bytes_max)
    : env_(env), directory_(std::move(directory)), bytes_max_(bytes_max) {}

Outbox::~Outbox() {
  *alive_ = false;
  close_current();
}

Result<std::unique_ptr<Outbox>> Outbox::open(Env& env, const std::string& directory, uint64_t bytes_max,
                                             const Recall& recall) {
  std::unique_ptr<Outbox> outbox(new Outbox(env, directory, bytes_max));
  if (auto status = outbox->read(recall); !status) return tl::unexpected(status.error());
  return outbox;
}

Status Outbox::read(const Recall& recall) {
  if (auto made = env_.disk.make_dirs(directory_); !made) return made;
  auto files = env_.disk.list(directory_);
  if (!files) return tl::unexpected(files.error());
  for (const DirEntry& entry : *files) {
    const auto number = parse_numbered_name(kPrefix, entry.name);
    if (number) read_file(*number, directory_ + "/" + entry.name);
  }
  // A file that failed was written again behind newer ones: the numbers tell the order.
  std::map<uint64_t, const std::string*> notes;
  for (const auto& [number, file] : files_) {
    for (const Known& known : file.known) {
      if (!known.note.empty()) notes[known.number] = &known.note;
    }
  }
  for (const auto& [number, note] : notes) {
    if (recall) recall(*note);
  }
  release(next_number_);
  enforce_bound();
  return {};
}

void Outbox::read_file(uint64_t number, const std::string& path) {
  next_file_ = std::max(next_file_, number + 1);
  File& file = files_[number];
  file.path = path;
  const auto scanned = scan_records(
      env_.disk, path, 0,
      [&](const RecordView& record) {
        const json body =
            json::parse(reinterpret_cast<const char*>(record.body.data()),
                        reinterpret_cast<const char*>(record.body.data()) + record.body.size(), nullptr, false);
        if (!body.is_object() || !body.contains("n") || !body["n"].is_number_unsigned()) {
          counters_.damaged++;
          return true;
        }
        const uint64_t n = body["n"].get<uint64_t>();
        next_number_ = std::max(next_number_, n + 1);
        if (record.type == kFinished) {
          settle(n, text_of(body, "to"));
        } else if (record.type == kEvent && items_.count(n) == 0) {
          OutboxItem item{n, text_of(body, "id"), text_of(body, "body"), integer_of(body, "at")};
          file.last_event = std::max(file.last_event, n);
          file.known.push_back({n, item.id, text_of(body, "note")});
          ids_[item.id]++;
          std::vector<std::string> receivers;
          for (const json& to : body.contains("to") ? body["to"] : json::array()) {
            if (!to.is_string()) continue;
            receivers.push_back(to.get<std::string>());
            queues_[receivers.back()].push_back(n);
          }
          if (!receivers.empty()) {
            file.open[n] = std::move(receivers);
            file_of_[n] = number;
            items_.emplace(n, std::move(item));
          }
        }
        return true;
      },
      HeaderRule::kMayBeDamaged);
  if (!scanned) {
    counters_.damaged++;
    env_.log.error("outbox_not_read", {{"file", path}, {"why", scanned.error().text}});
    return;
  }
  file.bytes = scanned->good_end;
  counters_.damaged += scanned->damage_count;
}

bool Outbox::put(const std::string& id, const std::vector<std::string>& receivers, const std::string& body,
                 const std::string& note) {
  if (ids_.count(id) != 0) {
    counters_.known++;
    return false;
  }
  counters_.put++;
  const uint64_t number = next_number_++;
  ids_[id]++;
  if (!receivers.empty()) {
    items_[number] = {number, id, body, env_.clock.utc_ms()};
    for (const std::string& receiver : receivers) queues_[receiver].push_back(number);
  }
  write_event(writable_file(), {number, id, note}, receivers);
  enforce_bound();
  return true;
}

// What has receivers is among items_.
void Outbox::write_event(uint64_t to, Known known, const std::vector<std::string>& receivers) {
  File& file = files_[to];
  file.last_event = std::max(file.last_event, known.number);
  json record{{"n", known.number}, {"id", known.id}, {"to", receivers}};
  if (!known.note.empty()) record["note"] = known.note;
  if (!receivers.empty()) {
    record["body"] = items_.at(known.number).body;
    record["at"] = items_.at(known.number).at_ms;
    file.open[known.number] = receivers;
    file_of_[known.number] = to;
  }
  file.known.push_back(std::move(known));
  write(to, kEvent, dump(record));
}

const OutboxItem* Outbox::front(const std::string& receiver) const {
  const auto queue = queues_.find(receiver);
  if (queue == queues_.end() || queue->second.empty() || queue->second.front() >= released_) return nullptr;
  return &items_.at(queue->second.front());
}

std::vector<std::string> Outbox::receivers() const {
  std::vector<std::string> all;
  for (const auto& [receiver, queue] : queues_) all.push_back(receiver);
  return all;
}

void Outbox::finish(const std::string& receiver, uint64_t number) {
  const auto item = file_of_.find(number);
  if (item == file_of_.end()) return;  // dropped meanwhile
  counters_.finished++;
  settle(number, receiver);
  write(writable_file(), kFinished, dump(json{{"n", number}, {"to", receiver}}));
}

void Outbox::settle(uint64_t number, const std::string& receiver) {
  if (const auto queue = queues_.find(receiver); queue != queues_.end()) {
    if (!queue->second.empty() && queue->second.front() == number) {
      queue->second.pop_front();
    } else {
      std::erase(queue->second, number);
    }
    if (queue->second.empty()) queues_.erase(queue);
  }
  const auto home = file_of_.find(number);
  if (home == file_of_.end()) return;
  auto& open = files_[home->second].open;
  const auto entry = open.find(number);
  if (entry == open.end()) return;
  std::erase(entry->second, receiver);
  if (!entry->second.empty()) return;
  open.erase(entry);
  file_of_.erase(home);
  items_.erase(number);
}

// The file for the next record; a new one when there is none, it is large, or failed.
uint64_t Outbox::writable_file() {
  if (current_ != 0 && !files_[current_].failed && files_[current_].bytes < bytes_max_ / kFilesWanted) return current_;
  close_current();
  current_ = next_file_++;
  File& file = files_[current_];
  file.path = directory_ + "/" + numbered_name(kPrefix, current_);
  auto handle = env_.disk.open_append(file.path);
  if (!handle) {
    failed(current_, handle.error());
    return current_;
  }
  handle_ = *handle;
  env_.disk.sync_dir(directory_, [](const Status&) {});
  auto header = std::make_shared<std::vector<std::byte>>();
  append_file_header(*header, {FileKind::kOutbox, current_, env_.clock.utc_ms(), 0});
  file.bytes = header->size();
  env_.disk.append(handle_, *header, [this, header, alive = alive_, number = current_](const Status& status) {
    if (*alive && !status) failed(number, status.error());
  });
  return current_;
}

void Outbox::write(uint64_t number, uint8_t type, const std::string& body) {
  File& file = files_[number];
  auto bytes = std::make_shared<std::vector<std::byte>>();
  const auto* begin = reinterpret_cast<const std::byte*>(body.data());
  const size_t length = std::min<size_t>(body.size(), kRecordBodyBytesMax);
  append_record(*bytes, type, {begin, length});
  file.bytes += bytes->size();
  if (file.failed || handle_ == 0) return;
  env_.disk.append(handle_, *bytes, [this, bytes, alive = alive_, number](const Status& status) {
    if (*alive && !status) failed(number, status.error());
  });
}

void Outbox::failed(uint64_t number, const Error& error) {
  counters_.write_errors++;
  if (!failing_) env_.log.error("outbox_not_written", {{"why", error.text}, {"until_then", "events wait in memory"}});
  failing_ = true;
  if (const auto found = files_.find(number); found != files_.end()) found->second.failed = true;
}

void Outbox::close_current() {
  if (handle_ != 0) {
    // sync() asks for the file being written only.
    env_.disk.sync(handle_, [this, alive = alive_, number = current_](const Status& status) {
      if (*alive && !status) failed(number, status.error());
    });
    env_.disk.close(handle_);
  }
  handle_ = 0;
  current_ = 0;
}

void Outbox::enforce_bound() {
  while (bytes() > bytes_max_ && files_.size() > 1) {
    const uint64_t oldest = files_.begin()->first;
    if (oldest == current_) return;
    drop_file(oldest);
  }
}

void Outbox::drop_file(uint64_t number) {
  const File file = std::move(files_[number]);
  files_.erase(number);
  std::map<std::string, uint64_t> lost;
  for (const auto& [n, receivers] : file.open) {
    counters_.dropped += receivers.size();
    for (const std::string& receiver : receivers) lost[receiver]++;
    counters_.dropped_bytes += items_.at(n).body.size();
    for (const std::string& receiver : receivers) {
      const auto queue = queues_.find(receiver);
      if (queue == queues_.end()) continue;
      std::erase(queue->second, n);
      if (queue->second.empty()) queues_.erase(queue);
    }
    file_of_.erase(n);
    items_.erase(n);
  }
  for (const Known& known : file.known) {
    if (--ids_[known.id] == 0) ids_.erase(known.id);
  }
  for (const auto& [receiver, events] : lost) {
    env_.log.warn("outbox_full",
                  {{"receiver", receiver}, {"oldest_events_dropped", events}, {"bytes_max", bytes_max_}});
  }
  (void)env_.disk.remove(file.path);
}

void Outbox::sync(std::function<void(Status)> done) {
  write_failed_again();
  if (current_ == 0) {
    env_.loop.post([done = std::move(done)] { done({}); });
    return;
  }
  if (files_[current_].failed || handle_ == 0) {
    env_.loop.post([done = std::move(done)] { done(fail(ErrorCode::kIo, "the outbox could not be written")); });
    return;
  }
  env_.disk.sync(handle_, [this, alive = alive_, number = current_, done = std::move(done)](const Status& status) {
    if (!*alive) return;
    if (!status) failed(number, status.error());
    if (status) failing_ = false;
    done(status);
  });
}

// What a file that failed may lack goes into another one: what waits, and what must not be told again.
void Outbox::write_failed_again() {
  std::vector<uint64_t> failed;
  for (const auto& [number, file] : files_) {
    if (file.failed) failed.push_back(number);
  }
  for (const uint64_t number : failed) {
    if (number == current_) close_current();
    auto old = files_.extract(number);
    take_over(std::move(old.mapped()));
  }
}

void Outbox::take_over(File old) {
  static const std::vector<std::string> nobody;
  for (Known& known : old.known) {
    const auto open = old.open.find(known.number);
    write_event(writable_file(), std::move(known), open != old.open.end() ? open->second : nobody);
  }
  (void)env_.disk.remove(old.path);
}

// A file that says only that events of files that are gone are finished, says nothing: so from the oldest on.
void Outbox::forget(uint64_t before) {
  while (!files_.empty() && files_.begin()->second.open.empty() && files_.begin()->second.last_event < before) {
    const uint64_t oldest = files_.begin()->first;
    if (oldest == current_) {
      if (files_.begin()->second.bytes <= kFileHeaderBytes) return;
      close_current();
    }
    drop_file(oldest);
  }
}

uint64_t Outbox::bytes() const {
  uint64_t sum = 0;
  for (const auto& [number, file] : files_) sum += file.bytes;
  return sum;
}

uint64_t Outbox::waiting() const {
  uint64_t sum = 0;
  for (const auto& [receiver, queue] : queues_) sum += queue.size();
  return sum;
}

}  // namespace lambda::gateway
