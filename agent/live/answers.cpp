#include "agent/live/answers.h"

#include <algorithm>

namespace lambda::agent {
namespace {

// Of the desk, in one of ours: each decodes a block at most, some microseconds here.
constexpr int kTurnsTogether = 32;

}  // namespace

Answers::Answers(Env& env, const SeriesStore& store, AnswersPorts ports)
    : env_(env),
      store_(store),
      ports_(std::move(ports)),
      space_(kAnswerBytesMax),
      desk_(*this,
            {this, [](void* context,
                      std::span<const uint8_t> message) { return static_cast<Answers*>(context)->publish(message); }},
            space_) {}

Answers::~Answers() {
  env_.loop.cancel(timer_);
}

bool Answers::incoming(std::span<const uint8_t> message) {
  if (!desk_.incoming(message, env_.clock.mono_ms())) return false;
  if (timer_ == 0) timer_ = env_.loop.after(0, [this] { turn(); });
  return true;
}

void Answers::disconnected() {
  desk_.disconnected();
  env_.loop.cancel(timer_);
  timer_ = 0;
}

bool Answers::declaration(uint32_t ref, DeclarationView* declaration) {
  if (table_ == nullptr || !table_->known(ref)) return false;
  *declaration = table_->declaration(ref, labels_);
  return true;
}

// A host's times are UTC in every segment.
bool Answers::clock(uint64_t, uint32_t segment, ClockView* clock) const {
  *clock = {segment, false, 0, true};
  return true;
}

bool Answers::publish(std::span<const uint8_t> message) {
  return ports_.outgoing_bytes() < kOutgoingBytesMax && ports_.publish(message).has_value();
}

void Answers::turn() {
  timer_ = 0;
  const int64_t now_ms = env_.clock.mono_ms();
  int64_t due_ms = now_ms + 1;
  for (int turns = 0; turns < kTurnsTogether && due_ms <= now_ms + 1; ++turns) due_ms = desk_.tick(now_ms);
  if (due_ms == INT64_MAX) return;
  timer_ = env_.loop.after(std::max<int64_t>(due_ms - now_ms, 1), [this] { turn(); });
}

}  // namespace lambda::agent
