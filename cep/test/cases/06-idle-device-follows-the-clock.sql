-- Sentence 6: an idle device's own horizon follows clock - idle: its buffered events come out, and older ones are late.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE plain OPTIONS(lateness=5s, idle=10s) AS SELECT dev, v FROM temp DO log();
