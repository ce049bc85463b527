// Enough of folly for Beringei's stream coder, which is measured as it is.
#pragma once
#include <cstring>
#include <string>
namespace folly {
struct fbstring : std::string {
  using std::string::string;
  std::string toStdString() const { return *this; }
};
}  // namespace folly
