#include "query/calendar.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>

namespace lambda::query {
namespace {

using std::chrono::days;
using std::chrono::sys_days;
using std::chrono::year_month_day;

constexpr double kSecondsMax = 9.6e11;  // about the year 32390

struct Moment {
  sys_days day;
  int seconds;  // of the day
  year_month_day date() const { return year_month_day(day); }
};

// Calls `part` with the moment.
template <class Part>
double of(double seconds, Part part) {
  if (!(std::fabs(seconds) <= kSecondsMax)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const std::chrono::sys_seconds time{std::chrono::seconds(static_cast<int64_t>(seconds))};
  const auto day = std::chrono::floor<days>(time);
  return static_cast<double>(part(Moment{day, static_cast<int>((time - day).count())}));
}

struct Entry {
  std::string_view name;
  CalendarFunction compute;
};
constexpr std::array kEntries = std::to_array<Entry>({
    {"day_of_month", [](double s) { return of(s, [](Moment m) { return static_cast<unsigned>(m.date().day()); }); }},
    {"day_of_week", [](double s) { return of(s, [](Moment m) { return std::chrono::weekday(m.day).c_encoding(); }); }},
    {"day_of_year",
     [](double s) {
       return of(s,
                 [](Moment m) { return (m.day - sys_days(m.date().year() / std::chrono::January / 1)).count() + 1; });
     }},
    {"days_in_month",
     [](double s) {
       return of(s, [](Moment m) {
         return static_cast<unsigned>((m.date().year() / m.date().month() / std::chrono::last).day());
       });
     }},
    {"hour", [](double s) { return of(s, [](Moment m) { return m.seconds / 3600; }); }},
    {"minute", [](double s) { return of(s, [](Moment m) { return m.seconds / 60 % 60; }); }},
    {"month", [](double s) { return of(s, [](Moment m) { return static_cast<unsigned>(m.date().month()); }); }},
    {"year", [](double s) { return of(s, [](Moment m) { return static_cast<int>(m.date().year()); }); }},
});

}  // namespace

CalendarFunction find_calendar_function(std::string_view name) {
  const auto at = std::ranges::find(kEntries, name, &Entry::name);
  return at == kEntries.end() ? nullptr : at->compute;
}

}  // namespace lambda::query
