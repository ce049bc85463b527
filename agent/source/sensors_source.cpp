#include "agent/source/sensors_source.h"

#include <algorithm>

#include "agent/source/text.h"

namespace lambda::agent {
namespace {

struct Quantity {
  std::string_view type, property;  // of the file's name: temp1_input
  const char* name;
  uint8_t scale;  // the kernel tells thousandths, or millionths
  const char* unit;
  Kind kind = Kind::kGauge;
};
constexpr Quantity kQuantities[] = {
    {"temp", "input", "node_hwmon_temp_celsius", 3, "celsius"},
    {"temp", "max", "node_hwmon_temp_max_celsius", 3, "celsius"},
    {"temp", "crit", "node_hwmon_temp_crit_celsius", 3, "celsius"},
    {"in", "input", "node_hwmon_in_volts", 3, "volts"},
    {"fan", "input", "node_hwmon_fan_rpm", 0, ""},
    {"curr", "input", "node_hwmon_curr_amps", 3, "amps"},
    {"power", "input", "node_hwmon_power_watt", 6, "watts"},
    {"power", "average", "node_hwmon_power_average_watt", 6, "watts"},
    {"energy", "input", "node_hwmon_energy_joule_total", 6, "joules", Kind::kCounter},
};

ValueType type_of(uint8_t scale) {
  return scale > 0 ? ValueType::kDec : ValueType::kI64;
}

// As node_exporter names chips: small letters, digits, ':' and '_', none of them at the ends.
std::string clean(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ':';
    out += plain ? c : '_';
  }
  const size_t first = std::min(out.find_first_not_of('_'), out.size());
  const size_t last = out.find_last_not_of('_');
  return last == std::string::npos ? std::string() : out.substr(first, last + 1 - first);
}

std::string_view last_part(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

// Whatever a driver wrote must be a label's value.
std::string printable(std::string text) {
  for (char& c : text) c = c >= ' ' && c <= '~' ? c : '?';
  return text;
}

}  // namespace

SensorsSource::SensorsSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter filter)
    : files_(files),
      thermal_(below(root, "sys/class/thermal")),
      hwmon_(below(root, "sys/class/hwmon")),
      interval_ms_(interval_ms),
      filter_(std::move(filter)) {}

std::string SensorsSource::text_of(const std::string& path) {
  const auto read = files_.read_once(path);
  if (!read) return {};
  std::string_view text = *read, line;
  take_line(text, line);
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  while (!line.empty() && (is_blank(line.back()) || line.back() == '\r')) line.remove_suffix(1);
  return printable(std::string(line));
}

void SensorsSource::note(std::string path, SeriesSpec spec) {
  const auto known = std::find_if(sensors_.begin(), sensors_.end(), [&](const Sensor& sensor) {
    return sensor.path == path && sensor.spec.name == spec.name && sensor.spec.labels == spec.labels;
  });
  if (known != sensors_.end()) {
    known->seen = true;
  } else if (sensors_.size() < kSensorsMax) {
    sensors_.push_back({std::move(path), std::move(spec), {}, true});
  }
}

void SensorsSource::walk() {
  for (Sensor& sensor : sensors_) sensor.seen = false;
  std::vector<std::string> names;
  if (files_.list(thermal_, names)) {
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) walk_thermal(name);
  }
  if (files_.list(hwmon_, names)) {
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) walk_chip(hwmon_ + "/" + name);
  }
  std::erase_if(sensors_, [](const Sensor& sensor) { return !sensor.seen; });
}

