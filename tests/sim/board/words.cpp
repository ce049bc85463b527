#include "tests/sim/board/words.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>

namespace lambda::sim {
namespace {

msghdr message_of(iovec (&parts)[2]) {
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  return message;
}

}  // namespace

bool send_word(int file, const Word& word, std::span<const uint8_t> bytes) {
  iovec parts[] = {{const_cast<Word*>(&word), sizeof word}, {const_cast<uint8_t*>(bytes.data()), bytes.size()}};
  const msghdr message = message_of(parts);
  return bytes.size() <= kWordBytesMax && sendmsg(file, &message, MSG_NOSIGNAL) >= 0;
}

bool receive_word(int file, Word* word, std::vector<uint8_t>* bytes) {
  static uint8_t buffer[kWordBytesMax];
  iovec parts[] = {{word, sizeof *word}, {buffer, sizeof buffer}};
  msghdr message = message_of(parts);
  ssize_t got = 0;
  do {
    got = recvmsg(file, &message, 0);
  } while (got < 0 && errno == EINTR);
  if (got < static_cast<ssize_t>(sizeof *word) || (message.msg_flags & MSG_TRUNC) != 0) return false;
  bytes->assign(buffer, buffer + got - sizeof *word);
  return true;
}

}  // namespace lambda::sim
