-- Sentence 20: without EVERY the rule is dead after the run expired or was killed; waiting for the first step is never broken.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE expires AS SELECT a.v AS av, b.v AS bv FROM PATTERN (a -> b) WITHIN 1s PARTITION BY dev DO log();
CREATE RULE breaks AS SELECT a.v AS av, b.v AS bv FROM PATTERN (a , b) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE matches AS SELECT a.v AS av, b.v AS bv FROM PATTERN (a -> b) WITHIN 1h PARTITION BY dev DO log();
