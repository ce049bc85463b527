// What `lambda top` shows, and how: pure, so that a test can look at it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace lambda::cli {

enum class Unit { kRatio, kNumber, kBytes, kBytesPerSecond };

// One line with a sparkline of the last ten minutes.
struct TopRow {
  std::string name;
  Unit unit = Unit::kNumber;
  double now = 0;               // NaN: not known
  std::vector<double> history;  // oldest first, equally far apart; NaN: not known
  std::string beside;           // shown behind the newest value: "of 3.9 GB"
};

struct TopProcess {
  std::string name;
  double cores = 0, bytes = 0, count = 0;  // NaN: not known
};

struct TopDevice {
  std::string name, state;
  double lag_s = 0, backlog_parcels = 0;  // NaN: not known
  double cpu = 0, memory = 0, load = 0;
  std::vector<double> cpu_history;
};

struct TopFrame {
  std::string title;         // who is shown
  std::string clock;         // when
  std::string trouble;       // why what is shown is old; empty: it is fresh
  std::vector<TopRow> rows;  // of a machine
  std::vector<TopProcess> processes;
  std::vector<TopDevice> devices;  // of a site
  std::vector<std::string> foot;   // lines about the agent or gateway itself
};

struct TopStyle {
  size_t columns = 80, lines = 24;
  bool colours = false;  // and bold; else no escape codes at all
  bool ascii = false;    // sparklines of ASCII, for terminals that are not UTF-8
};
inline constexpr size_t kTopColumnsMin = 40, kTopLinesMin = 8;

// How many values a sparkline of a machine's row has room for.
size_t top_history_columns(size_t columns);
// How many of a site's device.
inline constexpr size_t kTopDeviceColumns = 20;

// At most `lines` lines of at most `columns` characters, without an end behind the last one. What does not fit is left
// out: processes and devices first, the end of the list says how many.
std::string render(const TopFrame& frame, const TopStyle& style);

// "12.3 %", "1.25", "3.4 MB", "3.4 MB/s"; "-" for NaN.
std::string shown_value(double value, Unit unit);
// One character a value, from nothing at all (' ') over 0 to `most`; the last `columns` of them, oldest first.
std::string sparkline(const std::vector<double>& values, double most, size_t columns, bool ascii);

}  // namespace lambda::cli
