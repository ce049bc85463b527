-- Sentence 45: fields are those of the key's latest row, for timers the last one seen.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 5s CLEAR v < 80 REMIND 5s DO log();
