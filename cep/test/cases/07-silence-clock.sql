-- Sentence 7: alert timers run on the arrival clock; with time=event on the horizon.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE by_clock AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 5s DO log();
CREATE RULE by_event OPTIONS(time=event) AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 5s DO log();
