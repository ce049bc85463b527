-- Sentence 7b: without at the clock is the highest t, so the guard never acts; with it, a time too far ahead moves nothing.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE plain AS SELECT dev, v FROM temp DO log();
