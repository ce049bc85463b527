-- Sentence 6: without the device in its keys the rule waits for the slowest active device; an idle one leaves.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot OPTIONS(time=event) AS SELECT dev, v FROM temp ALERT ON v > 90 CLEAR v < 10 DO log();
