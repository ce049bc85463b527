#include "cep/machine/window_state.h"

namespace lambda::cep {
namespace {

void save_row(StateWriter& out, const Row& row) {
  out.i64(row.t);
  out.u64(row.arrival);
  for (const Value& value : row.values) {
    out.value(value);
  }
}

Row load_row(StateReader& in, size_t width) {
  Row row;
  row.t = in.i64();
  row.arrival = in.u64();
  row.values.resize(width);
  for (Value& value : row.values) {
    value = in.value();
  }
  return row;
}

}  // namespace

void Group::save(StateWriter& out) const {
  out.u32(static_cast<uint32_t>(windows.size()));
  for (const Window& window : windows) {
    out.i64(window.start);
    out.i64(window.end);
    out.i64(window.last_t);
    out.u64(window.serial);
    out.flag(window.closed);
    for (const Accumulator& accumulator : window.accumulators) {
      accumulator.save(out);
    }
    out.u32(static_cast<uint32_t>(window.rows.size()));
    for (const Row& row : window.rows) {
      save_row(out, row);
    }
  }
  out.u32(static_cast<uint32_t>(kept_rows().size()));
  for (const Row& row : kept_rows()) {
    save_row(out, row);
  }
  out.u64(seen);
  gap.save(out);
  early.save(out);
}

void Group::load(StateReader& in, size_t aggregates) {
  windows.resize(in.count(37));
  for (Window& window : windows) {
    window.start = in.i64();
    window.end = in.i64();
    window.last_t = in.i64();
    window.serial = in.u64();
    window.closed = in.flag();
    window.accumulators.resize(aggregates);
    for (Accumulator& accumulator : window.accumulators) {
      accumulator.load(in);
    }
    const size_t late_rows = in.count(16 + aggregates);
    for (size_t i = 0; i < late_rows; ++i) {
      window.rows.push_back(load_row(in, aggregates));
    }
  }
  const size_t count = in.count(16 + aggregates);
  for (size_t i = 0; i < count; ++i) {
    rows.push_back(load_row(in, aggregates));
  }
  seen = in.u64();
  gap.load(in);
  early.load(in);
}

}  // namespace lambda::cep
