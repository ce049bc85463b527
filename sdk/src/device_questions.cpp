// A device that answers questions. Nothing else refers to this file, so that an image whose firmware never calls
// lam_answer_questions() has none of it.
#include <new>

#include "device.h"
#include "lambda/lambda.h"
#include "lambda/question_desk.h"

namespace {

using lambda::ClockView;
using lambda::DeclarationView;
using lambda::Device;
using lambda::LabelView;
using lambda::QuestionDesk;

constexpr size_t kDeclarationBytesMax = 512;  // as lam_declare() takes them
constexpr uint32_t kBlockBytes = 512;         // lam_config's default

class Answering final : public lambda::DeviceQuestions, private lambda::QuestionSource {
 public:
  Answering(Device& device, std::span<uint8_t> space)
      : device_(device), desk_(*this, {&device, Device::publish_up}, space) {}

  bool incoming(std::span<const uint8_t> message, int64_t mono_ms) override { return desk_.incoming(message, mono_ms); }
  int64_t tick(int64_t mono_ms) override { return desk_.tick(mono_ms); }
  void disconnected() override { desk_.disconnected(); }
  void counters(lam_question_counters* out) const override {
    const lambda::QuestionCounters& counted = desk_.counters();
    *out = {counted.asked, counted.answered, counted.pieces, counted.refused, counted.malformed, counted.expired};
  }

 private:
  const lambda::SeriesStore& store() const override { return device_.store(); }
  bool declaration(uint32_t ref, DeclarationView* declaration) override {
    *declaration = device_.declaration_of(ref, labels_);
    return true;
  }
  bool clock(uint64_t boot, uint32_t segment, ClockView* clock) const override {
    return device_.clock(boot, segment, clock);
  }

  Device& device_;
  LabelView labels_[LAM_LABELS_MAX];
  QuestionDesk desk_;
};

constexpr size_t kFixedBytes = (sizeof(Answering) + 7) / 8 * 8;

}  // namespace

extern "C" {

size_t lam_questions_memory(const lam_config* config) {
  if (config == nullptr || Device::memory_min(*config) == 0) return 0;
  const size_t block = config->block_bytes_max != 0 ? config->block_bytes_max : kBlockBytes;
  return kFixedBytes + QuestionDesk::piece_bytes(block, kDeclarationBytesMax);
}

lam_status lam_answer_questions(lam_device* device, void* memory, size_t size) {
  if (device == nullptr || memory == nullptr || reinterpret_cast<uintptr_t>(memory) % 8 != 0) return LAM_E_INVALID;
  Device& of = *reinterpret_cast<Device*>(device);
  if (of.questions() != nullptr) return LAM_E_INVALID;
  if (size < lam_questions_memory(&of.config())) return LAM_E_MEMORY;
  auto* bytes = static_cast<uint8_t*>(memory);
  size_t space = size - kFixedBytes;
  if (space > lambda::kAnswerBytesMax) space = lambda::kAnswerBytesMax;
  of.set_questions(new (memory) Answering(of, {bytes + kFixedBytes, space}));
  return LAM_OK;
}

void lam_get_question_counters(const lam_device* device, lam_question_counters* counters) {
  *counters = {};
  const auto* questions = reinterpret_cast<const Device*>(device)->questions();
  if (questions != nullptr) questions->counters(counters);
}

}  // extern "C"
