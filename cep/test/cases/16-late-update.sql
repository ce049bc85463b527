-- Sentence 16: late=update keeps closed windows for `keep` and prints the whole row again.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE w OPTIONS(late=update, keep=20s) AS SELECT dev, sum(v) AS s, last(v) AS l, count(*) AS n FROM temp GROUP BY dev WINDOW TUMBLE 10s DO log();
