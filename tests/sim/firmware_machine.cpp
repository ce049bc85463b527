#include "tests/sim/firmware_machine.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "tests/sim/bugs.h"

namespace lambda::sim {
namespace {

constexpr int64_t kDialTries = 20;  // one a second, as long as nobody answers
constexpr int kPatienceS = 120;     // a turn of the firmware takes milliseconds: this one hangs
constexpr int64_t kWrapMs = int64_t{1} << 32;

void append_item(std::string* region, uint16_t tag, std::string_view item) {
  for (const size_t number : {size_t{tag}, item.size()}) {
    *region += static_cast<char>(number);
    *region += static_cast<char>(number >> 8);
  }
  *region += item;
}

std::string little32(uint32_t number) {
  std::string out;
  for (int i = 0; i < 4; ++i) out += static_cast<char>(number >> 8 * i);
  return out;
}

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

template <class Value>
bool read_value(const std::string& bytes, Value* value) {
  if (bytes.size() != sizeof *value) return false;
  std::memcpy(value, bytes.data(), sizeof *value);
  return true;
}

}  // namespace

FirmwareMachine::FirmwareMachine(World& world, Oracle& oracle, std::string name, SimRandom random,
                                 const Options& options)
    : Microcontroller(world, std::move(name)),
      oracle_(oracle),
      random_(random),
      options_(options),
      key_(SigningKey::make(random_)),
      public_key_(key_.public_key()) {
  if (options_.flash) flash_.emplace(*options_.flash, oracle_, name_, 2, [this] { lose_power(); });
}

// boards/firmware/identity.cpp. Certificates are for TLS.
std::string FirmwareMachine::identity() const {
  std::string items;
  append_item(&items, 1, std::string(kSite) + '\0');
  append_item(&items, 2, name_ + '\0');
  append_item(&items, 3, std::string("broker") + '\0');
  append_item(&items, 4, std::string_view("\x0a\0\0\1", 4));
  append_item(&items, 5, std::string_view("\x5b\x07", 2));
  append_item(&items, 6, std::string_view("\2\0\0\0\0\1", 6));
  for (const uint16_t tag : {7, 8, 9}) append_item(&items, tag, std::string_view("\x0a\0\0\2", 4));
  for (const uint16_t tag : {10, 11, 12}) append_item(&items, tag, "none");
  const auto secret = unhex(key_.to_hex());
  append_item(&items, 13, {reinterpret_cast<const char*>(secret->data()), secret->size()});
  append_item(&items, 14, little32(options_.seal_age_ms));
  append_item(&items, 15, little32(options_.memory_bytes));
  append_item(&items, 16, little32(flash_ ? options_.flash_save_s : 0));
  const Digest digest = sha256(bytes_of(items));
  return "lambdaID" + little32(1) + little32(static_cast<uint32_t>(items.size())) +
         std::string(digest.begin(), digest.end()) + items;
}

int64_t FirmwareMachine::mono_ms() const {
  const int64_t since_ms = (world_.scheduler.now_us() - started_us_) / 1000;
  return options_.after_49_days ? kWrapMs - 20'000 + since_ms : since_ms;
}

// ---- The process

void FirmwareMachine::spawn() {
  int ends[2];
  LAMBDA_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  const timeval patience = {kPatienceS, 0};
  LAMBDA_ASSERT(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // Even when the number is the same: what is duplicated stays open.
  posix_spawn_file_actions_adddup2(&actions, ends[1], kWorldFile);
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "lambda-sim-board";
  char* const words[] = {const_cast<char*>(program.c_str()), nullptr};
  const int spawned = posix_spawn(&process_, program.c_str(), &actions, nullptr, words, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  world_end_ = ends[0];
  if (spawned != 0) oracle_.complain(program + " does not start: " + std::strerror(spawned));
}

void FirmwareMachine::say(const Word& word, std::string_view bytes) {
  iovec parts[] = {{const_cast<Word*>(&word), sizeof word}, {const_cast<char*>(bytes.data()), bytes.size()}};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  (void)sendmsg(world_end_, &message, MSG_NOSIGNAL);  // who is not there does not answer either
}

bool FirmwareMachine::hear(Word* word, std::string* bytes) {
  heard_.resize(kWordBytesMax);
  iovec parts[] = {{word, sizeof *word}, {heard_.data(), heard_.size()}};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  ssize_t got = 0;
  do {
    got = recvmsg(world_end_, &message, 0);
  } while (got < 0 && errno == EINTR);
  if (got < static_cast<ssize_t>(sizeof *word)) return false;
  bytes->assign(heard_.data(), static_cast<size_t>(got) - sizeof *word);
  return true;
}

void FirmwareMachine::start() {
  begin_run();
  started_us_ = world_.scheduler.now_us();
  counts_ = {};
  power_fails_ = false;
  if (flash_) flash_->begin_run();
  Beginning beginning;
  beginning.mono_ms = mono_ms();
  beginning.saved_bytes = static_cast<uint32_t>(saved_.size());
  std::memcpy(beginning.saved, saved_.data(), std::min(saved_.size(), sizeof beginning.saved));
  if (flash_) {
    beginning.page_bytes = flash_->port().page_bytes;
    beginning.pages = flash_->port().pages;
    beginning.write_bytes = flash_->port().write_bytes;
  }
  std::strncpy(beginning.bug, planted_bug().c_str(), sizeof beginning.bug - 1);
  spawn();
  say({Say::kBegin, 0, 0, static_cast<int64_t>(random_.next())},
      std::string(reinterpret_cast<const char*>(&beginning), sizeof beginning) + identity());
  listen();
}

void FirmwareMachine::kill() {
  if (!run_) return;
  run_->disk.die();
  if (process_ > 0) {
    ::kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  close(world_end_);
  process_ = world_end_ = -1;
  wake_ = 0;
  happened_.clear();
  connections_.clear();
  if (flash_) flash_->end_run();
  end_run();
}

// ---- Turns of the firmware's loop

// Until its turn is over.
void FirmwareMachine::listen() {
  Word word;
  std::string bytes;
  while (hear(&word, &bytes)) {
    if (word.say == Say::kTurn) {
      if (!read_value(bytes, &counts_)) break;
      if (flash_) flash_->counted(counts_.flash, counts_.points_dropped);
      // Now and then something keeps the loop for long, as a handshake does on a slow processor.
      if (random_.chance(0.002)) {
        run_->loop.after(random_.between(1'000, 7'000), [this] { turn(); });
        return;
      }
      return wake_after(happened_.empty() ? std::min<int64_t>(word.number, random_.between(5, 100)) : 1);
    }
    take(word, bytes);
    // What was said after that has no effect.
    if (!has_power()) return;
    if (word.say == Say::kRestart) break;
  }
  oracle_.complain(name_ + ": the firmware ended, or hangs; its last line was: " + last_line_);
}

void FirmwareMachine::wake_after(int64_t delay_ms) {
  wake_ = run_->loop.after(std::max<int64_t>(1, delay_ms), [this] { turn(); });
}

void FirmwareMachine::turn() {
  wake_ = 0;
  for (const Heard& one : std::exchange(happened_, {})) say(one.word, one.bytes);
  uint32_t flags = 0;
  if (making_) flags |= kGoSample;
  if (std::exchange(power_fails_, false)) flags |= kGoPowerFails;
  say({Say::kGo, 0, flags, mono_ms()});
  listen();
}

void FirmwareMachine::take(const Word& word, const std::string& bytes) {
  Made made;
  Restored restored;
  switch (word.say) {
    case Say::kLine:
      last_line_ = bytes;
      world_.scheduler.note(bytes);
      if (world_.verbose) run_->log.info("line", {{"says", bytes}});
      return;
    case Say::kMade: {
      if (!read_value(bytes, &made)) return oracle_.complain(name_ + ": a point of another size");
      const Identity identity{name_, made.boot, made.ref, made.ordinal};
      oracle_.made(identity, {made.time_ms, made.bits});
      if (flash_) flash_->made(identity);
      return;
    }
    case Say::kRestored:
      if (read_value(bytes, &restored) && flash_) flash_->started(restored.report, restored.boot, run_->log);
      return;
    case Say::kSaved:
      saved_ = bytes;
      return;
    case Say::kDial:
      connections_[word.stream];
      return dial(word.stream, kDialTries);
    case Say::kSend:
      return go_up(word.stream, bytes);
    case Say::kHangUp:
      connections_.erase(word.stream);
      return;
    case Say::kErase:
    case Say::kWrite:
    case Say::kRead:
      return at_flash(word, bytes);
    case Say::kRestart:
      return;
    default:
      return oracle_.complain(name_ + ": a word that no board says");
  }
}

void FirmwareMachine::at_flash(const Word& word, const std::string& bytes) {
  const lam_flash_port& port = flash_->port();
  const auto at = static_cast<uint32_t>(word.number);
  std::string answer(word.say == Say::kRead ? word.flags : 0, '\0');
  bool did = false;
  if (word.say == Say::kErase) did = port.erase(port.context, at);
  if (word.say == Say::kWrite) did = port.write(port.context, at, bytes_of(bytes).data(), bytes.size());
  if (word.say == Say::kRead) did = port.read(port.context, at, reinterpret_cast<uint8_t*>(answer.data()), word.flags);
  if (has_power()) say({Say::kDone, 0, did ? 1u : 0u, 0}, answer);
}

// Something came: its loop wakes, as from an interrupt.
void FirmwareMachine::happened(const Word& word, std::string_view bytes) {
  happened_.push_back({word, std::string(bytes)});
  if (wake_ == 0 || !has_power()) return;
  run_->loop.cancel(wake_);
  wake_after(1);
}

// ---- Its TCP. Nothing of it gets lost or out of order; it comes late, in pieces, or from some moment on not any more.

void FirmwareMachine::dial(uint32_t stream, int64_t tries_left) {
  const bool cut = link().up_cut || link().down_cut;
  const int64_t delay_ms = cut ? 1'000 : random_.between(1, 20) + link().delay_us_max / 1000;
  run_->loop.after(delay_ms, [this, stream, tries_left] {
    const auto found = connections_.find(stream);
    if (found == connections_.end()) return;
    if (link().up_cut || link().down_cut) {
      if (tries_left == 0) return happened({Say::kBroken, stream, 0, 0});
      return dial(stream, tries_left - 1);
    }
    if (world_.broker.is_down()) return happened({Say::kBroken, stream, 0, 0});
    MqttDoor::Handlers handlers;
    // In pieces of any size.
    handlers.send = [this, stream](std::string_view bytes) {
      while (!bytes.empty()) {
        const size_t piece = random_.chance(0.8) ? bytes.size() : 1 + random_.below(bytes.size());
        go_down(stream, {Say::kBytes, stream, 0, 0}, bytes.substr(0, piece));
        bytes.remove_prefix(piece);
      }
    };
    handlers.broken = [this, stream] { go_down(stream, {Say::kBroken, stream, 0, 0}, ""); };
    handlers.client_broke = [this](const std::string& rule) { oracle_.complain(name_ + " broke MQTT: " + rule); };
    found->second.door = std::make_unique<MqttDoor>(run_->network, std::move(handlers));
    if (random_.chance(0.15)) {
      found->second.mute_us =
          world_.scheduler.now_us() + random_.between(0, random_.chance(0.5) ? 300'000 : 20'000'000);
      found->second.mute_takes = random_.chance(0.5);
    }
    happened({Say::kUp, stream, 0, 0});
  });
}

// What is cut off is sent again until it gets through.
int64_t FirmwareMachine::delay_ms(bool cut) {
  return cut ? 500 : random_.between(0, 3);
}

void FirmwareMachine::go_up(uint32_t stream, std::string bytes) {
  Connection& connection = connections_[stream];
  connection.up.push_back(std::move(bytes));
  if (connection.up.size() == 1) move_up(stream);
}

void FirmwareMachine::move_up(uint32_t stream) {
  run_->loop.after(delay_ms(link().up_cut), [this, stream] {
    const auto found = connections_.find(stream);
    if (found == connections_.end()) return;
    if (link().up_cut) return move_up(stream);
    Connection& connection = found->second;
    const bool mute = world_.scheduler.now_us() >= connection.mute_us;
    const std::string bytes = std::move(connection.up.front());
    connection.up.pop_front();
    if (!mute || connection.mute_takes) happened({Say::kTaken, stream, 0, static_cast<int64_t>(bytes.size())});
    if (!mute) connection.door->received(bytes);
    if (!connection.up.empty()) move_up(stream);
  });
}

void FirmwareMachine::go_down(uint32_t stream, const Word& word, std::string_view bytes) {
  const auto found = connections_.find(stream);
  if (found == connections_.end()) return;
  found->second.down.push_back({word, std::string(bytes)});
  if (found->second.down.size() == 1) move_down(stream);
}

void FirmwareMachine::move_down(uint32_t stream) {
  run_->loop.after(delay_ms(link().down_cut), [this, stream] {
    const auto found = connections_.find(stream);
    if (found == connections_.end()) return;
    if (link().down_cut) return move_down(stream);
    const Heard heard = std::move(found->second.down.front());
    found->second.down.pop_front();
    if (world_.scheduler.now_us() < found->second.mute_us) happened(heard.word, heard.bytes);
    if (!found->second.down.empty()) move_down(stream);
  });
}

}  // namespace lambda::sim
