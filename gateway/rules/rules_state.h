// The rules' state on the disk: one file, replaced as a whole. Loop thread only.
//
// Bytes: "LRUL", u32 version (1), u64 length of the feed's state, u64 length of the book's, u32 crc32c of what stands
// before it, then the two, each with a checksum of its own (cep/snapshot.h). Little-endian.
#pragma once

#include <functional>
#include <string>

#include "base/env/env.h"
#include "base/result.h"

namespace lambda::gateway {

struct RulesState {
  std::string feed;  // RuleFeed::save()
  std::string book;  // AlertBook::save()
};

// Written beside the old one, synced, renamed; a crash leaves the old one or the new one. `done` runs from the loop; an
// error leaves the old one. One at a time. `env` must outlive it.
void write_rules_state(Env& env, const std::string& path, const RulesState& state, std::function<void(Status)> done);

// kNotFound: there is none; kCorrupt, kUnsupported: it cannot be used.
Result<RulesState> read_rules_state(Disk& disk, const std::string& path);

}  // namespace lambda::gateway
