// What this gateway wants to see at once, for whom and for how long: the one Interest message made of it, published
// retained, and renewed before its lease ends.
//
// Questions want a selector for a while and renew it each time they are asked; rules hold one until they let it go.
// Selectors are texts that are the same for the same matchers; two who want the same share a place.
//
// Bounds: `selectors_max` selectors of `selector_bytes_max` bytes each, `bytes_max` in all. Past it a question's newest
// selector takes the place of those that were renewed least recently, never of one that is held; a hold that finds only
// held ones fails.
// A question is answered all the same: it is just not fresh.
//
// The version grows with each change that is published. While nothing is wanted there is no lease and nothing to renew.
// Time is monotonic. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/env/env.h"
#include "base/result.h"

namespace lambda::gateway {

struct InterestOptions {
  int64_t lease_ms = 30'000;   // agents go on for so long when nothing more is heard; renewed at half of it
  int64_t keep_ms = 90'000;    // since the last question; more than the time between two looks of a dashboard
  size_t selectors_max = 256;  // as many as agents take (proto/parcel.md)
  size_t selector_bytes_max = 1024;
  size_t bytes_max = 32u << 10;  // devices that never send a live point read the message, too
  int64_t change_ms_min = 200;   // between two messages that a change causes
  int64_t retry_ms = 1'000;      // after a message that the connection did not take
  friend bool operator==(const InterestOptions&, const InterestOptions&) = default;
};

struct InterestCounters {
  uint64_t published = 0, renewals = 0, publish_errors = 0, replaced = 0, refused = 0;
};

class InterestTable {
 public:
  // Publishes an Interest of this version; a lease of 0 with no selectors says only that the gateway is here.
  using Publish = std::function<Status(uint64_t version, uint32_t lease_s, const std::vector<std::string>& selectors)>;

  InterestTable(Env& env, InterestOptions options, Publish publish);
  ~InterestTable();
  InterestTable(const InterestTable&) = delete;
  InterestTable& operator=(const InterestTable&) = delete;

  // A question has read this.
  void want(const std::string& selector);
  // Until it was released as often. kInvalid: too long; kFull: all places are held.
  Status hold(const std::string& selector);
  void release(const std::string& selector);

  // The connection to the broker is there: says at once what is wanted, and that the gateway is here.
  void connected();
  void disconnected();

  size_t selectors() const { return entries_.size(); }
  uint64_t version() const { return version_; }
  const InterestCounters& counters() const { return counters_; }

 private:
  struct Entry {
    int64_t until_ms = 0;  // as far as questions go
    uint32_t holds = 0;
  };

  int64_t now_ms() const { return env_.clock.mono_ms(); }
  bool make_room(size_t bytes);
  void changed();
  void expire();
  void publish();
  void schedule();
  void act();

  Env& env_;
  const InterestOptions options_;
  const Publish publish_;
  std::map<std::string, Entry> entries_;
  size_t bytes_ = 0;  // of the selectors in it
  uint64_t version_ = 1;
  bool connected_ = false;
  bool dirty_ = false;        // what was published last is not what is wanted now
  bool failed_ = false;       // the last try to publish
  int64_t published_ms_ = 0;  // the last try
  EventLoop::TimerId timer_ = 0;
  InterestCounters counters_;
};

}  // namespace lambda::gateway
