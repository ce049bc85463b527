// One table drives a program's configuration: parsing, checks, --help and the reference. Files are TOML.
//
//   struct Config { std::string site; std::vector<std::string> gateways; int64_t seal_age_ms = 60'000; };
//   Config config;
//   ConfigTable table("lambda-agent");
//   table.text("site", config.site, "The site's name.", identifier()).required();
//   table.text_list("uplink.gateways", config.gateways, 16, "Brokers, tried in order.", mqtt_url());
//   table.integer("seal_age_ms", config.seal_age_ms, 1'000, 600'000, "A block is sent when it is as old as this.");
//   Status status = table.load(disk, environment, path);
//
// Defaults are what the fields hold when they are added. An unknown key is an error, with the nearest known one. All
// problems of a file are reported together, one a line:
//   agent.toml:14: uplink.gateways[1]: "mqtts://fog2" has no port; write mqtts://fog2:8883
//
// In every string ${NAME} is replaced by the environment's variable; $${ stands for ${. A secret may be given as
// "file:PATH": the file's content without the newline at its end.
//
// After an error the fields hold anything: parse into a fresh struct and swap. Any one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/env/disk.h"
#include "base/result.h"

namespace lambda {

// The environment's variables; the real one is os_environment() in base/os/environment.h.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// Says what is wrong with a value, in words that follow "file:line: key: ".
using TextCheck = std::function<Status(const std::string& value)>;
TextCheck not_empty();
TextCheck identifier();  // [a-z0-9-]{1,64}
TextCheck one_of(std::vector<std::string> words);
TextCheck mqtt_url();        // mqtt://host:port or mqtts://host:port
TextCheck http_url();        // http:// or https://, perhaps with a path and a query
TextCheck listen_address();  // an IPv4 or IPv6 address

class ConfigTable {
 public:
  explicit ConfigTable(std::string program);
  ~ConfigTable();
  ConfigTable(const ConfigTable&) = delete;
  ConfigTable& operator=(const ConfigTable&) = delete;

  // Names are paths of keys: "uplink.gateways". Fields must outlive the table. Units stand in the names: _ms, _bytes.
  ConfigTable& text(std::string name, std::string& field, std::string help, TextCheck check = {});
  // As text; may be "file:PATH", and is never shown.
  ConfigTable& secret(std::string name, std::string& field, std::string help, TextCheck check = {});
  ConfigTable& flag(std::string name, bool& field, std::string help);
  ConfigTable& number(std::string name, double& field, double min, double max, std::string help);
  ConfigTable& text_list(std::string name, std::vector<std::string>& field, size_t count_max, std::string help,
                         TextCheck check = {});
  // Any integer type; `min` and `max` are allowed values.
  template <class Integer>
  ConfigTable& integer(std::string name, Integer& field, Integer min, Integer max, std::string help) {
    constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    const auto clamp = [](Integer value) {
      if constexpr (std::is_unsigned_v<Integer>) {
        return static_cast<int64_t>(static_cast<uint64_t>(value) < kMost ? static_cast<uint64_t>(value) : kMost);
      } else {
        return static_cast<int64_t>(value);
      }
    };
    return add_integer(std::move(name), clamp(field), clamp(min), clamp(max), std::move(help),
                       [&field](int64_t value) { field = static_cast<Integer>(value); });
  }
  template <class Integer, class Min, class Max>
  ConfigTable& integer(std::string name, Integer& field, Min min, Max max, std::string help) {
    return integer<Integer>(std::move(name), field, static_cast<Integer>(min), static_cast<Integer>(max),
                            std::move(help));
  }
  // An array of tables, [[name]]: `describe` adds the fields of one row to a table of its own.
  template <class Row>
  ConfigTable& tables(std::string name, std::vector<Row>& rows, size_t count_max, std::string help,
                      std::function<void(ConfigTable& row_table, Row& row)> describe) {
    return add_tables(
        std::move(name), count_max, std::move(help), [&rows] { rows.clear(); },
        [&rows, describe](ConfigTable& row_table) { describe(row_table, rows.emplace_back()); },
        [describe](ConfigTable& row_table, const std::function<void()>& use) {
          Row sample{};
          describe(row_table, sample);
          use();
        });
  }

  // The key added last must be in the file.
  ConfigTable& required();
  // A rule over several fields, asked when everything else is right; reported at `name`.
  ConfigTable& rule(std::string name, std::function<Status()> check);

  // kInvalid with all problems; kNotFound, kIo, kFull (over 1 MB) when the file cannot be read.
  Status load(Disk& disk, const Environment& environment, const std::string& path);
  // The same for text in memory; `file` is for the messages. `disk` is for secrets.
  Status parse(std::string_view text, const std::string& file, Disk& disk, const Environment& environment);

  // For --help: a line for each key, with default, range and meaning.
  std::string help() const;
  // The reference, in Markdown.
  std::string reference() const;

 private:
  struct Entry;
  struct Parse;
  ConfigTable& add(Entry entry);
  ConfigTable& add_integer(std::string name, int64_t now, int64_t min, int64_t max, std::string help,
                           std::function<void(int64_t)> set);
  ConfigTable& add_tables(std::string name, size_t count_max, std::string help, std::function<void()> clear,
                          std::function<void(ConfigTable&)> row,
                          std::function<void(ConfigTable&, const std::function<void()>&)> sample);
  void fill(Parse& parse, const void* toml_table, const std::string& prefix);
  void unknown_keys(Parse& parse, const void* toml_table, const std::string& path, const std::string& prefix) const;

  std::string program_;
  std::vector<Entry> entries_;
  std::vector<std::pair<std::string, std::function<Status()>>> rules_;
};

}  // namespace lambda
