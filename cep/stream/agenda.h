// The work of one line of input that is due, in the order of sentence 3. What is scheduled while it runs and is due at
// once joins it.
#pragma once

#include <functional>
#include <vector>

#include "cep/stream/moment.h"

namespace lambda::cep {

class Agenda {
 public:
  // Orders keys of one rule; only asked for work of the same rule at the same instant.
  using CompareKeys = std::function<int(RuleId, KeyId, KeyId)>;
  explicit Agenda(CompareKeys compare_keys) : compare_keys_(std::move(compare_keys)) {}

  // A new line. `event_t`: of the line's event.
  void begin_event(int64_t event_t, uint64_t arrival) {
    has_event_ = true;
    event_t_ = event_t;
    event_arrival_ = arrival;
  }
  void begin_advance() { has_event_ = false; }
  void event_is_done() { has_event_ = false; }

  void add_horizon(const Item& item) { add(item, item.time, order_of(item.place)); }
  // A timer of the arrival clock: the line's event arrived after it, whatever time the event carries (7).
  void add_clock(const Item& item);
  // One that was due before the events that are still to be done arrived, whatever time those carry: it comes right
  // behind the events at `t`.
  void add_behind(Item item, int64_t t) {
    item.time = t;
    item.place = Place::kEvent;
    item.arrival = UINT64_MAX;
    add_horizon(item);
  }

  bool empty() const { return heap_.empty(); }
  bool has_event() const { return has_event_; }
  // Is the line's event next? Else take() is.
  bool event_is_next() const;
  Item take();

 private:
  enum Order : uint8_t { kWindowEnds, kAheadOfEvents, kEvents, kTimers };
  struct Entry {
    int64_t time;
    uint8_t order;
    uint64_t number;  // of insertion
    Item item;
  };
  static uint8_t order_of(Place place) {
    return place == Place::kWindowEnd ? kWindowEnds : place == Place::kEvent ? kEvents : kTimers;
  }
  void add(const Item& item, int64_t time, uint8_t order);
  bool later(const Entry& x, const Entry& y) const;

  CompareKeys compare_keys_;
  std::vector<Entry> heap_;
  uint64_t next_number_ = 0;
  bool has_event_ = false;
  int64_t event_t_ = 0;
  uint64_t event_arrival_ = 0;
};

}  // namespace lambda::cep
