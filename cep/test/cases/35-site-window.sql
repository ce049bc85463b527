-- Sentence 35: a row appears when the rule's horizon reaches the end: the slowest active device's; rows by ascending key.
CREATE STREAM temp (dev TEXT, site TEXT, v INT);
CREATE RULE w AS SELECT site, sum(v) AS s, count(*) AS n FROM temp GROUP BY site WINDOW TUMBLE 10s DO log();
