// Questions to devices and their answers, piece by piece: proto/question.md.
//
// Invariants
// - A device is asked one thing at a time; what else is wanted of it waits in a line.
// - A question ends once: answered, refused by the device, given up (no piece for `timeout_ms`, or no end within
//   `answer_ms_max`), or broken (a lost piece, bytes that make no sense, a bound, the connection to the broker).
// - Only pieces of the question that is open at that device are heard. All else costs a look at its first bytes.
// - Bounds: `device_waiting_max` questions a device, `answer_bytes_max` and kAnswerPointsMax of an answer. How many
//   devices are asked at a time is for the caller to bound (device_queries.h).
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/env/env.h"
#include "base/result.h"
#include "gateway/questions/question_message.h"

namespace lambda::gateway {

inline constexpr uint64_t kAnswerPointsMax = 262'144;

struct QuestionsOptions {
  std::string site;
  int64_t timeout_ms = 10'000;      // without a further piece
  int64_t answer_ms_max = 30'000;   // for the whole answer, from when the device is asked
  uint64_t device_waiting_max = 8;  // the one that is open among them
  uint64_t answer_bytes_max = 4u << 20;
  uint64_t requests_max = 8;         // HTTP requests at once that are for devices
  uint64_t device_requests_max = 2;  // ... for one device
  friend bool operator==(const QuestionsOptions&, const QuestionsOptions&) = default;
};

struct QuestionsPort {
  // To a device's `down`, QoS 1.
  std::function<Status(const std::string& topic, std::string_view message)> publish;
};

struct QuestionsCounters {
  uint64_t asked = 0, answered = 0, pieces = 0, bytes = 0;
  // Questions that came to nothing, by reason.
  uint64_t not_sent = 0, full = 0, timed_out = 0, busy = 0, refused = 0, broken = 0, too_large = 0, disconnected = 0;
  // Messages that were dropped, by reason.
  uint64_t unasked = 0, repeated = 0, malformed = 0;
};

// What a device said of one series.
struct AnsweredSeries {
  Declared declared;
  std::vector<query::Sample> samples;  // UTC, within the range, in the order in which they count: the later one wins
  std::optional<query::RunSummary> summary;
  bool unsummed = false;
};
struct DeviceAnswer {
  std::map<uint32_t, AnsweredSeries> series;  // by ref
  bool timeless = false;                      // points were left out whose time the device does not know
};

class Questions {
 public:
  using Done = std::function<void(Result<DeviceAnswer>)>;

  Questions(Env& env, QuestionsOptions options, QuestionsPort port);
  ~Questions();
  Questions(const Questions&) = delete;
  Questions& operator=(const Questions&) = delete;

  // `done` runs once, from the loop, never inside this call. Errors: kUnavailable (not sent, no answer in time, busy,
  // broken: ask again), kFull (a bound), kUnsupported (the device does not know such questions), kCorrupt (its memory).
  void ask(const std::string& device, DeviceQuestion question, Done done);
  // An Up message of this device that is_answer().
  void message(std::string_view device, std::span<const std::byte> payload);
  // The connection to the broker is gone: so is every answer that was on its way.
  void disconnected();

  const QuestionsOptions& options() const { return options_; }
  const QuestionsCounters& counters() const { return counters_; }
  uint64_t waiting() const;

 private:
  struct Waiting {
    DeviceQuestion question;
    Done done;
  };
  // The first in line is the open one.
  struct Line {
    std::deque<Waiting> waiting;
    uint64_t id = 0;  // of the open one; 0: it has to be sent (again)
    uint32_t pieces = 0;
    uint64_t bytes = 0, points = 0;
    int64_t asked_ms = 0, heard_ms = 0;  // monotonic
    DeviceAnswer answer;
    EventLoop::TimerId timer = 0;
  };

  void begin(const std::string& device, Line& line);
  void send(const std::string& device, Line& line);
  void look(const std::string& device);
  void take(const std::string& device, Line& line, AnswerPiece& piece);
  Status take_items(const DeviceQuestion& question, Line& line, AnswerPiece& piece);
  Status take_block(const DeviceQuestion& question, Line& line, const AnswerPiece& piece, const std::string& block);
  void refused(const std::string& device, Line& line, AnswerError error);
  void end(const std::string& device, Line& line, Result<DeviceAnswer> result);

  Env& env_;
  const QuestionsOptions options_;
  const QuestionsPort port_;
  std::map<std::string, Line, std::less<>> lines_;  // of devices that are asked now
  QuestionsCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::gateway
