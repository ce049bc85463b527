-- Sentence 4: what waits at the end of input prints nothing.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 5s DO log();
CREATE RULE plain OPTIONS(lateness=2s) AS SELECT v FROM temp DO log();
