-- Sentence 36: an event at last.t + gap still belongs; the gap closes as a timer.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE w AS SELECT dev, count(*) AS n, window_start() AS b, window_end() AS e FROM temp PARTITION BY dev WINDOW SESSION 5s DO log();
