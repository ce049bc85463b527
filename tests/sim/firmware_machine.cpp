#include "tests/sim/firmware_machine.h"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "tests/sim/bugs.h"

namespace lambda::sim {
namespace {

constexpr uint32_t kBanks = 2;      // of its flash: what the SDK makes of it when it is not told
constexpr int64_t kDialTries = 20;  // one a second, as long as nobody answers
constexpr int kPatienceS = 120;     // a turn of the firmware takes milliseconds: this one hangs
constexpr double kTurnsKept = 0.002, kConnectionsMute = 0.15, kPacketsCut = 0.2, kEndsInOrder = 0.5;
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
bool read_value(const std::vector<uint8_t>& bytes, Value* value) {
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
  if (options_.flash) flash_.emplace(*options_.flash, oracle_, name_, kBanks, [this] { lose_power(); });
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

void FirmwareMachine::start() {
  begin_run();
  started_us_ = world_.scheduler.now_us();
  counts_ = {};
  bugs_met_ = 0;
  power_fails_ = false;
  if (flash_) flash_->begin_run();
  Beginning beginning;
  beginning.mono_ms = mono_ms();
  beginning.saved_bytes = static_cast<uint32_t>(saved_.size());
  std::copy_n(saved_.begin(), std::min(saved_.size(), sizeof beginning.saved), beginning.saved);
  if (flash_) {
    beginning.page_bytes = flash_->port().page_bytes;
    beginning.pages = flash_->port().pages;
    beginning.write_bytes = flash_->port().write_bytes;
  }
  std::strncpy(beginning.bug, planted_bug().c_str(), sizeof beginning.bug - 1);
  spawn();
  (void)send_word(world_end_, {Say::kBegin, 0, 0, static_cast<int64_t>(random_.next())},
                  bytes_of(std::string(reinterpret_cast<const char*>(&beginning), sizeof beginning) + identity()));
  listen();
}

void FirmwareMachine::kill() {
  if (!run_) return;
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

// Until its turn is over. Who does not answer any more says nothing either. When its power goes meanwhile, what it does
// then has no effect, but for what it counted before.
void FirmwareMachine::listen() {
  Word word;
  std::vector<uint8_t> bytes;
  while (receive_word(world_end_, &word, &bytes) && word.say != Say::kRestart) {
    if (word.say == Say::kTurn) {
      if (!read_value(bytes, &counts_)) break;
      return end_turn(word.number);
    }
    take(word, bytes);
  }
  oracle_.complain(name_ + ": the firmware ended, or hangs; its last line was: " + last_line_);
}

void FirmwareMachine::end_turn(int64_t wait_ms) {
  planted_bug_was_met_elsewhere(counts_.bugs_met - std::exchange(bugs_met_, counts_.bugs_met));
  if (flash_) flash_->counted(counts_.flash, counts_.points_dropped);
  if (!has_power()) return;
  // Now and then something keeps the loop for long, as a handshake does on a slow processor.
  if (random_.chance(kTurnsKept)) {
    run_->loop.after(random_.between(1'000, 7'000), [this] { turn(); });
    return;
  }
  wake_after(std::min<int64_t>(wait_ms, random_.between(5, 100)));
}

void FirmwareMachine::wake_after(int64_t delay_ms) {
  wake_ = run_->loop.after(std::max<int64_t>(1, delay_ms), [this] { turn(); });
}

void FirmwareMachine::turn() {
  wake_ = 0;
  for (const Heard& one : std::exchange(happened_, {})) (void)send_word(world_end_, one.word, one.bytes);
  uint32_t flags = 0;
  if (making_) flags |= kGoSample;
  if (std::exchange(power_fails_, false)) flags |= kGoPowerFails;
  (void)send_word(world_end_, {Say::kGo, 0, flags, mono_ms()}, {});
  listen();
}

void FirmwareMachine::take(const Word& word, const std::vector<uint8_t>& bytes) {
  Made made;
  Restored restored;
  switch (word.say) {
    case Say::kErase:
    case Say::kWrite:
    case Say::kRead:
      return at_flash(word, bytes);
    case Say::kRestored:
      if (read_value(bytes, &restored) && flash_) flash_->started(restored.report, restored.boot, run_->log);
      return;
    default:
      break;
  }
  if (!has_power()) return;
  switch (word.say) {
    case Say::kLine:
      return read_line(std::string(bytes.begin(), bytes.end()));
    case Say::kMade: {
      if (!read_value(bytes, &made)) return oracle_.complain(name_ + ": a point of another size");
      const Identity identity{name_, made.boot, made.ref, made.ordinal};
      oracle_.made(identity, {made.time_ms, made.bits});
      if (flash_) flash_->made(identity);
      return;
    }
    case Say::kSaved:
      saved_ = bytes;
      return;
    case Say::kDial:
      connections_[word.stream];
      return dial(word.stream, kDialTries);
    case Say::kSend:
      return go_up(word.stream, bytes);
    case Say::kHangUp:
      if (const Connection* connection = find(word.stream)) last_was_well_ = is_well(*connection);
      connections_.erase(word.stream);
      return;
    default:
      return oracle_.complain(name_ + ": a word that no board says");
  }
}

// What lwIP ended was dropped before its line, what the firmware ends is dropped after it. Only a gateway that does not
// answer is a reason to end what is well.
void FirmwareMachine::read_line(const std::string& line) {
  last_line_ = line;
  world_.scheduler.note(line);
  if (world_.verbose) run_->log.info("line", {{"says", line}});
  const bool ended = line.find(" disconnected status=") != std::string::npos && last_was_well_;
  const bool closes = line.find(" closed reason=") != std::string::npos &&
                      line.find("reason=silence") == std::string::npos && !connections_.empty() &&
                      is_well(connections_.rbegin()->second);
  if (ended || closes) oracle_.complain(name_ + " gave up a connection that was well: " + line);
}

void FirmwareMachine::at_flash(const Word& word, const std::vector<uint8_t>& bytes) {
  const lam_flash_port& port = flash_->port();
  const auto at = static_cast<uint32_t>(word.number);
  std::vector<uint8_t> answer(word.say == Say::kRead ? word.flags : 0);
  bool did = false;
  if (word.say == Say::kErase) did = port.erase(port.context, at);
  if (word.say == Say::kWrite) did = port.write(port.context, at, bytes.data(), bytes.size());
  if (word.say == Say::kRead) did = port.read(port.context, at, answer.data(), answer.size());
  (void)send_word(world_end_, {Say::kDone, 0, did ? 1u : 0u, 0}, answer);
}

// Something came: its loop wakes, as from an interrupt.
void FirmwareMachine::happened(const Word& word, std::vector<uint8_t> bytes) {
  happened_.push_back({word, std::move(bytes)});
  if (wake_ == 0 || !has_power()) return;
  run_->loop.cancel(wake_);
  wake_after(1);
}

// ---- Its TCP. Nothing comes out of order or is left out; it comes late, in pieces, or from some moment on not any
// more, and what was sent just before a connection was dropped may not have left.

FirmwareMachine::Connection* FirmwareMachine::find(uint32_t stream) {
  const auto found = connections_.find(stream);
  return found == connections_.end() ? nullptr : &found->second;
}

void FirmwareMachine::dial(uint32_t stream, int64_t tries_left) {
  const int64_t wait_ms = is_cut() ? 1'000 : random_.between(1, 20) + link().delay_us_max / 1000;
  run_->loop.after(wait_ms, [this, stream, tries_left] {
    Connection* connection = find(stream);
    if (connection == nullptr) return;
    if (is_cut() && tries_left > 0) {
      connection->harmed = true;
      return dial(stream, tries_left - 1);
    }
    if (!is_cut() && !world_.broker.is_down()) return open(stream, connection);
    connection->harmed = true;
    happened({Say::kBroken, stream, 0, 0});
  });
}

void FirmwareMachine::open(uint32_t stream, Connection* connection) {
  MqttDoor::Handlers handlers;
  handlers.send = [this, stream](std::string_view bytes) {
    while (!bytes.empty()) {
      const size_t piece = random_.chance(kPacketsCut) ? 1 + random_.below(bytes.size()) : bytes.size();
      go_down(stream, {Say::kBytes, stream, 0, 0}, bytes.substr(0, piece));
      bytes.remove_prefix(piece);
    }
  };
  handlers.ended = [this, stream] {
    if (Connection* there = find(stream)) there->harmed = true;
    go_down(stream, {random_.chance(kEndsInOrder) ? Say::kEnd : Say::kBroken, stream, 0, 0});
  };
  handlers.client_broke = [this, stream](const std::string& rule) {
    const Connection* there = find(stream);
    if (there != nullptr && is_well(*there)) oracle_.complain(name_ + " broke a rule of MQTT: " + rule);
  };
  connection->door = std::make_unique<MqttDoor>(run_->network, run_->loop, std::move(handlers));
  if (random_.chance(kConnectionsMute)) {
    const int64_t within_us = random_.chance(0.5) ? 300'000 : 20'000'000;
    connection->mute_us = world_.scheduler.now_us() + random_.between(0, within_us);
    connection->mute_takes = random_.chance(0.5);
  }
  happened({Say::kUp, stream, 0, 0});
}

// What is cut off is sent again until it gets through.
int64_t FirmwareMachine::delay_ms(bool cut) {
  return cut ? 500 : random_.between(0, 3);
}

void FirmwareMachine::go_up(uint32_t stream, std::vector<uint8_t> bytes) {
  Connection* connection = find(stream);
  if (connection == nullptr || !connection->door) {
    return oracle_.complain(name_ + ": bytes for a connection that does not stand");
  }
  connection->up.push_back(std::move(bytes));
  if (connection->up.size() == 1) move_up(stream);
}

void FirmwareMachine::move_up(uint32_t stream) {
  run_->loop.after(delay_ms(link().up_cut), [this, stream] {
    Connection* connection = find(stream);
    if (connection == nullptr) return;
    if (link().up_cut) {
      connection->harmed = true;
      return move_up(stream);
    }
    const std::vector<uint8_t> bytes = std::move(connection->up.front());
    connection->up.pop_front();
    if (!is_mute(*connection) || connection->mute_takes) {
      happened({Say::kTaken, stream, 0, static_cast<int64_t>(bytes.size())});
    }
    if (!is_mute(*connection)) {
      connection->door->received({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    if (!connection->up.empty()) move_up(stream);
  });
}

void FirmwareMachine::go_down(uint32_t stream, const Word& word, std::string_view bytes) {
  Connection* connection = find(stream);
  if (connection == nullptr) return;
  connection->down.push_back({word, std::vector<uint8_t>(bytes.begin(), bytes.end())});
  if (connection->down.size() == 1) move_down(stream);
}

void FirmwareMachine::move_down(uint32_t stream) {
  run_->loop.after(delay_ms(link().down_cut), [this, stream] {
    Connection* connection = find(stream);
    if (connection == nullptr) return;
    if (link().down_cut) {
      connection->harmed = true;
      return move_down(stream);
    }
    Heard heard = std::move(connection->down.front());
    connection->down.pop_front();
    if (!is_mute(*connection)) happened(heard.word, std::move(heard.bytes));
    if (!connection->down.empty()) move_down(stream);
  });
}

}  // namespace lambda::sim
