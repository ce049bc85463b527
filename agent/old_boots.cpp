#include "agent/old_boots.h"

#include <algorithm>
#include <utility>

#include "base/record/record.h"

namespace lambda::agent {

JournalContent count_journals(Env& env, const std::string& dir, std::vector<JournalFile> files, uint32_t series_max) {
  JournalContent content;
  SeriesTable table(series_max);
  const GapSet none;
  JournalReplay reader(env.disk, env.log, dir, std::move(files), table, none, GapReason::kSpoolBytes);
  for (bool last = false; !last;) {
    const ReplayPiece piece = reader.next();
    content.points += piece.points;
    for (const Gap& gap : piece.gaps) content.lost += gap.run.count;
    last = piece.last;
  }
  return content;
}

void OldBoots::found(std::vector<JournalFile> files) {
  for (JournalFile& file : files) {
    const JournalHead head = file.head;
    auto of =
        std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& boot) { return boot.head.boot == head.boot; });
    if (of == waiting_.end()) of = waiting_.insert(waiting_.end(), {head, {}});
    if (of->head.started_ms == 0) of->head = head;  // a file whose first record is damaged says the boot only
    of->files.push_back(std::move(file));
  }
  take_up(0);
}

// The one that no other names as its previous one. After a copy of an old state there may be several: the latest.
uint64_t OldBoots::newest() const {
  std::vector<JournalHead> known;
  for (const auto& boot : parts_.spool.state().boots())
    known.push_back({boot->id, boot->previous, boot->started_ms, 0});
  for (const Waiting& boot : waiting_) known.push_back(boot.head);
  JournalHead newest;
  for (const JournalHead& candidate : known) {
    const bool followed = std::any_of(known.begin(), known.end(),
                                      [&](const auto& other) { return other.previous_boot == candidate.boot; });
    if (!followed && (newest.boot == 0 || candidate.started_ms >= newest.started_ms)) newest = candidate;
  }
  return newest.boot;
}

// Whether the chain of previous boots leads from `later` to `earlier`.
bool OldBoots::comes_after(uint64_t later, uint64_t earlier) const {
  const size_t steps_max = parts_.spool.state().boots().size() + waiting_.size() + 1;
  for (size_t steps = 0; later != 0 && steps < steps_max; ++steps) {
    if (const Boot* boot = parts_.spool.state().find(later)) {
      later = boot->previous;
    } else {
      const auto waits = std::find_if(waiting_.begin(), waiting_.end(),
                                      [&](const auto& waiting) { return waiting.head.boot == later; });
      later = waits == waiting_.end() ? 0 : waits->head.previous_boot;
    }
    if (later == earlier) return true;
  }
  return false;
}

void OldBoots::begin(Waiting waiting) {
  const JournalHead& head = waiting.head;
  if (Boot* known = parts_.spool.state().find(head.boot)) {
    known->held = true;
  } else {
    // In its place among the others: parcels go out in the order of the boots.
    uint64_t before = 0;
    for (const auto& boot : parts_.spool.state().boots()) {
      if (before == 0 && comes_after(boot->id, head.boot)) before = boot->id;
    }
    parts_.spool.begin_boot(
        head.boot, head.previous_boot, head.started_ms, std::make_shared<SeriesTable>(parts_.series_max),
        sign_hello(parts_.key, parts_.packer.options(), head.boot, head.previous_boot, head.started_ms));
    if (before != 0) parts_.spool.state().move_before(head.boot, before);
  }
  parts_.rounds.replay(head.boot, std::move(waiting.files));
}

void OldBoots::take_up(uint64_t present) {
  const auto unfinished = [](const Boot& boot) { return boot.held || boot.unsettled() > 0 || !boot.pending.empty(); };
  uint64_t in_hand = 0;
  for (const auto& boot : parts_.spool.state().boots()) {
    if (boot->id != present && unfinished(*boot)) ++in_hand;
  }
  for (auto waiting = waiting_.begin(); waiting != waiting_.end();) {
    const Boot* known = parts_.spool.state().find(waiting->head.boot);
    const bool counted = known != nullptr && unfinished(*known);
    // One that ever had a parcel must not be forgotten while it has journals: its seqs and ordinals go on.
    const bool may_wait = !counted && (known == nullptr || known->next_seq == 1);
    if (may_wait && in_hand >= parts_.boots_max) {
      ++waiting;
      continue;
    }
    if (!counted) ++in_hand;
    Waiting boot = std::move(*waiting);
    waiting = waiting_.erase(waiting);
    begin(std::move(boot));
  }
}

bool OldBoots::drop_oldest(uint64_t* points) {
  *points = 0;
  if (waiting_.empty()) return false;
  const Waiting boot = std::move(waiting_.front());
  waiting_.pop_front();
  const JournalContent content = count_journals(parts_.env, parts_.dir, boot.files, parts_.series_max);
  *points = content.points + content.lost;
  for (const JournalFile& file : boot.files) {
    const std::string name = numbered_name("journal-", file.number);
    if (auto status = parts_.env.disk.remove(parts_.dir + "/" + name); !status) {
      parts_.env.log.warn("journal_release_failed", {{"error", status.error().text}});
    }
  }
  parts_.env.log.warn("journals_dropped", {{"boot", boot.head.boot}, {"points", *points}});
  return true;
}

uint64_t OldBoots::waiting_bytes() const {
  uint64_t bytes = 0;
  for (const Waiting& boot : waiting_) {
    for (const JournalFile& file : boot.files) bytes += file.bytes;
  }
  return bytes;
}

}  // namespace lambda::agent
