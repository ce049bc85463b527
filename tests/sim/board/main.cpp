// lambda-sim-board: the firmware on a board whose hardware is a simulated world (tests/sim/firmware_machine.h), which
// starts it, hands it the socket, and kills it when the board is reset. It lives in a process of its own because a
// reset must take all of its memory.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/planted.h"
#include "boards/firmware/board.h"
#include "tests/sim/board/witness.h"
#include "tests/sim/board/world.h"

namespace lambda {
namespace {

std::string g_planted;
uint64_t g_bugs_met = 0;

}  // namespace

bool planted(const char* name) {
  if (g_planted != name) return false;
  ++g_bugs_met;
  return true;
}

namespace sim {
namespace {

alignas(8) uint8_t g_series_memory[LAMBDA_SERIES_BYTES];
Beginning g_beginning;
std::vector<uint8_t> g_identity;
uint64_t g_entropy = 0;
void (*g_sample)(void*) = nullptr;
void* g_sample_argument = nullptr;
int64_t g_sample_due_ms = 0;
bool g_power_fails = false;

int64_t mono_ms(void*) {
  return world_ms();
}

// SplitMix64, from the world's seed.
bool entropy(void*, uint8_t* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    g_entropy += 0x9E3779B97F4A7C15;
    uint64_t z = planted("board_same_entropy") ? i : g_entropy;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    bytes[i] = static_cast<uint8_t>(z >> 56);
  }
  return true;
}

void log(void*, const char* line, size_t size) {
  say({Say::kLine, 0, 0, 0}, {reinterpret_cast<const uint8_t*>(line), size});
}

std::span<const uint8_t> identity(void*) {
  return g_identity;
}

bool load(void*, uint8_t* bytes, size_t size) {
  if (g_beginning.saved_bytes != size) return false;
  std::memcpy(bytes, g_beginning.saved, size);
  return true;
}

bool save(void*, const uint8_t* bytes, size_t size) {
  say({Say::kSaved, 0, 0, 0}, {bytes, size});
  return true;
}

void start_sampling(void*, void (*sample)(void*), void* argument) {
  g_sample = sample;
  g_sample_argument = argument;
  g_sample_due_ms = world_ms() + boards::kSamplePeriodMs;
}

bool start_network(void*, const boards::NetworkAddress&) {
  return true;
}

void poll_network(void*) {
  boards::serve_streams();
}

void wait(void*, uint32_t wait_ms_max) {
  Counts now = counts();
  now.bugs_met = g_bugs_met;
  say_value({Say::kTurn, 0, 0, boards::streams_are_due() ? 0 : wait_ms_max}, now);
  std::vector<uint8_t> bytes;
  for (;;) {
    const Word word = hear(&bytes);
    if (word.say != Say::kGo) {
      hear_of_stream(word, bytes);
      continue;
    }
    set_world_ms(word.number);
    g_power_fails = (word.flags & kGoPowerFails) != 0;
    // The sampling interrupt came all the while.
    for (; g_sample != nullptr && g_sample_due_ms <= word.number; g_sample_due_ms += boards::kSamplePeriodMs) {
      if ((word.flags & kGoSample) != 0) g_sample(g_sample_argument);
    }
    return;
  }
}

bool power_failing(void*) {
  return g_power_fails;
}

void restart(void*) {
  say({Say::kRestart, 0, 0, 0});
  _exit(3);
}

bool flash_does(const Word& word, std::span<const uint8_t> bytes, std::vector<uint8_t>* answer) {
  say(word, bytes);
  const Word done = hear(answer);
  return done.flags != 0;
}

bool erase(void*, uint32_t page) {
  std::vector<uint8_t> answer;
  return flash_does({Say::kErase, 0, 0, page}, {}, &answer);
}

bool write(void*, uint32_t address, const uint8_t* bytes, size_t size) {
  std::vector<uint8_t> answer;
  return flash_does({Say::kWrite, 0, 0, address}, {bytes, size}, &answer);
}

bool read(void*, uint32_t address, uint8_t* bytes, size_t size) {
  std::vector<uint8_t> answer;
  if (!flash_does({Say::kRead, 0, static_cast<uint32_t>(size), address}, {}, &answer)) return false;
  std::memcpy(bytes, answer.data(), std::min(size, answer.size()));
  return true;
}

void run() {
  std::vector<uint8_t> bytes;
  const Word word = hear(&bytes);
  if (word.say != Say::kBegin || bytes.size() < sizeof g_beginning) return;
  std::memcpy(&g_beginning, bytes.data(), sizeof g_beginning);
  g_identity.assign(bytes.begin() + sizeof g_beginning, bytes.end());
  g_entropy = static_cast<uint64_t>(word.number);
  g_planted = g_beginning.bug;
  set_world_ms(g_beginning.mono_ms);
  const lam_flash_port flash = {
      nullptr, g_beginning.page_bytes, g_beginning.pages, g_beginning.write_bytes, erase, write, read};
  boards::Board board = {nullptr, "sim", mono_ms,        nullptr,       entropy,      log,  identity,
                         load,    save,  start_sampling, start_network, poll_network, wait, restart};
  if (g_beginning.pages != 0) board.flash = &flash;
  board.power_failing = power_failing;
  boards::run_firmware(board, g_series_memory);
}

}  // namespace
}  // namespace sim
}  // namespace lambda

int main() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a firmware that never comes to its socket would not notice the end of the world
  lambda::sim::run();                // returns only when the firmware would not begin
  return 1;
}
