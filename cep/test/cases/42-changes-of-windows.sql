-- Sentence 42: CHANGES over windows: a row that says the same as the key's previous one is not printed.
CREATE STREAM temp (dev TEXT, v INT);
CREATE RULE level AS SELECT dev, max(v) > 5 AS high FROM temp GROUP BY dev WINDOW TUMBLE 10s EMIT CHANGES DO log();
