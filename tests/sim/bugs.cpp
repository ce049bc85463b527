#include "tests/sim/bugs.h"

#include <algorithm>
#include <string>

#include "base/planted.h"

namespace lambda {
namespace {

// The one global of the simulator: hooks are plain function calls anywhere in the code.
std::string g_planted;
bool g_reached = false;

constexpr sim::Bug kBugs[] = {
    {"store_no_sync", "acks without fdatasync"},
    {"store_no_dir_sync", "a new segment's name is not synced"},
    {"store_ack_before_sync", "acks while the fdatasync is under way"},
    {"store_no_start_sync", "bytes found at the start are believed without a sync"},
    {"store_no_cut", "goes on writing behind a failed batch"},
    {"store_no_dedupe", "stores what it has already"},
    {"store_merge_no_sync", "a merged segment replaces others before it is synced"},
    {"store_merge_ends_unverified", "a merge that altered a point is not compared with its sources"},
    {"ingest_acks_before_sync", "acks when a parcel arrives"},
    {"ingest_skips_signature", "does not verify signatures"},
    {"ingest_ignores_revocation", "goes on taking parcels of a revoked device"},
    {"store_no_conflict", "takes another value for an ordinal that is stored as the same"},
    {"journal_no_sync", "the journal is not synced"},
    {"journal_no_dir_sync", "a new journal's name is not synced"},
    {"spool_no_dir_sync", "a new spool file's name is not synced"},
    {"spool_no_sync", "a parcel is sent before it is synced"},
};

}  // namespace

bool planted(const char* name) {
  if (g_planted != name) return false;
  g_reached = true;
  return true;
}

namespace sim {

std::span<const Bug> bugs() {
  return kBugs;
}

bool plant(std::string_view name) {
  g_planted = name;
  g_reached = false;
  return name.empty() ||
         std::any_of(std::begin(kBugs), std::end(kBugs), [&](const Bug& bug) { return bug.name == name; });
}

bool planted_bug_was_reached() {
  return g_reached;
}

}  // namespace sim
}  // namespace lambda
