// Processes that belong together, by a regular expression over their name and their command line: what each group uses,
// lambda_process_group_*{group}. Fed by ProcessesSource, which reads the processes anyway.
//
// The expression is looked for in the kernel's name (15 bytes) and in the command line with blanks between its words,
// of which kCommandBytesMax count. A process may be in several groups, or none. It is looked at when it is new, again
// in the collection after that, and whenever its name changes: a program that starts another one has its own words for
// a moment.
//
// A group's processor time counts from its processes' first collection on and never goes down. A group without a
// process has a count of 0: a rule can say so. Open files are those of the processes that the agent may look into; when
// it may look into none of a group, there is no point.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/source/device_filter.h"
#include "agent/source/device_table.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

inline constexpr size_t kProcessGroupsMax = 32;
inline constexpr size_t kCommandBytesMax = 4'096;

struct ProcessGroupOptions {
  std::string name;   // the label `group`
  std::string match;  // RE2, found anywhere unless anchored
};

class ProcessGroups {
 public:
  // kInvalid: an expression, or two groups of one name; the error names it.
  static Status check(const std::vector<ProcessGroupOptions>& options);
  // `files` outlives it. Errors as of check().
  static Result<std::unique_ptr<ProcessGroups>> make(HostFiles& files, const std::string& root,
                                                     const std::vector<ProcessGroupOptions>& options);

  // A process as this collection finds it. `ticks` it used since the collection before; `started` tells it from another
  // one with its number.
  struct Found {
    int64_t pid = 0, started = 0, ticks = 0, pages = 0, threads = 0;
  };
  void add(const Found& found, std::string_view name);
  // The end of a collection: appends all groups, and forgets the processes that were not there.
  void tell(Sink& sink);

 private:
  static constexpr size_t kFields = 5;
  struct Group {
    std::string name;
    DeviceFilter filter;
    std::array<SeriesSlot, kFields> slots;
    int64_t ticks = 0;                                                          // in its life
    int64_t pages = 0, threads = 0, processes = 0, files = 0, looked_into = 0;  // of this collection
  };
  struct Known {
    int64_t started = 0;
    std::string name;
    uint32_t groups = 0;  // a bit each
    uint32_t looks = 0;
    uint32_t round = 0;
  };

  ProcessGroups(HostFiles& files, const std::string& root);
  uint32_t groups_of(int64_t pid, std::string_view name);

  HostFiles& files_;
  const std::string folder_;
  const uint64_t page_bytes_;
  std::vector<Group> groups_;
  std::unordered_map<int64_t, Known> known_;
  std::vector<std::string> names_;
  uint32_t round_ = 1;
};

}  // namespace lambda::agent
