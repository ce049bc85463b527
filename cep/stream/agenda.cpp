#include "cep/stream/agenda.h"

#include <algorithm>
#include <tuple>

#include "cep/language/mutant.h"

namespace lambda::cep {

void Agenda::add_clock(const Item& item) {
  if (has_event_ && item.time >= event_t_) {
    add(item, event_t_, kAheadOfEvents);
  } else {
    add(item, item.time, kTimers);
  }
}

void Agenda::add(const Item& item, int64_t time, uint8_t order) {
  heap_.push_back({time, order, next_number_++, item});
  std::ranges::push_heap(heap_, [this](const Entry& x, const Entry& y) { return later(x, y); });
}

bool Agenda::later(const Entry& x, const Entry& y) const {
  const auto head = [](const Entry& e) {
    const int64_t put_off = e.item.place == Place::kEvent ? e.item.clock_due : 0;
    return std::tuple(e.time, e.order, e.item.arrival, e.item.time, put_off, e.item.rank, e.item.rule);
  };
  if (head(x) != head(y)) {
    return head(x) > head(y);
  }
  if (const int order = compare_keys_(x.item.rule, x.item.key, y.item.key); order != 0) {
    return order > 0;
  }
  return x.number > y.number;
}

bool Agenda::event_is_next() const {
  if (!has_event_ || heap_.empty()) {
    return has_event_;
  }
  const Entry& top = heap_.front();
  if (mutant(Mutant::kTimersBeforeEvents) && top.order == kTimers && top.time == event_t_) {
    return false;
  }
  return std::tuple(event_t_, uint8_t{kEvents}, event_arrival_) < std::tuple(top.time, top.order, top.item.arrival);
}

Item Agenda::take() {
  std::ranges::pop_heap(heap_, [this](const Entry& x, const Entry& y) { return later(x, y); });
  const Item item = heap_.back().item;
  heap_.pop_back();
  return item;
}

}  // namespace lambda::cep
