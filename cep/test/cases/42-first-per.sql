-- Sentence 42: FIRST PER d prints a row and then none of the key until t >= that row's t + d.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE some AS SELECT dev, v FROM temp PARTITION BY dev EMIT FIRST PER 10s DO log();
