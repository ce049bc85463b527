-- Sentence 7: what arrived in time counts against a timer of the arrival clock, also while the rule holds it back.
CREATE STREAM a (dev TEXT, id INT);
CREATE STREAM b (dev TEXT, id INT);
CREATE RULE lost OPTIONS(lateness=20s) AS SELECT a.id AS id FROM PATTERN (EVERY a -> NOT b[id = a.id] FOR 10s) PARTITION BY dev DO log();
CREATE RULE lost_by_event OPTIONS(lateness=20s, time=event) AS SELECT a.id AS id FROM PATTERN (EVERY a -> NOT b[id = a.id] FOR 10s) PARTITION BY dev DO log();
CREATE RULE high OPTIONS(lateness=5s) AS SELECT dev, id FROM a PARTITION BY dev ALERT ON id > 1 FOR 10s CLEAR id < 2 FOR 6s REMIND 9s DO log();
CREATE RULE slowest AS SELECT a.id AS id FROM PATTERN (EVERY a -> NOT b[id = a.id] FOR 10s) DO log();
CREATE RULE high_rows OPTIONS(lateness=5s) AS SELECT dev, id FROM a WHERE id > 1;
CREATE RULE alone AS SELECT r.id AS id FROM PATTERN (EVERY r=high_rows -> NOT high_rows FOR 4s) DO log();
