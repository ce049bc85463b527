// Prints one collection of the host's sources as node_exporter would: for the comparison with it, and for curious eyes.
// Usage: lambda_print_sources [ROOT]; with --ticks N it collects N times and prints what that cost instead.
#include <bit>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>

#include "agent/source/host_sources.h"
#include "base/os/host_files.h"
#include "base/os/loop.h"
#include "query/metric_facts.h"

namespace lambda::agent {
namespace {

class PrintingSink final : public Sink {
 public:
  Result<SeriesRef> series(const SeriesSpec& spec) override {
    if (!quiet && families_.insert(spec.name).second) {
      const std::string_view help = query::own_metric_help(spec.name);
      std::printf("# HELP %s %.*s\n# TYPE %s %s\n", spec.name.c_str(), int(help.size()), help.data(), spec.name.c_str(),
                  spec.kind == Kind::kCounter ? "counter" : "gauge");
    }
    std::string head = spec.name;
    const std::map<std::string, std::string> sorted(spec.labels.begin(), spec.labels.end());
    for (const auto& [name, value] : sorted) {
      head += (head.size() == spec.name.size() ? "{" : ",") + name + "=\"" + value + "\"";
    }
    if (!sorted.empty()) head += "}";
    heads_.push_back(head);
    types_.push_back({spec.type, spec.scale});
    return static_cast<SeriesRef>(heads_.size() - 1);
  }
  void append(SeriesRef series, uint64_t bits) override {
    ++points;
    if (quiet) return;
    const Type& type = types_[series];
    double value = static_cast<double>(static_cast<int64_t>(bits));
    for (int i = 0; i < type.scale; ++i) value /= 10;
    if (type.type == ValueType::kF64) value = std::bit_cast<double>(bits);
    std::printf("%s %.17g\n", heads_[series].c_str(), value);
  }
  uint64_t points = 0;
  bool quiet = false;

 private:
  std::vector<std::string> heads_;
  std::set<std::string> families_;
  struct Type {
    ValueType type;
    uint8_t scale;
  };
  std::vector<Type> types_;
};

int run(int argc, char** argv) {
  HostSourceOptions options;
  uint64_t ticks = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--ticks") == 0 && i + 1 < argc) {
      ticks = std::strtoull(argv[++i], nullptr, 10);
    } else {
      options.root = argv[i];
    }
  }
  auto files = make_host_files();
  const OsClock clock;
  auto sources = make_host_sources(*files, clock, options, {});
  if (!sources) {
    std::fprintf(stderr, "%s\n", sources.error().text.c_str());
    return 1;
  }
  PrintingSink sink;
  sink.quiet = ticks > 0;
  bool good = true;
  for (uint64_t tick = 0; tick < (ticks > 0 ? ticks : 1); ++tick) {
    for (const auto& source : *sources) {
      const auto status = source->collect(sink, clock.utc_ms());
      if (!status)
        std::fprintf(stderr, "%.*s: %s\n", int(source->name().size()), source->name().data(),
                     status.error().text.c_str());
      good = good && status.has_value();
    }
  }
  for (const auto& source : *sources) {
    if (ticks == 0) break;
    std::printf("%-10.*s %8.1f us, %" PRIu64 " points a collection\n", int(source->name().size()),
                source->name().data(), double(source->cost().microseconds) / double(ticks),
                source->cost().points / ticks);
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace lambda::agent

int main(int argc, char** argv) {
  return lambda::agent::run(argc, argv);
}
