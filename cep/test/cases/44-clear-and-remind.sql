-- Sentence 44: CLEAR e FOR d counts only while e holds; REMIND repeats from the firing; then it starts anew.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE hot AS SELECT dev, v FROM temp PARTITION BY dev ALERT ON v > 90 FOR 2s CLEAR v < 80 FOR 10s REMIND 7s DO log();
