-- Sentence 28: NOT b between two steps kills; in AND by a b before x; last it needs WITHIN and fires when that ends.
CREATE STREAM a (dev TEXT, v INT);
CREATE STREAM b (dev TEXT, v INT);
CREATE STREAM c (dev TEXT, v INT);
CREATE RULE in_between AS SELECT a.v AS av, c.v AS cv FROM PATTERN (EVERY a -> NOT b -> c) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE with AS SELECT a.v AS av, c.v AS cv FROM PATTERN (EVERY a -> (c AND NOT b)) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE last AS SELECT a.v AS av FROM PATTERN (EVERY a -> NOT b) WITHIN 2s PARTITION BY dev DO log();
CREATE RULE later_of_two AS SELECT a.v AS av, c.v AS cv FROM PATTERN (EVERY a -> (NOT b FOR 2s AND c)) WITHIN 1h PARTITION BY dev DO log();
CREATE RULE or_silent AS SELECT a.v AS av, b.v AS bv FROM PATTERN (EVERY a -> (b OR NOT c FOR 2s)) WITHIN 1h PARTITION BY dev DO log();
