-- Sentence 5: an event moves its device's timeline whichever stream it is of, read or not, and before WHERE.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE STREAM other (dev TEXT);
CREATE STREAM named (unit TEXT KEY, v DOUBLE);
CREATE RULE plain OPTIONS(lateness=2s) AS SELECT dev, v FROM temp WHERE v > 0 DO log();
