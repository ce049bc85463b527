#include "boards/firmware/keeper.h"
#include "boards/firmware/line.h"

namespace lambda::boards {

std::span<uint8_t> Keeper::reserve(const lam_config& config, std::span<uint8_t> memory) {
  if (board_.flash == nullptr || save_every_s_ == 0) return memory;
  const size_t size = (lam_flash_memory(&config, board_.flash, nullptr) + 7) / 8 * 8;
  if (size == 0 || size > memory.size()) return memory;
  const size_t left = (memory.size() - size) / 8 * 8;
  memory_ = memory.subspan(left, size);
  return memory.first(left);
}

void Keeper::start(lam_device* device) {
  device_ = device;
  if (memory_.empty()) return;
  lam_flash_config config = {};
  config.save_every_s = save_every_s_;
  lam_flash_report report;
  if (lam_flash_start(memory_.data(), memory_.size(), device, board_.flash, &config, &flash_, &report) != LAM_OK) {
    Line(board_, "flash").field("found", "refused");
    flash_ = nullptr;
    return;
  }
  Line(board_, "flash")
      .field("found", lam_flash_found_name(report.found))
      .field("generation", report.generation)
      .field("torn", report.banks_torn)
      .field("readable", report.points_readable)
      .field("waiting", report.points_waiting)
      .field("named", report.points_named)
      .field("given_up", report.points_given_up)
      .field("memory_bytes", memory_.size());
}

uint32_t Keeper::poll() {
  if (flash_ == nullptr) return lam_poll(device_);
  const uint32_t wait_ms = lam_flash_poll(flash_);
  lam_flash_counters made;
  lam_flash_get_counters(flash_, &made);
  if (made.saves + made.saves_failed + made.saves_too_large != saves_said_) {
    saves_said_ = made.saves + made.saves_failed + made.saves_too_large;
    say("flash_saved");
  }
  return wait_ms;
}

void Keeper::look_at_power() {
  if (flash_ == nullptr || board_.power_failing == nullptr) return;
  const bool failing = board_.power_failing(board_.context);
  if (failing && !power_was_failing_) {
    lam_flash_save(flash_);
    say("power_failing");
  }
  power_was_failing_ = failing;
}

void Keeper::say(const char* event) const {
  lam_flash_counters made;
  lam_flash_get_counters(flash_, &made);
  Line(board_, event)
      .field("saves", made.saves)
      .field("failed", made.saves_failed)
      .field("too_large", made.saves_too_large)
      .field("left_out", made.blocks_left_out)
      .field("notes", made.notes)
      .field("notes_failed", made.notes_failed)
      .field("erases", made.erases)
      .field("bytes", made.bytes_written)
      .field("worn", made.banks_worn);
}

}  // namespace lambda::boards
