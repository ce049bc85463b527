-- Sentence 17: EVERY binds tighter than AND, AND tighter than OR, both tighter than ->; it may stand behind -> and inside groups.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE side AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY a AND b) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE grouped AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY (a AND b)) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE inside AS SELECT a.v AS av, b.v AS bv, c.v AS cv FROM PATTERN ((a -> EVERY b) -> c) WITHIN 1h PARTITION BY dev DO log();
