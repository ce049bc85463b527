#include "agent/source/processes_source.h"

#include <algorithm>

#include "agent/source/kernel_file.h"
#include "agent/source/process_stat.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

constexpr uint32_t kProgramIdleMax = 360;  // collections without a process of it: its time is forgotten

// Names may hold any bytes.
std::string label_of(std::string_view name) {
  std::string out(name);
  for (char& c : out) c = c >= ' ' && c <= '~' ? c : '?';
  return out;
}

}  // namespace

ProcessesSource::ProcessesSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter filter,
                                 uint32_t top, std::unique_ptr<ProcessGroups> groups)
    : files_(files),
      folder_(below(root, "proc")),
      process_limit_path_(below(root, "proc/sys/kernel/pid_max")),
      thread_limit_path_(below(root, "proc/sys/kernel/threads-max")),
      interval_ms_(interval_ms),
      page_bytes_(files.page_bytes()),
      filter_(std::move(filter)),
      top_(top),
      groups_(std::move(groups)) {}

ProcessesSource::Program* ProcessesSource::program(std::string_view name) {
  const std::string key(name);
  const auto known = programs_.find(key);
  if (known != programs_.end()) return &known->second;
  if (programs_.size() >= kProgramsMax) {
    names_refused_++;
    return nullptr;
  }
  Program& added = programs_[key];
  added.label = label_of(name);
  added.wanted = filter_.wants(name);
  return &added;
}

bool ProcessesSource::process(int64_t pid, std::string_view text) {
  const auto stat = read_process_stat(text);
  if (!stat || static_cast<unsigned char>(stat->state) >= states_.size()) return false;
  states_[static_cast<size_t>(stat->state)]++;
  threads_ += stat->threads;

  const auto [at, added] = processes_.try_emplace(pid);
  Process& known = at->second;
  // One that was there before us brings no past; one that began since the collection before brings all it used.
  const bool same = !added && known.started == stat->started;
  const int64_t used = same ? std::max<int64_t>(stat->ticks - known.ticks, 0) : round_ > 1 ? stat->ticks : 0;
  known = {stat->started, stat->ticks, round_};
  if (Program* of = program(stat->name)) {
    of->ticks += used;
    of->ticks_now += used;
    of->pages_now += stat->pages;
    of->processes_now++;
  }
  // Reads further files: the text is gone afterwards.
  if (groups_ != nullptr) groups_->add({pid, stat->started, used, stat->pages, stat->threads}, std::string(stat->name));
  return true;
}

void ProcessesSource::tell_limit(Sink& sink, SeriesSlot& slot, const std::string& path, const char* name) {
  const auto read = files_.read(path);
  if (!read) return;
  std::string_view text = *read, line;
  take_line(text, line);
  if (const auto limit = take_count(line)) {
    put(sink, slot, static_cast<uint64_t>(*limit),
        [&] { return SeriesSpec{name, {}, Kind::kGauge, ValueType::kI64, 0, ""}; });
  }
}

void ProcessesSource::tell_counts(Sink& sink) {
  const auto gauge = [&](SeriesSlot& slot, int64_t value, const char* name, LabelList labels) {
    put(sink, slot, static_cast<uint64_t>(value),
        [&] { return SeriesSpec{name, std::move(labels), Kind::kGauge, ValueType::kI64, 0, ""}; });
  };
  int64_t count = 0;
  for (size_t letter = 0; letter < states_.size(); ++letter) {
    count += states_[letter];
    if (states_[letter] == 0 && !state_slots_[letter].known) continue;
    gauge(state_slots_[letter], states_[letter], "node_processes_state",
          {{"state", std::string(1, static_cast<char>(letter))}});
  }
  gauge(count_slot_, count, "node_processes_pids", {});
  gauge(threads_slot_, threads_, "node_processes_threads", {});
  tell_limit(sink, process_limit_slot_, process_limit_path_, "node_processes_max_processes");
  tell_limit(sink, thread_limit_slot_, thread_limit_path_, "node_processes_max_threads");
}

