// What a point costs in each codec, beside others' coders.
#pragma once

#include <string>

namespace lambda::bench {

// Prints to standard output. A codec that does not give back its input ends the program.
void print_codec_table(const std::string& source_folder);

}  // namespace lambda::bench
