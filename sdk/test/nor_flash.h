// NOR flash as a model: erases pages to ones, takes every place once between two erases, loses power after so many
// words and erases, and wears out where it is told to.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "lambda/flash.h"

namespace lambda::test {

struct NorFlash {
  NorFlash(uint32_t page_bytes, uint32_t pages, uint32_t write_bytes)
      : bytes(size_t{page_bytes} * pages, 0xFF), erased_at(pages) {
    port.context = this;
    port.page_bytes = page_bytes;
    port.pages = pages;
    port.write_bytes = write_bytes;
    port.erase = [](void* it, uint32_t page) { return of(it).erase(page); };
    port.write = [](void* it, uint32_t at, const uint8_t* from, size_t size) { return of(it).write(at, from, size); };
    port.read = [](void* it, uint32_t at, uint8_t* out, size_t size) { return of(it).read(at, out, size); };
  }
  virtual ~NorFlash() = default;
  NorFlash(const NorFlash&) = delete;
  NorFlash& operator=(const NorFlash&) = delete;

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
  // The caller did what lambda/flash.h forbids.
  virtual void broken(const std::string& rule) = 0;

  static NorFlash& of(void* it) { return *static_cast<NorFlash*>(it); }
  void expect(bool holds, const char* rule, uint64_t at) {
    if (!holds) broken("flash: " + std::string(rule) + ", at " + std::to_string(at));
  }
  bool step_is_the_last() {
    ++steps;
    if (steps_left-- > 0) return false;
    dead = true;
    power_lost();
    return true;
  }
  bool inside(uint64_t at, size_t size) {
    expect(at + size <= bytes.size(), "outside of the region", at);
    return at + size <= bytes.size();
  }
  bool read(uint32_t at, uint8_t* out, size_t size) {
    ++reads;
    if (!inside(at, size) || dead || reads_fail_after-- == 0) return false;
    std::memcpy(out, bytes.data() + at, size);
    return true;
  }
  bool erase(uint32_t page) {
    if (!inside(uint64_t{page} * port.page_bytes, port.page_bytes) || dead) return false;
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
    expect(at % port.write_bytes == 0 && size % port.write_bytes == 0, "a part of a word is written", at);
    if (!inside(at, size)) return false;
    for (size_t done = 0; done < size; done += port.write_bytes) {
      if (dead) return false;
      const bool last = step_is_the_last();
      for (size_t i = done; i < done + port.write_bytes; ++i) {
        uint8_t& byte = bytes[at + i];
        expect(byte == 0xFF, "written twice", at + i);
        if (worn_pages.count(static_cast<uint32_t>((at + i) / port.page_bytes)) != 0) continue;
        byte = static_cast<uint8_t>(byte & (last ? from[i] | random() : from[i]));
      }
      if (last) return false;
    }
    return true;
  }
};

}  // namespace lambda::test
