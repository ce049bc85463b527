// What has arrived at the store, for one who follows it: the segments are the queue, so whoever is slow holds up
// nobody. Loop thread only; the pieces may be read on any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/store/store.h"

namespace lambda::gateway {

// A place in what has arrived: segments of arrivals ascend, bytes in them too.
struct StorePlace {
  uint64_t segment = 0;
  uint64_t offset = 0;
  friend auto operator<=>(const StorePlace&, const StorePlace&) = default;
};

// Whole records of one segment of arrivals, durable; record_body.h reads them. The file stays while `pin` does.
struct ArrivalsPiece {
  uint64_t segment = 0;
  std::string path;
  uint64_t begin = 0, end = 0;
  std::shared_ptr<const void> pin;
};
struct Arrivals {
  std::vector<ArrivalsPiece> pieces;  // in the order of arrival
  StorePlace end;                     // of all there is, read by the caller or not
  uint64_t bytes = 0;                 // from where the caller is to `end`
  bool missed = false;                // something behind the caller's place was deleted or merged meanwhile
  // What arrived before this time (received_ms) is before `end`, or was refused; INT64_MAX: nothing is on its way.
  int64_t complete_ms = 0;
};

// What a device said of one of its series.
struct KnownSeries {
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;  // without `instance` and `site`
};

class StoreFollow {
 public:
  // What arrived behind `from`, for one who follows it: the segments are the queue. Nothing before ready().
  virtual Arrivals arrivals(StorePlace from) = 0;
  // Segments from this place on are not merged, so that who follows finds them. Retention does not wait.
  virtual void hold_arrivals(StorePlace from) = 0;
  // Runs from the loop when something new is durable; one at a time, an empty function ends it.
  virtual void when_stored(std::function<void()> stored) = 0;
  // As declared; nothing for a ref that never was, or is forgotten.
  virtual std::optional<KnownSeries> series_of(const std::string& device, uint64_t boot, uint32_t ref) = 0;
  virtual std::vector<ClockView> clocks_of(const std::string& device, uint64_t boot) = 0;

 protected:
  ~StoreFollow() = default;  // the store's
};

StoreFollow& follow(Store& store);

}  // namespace lambda::gateway
