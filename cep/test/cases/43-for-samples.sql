-- Sentence 43: FOR n SAMPLES counts true rows in a row; a pending alert that ends says nothing.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 3 SAMPLES CLEAR v < 80 FOR 10s DO mqtt('alarms');
CREATE RULE once AS SELECT v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 1 SAMPLES DO log();
