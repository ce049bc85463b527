-- Sentence 34: ROWS n prints per n events; STEP k per k, over the last n there are.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE three AS SELECT dev, sum(v) AS s, window_start() AS b FROM temp PARTITION BY dev WINDOW ROWS 3 DO log();
CREATE RULE two_of_three AS SELECT dev, sum(v) AS s, count(*) AS n FROM temp PARTITION BY dev WINDOW ROWS 3 STEP 2 DO log();
