-- Sentence 33: an event with a null key is dropped for this rule only.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE keyed AS SELECT dev, v FROM temp PARTITION BY dev DO log();
CREATE RULE plain AS SELECT v FROM temp DO log();
