// What gateways ask of this agent's memory (`lambda query --device`): the SDK's question desk over the agent's blocks.
// The conversation: proto/question.md; why it is so: docs/decisions/0016-questions-to-devices.md.
//
// Parcels go first: while much is on its way on the connection no piece is sent, and a question that has waited too
// long is given up. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "agent/spool/series_table.h"
#include "base/env/env.h"
#include "lambda/question_desk.h"

namespace lambda::agent {

// How it reaches the rest of the agent; all must outlive it.
struct AnswersPorts {
  // Publishes on `up` with QoS 1. An error: nothing was sent.
  std::function<Status(std::span<const uint8_t> message)> publish;
  std::function<uint64_t()> outgoing_bytes;  // on the bus
};

class Answers final : private QuestionSource {
 public:
  static constexpr uint64_t kOutgoingBytesMax = 256u << 10;  // on the bus: with more on its way, pieces wait

  // `store` must outlive it.
  Answers(Env& env, const SeriesStore& store, AnswersPorts ports);
  ~Answers();
  Answers(const Answers&) = delete;
  Answers& operator=(const Answers&) = delete;

  // Whose refs the store's blocks have.
  void set_table(std::shared_ptr<const SeriesTable> table) { table_ = std::move(table); }
  // A message on `down`. True: it is a question, and taken care of.
  bool incoming(std::span<const uint8_t> message);
  // The session ended: nobody hears the rest.
  void disconnected();
  const QuestionCounters& counters() const { return desk_.counters(); }

 private:
  const SeriesStore& store() const override { return store_; }
  bool declaration(uint32_t ref, DeclarationView* declaration) override;
  bool clock(uint64_t boot, uint32_t segment, ClockView* clock) const override;
  bool publish(std::span<const uint8_t> message);
  void turn();

  Env& env_;
  const SeriesStore& store_;
  const AnswersPorts ports_;
  std::shared_ptr<const SeriesTable> table_;
  std::vector<LabelView> labels_;
  std::vector<uint8_t> space_;
  QuestionDesk desk_;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace lambda::agent
