-- Sentence 30: WITHIN counts from the first captured event, PER STEP from the step before; at first.t + d events still match; only the instance of EVERY is dropped.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE whole AS SELECT a.v AS av, c.v AS cv FROM PATTERN (EVERY a -> b -> c) WITHIN 3s PARTITION BY dev DO log();
CREATE RULE steps AS SELECT a.v AS av, c.v AS cv FROM PATTERN (EVERY a -> b -> c) WITHIN 3s PER STEP PARTITION BY dev DO log();
CREATE RULE instance AS SELECT a.v AS av, c.v AS cv FROM PATTERN (EVERY (a -> b -> c)) WITHIN 3s PARTITION BY dev DO log();
CREATE RULE behind AS SELECT p.v AS pv, a.v AS av, b.v AS bv FROM PATTERN (p=c -> EVERY (a -> b)) WITHIN 3s PARTITION BY dev DO log();
