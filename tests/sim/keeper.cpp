#include "tests/sim/keeper.h"

namespace lambda::sim {
namespace {

lam_flash_config any_config(SimRandom& random) {
  lam_flash_config config{};
  config.banks = static_cast<uint32_t>(random.between(2, 4));
  // Or only when power is announced, and when the SDK must.
  config.save_every_s = random.chance(0.25) ? UINT32_MAX : static_cast<uint32_t>(random.between(1, 20));
  return config;
}

}  // namespace

Keeper::Keeper(SimRandom random, Oracle& oracle, std::string device, std::function<void()> power_lost)
    : config_(any_config(random)), ledger_(random, oracle, std::move(device), config_.banks, std::move(power_lost)) {}

void Keeper::start(lam_device* device, const lam_config& config, Log& log) {
  device_ = device;
  const size_t size = lam_flash_memory(&config, &ledger_.port(), &config_);
  LAMBDA_ASSERT(size > 0);
  memory_.assign((size + 7) / 8, 0xA5A5A5A5A5A5A5A5);
  ledger_.begin_run();
  lam_flash_report report;
  LAMBDA_ASSERT(lam_flash_start(memory_.data(), size, device, &ledger_.port(), &config_, &sdk_, &report) == LAM_OK);
  ledger_.started(report, lam_boot(device), log);
  count();
}

uint32_t Keeper::poll() {
  const uint32_t wait_ms = lam_flash_poll(sdk_);
  count();
  return wait_ms;
}

void Keeper::save() {
  (void)lam_flash_save(sdk_);
  count();
}

void Keeper::count() {
  lam_flash_counters counters;
  lam_flash_get_counters(sdk_, &counters);
  lam_counters made;
  lam_get_counters(device_, &made);
  ledger_.counted(counters, made.points_dropped);
}

void Keeper::end() {
  if (sdk_ != nullptr) count();
  ledger_.end_run();
  device_ = nullptr;
  sdk_ = nullptr;
}

}  // namespace lambda::sim
