#include "agent/source/source.h"

#include <bit>

namespace lambda::agent {

void Sink::append_f64(SeriesRef series, double value) {
  append(series, std::bit_cast<uint64_t>(value));
}

}  // namespace lambda::agent
