// Datagrams of a real Linux machine.
//
// A thread of its own empties the sockets, by up to 64 packets a call, into one buffer; the loop takes the whole buffer
// when it comes round. So the loop may be busy for as long as the buffer and the kernel's queue last, which the
// kernel's queue alone (a few hundred small packets where nobody raised net.core.rmem_max) would not allow.
#pragma once

#include "base/env/clock.h"
#include "base/env/datagrams.h"

namespace lambda {

class OsDatagrams final : public Datagrams {
 public:
  // `loop` must outlive this and all receivers.
  explicit OsDatagrams(EventLoop& loop) : loop_(loop) {}
  Result<std::unique_ptr<DatagramReceiver>> receive(DatagramOptions options, Handler handler) override;

 private:
  EventLoop& loop_;
};

}  // namespace lambda
