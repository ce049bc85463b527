// A line of the device's log: "event name=value name=value". Formats without a C library; what does not fit is cut off.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "boards/firmware/board.h"

namespace lambda::boards {

class Line {
 public:
  Line(const Board& board, const char* event);
  // Writes the line.
  ~Line() { board_.log(board_.context, text_, size_); }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  Line& field(const char* name, const char* text);
  Line& field(const char* name, uint64_t number);
  Line& hex(const char* name, uint64_t number);  // 16 digits

 private:
  static constexpr size_t kLineBytesMax = 240;

  void append(const char* text);
  void append_number(uint64_t number);

  const Board& board_;
  char text_[kLineBytesMax];
  size_t size_ = 0;
};

}  // namespace lambda::boards
