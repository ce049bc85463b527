// Prometheus' XOR chunks (encoding 1): points of f64 as its own database keeps and sends them. For exchange, and so
// that another decoder than ours reads what we write. Source: prometheus/prometheus, tsdb/docs/format/chunks.md. A
// chunk has no checksum of its own: who holds it has one. Hosts only; nothing is allocated.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "lambda/point.h"

namespace lambda {

inline constexpr size_t kPrometheusPointsMax = 65'535;
// Space that is enough for `points` of them: 4 + 64 bits of time, 2 + 5 + 6 + 64 of value.
constexpr size_t prometheus_chunk_bytes_max(size_t points) {
  return 2 + 20 + points * 19 + 16;
}

// Writes `points`, bits of f64, in their order; Prometheus itself wants rising times. Returns the bytes written;
// `space` has prometheus_chunk_bytes_max() of them, and there are 1 to kPrometheusPointsMax points.
size_t write_prometheus_chunk(std::span<const Point> points, std::span<uint8_t> space);

// How many points a chunk says it has; 0: it is none.
size_t prometheus_chunk_count(std::span<const uint8_t> chunk);

// Reads all points of a chunk that may hold anything. False: it is cut, malformed, or longer than `points`.
bool read_prometheus_chunk(std::span<const uint8_t> chunk, std::span<Point> points);

}  // namespace lambda
