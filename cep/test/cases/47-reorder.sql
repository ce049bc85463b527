-- Sentence 47: at 256 events of a device the oldest leaves the reorder buffer early, and that is said.
CREATE STREAM temp (dev TEXT, v INT);
CREATE RULE some OPTIONS(lateness=1h) AS SELECT v FROM temp WHERE v < 3 DO log();
