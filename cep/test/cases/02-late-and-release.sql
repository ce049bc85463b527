-- Sentence 2: late is t < H; processed when t <= H, in (t, arrival) order; plain filters wait too.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE plain OPTIONS(lateness=2s) AS SELECT dev, v FROM temp WHERE v > 0 DO log();
