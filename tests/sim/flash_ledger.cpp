#include "tests/sim/flash_ledger.h"

namespace lambda::sim {
namespace {

constexpr uint32_t kBankBytesMin = 16u << 10;
constexpr size_t kBootsKept = 3;  // of before, whatever happens: a device's memory knows four

}  // namespace

FlashLedger::FlashLedger(SimRandom random, Oracle& oracle, std::string device, uint32_t banks,
                         std::function<void()> power_lost)
    : random_(random), oracle_(oracle), name_(std::move(device)), flash_(make_flash(random_, oracle, banks)) {
  flash_.random.seed(random_.next());
  flash_.power_lost = std::move(power_lost);
}

FlashLedger::Flash FlashLedger::make_flash(SimRandom& random, Oracle& oracle, uint32_t banks) {
  const uint32_t page_bytes = 256u << random.below(5);
  const uint32_t bank_bytes = kBankBytesMin << random.below(3);
  const uint32_t write_bytes = 1u << random.below(6);
  return Flash(oracle, page_bytes, banks * bank_bytes / page_bytes, write_bytes);
}

void FlashLedger::complain(const std::string& text) const {
  oracle_.complain(name_ + ": " + text);
}

// ---- A run

void FlashLedger::begin_run() {
  started_ = false;
  flash_.revive();
  // Now and then power goes again at once.
  if (!power_is_safe_ && random_.chance(0.1)) lose_power_within(30);
}

void FlashLedger::started(const lam_flash_report& report, uint64_t boot, Log& log) {
  log.info("flash_started", {{"found", std::string(lam_flash_found_name(report.found))},
                             {"generation", static_cast<int64_t>(report.generation)},
                             {"torn", static_cast<int64_t>(report.banks_torn)},
                             {"waiting", static_cast<int64_t>(report.points_waiting)},
                             {"named", static_cast<int64_t>(report.points_named)},
                             {"boots_given_up", static_cast<int64_t>(report.boots_given_up)}});
  started_ = true;
  check_report(report);
  saves_ = 0;
  boots_.push_back(boot);
}

void FlashLedger::check_report(const lam_flash_report& report) {
  const bool last_save_was_whole = report.generation == generation_ + 1;
  if (last_save_was_whole) all_made_is_saved();
  made_.clear();
  if (report.generation != generation_ && !last_save_was_whole) {
    complain("found snapshot " + std::to_string(report.generation) + ", and the last whole one is " +
             std::to_string(generation_));
  }
  generation_ = report.generation;
  const lam_flash_found wanted = generation_ > 0 ? LAM_FLASH_RESTORED : LAM_FLASH_EMPTY;
  if (report.found != wanted && has_power()) {
    complain("its flash is " + std::string(lam_flash_found_name(report.found)) + " after snapshot " +
             std::to_string(generation_));
  }
  if (report.boots_given_up > 0 && boots_.size() > kBootsKept) {
    given_up_.insert(boots_.begin(), boots_.end() - kBootsKept);
  }
}

bool FlashLedger::has_started() {
  if (!started_) complain("it makes points without having looked at its flash");
  return started_;
}

void FlashLedger::counted(const lam_flash_counters& counters, uint64_t dropped) {
  if (!has_started()) return;
  if (counters.saves != saves_) all_made_is_saved();
  generation_ += static_cast<uint32_t>(counters.saves - saves_);
  saves_ = counters.saves;
  dropped_ = dropped;
  if (!has_power()) return;
  if (counters.notes_failed + counters.banks_worn + counters.gaps_forgotten > 0) complain("a note or a gap got lost");
}

void FlashLedger::all_made_is_saved() {
  for (const auto& [series, end] : made_) saved_[series] = end;
}

void FlashLedger::made(const Identity& identity) {
  if (!has_started()) return;
  if (identity.boot != boots_.back()) boots_.push_back(identity.boot);
  made_[{identity.boot, identity.ref}] = identity.ordinal + 1;
}

void FlashLedger::end_run() {
  dropped_before_ += dropped_;
  dropped_ = 0;
}

// ---- What is promised

bool FlashLedger::accounts_for(const Identity& identity) const {
  if (given_up_.count(identity.boot) != 0) return false;
  const std::pair series(identity.boot, identity.ref);
  for (const Extent* extent : {&made_, &saved_}) {
    const auto end = extent->find(series);
    if (end != extent->end() && identity.ordinal < end->second) return true;
  }
  return identity.ordinal < oracle_.published_end(identity);
}

void FlashLedger::check(const SegmentContent& content) const {
  uint64_t named = 0;
  for (const auto& [identity, reasons] : content.gaps) {
    if (identity.device != name_ || content.points.count(identity) + content.retired.count(identity) != 0) continue;
    const auto saved = saved_.find({identity.boot, identity.ref});
    if (saved != saved_.end() && identity.ordinal < saved->second) ++named;
  }
  if (named > dropped()) {
    complain(std::to_string(named) + " points of whole snapshots are named as gone, and memory had no room for " +
             std::to_string(dropped()));
  }
}

}  // namespace lambda::sim
