// Events as the engine takes them: columns of one stream, in order of arrival.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cep/language/plan.h"
#include "cep/stream/moment.h"

namespace lambda::cep {

// `data` is int64_t, double, Symbol or uint8_t (BOOL) by `type`. `nulls`: one byte a row, not 0 means null; a null
// pointer means that there are none.
struct ColumnView {
  Type type = Type::kNull;
  const void* data = nullptr;
  const uint8_t* nulls = nullptr;

  Value at(size_t row) const {
    if (nulls != nullptr && nulls[row] != 0) {
      return Value::null();
    }
    switch (type) {
      case Type::kInt:
        return Value::of_int(static_cast<const int64_t*>(data)[row]);
      case Type::kDouble:
        return Value::of_double(static_cast<const double*>(data)[row]);
      case Type::kText:
        return Value::of_text(static_cast<const Symbol*>(data)[row]);
      case Type::kBool:
        return Value::of_bool(static_cast<const uint8_t*>(data)[row] != 0);
      case Type::kNull:
      case Type::kList:  // streams have none
        break;
    }
    return Value::null();
  }
};

// Views of the caller's memory, used within the call only. Faster in hundreds of rows than one by one.
struct Batch {
  StreamId stream = 0;
  size_t rows = 0;
  uint64_t first_index = 0;         // of the first event in the input; the others follow without gaps (10)
  const int64_t* t = nullptr;       // UTC ms, within kEventTimeMax of 0
  const int64_t* at = nullptr;      // arrival, ms; null: the highest time seen, the event's included (7b)
  std::vector<ColumnView> columns;  // all of the stream's, in its order
};

// Rows [begin, begin + rows) of a batch.
inline void cut_batch(const Batch& batch, size_t begin, size_t rows, Batch& into) {
  into.stream = batch.stream;
  into.rows = rows;
  into.first_index = batch.first_index + begin;
  into.t = batch.t + begin;
  into.at = batch.at == nullptr ? nullptr : batch.at + begin;
  into.columns.resize(batch.columns.size());
  for (size_t i = 0; i < batch.columns.size(); ++i) {
    const ColumnView& from = batch.columns[i];
    const size_t cell = from.type == Type::kText ? sizeof(Symbol) : from.type == Type::kBool ? 1 : sizeof(int64_t);
    into.columns[i].type = from.type;
    into.columns[i].data = static_cast<const uint8_t*>(from.data) + begin * cell;
    into.columns[i].nulls = from.nulls == nullptr ? nullptr : from.nulls + begin;
  }
}

// Places of rows, ascending. Room is kept, and none of it is written but by adding: time goes in short steps.
class Places {
 public:
  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  uint32_t front() const { return space_[0]; }
  uint32_t back() const { return space_[count_ - 1]; }
  void push_back(uint32_t place) {
    *room_for(1) = place;
    ++count_;
  }
  void pop_back() { --count_; }
  void clear() { count_ = 0; }
  // Where up to `more` places may be written behind those there are, until the next call; then end_at().
  uint32_t* room_for(size_t more) {
    if (space_.size() < count_ + more) {
      space_.resize(count_ + more);
    }
    return space_.data() + count_;
  }
  // The places that were written end there.
  void end_at(const uint32_t* end) { count_ = static_cast<size_t>(end - space_.data()); }
  operator std::span<const uint32_t>() const { return {space_.data(), count_}; }

 private:
  std::vector<uint32_t> space_;
  size_t count_ = 0;
};

// Events of one stream that a rule takes at once. Places are rows of the columns.
struct Rows {
  StreamId stream = 0;
  std::span<const ColumnView> columns;
  const int64_t* t = nullptr;
  const int64_t* clock = nullptr;  // the arrival clock at each event
  const TimelineId* timeline = nullptr;
  uint64_t first_arrival = 0;  // of row 0, and so on
  uint64_t first_index = 0;
  std::span<const uint32_t> at;  // the places of those that are meant, ascending

  Moment moment(uint32_t row) const {
    Moment moment;
    moment.t = t[row];
    moment.arrival = first_arrival + row;
    moment.on_input = static_cast<int64_t>(first_index + row);
    moment.clock = clock[row];
    return moment;
  }
  void read(uint32_t row, Value* into) const {
    for (const ColumnView& column : columns) {
      *into++ = column.at(row);
    }
  }
};

}  // namespace lambda::cep
