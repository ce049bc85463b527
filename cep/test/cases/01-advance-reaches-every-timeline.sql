-- Sentence 1: advance_to moves every timeline to T+1, those not seen yet included, without the lateness.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE all_rows OPTIONS(lateness=10s) AS SELECT dev, v FROM temp DO log();
