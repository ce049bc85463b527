-- Sentence 47: at max_runs the oldest run makes room, the youngest, or the new one is refused.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE oldest OPTIONS(max_runs=2) AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY a -> b) PARTITION BY dev DO log();
CREATE RULE newest OPTIONS(max_runs=2, on_limit=newest) AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY a -> b) PARTITION BY dev DO log();
CREATE RULE reject OPTIONS(max_runs=2, on_limit=reject) AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY a -> b) PARTITION BY dev DO log();
