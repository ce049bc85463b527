#include "base/os/resident.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <regex>
#include <string>

namespace lambda {
namespace {

uint64_t resident_code_kb() {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/self/status", "re"), &std::fclose);
  char line[256];
  unsigned long kb = 0;
  while (file && std::fgets(line, sizeof line, file.get()) != nullptr) {
    if (std::sscanf(line, "RssFile: %lu kB", &kb) == 1) return kb;
  }
  return 0;
}

TEST(Resident, CodeThatIsGivenBackRunsWhenItIsNeededAgain) {
  const std::regex date("([0-9]{4})-([0-9]{2})");  // a good deal of library code, before and after
  ASSERT_TRUE(std::regex_match("2024-05", date));
  const uint64_t before_kb = resident_code_kb();
  ASSERT_GT(before_kb, 0u);
  EXPECT_GT(return_startup_memory(), 0u);
  EXPECT_LT(resident_code_kb(), before_kb);
  std::smatch found;
  const std::string text = "1999-12";
  ASSERT_TRUE(std::regex_match(text, found, date));
  EXPECT_EQ(found[2], "12");
}

uint64_t one(uint64_t x) {
  return x + 1;
}
uint64_t two(uint64_t x) {
  return x * 2;
}
// Written by the dynamic loader, and read-only since.
using Function = uint64_t (*)(uint64_t);
const volatile Function kRelocated[] = {&one, &two};
// Never written.
const volatile uint64_t kConstants[4096] = {1, 2, 3};

TEST(Resident, ReadOnlyDataIsAsItWasAlsoWhereTheLoaderWroteIt) {
  ASSERT_EQ(kConstants[2], 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_GT(return_startup_memory(), 0u);
    EXPECT_EQ(kRelocated[0](20), 21u);
    EXPECT_EQ(kRelocated[1](20), 40u);
    EXPECT_EQ(kConstants[1], 2u);
    EXPECT_EQ(kConstants[4095], 0u);
  }
}

}  // namespace
}  // namespace lambda
