-- Sentence 47: a key that gives way at max_keys takes with it what EMIT knew of it, and that is said; what FIRST PER does not need any more is no loss.
CREATE STREAM temp (dev TEXT, v INT);
CREATE RULE first OPTIONS(max_keys=1) AS SELECT dev, v FROM temp PARTITION BY dev EMIT FIRST PER 10s DO log();
CREATE RULE changed OPTIONS(max_keys=2) AS SELECT dev, v > 5 AS high FROM temp PARTITION BY dev EMIT CHANGES DO log();
