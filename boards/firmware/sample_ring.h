// From the sampling interrupt to the main loop: one producer, one consumer, no locks. A full ring drops the new sample
// and counts it; 512 of them are five seconds, so that a TLS handshake or a signature loses none.
#pragma once

#include <stdint.h>

#include <atomic>

namespace lambda::boards {

struct Sample {
  uint32_t tick;  // since sampling began, one in kSamplePeriodMs
  int32_t value;
};

class SampleRing {
 public:
  static constexpr uint32_t kSamplesMax = 512;  // a power of two

  // The interrupt's side.
  void put(const Sample& sample) {
    const uint32_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_.load(std::memory_order_acquire) == kSamplesMax) {
      missed_.store(missed_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      return;
    }
    samples_[head % kSamplesMax] = sample;
    head_.store(head + 1, std::memory_order_release);
  }

  // The loop's side. False: it is empty.
  bool take(Sample* sample) {
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail == head_.load(std::memory_order_acquire)) return false;
    *sample = samples_[tail % kSamplesMax];
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  uint32_t missed() const { return missed_.load(std::memory_order_relaxed); }

 private:
  Sample samples_[kSamplesMax];
  std::atomic<uint32_t> head_{0};
  std::atomic<uint32_t> tail_{0};
  std::atomic<uint32_t> missed_{0};
};

}  // namespace lambda::boards
