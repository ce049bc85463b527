// An application with metrics of what tests/e2e/doors.py expects, by the npm package prom-client. Arguments: its folder,
// the port to be scraped at.
'use strict';
const http = require('http');
const [folder, port] = process.argv.slice(2);
const prom = require(folder);

const orders = new prom.Counter({name: 'orders_total', help: 'Orders.', labelNames: ['region']});
orders.inc({region: 'east'}, 7);
orders.inc({region: 'west'}, 2.5);
new prom.Gauge({name: 'queue_depth', help: 'Queue.'}).set(-3);
const seconds = new prom.Histogram({name: 'request_seconds', help: 'Times.', buckets: [0.1, 0.5, 1]});
const bytes = new prom.Summary({name: 'payload_bytes', help: 'Sizes.', percentiles: [0.5, 0.9]});
for (let i = 1; i <= 100; ++i) {
  seconds.observe(i / 100);
  bytes.observe(i);
}
const server = http.createServer(async (request, response) => {
  response.setHeader('Content-Type', prom.register.contentType);
  response.end(await prom.register.metrics());
});
server.listen(Number(port), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
