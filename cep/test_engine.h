// An engine in a test: rows go in as values, outputs come out as texts.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cep/engine.h"

namespace lambda::cep {

class TestEngine {
 public:
  explicit TestEngine(std::string rules) : rules_(std::move(rules)) { engine_ = make(); }

  // Fields in the order of the stream's columns.
  void push(const std::string& stream, int64_t t, const std::vector<Value>& fields) {
    const StreamSchema* schema = engine_->catalog().find_stream(stream);
    ASSERT_NE(schema, nullptr) << stream;
    Batch batch;
    batch.stream = schema->id;
    batch.rows = 1;
    batch.first_index = next_index_++;
    batch.t = &t;
    const uint8_t null = 1;
    for (size_t i = 0; i < fields.size(); ++i) {
      batch.columns.push_back({schema->columns[i].type, &fields[i].bits, fields[i].is_null() ? &null : nullptr});
    }
    engine_->push(batch);
  }
  void advance_to(int64_t t) { engine_->advance_to(t); }
  // Saves, drops and restores; into other rules, if there are any.
  void restart(const std::string& rules = "") {
    const std::string state = engine_->snapshot();
    rules_ = rules.empty() ? rules_ : rules;
    engine_ = make();
    const Status restored = engine_->restore(state);
    ASSERT_TRUE(restored) << restored.error().text;
  }

  Engine& engine() { return *engine_; }
  Value text(const std::string& text) { return Value::of_text(engine_->symbols().intern(text)); }
  // "rule t kind field field .."; what caused it is left out.
  std::vector<std::string> said;

 private:
  std::unique_ptr<Engine> make() {
    auto engine = std::make_unique<Engine>(EngineSettings{}, [this](const Output& out) { note(out); });
    const auto errors = engine->create(rules_);
    for (const Diagnostic& error : errors) {
      ADD_FAILURE() << format_diagnostic("rules", error);
    }
    return engine;
  }
  void note(const Output& out) {
    std::string line = engine_->rule(out.rule).name + " " + std::to_string(out.t) + " " + output_kind_name(out.kind);
    if (out.kind == OutputKind::kLimit) {
      line += std::string(" ") + bound_name(out.bound) + " " + std::to_string(out.dropped);
    }
    for (const Value& value : out.fields) {
      line += " " + print(value);
    }
    said.push_back(std::move(line));
  }
  std::string print(const Value& value) {
    switch (value.type) {
      case Type::kNull:
        return "null";
      case Type::kBool:
        return value.b ? "true" : "false";
      case Type::kInt:
        return std::to_string(value.i);
      case Type::kDouble:
        return std::to_string(value.d);
      case Type::kText:
      case Type::kList:
        return std::string(engine_->symbols().text(value.text));
    }
    return "?";
  }

  std::string rules_;
  std::unique_ptr<Engine> engine_;
  uint64_t next_index_ = 0;
};

}  // namespace lambda::cep
