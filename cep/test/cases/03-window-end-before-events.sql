-- Sentence 3: what ends at T ends before the events at T; 34: windows lie on multiples of their length; no row without events.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE w AS SELECT dev, count(*) AS n, sum(v) AS s, window_start() AS b, window_end() AS e FROM temp GROUP BY dev WINDOW TUMBLE 10s DO log();
