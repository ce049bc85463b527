#include "boards/firmware/line.h"

namespace lambda::boards {

Line::Line(const Board& board, const char* event) : board_(board) {
  append_number(static_cast<uint64_t>(board.mono_ms(board.context)));
  append(" ");
  append(event);
}

Line& Line::field(const char* name, const char* text) {
  append(" ");
  append(name);
  append("=");
  append(text);
  return *this;
}

Line& Line::field(const char* name, uint64_t number) {
  field(name, "");
  append_number(number);
  return *this;
}

Line& Line::hex(const char* name, uint64_t number) {
  char digits[17];
  for (size_t i = 0; i < 16; ++i) digits[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
  digits[16] = '\0';
  return field(name, digits);
}

void Line::append(const char* text) {
  while (*text != '\0' && size_ < kLineBytesMax) text_[size_++] = *text++;
}

void Line::append_number(uint64_t number) {
  char digits[21];
  size_t at = sizeof digits;
  digits[--at] = '\0';
  do {
    digits[--at] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  append(digits + at);
}

}  // namespace lambda::boards
