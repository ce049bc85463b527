#include "base/os/http_crowd.h"

#include <algorithm>

namespace lambda {

bool HttpCrowd::make_room() {
  return connections_ < connections_max_ || drop_oldest(false, nullptr);
}

void HttpCrowd::enter(Member& member) {
  member.here_ = true;
  connections_++;
}

void HttpCrowd::end(Member& member) {
  if (!member.here_) return;
  works(member);
  holds(member, 0);
  member.here_ = false;
  connections_--;
}

void HttpCrowd::waits(Member& member) {
  if (!member.here_) return;
  works(member);
  Line& line = member.served_ ? known_ : strangers_;
  member.at_ = line.insert(line.end(), &member);
  member.waiting_ = true;
}

void HttpCrowd::works(Member& member) {
  if (!member.waiting_) return;
  (member.served_ ? known_ : strangers_).erase(member.at_);
  member.waiting_ = false;
}

void HttpCrowd::served(Member& member) {
  const bool waiting = member.waiting_;
  works(member);  // it changes lines
  member.served_ = true;
  if (waiting) waits(member);
}

bool HttpCrowd::holds(Member& member, uint64_t bytes) {
  if (!member.here_) return true;
  held_bytes_ += bytes - member.bytes_;
  const bool more = bytes > member.bytes_;
  member.bytes_ = bytes;
  while (more && held_bytes_ > held_bytes_max_) {
    if (!drop_oldest(true, &member)) return false;
  }
  return true;
}

bool HttpCrowd::drop_oldest(bool with_bytes, const Member* but) {
  for (Line* line : {&strangers_, &known_}) {
    const auto found = std::find_if(line->begin(), line->end(), [&](const Member* member) {
      return member != but && (!with_bytes || member->bytes_ > 0);
    });
    if (found == line->end()) continue;
    Member& member = **found;
    end(member);
    dropped_++;
    member.leave();
    return true;
  }
  return false;
}

}  // namespace lambda
