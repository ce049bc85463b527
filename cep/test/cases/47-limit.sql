-- Sentence 47: the first drop says so at once, then at most one line a minute with what was dropped since.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot OPTIONS(max_keys=1) AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 DO log();
