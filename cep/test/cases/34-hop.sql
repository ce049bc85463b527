-- Sentence 34: HOP: an event is in each window that holds it.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE w AS SELECT dev, count(*) AS n, last(v) AS l, window_start() AS b FROM temp GROUP BY dev WINDOW HOP 10s, 5s DO log();
