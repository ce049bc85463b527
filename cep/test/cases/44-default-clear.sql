-- Sentence 44: without CLEAR, ON not true resolves.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 DO log();
