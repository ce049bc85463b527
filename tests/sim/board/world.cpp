#include "tests/sim/board/world.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace lambda::sim {
namespace {

using boards::Stream;

constexpr size_t kWindowBytes = 4'096;  // what a connection takes before the world says that it went on

class WorldStream;
std::map<uint32_t, WorldStream*> g_streams;
uint32_t g_last_stream = 0;
int64_t g_mono_ms = 0;

class WorldStream final : public Stream {
 public:
  explicit WorldStream(uint32_t number) : number_(number) {
    g_streams[number_] = this;
    say({Say::kDial, number_, 0, 0});
  }
  ~WorldStream() override {
    g_streams.erase(number_);
    say({Say::kHangUp, number_, 0, 0});
  }
  WorldStream(const WorldStream&) = delete;
  WorldStream& operator=(const WorldStream&) = delete;

  Dial dial() override { return broken_ ? Dial::kFailed : up_ ? Dial::kUp : Dial::kPending; }

  size_t send(std::span<const uint8_t> bytes) override {
    if (broken_) return 0;
    const size_t count = std::min(bytes.size(), kWindowBytes - under_way_);
    if (count > 0) say({Say::kSend, number_, 0, 0}, bytes.first(count));
    under_way_ += count;
    return count;
  }

  Got receive(std::span<uint8_t> into, size_t* count) override {
    *count = std::min(into.size(), arrived_.size());
    if (*count > 0) {
      std::memcpy(into.data(), arrived_.data(), *count);
      arrived_.erase(arrived_.begin(), arrived_.begin() + static_cast<ptrdiff_t>(*count));
      return Got::kBytes;
    }
    return broken_ ? Got::kBroken : ended_ ? Got::kEnd : Got::kNothing;
  }

  bool has_more() const override { return !arrived_.empty() || ended_ || broken_; }

  void hear(const Word& word, std::span<const uint8_t> bytes) {
    if (word.say == Say::kUp) up_ = true;
    if (word.say == Say::kEnd) ended_ = true;
    if (word.say == Say::kBroken) broken_ = true;
    if (word.say == Say::kTaken) under_way_ -= static_cast<size_t>(word.number);
    if (word.say == Say::kBytes) arrived_.insert(arrived_.end(), bytes.begin(), bytes.end());
  }

 private:
  const uint32_t number_;
  bool up_ = false, ended_ = false, broken_ = false;
  size_t under_way_ = 0;
  std::vector<uint8_t> arrived_;
};

}  // namespace

void say(const Word& word, std::span<const uint8_t> bytes) {
  if (!send_word(kWorldFile, word, bytes)) _exit(0);
}

Word hear(std::vector<uint8_t>* bytes) {
  Word word;
  if (!receive_word(kWorldFile, &word, bytes)) _exit(0);
  return word;
}

void hear_of_stream(const Word& word, std::span<const uint8_t> bytes) {
  const auto found = g_streams.find(word.stream);
  if (found != g_streams.end()) found->second->hear(word, bytes);
}

int64_t world_ms() {
  return g_mono_ms;
}

void set_world_ms(int64_t mono_ms) {
  g_mono_ms = mono_ms;
}

}  // namespace lambda::sim

namespace lambda::boards {

std::unique_ptr<Stream> open_stream(const ip_addr_t&, uint16_t) {
  return std::make_unique<sim::WorldStream>(++sim::g_last_stream);
}

int64_t stream_clock_ms() {
  return sim::world_ms();
}

}  // namespace lambda::boards
