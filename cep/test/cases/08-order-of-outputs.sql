-- Sentence 8: t, place, arrival, priority, creation, key.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE low AS SELECT dev, v FROM temp DO log();
CREATE RULE first AS SELECT dev, v FROM temp DO log();
CREATE RULE high PRIORITY 5 AS SELECT dev, v FROM temp DO log();
CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 1s DO log();
