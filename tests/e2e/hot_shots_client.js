// Sends what tests/e2e/statsd.py expects, by the npm package hot-shots. Arguments: its folder, the port.
'use strict';
const [folder, port] = process.argv.slice(2);
const StatsD = require(folder);

const client = new StatsD({
  host: '127.0.0.1', port: Number(port), prefix: 'shop.', globalTags: {env: 'test'},
  maxBufferSize: 1400, bufferFlushInterval: 50,
  errorHandler: (error) => { console.error(error); process.exitCode = 1; },
});

for (let i = 0; i < 1000; ++i) {
  client.increment('orders', 1, {region: i % 2 ? 'east' : 'west'});
}
client.increment('orders', 5, ['region:east']);
client.decrement('orders', 1, ['region:east']);
client.gauge('queue.depth', 42);
client.gaugeDelta('queue.depth', -2);
for (let i = 1; i <= 100; ++i) {
  client.timing('request.time', i);
  client.histogram('payload', i * 10);
  client.distribution('spread', i / 4);
}
for (const user of ['ann', 'bob', 'ann', 'eve']) {
  client.set('users', user);
}
client.event('deployed', 'a new version');
client.check('database', client.CHECKS.OK);
client.close(() => {});
