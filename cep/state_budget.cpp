#include "cep/state_budget.h"

namespace lambda::cep {

void StateBudget::add(const RuleRunner::Held& held) {
  held_.bytes += held.bytes;
  held_.tables += held.tables;
  held_.doubling += held.doubling;
}

void StateBudget::take_off(const RuleRunner::Held& held) {
  held_.bytes -= held.bytes;
  held_.tables -= held.tables;
  held_.doubling -= held.doubling;
}

void StateBudget::count(Rules rules, uint64_t growth_bytes) {
  growth_bytes_ = growth_bytes;
  own_bytes_ = 0;
  held_ = {};
  touched_.clear();
  for (const auto& rule : rules) {
    if (rule != nullptr) {
      own_bytes_ += rule->own_bytes;
      add(rule->count_state());
    }
  }
}

void StateBudget::look(uint64_t line, Rules rules) {
  for (RuleRunner* rule : touched_) {
    take_off(rule->counted());
    add(rule->count_state());
  }
  touched_.clear();
  const uint64_t bytes = own_bytes_ + held_.bytes;
  const uint64_t tight_from = bytes_max_ - bytes_max_ / 8;
  const bool was_tight = is_tight_;
  is_tight_ = bytes >= tight_from || bytes + held_.doubling > bytes_max_;
  if (is_tight_ || was_tight) {
    const auto count = std::ranges::count_if(rules, [](const auto& rule) { return rule != nullptr; });
    const uint64_t share = bytes_max_ / 8 / static_cast<uint64_t>(std::max<std::ptrdiff_t>(count, 1));
    for (const auto& rule : rules) {
      if (rule != nullptr) {
        rule->set_may_grow(!is_tight_ || (bytes < bytes_max_ && rule->counted().bytes < share));
      }
    }
  }
  const uint64_t end = is_tight_ ? bytes_max_ : tight_from;
  const uint64_t room = end - std::min(end, bytes + held_.tables);
  const uint64_t lines = bytes >= bytes_max_ ? kLinesWhenFull : room / std::max<uint64_t>(growth_bytes_, 1);
  next_look_ = line + std::clamp<uint64_t>(lines, 1, kLinesMax);
}

void StateBudget::save(StateWriter& out) const {
  out.flag(is_tight_);
  out.u64(next_look_);
}

void StateBudget::load(StateReader& in) {
  is_tight_ = in.flag();
  next_look_ = in.u64();
}

}  // namespace lambda::cep
