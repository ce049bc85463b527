// A microcontroller that runs the firmware itself (boards/firmware): its main loop, sensors at 100 Hz, lwIP's MQTT, the
// link's pauses and doubts, clock and flash. Its board is this world, spoken to by a process that has nothing else
// (board/); a reset kills that process. TLS is left out: TCP and the broker's bytes are what they are on a board.
//
// What it sees of itself, and complains of to the oracle: a firmware that ends, hangs, speaks no MQTT, or gives a
// connection up to which nothing was done.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/board/words.h"
#include "tests/sim/machines.h"
#include "tests/sim/mqtt_door.h"

namespace lambda::sim {

class FirmwareMachine final : public Microcontroller {
 public:
  struct Options {
    uint32_t seal_age_ms = 2'000;
    uint32_t memory_bytes = 64u << 10;  // of series and parcels
    uint32_t flash_save_s = 0;
    bool after_49_days = false;      // lwIP's clock of 32 bits wraps a moment after each start
    std::optional<SimRandom> flash;  // as DeviceMachine has it
  };
  FirmwareMachine(World& world, Oracle& oracle, std::string name, SimRandom random, const Options& options);
  ~FirmwareMachine() override { kill(); }
  void start() override;
  void kill() override;

  const PublicKey& public_key() const override { return public_key_; }
  uint64_t boot() const override { return running() ? counts_.boot : 0; }
  uint64_t waiting() const override { return running() ? counts_.points_waiting : 0; }
  void make_no_more() override { making_ = false; }
  void flush() override {}  // what it makes is sealed by its age, soon
  FlashLedger* flash() override { return flash_ ? &*flash_ : nullptr; }
  void save() override { power_fails_ = true; }

 private:
  struct Heard {
    Word word;
    std::vector<uint8_t> bytes;
  };
  // A TCP connection, by the board's number for it. What is under way in a direction moves on one after the other.
  struct Connection {
    std::unique_ptr<MqttDoor> door;
    std::deque<std::vector<uint8_t>> up;
    std::deque<Heard> down;
    // From then on nothing gets through and nobody says so, until the firmware drops it; what it sends may look as if
    // it were on its way.
    int64_t mute_us = INT64_MAX;
    bool mute_takes = false;
    bool harmed = false;  // it was cut, or told to end: whatever the firmware thinks of it is right
  };

  std::string identity() const;
  void spawn();
  void listen();
  void take(const Word& word, const std::vector<uint8_t>& bytes);
  void read_line(const std::string& line);
  void at_flash(const Word& word, const std::vector<uint8_t>& bytes);
  void turn();
  void end_turn(int64_t wait_ms);
  void wake_after(int64_t delay_ms);
  void happened(const Word& word, std::vector<uint8_t> bytes = {});

  Connection* find(uint32_t stream);
  void dial(uint32_t stream, int64_t tries_left);
  void open(uint32_t stream, Connection* connection);
  void go_up(uint32_t stream, std::vector<uint8_t> bytes);
  void move_up(uint32_t stream);
  void go_down(uint32_t stream, const Word& word, std::string_view bytes = {});
  void move_down(uint32_t stream);
  int64_t delay_ms(bool cut);
  bool is_mute(const Connection& connection) const { return world_.scheduler.now_us() >= connection.mute_us; }
  bool is_cut() { return link().up_cut || link().down_cut; }
  // Whether nothing was done to the connection that would be a reason to end it.
  bool is_well(const Connection& connection) { return !connection.harmed && !is_mute(connection) && !is_cut(); }
  LinkFaults& link() { return world_.broker.links[name_]; }
  int64_t mono_ms() const;

  Oracle& oracle_;
  SimRandom random_;
  const Options options_;
  SigningKey key_;
  const PublicKey public_key_;
  std::optional<FlashLedger> flash_;
  std::vector<uint8_t> saved_;  // the board's few bytes
  bool making_ = true;
  // Of one run.
  int world_end_ = -1;
  int process_ = -1;
  int64_t started_us_ = 0;
  Counts counts_;
  std::map<uint32_t, Connection> connections_;
  std::vector<Heard> happened_;  // since the last turn
  EventLoop::TimerId wake_ = 0;  // 0: its loop runs, or nothing wakes it before it is done with something
  bool power_fails_ = false;
  uint64_t bugs_met_ = 0;
  bool last_was_well_ = false;  // the connection that was dropped last
  std::string last_line_;
};

}  // namespace lambda::sim
