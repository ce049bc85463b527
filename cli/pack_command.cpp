#include "cli/pack_command.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <span>
#include <vector>

#include "cli/block_archive.h"
#include "cli/points_csv.h"
#include "lambda/stored_block.h"

namespace lambda::cli {
namespace {

using nlohmann::ordered_json;

struct Type {
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  F32Text f32 = F32Text::kDouble;
};

std::string type_text(const Type& type) {
  switch (type.type) {
    case ValueType::kF64:
      return "f64";
    case ValueType::kF32:
      return "f32";
    case ValueType::kI64:
      return "i64";
    case ValueType::kDec:
      return "dec:" + std::to_string(type.scale);
    case ValueType::kState:
      return "state";
  }
  return "?";
}

std::optional<Type> parse_type(const std::string& text) {
  if (text == "f64") return Type{ValueType::kF64};
  if (text == "f32") return Type{ValueType::kF32};
  if (text == "i64") return Type{ValueType::kI64};
  if (text == "state") return Type{ValueType::kState};
  if (!text.starts_with("dec:")) return std::nullopt;
  unsigned scale = 0;
  const auto [end, error] = std::from_chars(text.data() + 4, text.data() + text.size(), scale);
  if (error != std::errc() || end != text.data() + text.size() || scale > kScaleMax) return std::nullopt;
  return Type{ValueType::kDec, static_cast<uint8_t>(scale), F32Text::kDouble};
}

bool is_float(ValueType type) {
  return type == ValueType::kF64 || type == ValueType::kF32;
}

// How many values are rounded when they become floats.
uint64_t rounded_of(const std::vector<CsvPoint>& rows) {
  return static_cast<uint64_t>(
      std::count_if(rows.begin(), rows.end(), [](const CsvPoint& row) { return !row.is_double; }));
}

// The bits of a value in a type; false: the type does not hold it exactly.
bool bits_in(const Type& type, const CsvPoint& point, uint64_t* bits) {
  if (type.type == ValueType::kF64) {
    *bits = point.f64;
    return true;
  }
  if (type.type == ValueType::kF32) {
    uint32_t narrow = 0;
    if (!as_f32(point.f64, type.f32, &narrow)) return false;
    *bits = narrow;
    return true;
  }
  if (!point.is_decimal || point.places > type.scale) return false;
  int64_t digits = point.digits;
  for (unsigned i = point.places; i < type.scale; ++i) {
    if (__builtin_mul_overflow(digits, 10, &digits)) return false;
  }
  *bits = static_cast<uint64_t>(digits);
  return true;
}

// The points in a type; on failure the line that does not fit.
bool points_in(const Type& type, const std::vector<CsvPoint>& rows, std::vector<Point>* points, uint32_t* line) {
  points->clear();
  points->reserve(rows.size());
  for (const CsvPoint& row : rows) {
    Point point{row.time_ms, 0};
    if (!bits_in(type, row, &point.bits)) {
      *line = row.line;
      return false;
    }
    points->push_back(point);
  }
  return true;
}

std::vector<uint8_t> packed_file(const Type& type, bool seal, std::span<const Point> points) {
  std::vector<uint8_t> space(stored_bytes_max(kBlockPointsMax));
  std::vector<uint8_t> other_space(space.size());
  StoredOptions options;
  options.block.type = type.type;
  options.block.scale = type.scale;
  ArchiveWriter archive(type.f32);
  for (size_t at = 0; at < points.size();) {
    const size_t count = points_that_fit(points.subspan(at), kLongSpanMsMax);
    const auto run = points.subspan(at, count);
    options.block.first_ordinal = at;
    std::span<const uint8_t> block;
    if (seal) {
      block = pack_block(options, run, space);
    } else if (type.type == ValueType::kF64) {
      block = write_block(options, Codec::kXor64, run, space);
    } else if (type.type == ValueType::kF32) {
      block = write_block(options, Codec::kXor32, run, space);
    } else {
      block = write_block(options, Codec::kDelta64, run, space);
      for (const Codec codec : {Codec::kSlope64, Codec::kRuns64}) {
        if (codec == Codec::kSlope64 && type.type == ValueType::kState) continue;
        const auto other = write_block(options, codec, run, other_space);
        if (other.size() >= block.size()) continue;
        std::copy(other.begin(), other.end(), space.begin());
        block = std::span(space).first(other.size());
      }
    }
    archive.add(block, count);
    at += count;
  }
  return archive.finish();
}

// Of the types that hold every value, the one with the smallest file. Floats of 32 bits only where the values are such
// to the last bit: a sum of them is another number otherwise. Floats at all only where they have the digits that the
// text has, or where no other type holds every value.
std::vector<uint8_t> smallest_file(const std::vector<CsvPoint>& rows, bool seal) {
  const auto by_places = [](const CsvPoint& a, const CsvPoint& b) { return a.places < b.places; };
  const uint8_t places = std::max_element(rows.begin(), rows.end(), by_places)->places;
  const std::vector<Type> types{{places == 0 ? ValueType::kI64 : ValueType::kDec, places, F32Text::kDouble},
                                {ValueType::kF64, 0, F32Text::kDouble},
                                {ValueType::kF32, 0, F32Text::kDouble}};
  const bool are_doubles = rounded_of(rows) == 0;
  std::vector<uint8_t> best;
  std::vector<Point> points;
  for (const Type& type : types) {
    uint32_t line = 0;
    if (!are_doubles && is_float(type.type) && !best.empty()) break;
    if (!points_in(type, rows, &points, &line)) continue;
    std::vector<uint8_t> file = packed_file(type, seal, points);
    if (best.empty() || file.size() < best.size()) best = std::move(file);
  }
  return best;  // f64 holds everything
}

Result<std::vector<uint8_t>> file_of(const PackOptions& options, const std::vector<CsvPoint>& rows) {
  if (options.type == "auto") return smallest_file(rows, options.seal);
  auto type = parse_type(options.type);
  if (!type) {
    return fail(ErrorCode::kInvalid,
                "--type " + options.type +
                    ": not one of auto, f64, f32, i64, state, dec:0 to dec:" + std::to_string(kScaleMax));
  }
  std::vector<Point> points;
  uint32_t line = 0;
  bool fits = points_in(*type, rows, &points, &line);
  if (!fits && type->type == ValueType::kF32) {
    type->f32 = F32Text::kFloat;
    fits = points_in(*type, rows, &points, &line);
  }
  if (!fits) {
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const CsvPoint& r) { return r.line == line; });
    return fail(ErrorCode::kInvalid, options.in + ":" + std::to_string(line) + ": " +
                                         value_text(ValueType::kF64, 0, row->f64) + " is no value of type " +
                                         type_text(*type));
  }
  return packed_file(*type, options.seal, points);
}

