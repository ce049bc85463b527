#include "gateway/questions/device_queries.h"

#include <utility>
#include <vector>

#include "query/duration.h"
#include "query/http_answer.h"
#include "query/parser.h"

namespace lambda::gateway {
namespace {

HttpResponse response_for(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotFound:
      return query::error_response(404, "not_found", error.text);
    case ErrorCode::kUnavailable:
      return query::error_response(503, "unavailable", error.text);
    default:
      return query::error_response(422, "execution", error.text);
  }
}

bool is_one_selector(const std::string& expression) {
  const auto parsed = query::parse_expression(expression);
  return parsed && std::holds_alternative<query::VectorSelector>((*parsed)->node);
}

}  // namespace

// One of requests_max, until whoever answers has let go of it.
struct DeviceQueries::Place {
  explicit Place(std::shared_ptr<Requests> requests) : of(std::move(requests)) { ++of->all; }
  ~Place() { --of->all; }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  const std::shared_ptr<Requests> of;
};

struct DeviceQueries::Job {
  HttpRequest request;
  std::string device;
  HttpServer::Respond respond;
  std::vector<Wanted> wanted;
  std::vector<DeviceAnswer> answers;
};

DeviceQueries::DeviceQueries(Env& env, std::string site, Questions& questions, Standing standing,
                             query::HttpApiOptions options, query::HttpApi::Executor executor)
    : env_(env),
      site_(std::move(site)),
      questions_(questions),
      standing_(std::move(standing)),
      options_(std::move(options)),
      executor_(std::move(executor)) {}

DeviceQueries::~DeviceQueries() {
  *alive_ = false;
}

bool DeviceQueries::serves(const HttpRequest& request) {
  return (request.path == "/api/v1/query" || request.path == "/api/v1/query_range") &&
         request.parameters.contains("device");
}

void DeviceQueries::handle(const HttpRequest& request, HttpServer::Respond respond) {
  if (request.parameters.count("device") > 1) {
    return respond(query::bad_parameter("device", "one at a time"));
  }
  const std::string device = request.parameters.find("device")->second;
  if (Status standing = standing_(device); !standing) return respond(response_for(standing.error()));
  const QuestionsOptions& limits = questions_.options();
  const auto now = of_device_.find(device);
  const bool crowded = now != of_device_.end() && now->second >= limits.device_requests_max;
  if (requests_->all >= limits.requests_max || crowded) {
    ++refused_;
    return respond(query::error_response(503, "unavailable", "devices are asked enough now: try again later"));
  }
  ++of_device_[device];
  auto job = std::make_shared<Job>();
  job->request = request;
  job->device = device;
  job->respond = [respond = std::move(respond), place = std::make_shared<Place>(requests_)](HttpResponse response) {
    respond(std::move(response));
  };
  // Both looks at the expression are at the same moment.
  if (request.path == "/api/v1/query" && !request.parameters.contains("time")) {
    const int64_t now_ms = env_.clock.utc_ms();
    std::string ms = std::to_string(now_ms % 1000);
    job->request.parameters.emplace("time", std::to_string(now_ms / 1000) + "." + std::string(3 - ms.size(), '0') + ms);
  }
  rehearse(job);
}

void DeviceQueries::leave(const std::string& device) {
  if (--of_device_.at(device) == 0) of_device_.erase(device);
}

// What the expression wants of the device. An expression that wants nothing, or is wrong, is answered here.
void DeviceQueries::rehearse(const std::shared_ptr<Job>& job) {
  Rehearsal rehearsal(job->device, site_);
  HttpResponse response;
  query::HttpApi(rehearsal, env_.clock, options_).handle(job->request, [&](HttpResponse made) {
    response = std::move(made);
  });
  const auto text = job->request.parameters.find("query");
  const bool newest =
      job->request.path == "/api/v1/query" && text != job->request.parameters.end() && is_one_selector(text->second);
  job->wanted = rehearsal.wanted(newest);
  if (job->wanted.empty() || job->wanted.size() > kQuestionsMax) {
    leave(job->device);
    if (job->wanted.empty()) return job->respond(std::move(response));
    return job->respond(query::error_response(
        422, "execution", "more than " + std::to_string(kQuestionsMax) + " selectors: a device is asked for each"));
  }
  ask(job);
}

// The next of what is wanted, or the answer when all is there.
void DeviceQueries::ask(const std::shared_ptr<Job>& job) {
  while (job->answers.size() < job->wanted.size() && job->wanted[job->answers.size()].other_device) {
    job->answers.emplace_back();
  }
  if (job->answers.size() == job->wanted.size()) return evaluate(job);
  questions_.ask(job->device, job->wanted[job->answers.size()].question,
                 [this, job, alive = alive_](Result<DeviceAnswer> answer) {
                   if (*alive) answered(job, std::move(answer));
                 });
}

void DeviceQueries::answered(const std::shared_ptr<Job>& job, Result<DeviceAnswer> answer) {
  if (!answer) {
    leave(job->device);
    return job->respond(response_for(answer.error()));
  }
  Wanted& wanted = job->wanted[job->answers.size()];
  if (wanted.question.what == Asked::kSummary && !summed_up(wanted, *answer, job->device, site_)) {
    wanted.question.what = Asked::kRange;
    return ask(job);
  }
  job->answers.push_back(std::move(*answer));
  ask(job);
}

void DeviceQueries::evaluate(const std::shared_ptr<Job>& job) {
  leave(job->device);
  AnswerSource source(job->device, site_, std::move(job->wanted), std::move(job->answers));
  query::HttpApi(source, env_.clock, options_, executor_).handle(job->request, std::move(job->respond));
}

}  // namespace lambda::gateway
