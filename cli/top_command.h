// `lambda top`: a machine as its agent sees it, or a site as a gateway does, each second anew.
//
// Each frame is two questions in PromQL (one instant, one of the last ten minutes; all lines of the screen in each) and
// one for the state of the program itself. A server that is away is said to be, what is known stays on the screen, and
// it is asked again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cli/output.h"
#include "cli/server.h"
#include "cli/top_view.h"

namespace lambda::cli {

struct TopOptions {
  Server server;
  bool site = false;  // the server is a gateway
  bool once = false;  // one frame, without escape codes
};

// What `top` may know of the world around it.
struct TopWorld {
  std::function<int64_t()> now_ms;
  std::function<TopStyle()> style;  // of the terminal, asked before each frame
  bool terminal = false;            // frames take each other's place
  std::function<bool()> pause;      // waits a second; false: enough
};

// The exit status of README.md: of `once`, whether the frame could be had; else kExitDone when `pause` ends it.
int top(Output& output, const TopOptions& options, const TopWorld& world, const Ask& ask);

}  // namespace lambda::cli
