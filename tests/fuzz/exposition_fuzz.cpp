// Pages of metrics: any bytes, in both formats. A page is read to its end or to an error that names a line; views stay
// inside the page; reading it again says the same. What is taken makes rows that a journal takes: refs ascending, each
// once, times rising; the bounds hold. The first byte chooses the format and the options, then come pages, ended by
// zero bytes.
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "agent/scrape/target_series.h"
#include "agent/spool/series_table.h"

namespace {

using namespace lambda;
using namespace lambda::agent;
using Item = ExpositionReader::Item;

void expect(bool condition) {
  if (!condition) std::abort();
}

bool inside(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

// How many items; -1: an error.
int64_t read_all(std::string_view page, ExpositionFormat format) {
  ExpositionReader reader(page, format);
  for (int64_t items = 0;; ++items) {
    const auto item = reader.next();
    if (!item) {
      expect(item.error().code == ErrorCode::kInvalid && item.error().text.starts_with("line "));
      return -1;
    }
    if (*item == Item::kEnd) {
      expect(reader.bytes_left() == 0);
      return items;
    }
    if (*item == Item::kSample) {
      const ExpositionSample& sample = reader.sample();
      expect(inside(sample.series, page) && inside(sample.name, page) && inside(sample.labels, page));
      expect(!sample.name.empty() && sample.series.starts_with(sample.name));
      for (const auto& [name, value] : exposition_labels(sample.labels)) expect(!name.empty() && !value.empty());
    } else {
      expect(!reader.family().empty() && inside(reader.family(), page) && inside(reader.words(), page));
      expect(exposition_help(reader.words(), 10).size() <= 10);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t flags = data[0];
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto format = (flags & 1) != 0 ? ExpositionFormat::kOpenMetrics : ExpositionFormat::kText;
  ScrapeOptions options;
  options.name = "app";
  options.labels = {"room=hall"};
  options.honor_labels = (flags & 2) != 0;
  options.honor_timestamps = (flags & 4) == 0;
  options.series_max = 20;
  options.sample_max = 20;
  SeriesTable table(30);
  TargetSeries target(options, *scrape_labels(options), {}, 7, [&](const SeriesSpec& spec, bool* fresh) {
    const uint32_t before = table.size();
    auto ref = table.find_or_add(spec);
    *fresh = table.size() > before;
    return ref;
  });
  std::map<uint32_t, int64_t> last;
  int64_t moment = 1'700'000'000'000;
  while (!rest.empty()) {
    const size_t end = rest.find('\0');
    const std::string page(rest.substr(0, end));  // its own allocation: a read past its end is seen
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    const int64_t items = read_all(page, format);
    expect(items == read_all(page, format));
    target.begin(moment += 10'000, 0);
    if (items < 0) {
      target.fail();
    } else {
      ExpositionReader reader(page, format);
      for (auto item = reader.next(); *item != Item::kEnd; item = reader.next()) {
        if (*item == Item::kSample) target.take(reader.sample(), Kind::kGauge, "");
      }
      target.end();
    }
    target.report("up", items < 0 ? 0 : 1);
    for (const Row& row : target.rows()) {
      expect(!row.points.empty());
      for (size_t i = 0; i < row.points.size(); ++i) {
        expect(i == 0 || row.points[i - 1].ref < row.points[i].ref);
        const auto [at, fresh] = last.try_emplace(row.points[i].ref, row.time_ms);
        expect(fresh || at->second < row.time_ms);
        at->second = row.time_ms;
      }
    }
    expect(last.size() <= 21);  // series_max, and up
    expect(target.texts() <= 60 + page.size());
  }
  return 0;
}
