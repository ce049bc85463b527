-- Sentence 7: a timer of the arrival clock does not wait for what arrived after it was due, nor for the clock guard's events.
CREATE STREAM a (dev TEXT, id INT);
CREATE STREAM b (dev TEXT, id INT);
CREATE RULE lost OPTIONS(lateness=20s) AS SELECT a.id AS id FROM PATTERN (EVERY a -> NOT b[id = a.id] FOR 10s) PARTITION BY dev DO log();
