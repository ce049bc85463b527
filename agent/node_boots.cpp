// A new boot within a process: because a gateway asks for one, or to let go of series that have ended. A ref stands for
// one series as long as a boot lasts, here and at every gateway, so a place in the table is free only with the next.
#include <algorithm>
#include <utility>

#include "agent/node_parts.h"

namespace lambda::agent {
namespace {

// Points of kBootsMax boots are in memory at most, each for as long as retention: no more of them than that in a while.
constexpr int64_t kForgetsPerRetention = 2;
static_assert(kForgetsPerRetention + 1 < SeriesStore::kBootsMax);
// Each try makes parcels of everything: when memory refuses the boot, because others were asked for, not at once again.
constexpr int64_t kForgetAgainMs = 60'000;

}  // namespace

// Looks whether series that have ended take so many places that a new boot is worth it.
void Node::Parts::forget_series() {
  if (swapping || stopping) return;
  const auto ended = [this](SeriesRef ref) { return table->known(ref) && memory->has_ended(ref); };
  Places all{table->known_count(), config.series_max, 0};
  if (2 * all.taken >= all.max) {
    for (SeriesRef ref = 1; ref < table->size(); ++ref) all.ended += ended(ref) ? 1 : 0;
  }
  bool worth = all.worth_clearing();
  const auto look = [&](const Places& places) { worth = worth || places.worth_clearing(); };
  look(feeder->places(ended));
  if (scraper != nullptr) {
    for (const Places& places : scraper->places(ended)) look(places);
  }
  const int64_t now = env.clock.mono_ms();
  if (!worth || now - boot_began_ms < config.retention_ms / kForgetsPerRetention) return;
  // The new boot needs a disk that works. And each boot that a gateway does not have yet keeps its series in RAM.
  uint64_t unfinished = 0;
  for (const auto& known : spool->state().boots()) unfinished += known->id != boot ? 1 : 0;
  const bool disk_works = !disk_full && !journal->failing() && !spool->failing() && (!enrolled() || spool->started());
  const char* why = !disk_works                          ? "the disk does not work"
                    : unfinished >= config.old_boots_max ? "too many boots wait for a gateway"
                                                         : nullptr;
  if (why == nullptr) {
    forget_withheld = false;
    if (now < forget_again_ms) return;
    forget_again_ms = now + kForgetAgainMs;
    return change_boot();
  }
  if (!std::exchange(forget_withheld, true)) {
    env.log.warn("series_not_forgotten", {{"why", why}, {"series", all.taken}, {"boots_unfinished", unfinished}});
  }
}

// By ref: those that have ended and that nothing on its way to the journal, nor a page, still has.
std::vector<bool> Node::Parts::series_gone() const {
  std::vector<bool> gone(table->size(), false);
  for (SeriesRef ref = 1; ref < table->size(); ++ref) gone[ref] = table->known(ref) && memory->has_ended(ref);
  const auto in_use = [&](SeriesRef ref) {
    if (ref < gone.size()) gone[ref] = false;
  };
  feeder->each_in_use(in_use);
  if (scraper != nullptr) scraper->each_in_use(in_use);
  for (const HeldRows& held : held_rows) {
    for (const Row& row : held.rows) {
      for (const RowPoint& point : row.points) in_use(point.ref);
    }
  }
  return gone;
}

void Node::Parts::begin_new_boot() {
  if (stopping || !enrolled()) return;
  swap_wanted = true;
  if (!swapping) change_boot();
}

// All rows decided, all of memory in parcels, then the change: nothing of the old boot can come afterwards.
void Node::Parts::change_boot() {
  swapping = true;
  if (enrolled()) return rounds->live(true, [this] { swap_boot(); });
  // There are no parcels yet: the journals are what the next start makes them of.
  journal->flush([this, living = alive](Status status) {
    if (!*living) return;
    if (!status || stopping) return go_on();
    for (const JournalFile& file : journal->files()) old_journals.push_back(file);
    let_memory_age();
    swap_boot();
  });
}

void Node::Parts::swap_boot() {
  swap_wanted = false;
  const uint64_t id = std::max<uint64_t>(1, env.random.u64());
  if (!memory->begin_boot(id)) {
    env.log.warn("new_boot_refused", {{"why", "points of too many boots are in memory"}});
    return go_on();
  }
  const uint64_t previous = boot, next_journal = journal->next_number();
  const std::vector<bool> gone = series_gone();
  const auto count = static_cast<uint64_t>(std::count(gone.begin(), gone.end(), true));
  table = std::make_shared<SeriesTable>(table->next_boot(gone));
  if (count > 0) {
    series_forgotten += count;
    feeder->forget(gone);
    if (scraper != nullptr) scraper->forget(gone);
    env.log.info("series_forgotten", {{"series", count}, {"left", uint64_t{table->known_count()}}});
  }
  if (Boot* before = spool->state().find(previous)) before->held = false;
  boot = id;
  sampler->set_table(table);
  journal->settle();  // all of it is in synced parcels, or synced itself
  begin_boot(previous, next_journal);
  sampler->restart_clock();
  env.log.info("new_boot", {{"boot", boot}, {"previous", previous}});
  go_on();
}

void Node::Parts::go_on() {
  swapping = false;
  for (HeldRows& held : std::exchange(held_rows, {})) {
    for (Row& row : held.rows) row.clock = sampler->segment();
    take_rows(std::move(held.rows), std::move(held.done), held.note);
  }
}

}  // namespace lambda::agent
