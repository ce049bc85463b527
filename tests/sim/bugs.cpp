#include "tests/sim/bugs.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/planted.h"

namespace lambda {
namespace {

// The one global of the simulator: hooks are plain function calls anywhere in the code.
std::string g_planted;
uint64_t g_reached = 0;

constexpr sim::Bug kBugs[] = {
    // Syncs that are left out.
    {"store_no_sync", "acks without fdatasync"},
    {"store_no_dir_sync", "a new segment's name is not synced"},
    {"store_no_start_sync", "bytes found at the start are believed without a sync"},
    {"store_believes_failed_start_sync", "a failed sync at the start is taken for success"},
    {"store_no_cut_sync", "the cut behind a failed batch is not synced"},
    {"store_merge_no_sync", "a merged segment replaces others before it is synced"},
    {"store_merge_no_dir_sync", "a merged segment replaces others before its name is synced"},
    {"store_retires_before_sync", "retention deletes points before the record of it is synced"},
    {"journal_no_sync", "the journal is not synced"},
    {"journal_no_dir_sync", "a new journal's name is not synced"},
    {"spool_no_sync", "a parcel is sent before it is synced"},
    {"spool_no_dir_sync", "a new spool file's name is not synced"},
    {"spool_no_start_sync", "parcels found at the start are believed without a sync"},
    // Acks that come too early, or for more than was stored.
    {"store_ack_before_sync", "acks while the fdatasync is under way"},
    {"ingest_acks_before_sync", "acks when a parcel arrives"},
    {"ingest_acks_past_holes", "an ack takes the last range for all before it"},
    {"ingest_acks_conflicts", "acks what contradicts what is stored"},
    {"store_swallows_full_disk", "a full disk is taken for success"},
    {"store_retries_failed_sync", "a failed fdatasync is asked again, and believed"},
    {"store_remembers_failed_batch", "what a failed batch brought counts as stored"},
    // Checks that keep a point from counting twice.
    {"store_no_dedupe", "stores what it has already"},
    {"store_no_conflict", "takes another value for an ordinal that is stored as the same"},
    {"store_ignores_pending", "does not look at the batch that is under way"},
    {"store_ignores_siblings", "does not see a parcel that is in this batch already"},
    {"store_seq_is_enough", "takes a parcel for known by its number, without its digest"},
    {"store_twice_in_one_parcel", "takes ordinals that stand in a parcel twice"},
    {"store_counts_gaps_twice", "counts a gap again each time it is told"},
    {"store_forgets_retired", "after a start, takes points again that retention deleted"},
    // What merging, retention and errors must not do.
    {"store_no_cut", "goes on writing behind a failed batch"},
    {"store_forgets_old_gaps", "retention forgets the gaps of boots of which nothing else is left"},
    {"store_merge_ends_unverified", "a merge that altered a point is not compared with its sources"},
    {"store_merge_ends_sources_first", "a merge deletes its sources before its file is whole"},
    // What is refused, and how.
    {"ingest_skips_signature", "does not verify signatures"},
    {"ingest_ignores_revocation", "goes on taking parcels of a revoked device"},
    {"ingest_undeclared_is_poison", "refuses for good what only lacks a declaration"},
    {"ingest_full_is_poison", "refuses for good what it has no room for"},
    // An agent's own.
    {"journal_released_early", "a journal is deleted before its points are in synced parcels"},
    {"journal_repeats_nothing", "rows of a failed sync are not written again"},
    {"journal_ordinals_restart", "a new journal file counts from zero"},
    {"spool_believes_failed_sync", "a failed sync of a parcel is taken for success"},
    {"spool_believes_failed_start_sync", "a failed sync at the start is taken for success"},
    {"spool_swallows_write_error", "a failed write of a parcel is taken for success"},
    {"spool_forgets_vanished_files", "what was in a file that is gone is not named"},
    {"uplink_settles_what_it_sends", "a parcel is gone when the transport took it"},
    {"uplink_takes_acks_of_any_boot", "an ack of one boot settles parcels of others"},
    {"uplink_drops_what_is_nacked", "a parcel that was asked to wait is dropped"},
    // A device's flash.
    {"flash_gives_up_the_old_first", "the snapshot in force is erased before the next one is whole"},
    {"flash_takes_the_older", "of two snapshots that are whole the older one is taken"},
    {"flash_notes_nothing", "what goes into parcels after a snapshot is not noted"},
    {"flash_starts_unnoted", "a start from a snapshot is not noted"},
    {"flash_numbers_go_on", "parcels of a restored boot go on with the numbers of the snapshot"},
    // The firmware's board.
    {"board_same_entropy", "each start draws the same random numbers"},
    {"board_believes_silence", "questions that nobody answers do not end a session"},
    {"board_forgets_flash", "the loop never comes to what the flash needs"},
    // The live lane.
    {"live_twice", "hands out again what a live message repeats"},
    {"live_block_again", "hands out with a block what came live"},
    {"live_no_renewal", "a lease is not renewed"},
};

}  // namespace

bool planted(const char* name) {
  if (g_planted != name) return false;
  ++g_reached;
  return true;
}

namespace sim {

std::span<const Bug> bugs() {
  return kBugs;
}

bool plant(std::string_view name) {
  g_planted = name;
  g_reached = 0;
  return name.empty() ||
         std::any_of(std::begin(kBugs), std::end(kBugs), [&](const Bug& bug) { return bug.name == name; });
}

const std::string& planted_bug() {
  return g_planted;
}

uint64_t planted_bug_was_met() {
  return g_reached;
}

void planted_bug_was_met_elsewhere(uint64_t times) {
  g_reached += times;
}

}  // namespace sim
}  // namespace lambda
