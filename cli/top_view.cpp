#include "cli/top_view.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>

namespace lambda::cli {
namespace {

constexpr size_t kNameColumns = 12, kNowColumns = 11, kBesideColumns = 13, kMostColumns = 15;
constexpr double kWarnRatio = 0.9;

// Characters as a terminal counts them. All that is shown is one column wide.
size_t width_of(std::string_view text) {
  size_t width = 0;
  for (const char c : text) width += (static_cast<uint8_t>(c) >> 6) != 2 ? 1 : 0;
  return width;
}

std::string cut(std::string_view text, size_t columns) {
  size_t width = 0, end = 0;
  for (; end < text.size(); ++end) {
    if ((static_cast<uint8_t>(text[end]) >> 6) == 2) continue;
    if (width == columns) break;
    ++width;
  }
  return std::string(text.substr(0, end));
}

std::string left(std::string_view text, size_t columns) {
  std::string out = cut(text, columns);
  out.append(columns - width_of(out), ' ');
  return out;
}

std::string right(std::string_view text, size_t columns) {
  const std::string shown = cut(text, columns);
  return std::string(columns - width_of(shown), ' ') + shown;
}

double most_of(const TopRow& row) {
  double most = row.unit == Unit::kRatio ? 1 : 0;
  for (const double value : row.history) most = std::max(most, std::isnan(value) ? 0 : value);
  return most;
}

// Lines up to a number of them; each cut to the screen before it is dressed.
class Screen {
 public:
  explicit Screen(const TopStyle& style) : style_(style) {}
  size_t left() const { return style_.lines - std::min(style_.lines, lines_.size()); }
  void add(std::string_view text, const char* dress = "") {
    if (left() == 0) return;
    std::string line = cut(text, style_.columns);
    while (line.ends_with(' ')) line.pop_back();
    if (style_.colours && *dress != '\0' && !line.empty()) line = dress + line + "\x1b[0m";
    lines_.push_back(std::move(line));
  }
  std::string text() const {
    std::string out;
    for (const std::string& line : lines_) out += (&line == &lines_[0] ? "" : "\n") + line;
    return out;
  }

