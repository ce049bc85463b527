// What our own code reads of a request, once the library has taken it apart: path, parameters, forms, credentials. Pure
// and hostile-proof: any bytes give an answer, and what is kept is never longer than what came. Any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/env/network.h"

namespace lambda {

inline constexpr size_t kHttpParametersMax = 1'000;  // of one request

// Puts path and parameters of a request's target into `request`. What is wrong with it, as a sentence, or nothing.
std::string read_http_target(std::string_view target, HttpRequest& request);

// The parameters of a body that is said to be a form. Many clients call any body a form: one that is none, or has more
// parameters than are taken, is only a body, and nothing is added.
void read_http_form(std::string_view content_type, std::string_view body, HttpRequest& request);

// Whether an Authorization header carries this token. How long it takes says nothing about the token.
bool has_bearer_token(std::string_view authorization, std::string_view token);

// Whether a browser on this machine may be what asks for a page of somewhere else: `host` and `origin` are the headers,
// empty when they are missing. A name with a dot may be of anybody's domain, pointed at this machine; an address or a
// name without one is not. For listeners that ask for no credentials, which loopback alone protects.
bool asks_from_afar(std::string_view host, std::string_view origin);

}  // namespace lambda
