-- Sentence 6: the site's horizon never lags the arrival clock by more than lateness + max_delay.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot OPTIONS(time=event, lateness=1s, max_delay=2s) AS SELECT dev, v FROM temp ALERT ON v > 90 CLEAR v < 10 DO log();
