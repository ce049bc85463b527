// NOR flash as a model: erases pages to ones, takes every place once between two erases, loses power after so many
// words and erases, and wears out where it is told to.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <vector>

#include "lambda/flash.h"

namespace lambda::test {

struct ModelFlash {
  ModelFlash(uint32_t page_bytes, uint32_t pages, uint32_t write_bytes)
      : bytes(size_t{page_bytes} * pages, 0xFF), erased_at(pages) {
    port.context = this;
    port.page_bytes = page_bytes;
    port.pages = pages;
    port.write_bytes = write_bytes;
    port.erase = [](void* it, uint32_t page) { return of(it).erase(page); };
    port.write = [](void* it, uint32_t at, const uint8_t* from, size_t size) { return of(it).write(at, from, size); };
    port.read = [](void* it, uint32_t at, uint8_t* out, size_t size) {
      EXPECT_LE(at + size, of(it).bytes.size());
      ++of(it).reads;
      if (of(it).dead || of(it).reads_fail_after-- == 0) return false;
      std::memcpy(out, of(it).bytes.data() + at, size);
      return true;
    };
  }
  static ModelFlash& of(void* it) { return *static_cast<ModelFlash*>(it); }

  // The power comes back.
  void revive() {
    dead = false;
    steps_left = UINT64_MAX;
  }

  lam_flash_port port{};
  std::vector<uint8_t> bytes;
  std::vector<uint64_t> erased_at;  // how often each page was erased
  uint64_t steps = 0, steps_left = UINT64_MAX, reads = 0, reads_fail_after = UINT64_MAX;
  bool dead = false;
  std::function<void()> power_lost = [] {};
  std::set<uint32_t> worn_pages;   // whose bits cannot be made zero any more
  std::set<uint32_t> stuck_pages;  // which cannot be erased
  std::mt19937_64 random{5};

 private:
  bool step_is_the_last() {
    ++steps;
    if (steps_left-- > 0) return false;
    dead = true;
    power_lost();
    return true;
  }
  bool erase(uint32_t page) {
    EXPECT_LT(page, port.pages);
    if (dead) return false;
    const bool last = step_is_the_last();
    ++erased_at[page];
    for (size_t i = 0; i < port.page_bytes; ++i) {
      uint8_t& byte = bytes[size_t{page} * port.page_bytes + i];
      if (stuck_pages.count(page) != 0) continue;
      byte = last ? static_cast<uint8_t>(byte | random()) : 0xFF;
    }
    return !last && stuck_pages.count(page) == 0;
  }
  bool write(uint32_t at, const uint8_t* from, size_t size) {
    EXPECT_EQ(at % port.write_bytes, 0u);
    EXPECT_EQ(size % port.write_bytes, 0u);
    EXPECT_LE(at + size, bytes.size());
    for (size_t done = 0; done < size; done += port.write_bytes) {
      if (dead) return false;
      const bool last = step_is_the_last();
      for (size_t i = done; i < done + port.write_bytes; ++i) {
        uint8_t& byte = bytes[at + i];
        EXPECT_EQ(byte, 0xFF) << "written twice, at " << at + i;
        if (worn_pages.count(static_cast<uint32_t>((at + i) / port.page_bytes)) != 0) continue;
        byte = static_cast<uint8_t>(byte & (last ? from[i] | random() : from[i]));
      }
      if (last) return false;
    }
    return true;
  }
};

}  // namespace lambda::test
