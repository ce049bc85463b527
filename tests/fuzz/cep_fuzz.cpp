// Any text as rules: refused with places inside the text, or run over events of its own streams; and then a run with a
// restart in the middle says the same as one without.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cep/engine.h"

namespace {

using namespace lambda::cep;

void expect(bool condition) {
  if (!condition) std::abort();
}

// Cheap and the same everywhere.
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t roll(uint64_t below) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state_ >> 33) % below;
  }

 private:
  uint64_t state_;
};

constexpr int kEvents = 60;
constexpr size_t kTextBytesMax = 4096;

class Run {
 public:
  Run(std::string_view rules, int restart_at) : rules_(rules), restart_at_(restart_at) {}

  std::vector<std::string> go(uint64_t seed) {
    engine_ = make();
    Dice dice(seed);
    std::vector<StreamId> streams;
    for (StreamId id = 0; id < engine_->catalog().stream_count(); ++id) {
      if (!engine_->catalog().stream(id).rule) {
        streams.push_back(id);
      }
    }
    int64_t t = 0;
    for (int i = 0; i < kEvents && !streams.empty(); ++i) {
      t += static_cast<int64_t>(dice.roll(60));
      push(streams[dice.roll(streams.size())], t - static_cast<int64_t>(dice.roll(20)), static_cast<uint64_t>(i), dice);
      if (i == restart_at_) {
        const std::string state = engine_->snapshot();
        engine_ = make();
        expect(engine_->restore(state).has_value());
      }
    }
    engine_->advance_to(t + 50);
    return said_;
  }

 private:
  std::unique_ptr<Engine> make() {
    auto engine = std::make_unique<Engine>(EngineSettings{}, [this](const Output& out) {
      std::string line = std::to_string(out.rule) + " " + std::to_string(out.t) + " " +
                         std::to_string(static_cast<int>(out.kind)) + " " + std::to_string(out.on_input);
      for (const Value& value : out.fields) {
        line += value.type == Type::kText || value.type == Type::kList
                    ? " " + std::string(engine_->symbols().text(value.text))
                    : " " + std::to_string(value.bits);
      }
      said_.push_back(std::move(line));
    });
    expect(engine->create(rules_).empty());
    return engine;
  }

  void push(StreamId stream, int64_t t, uint64_t index, Dice& dice) {
    const auto& columns = engine_->catalog().stream(stream).columns;
    std::vector<Value> values;
    for (const ColumnSchema& column : columns) {
      const uint64_t x = dice.roll(12);
      switch (column.type) {
        case Type::kText:
          values.push_back(Value::of_text(engine_->symbols().intern(std::string(1, static_cast<char>('a' + x % 3)))));
          break;
        case Type::kInt:
          values.push_back(Value::of_int(static_cast<int64_t>(x) - 3));
          break;
        case Type::kDouble:
          values.push_back(Value::of_double(static_cast<double>(x) / 2 - 1));
          break;
        default:
          values.push_back(Value::of_bool(x % 2 == 0));
          break;
      }
    }
    const uint8_t null = dice.roll(10) == 0 ? 1 : 0;
    Batch batch;
    batch.stream = stream;
    batch.rows = 1;
    batch.first_index = index;
    batch.t = &t;
    for (size_t i = 0; i < values.size(); ++i) {
      batch.columns.push_back({columns[i].type, &values[i].bits, i == 1 ? &null : nullptr});
    }
    engine_->push(batch);
  }

  std::string_view rules_;
  int restart_at_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::string> said_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), std::min(size, kTextBytesMax));
  Engine engine({}, [](const Output&) {});
  const auto errors = engine.create(text);
  const auto lines = static_cast<uint32_t>(std::ranges::count(text, '\n')) + 1;
  for (const auto& error : errors) {
    expect(!error.text.empty() && error.at.line >= 1 && error.at.line <= lines && error.at.column >= 1);
  }
  if (errors.empty()) {
    const auto plain = Run(text, -1).go(size);
    expect(Run(text, static_cast<int>(size % kEvents)).go(size) == plain);
  } else {
    expect(engine.rule_count() == 0 && engine.catalog().stream_count() == 0);
  }
  return 0;
}
