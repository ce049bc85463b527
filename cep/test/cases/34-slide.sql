-- Sentence 34: SLIDE d prints a row per event over the d ms that end with it, per key.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE w AS SELECT dev, count(*) AS n, sum(v) AS s, window_start() AS b, window_end() AS e FROM temp PARTITION BY dev WINDOW SLIDE 10s HAVING count(*) > 0 DO log();
