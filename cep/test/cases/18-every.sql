-- Sentence 18: EVERY a forks for each a; without EVERY there is one match and no more (20).
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE each AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY a -> b) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE once AS SELECT a.v AS av, b.v AS bv FROM PATTERN (a -> b) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE grouped AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY (a -> b)) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE behind AS SELECT a.v AS av, b.v AS bv FROM PATTERN (a -> EVERY b) WITHIN 1h PARTITION BY dev DO log();