void ProcessesSource::tell(Sink& sink, Program& program) {
  if (!program.told) {
    if (names_told_ >= kProcessNamesMax) {
      names_refused_++;
      return;
    }
    program.told = true;
    names_told_++;
  }
  const auto one = [&](size_t field, int64_t value, const char* name, Kind kind, ValueType type, const char* unit) {
    put(sink, program.slots[field], static_cast<uint64_t>(value), [&] {
      const uint8_t scale = type == ValueType::kDec ? 2 : 0;
      return SeriesSpec{name, {{"process", program.label}}, kind, type, scale, unit};
    });
  };
  one(0, program.ticks, "lambda_process_cpu_seconds_total", Kind::kCounter, ValueType::kDec, "seconds");
  one(1, program.pages_now * static_cast<int64_t>(page_bytes_), "lambda_process_resident_memory_bytes", Kind::kGauge,
      ValueType::kI64, "bytes");
  one(2, program.processes_now, "lambda_process_count", Kind::kGauge, ValueType::kI64, "");
}

void ProcessesSource::tell_top(Sink& sink) {
  order_.clear();
  for (auto& [name, known] : programs_) {
    if (known.wanted && known.processes_now > 0) order_.push_back(&known);
  }
  const size_t top = std::min<size_t>(top_, order_.size());
  const auto first = order_.begin(), middle = first + static_cast<std::ptrdiff_t>(top);
  const auto by = [](int64_t Program::*value) {
    return [value](const Program* a, const Program* b) {
      return a->*value != b->*value ? a->*value > b->*value : a->label < b->label;
    };
  };
  std::partial_sort(first, middle, order_.end(), by(&Program::ticks_now));
  for (auto at = first; at != middle && (*at)->ticks_now > 0; ++at) {
    tell(sink, **at);
    (*at)->processes_now = -(*at)->processes_now;  // told already
  }
  std::partial_sort(first, middle, order_.end(), by(&Program::pages_now));
  for (auto at = first; at != middle && (*at)->pages_now > 0; ++at) {
    if ((*at)->processes_now > 0) tell(sink, **at);
  }
  put(sink, refused_slot_, names_refused_,
      [] { return SeriesSpec{"lambda_process_names_refused_total", {}, Kind::kCounter, ValueType::kI64, 0, ""}; });
}

void ProcessesSource::forget() {
  std::erase_if(processes_, [&](const auto& entry) { return entry.second.round != round_; });
  for (auto& [name, known] : programs_) {
    known.idle = known.processes_now == 0 ? known.idle + 1 : 0;
    known.ticks_now = known.pages_now = known.processes_now = 0;
  }
  // A name that was told keeps its place among those that may be: its series is there for the life of the agent.
  std::erase_if(programs_, [](const auto& entry) { return !entry.second.told && entry.second.idle > kProgramIdleMax; });
}

Status ProcessesSource::collect(Sink& sink, int64_t) {
  if (auto status = files_.list(folder_, names_); !status) return status;
  Complaints complaints;
  ++round_;
  states_ = {};
  threads_ = 0;
  for (const std::string& name : names_) {
    const auto pid = to_count(name);
    if (!pid) continue;
    const std::string path = folder_ + "/" + name + "/stat";
    const auto read = files_.read_once(path);
    if (!read) {
      if (read.error().code != ErrorCode::kNotFound) complaints.add(path, 1, read.error().text);
      continue;  // it ended meanwhile
    }
    if (!process(*pid, *read)) complaints.add(path, 1, "expected the 24 fields of proc(5)");
  }
  tell_counts(sink);
  tell_top(sink);
  if (groups_ != nullptr) groups_->tell(sink);
  forget();
  return complaints.status();
}

}  // namespace lambda::agent
