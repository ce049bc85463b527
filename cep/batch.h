// Events as the engine takes them: columns of one stream, in order of arrival.
#pragma once

#include <cstdint>
#include <vector>

#include "cep/plan.h"

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

// Views of the caller's memory, used within the call only.
struct Batch {
  StreamId stream = 0;
  size_t rows = 0;
  uint64_t first_index = 0;         // of the first event in the input; the others follow without gaps (10)
  const int64_t* t = nullptr;       // UTC ms, within kEventTimeMax of 0
  const int64_t* at = nullptr;      // arrival, ms; null: the highest time seen, the event's included (7b)
  std::vector<ColumnView> columns;  // all of the stream's, in its order
};

}  // namespace lambda::cep
