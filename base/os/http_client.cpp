#include "base/os/http_client.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace lambda {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;
using tcp = net::ip::tcp;
using boost::system::error_code;

constexpr uint32_t kHeaderBytesMax = 64u << 10;

std::string encode_form(const std::multimap<std::string, std::string>& parameters) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  static constexpr std::string_view kPlain = "-._~";
  const auto encode = [](const std::string& text, std::string& out) {
    for (const char c : text) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      if (letter || kPlain.find(c) != std::string_view::npos) {
        out += c;
      } else {
        out += '%';
        out += kHex[static_cast<uint8_t>(c) >> 4];
        out += kHex[static_cast<uint8_t>(c) & 15];
      }
    }
  };
  std::string out;
  for (const auto& [name, value] : parameters) {
    out += out.empty() ? "" : "&";
    encode(name, out);
    out += '=';
    encode(value, out);
  }
  return out;
}

http::request<http::string_body> make_request(const HttpCall& call, const HttpUrl& url) {
  http::request<http::string_body> request(call.post ? http::verb::post : http::verb::get, url.path, 11);
  const std::string form = encode_form(call.parameters);
  if (call.post) {
    request.set(http::field::content_type, "application/x-www-form-urlencoded");
    request.body() = form;
  } else if (!form.empty()) {
    request.target(url.path + "?" + form);
  }
  request.set(http::field::host, host_and_port(url));
  request.set(http::field::user_agent, "lambda");
  request.set(http::field::accept, "application/json");
  if (!call.token.empty()) {
    request.set(http::field::authorization, "Bearer " + call.token);
  }
  request.keep_alive(false);
  request.prepare_payload();
  return request;
}

// The steps of one call; each starts the next. The io_context runs on the caller's stack.
template <class Stream>
class Conversation {
 public:
  static constexpr bool kTls = !std::is_same_v<Stream, beast::tcp_stream>;

  Conversation(net::io_context& io, Stream& stream, const HttpCall& call, const HttpUrl& url)
      : resolver_(io), stream_(stream), call_(call), url_(url), request_(make_request(call, url)) {
    parser_.body_limit(call.body_bytes_max);
    parser_.header_limit(kHeaderBytesMax);
  }

  void start() {
    // The name may take as long as the system likes: the caller's run_for() bounds it.
    resolver_.async_resolve(url_.host, url_.port, [this](error_code error, const tcp::resolver::results_type& found) {
      if (error) {
        return failed(ErrorCode::kUnavailable, "cannot find the host", error);
      }
      auto& lowest = beast::get_lowest_layer(stream_);
      lowest.expires_after(std::chrono::milliseconds(call_.timeout_ms));
      lowest.async_connect(found, [this](error_code connect_error, const tcp::endpoint&) {
        if (connect_error) {
          return failed(ErrorCode::kUnavailable, "cannot connect", connect_error);
        }
        shake_hands();
      });
    });
  }

  std::optional<Result<HttpResponse>> outcome;

 private:
  void shake_hands() {
    if constexpr (kTls) {
      stream_.async_handshake(net::ssl::stream_base::client, [this](error_code error) {
        if (error) {
          return failed(ErrorCode::kDenied, "TLS did not agree", error);
        }
        ask();
      });
    } else {
      ask();
    }
  }

  void ask() {
    http::async_write(stream_, request_, [this](error_code error, size_t) {
      if (error) {
        return failed(ErrorCode::kUnavailable, "cannot send the question", error);
      }
      http::async_read(stream_, buffer_, parser_, [this](error_code read_error, size_t) {
        if (read_error == http::error::body_limit) {
          outcome = fail(ErrorCode::kFull,
                         call_.url + ": the answer is longer than " + std::to_string(call_.body_bytes_max) + " bytes");
        } else if (read_error) {
          failed(ErrorCode::kUnavailable, "no whole answer came", read_error);
        } else {
          auto& message = parser_.get();
          outcome = HttpResponse{static_cast<int>(message.result_int()),
                                 std::string(message[http::field::content_type]), std::move(message.body())};
        }
      });
    });
  }

  // With TLS 1.3 a server refuses our certificate, or asks for one, only after its side of the handshake is done.
  void failed(ErrorCode code, const std::string& what, error_code error) {
    if (error.category() == net::error::get_ssl_category()) {
      outcome = fail(ErrorCode::kDenied, call_.url + ": TLS did not agree: " + error.message());
      return;
    }
    outcome = fail(code, call_.url + ": " + what + ": " + error.message());
  }

  tcp::resolver resolver_;
  Stream& stream_;
  const HttpCall& call_;
  const HttpUrl& url_;
  http::request<http::string_body> request_;
  http::response_parser<http::string_body> parser_;
  beast::flat_buffer buffer_;
};

template <class Stream>
Result<HttpResponse> converse(net::io_context& io, Stream& stream, const HttpCall& call, const HttpUrl& url) {
  Conversation<Stream> conversation(io, stream, call, url);
  conversation.start();
  io.run_for(std::chrono::milliseconds(call.timeout_ms));
  if (!conversation.outcome) {
    return fail(ErrorCode::kUnavailable, call.url + ": no answer within " + std::to_string(call.timeout_ms) + " ms");
  }
  return std::move(*conversation.outcome);
}

// Names the file that cannot be used.
Status set_up_tls(const HttpCall& call, net::ssl::context& tls) {
  error_code error;
  tls.set_options(net::ssl::context::no_tlsv1 | net::ssl::context::no_tlsv1_1, error);
  tls.set_verify_mode(net::ssl::verify_peer, error);
  std::string file = call.ca_file;
  if (file.empty()) {
    tls.set_default_verify_paths(error);
  } else {
    tls.load_verify_file(file, error);
  }
  if (!error && !call.certificate_file.empty()) {
    file = call.certificate_file;
    tls.use_certificate_chain_file(file, error);
    if (!error) {
      file = call.key_file;
      tls.use_private_key_file(file, net::ssl::context::pem, error);
    }
  }
  if (error) {
    return fail(ErrorCode::kInvalid, file + ": " + error.message());
  }
  return {};
}

}  // namespace

Result<HttpResponse> call_http(const HttpCall& call) {
  const auto url = parse_http_url(call.url);
  if (!url) {
    return tl::unexpected(url.error());
  }
  net::io_context io(1);
  if (!url->tls) {
    beast::tcp_stream stream(io);
    return converse(io, stream, call, *url);
  }
  net::ssl::context tls(net::ssl::context::tls_client);
  if (auto ready = set_up_tls(call, tls); !ready) {
    return tl::unexpected(ready.error());
  }
  beast::ssl_stream<beast::tcp_stream> stream(io, tls);
  stream.set_verify_callback(net::ssl::host_name_verification(url->host));
  error_code no_address;
  net::ip::make_address(url->host, no_address);
  if (no_address) {  // RFC 6066: the name that is asked for is never an address
    SSL_set_tlsext_host_name(stream.native_handle(), url->host.c_str());
  }
  return converse(io, stream, call, *url);
}

}  // namespace lambda
