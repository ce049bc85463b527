-- Sentence 36: MAX closes as a window end; an event at first.t + MAX begins the next session.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE w AS SELECT dev, count(*) AS n, window_start() AS b, window_end() AS e FROM temp PARTITION BY dev WINDOW SESSION 5s MAX 10s DO log();
