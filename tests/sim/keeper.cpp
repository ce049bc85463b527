#include "tests/sim/keeper.h"

#include <algorithm>

namespace lambda::sim {
namespace {

constexpr uint32_t kBankBytesMin = 16u << 10;
constexpr size_t kBootsKept = 3;  // of before, whatever happens: a device's memory knows four

lam_flash_config any_config(SimRandom& random) {
  lam_flash_config config{};
  config.banks = static_cast<uint32_t>(random.between(2, 4));
  // Or only when power is announced, and when the SDK must.
  config.save_every_s = random.chance(0.25) ? UINT32_MAX : static_cast<uint32_t>(random.between(1, 20));
  return config;
}

}  // namespace

Keeper::Keeper(SimRandom random, Oracle& oracle, std::string device, std::function<void()> power_lost)
    : random_(random),
      oracle_(oracle),
      name_(std::move(device)),
      config_(any_config(random_)),
      flash_(make_flash(random_, oracle, config_.banks)) {
  flash_.random.seed(random_.next());
  flash_.power_lost = std::move(power_lost);
}

Keeper::Flash Keeper::make_flash(SimRandom& random, Oracle& oracle, uint32_t banks) {
  const uint32_t page_bytes = 256u << random.below(5);
  const uint32_t bank_bytes = kBankBytesMin << random.below(3);
  const uint32_t write_bytes = 1u << random.below(6);
  return Flash(oracle, page_bytes, banks * bank_bytes / page_bytes, write_bytes);
}

void Keeper::complain(const std::string& text) const {
  oracle_.complain(name_ + ": " + text);
}

// ---- A run

void Keeper::start(lam_device* device, const lam_config& config, Log& log) {
  device_ = device;
  flash_.revive();
  const size_t size = lam_flash_memory(&config, &flash_.port, &config_);
  LAMBDA_ASSERT(size > 0);
  memory_.assign((size + 7) / 8, 0xA5A5A5A5A5A5A5A5);
  // Now and then power goes again at once.
  if (!power_is_safe_ && random_.chance(0.1)) lose_power_within(30);
  lam_flash_report report;
  LAMBDA_ASSERT(lam_flash_start(memory_.data(), size, device, &flash_.port, &config_, &sdk_, &report) == LAM_OK);
  log.info("flash_started", {{"found", std::string(lam_flash_found_name(report.found))},
                             {"generation", static_cast<int64_t>(report.generation)},
                             {"torn", static_cast<int64_t>(report.banks_torn)},
                             {"waiting", static_cast<int64_t>(report.points_waiting)},
                             {"named", static_cast<int64_t>(report.points_named)},
                             {"boots_given_up", static_cast<int64_t>(report.boots_given_up)}});
  check_report(report);
  saves_ = 0;
  note_saves();
  boots_.push_back(lam_boot(device));
}

void Keeper::check_report(const lam_flash_report& report) {
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

uint32_t Keeper::poll() {
  const uint32_t wait_ms = lam_flash_poll(sdk_);
  note_saves();
  return wait_ms;
}

void Keeper::save() {
  (void)lam_flash_save(sdk_);
  note_saves();
}

void Keeper::note_saves() {
  lam_flash_counters counters;
  lam_flash_get_counters(sdk_, &counters);
  if (counters.saves != saves_) all_made_is_saved();
  generation_ += static_cast<uint32_t>(counters.saves - saves_);
  saves_ = counters.saves;
  if (!has_power()) return;
  if (counters.notes_failed + counters.banks_worn + counters.gaps_forgotten > 0) complain("a note or a gap got lost");
}

void Keeper::all_made_is_saved() {
  for (const auto& [series, end] : made_) saved_[series] = end;
}

void Keeper::made(const Identity& identity) {
  if (identity.boot != boots_.back()) boots_.push_back(identity.boot);
  made_[{identity.boot, identity.ref}] = identity.ordinal + 1;
}

void Keeper::end() {
  dropped_before_ = dropped();
  device_ = nullptr;
  sdk_ = nullptr;
}

// ---- What is promised

uint64_t Keeper::dropped() const {
  if (device_ == nullptr) return dropped_before_;
  lam_counters counters;
  lam_get_counters(device_, &counters);
  return dropped_before_ + counters.points_dropped;
}

bool Keeper::accounts_for(const Identity& identity) const {
  if (given_up_.count(identity.boot) != 0) return false;
  const std::pair series(identity.boot, identity.ref);
  for (const Extent* extent : {&made_, &saved_}) {
    const auto end = extent->find(series);
    if (end != extent->end() && identity.ordinal < end->second) return true;
  }
  return identity.ordinal < oracle_.published_end(identity);
}

void Keeper::check(const SegmentContent& content) const {
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