void SensorsSource::walk_thermal(const std::string& name) {
  constexpr std::string_view kZone = "thermal_zone", kCooling = "cooling_device";
  const std::string folder = thermal_ + "/" + name;
  if (name.starts_with(kZone)) {
    const std::string type = text_of(folder + "/type");
    if (!filter_.wants(type)) return;
    note(folder + "/temp", {"node_thermal_zone_temp",
                            {{"zone", name.substr(kZone.size())}, {"type", type}},
                            Kind::kGauge,
                            ValueType::kDec,
                            3,
                            "celsius"});
  } else if (name.starts_with(kCooling)) {
    const std::string type = text_of(folder + "/type");
    if (!filter_.wants(type)) return;
    const LabelList labels = {{"name", name.substr(kCooling.size())}, {"type", type}};
    note(folder + "/cur_state", {"node_cooling_device_cur_state", labels, Kind::kGauge, ValueType::kI64, 0, ""});
    note(folder + "/max_state", {"node_cooling_device_max_state", labels, Kind::kGauge, ValueType::kI64, 0, ""});
  }
}

// The bus and the device behind the chip tell it apart from others, over restarts too; its number does not.
std::string SensorsSource::chip_of(const std::string& folder) {
  if (const auto device = files_.resolve(folder + "/device")) {
    const std::string_view path = *device;
    const std::string_view name = last_part(path);
    const std::string_view above = path.substr(0, path.size() - std::min(path.size(), name.size() + 1));
    const std::string bus = clean(last_part(above)), cleaned = clean(name);
    if (!bus.empty() && !cleaned.empty()) return bus + "_" + cleaned;
    if (!cleaned.empty()) return cleaned;
  }
  if (const std::string name = clean(text_of(folder + "/name")); !name.empty()) return name;
  return clean(last_part(folder));
}

void SensorsSource::walk_chip(const std::string& folder) {
  const std::string chip = chip_of(folder);
  if (chip.empty() || !filter_.wants(chip)) return;
  if (const std::string name = clean(text_of(folder + "/name")); !name.empty()) {
    note("", {"node_hwmon_chip_names", {{"chip", chip}, {"chip_name", name}}, Kind::kGauge, ValueType::kI64, 0, ""});
  }
  std::vector<std::string> names;
  if (!files_.list(folder, names)) return;
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) chip_file(folder, chip, name);
}

void SensorsSource::chip_file(const std::string& folder, const std::string& chip, const std::string& file) {
  const size_t bar = file.find('_');
  if (bar == std::string::npos) return;
  const std::string sensor = file.substr(0, bar);
  const std::string_view type = std::string_view(sensor).substr(0, sensor.find_first_of("0123456789"));
  const std::string_view property = std::string_view(file).substr(bar + 1);
  if (type.size() == sensor.size()) return;
  if (property == "label") {
    note("", {"node_hwmon_sensor_label",
              {{"chip", chip}, {"sensor", sensor}, {"label", text_of(folder + "/" + file)}},
              Kind::kGauge,
              ValueType::kI64,
              0,
              ""});
    return;
  }
  for (const Quantity& quantity : kQuantities) {
    if (quantity.type != type || quantity.property != property) continue;
    note(folder + "/" + file, {quantity.name,
                               {{"chip", chip}, {"sensor", sensor}},
                               quantity.kind,
                               type_of(quantity.scale),
                               quantity.scale,
                               quantity.unit});
  }
}

Status SensorsSource::collect(Sink& sink, int64_t) {
  if (until_walk_ == 0) {
    walk();
    until_walk_ = kSensorsWalkCollections;
  }
  --until_walk_;
  Complaints complaints;
  for (Sensor& sensor : sensors_) {
    int64_t value = 1;
    if (!sensor.path.empty()) {
      const auto read = files_.read_once(sensor.path);
      if (!read) continue;  // a sensor that is asleep or was taken out answers with an error: it has no value then
      std::string_view text = *read, line;
      take_line(text, line);
      const auto number = to_number(take_field(line));
      if (!number) {
        complaints.add(sensor.path, 1, "expected a number");
        continue;
      }
      value = *number;
    }
    put(sink, sensor.slot, static_cast<uint64_t>(value), [&] { return sensor.spec; });
  }
  return complaints.status();
}

}  // namespace lambda::agent
