// A rate with a burst: `per_second` tokens come in, at most `burst` are kept.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lambda::gateway {

class TokenBucket {
 public:
  TokenBucket(double per_second, double burst, int64_t now_us)
      : per_second_(per_second), burst_(burst), tokens_(burst), at_us_(now_us) {}

  // Takes `count` tokens, or none. More than the burst at once is let through when the bucket is full, as a debt: a
  // message larger than a small burst must not wait for ever.
  bool take(double count, int64_t now_us) {
    refill(now_us);
    if (tokens_ < std::min(count, burst_)) return false;
    tokens_ -= count;
    return true;
  }

  // Milliseconds until `count` tokens are there, at least 1.
  int64_t wait_ms(double count, int64_t now_us) {
    refill(now_us);
    const double missing = std::min(count, burst_) - tokens_;
    return missing <= 0 ? 1 : 1 + static_cast<int64_t>(missing / per_second_ * 1000.0);
  }

  void change(double per_second, double burst) {
    per_second_ = per_second;
    burst_ = burst;
    tokens_ = std::min(tokens_, burst_);
  }

 private:
  void refill(int64_t now_us) {
    if (now_us > at_us_) {
      tokens_ = std::min(burst_, tokens_ + static_cast<double>(now_us - at_us_) * per_second_ / 1e6);
      at_us_ = now_us;
    }
  }

  double per_second_, burst_, tokens_;
  int64_t at_us_;
};

}  // namespace lambda::gateway