 private:
  const TopStyle& style_;
  std::vector<std::string> lines_;
};

constexpr const char* kBold = "\x1b[1m";
constexpr const char* kRed = "\x1b[31m";

void add_row(Screen& screen, const TopRow& row, const TopStyle& style) {
  const double most = most_of(row);
  double highest = NAN;
  for (const double value : row.history) highest = std::fmax(highest, value);
  const std::string spark = sparkline(row.history, most, top_history_columns(style.columns), style.ascii);
  const bool high = row.unit == Unit::kRatio && row.now >= kWarnRatio;
  screen.add(left(row.name, kNameColumns) + right(shown_value(row.now, row.unit), kNowColumns) + " " +
                 left(row.beside, kBesideColumns) + " " + spark +
                 right("max " + shown_value(highest, row.unit), kMostColumns),
             high ? kRed : "");
}

// The first lines of a list that has `room`; the last one says how many are left out.
template <class List, class Add>
void add_some(Screen& screen, const List& list, size_t room, const char* what, Add&& add) {
  const size_t shown = list.size() <= room ? list.size() : room > 0 ? room - 1 : 0;
  for (size_t i = 0; i < shown; ++i) add(list[i]);
  if (shown < list.size() && room > 0) screen.add("and " + std::to_string(list.size() - shown) + " more " + what);
}

void add_devices(Screen& screen, const TopFrame& frame, const TopStyle& style) {
  const size_t name_columns = style.columns >= 100 ? 24 : 14;
  screen.add(left("DEVICE", name_columns) + " " + left("STATE", 8) + right("LAG", 8) + right("PARCELS", 9) +
                 right("LOAD", 7) + right("MEMORY", 9) + right("CPU", 9) + "  LAST 10 MIN",
             kBold);
  const size_t foot = frame.foot.size() + 1;
  const size_t room = screen.left() > foot ? screen.left() - foot : 0;
  add_some(screen, frame.devices, room, "devices", [&](const TopDevice& device) {
    const bool bad = device.state != "online";
    const std::string lag = std::isnan(device.lag_s) ? "-" : shown_value(device.lag_s, Unit::kNumber) + " s";
    screen.add(
        left(device.name, name_columns) + " " + left(device.state, 8) + right(lag, 8) +
            right(std::isnan(device.backlog_parcels) ? "-" : std::to_string(std::llround(device.backlog_parcels)), 9) +
            right(shown_value(device.load, Unit::kNumber), 7) + right(shown_value(device.memory, Unit::kRatio), 9) +
            right(shown_value(device.cpu, Unit::kRatio), 9) + "  " +
            sparkline(device.cpu_history, 1, kTopDeviceColumns, style.ascii),
        bad ? kRed : "");
  });
}

void add_processes(Screen& screen, const TopFrame& frame) {
  const size_t foot = frame.foot.size() + 1;
  if (frame.processes.empty() || screen.left() < foot + 3) return;
  screen.add("");
  screen.add(left("PROCESS", 20) + right("CPU", 10) + right("MEMORY", 12) + right("COUNT", 8), kBold);
  add_some(screen, frame.processes, screen.left() - foot, "processes", [&](const TopProcess& process) {
    const std::string count = std::isnan(process.count) ? "-" : std::to_string(std::llround(process.count));
    screen.add(left(process.name, 20) + right(shown_value(process.cores, Unit::kRatio), 10) +
               right(shown_value(process.bytes, Unit::kBytes), 12) + right(count, 8));
  });
}

}  // namespace

size_t top_history_columns(size_t columns) {
  constexpr size_t kOthers = kNameColumns + kNowColumns + 1 + kBesideColumns + 1 + kMostColumns;
  return columns > kOthers + 8 ? columns - kOthers : 8;
}

std::string shown_value(double value, Unit unit) {
  if (std::isnan(value)) return "-";
  char text[64];
  if (unit == Unit::kRatio) {
    std::snprintf(text, sizeof text, "%.1f %%", value * 100);
    return text;
  }
  if (unit == Unit::kNumber) {
    std::snprintf(text, sizeof text, std::fabs(value) < 100 ? "%.2f" : std::fabs(value) < 1e7 ? "%.0f" : "%.3g", value);
    return text;
  }
  static constexpr std::array<const char*, 6> kPrefixes = {"", "k", "M", "G", "T", "P"};
  size_t prefix = 0;
  for (; std::fabs(value) >= 999.5 && prefix + 1 < kPrefixes.size(); ++prefix) value /= 1000;
  std::snprintf(text, sizeof text, prefix > 0 && std::fabs(value) < 9.95 ? "%.1f %sB%s" : "%.0f %sB%s", value,
                kPrefixes[prefix], unit == Unit::kBytesPerSecond ? "/s" : "");
  return text;
}

std::string sparkline(const std::vector<double>& values, double most, size_t columns, bool ascii) {
  static constexpr std::array<const char*, 8> kBars = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static constexpr std::array<const char*, 8> kSigns = {".", ":", "-", "=", "+", "*", "#", "@"};
  const auto& signs = ascii ? kSigns : kBars;
  const size_t shown = std::min(columns, values.size());
  std::string out(columns - shown, ' ');
  for (size_t i = values.size() - shown; i < values.size(); ++i) {
    if (std::isnan(values[i])) {
      out += ' ';
      continue;
    }
    const double share = most > 0 ? std::clamp(values[i] / most, 0.0, 1.0) : 0;
    out += signs[std::min<size_t>(7, static_cast<size_t>(share * 8))];
  }
  return out;
}

std::string render(const TopFrame& frame, const TopStyle& asked) {
  TopStyle style = asked;
  style.columns = std::max(style.columns, kTopColumnsMin);
  style.lines = std::max(style.lines, kTopLinesMin);
  Screen screen(style);
  const size_t clock = width_of(frame.clock);
  screen.add(clock + 1 < style.columns ? left(frame.title, style.columns - clock - 1) + " " + frame.clock : frame.title,
             kBold);
  if (!frame.trouble.empty()) screen.add(frame.trouble, kRed);
  screen.add("");
  if (!frame.devices.empty()) add_devices(screen, frame, style);
  for (const TopRow& row : frame.rows) add_row(screen, row, style);
  add_processes(screen, frame);
  if (!frame.foot.empty() && screen.left() > frame.foot.size()) screen.add("");
  for (const std::string& line : frame.foot) screen.add(line);
  return screen.text();
}

}  // namespace lambda::cli
