-- Sentence 47: at max_state an event that would make the state larger is dropped, and said.
CREATE STREAM temp (dev TEXT, v DOUBLE);
CREATE RULE w OPTIONS(max_state=1000) AS SELECT dev, count(*) AS n FROM temp GROUP BY dev WINDOW SLIDE 1h EMIT CHANGES DO log();
