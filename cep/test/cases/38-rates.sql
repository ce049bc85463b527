-- Sentence 38: rate adds what resets lost and does not extrapolate; null below 2 samples; irate the last two; deriv least squares per second.
CREATE STREAM c (dev TEXT, v DOUBLE);
CREATE RULE w AS SELECT dev, delta(v), resets(v), rate(v), irate(v), deriv(v), changes(v) FROM c GROUP BY dev WINDOW TUMBLE 1m DO log();
