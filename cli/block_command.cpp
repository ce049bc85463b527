#include "cli/block_command.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>
#include <vector>

#include "base/crypto/crypto.h"
#include "cli/block_archive.h"
#include "cli/pack_command.h"
#include "cli/points_csv.h"
#include "lambda/block.h"
#include "lambda/stored_block.h"
#include "query/number.h"

namespace lambda::cli {
namespace {

using nlohmann::ordered_json;

constexpr uint64_t kFileBytesMax = 1u << 20;

struct Block {
  std::vector<uint8_t> bytes;
  BlockInfo info;
  std::vector<Point> points;
};

std::string text_of(const BlockInfo& info, uint64_t bits) {
  return value_text(info.type, info.scale, bits);
}

double value_number(const BlockInfo& info, uint64_t bits) {
  switch (info.type) {
    case ValueType::kF64:
      return std::bit_cast<double>(bits);
    case ValueType::kF32:
      return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    case ValueType::kDec:
      return static_cast<double>(static_cast<int64_t>(bits)) / std::pow(10.0, info.scale);
    default:
      return static_cast<double>(static_cast<int64_t>(bits));
  }
}

const char* type_word(ValueType type) {
  switch (type) {
    case ValueType::kF64:
      return "f64";
    case ValueType::kF32:
      return "f32";
    case ValueType::kI64:
      return "i64";
    case ValueType::kDec:
      return "dec";
    case ValueType::kState:
      return "state";
  }
  return "?";
}

std::string hex64(uint64_t value) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4) {
    out[static_cast<size_t>(i)] = kHex[value & 15];
  }
  return out;
}

Result<std::vector<uint8_t>> read_bytes(const BlockOptions& options, Disk& disk) {
  auto text = disk.read_all(options.file, kFileBytesMax);
  if (!text) {
    return tl::unexpected(text.error());
  }
  if (!options.hex) {
    return std::vector<uint8_t>(text->begin(), text->end());
  }
  std::erase_if(*text, [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; });
  auto bytes = unhex(*text);
  if (!bytes) {
    return fail(ErrorCode::kInvalid, options.file + ": " + bytes.error().text);
  }
  return bytes;
}

Result<Block> block_of(const BlockOptions& options, Disk& disk) {
  auto bytes = read_bytes(options, disk);
  if (!bytes) {
    return tl::unexpected(bytes.error());
  }
  Block block;
  block.bytes = std::move(*bytes);
  block.points.resize(kBlockPointsMax);
  const BlockStatus status = lambda::read_block(block.bytes, 0, &block.info, block.points, kLongSpanMsMax);
  if (!status.ok() && is_archive({reinterpret_cast<const char*>(block.bytes.data()), block.bytes.size()})) {
    return fail(ErrorCode::kInvalid, options.file + ": a file of blocks, not one block: lambda block unpack prints it");
  }
  if (!status.ok()) {
    return fail(ErrorCode::kInvalid, options.file + ": not a good block: " + block_error_name(status.error) +
                                         ", noticed at byte " + std::to_string(status.offset) + " of " +
                                         std::to_string(block.bytes.size()));
  }
  block.points.resize(block.info.count);
  return block;
}

// Of integers the exact sum, as long as 64 bits hold it.
std::string sum_text(const Block& block) {
  double sum = 0;
  int64_t exact = 0;
  bool fits = block.info.type != ValueType::kF64 && block.info.type != ValueType::kF32;
  for (const Point& point : block.points) {
    const double value = value_number(block.info, point.bits);
    sum += std::isnan(value) ? 0 : value;
    fits = fits && !__builtin_add_overflow(exact, static_cast<int64_t>(point.bits), &exact);
  }
  return fits ? text_of(block.info, static_cast<uint64_t>(exact)) : query::format_number(sum);
}

std::string content_root(const std::vector<Point>& points) {
  ContentRoot root(host_hash());
  for (const Point& point : points) {
    root.add(point);
  }
  uint8_t digest[kDigestBytes];
  root.finish(digest);
  return hex(digest);
}

