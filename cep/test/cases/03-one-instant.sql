-- Sentence 3: at one instant events come before timers: the event at t0 + d that is not true prevents the alert.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 5s DO log();
