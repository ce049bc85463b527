-- Sentence 10: the index counts event lines only, wrong ones included; null for what time did.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 1s DO log();
