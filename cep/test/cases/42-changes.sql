-- Sentence 42: CHANGES prints a row that differs from its key's previous one.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE changed AS SELECT dev, v > 10 AS high FROM temp PARTITION BY dev EMIT CHANGES DO log();
