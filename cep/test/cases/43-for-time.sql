-- Sentence 43: FOR d fires by timer at t0 + d, even when the key is silent.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 5s DO log();
