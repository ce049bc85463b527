// Dates of moments, UTC: hour(), day_of_week() and their kin.
#pragma once

#include <string_view>

namespace lambda::query {

// `seconds` since 1970, a fraction falls away; NaN when there is no such date (years -32767 to 32767).
using CalendarFunction = double (*)(double seconds);
CalendarFunction find_calendar_function(std::string_view name);

}  // namespace lambda::query