ordered_json facts_of(const Block& block) {
  const BlockInfo& info = block.info;
  const Point* lowest = nullptr;
  const Point* highest = nullptr;
  uint64_t nan_count = 0;
  for (const Point& point : block.points) {
    const double value = value_number(info, point.bits);
    if (std::isnan(value)) {
      ++nan_count;
      continue;
    }
    if (lowest == nullptr || value < value_number(info, lowest->bits)) lowest = &point;
    if (highest == nullptr || value > value_number(info, highest->bits)) highest = &point;
  }
  ordered_json facts;
  facts["version"] = 1;  // another one would have been refused
  facts["codec"] = encoding_name(block.bytes);
  facts["type"] = type_word(info.type);
  if (info.type == ValueType::kDec) {
    facts["scale"] = info.scale;
  }
  facts["boot"] = info.has_boot ? ordered_json(hex64(info.boot)) : ordered_json();
  facts["clock"] = info.clock;
  facts["ref"] = info.ref;
  facts["first_ordinal"] = info.first_ordinal;
  facts["count"] = info.count;
  facts["t_min"] = info.t_min;
  facts["t_max"] = info.t_max;
  facts["unordered"] = info.unordered;
  facts["points"] = info.count;
  facts["bytes"] = block.bytes.size();
  facts["bits_per_point"] = std::round(static_cast<double>(block.bytes.size()) * 800 / info.count) / 100;
  facts["encodings"] = {{encoding_name(block.bytes), 1}};
  facts["first"] = text_of(info, block.points.front().bits);
  facts["last"] = text_of(info, block.points.back().bits);
  facts["min"] = lowest == nullptr ? ordered_json() : ordered_json(text_of(info, lowest->bits));
  facts["max"] = highest == nullptr ? ordered_json() : ordered_json(text_of(info, highest->bits));
  facts["sum"] = sum_text(block);
  facts["nan_count"] = nan_count;
  facts["content_root"] = content_root(block.points);
  return facts;
}

}  // namespace

int block_cat(Output& output, const BlockOptions& options, Disk& disk) {
  const auto block = block_of(options, disk);
  if (!block) {
    return report(output, block.error());
  }
  if (output.json) {
    ordered_json points = ordered_json::array();
    for (size_t i = 0; i < block->points.size(); ++i) {
      const Point& point = block->points[i];
      // The bits too: a decimal does not tell one NaN from another.
      points.push_back({{"ordinal", block->info.first_ordinal + i},
                        {"timestamp_ms", point.time_ms},
                        {"value", text_of(block->info, point.bits)},
                        {"bits", hex64(point.bits)}});
    }
    output.out << points.dump() << "\n";
    return kExitDone;
  }
  output.out << (options.ordinals ? "ordinal,timestamp_ms,value\n" : "timestamp_ms,value\n");
  for (size_t i = 0; i < block->points.size(); ++i) {
    if (options.ordinals) {
      output.out << block->info.first_ordinal + i << ',';
    }
    output.out << block->points[i].time_ms << ',' << text_of(block->info, block->points[i].bits) << '\n';
  }
  return kExitDone;
}

int block_stat(Output& output, const BlockOptions& options, Disk& disk) {
  if (!options.hex) {
    const auto text = disk.read_all(options.file, kArchiveBytesMax);
    if (!text) return report(output, text.error());
    if (is_archive(*text)) return archive_stat(output, options.file, disk);
  }
  const auto block = block_of(options, disk);
  if (!block) {
    return report(output, block.error());
  }
  const ordered_json facts = facts_of(*block);
  if (output.json) {
    output.out << facts.dump() << "\n";
    return kExitDone;
  }
  Table table({"FACT", "VALUE"});
  for (const auto& [name, value] : facts.items()) {
    std::string text = value.is_string() ? value.get<std::string>() : value.is_null() ? "-" : value.dump();
    if (name == "t_min" || name == "t_max") {
      text += "  " + query::format_time(value.get<int64_t>());
    }
    table.add({name, std::move(text)});
  }
  table.print(output.out);
  return kExitDone;
}

}  // namespace lambda::cli
