// A program that measures itself with the npm package prom-client, for tests/e2e/scrape.py. Argument: its folder.
// Prints the port it listens at; "/openmetrics" is the same page in the other format.
'use strict';
const http = require('http');
const client = require(process.argv[2]);

function measured(type) {
  const registry = new client.Registry();
  registry.setContentType(type);
  const orders = new client.Counter({name: 'shop_orders_total', help: 'Orders, by region.', labelNames: ['region'],
                                     registers: [registry]});
  orders.inc({region: 'east'}, 5);
  orders.inc({region: 'we"st\\\n'}, 7);
  new client.Gauge({name: 'shop_queue_depth', help: 'Waiting.', registers: [registry]}).set(-2.5);
  const seconds = new client.Histogram({name: 'shop_request_seconds', help: 'Time of a request.', buckets: [0.1, 1, 10],
                                        registers: [registry]});
  [0.05, 0.5, 0.5, 5, 50].forEach((value) => seconds.observe(value));
  const size = new client.Summary({name: 'shop_answer_bytes', help: 'Size of an answer.', percentiles: [0.5],
                                   registers: [registry]});
  [10, 20, 30].forEach((value) => size.observe(value));
  client.collectDefaultMetrics({register: registry});
  return registry;
}

const plain = measured(client.Registry.PROMETHEUS_CONTENT_TYPE);
const open = measured(client.Registry.OPENMETRICS_CONTENT_TYPE);
http.createServer(async (request, response) => {
  const registry = request.url === '/openmetrics' ? open : plain;
  response.setHeader('Content-Type', registry.contentType);
  response.end(await registry.metrics());
}).listen(0, '127.0.0.1', function() { console.log(this.address().port); });