Result<std::vector<uint8_t>> read_file(const std::string& file, Disk& disk) {
  auto text = disk.read_all(file, kArchiveBytesMax);
  if (!text) return tl::unexpected(text.error());
  return std::vector<uint8_t>(text->begin(), text->end());
}

struct ArchiveFacts {
  uint64_t points = 0;
  uint64_t blocks = 0;
  std::string type;
  std::map<std::string, uint64_t> encodings;
};

Result<ArchiveFacts> facts_of(const std::string& file, std::span<const uint8_t> bytes) {
  ArchiveFacts facts;
  ArchiveReader reader(file, bytes);
  ArchivedBlock block;
  for (;;) {
    const auto more = reader.next(&block);
    if (!more) return tl::unexpected(more.error());
    if (!*more) return facts;
    facts.points += block.info.count;
    ++facts.blocks;
    ++facts.encodings[encoding_name(block.bytes)];
    const std::string type = type_text({block.info.type, block.info.scale, F32Text::kFloat});
    facts.type = facts.blocks == 1 || facts.type == type ? type : "mixed";
  }
}

// `rounded`: values of which a float has other digits; told where the file has floats.
int show_facts(Output& output, const std::string& file, uint64_t rounded, Disk& disk) {
  const auto bytes = read_file(file, disk);
  if (!bytes) return report(output, bytes.error());
  const auto facts = facts_of(file, *bytes);
  if (!facts) return report(output, facts.error());
  const double bits = static_cast<double>(bytes->size()) * 8 / static_cast<double>(facts->points);
  const double bits_per_point = std::round(bits * 1000) / 1000;
  const bool is_rounded = rounded > 0 && (facts->type == "f64" || facts->type == "f32");
  if (output.json) {
    ordered_json json;
    json["points"] = facts->points;
    json["bytes"] = bytes->size();
    json["bits_per_point"] = bits_per_point;
    json["encodings"] = facts->encodings;
    json["blocks"] = facts->blocks;
    json["type"] = facts->type;
    if (is_rounded) json["rounded"] = rounded;
    output.out << json.dump() << "\n";
    return kExitDone;
  }
  Table table({"FACT", "VALUE"});
  table.add({"points", std::to_string(facts->points)});
  table.add({"bytes", std::to_string(bytes->size())});
  table.add({"bits_per_point", ordered_json(bits_per_point).dump()});
  table.add({"type", facts->type});
  if (is_rounded) table.add({"rounded", std::to_string(rounded)});
  table.add({"blocks", std::to_string(facts->blocks)});
  for (const auto& [name, blocks] : facts->encodings) table.add({"blocks in " + name, std::to_string(blocks)});
  table.print(output.out);
  return kExitDone;
}

}  // namespace

bool is_archive(std::string_view bytes) {
  return bytes.starts_with("LAMB");
}

int block_pack(Output& output, const PackOptions& options, Disk& disk) {
  if (options.in == options.out) {
    return report(output,
                  {ErrorCode::kInvalid, options.out + " is what would be packed: name another file for the blocks"});
  }
  const auto rows = read_points_csv(options.in, disk);
  if (!rows) return report(output, rows.error());
  const auto bytes = file_of(options, *rows);
  if (!bytes) return report(output, bytes.error());
  if (const Status written = disk.replace(options.out, std::as_bytes(std::span(*bytes))); !written) {
    return report(output, written.error());
  }
  return show_facts(output, options.out, rounded_of(*rows), disk);
}

int block_unpack(Output& output, const std::string& file, Disk& disk) {
  const auto bytes = read_file(file, disk);
  if (!bytes) return report(output, bytes.error());
  if (const auto facts = facts_of(file, *bytes); !facts) return report(output, facts.error());
  ArchiveReader reader(file, *bytes);
  ArchivedBlock block;
  ordered_json array = ordered_json::array();
  if (!output.json) output.out << "timestamp_ms,value\n";
  for (;;) {
    const auto more = reader.next(&block);
    if (!more) return report(output, more.error());
    if (!*more) break;
    for (const Point& point : block.points) {
      const std::string text = value_text(block.info.type, block.info.scale, point.bits, reader.f32_text());
      if (output.json) {
        array.push_back({{"timestamp_ms", point.time_ms}, {"value", text}});
      } else {
        output.out << point.time_ms << ',' << text << '\n';
      }
    }
  }
  if (output.json) output.out << array.dump() << "\n";
  return kExitDone;
}

int archive_stat(Output& output, const std::string& file, Disk& disk) {
  return show_facts(output, file, 0, disk);
}

}  // namespace lambda::cli
