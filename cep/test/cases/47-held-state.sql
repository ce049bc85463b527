-- Sentence 47: events that are held back are state: at max_state further ones are dropped, and that is said.
CREATE STREAM temp (dev TEXT, v INT);
CREATE RULE held OPTIONS(lateness=1h, max_state=400) AS SELECT v FROM temp DO log();
