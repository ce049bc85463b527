#include "agent/source/process_groups.h"

#include <algorithm>
#include <utility>

#include "agent/source/kernel_file.h"

namespace lambda::agent {
namespace {

constexpr uint32_t kLooks = 2;

}  // namespace

ProcessGroups::ProcessGroups(HostFiles& files, const std::string& root)
    : files_(files), folder_(below(root, "proc")), page_bytes_(files.page_bytes()) {}

Status ProcessGroups::check(const std::vector<ProcessGroupOptions>& options) {
  if (options.size() > kProcessGroupsMax) {
    return fail(ErrorCode::kInvalid, "process_group: more than " + std::to_string(kProcessGroupsMax) + " groups");
  }
  for (size_t i = 0; i < options.size(); ++i) {
    const std::string group = "process_group \"" + options[i].name + "\"";
    if (options[i].match.empty()) {
      return fail(ErrorCode::kInvalid, group + ": match: is empty and would take every process");
    }
    if (auto filter = DeviceFilter::make(group + ": match", options[i].match, ""); !filter) {
      return tl::unexpected(filter.error());
    }
    for (size_t k = 0; k < i; ++k) {
      if (options[k].name == options[i].name) return fail(ErrorCode::kInvalid, group + ": another group has this name");
    }
  }
  return {};
}

Result<std::unique_ptr<ProcessGroups>> ProcessGroups::make(HostFiles& files, const std::string& root,
                                                           const std::vector<ProcessGroupOptions>& options) {
  if (auto status = check(options); !status) return tl::unexpected(status.error());
  std::unique_ptr<ProcessGroups> made(new ProcessGroups(files, root));
  for (const ProcessGroupOptions& group : options) {
    Group added;
    added.name = group.name;
    added.filter = std::move(*DeviceFilter::make(group.name, group.match, ""));
    made->groups_.push_back(std::move(added));
  }
  return made;
}

uint32_t ProcessGroups::groups_of(int64_t pid, std::string_view name) {
  std::string command;
  if (const auto read = files_.read_once(folder_ + "/" + std::to_string(pid) + "/cmdline")) {
    command = read->substr(0, kCommandBytesMax);
    while (command.ends_with('\0')) command.pop_back();
    std::replace(command.begin(), command.end(), '\0', ' ');
  }
  uint32_t groups = 0;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const DeviceFilter& filter = groups_[i].filter;
    if (filter.wants(name) || (!command.empty() && filter.wants(command))) groups |= 1u << i;
  }
  return groups;
}

void ProcessGroups::add(const Found& found, std::string_view name) {
  Known& known = known_[found.pid];
  if (known.started != found.started || known.name != name) known = {found.started, std::string(name), 0, 0, 0};
  if (known.looks < kLooks) {
    known.looks++;
    known.groups = groups_of(found.pid, known.name);
  }
  known.round = round_;
  if (known.groups == 0) return;
  const bool listed = files_.list(folder_ + "/" + std::to_string(found.pid) + "/fd", names_).has_value();
  for (size_t i = 0; i < groups_.size(); ++i) {
    if ((known.groups & 1u << i) == 0) continue;
    Group& group = groups_[i];
    group.ticks += found.ticks;
    group.pages += found.pages;
    group.threads += found.threads;
    group.processes++;
    group.looked_into += listed ? 1 : 0;
    group.files += listed ? static_cast<int64_t>(names_.size()) : 0;
  }
}

void ProcessGroups::tell(Sink& sink) {
  for (Group& group : groups_) {
    const auto one = [&](size_t field, int64_t value, const char* name, Kind kind, ValueType type, const char* unit) {
      put(sink, group.slots[field], static_cast<uint64_t>(value), [&] {
        const uint8_t scale = type == ValueType::kDec ? 2 : 0;
        return SeriesSpec{name, {{"group", group.name}}, kind, type, scale, unit};
      });
    };
    one(0, group.ticks, "lambda_process_group_cpu_seconds_total", Kind::kCounter, ValueType::kDec, "seconds");
    one(1, group.pages * static_cast<int64_t>(page_bytes_), "lambda_process_group_resident_memory_bytes", Kind::kGauge,
        ValueType::kI64, "bytes");
    one(2, group.threads, "lambda_process_group_threads", Kind::kGauge, ValueType::kI64, "");
    one(3, group.processes, "lambda_process_group_count", Kind::kGauge, ValueType::kI64, "");
    if (group.looked_into > 0 || group.processes == 0) {
      one(4, group.files, "lambda_process_group_open_files", Kind::kGauge, ValueType::kI64, "");
    }
    group.pages = group.threads = group.processes = group.files = group.looked_into = 0;
  }
  std::erase_if(known_, [&](const auto& entry) { return entry.second.round != round_; });
  ++round_;
}

}  // namespace lambda::agent
